import type pg from 'pg';
import { withTransaction } from '#platform/database.ts';
import { isDataError } from '#platform/errors.ts';
import type { QueueWork } from '#platform/queue/definition.ts';
import {
  absorbRecords,
  ContentionError,
  makeCaseRetries,
  makeItemNumberSource,
  makeQualityRulesCache,
  type AbsorbContext,
  type Absorbed,
  type IncomingRecord,
  type QualityRulesCache,
  type TypeRegistry,
  type Verdict,
} from '#domains/items/index.ts';
import { absorbOneByOne, absorbOrBisect } from './careful-absorption.ts';
import { bulkLane, chunkEntriesMax, smallLane } from './cut-receipts.ts';
import { readChunk } from './read-chunk.ts';
import { recountEntries } from './recount-entries.ts';
import { bodyPartBytes, findUnsettled, readBodyRange, readSmallBodies, settleReceipts } from './receipts.store.ts';
import { deduplicationQueue, nameSome, type DeduplicationJob } from './reception.jobs.ts';
import { countVerdicts } from './verdict-counts.ts';
import { countTry, postponeAfter, wholeTriesMax } from './work-attempts.ts';
import {
  claimChunks,
  findOverdueChunks,
  findReceiptContexts,
  finishChunks,
  firstWorkspace,
  type ChunkCounts,
  type DueChunk,
  type ReceiptContext,
} from './work.store.ts';
import type { ReceptionWorkOptions } from './work-options.ts';

const smallChunksPerClaim = 200;
/** Every n-th claim begins with the bulk lane, so that small receipts never starve it. */
const bulkFirstEvery = 4;
const settledAtOnce = 200;
/** So often one permit to work tries again when other transactions move its items. */
const contentionsMax = 10;

/** What was done with one claim of chunks. */
interface WorkedChunks {
  readonly chunks: readonly DueChunk[];
  readonly counts: readonly ChunkCounts[];
  readonly verdicts: readonly Verdict[];
  /** The requests that brought the chunks. */
  readonly requestIds: readonly string[];
  /** Settles with the statements that were on their way when the commit was sent; only then is the work done. */
  readonly written: Promise<unknown>;
  readonly hasRetries: boolean;
}

/** Makes the work behind the queue `deduplication`. */
export function makeDeduplication(options: ReceptionWorkOptions, attemptPool: pg.Pool): QueueWork<DeduplicationJob> {
  const { database, loadTypes, logger } = options;
  const takeItemNumbers = makeItemNumberSource(attemptPool);
  const { retryDue } = makeCaseRetries({
    pool: database.pool,
    takeNumbers: takeItemNumbers,
    loadTypes,
    identifiersMax: options.identifiersPerItemMax,
    recount: recountEntries,
  });
  const loadQualityRules = makeQualityRulesCache();
  const cursors = [firstWorkspace, firstWorkspace];
  const recentlyDone = makeRecentlyDone();
  let claims = 0;
  let settledUpTo = 0;

  const claimNext = async (client: pg.ClientBase): Promise<DueChunk[]> => {
    claims += 1;
    const small = { lane: smallLane, cursor: cursors[smallLane]! };
    const bulk = { lane: bulkLane, cursor: cursors[bulkLane]! };
    const chunks = await claimChunks(client, claims % bulkFirstEvery === 0 ? [bulk, small] : [small, bulk], {
      lane: smallLane,
      chunksMax: smallChunksPerClaim,
    });
    if (chunks.length > 0) cursors[chunks[0]!.lane] = chunks[0]!.workspace_id;
    return withinOneBatch(chunks);
  };

  const workNext = async (contentions = 0): Promise<WorkedChunks | undefined> => {
    const types = await loadTypes();
    let claimed: readonly DueChunk[] = [];
    try {
      const worked = await withTransaction(database.pool, async (client) => {
        claimed = await claimNext(client);
        if (claimed.length === 0) return undefined;
        const prepared = await prepareChunks(client, attemptPool, claimed);
        claimed = prepared.tried;
        return workChunks(client, claimed, prepared, {
          ...options,
          attemptPool,
          types,
          takeItemNumbers,
          loadQualityRules,
        });
      });
      if (!worked) return undefined;
      await worked.written;
      finish(worked);
      if (worked.hasRetries) await retryWaiting();
      return worked;
    } catch (error) {
      if (claimed.length > 0) await postponeAfter(error, claimed, database, logger);
      // The chunks are due again at once, and this time each record is tried with care.
      if (isDataError(error) && claimed.every(({ tries }) => tries === 0)) return workNext();
      // The transaction that was in the way has ended. Without another try the chunks would have to wait for the sweep.
      if (error instanceof ContentionError && contentions < contentionsMax) return workNext(contentions + 1);
      throw error;
    }
  };

  const finish = (worked: WorkedChunks) => {
    options.observeRecords?.(worked.verdicts);
    recentlyDone.add(worked.chunks);
    // A settlement that is missed here is made up for by the next sweep.
    settleReceipts(database.pool, [...new Set(worked.chunks.map((chunk) => chunk.receipt_id))]).catch(
      (error: unknown) => logger.warn({ err: error }, 'receipts could not be settled at once'),
    );
  };

  /** A retry that is missed here is made up for by the next sweep. */
  const retryWaiting = () =>
    retryDue().catch((error: unknown) =>
      logger.warn({ err: error }, 'records that wait as conflicts could not be tried again'),
    );

  return {
    queue: deduplicationQueue,
    concurrency: options.deduplicationConcurrency,
    async process(data) {
      // The row may have been worked under another job's permit; asking the database again would find nothing.
      if (recentlyDone.has(data.receipt_id, data.chunk_number))
        return { chunk: 'was worked under the permit of another job' };
      return describeWork(await workNext());
    },
    async findOverdue(limit) {
      const overdue = await findOverdueChunks(database.pool, limit);
      return overdue.map(({ request_id, ...chunk }) => (request_id === null ? chunk : { ...chunk, request_id }));
    },
    async workDirectly() {
      return (await workNext()) !== undefined;
    },
    async tidy() {
      await retryWaiting();
      const unsettled = await findUnsettled(database.pool, settledUpTo, settledAtOnce);
      settledUpTo = unsettled.length < settledAtOnce ? 0 : unsettled.at(-1)!.received_sequence;
      if (unsettled.length > 0)
        await settleReceipts(
          database.pool,
          unsettled.map((row) => row.receipt_id),
        );
    },
  };
}

/** A batch of small chunks holds as many records as one big chunk, at most. */
function withinOneBatch(chunks: readonly DueChunk[]): DueChunk[] {
  let entries = 0;
  const batch: DueChunk[] = [];
  for (const chunk of chunks) {
    entries += chunk.entry_count;
    if (batch.length > 0 && entries > chunkEntriesMax) break;
    batch.push(chunk);
  }
  return batch;
}

interface WorkContext extends ReceptionWorkOptions {
  takeItemNumbers: AbsorbContext['takeNumbers'];
  attemptPool: pg.Pool;
  types: TypeRegistry;
  loadQualityRules: QualityRulesCache;
}

interface PreparedChunks {
  /** The chunks to work on now. */
  tried: readonly DueChunk[];
  receipts: ReadonlyMap<string, ReceiptContext>;
  /** The bytes of each claimed chunk. */
  slices: ReadonlyMap<DueChunk, Buffer>;
}

/** Counts a try for each chunk and reads what it needs. The try is counted before anything of the chunk is looked at. */
async function prepareChunks(
  client: pg.ClientBase,
  attemptPool: pg.Pool,
  chunks: readonly DueChunk[],
): Promise<PreparedChunks> {
  const receiptIds = [...new Set(chunks.map((chunk) => chunk.receipt_id))];
  const [tried, receipts, slices] = await Promise.all([
    countTry(attemptPool, chunks),
    findReceiptContexts(client, receiptIds),
    readSlices(client, chunks),
  ]);
  return { tried, receipts, slices: new Map(chunks.map((chunk, at) => [chunk, slices[at]!])) };
}

async function workChunks(
  client: pg.ClientBase,
  chunks: readonly DueChunk[],
  { receipts, slices }: PreparedChunks,
  context: WorkContext,
): Promise<WorkedChunks> {
  const workspaceId = chunks[0]!.workspace_id;
  const rulesVersion = Math.max(...[...receipts.values()].map((receipt) => receipt.quality_rules_version));
  const qualityRules = await context.loadQualityRules(client, workspaceId, rulesVersion);
  const recordsOf: IncomingRecord[][] = [];
  for (const chunk of chunks) {
    const receipt = receipts.get(chunk.receipt_id)!;
    recordsOf.push(await readChunk(chunk, receipt, slices.get(chunk)!, context.types, qualityRules));
  }
  const records = recordsOf.flat();
  const absorbContext: AbsorbContext = {
    workspaceId,
    mayLinkItems: [...receipts.values()].every((receipt) => receipt.may_link_items),
    identifiersMax: context.identifiersPerItemMax,
    types: context.types,
    takeNumbers: context.takeItemNumbers,
  };
  const { verdicts, written, hasRetries } = await absorb(client, absorbContext, chunks, records, context.attemptPool);
  let from = 0;
  const counts = recordsOf.map((of) => countVerdicts(verdicts.slice(from, (from += of.length))));
  const finished = finishChunks(
    client,
    chunks.map(({ receipt_id, chunk_number }, at) => ({ receipt_id, chunk_number, ...counts[at]! })),
  );
  finished.catch(() => {});
  // In this order, so that the failure that is told is the first one.
  const all = written.then(() => finished);
  all.catch(() => {});
  const requestIds = chunks.flatMap((chunk) => receipts.get(chunk.receipt_id)?.request_id ?? []);
  return { chunks, counts, verdicts, requestIds: nameSome(requestIds), written: all, hasRetries };
}

/** The first try goes straight; after a failure each record is treated as if it could be the cause. */
async function absorb(
  client: pg.ClientBase,
  context: AbsorbContext,
  chunks: readonly DueChunk[],
  records: readonly IncomingRecord[],
  attemptPool: pg.Pool,
): Promise<Absorbed> {
  const most = Math.max(...chunks.map(({ tries }) => tries));
  if (most === 0) return absorbRecords(client, context, records);
  const isDeadly = chunks.length === 1 && most >= wholeTriesMax;
  const verdicts = isDeadly
    ? await absorbOneByOne(client, context, chunks[0]!, records, attemptPool)
    : await absorbOrBisect(client, context, records);
  // What was tried with care leaves its retries to the sweep.
  return { verdicts, written: Promise.resolve(), hasRetries: false };
}

/** The bytes of each chunk. Chunks of small receipts are read in one query. */
async function readSlices(client: pg.ClientBase, chunks: readonly DueChunk[]): Promise<Buffer[]> {
  if (chunks.length === 1) {
    const [chunk] = chunks;
    return [await readBodyRange(client, chunk!.receipt_id, chunk!.byte_start, chunk!.byte_start + chunk!.byte_length)];
  }
  const inFirstPart = chunks.filter((chunk) => chunk.byte_start + chunk.byte_length <= bodyPartBytes);
  const bodies = await readSmallBodies(
    client,
    inFirstPart.map((chunk) => chunk.receipt_id),
  );
  const slices: Buffer[] = [];
  for (const chunk of chunks) {
    const end = chunk.byte_start + chunk.byte_length;
    const body = end <= bodyPartBytes ? bodies.get(chunk.receipt_id) : undefined;
    slices.push(
      body
        ? body.subarray(chunk.byte_start, end)
        : await readBodyRange(client, chunk.receipt_id, chunk.byte_start, end),
    );
  }
  return slices;
}

function describeWork(worked: WorkedChunks | undefined): object {
  if (!worked) return { chunk: 'nothing was due' };
  const sum = (counter: keyof ChunkCounts) => worked.counts.reduce((total, counts) => total + counts[counter], 0);
  const [first] = worked.chunks;
  return {
    receipt_id: first!.receipt_id,
    chunk_number: first!.chunk_number,
    request_ids: worked.requestIds,
    chunks: worked.chunks.length,
    completed: sum('completed'),
    rejected: sum('rejected'),
    failed: sum('failed'),
    conflicted: sum('conflicted'),
    created: sum('created'),
    enriched: sum('enriched'),
  };
}

/** Remembers the last chunks that this process finished. */
function makeRecentlyDone() {
  const rememberedMax = 20_000;
  const keys = new Set<string>();
  const keyOf = (receiptId: string, chunkNumber: number) => `${receiptId}:${chunkNumber}`;
  return {
    add(chunks: readonly DueChunk[]) {
      for (const chunk of chunks) {
        if (keys.size >= rememberedMax) keys.delete(keys.values().next().value!);
        keys.add(keyOf(chunk.receipt_id, chunk.chunk_number));
      }
    },
    has: (receiptId: string, chunkNumber: number) => keys.has(keyOf(receiptId, chunkNumber)),
  };
}
