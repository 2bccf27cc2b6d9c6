import { uuidArray } from '#platform/binary-arrays.ts';
import type { Knex, Queryable } from '#platform/database.ts';
import { countMatching, cutPage, type Page, type PagePosition } from '#platform/page.ts';
import { entryIdAt, receiptEntriesMax } from '#platform/ids.ts';
import type { EntryOutcome, EntryStatus } from './deduplication.store.ts';

export interface EntryRow {
  entry_id: string;
  item_number: number | null;
  line: number | null;
  byte_start: number;
  byte_length: number;
  status: EntryStatus;
  outcome: EntryOutcome | null;
  error: { code: string; detail: string; pointer: string; contested?: number[] } | null;
}

/** An item that an entry made part of another. */
export interface EntryMerge {
  entry_id: string;
  loser: number;
}

/** An entry as the API shows it. */
export interface ShownEntry {
  readonly entry_id: string;
  readonly position: number;
  readonly line: number | null;
  readonly status: EntryStatus | 'pending';
  readonly outcome: EntryOutcome | null;
  readonly dfid: string | null;
  readonly merged_dfids: readonly string[];
  readonly error: {
    code: string;
    detail: string;
    pointer: string;
    dfids?: readonly string[];
    conflict_id?: string;
  } | null;
}

const columns = ['entry_id', 'item_number', 'line', 'byte_start', 'byte_length', 'status', 'outcome', 'error'];

function entriesOf(knex: Knex, receiptId: string, status: EntryStatus | undefined): Knex.QueryBuilder {
  const query = knex('entries').whereBetween('entry_id', [
    entryIdAt(receiptId, 0),
    entryIdAt(receiptId, receiptEntriesMax - 1),
  ]);
  return status === undefined ? query : query.andWhere('status', status);
}

/** An entry that exists, also one that the caller's transaction wrote. */
export async function findEntry(queryable: Queryable, entryId: string): Promise<EntryRow> {
  const { rows } = await queryable.query<EntryRow>({
    name: 'find_entry',
    text: `select ${columns.join(', ')} from entries where entry_id = $1`,
    values: [entryId],
  });
  return rows[0]!;
}

/** All entries of a receipt in their order, those of the caller's transaction too; for receipts of few records. */
export async function readAllEntries(queryable: Queryable, receiptId: string): Promise<EntryRow[]> {
  const { rows } = await queryable.query<EntryRow>({
    name: 'read_all_entries',
    text: `select ${columns.join(', ')} from entries where entry_id between $1 and $2 order by entry_id`,
    values: [entryIdAt(receiptId, 0), entryIdAt(receiptId, receiptEntriesMax - 1)],
  });
  return rows;
}

/** Which items these entries made part of others, as the caller's transaction sees it. */
export async function listMergesOfEntries(queryable: Queryable, entryIds: readonly string[]): Promise<EntryMerge[]> {
  if (entryIds.length === 0) return [];
  const { rows } = await queryable.query<EntryMerge>({
    name: 'list_merges_of_entries',
    text: 'select entry_id, loser from item_merges where entry_id = any($1::uuid[]) and undone_at is null order by loser',
    values: [uuidArray(entryIds)],
  });
  return rows;
}

/** The entries of a receipt in their order. The caller has checked that the receipt may be seen. */
export async function listEntries(
  knex: Knex,
  receiptId: string,
  filter: { status: EntryStatus | undefined },
  position: PagePosition,
): Promise<Omit<Page<EntryRow>, 'nextPosition'>> {
  const total = await countMatching(knex, entriesOf(knex, receiptId, filter.status));
  return { rows: await readEntries(knex, receiptId, filter, position), total };
}

/** A page of these entries without counting all. */
export async function readEntries(
  knex: Knex,
  receiptId: string,
  filter: { status: EntryStatus | undefined },
  position: PagePosition,
): Promise<EntryRow[]> {
  const entries = entriesOf(knex, receiptId, filter.status).select<EntryRow[]>(columns);
  return cutPage(entries, 'entry_id', 'asc', position);
}
