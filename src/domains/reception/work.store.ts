import { int2Array, int4Array, int8Array, textArray, uuidArray } from '#platform/binary-arrays.ts';
import type { Queryable } from '#platform/database.ts';
import type { BodyCharset, BodyFormat } from './body-format.ts';
import type { CsvLayout } from './csv-records.ts';
import { receiptSettled, settledColumns } from './receipt-settled.ts';

/** The chunk number under which the attempts to cut a receipt are counted. */
export const cuttingChunkNumber = -1;

export interface UncutReceipt {
  receipt_id: string;
  workspace_id: string;
  received_sequence: number;
  size_bytes: number;
  format: BodyFormat;
  charset: BodyCharset;
  request_id: string | null;
  /** How often it was tried to cut it before. */
  tries: number;
}

/** The cursor before all workspaces. */
export const firstWorkspace = '00000000-0000-0000-0000-000000000000';
/** Workspaces that one claim looks at, when those before have nothing that is free. */
const workspacesPerClaim = 200;

interface Turns {
  readonly table: string;
  /** The conditions of the index on open rows. */
  readonly open: string;
  readonly columns: string;
  /** The order among the rows of a workspace. */
  readonly order: string;
}

/**
 * A query of the first free row of the next workspace after `cursor`, which it locks. Each workspace with due work is
 * found by one probe of the index on open rows. What is put off is passed over here, or many workspaces with nothing else
 * would fill the turns.
 */
function firstFreeRow({ table, open, columns, order }: Turns, cursor: string): string {
  return `(with recursive turns (workspace_id, turn) as (
             select ${cursor}, 0
             union all
             select (select workspace_id from ${table}
                     where ${open} and workspace_id > turns.workspace_id and next_attempt_at <= now()
                     order by workspace_id limit 1), turn + 1
             from turns where turns.workspace_id is not null and turn < ${workspacesPerClaim}
           )
           select claimed.* from turns cross join lateral (
             select ${columns} from ${table}
             where ${open} and workspace_id = turns.workspace_id and next_attempt_at <= now()
             order by ${order} limit 1 for no key update skip locked
           ) as claimed where turn > 0 limit 1)`;
}

/** The same, beginning again with the first workspace when there is none after `cursor`; the second is asked only then. */
function firstFreeRowInTurn(turns: Turns, cursor: string): string {
  return `${firstFreeRow(turns, cursor)} union all ${firstFreeRow(turns, `'${firstWorkspace}'::uuid`)}`;
}

/** How often a row that was claimed has been tried before, as far as committed. */
function triesBefore(chunkNumber: string): string {
  return `coalesce((select max(attempt) from work_attempts as attempts
                    where attempts.receipt_id = claimed.receipt_id and attempts.chunk_number = ${chunkNumber}), 0) as tries`;
}

/**
 * Locks receipts of the next workspace after `cursor` that wait to be cut, oldest first: many small ones or one big one.
 * The lock is the claim; it ends with the transaction.
 */
export async function claimUncutReceipts(
  queryable: Queryable,
  cursor: string,
  smallBytes: number,
  smallMax: number,
): Promise<UncutReceipt[]> {
  const columns = 'receipt_id, workspace_id, received_sequence, size_bytes, format, charset, request_id';
  const turns = { table: 'receipts', open: 'cut_at is null', columns, order: 'received_sequence' };
  const tries = triesBefore(String(cuttingChunkNumber));
  const first = await queryable.query<UncutReceipt>({
    name: 'claim_uncut_receipt',
    text: `select claimed.*, ${tries} from (${firstFreeRowInTurn(turns, '$1::uuid')} limit 1) as claimed`,
    values: [cursor],
  });
  const [receipt] = first.rows;
  if (!receipt || receipt.size_bytes > smallBytes) return first.rows;
  const others = await queryable.query<UncutReceipt>({
    name: 'claim_more_uncut_receipts',
    text: `select claimed.*, ${tries} from (
             select ${columns} from receipts
             where cut_at is null and workspace_id = $1 and received_sequence > $2 and next_attempt_at <= now() and size_bytes <= $3
             order by received_sequence limit $4 for no key update skip locked
           ) as claimed`,
    values: [receipt.workspace_id, receipt.received_sequence, smallBytes, smallMax - 1],
  });
  return [receipt, ...others.rows];
}

export interface NewChunk {
  readonly receiptId: string;
  readonly chunkNumber: number;
  readonly workspaceId: string;
  readonly receivedSequence: number;
  readonly lane: number;
  readonly byteStart: number;
  readonly byteLength: number;
  readonly firstPosition: number;
  readonly firstLine: number | null;
  readonly entryCount: number;
}

export async function insertChunks(queryable: Queryable, chunks: readonly NewChunk[]): Promise<void> {
  if (chunks.length === 0) return;
  await queryable.query({
    name: 'insert_chunks',
    text: `insert into receipt_chunks (receipt_id, chunk_number, workspace_id, received_sequence, lane, byte_start, byte_length,
                                       first_position, first_line, entry_count)
           select * from unnest($1::uuid[], $2::int4[], $3::uuid[], $4::int8[], $5::int2[], $6::int4[], $7::int4[], $8::int4[],
                                $9::int4[], $10::int4[])`,
    values: [
      uuidArray(chunks.map((chunk) => chunk.receiptId)),
      int4Array(chunks.map((chunk) => chunk.chunkNumber)),
      uuidArray(chunks.map((chunk) => chunk.workspaceId)),
      int8Array(chunks.map((chunk) => chunk.receivedSequence)),
      int2Array(chunks.map((chunk) => chunk.lane)),
      int4Array(chunks.map((chunk) => chunk.byteStart)),
      int4Array(chunks.map((chunk) => chunk.byteLength)),
      int4Array(chunks.map((chunk) => chunk.firstPosition)),
      int4Array(chunks.map((chunk) => chunk.firstLine)),
      int4Array(chunks.map((chunk) => chunk.entryCount)),
    ],
  });
}

export interface CutResult {
  readonly receiptId: string;
  readonly entryTotal: number;
  readonly csvLayout: CsvLayout | null;
  readonly unclassifiedFields: readonly string[] | null;
  /** Why the body could not be split into records at all. */
  readonly failure: { code: string; detail: string } | null;
}

/** Notes that receipts are cut; one that could not be is settled as failed. */
export async function markCut(queryable: Queryable, results: readonly CutResult[]): Promise<void> {
  await queryable.query({
    name: 'mark_cut',
    text: `with marked as (
           update receipts
           set cut_at = now(), entry_total = cut.entry_total, csv_layout = cut.csv_layout::json,
               unclassified_fields = case when cut.unclassified_fields is null then null
                                          else array(select json_array_elements_text(cut.unclassified_fields::json)) end,
               failure = cut.failure::json,
               finished_at = case when cut.failure is not null then now() when cut.entry_total = 0 then now() end,
               outcome = case when cut.failure is not null then 'failed' when cut.entry_total = 0 then 'completed' end
           from unnest($1::uuid[], $2::int4[], $3::text[], $4::text[], $5::text[])
             as cut (receipt_id, entry_total, csv_layout, unclassified_fields, failure)
           where receipts.receipt_id = cut.receipt_id
           returning ${settledColumns}, receipts.finished_at
           ), settled as (select * from marked where finished_at is not null)
           ${receiptSettled('settled')}`,
    values: [
      uuidArray(results.map((result) => result.receiptId)),
      int4Array(results.map((result) => result.entryTotal)),
      textArray(results.map((result) => result.csvLayout && JSON.stringify(result.csvLayout))),
      textArray(results.map((result) => result.unclassifiedFields && JSON.stringify(result.unclassifiedFields))),
      textArray(results.map((result) => result.failure && JSON.stringify(result.failure))),
    ],
  });
}

export interface DueChunk {
  receipt_id: string;
  chunk_number: number;
  workspace_id: string;
  received_sequence: number;
  lane: number;
  byte_start: number;
  byte_length: number;
  first_position: number;
  first_line: number | null;
  entry_count: number;
  /** How often it was tried before. */
  tries: number;
}

const chunkColumns =
  'receipt_id, chunk_number, workspace_id, received_sequence, lane, byte_start, byte_length, first_position, first_line, entry_count';

/** A lane and the workspace that was served last in it. */
export interface LaneCursor {
  readonly lane: number;
  readonly cursor: string;
}

/**
 * Locks the oldest chunk of the next workspace in the first lane, or in the second when the first has none, and in the
 * lane of small receipts as many more of that workspace as make up a batch. The lock is the claim; it ends with the
 * transaction, or with the process.
 */
export async function claimChunks(
  queryable: Queryable,
  [first, second]: readonly [LaneCursor, LaneCursor],
  batched: { readonly lane: number; readonly chunksMax: number },
): Promise<DueChunk[]> {
  const order = 'received_sequence, chunk_number';
  const turns = (lane: string) => ({
    table: 'receipt_chunks',
    open: `not is_done and lane = ${lane}`,
    columns: chunkColumns,
    order,
  });
  const claimed = await queryable.query<DueChunk>({
    name: 'claim_chunk',
    text: `select claimed.*, ${triesBefore('claimed.chunk_number')} from (
             ${firstFreeRowInTurn(turns('$1'), '$2::uuid')} union all ${firstFreeRowInTurn(turns('$3'), '$4::uuid')} limit 1
           ) as claimed`,
    values: [first.lane, first.cursor, second.lane, second.cursor],
  });
  const [chunk] = claimed.rows;
  if (!chunk || chunk.lane !== batched.lane) return claimed.rows;
  const others = await queryable.query<DueChunk>({
    name: 'claim_more_chunks',
    text: `select claimed.*, ${triesBefore('claimed.chunk_number')} from (
             select ${chunkColumns} from receipt_chunks
             where not is_done and lane = $1 and workspace_id = $2 and received_sequence > $3 and next_attempt_at <= now()
             order by ${order} limit $4 for no key update skip locked
           ) as claimed`,
    values: [chunk.lane, chunk.workspace_id, chunk.received_sequence, batched.chunksMax - 1],
  });
  return [chunk, ...others.rows];
}

export interface AttemptRow {
  receipt_id: string;
  chunk_number: number;
  attempt: number;
  position: number | null;
}

/** The tries at a chunk so far. All but those of finished work ended in a crash or an error. */
export async function findAttempts(
  queryable: Queryable,
  receiptId: string,
  chunkNumber: number,
): Promise<AttemptRow[]> {
  const { rows } = await queryable.query<AttemptRow>({
    text: `select receipt_id, chunk_number, attempt, position from work_attempts
           where receipt_id = $1 and chunk_number = $2`,
    values: [receiptId, chunkNumber],
  });
  return rows;
}

/** Counts a try. Committed before the work begins, on a connection that is not the one that works. */
export async function insertAttempts(
  queryable: Queryable,
  attempts: readonly AttemptRow[],
  worker: string,
): Promise<void> {
  await queryable.query({
    name: 'insert_attempts',
    text: `insert into work_attempts (receipt_id, chunk_number, attempt, position, worker)
           select receipt_id, chunk_number, attempt, position, $5 from unnest($1::uuid[], $2::int4[], $3::int4[], $4::int4[])
             as tried (receipt_id, chunk_number, attempt, position)`,
    values: [
      uuidArray(attempts.map((attempt) => attempt.receipt_id)),
      int4Array(attempts.map((attempt) => attempt.chunk_number)),
      int4Array(attempts.map((attempt) => attempt.attempt)),
      int4Array(attempts.map((attempt) => attempt.position)),
      worker,
    ],
  });
}

/** Forgets tries of work that was done long ago. Returns how many. */
export async function deleteOldAttempts(queryable: Queryable, keptDays: number, limit: number): Promise<number> {
  const { rowCount } = await queryable.query({
    text: `delete from work_attempts where ctid = any(array(
             select attempts.ctid from work_attempts as attempts
             where started_at < now() - make_interval(days => $1)
               and not exists (select from receipt_chunks as chunks
                               where chunks.receipt_id = attempts.receipt_id and chunks.chunk_number = attempts.chunk_number
                                 and not chunks.is_done)
             limit $2))`,
    values: [keptDays, limit],
  });
  return rowCount ?? 0;
}

/** Takes back tries that failed through nobody's fault. */
export async function deleteAttempts(
  queryable: Queryable,
  attempts: readonly { receipt_id: string; chunk_number: number; attempt: number }[],
): Promise<void> {
  await queryable.query({
    text: `delete from work_attempts using unnest($1::uuid[], $2::int4[], $3::int4[]) as excused (receipt_id, chunk_number, attempt)
           where work_attempts.receipt_id = excused.receipt_id and work_attempts.chunk_number = excused.chunk_number
             and work_attempts.attempt = excused.attempt`,
    values: [
      uuidArray(attempts.map((attempt) => attempt.receipt_id)),
      int4Array(attempts.map((attempt) => attempt.chunk_number)),
      int4Array(attempts.map((attempt) => attempt.attempt)),
    ],
  });
}

/** Puts off chunks whose work failed, and notes nothing else: the attempts tell the rest. */
export async function postponeChunks(
  queryable: Queryable,
  chunks: readonly { receipt_id: string; chunk_number: number }[],
  delayMs: number,
) {
  await queryable.query({
    text: `update receipt_chunks set next_attempt_at = now() + make_interval(secs => $3::float8 / 1000)
           from unnest($1::uuid[], $2::int4[]) as late (receipt_id, chunk_number)
           where receipt_chunks.receipt_id = late.receipt_id and receipt_chunks.chunk_number = late.chunk_number and not is_done`,
    values: [
      uuidArray(chunks.map((chunk) => chunk.receipt_id)),
      int4Array(chunks.map((chunk) => chunk.chunk_number)),
      delayMs,
    ],
  });
}

export interface ReceiptContext {
  receipt_id: string;
  received_at_micros: number;
  format: BodyFormat;
  charset: BodyCharset;
  csv_layout: CsvLayout | null;
  default_value_chain: string | null;
  default_country: string | null;
  default_year: number | null;
  default_circuit_id: string | null;
  may_link_items: boolean;
  /** 0 when the workspace never had quality rules. */
  quality_rules_version: number;
  request_id: string | null;
}

/** What is needed of receipts to judge their records. */
export async function findReceiptContexts(
  queryable: Queryable,
  receiptIds: readonly string[],
): Promise<Map<string, ReceiptContext>> {
  const { rows } = await queryable.query<ReceiptContext>({
    name: 'find_receipt_contexts',
    text: `select receipt_id, (extract(epoch from received_at) * 1000000)::int8 as received_at_micros, format, charset, csv_layout,
                  default_value_chain, default_country, default_year, default_circuit_id, workspaces.may_link_items,
                  workspaces.quality_rules_version, request_id
           from receipts join workspaces on workspaces.workspace_id = receipts.workspace_id
           where receipt_id = any($1::uuid[])`,
    values: [uuidArray(receiptIds)],
  });
  return new Map(rows.map((row) => [row.receipt_id, row]));
}

export interface ChunkCounts {
  completed: number;
  rejected: number;
  failed: number;
  conflicted: number;
  created: number;
  enriched: number;
}

/** Ends chunks with their counts, once each. */
export async function finishChunks(
  queryable: Queryable,
  chunks: readonly (ChunkCounts & { receipt_id: string; chunk_number: number })[],
): Promise<void> {
  await queryable.query({
    name: 'finish_chunks',
    text: `update receipt_chunks
           set is_done = true, completed = done.completed, rejected = done.rejected, failed = done.failed,
               conflicted = done.conflicted, created = done.created, enriched = done.enriched
           from unnest($1::uuid[], $2::int4[], $3::int4[], $4::int4[], $5::int4[], $6::int4[], $7::int4[], $8::int4[])
             as done (receipt_id, chunk_number, completed, rejected, failed, conflicted, created, enriched)
           where receipt_chunks.receipt_id = done.receipt_id and receipt_chunks.chunk_number = done.chunk_number`,
    values: [
      uuidArray(chunks.map((chunk) => chunk.receipt_id)),
      int4Array(chunks.map((chunk) => chunk.chunk_number)),
      int4Array(chunks.map((chunk) => chunk.completed)),
      int4Array(chunks.map((chunk) => chunk.rejected)),
      int4Array(chunks.map((chunk) => chunk.failed)),
      int4Array(chunks.map((chunk) => chunk.conflicted)),
      int4Array(chunks.map((chunk) => chunk.created)),
      int4Array(chunks.map((chunk) => chunk.enriched)),
    ],
  });
}

/** Receipts that wait to be cut and that nobody works on, oldest first. */
export async function findOverdueReceipts(
  queryable: Queryable,
  limit: number,
): Promise<{ receipt_id: string; request_id: string | null }[]> {
  // What is not cut is not finished either, and the index on unfinished receipts has this order.
  const { rows } = await queryable.query<{ receipt_id: string; request_id: string | null }>({
    text: `select receipt_id, request_id from receipts
           where finished_at is null and cut_at is null and next_attempt_at <= now() and received_at < now() - interval '1 second'
           order by received_sequence limit $1 for no key update skip locked`,
    values: [limit],
  });
  return rows;
}

/** Chunks that are due and that nobody works on, with the requests that brought them. */
export async function findOverdueChunks(queryable: Queryable, limit: number) {
  const { rows } = await queryable.query<{ receipt_id: string; chunk_number: number; request_id: string | null }>({
    text: `select receipt_chunks.receipt_id, chunk_number, receipts.request_id
           from receipt_chunks join receipts on receipts.receipt_id = receipt_chunks.receipt_id
           where not is_done and receipt_chunks.next_attempt_at <= now() - interval '1 second'
           limit $1 for no key update of receipt_chunks skip locked`,
    values: [limit],
  });
  return rows;
}

/** Whether records wait to be cut or resolved now, or are being so. */
export async function areRecordsWaiting(queryable: Queryable): Promise<boolean> {
  const { rows } = await queryable.query<{ are_waiting: boolean }>({
    name: 'are_records_waiting',
    text: `select exists (select from receipts where cut_at is null and next_attempt_at <= now())
                  or exists (select from receipt_chunks where not is_done and next_attempt_at <= now()) as are_waiting`,
  });
  return rows[0]!.are_waiting;
}
