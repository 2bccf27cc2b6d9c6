import { Readable } from 'node:stream';
import type pg from 'pg';
import type { Database } from '#platform/database.ts';
import { withTransaction } from '#platform/database.ts';
import { Problem } from '#platform/errors.ts';
import { IdempotencyKeyTaken, type IdempotencyClaim } from '#platform/idempotency.store.ts';
import { entryIdAt, isUuid, makeReceiptId, positionOfEntry } from '#platform/ids.ts';
import { decodeCursor, type Page } from '#platform/page.ts';
import { principalOf, type RouteRequest, type RouteResponse } from '#platform/route.ts';
import type { Bell } from '#platform/queue/bell.ts';
import {
  listEntries,
  readEntries,
  type EntryRow,
  type EntryStatus,
  type ItemsService,
  type ShownEntry,
  type TypeRegistry,
} from '#domains/items/index.ts';
import { readBodyKind, type BodyKind } from './body-format.ts';
import { makeEntriesCsv } from './entries-csv.ts';
import { retryFailedEntries } from './retry-entries.ts';
import { makeIngestionBell } from './ingestion-bell.ts';
import { makeReceiptWaiter } from './receipt-waiter.ts';
import { makeReceiptWriter } from './receipt-writer.ts';
import {
  bodyPartBytes,
  findReceipt,
  listPendingPositions,
  listReceipts,
  readBodyRange,
  type NewReceipt,
  type ReceiptFilter,
  type ReceiptRow,
} from './receipts.store.ts';
import type { ReceiptStatus } from './receipts.schema.ts';
import { deduplicationQueue } from './reception.jobs.ts';
import {
  readDefaults,
  readWaitSeconds,
  receiveChecked,
  smallBodyBytes,
  type CheckedBody,
  type SubmissionDefaults,
} from './submission.ts';

interface ReceiptsServiceOptions {
  database: Database;
  /** For keeping what arrives, and nothing else. */
  receptionPool: pg.Pool;
  bell: Bell;
  items: ItemsService;
  loadTypes(): Promise<TypeRegistry>;
  observeGroup?(rows: number): void;
}

/** A body that can be split into records, with all that its receipt says of it. */
interface CheckedSubmission {
  readonly workspaceId: string;
  readonly requestId: string;
  readonly kind: BodyKind;
  readonly defaults: SubmissionDefaults;
  readonly body: CheckedBody;
  readonly idempotency: IdempotencyClaim | undefined;
}

interface KeptReceipt {
  readonly receiptId: string;
  readonly receipt: NewReceipt;
  readonly receivedAt: Date;
}

type PageRequest = { limit: number; offset: number; cursor?: string | undefined };

export type ReceiptsService = ReturnType<typeof makeReceiptsService>;

/** Keeps receipts and tells what became of them. */
export function makeReceiptsService({
  database,
  receptionPool,
  bell,
  items,
  loadTypes,
  observeGroup,
}: ReceiptsServiceOptions) {
  const { pool, knex } = database;
  const writer = makeReceiptWriter({
    pool: receptionPool,
    onStored: makeIngestionBell(bell),
    ...(observeGroup ? { observeGroup } : {}),
  });
  const waiter = makeReceiptWaiter(pool);

  const getReceipt = async (workspaceId: string, receiptId: string): Promise<ReceiptRow> => {
    const row = isUuid(receiptId) ? await findReceipt(knex, workspaceId, receiptId) : undefined;
    if (!row) throw new Problem('not_found', 'there is no receipt with this id in your workspace');
    return row;
  };

  /** Records that wait have no row yet; their ids are known all the same. */
  const listPending = async (receiptId: string, page: PageRequest) => {
    const cursor = decodeCursor(page.cursor, 'uuid');
    const position = {
      limit: page.limit,
      offset: cursor === undefined ? page.offset : 0,
      after: cursor === undefined ? -1 : positionOfEntry(cursor),
    };
    const { positions, total } = await listPendingPositions(pool, receiptId, position);
    const rows = positions.map((at) => pendingEntry(receiptId, at));
    return { rows, total, nextPosition: rows.length === page.limit ? rows.at(-1)!.entry_id : undefined };
  };

  const keep = async (submission: CheckedSubmission): Promise<KeptReceipt> => {
    const { workspaceId, requestId, kind, defaults, body, idempotency } = submission;
    const receiptId = makeReceiptId();
    const receipt: NewReceipt = {
      receiptId,
      workspaceId,
      hash: Buffer.from(body.hash, 'hex'),
      sizeBytes: body.sizeBytes,
      ...kind,
      ...defaults,
      requestId,
      body: null,
      idempotency: idempotency ?? null,
    };
    const stored =
      body.sizeBytes <= smallBodyBytes
        ? await writer.keep({ ...receipt, body: joined(body.chunks) })
        : await writer.keepLarge(receipt, body.chunks);
    if (!stored) throw new IdempotencyKeyTaken();
    return { receiptId, receipt, receivedAt: stored.received_at };
  };

  const answer = async (request: RouteRequest, receipt: NewReceipt, receivedAt: Date): Promise<RouteResponse> => {
    const waitSeconds = readWaitSeconds(request.headers['prefer']);
    const acknowledged = acknowledge(acknowledgement(receipt, receivedAt));
    if (waitSeconds === 0) return acknowledged;
    const headers = { ...acknowledged.headers, 'preference-applied': `wait=${waitSeconds}` };
    const isFinished = await waiter.waitUntilFinished(receipt.receiptId, waitSeconds * 1000);
    if (!isFinished) return { ...acknowledged, headers, isRecallable: false };
    return { status: 200, headers, body: showReceipt(await getReceipt(receipt.workspaceId, receipt.receiptId)) };
  };

  return {
    /** Takes a submission in: what it answers is committed. */
    async submit(
      request: RouteRequest<{
        value_chain?: string | undefined;
        country?: string | undefined;
        year?: string | undefined;
        circuit_id?: string | undefined;
      }>,
    ): Promise<RouteResponse> {
      const { workspaceId } = principalOf(request);
      const kind = readBodyKind(request.headers['content-type']);
      const defaults = readDefaults(request.query);
      const body = await receiveChecked(request, kind, loadTypes);
      const { id: requestId, idempotency } = request;
      const kept = await keep({ workspaceId, requestId, kind, defaults, body, idempotency });
      request.releaseBody();
      return answer(request, kept.receipt, kept.receivedAt);
    },

    /** The answer to a submission that nobody waited for. */
    async recall(workspaceId: string, receiptId: string): Promise<RouteResponse> {
      return acknowledge(showAcknowledgement(await getReceipt(workspaceId, receiptId)));
    },

    /**
     * Keeps a body that was checked; what resolves is committed.
     * @throws IdempotencyKeyTaken, and Problem unavailable or overloaded.
     */
    keep,

    /** A receipt once it is settled, or as it is after `timeoutMs`. */
    async waitFor(workspaceId: string, receiptId: string, timeoutMs: number): Promise<ReceiptRow> {
      await waiter.waitUntilFinished(receiptId, timeoutMs);
      return getReceipt(workspaceId, receiptId);
    },

    async get(workspaceId: string, receiptId: string) {
      return showReceipt(await getReceipt(workspaceId, receiptId));
    },

    async list(filter: ReceiptFilter, page: PageRequest): Promise<Page<ReceiptRow>> {
      const found = await listReceipts(knex, filter, { ...page, after: decodeCursor(page.cursor, 'number') });
      const last = found.rows.at(-1);
      return {
        ...found,
        nextPosition: found.rows.length === page.limit && last ? String(last.received_sequence) : undefined,
      };
    },

    async listEntries(
      workspaceId: string,
      receiptId: string,
      status: EntryStatus | 'pending' | undefined,
      page: PageRequest,
    ): Promise<Page<ShownEntry>> {
      await getReceipt(workspaceId, receiptId);
      if (status === 'pending') return listPending(receiptId, page);
      const found = await listEntries(
        knex,
        receiptId,
        { status },
        { ...page, after: decodeCursor(page.cursor, 'uuid') },
      );
      const last = found.rows.at(-1);
      const rows = await items.describeEntries(found.rows);
      return {
        rows,
        total: found.total,
        nextPosition: found.rows.length === page.limit && last ? last.entry_id : undefined,
      };
    },

    /** The entries as CSV, with what was sent, ready to mend and send again. */
    async exportEntries(workspaceId: string, receiptId: string, status: EntryStatus | undefined): Promise<Readable> {
      const receipt = await getReceipt(workspaceId, receiptId);
      const pages = async function* (): AsyncGenerator<EntryRow[]> {
        let after: string | undefined;
        for (;;) {
          const rows = await readEntries(knex, receiptId, { status }, { limit: 500, offset: 0, after });
          if (rows.length === 0) return;
          yield rows;
          after = rows.at(-1)!.entry_id;
        }
      };
      return Readable.from(makeEntriesCsv(database, items, receipt, pages()));
    },

    async readBody(workspaceId: string, receiptId: string): Promise<{ receipt: ReceiptRow; bytes: Readable }> {
      const receipt = await getReceipt(workspaceId, receiptId);
      if (receipt.body_erased_at)
        throw new Problem(
          'body_erased',
          `the bytes were erased at ${receipt.body_erased_at.toISOString()}; their hash stays`,
        );
      const parts = async function* () {
        for (let start = 0; start < receipt.size_bytes; start += bodyPartBytes) {
          yield await readBodyRange(pool, receiptId, start, Math.min(start + bodyPartBytes, receipt.size_bytes));
        }
      };
      return { receipt, bytes: Readable.from(parts()) };
    },

    async verify(workspaceId: string, receiptId: string, providedHash: string) {
      const originalHash = (await getReceipt(workspaceId, receiptId)).hash.toString('hex');
      return { is_valid: originalHash === providedHash, original_hash: originalHash, provided_hash: providedHash };
    },

    /** Works on the failed entries of a receipt again. Returns how many there are. */
    async retry(workspaceId: string, receiptId: string): Promise<number> {
      await getReceipt(workspaceId, receiptId);
      const retried = await withTransaction(pool, (client) => retryFailedEntries(client, workspaceId, receiptId));
      if (retried.chunks.length > 0) void bell.ring(deduplicationQueue, retried.chunks);
      return retried.entries;
    },

    flush: () => writer.flush(),
    stop: () => waiter.stop(),
  };
}

function pendingEntry(receiptId: string, position: number): ShownEntry {
  return {
    entry_id: entryIdAt(receiptId, position),
    position,
    line: null,
    status: 'pending',
    outcome: null,
    dfid: null,
    merged_dfids: [],
    error: null,
  };
}

function joined(chunks: readonly Buffer[]): Buffer {
  return chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks);
}

function acknowledgement(receipt: NewReceipt, receivedAt: Date) {
  return showAcknowledgement({
    receipt_id: receipt.receiptId,
    hash: receipt.hash,
    size_bytes: receipt.sizeBytes,
    content_type: receipt.contentType,
    received_at: receivedAt,
  });
}

function showAcknowledgement(
  row: Pick<ReceiptRow, 'receipt_id' | 'hash' | 'size_bytes' | 'content_type' | 'received_at'>,
) {
  return {
    receipt_id: row.receipt_id,
    status: 'received',
    hash: row.hash.toString('hex'),
    size_bytes: row.size_bytes,
    content_type: row.content_type,
    received_at: row.received_at.toISOString(),
  };
}

function acknowledge(body: ReturnType<typeof showAcknowledgement>): RouteResponse {
  return { status: 202, headers: { location: `/api/receipts/${body.receipt_id}` }, body, isRecallable: true };
}

function statusOf(row: ReceiptRow): ReceiptStatus {
  if (row.finished_at && row.outcome) return row.outcome;
  return row.cut_at ? 'processing' : 'received';
}

/** A receipt as the API shows it. */
export function showReceipt(row: ReceiptRow) {
  const { completed, rejected, failed, conflicted } = row;
  const total = row.entry_total ?? 0;
  return {
    ...showAcknowledgement(row),
    status: statusOf(row),
    entries: {
      total,
      pending: total - completed - rejected - failed - conflicted,
      completed,
      rejected,
      failed,
      conflicted,
    },
    items: { created: row.created, updated: row.enriched },
    unclassified_fields: row.unclassified_fields ?? [],
    error: row.failure,
    finished_at: row.finished_at?.toISOString() ?? null,
  };
}
