import os from 'node:os';
import pg from 'pg';
import type { Database } from '#platform/database.ts';
import { surviveLostConnections, withTransaction } from '#platform/database.ts';
import { isDataError, isTransientConflict } from '#platform/errors.ts';
import type { Logger } from '#platform/logger.ts';
import type { Bell } from '#platform/queue/bell.ts';
import type { QueueWork } from '#platform/queue/definition.ts';
import {
  absorbRecords,
  ContentionError,
  makeItemNumberSource,
  type AbsorbContext,
  type Absorbed,
  type IncomingRecord,
  type TypeRegistry,
  type Verdict,
} from '#domains/items/index.ts';
import { bulkLane, chunkEntriesMax, cutReceipts, smallLane } from './cut-receipts.ts';
import { readChunk } from './read-chunk.ts';
import { bodyPartBytes, findUnsettled, readBodyRange, readSmallBodies, settleReceipts } from './receipts.store.ts';
import { deduplicationQueue, ingestionQueue, type DeduplicationJob, type IngestionJob } from './reception.jobs.ts';
import {
  claimChunks,
  claimUncutReceipts,
  cuttingChunkNumber,
  deleteAttempts,
  findAttempts,
  findOverdueChunks,
  findOverdueReceipts,
  findReceiptContexts,
  finishChunks,
  insertAttempts,
  markCut,
  postponeChunks,
  type AttemptRow,
  type ChunkCounts,
  type DueChunk,
  type ReceiptContext,
  type UncutReceipt,
} from './work.store.ts';

interface ReceptionWorkOptions {
  database: Database;
  bell: Bell;
  logger: Logger;
  loadTypes(): Promise<TypeRegistry>;
  ingestionConcurrency: number;
  deduplicationConcurrency: number;
  /** Told how many records a committed transaction settled. */
  observeRecords?(verdicts: readonly Verdict[]): void;
}

const workerName = `${os.hostname()}:${process.pid}`;
const firstWorkspace = '00000000-0000-0000-0000-000000000000';
const smallReceiptBytes = 65_536;
const smallReceiptsPerClaim = 200;
const smallChunksPerClaim = 200;
/** After this many tries that ended in a crash or an error, work goes on record by record. */
const wholeTriesMax = 3;
/** One end of a worker may have any cause; the second one at the same record has this one. */
const deadlyTriesMin = 2;
/** After this many tries, a receipt that cannot even be cut is given up. */
const cuttingTriesMax = 6;
const retryDelaysMs = [200, 500, 1000, 2000, 5000, 15_000, 60_000];
/** Every n-th claim begins with the bulk lane, so that small receipts never starve it. */
const bulkFirstEvery = 4;
const settledAtOnce = 200;
/** So often one permit to work tries again when other transactions move its items. */
const contentionsMax = 10;

/** Makes the work behind the queues `ingestion` and `deduplication`. */
export function makeReceptionWork(options: ReceptionWorkOptions): {
  ingestion: QueueWork<IngestionJob>;
  deduplication: QueueWork<DeduplicationJob>;
  close(): Promise<void>;
} {
  // Attempts are counted while a transaction waits for them, so their connections must never be those of transactions.
  const attemptPool = new pg.Pool({ ...options.database.pool.options, max: 2, application_name: 'defarm-attempts' });
  surviveLostConnections(attemptPool);
  return {
    ingestion: makeIngestion(options, attemptPool),
    deduplication: makeDeduplication(options, attemptPool),
    close: () => attemptPool.end(),
  };
}

function makeIngestion(options: ReceptionWorkOptions, attemptPool: pg.Pool): QueueWork<IngestionJob> {
  const { database, bell, loadTypes, logger } = options;
  let cursor = firstWorkspace;

  const cutNext = async () => {
    const types = await loadTypes();
    const cut = await withTransaction(database.pool, async (client) => {
      const receipts = await claimWithWrap(
        (from) => claimUncutReceipts(client, from, smallReceiptBytes, smallReceiptsPerClaim),
        cursor,
      );
      if (receipts.length === 0) return undefined;
      cursor = receipts[0]!.workspace_id;
      const cuttings = receipts.map((receipt) => ({ ...receipt, chunk_number: cuttingChunkNumber }));
      const { tries, tried } = await countTry(client, attemptPool, cuttings);
      const hopeless = tried.filter((cutting) => triesOf(tries, cutting) >= cuttingTriesMax);
      const workable = tried.filter((cutting) => !hopeless.includes(cutting));
      await giveUpCutting(client, hopeless);
      return { receipts: workable, ...(await cutReceipts(client, workable, types)) };
    });
    if (!cut) return undefined;
    const requestIds = new Map(cut.receipts.map((receipt) => [receipt.receipt_id, receipt.request_id]));
    await bell.ring(
      deduplicationQueue,
      cut.chunks.map(({ receiptId, chunkNumber }) => ({
        receipt_id: receiptId,
        chunk_number: chunkNumber,
        ...(requestIds.get(receiptId) ? { request_id: requestIds.get(receiptId)! } : {}),
      })),
    );
    return cut;
  };

  return {
    queue: ingestionQueue,
    concurrency: options.ingestionConcurrency,
    async process({ data }) {
      const cut = await cutNext();
      const entries = cut?.results.reduce((sum, result) => sum + result.entryTotal, 0) ?? 0;
      return {
        rang: data.receipt_ids.length,
        receipts: cut?.receipts.length ?? 0,
        request_ids: namedAtMost(cut?.receipts.flatMap((receipt) => receipt.request_id ?? []) ?? []),
        chunks: cut?.chunks.length ?? 0,
        entries,
      };
    },
    async findOverdue(limit) {
      const overdue = await findOverdueReceipts(database.pool, limit);
      return overdue.map(({ receipt_id, request_id }) => ({
        receipt_ids: [receipt_id],
        ...(request_id === null ? {} : { request_ids: [request_id] }),
      }));
    },
    async workDirectly() {
      const cut = await cutNext();
      if (cut) logger.debug({ receipts: cut.receipts.length, chunks: cut.chunks.length }, 'cut without a job');
      return cut !== undefined;
    },
  };
}

async function giveUpCutting(client: pg.ClientBase, receipts: readonly UncutReceipt[]): Promise<void> {
  if (receipts.length === 0) return;
  const failure = {
    code: 'processing_failed',
    detail: `the body could not be split into records in ${cuttingTriesMax} tries`,
  };
  await markCut(
    client,
    receipts.map((receipt) => ({
      receiptId: receipt.receipt_id,
      entryTotal: 0,
      csvLayout: null,
      unclassifiedFields: null,
      failure,
    })),
  );
}

/** What was done with one claim of chunks. */
interface WorkedChunks {
  readonly chunks: readonly DueChunk[];
  readonly counts: readonly ChunkCounts[];
  readonly verdicts: readonly Verdict[];
  /** The requests that brought the chunks. */
  readonly requestIds: readonly string[];
  /** Settles with the statements that were on their way when the commit was sent; only then is the work done. */
  readonly written: Promise<unknown>;
}

function makeDeduplication(options: ReceptionWorkOptions, attemptPool: pg.Pool): QueueWork<DeduplicationJob> {
  const { database, loadTypes, logger } = options;
  const takeItemNumbers = makeItemNumberSource(attemptPool);
  const cursors = [firstWorkspace, firstWorkspace];
  const recentlyDone = makeRecentlyDone();
  let claims = 0;
  let settledUpTo = 0;

  const claimNext = async (client: pg.ClientBase): Promise<DueChunk[]> => {
    claims += 1;
    const lanes = claims % bulkFirstEvery === 0 ? [bulkLane, smallLane] : [smallLane, bulkLane];
    for (const lane of lanes) {
      const batchMax = lane === smallLane ? smallChunksPerClaim : 1;
      const chunks = await claimWithWrap((from) => claimChunks(client, lane, from, batchMax), cursors[lane]!);
      if (chunks.length === 0) continue;
      cursors[lane] = chunks[0]!.workspace_id;
      return withinOneBatch(chunks);
    }
    return [];
  };

  const workNext = async (contentions = 0): Promise<WorkedChunks | undefined> => {
    const types = await loadTypes();
    let claimed: readonly DueChunk[] = [];
    let tries: readonly AttemptRow[] = [];
    try {
      const worked = await withTransaction(database.pool, async (client) => {
        claimed = await claimNext(client);
        if (claimed.length === 0) return undefined;
        const prepared = await prepareChunks(client, attemptPool, claimed);
        tries = prepared.tries;
        claimed = prepared.tried;
        return workChunks(client, claimed, prepared, { ...options, attemptPool, types, takeItemNumbers });
      });
      if (!worked) return undefined;
      await worked.written;
      finish(worked);
      return worked;
    } catch (error) {
      if (claimed.length > 0) await postponeAfter(error, claimed, tries, database, logger);
      // The chunks are due again at once, and this time each record is tried with care.
      if (isDataError(error) && tries.length === 0) return workNext();
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

  return {
    queue: deduplicationQueue,
    concurrency: options.deduplicationConcurrency,
    async process({ data }) {
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
}

interface PreparedChunks {
  tries: readonly AttemptRow[];
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
  const [{ tries, tried }, receipts, slices] = await Promise.all([
    countTry(client, attemptPool, chunks),
    findReceiptContexts(client, receiptIds),
    readSlices(client, chunks),
  ]);
  return { tries, tried, receipts, slices: new Map(chunks.map((chunk, at) => [chunk, slices[at]!])) };
}

async function workChunks(
  client: pg.ClientBase,
  chunks: readonly DueChunk[],
  { tries, receipts, slices }: PreparedChunks,
  context: WorkContext,
): Promise<WorkedChunks> {
  const recordsOf: IncomingRecord[][] = [];
  for (const chunk of chunks) {
    recordsOf.push(await readChunk(chunk, receipts.get(chunk.receipt_id)!, slices.get(chunk)!, context.types));
  }
  const records = recordsOf.flat();
  const absorbContext: AbsorbContext = {
    workspaceId: chunks[0]!.workspace_id,
    mayLinkItems: [...receipts.values()].every((receipt) => receipt.may_link_items),
    types: context.types,
    takeNumbers: context.takeItemNumbers,
  };
  const { verdicts, written } = await absorb(client, absorbContext, chunks, records, tries, context.attemptPool);
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
  return { chunks, counts, verdicts, requestIds: namedAtMost(requestIds), written: all };
}

/** The first try goes straight; after a failure each record is treated as if it could be the cause. */
async function absorb(
  client: pg.ClientBase,
  context: AbsorbContext,
  chunks: readonly DueChunk[],
  records: readonly IncomingRecord[],
  tries: readonly AttemptRow[],
  attemptPool: pg.Pool,
): Promise<Absorbed> {
  const most = Math.max(...chunks.map((chunk) => triesOf(tries, chunk)));
  if (most === 0) return absorbRecords(client, context, records);
  const isDeadly = chunks.length === 1 && most >= wholeTriesMax;
  const verdicts = isDeadly
    ? await absorbOneByOne(client, context, chunks[0]!, records, tries, attemptPool)
    : await absorbOrBisect(client, context, records);
  return { verdicts, written: Promise.resolve() };
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

/** Absorbs records; when the database cannot hold one of them, finds it by halving and rejects it alone. */
async function absorbOrBisect(
  client: pg.ClientBase,
  context: AbsorbContext,
  records: readonly IncomingRecord[],
): Promise<readonly Verdict[]> {
  await client.query('savepoint absorption');
  try {
    const { verdicts, written } = await absorbRecords(client, context, records);
    await written;
    await client.query('release savepoint absorption');
    return verdicts;
  } catch (error) {
    if (!isDataError(error)) throw error;
    await client.query('rollback to savepoint absorption');
    const [first] = records;
    if (records.length === 1) {
      return absorbOrBisect(client, context, [
        refused(first!, 'unprocessable_record', 'the database cannot hold a value of this record'),
      ]);
    }
    const middle = records.length >> 1;
    const before = await absorbOrBisect(client, context, records.slice(0, middle));
    return [...before, ...(await absorbOrBisect(client, context, records.slice(middle)))];
  }
}

/**
 * The way of a chunk whose worker died several times: each record is noted before it is tried, so that the one that kills
 * the worker is known at the next try and fails alone.
 */
async function absorbOneByOne(
  client: pg.ClientBase,
  context: AbsorbContext,
  chunk: DueChunk,
  records: readonly IncomingRecord[],
  tries: readonly AttemptRow[],
  attemptPool: pg.Pool,
): Promise<Verdict[]> {
  const attempt = triesOf(tries, chunk) + 1;
  const deadly = findDeadlyPositions(tries);
  const verdicts: Verdict[] = [];
  for (const [position, record] of records.entries()) {
    if (deadly.has(position)) {
      const failed = refused(
        record,
        'processing_failed',
        'the worker ended twice while it worked on this record alone',
      );
      await (
        await absorbRecords(client, context, [failed])
      ).written;
      await client.query(`update entries set status = 'failed' where entry_id = $1`, [record.entryId]);
      verdicts.push({ status: 'failed', outcome: null });
      continue;
    }
    await insertAttempts(
      attemptPool,
      [{ receipt_id: chunk.receipt_id, chunk_number: chunk.chunk_number, attempt, position }],
      workerName,
    );
    verdicts.push(...(await absorbOrBisect(client, context, [record])));
  }
  return verdicts;
}

/** The records that were the last to be tried in at least two tries that did not end. */
function findDeadlyPositions(tries: readonly AttemptRow[]): Set<number> {
  const lastByAttempt = new Map<number, number>();
  for (const { attempt, position } of tries) {
    if (position !== null) lastByAttempt.set(attempt, Math.max(position, lastByAttempt.get(attempt) ?? -1));
  }
  const last = [...lastByAttempt.values()];
  return new Set(last.filter((position) => last.filter((other) => other === position).length >= deadlyTriesMin));
}

function refused(
  record: IncomingRecord,
  code: 'unprocessable_record' | 'processing_failed',
  detail: string,
): IncomingRecord {
  return { ...record, judgement: { ok: false, fault: { code, detail, pointer: '' } } };
}

function countVerdicts(verdicts: readonly Verdict[]): ChunkCounts {
  const counts: ChunkCounts = { completed: 0, rejected: 0, failed: 0, conflicted: 0, created: 0, enriched: 0 };
  for (const { status, outcome } of verdicts) {
    counts[status] += 1;
    if (outcome === 'created' || outcome === 'enriched') counts[outcome] += 1;
  }
  return counts;
}

/**
 * Chooses what to try now and counts the try, committed before the work. All is tried together, but what was tried in vain
 * several times goes alone: its neighbours shall neither fail with it nor be counted as tried.
 */
async function countTry<Chunk extends ChunkKey>(
  client: pg.ClientBase,
  attemptPool: pg.Pool,
  chunks: readonly Chunk[],
): Promise<{ /** The tries before this one. */ tries: AttemptRow[]; tried: readonly Chunk[] }> {
  const tries = await findAttempts(
    client,
    chunks.map((chunk) => chunk.receipt_id),
    chunks.map((chunk) => chunk.chunk_number),
  );
  const troubled = chunks.find((chunk) => triesOf(tries, chunk) >= wholeTriesMax);
  const tried = troubled ? [troubled] : chunks;
  await insertAttempts(
    attemptPool,
    tried.map((chunk) => ({
      receipt_id: chunk.receipt_id,
      chunk_number: chunk.chunk_number,
      attempt: triesOf(tries, chunk) + 1,
      position: null,
    })),
    workerName,
  );
  return { tries, tried };
}

interface ChunkKey {
  readonly receipt_id: string;
  readonly chunk_number: number;
}

function isOf(row: AttemptRow, { receipt_id, chunk_number }: ChunkKey): boolean {
  return row.receipt_id === receipt_id && row.chunk_number === chunk_number;
}

function triesOf(tries: readonly AttemptRow[], chunk: ChunkKey): number {
  return tries.reduce((most, row) => (isOf(row, chunk) ? Math.max(most, row.attempt) : most), 0);
}

/**
 * Puts off what failed. A conflict with other transactions is over soon and speaks against no record, so its try does not
 * count; anything else waits longer at each try.
 */
async function postponeAfter(
  error: unknown,
  chunks: readonly DueChunk[],
  tries: readonly AttemptRow[],
  database: Database,
  logger: Logger,
): Promise<void> {
  const most = Math.max(...chunks.map((chunk) => triesOf(tries, chunk)));
  const isPassing = error instanceof ContentionError || isTransientConflict(error);
  const isDueAtOnce = error instanceof ContentionError || (isDataError(error) && most === 0);
  const delayMs = isDueAtOnce
    ? 0
    : isPassing
      ? Math.random() * retryDelaysMs[0]!
      : retryDelaysMs[Math.min(most, retryDelaysMs.length - 1)]!;
  try {
    await postponeChunks(database.pool, chunks, delayMs);
    if (isPassing)
      await deleteAttempts(
        database.pool,
        chunks.map((chunk) => ({ ...chunk, attempt: triesOf(tries, chunk) + 1 })),
      );
  } catch (postponeError) {
    logger.debug({ err: postponeError }, 'chunks stay due');
  }
}

/** Begins after the workspace that was served last, and from the first one again when there is none after it. */
async function claimWithWrap<Row>(claim: (cursor: string) => Promise<Row[]>, cursor: string): Promise<Row[]> {
  const rows = await claim(cursor);
  return rows.length > 0 || cursor === firstWorkspace ? rows : claim(firstWorkspace);
}

/** A log line names a few of many. */
function namedAtMost(requestIds: readonly string[]): string[] {
  return [...new Set(requestIds)].slice(0, 20);
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
