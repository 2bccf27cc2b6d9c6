import { int8Array, textArray, timestamptzArray, uuidArray } from '#platform/binary-arrays.ts';
import type { Queryable } from '#platform/database.ts';
import type { ClaimEnd, EntryOutcome, EntryStatus } from '../deduplication.store.ts';
import { claimKey, splitClaimKey } from '../judge-record.ts';
import type { StoredRecord } from '../stored-record.ts';
import type { ValueChain } from '../value-chain.ts';

export interface EvidenceItemRow {
  item_number: number;
  merged_into: number | null;
  value_chain: ValueChain;
  country: string;
  year: number;
}

/** Items and those that became them. */
export async function findItemsWithMembers(
  queryable: Queryable,
  itemNumbers: readonly number[],
): Promise<EvidenceItemRow[]> {
  const { rows } = await queryable.query<EvidenceItemRow>({
    name: 'find_items_with_members',
    text: `select item_number, merged_into, value_chain, country, year from items
           where item_number = any($1::int8[]) or merged_into = any($1::int8[]) order by item_number`,
    values: [int8Array(itemNumbers)],
  });
  return rows;
}

export interface EvidenceEntryRow {
  entry_id: string;
  workspace_id: string;
  item_number: number | null;
  effective_at_micros: number;
  received_sequence: number;
  status: EntryStatus;
  outcome: EntryOutcome | null;
  record: StoredRecord;
}

const entryColumns = `entry_id, workspace_id, item_number, (extract(epoch from effective_at) * 1000000)::int8 as effective_at_micros,
  received_sequence, status, outcome, record`;

/** The entries that make up items, of all workspaces; those that were withdrawn do not count. */
export async function findEntriesOfItems(
  queryable: Queryable,
  itemNumbers: readonly number[],
): Promise<EvidenceEntryRow[]> {
  const { rows } = await queryable.query<EvidenceEntryRow>({
    name: 'find_entries_of_items',
    text: `select ${entryColumns} from entries
           where item_number = any($1::int8[]) and status = 'completed' and withdrawn_at is null`,
    values: [int8Array(itemNumbers)],
  });
  return rows;
}

/** Entries by their ids, locked so that nobody else finishes them. */
export async function lockEntries(queryable: Queryable, entryIds: readonly string[]): Promise<EvidenceEntryRow[]> {
  const { rows } = await queryable.query<EvidenceEntryRow>({
    name: 'lock_entries',
    text: `select ${entryColumns} from entries where entry_id = any($1::uuid[]) order by entry_id for update`,
    values: [uuidArray(entryIds)],
  });
  return rows;
}

export interface DivisionRow extends EvidenceEntryRow {
  division_item: number;
  claims: [string, string][];
}

/** Identifiers that belong to one item while the rest of their entry belongs to another, one of them among these. */
export async function findDivisions(queryable: Queryable, itemNumbers: readonly number[]): Promise<DivisionRow[]> {
  const { rows } = await queryable.query<DivisionRow>({
    name: 'find_divisions',
    text: `select entries.*, divisions.item_number as division_item, divisions.claims
           from entry_divisions as divisions
           cross join lateral (
             select ${entryColumns} from entries
             where entries.entry_id = divisions.entry_id and entries.status = 'completed' and entries.withdrawn_at is null
           ) as entries
           where divisions.item_number = any($1::int8[])
              or divisions.entry_id in (select entry_id from entries where item_number = any($1::int8[]))`,
    values: [int8Array(itemNumbers)],
  });
  return rows;
}

export interface MergeRow {
  merge_id: string;
  survivor: number;
  loser: number;
  entry_id: string | null;
  workspace_id: string;
  overrides: Record<string, Record<string, unknown>> | null;
  merged_at_micros: number;
}

/** The merges that hold among items. */
export async function findMerges(queryable: Queryable, itemNumbers: readonly number[]): Promise<MergeRow[]> {
  const { rows } = await queryable.query<MergeRow>({
    name: 'find_merges',
    text: `select merge_id, survivor, loser, entry_id, workspace_id, overrides,
                  (extract(epoch from merged_at) * 1000000)::int8 as merged_at_micros
           from item_merges where loser = any($1::int8[]) and undone_at is null`,
    values: [int8Array(itemNumbers)],
  });
  return rows;
}

/** Pairs of these items that stay apart, and pairs with others. */
export async function findSeparationsOf(
  queryable: Queryable,
  itemNumbers: readonly number[],
): Promise<[lower: number, higher: number][]> {
  const { rows } = await queryable.query<{ lower_item: number; higher_item: number }>({
    name: 'find_separations_of',
    text: `select lower_item, higher_item from item_separations
           where lower_item = any($1::int8[]) and higher_item = any($1::int8[])`,
    values: [int8Array(itemNumbers)],
  });
  return rows.map((row) => [row.lower_item, row.higher_item]);
}

export interface OwnedKey {
  readonly key: string;
  /** The workspace that alone it leads to the item; null for all. */
  readonly workspaceId: string | null;
  readonly itemNumber: number;
}

/** What leads to items. */
export async function findKeysOfItems(queryable: Queryable, itemNumbers: readonly number[]): Promise<OwnedKey[]> {
  const { rows } = await queryable.query<{
    identifier_type: string;
    value: string;
    workspace_id: string | null;
    item_number: number;
  }>({
    name: 'find_keys_of_items',
    text: `select identifier_type, value, null::uuid as workspace_id, item_number from identifier_claims
           where item_number = any($1::int8[])
           union all
           select identifier_type, value, workspace_id, item_number from workspace_claims where item_number = any($1::int8[])`,
    values: [int8Array(itemNumbers)],
  });
  return rows.map((row) => ({
    key: claimKey(row.identifier_type, row.value),
    workspaceId: row.workspace_id,
    itemNumber: row.item_number,
  }));
}

export interface GivenKey {
  readonly key: string;
  readonly workspaceId: string | null;
  readonly itemNumber: number;
  readonly entryId: string;
  /** The end of its validity, if an entry that counts tells one. */
  readonly end: ClaimEnd | undefined;
}

/** Gives keys to items as they are now, and lets go of those that nothing names any longer. */
export async function writeKeys(
  queryable: Queryable,
  given: readonly GivenKey[],
  released: readonly OwnedKey[],
): Promise<void> {
  const columnsOf = (keys: readonly { key: string }[]): [Buffer, Buffer] => {
    const pairs = keys.map(({ key }) => splitClaimKey(key));
    return [textArray(pairs.map((pair) => pair[0])), textArray(pairs.map((pair) => pair[1]))];
  };
  const endColumns = (keys: readonly GivenKey[]): [Buffer, Buffer] => [
    timestamptzArray(keys.map(({ end }) => end?.endedAtMicros ?? null)),
    uuidArray(keys.map(({ end }) => end?.entryId ?? null)),
  ];
  const shared = given.filter(({ workspaceId }) => workspaceId === null);
  const own = given.filter(({ workspaceId }) => workspaceId !== null);
  const releasedShared = released.filter(({ workspaceId }) => workspaceId === null);
  const releasedOwn = released.filter(({ workspaceId }) => workspaceId !== null);
  await Promise.all([
    queryable.query({
      name: 'give_claims',
      text: `update identifier_claims as claims
             set item_number = given.item_number, entry_id = given.entry_id, ended_at = given.ended_at, ended_by = given.ended_by
             from unnest($1::text[], $2::text[], $3::int8[], $4::uuid[], $5::timestamptz[], $6::uuid[])
               as given (identifier_type, value, item_number, entry_id, ended_at, ended_by)
             where claims.identifier_type = given.identifier_type collate "C" and claims.value = given.value collate "C"
               and (claims.item_number, claims.entry_id, claims.ended_at, claims.ended_by)
                 is distinct from (given.item_number, given.entry_id, given.ended_at, given.ended_by)`,
      values: [
        ...columnsOf(shared),
        int8Array(shared.map(({ itemNumber }) => itemNumber)),
        uuidArray(shared.map(({ entryId }) => entryId)),
        ...endColumns(shared),
      ],
    }),
    queryable.query({
      name: 'give_workspace_claims',
      text: `update workspace_claims as claims
             set item_number = given.item_number, entry_id = given.entry_id, ended_at = given.ended_at, ended_by = given.ended_by
             from unnest($1::uuid[], $2::text[], $3::text[], $4::int8[], $5::uuid[], $6::timestamptz[], $7::uuid[])
               as given (workspace_id, identifier_type, value, item_number, entry_id, ended_at, ended_by)
             where claims.workspace_id = given.workspace_id and claims.identifier_type = given.identifier_type collate "C"
               and claims.value = given.value collate "C"`,
      values: [
        uuidArray(own.map(({ workspaceId }) => workspaceId)),
        ...columnsOf(own),
        int8Array(own.map(({ itemNumber }) => itemNumber)),
        uuidArray(own.map(({ entryId }) => entryId)),
        ...endColumns(own),
      ],
    }),
    queryable.query({
      name: 'release_shared_claims',
      text: `delete from identifier_claims as claims using unnest($1::text[], $2::text[]) as released (identifier_type, value)
             where claims.identifier_type = released.identifier_type collate "C" and claims.value = released.value collate "C"`,
      values: columnsOf(releasedShared),
    }),
    queryable.query({
      name: 'release_workspace_claims',
      text: `delete from workspace_claims as claims
             using unnest($1::uuid[], $2::text[], $3::text[]) as released (workspace_id, identifier_type, value)
             where claims.workspace_id = released.workspace_id and claims.identifier_type = released.identifier_type collate "C"
               and claims.value = released.value collate "C"`,
      values: [uuidArray(releasedOwn.map(({ workspaceId }) => workspaceId)), ...columnsOf(releasedOwn)],
    }),
  ]);
}

/** Makes items point at what they are now; null for those that are themselves. */
export async function writeCurrentItems(
  queryable: Queryable,
  current: ReadonlyMap<number, number | null>,
): Promise<void> {
  await queryable.query({
    name: 'write_current_items',
    text: `update items set merged_into = current.merged_into
           from unnest($1::int8[], $2::int8[]) as current (item_number, merged_into)
           where items.item_number = current.item_number and items.merged_into is distinct from current.merged_into`,
    values: [int8Array([...current.keys()]), int8Array([...current.values()])],
  });
}

/** Marks merges as undone; the rows stay as history. */
export async function undoMerges(queryable: Queryable, mergeIds: readonly string[], by: string): Promise<void> {
  if (mergeIds.length === 0) return;
  await queryable.query({
    name: 'undo_merges',
    text: 'update item_merges set undone_at = now(), undone_by = $2 where merge_id = any($1::uuid[])',
    values: [uuidArray(mergeIds), by],
  });
}

export interface WrittenMerge {
  readonly mergeId: string;
  readonly survivor: number;
  readonly loser: number;
  readonly workspaceId: string;
  readonly entryId: string | null;
  readonly decidedBy: string | null;
  readonly reason: string | null;
  readonly strategy: string | null;
  /** JSON text; null when nothing is overridden. */
  readonly overrides: string | null;
}

export async function insertMerges(queryable: Queryable, merges: readonly WrittenMerge[]): Promise<void> {
  for (const merge of merges) {
    await queryable.query({
      name: 'insert_decided_merge',
      text: `insert into item_merges (merge_id, survivor, loser, workspace_id, entry_id, moved_claims, moved_items, decided_by,
                                      reason, strategy, overrides)
             values ($1, $2, $3, $4, $5, '[]', '{}', $6, $7, $8, $9)`,
      values: [
        merge.mergeId,
        merge.survivor,
        merge.loser,
        merge.workspaceId,
        merge.entryId,
        merge.decidedBy,
        merge.reason,
        merge.strategy,
        merge.overrides,
      ],
    });
  }
}

/** Keeps two items apart from now on. */
export async function insertSeparations(
  queryable: Queryable,
  pairs: readonly (readonly [number, number])[],
  decision: { workspaceId: string; by: string; reason: string | null },
): Promise<void> {
  if (pairs.length === 0) return;
  await queryable.query({
    name: 'insert_separations',
    text: `insert into item_separations (lower_item, higher_item, workspace_id, decided_by, reason)
           select least(one, other), greatest(one, other), $3, $4, $5
           from unnest($1::int8[], $2::int8[]) as pairs (one, other)
           on conflict do nothing`,
    values: [
      int8Array(pairs.map(([one]) => one)),
      int8Array(pairs.map(([, other]) => other)),
      decision.workspaceId,
      decision.by,
      decision.reason,
    ],
  });
}

/** Lets a person's word that two items are one outweigh an earlier one that they are not. */
export async function removeSeparations(queryable: Queryable, itemNumbers: readonly number[]): Promise<void> {
  await queryable.query({
    name: 'remove_separations',
    text: 'delete from item_separations where lower_item = any($1::int8[]) and higher_item = any($1::int8[])',
    values: [int8Array(itemNumbers)],
  });
}

/** Gives complete entries to other items. */
export async function rehomeEntries(
  queryable: Queryable,
  rehomed: readonly { entryId: string; to: number }[],
): Promise<void> {
  if (rehomed.length === 0) return;
  await queryable.query({
    name: 'rehome_entries',
    text: `update entries set item_number = rehomed.item_number
           from unnest($1::uuid[], $2::int8[]) as rehomed (entry_id, item_number)
           where entries.entry_id = rehomed.entry_id`,
    values: [uuidArray(rehomed.map(({ entryId }) => entryId)), int8Array(rehomed.map(({ to }) => to))],
  });
}

/** Writes what entries say again, in which nothing changed that identifies or tells a value. */
export async function writeRecords(
  queryable: Queryable,
  rows: readonly Pick<EvidenceEntryRow, 'entry_id' | 'record'>[],
): Promise<void> {
  await queryable.query({
    name: 'write_records',
    text: `update entries set record = written.record::json from unnest($1::uuid[], $2::text[]) as written (entry_id, record)
           where entries.entry_id = written.entry_id`,
    values: [uuidArray(rows.map((row) => row.entry_id)), textArray(rows.map(({ record }) => JSON.stringify(record)))],
  });
}

/** Finishes an entry that waited, or makes a complete one wait again. */
export interface FinishedEntry {
  readonly entryId: string;
  readonly itemNumber: number | null;
  readonly status: 'completed' | 'conflicted' | 'rejected';
  readonly outcome: 'created' | 'enriched' | 'duplicate' | 'conflict' | null;
  /** JSON text. */
  readonly record: string;
  /** JSON text. */
  readonly error: string | null;
}

export async function writeFinishedEntries(queryable: Queryable, entries: readonly FinishedEntry[]): Promise<void> {
  if (entries.length === 0) return;
  await queryable.query({
    name: 'write_finished_entries',
    text: `update entries set item_number = finished.item_number, status = finished.status::entry_status,
                              outcome = finished.outcome::entry_outcome, record = finished.record::json, error = finished.error::json
           from unnest($1::uuid[], $2::int8[], $3::text[], $4::text[], $5::text[], $6::text[])
             as finished (entry_id, item_number, status, outcome, record, error)
           where entries.entry_id = finished.entry_id`,
    values: [
      uuidArray(entries.map(({ entryId }) => entryId)),
      int8Array(entries.map(({ itemNumber }) => itemNumber)),
      textArray(entries.map(({ status }) => status)),
      textArray(entries.map(({ outcome }) => outcome)),
      textArray(entries.map(({ record }) => record)),
      textArray(entries.map(({ error }) => error)),
    ],
  });
}

/** Notes that entries count no longer, by whom and why. */
export async function withdrawEntries(
  queryable: Queryable,
  entryIds: readonly string[],
  decision: { by: string; reason: string | null },
): Promise<void> {
  await queryable.query({
    name: 'withdraw_entries',
    text: `update entries set withdrawn_at = now(), withdrawn_by = $2, withdrawal_reason = $3 where entry_id = any($1::uuid[])`,
    values: [uuidArray(entryIds), decision.by, decision.reason],
  });
}

/** Writes again what can be searched of items, from the entries that they have. */
export async function rewriteMentions(queryable: Queryable, itemNumbers: readonly number[]): Promise<void> {
  const values = [int8Array(itemNumbers)];
  await queryable.query({
    name: 'delete_mentions',
    text: 'delete from identifier_mentions where item_number = any($1::int8[])',
    values,
  });
  await queryable.query({
    name: 'rewrite_mentions',
    text: `insert into identifier_mentions (workspace_id, identifier_type, value, item_number)
           select distinct entries.workspace_id, identifier ->> 2, identifier ->> 3, entries.item_number
           from entries cross join lateral json_array_elements(entries.record -> 'identifiers') as identifier
           where entries.item_number = any($1::int8[]) and entries.withdrawn_at is null and identifier ->> 4 = '0'`,
    values,
  });
}

export async function deleteContributions(
  queryable: Queryable,
  heads: readonly { item_number: number; workspace_id: string }[],
): Promise<void> {
  if (heads.length === 0) return;
  await queryable.query({
    name: 'delete_contributions',
    text: `delete from contributions using unnest($1::int8[], $2::uuid[]) as gone (item_number, workspace_id)
           where contributions.item_number = gone.item_number and contributions.workspace_id = gone.workspace_id`,
    values: [int8Array(heads.map((head) => head.item_number)), uuidArray(heads.map((head) => head.workspace_id))],
  });
}

/** Notes which identifiers of entries are with another item than the rest, and forgets where that does not hold any longer. */
export async function writeDivisions(
  queryable: Queryable,
  gone: readonly { entryId: string; itemNumber: number }[],
  written: readonly { entryId: string; itemNumber: number; keys: readonly string[] }[],
): Promise<void> {
  const placesOf = (divisions: readonly { entryId: string; itemNumber: number }[]) => [
    uuidArray(divisions.map(({ entryId }) => entryId)),
    int8Array(divisions.map(({ itemNumber }) => itemNumber)),
  ];
  if (gone.length > 0)
    await queryable.query({
      name: 'delete_divisions',
      text: `delete from entry_divisions as divisions using unnest($1::uuid[], $2::int8[]) as gone (entry_id, item_number)
             where divisions.entry_id = gone.entry_id and divisions.item_number = gone.item_number`,
      values: placesOf(gone),
    });
  if (written.length > 0)
    await queryable.query({
      name: 'write_divisions',
      text: `insert into entry_divisions (entry_id, item_number, claims)
             select entry_id, item_number, claims::json from unnest($1::uuid[], $2::int8[], $3::text[]) as new (entry_id, item_number, claims)
             on conflict (entry_id, item_number) do update set claims = excluded.claims`,
      values: [...placesOf(written), textArray(written.map(({ keys }) => JSON.stringify(keys.map(splitClaimKey))))],
    });
}

/** The workspaces that withdrew entries of items. */
export async function findWithdrawingWorkspaces(
  queryable: Queryable,
  itemNumbers: readonly number[],
): Promise<ReadonlySet<string>> {
  const { rows } = await queryable.query<{ workspace_id: string }>({
    name: 'find_withdrawing_workspaces',
    text: 'select distinct workspace_id from entries where item_number = any($1::int8[]) and withdrawn_at is not null',
    values: [int8Array(itemNumbers)],
  });
  return new Set(rows.map((row) => row.workspace_id));
}
