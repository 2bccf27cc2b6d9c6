import { int4Array, textArray, uuidArray } from '#platform/binary-arrays.ts';
import type { Queryable } from '#platform/database.ts';
import { countedAtMost } from '#platform/page.ts';
import type { EntryStatus } from '#domains/items/index.ts';
import type { BodyCharset, BodyFormat } from '../body-format.ts';
import type { CsvLayout } from '../csv-records.ts';
import { bodyPartBytes } from '../receipts.store.ts';

/** What is stored of a fault; `raised` counts by how much approvals in vain raised the priority. */
export interface StoredFault {
  code: string;
  detail: string;
  pointer: string;
  severity?: string;
  rule?: string;
  raised?: number;
}

export interface PendingRow {
  entry_id: string;
  line: number | null;
  byte_start: number;
  byte_length: number;
  status: EntryStatus;
  outcome: 'created' | 'enriched' | 'duplicate' | 'conflict' | null;
  item_number: number | null;
  error: StoredFault | null;
  dismissed_at: Date | null;
  /** The priority, negated. */
  rank: number;
}

/** A place in the list: after this entry. */
export interface PendingPosition {
  readonly rank: number;
  readonly code: string;
  readonly entryId: string;
}

// Word for word what entries_pending_idx is made of, or the index is not used.
const rank = `(-least(4, case error ->> 'code'
    when 'no_identifying_identifier' then 3
    when 'quality_rule' then case error ->> 'severity' when 'Critical' then 4 when 'High' then 3 when 'Medium' then 2 else 1 end
    when 'processing_failed' then 1 when 'unprocessable_record' then 1 when 'record_not_found' then 1
    else 2 end + coalesce((error ->> 'raised')::int4, 0)))`;
const code = `((error ->> 'code') collate "C")`;
const isOpen = `status in ('rejected', 'failed') and dismissed_at is null`;
const columns = `entry_id, line, byte_start, byte_length, status, outcome, item_number, error, dismissed_at, ${rank} as rank`;
const order = `${rank}, ${code}, entry_id`;

export interface PendingFilter {
  readonly workspaceId: string;
  /** Only these codes; undefined for all. */
  readonly codes: readonly string[] | undefined;
  readonly priorityMin: number;
}

interface Query {
  readonly text: string;
  readonly values: unknown[];
}

interface PendingPage {
  readonly limit: number;
  readonly offset: number;
  readonly after: PendingPosition | undefined;
}

const isOfWorkspace = `from entries where workspace_id = $1 and ${isOpen}`;

function pageQuery(filter: PendingFilter, { limit, offset, after }: PendingPage): Query {
  const values: unknown[] = [filter.workspaceId, limit, offset];
  if (after) values.push(after.rank, after.code, after.entryId);
  const from = `${isOfWorkspace} ${after ? `and (${order}) > ($4::int4, $5::text collate "C", $6::uuid)` : ''}`;
  if (filter.codes === undefined) {
    const text = `select ${columns} ${from} ${atLeast(filter)} order by ${order} limit $2 offset $3`;
    return { text, values };
  }
  // One probe of the index for each priority and code, so that what is left out costs nothing.
  const text = `select found.* from ${wantedPairs(filter.priorityMin, filter.codes, after, values)}
    cross join lateral (
      select ${columns} ${from} and ${rank} = wanted_rank and ${code} = wanted_code collate "C"
      order by ${order} limit $2::int4 + $3::int4
    ) as found order by wanted_rank, wanted_code collate "C", entry_id limit $2 offset $3`;
  return { text, values };
}

function countQuery(filter: PendingFilter): Query {
  const values: unknown[] = [filter.workspaceId];
  const limit = `limit ${countedAtMost + 1}`;
  const matching =
    filter.codes === undefined
      ? `select ${isOfWorkspace} ${atLeast(filter)} ${limit}`
      : `select from ${wantedPairs(filter.priorityMin, filter.codes, undefined, values)} cross join lateral (
           select ${isOfWorkspace} and ${rank} = wanted_rank and ${code} = wanted_code collate "C" ${limit}
         ) as found ${limit}`;
  return { text: `select count(*)::int4 as count from (${matching}) as counted`, values };
}

function atLeast({ priorityMin }: PendingFilter): string {
  return priorityMin > 1 ? `and ${rank} <= ${-priorityMin}` : '';
}

/** The places of the list that a filter leaves, as a row each. */
function wantedPairs(
  priorityMin: number,
  codes: readonly string[],
  after: PendingPosition | undefined,
  values: unknown[],
): string {
  const pairs = [4, 3, 2, 1]
    .filter((priority) => priority >= priorityMin)
    .flatMap((priority) => codes.map((one) => [-priority, one] as const))
    .filter(([at, one]) => !after || at > after.rank || (at === after.rank && one >= after.code));
  values.push(int4Array(pairs.map(([at]) => at)), textArray(pairs.map(([, one]) => one)));
  return `unnest($${values.length - 1}::int4[], $${values.length}::text[]) as wanted (wanted_rank, wanted_code)`;
}

/** A page of what waits in a workspace: the highest priority first, then by kind of fault, then the oldest first. */
export async function listPending(
  queryable: Queryable,
  filter: PendingFilter,
  page: PendingPage,
): Promise<{ rows: PendingRow[]; total: number }> {
  const found = pageQuery(filter, page);
  const { rows } = await queryable.query<PendingRow>(found.text, found.values);
  const counted = countQuery(filter);
  const count = await queryable.query<{ count: number }>(counted.text, counted.values);
  return { rows, total: count.rows[0]!.count };
}

/** An entry of a workspace, whatever became of it. */
export async function findEntry(
  queryable: Queryable,
  workspaceId: string,
  entryId: string,
): Promise<PendingRow | undefined> {
  const { rows } = await queryable.query<PendingRow>(
    `select ${columns} from entries where entry_id = $1 and workspace_id = $2`,
    [entryId, workspaceId],
  );
  return rows[0];
}

export interface ReceiptOfEntries {
  receipt_id: string;
  received_at: Date;
  format: BodyFormat;
  charset: BodyCharset;
  csv_layout: CsvLayout | null;
  body_erased_at: Date | null;
}

export async function findReceiptsOfEntries(
  queryable: Queryable,
  receiptIds: readonly string[],
): Promise<Map<string, ReceiptOfEntries>> {
  const { rows } = await queryable.query<ReceiptOfEntries>(
    `select receipt_id, received_at, format, charset, csv_layout, body_erased_at from receipts
     where receipt_id = any($1::uuid[])`,
    [uuidArray([...new Set(receiptIds)])],
  );
  return new Map(rows.map((row) => [row.receipt_id, row]));
}

/** Bytes of bodies, in the order of `ranges`; none where the body was erased. */
export async function readBodyRanges(
  queryable: Queryable,
  ranges: readonly { receiptId: string; start: number; end: number }[],
): Promise<Buffer[]> {
  const { rows } = await queryable.query<{ ordinal: number; base64: string }>(
    `select ordinal, encode(substring(bytes from greatest(first - part * ${bodyPartBytes}, 0) + 1
                                      for least(past - part * ${bodyPartBytes}, ${bodyPartBytes})
                                          - greatest(first - part * ${bodyPartBytes}, 0)), 'base64') as base64
     from unnest($1::uuid[], $2::int4[], $3::int4[]) with ordinality as wanted (wanted_id, first, past, ordinal)
     join receipt_bodies on receipt_id = wanted_id and part between first / ${bodyPartBytes} and (past - 1) / ${bodyPartBytes}
     where past > first
     order by ordinal, part`,
    [
      uuidArray(ranges.map((range) => range.receiptId)),
      int4Array(ranges.map((range) => range.start)),
      int4Array(ranges.map((range) => range.end)),
    ],
  );
  const parts = Map.groupBy(rows, (row) => row.ordinal);
  return ranges.map((_range, at) =>
    Buffer.concat((parts.get(at + 1) ?? []).map(({ base64 }) => Buffer.from(base64, 'base64'))),
  );
}

export interface DecisionRow {
  entry_id: string;
  action: 'approve' | 'reject' | 'modify';
  result: 'completed' | 'conflicted' | 'dismissed' | 'still_pending';
  reason: string | null;
  new_identifiers: unknown;
  new_enriched_data: unknown;
  decided_by: string;
  decided_at: Date;
}

/** What was decided about entries, the oldest first. */
export async function listDecisions(queryable: Queryable, entryIds: readonly string[]): Promise<DecisionRow[]> {
  const { rows } = await queryable.query<DecisionRow>(
    `select entry_id, action, result, reason, new_identifiers, new_enriched_data, decided_by, decided_at
     from pending_decisions where entry_id = any($1::uuid[]) order by entry_id, decision_id`,
    [uuidArray(entryIds)],
  );
  return rows;
}

/** How often it was tried in vain to make items of entries; entries without a try are left out. */
export async function countTries(queryable: Queryable, entryIds: readonly string[]): Promise<Map<string, number>> {
  const { rows } = await queryable.query<{ entry_id: string; tries: number }>(
    `select entry_id, count(*)::int4 as tries from pending_decisions
     where entry_id = any($1::uuid[]) and result = 'still_pending' group by entry_id`,
    [uuidArray(entryIds)],
  );
  return new Map(rows.map((row) => [row.entry_id, row.tries]));
}
