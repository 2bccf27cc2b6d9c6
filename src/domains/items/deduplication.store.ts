import { int2Array, int4Array, int8Array, textArray, timestamptzArray, uuidArray } from '#platform/binary-arrays.ts';
import type { Queryable } from '#platform/database.ts';
import { claimKey, splitClaimKey } from './judge-record.ts';
import type { StoredContributionState } from './contribution-state.ts';

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

/** Who owns keys, as far as committed; keys that nobody owns are left out. */
export interface ClaimOwners {
  /** For all workspaces. */
  readonly owners: Map<string, number>;
  /** For the asking workspace alone. */
  readonly privateOwners: Map<string, number>;
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
  if (keys.length === 0) return { owners: new Map(), privateOwners: new Map() };
  // Two arrays in one row are a fraction of the work of a row for each key.
  const { rows } = await queryable.query<{ shared: OwnerColumns; own: OwnerColumns }>({
    name: 'find_claim_owners',
    text: `select (select json_build_object('ordinals', coalesce(array_agg(wanted.ordinal), '{}'),
                                            'item_numbers', coalesce(array_agg(claims.item_number), '{}'))
                   from unnest($1::text[], $2::text[]) with ordinality as wanted (identifier_type, value, ordinal)
                   join identifier_claims as claims
                     on claims.identifier_type = wanted.identifier_type collate "C" and claims.value = wanted.value collate "C") as shared,
                  (select json_build_object('ordinals', coalesce(array_agg(wanted.ordinal), '{}'),
                                            'item_numbers', coalesce(array_agg(claims.item_number), '{}'))
                   from unnest($1::text[], $2::text[]) with ordinality as wanted (identifier_type, value, ordinal)
                   join workspace_claims as claims
                     on claims.workspace_id = $3 and claims.identifier_type = wanted.identifier_type collate "C"
                    and claims.value = wanted.value collate "C") as own`,
    values: [...claimColumns(keys), workspaceId],
  });
  const ownersOf = ({ ordinals, item_numbers: itemNumbers }: OwnerColumns) =>
    new Map(ordinals.map((ordinal, at) => [keys[ordinal - 1]!, itemNumbers[at]!]));
  return { owners: ownersOf(rows[0]!.shared), privateOwners: ownersOf(rows[0]!.own) };
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
    text: `select contested.identifier_type, contested.value, null::int8 as item_number
           from unnest($1::text[], $2::text[]) as held (identifier_type, value)
           join contested_claims as contested
             on contested.identifier_type = held.identifier_type collate "C" and contested.value = held.value collate "C"
           union all
           select claims.identifier_type, claims.value, claims.item_number
           from unnest($1::text[], $2::text[]) as held (identifier_type, value)
           join workspace_claims as claims
             on claims.workspace_id = $3 and claims.identifier_type = held.identifier_type collate "C"
            and claims.value = held.value collate "C"`,
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

export interface ClaimOfItem {
  item_number: number;
  identifier_type: string;
  value: string;
  /** It leads to the item and is not on it any longer. */
  is_ended: boolean;
}

/** All claims of items, those that lead only one workspace to them included (for that workspace). */
export async function findClaimsOfItems(
  queryable: Queryable,
  workspaceId: string,
  itemNumbers: readonly number[],
): Promise<ClaimOfItem[]> {
  const { rows } = await queryable.query<ClaimOfItem>({
    name: 'find_claims_of_items',
    text: `select item_number, identifier_type, value, ended_at is not null as is_ended from identifier_claims
           where item_number = any($1::int8[])
           union all
           select item_number, identifier_type, value, ended_at is not null from workspace_claims
           where item_number = any($1::int8[]) and workspace_id = $2`,
    values: [int8Array(itemNumbers), workspaceId],
  });
  return rows;
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

export interface ContributionRow {
  item_number: number;
  workspace_id: string;
  state: StoredContributionState;
  /** Whether the workspace may join what others contributed to. */
  is_trusted: boolean;
}

/** Who contributed to items, with what they know. */
export async function findContributions(
  queryable: Queryable,
  itemNumbers: readonly number[],
): Promise<ContributionRow[]> {
  const { rows } = await queryable.query<ContributionRow>({
    name: 'find_contributions',
    text: `select item_number, contributions.workspace_id, state, workspaces.may_link_items as is_trusted
           from contributions join workspaces on workspaces.workspace_id = contributions.workspace_id
           where item_number = any($1::int8[])`,
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

/** Writes what workspaces know of items that exist: a new row, or the row that is there in its next version. */
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
             do update set state = excluded.state, version = contributions.version + excluded.version,
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

/** One entry of an item's past, as far as the fold needs it. */
export interface HistoryRow {
  /** The item that the entry belongs to by now. */
  item_number: number;
  entry_id: string;
  effective_at_micros: number;
  received_sequence: number;
  fields: Record<string, unknown>;
}

/** All entries of a workspace for items and for those merged into them. */
export async function findHistory(
  queryable: Queryable,
  workspaceId: string,
  itemNumbers: readonly number[],
): Promise<HistoryRow[]> {
  // `offset 0` keeps the lookup of entries one of each member; without statistics the planner would read all entries once.
  const { rows } = await queryable.query<HistoryRow>({
    name: 'find_history',
    text: `select members.item_number, past.entry_id, (extract(epoch from past.effective_at) * 1000000)::int8 as effective_at_micros,
                  past.received_sequence, past.record -> 'fields' as fields
           from (
             select unnest($1::int8[]) as item_number, unnest($1::int8[]) as member
             union all
             select merged_into, item_number from items where merged_into = any($1::int8[])
           ) as members
           cross join lateral (
             select entry_id, effective_at, received_sequence, record from entries
             where entries.item_number = members.member and entries.workspace_id = $2 and entries.withdrawn_at is null offset 0
           ) as past`,
    values: [int8Array(itemNumbers), workspaceId],
  });
  return rows;
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
