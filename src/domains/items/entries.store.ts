import type { Knex, Queryable } from '#platform/database.ts';
import { countedAtMost, type Page } from '#platform/page.ts';
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

/** An entry as the API shows it. */
export interface ShownEntry {
  readonly entry_id: string;
  readonly position: number;
  readonly line: number | null;
  readonly status: EntryStatus | 'pending';
  readonly outcome: EntryOutcome | null;
  readonly dfid: string | null;
  readonly merged_dfids: readonly string[];
  readonly error: { code: string; detail: string; pointer: string; dfids?: readonly string[] } | null;
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

/** The entries of a receipt in their order. The caller has checked that the receipt may be seen. */
export async function listEntries(
  knex: Knex,
  receiptId: string,
  filter: { status: EntryStatus | undefined },
  position: { limit: number; offset: number; after: string | undefined },
): Promise<Omit<Page<EntryRow>, 'nextPosition'>> {
  const counted = await knex.count<{ count: number }[]>('*').from(
    entriesOf(knex, receiptId, filter.status)
      .select(knex.raw('1'))
      .limit(countedAtMost + 1)
      .as('counted'),
  );
  return { rows: await readEntries(knex, receiptId, filter, position), total: counted[0]?.count ?? 0 };
}

/** A page of these entries without counting all. */
export async function readEntries(
  knex: Knex,
  receiptId: string,
  filter: { status: EntryStatus | undefined },
  position: { limit: number; offset: number; after: string | undefined },
): Promise<EntryRow[]> {
  const page = entriesOf(knex, receiptId, filter.status)
    .select<EntryRow[]>(columns)
    .orderBy('entry_id')
    .limit(position.limit);
  if (position.after === undefined) void page.offset(position.offset);
  else void page.andWhere('entry_id', '>', position.after);
  return page;
}
