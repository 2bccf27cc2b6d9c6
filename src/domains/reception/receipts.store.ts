import type pg from 'pg';
import { byteaArray, int2Array, int4Array, textArray, uuidArray } from '#platform/binary-arrays.ts';
import { withTransaction, type Knex, type Queryable } from '#platform/database.ts';
import { idempotencyExpiry, type IdempotencyClaim } from '#platform/idempotency.store.ts';
import { countMatching, cutPage, type Page, type PagePosition } from '#platform/page.ts';
import type { BodyCharset, BodyFormat } from './body-format.ts';
import type { CsvLayout } from './csv-records.ts';
import { receiptSettled, settledColumns } from './receipt-settled.ts';
import type { ReceiptStatus } from './receipts.schema.ts';

/** Bytes of one part of a stored body. */
export const bodyPartBytes = 1_048_576;

export interface NewReceipt {
  readonly receiptId: string;
  readonly workspaceId: string;
  readonly hash: Buffer;
  readonly sizeBytes: number;
  readonly contentType: string;
  readonly format: BodyFormat;
  readonly charset: BodyCharset;
  readonly valueChain: string | null;
  readonly country: string | null;
  readonly year: number | null;
  readonly circuitId: string | null;
  readonly requestId: string;
  /** The bytes, when they are few; else null, and they follow in parts. */
  readonly body: Buffer | null;
  /** Kept in the same statement as the receipt. */
  readonly idempotency: Pick<IdempotencyClaim, 'operation' | 'key' | 'fingerprint'> | null;
}

export interface StoredReceipt {
  receipt_id: string;
  received_at: Date;
}

/**
 * Stores receipts with their small bodies and idempotency keys in one statement. May be repeated with the same rows after
 * a commit of unknown outcome. Returns the receipts that exist afterwards; one that is missing lost its key to an older one.
 */
export async function insertReceipts(queryable: Queryable, receipts: readonly NewReceipt[]): Promise<StoredReceipt[]> {
  const keys = receipts.map((receipt) => receipt.idempotency);
  const { rows } = await queryable.query<StoredReceipt>({
    name: 'insert_receipts',
    text: `with incoming as materialized (
             select * from unnest($1::uuid[], $2::uuid[], $3::bytea[], $4::int4[], $5::text[], $6::text[], $7::text[], $8::text[],
                                  $9::text[], $10::int2[], $11::text[], $12::bytea[], $13::text[], $14::text[], $15::bytea[], $16::uuid[])
               as row (receipt_id, workspace_id, hash, size_bytes, content_type, format, charset, value_chain, country, year,
                       request_id, body, operation, key, fingerprint, circuit_id)
           ), kept_keys as (
             insert into idempotency_keys as existing (workspace_id, operation, key, fingerprint, receipt_id, expires_at)
             select workspace_id, operation, key, fingerprint, receipt_id, ${idempotencyExpiry}
             from incoming where key is not null order by workspace_id, operation, key
             on conflict (workspace_id, operation, key) do update
               set fingerprint = excluded.fingerprint, receipt_id = excluded.receipt_id, answer = null, expires_at = excluded.expires_at
               where existing.receipt_id = excluded.receipt_id or existing.expires_at < now()
             returning receipt_id
           ), stored as (
             insert into receipts (receipt_id, workspace_id, hash, size_bytes, content_type, format, charset, default_value_chain,
                                   default_country, default_year, request_id, default_circuit_id)
             select receipt_id, workspace_id, hash, size_bytes, content_type, format, charset, value_chain, country, year, request_id,
                    circuit_id
             from incoming where key is null or receipt_id in (select receipt_id from kept_keys)
             on conflict (receipt_id) do nothing
             returning receipt_id, received_at
           ), bodies as (
             insert into receipt_bodies (receipt_id, part, bytes)
             select receipt_id, 0, body from incoming where body is not null and receipt_id in (select receipt_id from stored)
             on conflict do nothing
           )
           select receipt_id, received_at from stored`,
    values: [
      uuidArray(receipts.map((receipt) => receipt.receiptId)),
      uuidArray(receipts.map((receipt) => receipt.workspaceId)),
      byteaArray(receipts.map((receipt) => receipt.hash)),
      int4Array(receipts.map((receipt) => receipt.sizeBytes)),
      textArray(receipts.map((receipt) => receipt.contentType)),
      textArray(receipts.map((receipt) => receipt.format)),
      textArray(receipts.map((receipt) => receipt.charset)),
      textArray(receipts.map((receipt) => receipt.valueChain)),
      textArray(receipts.map((receipt) => receipt.country)),
      int2Array(receipts.map((receipt) => receipt.year)),
      textArray(receipts.map((receipt) => receipt.requestId)),
      byteaArray(receipts.map((receipt) => receipt.body)),
      textArray(keys.map((key) => key?.operation ?? null)),
      textArray(keys.map((key) => key?.key ?? null)),
      byteaArray(keys.map((key) => key?.fingerprint ?? null)),
      uuidArray(receipts.map((receipt) => receipt.circuitId)),
    ],
  });
  if (rows.length === receipts.length) return rows;
  const found = new Set(rows.map((row) => row.receipt_id));
  const missing = receipts.filter((receipt) => !found.has(receipt.receiptId)).map((receipt) => receipt.receiptId);
  const again = await queryable.query<StoredReceipt>(
    'select receipt_id, received_at from receipts where receipt_id = any($1::uuid[])',
    [missing],
  );
  return [...rows, ...again.rows];
}

/** Stores one part of a body; repeating it changes nothing. */
export async function insertBodyPart(
  queryable: Queryable,
  receiptId: string,
  part: number,
  bytes: Buffer,
): Promise<void> {
  await queryable.query({
    name: 'insert_body_part',
    text: 'insert into receipt_bodies (receipt_id, part, bytes) values ($1, $2, $3) on conflict do nothing',
    values: [receiptId, part, bytes],
  });
}

/**
 * The bytes of a body from `start` to `end`. They travel as base64, which takes half of the time that the driver needs for
 * the hexadecimal form in which it gets a bytea.
 */
export async function readBodyRange(
  queryable: Queryable,
  receiptId: string,
  start: number,
  end: number,
): Promise<Buffer> {
  const { rows } = await queryable.query<{ base64: string }>({
    name: 'read_body_range',
    text: `select encode(substring(bytes from greatest($2::int4 - part * ${bodyPartBytes}, 0) + 1
                                   for least($3::int4 - part * ${bodyPartBytes}, ${bodyPartBytes})
                                       - greatest($2::int4 - part * ${bodyPartBytes}, 0)), 'base64') as base64
           from receipt_bodies
           where receipt_id = $1 and part between $2::int4 / ${bodyPartBytes} and ($3::int4 - 1) / ${bodyPartBytes}
           order by part`,
    values: [receiptId, start, end],
  });
  const parts = rows.map((row) => Buffer.from(row.base64, 'base64'));
  return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
}

/** The bodies of receipts that fit in one part. */
export async function readSmallBodies(
  queryable: Queryable,
  receiptIds: readonly string[],
): Promise<Map<string, Buffer>> {
  const { rows } = await queryable.query<{ receipt_id: string; base64: string }>({
    name: 'read_small_bodies',
    text: `select receipt_id, encode(bytes, 'base64') as base64 from receipt_bodies
           where receipt_id = any($1::uuid[]) and part = 0`,
    values: [uuidArray(receiptIds)],
  });
  return new Map(rows.map((row) => [row.receipt_id, Buffer.from(row.base64, 'base64')]));
}

export interface ReceiptRow {
  receipt_id: string;
  workspace_id: string;
  received_sequence: number;
  received_at: Date;
  hash: Buffer;
  size_bytes: number;
  content_type: string;
  charset: BodyCharset;
  cut_at: Date | null;
  entry_total: number | null;
  csv_layout: CsvLayout | null;
  unclassified_fields: string[] | null;
  failure: { code: string; detail: string } | null;
  finished_at: Date | null;
  outcome: ReceiptStatus | null;
  body_erased_at: Date | null;
  completed: number;
  rejected: number;
  failed: number;
  conflicted: number;
  created: number;
  enriched: number;
}

const counters = ['completed', 'rejected', 'failed', 'conflicted', 'created', 'enriched'] as const;

function selectReceipts(knex: Knex) {
  const sums = counters.map((counter) => `coalesce(sum(${counter}), 0)::int4 as ${counter}`).join(', ');
  return knex('receipts')
    .joinRaw(
      `cross join lateral (select ${sums} from receipt_chunks where receipt_chunks.receipt_id = receipts.receipt_id) as counts`,
    )
    .select<ReceiptRow[]>(
      'receipt_id',
      'workspace_id',
      'received_sequence',
      'received_at',
      'hash',
      'size_bytes',
      'content_type',
      'charset',
      'cut_at',
      'entry_total',
      'csv_layout',
      'unclassified_fields',
      'failure',
      'finished_at',
      'outcome',
      'body_erased_at',
      ...counters,
    );
}

/** A receipt of a workspace with the sums over its chunks. */
export async function findReceipt(knex: Knex, workspaceId: string, receiptId: string): Promise<ReceiptRow | undefined> {
  return selectReceipts(knex)
    .where({ receipt_id: receiptId, workspace_id: workspaceId })
    .first<ReceiptRow | undefined>();
}

export interface ReceiptFilter {
  workspaceId: string;
  status?: ReceiptStatus | undefined;
  receivedAfter?: Date | undefined;
  receivedBefore?: Date | undefined;
}

/** The receipts of a workspace, newest first. */
export async function listReceipts(
  knex: Knex,
  filter: ReceiptFilter,
  position: PagePosition,
): Promise<Omit<Page<ReceiptRow>, 'nextPosition'>> {
  const restrict = (query: Knex.QueryBuilder) => {
    void query.where('workspace_id', filter.workspaceId);
    if (filter.status === 'received') void query.whereNull('cut_at').whereNull('finished_at');
    else if (filter.status === 'processing') void query.whereNotNull('cut_at').whereNull('finished_at');
    else if (filter.status !== undefined) void query.where('outcome', filter.status);
    if (filter.receivedAfter) void query.where('received_at', '>=', filter.receivedAfter);
    if (filter.receivedBefore) void query.where('received_at', '<', filter.receivedBefore);
    return query;
  };
  const total = await countMatching(knex, restrict(knex('receipts')));
  const listed = selectReceipts(knex);
  restrict(listed);
  return { rows: await cutPage(listed, 'received_sequence', 'desc', position), total };
}

/** Positions of the records of a receipt that are not judged yet, in order, and how many there are. */
export async function listPendingPositions(
  queryable: Queryable,
  receiptId: string,
  position: { limit: number; offset: number; after: number },
): Promise<{ positions: number[]; total: number }> {
  const { rows } = await queryable.query<{ position: number; total: number }>({
    text: `select position, (select coalesce(sum(entry_count), 0)::int4 from receipt_chunks where receipt_id = $1 and not is_done) as total
           from receipt_chunks cross join lateral generate_series(first_position, first_position + entry_count - 1) as position
           where receipt_id = $1 and not is_done and position > $2
           order by position limit $3 offset $4`,
    values: [receiptId, position.after, position.limit, position.offset],
  });
  return { positions: rows.map((row) => row.position), total: rows[0]?.total ?? 0 };
}

/** Which of these receipts are settled. */
export async function findFinished(queryable: Queryable, receiptIds: readonly string[]): Promise<string[]> {
  const { rows } = await queryable.query<{ receipt_id: string }>({
    name: 'find_finished',
    text: 'select receipt_id from receipts where receipt_id = any($1::uuid[]) and finished_at is not null',
    values: [uuidArray(receiptIds)],
  });
  return rows.map((row) => row.receipt_id);
}

/**
 * Settles those of these receipts that are cut and have no open chunk. A transaction of its own, after the commit of the
 * chunk: of two transactions that end the last two chunks, neither sees the other's.
 */
export async function settleReceipts(pool: pg.Pool, receiptIds: readonly string[]): Promise<number> {
  return withTransaction(pool, async (client) => {
    const { rows } = await client.query<{ receipt_id: string }>({
      name: 'lock_receipts_to_settle',
      text: `select receipt_id from receipts
             where receipt_id = any($1::uuid[]) and finished_at is null and cut_at is not null
               and not exists (select 1 from receipt_chunks where receipt_chunks.receipt_id = receipts.receipt_id and not is_done)
             order by receipt_id for no key update`,
      values: [uuidArray(receiptIds)],
    });
    if (rows.length === 0) return 0;
    // Another statement, so that it sees the counts of whoever held the lock before.
    const { rowCount } = await client.query({
      name: 'settle_receipts',
      text: `with settled as (
             update receipts set finished_at = now(), outcome = case when sums.errors > 0 then 'completed_with_errors' else 'completed' end
             from (
               select wanted.receipt_id, coalesce(sum(rejected + failed + conflicted), 0) as errors, coalesce(bool_or(not is_done), false) as is_open
               from unnest($1::uuid[]) as wanted (receipt_id)
               left join receipt_chunks on receipt_chunks.receipt_id = wanted.receipt_id
               group by wanted.receipt_id
             ) as sums
             where receipts.receipt_id = sums.receipt_id and not sums.is_open
             returning ${settledColumns}
           ), told as (${receiptSettled('settled')})
           select receipt_id from settled`,
      values: [uuidArray(rows.map((row) => row.receipt_id))],
    });
    return rowCount ?? 0;
  });
}

/** Receipts that are cut but not settled, from a place in the order of arrival on. */
export async function findUnsettled(queryable: Queryable, afterSequence: number, limit: number) {
  const { rows } = await queryable.query<{ receipt_id: string; received_sequence: number }>({
    name: 'find_unsettled',
    text: `select receipt_id, received_sequence from receipts
           where finished_at is null and cut_at is not null and received_sequence > $1
           order by received_sequence limit $2`,
    values: [afterSequence, limit],
  });
  return rows;
}

/** Erases bodies of receipts that settled long ago; hash, size and outcome stay. Returns how many. */
export async function eraseOldBodies(queryable: Queryable, retentionDays: number, limit: number): Promise<number> {
  const { rowCount } = await queryable.query({
    text: `with old as (
             select receipt_id from receipts
             where finished_at < now() - make_interval(days => $1) and body_erased_at is null
             order by finished_at limit $2 for update skip locked
           ), erased as (
             delete from receipt_bodies where receipt_id in (select receipt_id from old)
           )
           update receipts set body_erased_at = now() where receipt_id in (select receipt_id from old)`,
    values: [retentionDays, limit],
  });
  return rowCount ?? 0;
}
