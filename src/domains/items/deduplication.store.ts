import { int2Array, int4Array, int8Array, textArray, timestamptzArray, uuidArray } from '#platform/binary-arrays.ts';
import type { Queryable } from '#platform/database.ts';
import { claimKey, splitClaimKey } from './judge-record.ts';
import type { DfidPartsRow } from './items.store.ts';

/** The one lock that every transaction takes that merges items, after its claims and before its item rows. */
const mergeLockKey = 0x6d65_7267;

function claimColumns(keys: readonly string[]): [types: Buffer, values: Buffer] {
  const pairs = keys.map(splitClaimKey);
  return [textArray(pairs.map((pair) => pair[0])), textArray(pairs.map((pair) => pair[1]))];
}

/** The order in which all transactions claim keys. Any order would do, as long as it is everywhere the same. */
export function sortClaims(keys: Iterable<string>): string[] {
  return [...keys].toSorted((a, b) => (a < b ? -1 : a > b ? 1 : 0));
}

/*
 * Most workspaces have no claims of their own, and most installations few open cases, so looking up each key begins with
 * the question whether there are any. `offset 0` keeps it a lookup of each key also in plans that were made while the table
 * was empty: those would read all of it for every chunk once it is filled.
 */
function workspaceClaimOf(keys: string, workspaceId: string): string {
  return `select item_number from workspace_claims
          where workspace_id = ${workspaceId} and identifier_type = ${keys}.identifier_type collate "C"
            and value = ${keys}.value collate "C" offset 0`;
}

/** Who owns keys, as far as committed; keys that nobody owns are left out. */
export interface ClaimOwners {
  /** For all workspaces. */
  readonly owners: Map<string, number>;
  /** For the asking workspace alone. */
  readonly privateOwners: Map<string, number>;
  /** Whether anything was decided about records of the workspace that is to be remembered. */
  readonly hasDecisions: boolean;
}

interface OwnerColumns {
  ordinals: number[];
  item_numbers: number[];
}

export async function findClaimOwners(
  queryable: Queryable,
  workspaceId: string,
  keys: readonly string[],
): Promise<ClaimOwners> {
  if (keys.length === 0) return { owners: new Map(), privateOwners: new Map(), hasDecisions: false };
  // Two arrays in one row are a fraction of the work of a row for each key.
  const { rows } = await queryable.query<{ shared: OwnerColumns; own: OwnerColumns; has_decisions: boolean }>({
    name: 'find_claim_owners',
    text: `select (select json_build_object('ordinals', coalesce(array_agg(wanted.ordinal), '{}'),
                                            'item_numbers', coalesce(array_agg(claims.item_number), '{}'))
                   from unnest($1::text[], $2::text[]) with ordinality as wanted (identifier_type, value, ordinal)
                   join identifier_claims as claims
                     on claims.identifier_type = wanted.identifier_type collate "C" and claims.value = wanted.value collate "C") as shared,
                  (select json_build_object('ordinals', coalesce(array_agg(wanted.ordinal), '{}'),
                                            'item_numbers', coalesce(array_agg(claims.item_number), '{}'))
                   from unnest($1::text[], $2::text[]) with ordinality as wanted (identifier_type, value, ordinal)
                   cross join lateral (${workspaceClaimOf('wanted', '$3')}) as claims
                   where exists (select 1 from workspace_claims where workspace_id = $3)) as own,
                  exists (select 1 from remembered_decisions where workspace_id = $3) as has_decisions`,
    values: [...claimColumns(keys), workspaceId],
  });
  const ownersOf = ({ ordinals, item_numbers: itemNumbers }: OwnerColumns) =>
    new Map(ordinals.map((ordinal, at) => [keys[ordinal - 1]!, itemNumbers[at]!]));
  const { shared, own, has_decisions: hasDecisions } = rows[0]!;
  return { owners: ownersOf(shared), privateOwners: ownersOf(own), hasDecisions };
}

/**
 * What else is known of keys that this transaction holds, so that nobody can change it meanwhile: which of them belong to
 * an open case, and which lead the workspace to an item since they were looked up.
 */
export async function findReservations(
  queryable: Queryable,
  workspaceId: string,
  sortedKeys: readonly string[],
): Promise<{ contested: ReadonlySet<string>; privateOwners: ReadonlyMap<string, number> }> {
  if (sortedKeys.length === 0) return { contested: new Set(), privateOwners: new Map() };
  const { rows } = await queryable.query<{ identifier_type: string; value: string; item_number: number | null }>({
    name: 'find_reservations',
    text: `select held.identifier_type, held.value, null::int8 as item_number
           from unnest($1::text[], $2::text[]) as held (identifier_type, value)
           cross join lateral (
             select 1 from contested_claims
             where identifier_type = held.identifier_type collate "C" and value = held.value collate "C" offset 0
           ) as contested
           where exists (select 1 from contested_claims)
           union all
           select held.identifier_type, held.value, claims.item_number
           from unnest($1::text[], $2::text[]) as held (identifier_type, value)
           cross join lateral (${workspaceClaimOf('held', '$3')}) as claims
           where exists (select 1 from workspace_claims where workspace_id = $3)`,
    values: [...claimColumns(sortedKeys), workspaceId],
  });
  const contested = new Set<string>();
  const privateOwners = new Map<string, number>();
  for (const { identifier_type: claimType, value, item_number: itemNumber } of rows) {
    if (itemNumber === null) contested.add(claimKey(claimType, value));
    else privateOwners.set(claimKey(claimType, value), itemNumber);
  }
  return { contested, privateOwners };
}

/** Lets claims lead one workspace to items. */
export async function insertWorkspaceClaims(
  queryable: Queryable,
  workspaceId: string,
  claims: readonly NewClaim[],
): Promise<void> {
  if (claims.length === 0) return;
  await queryable.query({
    name: 'insert_workspace_claims',
    text: `insert into workspace_claims (workspace_id, identifier_type, value, item_number, entry_id)
           select $1::uuid, * from unnest($2::text[], $3::text[], $4::int8[], $5::uuid[])
           on conflict (workspace_id, identifier_type, value) do nothing`,
    values: [
      workspaceId,
      ...claimColumns(claims.map((claim) => claim.key)),
      int8Array(claims.map((claim) => claim.itemNumber)),
      uuidArray(claims.map((claim) => claim.entryId)),
    ],
  });
}

export interface NewClaim {
  readonly key: string;
  readonly itemNumber: number;
  readonly entryId: string;
}

/**
 * Claims keys for items in one statement, in the global order. Waits for transactions that claimed one of them and are
 * not committed yet. Returns the keys that it did not get: they belong to somebody else by now.
 */
export async function insertClaims(queryable: Queryable, sortedClaims: readonly NewClaim[]): Promise<string[]> {
  if (sortedClaims.length === 0) return [];
  // What was won is listed only when something was not: one row is a fraction of the work of a row for each claim, and
  // others wait for the time that this takes.
  const { rows } = await queryable.query<{ won: [claimType: string, value: string][] | null }>({
    name: 'insert_claims',
    text: `with won as (
             insert into identifier_claims (identifier_type, value, item_number, entry_id)
             select * from unnest($1::text[], $2::text[], $3::int8[], $4::uuid[])
             on conflict (identifier_type, value) do nothing
             returning identifier_type, value
           )
           select case when count(*) < $5::int4 then coalesce(to_json(array_agg(array[identifier_type, value])), '[]') end as won from won`,
    values: [
      ...claimColumns(sortedClaims.map((claim) => claim.key)),
      int8Array(sortedClaims.map((claim) => claim.itemNumber)),
      uuidArray(sortedClaims.map((claim) => claim.entryId)),
      sortedClaims.length,
    ],
  });
  const { won } = rows[0]!;
  if (won === null) return [];
  const wonKeys = new Set(won.map(([claimType, value]) => claimKey(claimType, value)));
  return sortedClaims.map((claim) => claim.key).filter((key) => !wonKeys.has(key));
}

/** Gives claims that this transaction holds to another item or entry. */
export async function moveClaims(queryable: Queryable, claims: readonly NewClaim[]): Promise<void> {
  if (claims.length === 0) return;
  await queryable.query({
    name: 'move_claims',
    text: `update identifier_claims as claims set item_number = moved.item_number, entry_id = moved.entry_id
           from unnest($1::text[], $2::text[], $3::int8[], $4::uuid[]) as moved (identifier_type, value, item_number, entry_id)
           where claims.identifier_type = moved.identifier_type collate "C" and claims.value = moved.value collate "C"`,
    values: [
      ...claimColumns(claims.map((claim) => claim.key)),
      int8Array(claims.map((claim) => claim.itemNumber)),
      uuidArray(claims.map((claim) => claim.entryId)),
    ],
  });
}

/** The end of the validity of a claim, and the entry that says so. */
export interface ClaimEnd {
  readonly key: string;
  readonly endedAtMicros: number;
  readonly entryId: string;
}

/** The earliest of several ends of the same claims, whatever the order in which they are told. */
export function earliestEnds(ends: readonly ClaimEnd[]): Map<string, ClaimEnd> {
  const earliest = new Map<string, ClaimEnd>();
  for (const end of ends) {
    const known = earliest.get(end.key);
    const isEarlier = !known || end.endedAtMicros < known.endedAtMicros;
    if (isEarlier || (end.endedAtMicros === known.endedAtMicros && end.entryId < known.entryId))
      earliest.set(end.key, end);
  }
  return earliest;
}

/** Ends claims of items that this transaction holds; one that ended earlier stays as it is. */
export async function endClaims(queryable: Queryable, workspaceId: string, ends: readonly ClaimEnd[]): Promise<void> {
  const earliest = [...earliestEnds(ends).values()];
  if (earliest.length === 0) return;
  const values = [
    ...claimColumns(earliest.map(({ key }) => key)),
    timestamptzArray(earliest.map(({ endedAtMicros }) => endedAtMicros)),
    uuidArray(earliest.map(({ entryId }) => entryId)),
  ];
  const end = (table: string) =>
    `update ${table} as claims set ended_at = ends.ended_at, ended_by = ends.ended_by
     from unnest($1::text[], $2::text[], $3::timestamptz[], $4::uuid[]) as ends (identifier_type, value, ended_at, ended_by)
     where claims.identifier_type = ends.identifier_type collate "C" and claims.value = ends.value collate "C"
       and (claims.ended_at is null or (ends.ended_at, ends.ended_by) < (claims.ended_at, claims.ended_by))`;
  await Promise.all([
    queryable.query({ name: 'end_claims', text: end('identifier_claims'), values }),
    queryable.query({
      name: 'end_workspace_claims',
      text: `${end('workspace_claims')} and claims.workspace_id = $5`,
      values: [...values, workspaceId],
    }),
  ]);
}

/** Lets go of claims that this transaction took for records that own nothing after all. */
export async function releaseClaims(queryable: Queryable, keys: readonly string[]): Promise<void> {
  if (keys.length === 0) return;
  await queryable.query({
    name: 'release_claims',
    text: `delete from identifier_claims as claims
           using unnest($1::text[], $2::text[]) as released (identifier_type, value)
           where claims.identifier_type = released.identifier_type collate "C" and claims.value = released.value collate "C"`,
    values: claimColumns(keys),
  });
}

/** Takes `count` numbers for new items from the sequence. */
export async function takeItemNumbers(queryable: Queryable, count: number): Promise<number[]> {
  const { rows } = await queryable.query<{ item_number: number }>({
    name: 'take_item_numbers',
    text: `select nextval('item_numbers') as item_number from generate_series(1, $1::int4)`,
    values: [count],
  });
  return rows.map((row) => row.item_number);
}

/** Waits until no other transaction merges items; held to the end of this one. */
export async function lockMerging(queryable: Queryable): Promise<void> {
  await queryable.query({ name: 'lock_merging', text: 'select pg_advisory_xact_lock($1)', values: [mergeLockKey] });
}

export interface LockedItem {
  item_number: number;
  merged_into: number | null;
  /** A person said that all that the item is made of is one thing. */
  is_vouched: boolean;
}

/** Locks item rows in the order of their numbers; with `withMembers` also the rows of items merged into them before. */
export async function lockItems(
  queryable: Queryable,
  itemNumbers: readonly number[],
  withMembers: boolean,
): Promise<LockedItem[]> {
  const { rows } = await queryable.query<LockedItem>({
    name: withMembers ? 'lock_items_and_members' : 'lock_items',
    text: `select item_number, merged_into, vouched_at is not null as is_vouched from items
           where item_number = any($1::int8[]) ${withMembers ? 'or merged_into = any($1::int8[])' : ''}
           order by item_number for no key update`,
    values: [int8Array(itemNumbers)],
  });
  return rows;
}

/** The items that became these. */
export async function findMergedItems(
  queryable: Queryable,
  itemNumbers: readonly number[],
): Promise<{ item_number: number; merged_into: number }[]> {
  const { rows } = await queryable.query<{ item_number: number; merged_into: number }>({
    name: 'find_members',
    text: 'select item_number, merged_into from items where merged_into = any($1::int8[])',
    values: [int8Array(itemNumbers)],
  });
  return rows;
}

/** What the DFIDs of items are made of. */
export async function findItemNames(
  queryable: Queryable,
  itemNumbers: readonly number[],
): Promise<ReadonlyMap<number, DfidPartsRow>> {
  const { rows } = await queryable.query<DfidPartsRow>({
    name: 'find_item_names',
    text: 'select item_number, value_chain, country, year, merged_into from items where item_number = any($1::int8[])',
    values: [int8Array(itemNumbers)],
  });
  return new Map(rows.map((row) => [row.item_number, row]));
}

/** A claim of an item that exists. */
export interface ItemClaim {
  readonly key: string;
  readonly claimType: string;
  readonly value: string;
  readonly itemNumber: number;
  /** True when it leads the asking workspace alone to the item. */
  readonly isPrivate: boolean;
  /** True when it leads to the item and is not on it any longer. */
  readonly isEnded: boolean;
}

interface ClaimsColumns {
  item_numbers: number[];
  claim_types: string[];
  claim_values: string[];
  are_ended: boolean[];
}

/** All claims of items, those that lead only one workspace to them included (for that workspace). */
export async function findClaimsOfItems(
  queryable: Queryable,
  workspaceId: string,
  itemNumbers: readonly number[],
): Promise<ItemClaim[]> {
  const columns = `json_build_object('item_numbers', coalesce(array_agg(item_number), '{}'),
                                     'claim_types', coalesce(array_agg(identifier_type), '{}'),
                                     'claim_values', coalesce(array_agg(value), '{}'),
                                     'are_ended', coalesce(array_agg(ended_at is not null), '{}'))`;
  const { rows } = await queryable.query<{ shared: ClaimsColumns; own: ClaimsColumns }>({
    name: 'find_claims_of_items',
    text: `select (select ${columns} from identifier_claims where item_number = any($1::int8[])) as shared,
                  (select ${columns} from workspace_claims where item_number = any($1::int8[]) and workspace_id = $2) as own`,
    values: [int8Array(itemNumbers), workspaceId],
  });
  const claimsOf = (found: ClaimsColumns, isPrivate: boolean) =>
    found.item_numbers.map((itemNumber, at): ItemClaim => {
      const [claimType, value] = [found.claim_types[at]!, found.claim_values[at]!];
      const isEnded = found.are_ended[at]!;
      return { key: claimKey(claimType, value), claimType, value, itemNumber, isPrivate, isEnded };
    });
  const { shared, own } = rows[0]!;
  return [...claimsOf(shared, false), ...claimsOf(own, true)];
}

/** Pairs of these items that a person keeps apart, be it as members that became them. */
export async function findSeparations(
  queryable: Queryable,
  itemNumbers: readonly number[],
): Promise<{ one: number; other: number }[]> {
  const { rows } = await queryable.query<{ one: number; other: number }>({
    name: 'find_separations',
    text: `with members as materialized (
             select item_number as current, item_number as member from unnest($1::int8[]) as wanted (item_number)
             union all
             select merged_into, item_number from items where merged_into = any($1::int8[])
           )
           select lower.current as one, higher.current as other
           from members as lower
           join item_separations as separations on separations.lower_item = lower.member
           join members as higher on higher.member = separations.higher_item
           where lower.current <> higher.current`,
    values: [int8Array(itemNumbers)],
  });
  return rows;
}

export interface NewItem {
  readonly itemNumber: number;
  readonly valueChain: string;
  readonly country: string;
  readonly year: number;
}

export async function insertItems(queryable: Queryable, items: readonly NewItem[]): Promise<void> {
  if (items.length === 0) return;
  await queryable.query({
    name: 'insert_items',
    text: `insert into items (item_number, value_chain, country, year)
           select * from unnest($1::int8[], $2::text[], $3::text[], $4::int2[])`,
    values: [
      int8Array(items.map((item) => item.itemNumber)),
      textArray(items.map((item) => item.valueChain)),
      textArray(items.map((item) => item.country)),
      int2Array(items.map((item) => item.year)),
    ],
  });
}

export interface WrittenContribution {
  readonly itemNumber: number;
  readonly workspaceId: string;
  /** JSON text. */
  readonly state: string;
  /** False when nothing that the workspace can see of the item changed. */
  readonly isNewVersion: boolean;
}

/** Writes what workspaces know of new items. */
export async function insertContributions(
  queryable: Queryable,
  contributions: readonly WrittenContribution[],
): Promise<void> {
  if (contributions.length === 0) return;
  await queryable.query({
    name: 'insert_contributions',
    text: `insert into contributions (item_number, workspace_id, state)
           select item_number, workspace_id, state::json
           from unnest($1::int8[], $2::uuid[], $3::text[]) as written (item_number, workspace_id, state)`,
    values: [
      int8Array(contributions.map((contribution) => contribution.itemNumber)),
      uuidArray(contributions.map((contribution) => contribution.workspaceId)),
      textArray(contributions.map((contribution) => contribution.state)),
    ],
  });
}

/**
 * Writes what workspaces know of items that exist: a new row, or the row that is there in its next version. A transaction
 * makes one version at most, however often it writes: its events, by which versions are told, all have its time.
 */
export async function upsertContributions(
  queryable: Queryable,
  contributions: readonly WrittenContribution[],
): Promise<void> {
  if (contributions.length === 0) return;
  await queryable.query({
    name: 'upsert_contributions',
    text: `insert into contributions (item_number, workspace_id, state, version)
           select item_number, workspace_id, state::json, versions
           from unnest($1::int8[], $2::uuid[], $3::text[], $4::int4[]) as written (item_number, workspace_id, state, versions)
           on conflict (item_number, workspace_id)
             do update set state = excluded.state,
                           version = contributions.version + case contributions.updated_at when now() then 0 else excluded.version end,
                           updated_at = case excluded.version when 0 then contributions.updated_at else now() end`,
    values: [
      int8Array(contributions.map((contribution) => contribution.itemNumber)),
      uuidArray(contributions.map((contribution) => contribution.workspaceId)),
      textArray(contributions.map((contribution) => contribution.state)),
      int4Array(contributions.map((contribution) => (contribution.isNewVersion ? 1 : 0))),
    ],
  });
}

export interface NewMention {
  readonly identifierType: string;
  readonly value: string;
  readonly itemNumber: number;
}

/** Makes identifiers that identify nothing searchable. */
export async function insertMentions(
  queryable: Queryable,
  workspaceId: string,
  mentions: readonly NewMention[],
): Promise<void> {
  if (mentions.length === 0) return;
  await queryable.query({
    name: 'insert_mentions',
    text: `insert into identifier_mentions (workspace_id, identifier_type, value, item_number)
           select $1::uuid, * from unnest($2::text[], $3::text[], $4::int8[])
           on conflict do nothing`,
    values: [
      workspaceId,
      textArray(mentions.map((mention) => mention.identifierType)),
      textArray(mentions.map((mention) => mention.value)),
      int8Array(mentions.map((mention) => mention.itemNumber)),
    ],
  });
}

export type EntryStatus = 'completed' | 'rejected' | 'failed' | 'conflicted';
export type EntryOutcome = 'created' | 'enriched' | 'duplicate' | 'conflict';

export interface NewEntry {
  readonly entryId: string;
  readonly itemNumber: number | null;
  readonly receivedSequence: number;
  readonly effectiveAtMicros: number;
  readonly line: number | null;
  readonly byteStart: number;
  readonly byteLength: number;
  readonly status: EntryStatus;
  readonly outcome: EntryOutcome | null;
  /** JSON text. */
  readonly record: string | null;
  /** JSON text. */
  readonly error: string | null;
}

/** Writes entries once, in their final state. */
export async function insertEntries(
  queryable: Queryable,
  workspaceId: string,
  entries: readonly NewEntry[],
): Promise<void> {
  if (entries.length === 0) return;
  await queryable.query({
    name: 'insert_entries',
    text: `insert into entries (workspace_id, entry_id, item_number, received_sequence, effective_at, line, byte_start, byte_length,
                                status, outcome, record, error)
           select $1::uuid, entry_id, item_number, received_sequence, effective_at, line, byte_start, byte_length,
                  status::entry_status, outcome::entry_outcome, record::json, error::json
           from unnest($2::uuid[], $3::int8[], $4::int8[], $5::timestamptz[], $6::int4[], $7::int4[], $8::int4[], $9::text[],
                       $10::text[], $11::text[], $12::text[])
             as new (entry_id, item_number, received_sequence, effective_at, line, byte_start, byte_length, status, outcome, record, error)`,
    values: [
      workspaceId,
      uuidArray(entries.map((entry) => entry.entryId)),
      int8Array(entries.map((entry) => entry.itemNumber)),
      int8Array(entries.map((entry) => entry.receivedSequence)),
      timestamptzArray(entries.map((entry) => entry.effectiveAtMicros)),
      int4Array(entries.map((entry) => entry.line)),
      int4Array(entries.map((entry) => entry.byteStart)),
      int4Array(entries.map((entry) => entry.byteLength)),
      textArray(entries.map((entry) => entry.status)),
      textArray(entries.map((entry) => entry.outcome)),
      textArray(entries.map((entry) => entry.record)),
      textArray(entries.map((entry) => entry.error)),
    ],
  });
}

/** Lets entries that a person rejected wait for nobody. */
export async function dismissEntries(queryable: Queryable, entryIds: readonly string[]): Promise<void> {
  if (entryIds.length === 0) return;
  await queryable.query({
    name: 'dismiss_entries',
    text: 'update entries set dismissed_at = now() where entry_id = any($1::uuid[])',
    values: [uuidArray(entryIds)],
  });
}

/** Takes back everything that this transaction wrote for items that it does not create after all. */
export async function discardNewItems(
  queryable: Queryable,
  itemNumbers: readonly number[],
  entryIds: readonly string[],
): Promise<void> {
  const numbers = int8Array(itemNumbers);
  await Promise.all([
    queryable.query({
      name: 'discard_entries',
      text: 'delete from entries where entry_id = any($1::uuid[])',
      values: [uuidArray(entryIds)],
    }),
    queryable.query({
      name: 'discard_contributions',
      text: 'delete from contributions where item_number = any($1::int8[])',
      values: [numbers],
    }),
    queryable.query({
      name: 'discard_items',
      text: 'delete from items where item_number = any($1::int8[])',
      values: [numbers],
    }),
  ]);
}

export interface NewMerge {
  readonly survivor: number;
  readonly losers: readonly number[];
  readonly workspaceId: string;
  readonly entryId: string;
}

/**
 * Makes items point at their survivor, flat, and gives it their claims. The row of each merge keeps what it moved. The
 * caller holds the merge lock and the rows of all items involved, those merged into the losers included.
 */
export async function mergeItems(queryable: Queryable, merge: NewMerge): Promise<void> {
  const losers = int8Array(merge.losers);
  await Promise.all([
    queryable.query({
      name: 'insert_item_merges',
      text: `insert into item_merges (merge_id, survivor, loser, workspace_id, entry_id, moved_claims, moved_items)
             select gen_random_uuid(), $1, losers.loser, $2, $3,
                    coalesce((select json_agg(json_build_array(identifier_type, value)) from identifier_claims where item_number = losers.loser), '[]'),
                    coalesce((select array_agg(item_number) from items where merged_into = losers.loser), '{}')
             from unnest($4::int8[]) as losers (loser)`,
      values: [merge.survivor, merge.workspaceId, merge.entryId, losers],
    }),
    queryable.query({
      name: 'point_at_survivor',
      text: 'update items set merged_into = $1 where item_number = any($2::int8[]) or merged_into = any($2::int8[])',
      values: [merge.survivor, losers],
    }),
    queryable.query({
      name: 'vouch_for_survivor',
      text: `update items set vouched_at = now() where item_number = $1
               and exists (select 1 from items as losers where losers.item_number = any($2::int8[]) and losers.vouched_at is not null)`,
      values: [merge.survivor, losers],
    }),
    queryable.query({
      name: 'move_claims_to_survivor',
      text: 'update identifier_claims set item_number = $1 where item_number = any($2::int8[])',
      values: [merge.survivor, losers],
    }),
    queryable.query({
      name: 'move_workspace_claims_to_survivor',
      text: 'update workspace_claims set item_number = $1 where item_number = any($2::int8[])',
      values: [merge.survivor, losers],
    }),
  ]);
}
