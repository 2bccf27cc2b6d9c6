import type { Knex } from '#platform/database.ts';
import { countMatching, cutPage, type Page, type PagePosition } from '#platform/page.ts';
import type { StoredContributionState } from './contribution-state.ts';
import { isItemOfCircuit } from './named-circuits.store.ts';
import type { ValueChain } from './value-chain.ts';

export interface ItemRow {
  item_number: number;
  value_chain: ValueChain;
  country: string;
  year: number;
  merged_into: number | null;
  status: string;
  version: number;
  state: StoredContributionState;
  registered_at: Date;
  updated_at: Date;
}

export interface ItemFilter {
  workspaceId: string;
  itemNumbers?: readonly number[] | undefined;
  valueChain?: string | undefined;
  country?: string | undefined;
  year?: number | undefined;
  status?: string | undefined;
  circuitId?: string | undefined;
}

function matchingItems(knex: Knex, filter: ItemFilter): Knex.QueryBuilder {
  const query = knex('contributions')
    .join('items', 'items.item_number', 'contributions.item_number')
    .where('contributions.workspace_id', filter.workspaceId);
  if (filter.status === 'merged') void query.whereNotNull('items.merged_into');
  else {
    void query.whereNull('items.merged_into');
    if (filter.status !== undefined) void query.andWhere('contributions.status', filter.status);
  }
  if (filter.itemNumbers !== undefined) void query.whereIn('contributions.item_number', [...filter.itemNumbers]);
  if (filter.valueChain !== undefined) void query.andWhere('items.value_chain', filter.valueChain);
  if (filter.country !== undefined) void query.andWhere('items.country', filter.country);
  if (filter.year !== undefined) void query.andWhere('items.year', filter.year);
  if (filter.circuitId !== undefined) void query.andWhere(isItemOfCircuit(knex, filter.workspaceId, filter.circuitId));
  return query;
}

const itemColumns = [
  'items.item_number',
  'items.value_chain',
  'items.country',
  'items.year',
  'items.merged_into',
  'contributions.status',
  'contributions.version',
  'contributions.state',
  'contributions.registered_at',
  'contributions.updated_at',
];

/** The items that a workspace contributed to, newest first. */
export async function listItems(
  knex: Knex,
  filter: ItemFilter,
  position: PagePosition,
): Promise<Omit<Page<ItemRow>, 'nextPosition'>> {
  const matching = matchingItems(knex, filter);
  const total = await countMatching(knex, matching);
  const listed = matching.select<ItemRow[]>(itemColumns);
  return { rows: await cutPage(listed, 'contributions.item_number', 'desc', position), total };
}

/** What a workspace knows of an item, merged or not. */
export async function findItem(knex: Knex, workspaceId: string, itemNumber: number): Promise<ItemRow | undefined> {
  return knex('contributions')
    .join('items', 'items.item_number', 'contributions.item_number')
    .where({ 'contributions.workspace_id': workspaceId, 'contributions.item_number': itemNumber })
    .select(itemColumns)
    .first<ItemRow | undefined>();
}

export interface DfidPartsRow {
  item_number: number;
  value_chain: ValueChain;
  country: string;
  year: number;
  merged_into: number | null;
}

/** What the DFIDs of items are made of. */
export async function findDfidParts(knex: Knex, itemNumbers: readonly number[]): Promise<Map<number, DfidPartsRow>> {
  if (itemNumbers.length === 0) return new Map();
  const rows = await knex('items')
    .whereIn('item_number', [...new Set(itemNumbers)])
    .select<DfidPartsRow[]>('item_number', 'value_chain', 'country', 'year', 'merged_into');
  return new Map(rows.map((row) => [row.item_number, row]));
}

/** An item and all that were merged into it. */
export async function findMembers(knex: Knex, itemNumber: number): Promise<number[]> {
  const rows = await knex('items')
    .where('merged_into', itemNumber)
    .select<{ item_number: number }[]>('item_number')
    .orderBy('item_number');
  return [itemNumber, ...rows.map((row) => row.item_number)];
}

/** The items to which an identifier leads a workspace: at most one for all workspaces and one for it alone. */
export async function findClaimOwners(
  knex: Knex,
  workspaceId: string,
  claimType: string,
  value: string,
): Promise<number[]> {
  const claim = { identifier_type: claimType, value };
  const rows = await knex('identifier_claims')
    .where(claim)
    .select<{ item_number: number }[]>('item_number')
    .union(
      knex('workspace_claims')
        .where({ ...claim, workspace_id: workspaceId })
        .select('item_number'),
    );
  return rows.map((row) => row.item_number);
}

/** The items of a workspace that mention a value which identifies nothing, at most `limit`. */
export async function findMentioningItems(
  knex: Knex,
  workspaceId: string,
  identifierType: string,
  value: string,
  limit: number,
): Promise<number[]> {
  const rows = await knex('identifier_mentions')
    .join('items', 'items.item_number', 'identifier_mentions.item_number')
    .where({ workspace_id: workspaceId, identifier_type: identifierType, value })
    .select<{ item_number: number }[]>(knex.raw('coalesce(items.merged_into, items.item_number) as item_number'))
    .limit(limit);
  return rows.map((row) => row.item_number);
}

export interface ItemEntryRow {
  entry_id: string;
  effective_at: Date;
  effective_at_micros: number;
  received_sequence: number;
  record: { identifiers: [string, string, string, string, 0 | 1][]; fields: Record<string, unknown> };
  received_at: Date;
  receipt_id: string;
}

/** The entries that make up what a workspace knows of items, with the receipts they came in. */
export async function listItemEntries(
  knex: Knex,
  workspaceId: string,
  itemNumbers: readonly number[],
  limits: { rows: number; bytes: number },
): Promise<{ entries: ItemEntryRow[]; isComplete: boolean }> {
  const places = ['entries.effective_at', 'entries.received_sequence', 'entries.entry_id'];
  const oldest = knex('entries')
    .join('receipts', 'receipts.received_sequence', 'entries.received_sequence')
    .where('entries.workspace_id', workspaceId)
    .where('receipts.workspace_id', workspaceId)
    .whereNull('entries.withdrawn_at')
    .whereIn('entries.item_number', [...itemNumbers])
    .select(
      'entries.entry_id',
      'entries.effective_at',
      knex.raw('(extract(epoch from entries.effective_at) * 1000000)::int8 as effective_at_micros'),
      'entries.received_sequence',
      'entries.record',
      'receipts.received_at',
      'receipts.receipt_id',
      knex.raw(`sum(octet_length(entries.record::text)) over (order by ${places.join(', ')}) as bytes_so_far`),
      knex.raw('count(*) over () as found'),
    )
    .orderBy(places)
    .limit(limits.rows)
    .as('oldest');
  const rows = await knex
    .from(oldest)
    .where('bytes_so_far', '<=', limits.bytes)
    .orderBy(['effective_at', 'received_sequence', 'entry_id'])
    .select<(ItemEntryRow & { found: number })[]>(
      'entry_id',
      'effective_at',
      'effective_at_micros',
      'received_sequence',
      'record',
      'received_at',
      'receipt_id',
      'found',
    );
  return { entries: rows, isComplete: rows.length === (rows[0]?.found ?? 0) };
}

/** An entry whose identifiers a person divided between its own item and another. */
export interface OwnDivisionRow extends ItemEntryRow {
  division_item: number;
  claims: [string, string][];
}

/** The divided entries of a workspace of which one part belongs to one of these items. */
export async function findOwnDivisions(
  knex: Knex,
  workspaceId: string,
  itemNumbers: readonly number[],
): Promise<OwnDivisionRow[]> {
  return knex('entry_divisions')
    .join('entries', 'entries.entry_id', 'entry_divisions.entry_id')
    .join('receipts', 'receipts.received_sequence', 'entries.received_sequence')
    .where('entries.workspace_id', workspaceId)
    .whereNull('entries.withdrawn_at')
    .where((either) => {
      void either
        .whereIn('entry_divisions.item_number', [...itemNumbers])
        .orWhereIn('entries.item_number', [...itemNumbers]);
    })
    .select<OwnDivisionRow[]>(
      'entries.entry_id',
      'entries.effective_at',
      knex.raw('(extract(epoch from entries.effective_at) * 1000000)::int8 as effective_at_micros'),
      'entries.received_sequence',
      'entries.record',
      'receipts.received_at',
      'receipts.receipt_id',
      'entry_divisions.item_number as division_item',
      'entry_divisions.claims',
    );
}

/** How many other workspaces contributed to items. */
export async function countOtherContributors(
  knex: Knex,
  workspaceId: string,
  itemNumbers: readonly number[],
): Promise<number> {
  const row = await knex('contributions')
    .whereIn('item_number', [...itemNumbers])
    .whereNot('workspace_id', workspaceId)
    .countDistinct<{ count: number }[]>('workspace_id as count');
  return row[0]?.count ?? 0;
}
