import { int8Array } from '#platform/binary-arrays.ts';
import type { Queryable } from '#platform/database.ts';
import type { Principal } from '#platform/route.ts';
import type { DfidPartsRow } from '../items.store.ts';

/** An item as one who decides about it must know it. */
export interface DecidedItemRow extends DfidPartsRow {
  /** All workspaces that contribute to the item that it is now. */
  contributors: string[];
  /** The status that the asking workspace gave it; null when it does not know the item. */
  own_status: string | null;
}

/** Items with those who contribute to what they are now. */
export async function readDecidedItems(
  queryable: Queryable,
  workspaceId: string,
  itemNumbers: readonly number[],
): Promise<Map<number, DecidedItemRow>> {
  const { rows } = await queryable.query<DecidedItemRow>({
    name: 'read_decided_items',
    text: `select items.item_number, value_chain, country, year, merged_into,
                  (select status from contributions
                   where contributions.item_number = items.item_number and workspace_id = $2) as own_status,
                  array(select workspace_id::text from contributions
                        where contributions.item_number = coalesce(items.merged_into, items.item_number)) as contributors
           from items where items.item_number = any($1::int8[])`,
    values: [int8Array(itemNumbers), workspaceId],
  });
  return new Map(rows.map((row) => [row.item_number, row]));
}

/** The merge by which an item became another, as far as it holds. */
export async function findMergeOf(
  queryable: Queryable,
  loser: number,
): Promise<{ survivor: number; loser: number } | undefined> {
  const { rows } = await queryable.query<{ survivor: number; loser: number }>({
    name: 'find_merge_of',
    text: 'select survivor, loser from item_merges where loser = $1 and undone_at is null',
    values: [loser],
  });
  return rows[0];
}

/**
 * Notes that an administrator said that items are each one thing. The word of anybody else counts for their own records
 * alone, as what their contributions hold together.
 */
export async function vouchFor(
  queryable: Queryable,
  { scope }: Pick<Principal, 'scope'>,
  itemNumbers: readonly number[],
): Promise<void> {
  if (scope !== 'admin') return;
  await queryable.query({
    name: 'vouch_for',
    text: 'update items set vouched_at = now() where item_number = any($1::int8[])',
    values: [int8Array(itemNumbers)],
  });
}

/** The entry of a workspace, and the items that it belongs to now: more than one where a person divided it. */
export async function findOwnEntry(
  queryable: Queryable,
  workspaceId: string,
  entryId: string,
): Promise<{ item_numbers: number[]; is_withdrawn: boolean } | undefined> {
  const { rows } = await queryable.query<{ item_numbers: number[]; is_withdrawn: boolean }>({
    name: 'find_own_entry',
    text: `select entries.withdrawn_at is not null as is_withdrawn,
                  (select coalesce(json_agg(distinct coalesce(items.merged_into, items.item_number)), '[]')
                   from (select entries.item_number
                         union all
                         select item_number from entry_divisions where entry_divisions.entry_id = entries.entry_id) as places
                   join items on items.item_number = places.item_number) as item_numbers
           from entries where entries.entry_id = $1 and entries.workspace_id = $2`,
    values: [entryId, workspaceId],
  });
  return rows[0];
}

/** Fingerprints of the entries of a workspace for items that name an identifier which identifies nothing by itself. */
export async function findFingerprintsNaming(
  queryable: Queryable,
  itemNumbers: readonly number[],
  identifier: { claimType: string; value: string },
): Promise<[claimType: string, value: string][]> {
  const { rows } = await queryable.query<{ claim_type: string; value: string }>({
    name: 'find_fingerprints_naming',
    text: `select distinct fingerprint ->> 0 as claim_type, fingerprint ->> 1 as value
           from entries
           cross join lateral json_array_elements(entries.record -> 'fingerprints') as fingerprint
           where entries.item_number = any($1::int8[]) and entries.withdrawn_at is null
             and exists (select 1 from json_array_elements(entries.record -> 'identifiers') as identifier
                         where identifier ->> 2 = $2 and identifier ->> 3 = $3)`,
    values: [int8Array(itemNumbers), identifier.claimType, identifier.value],
  });
  return rows.map((row) => [row.claim_type, row.value]);
}

/** Takes back what an administrator said of items that came apart. */
export async function stopVouching(queryable: Queryable, itemNumbers: readonly number[]): Promise<void> {
  await queryable.query({
    name: 'stop_vouching',
    text: 'update items set vouched_at = null where item_number = any($1::int8[]) and vouched_at is not null',
    values: [int8Array(itemNumbers)],
  });
}
