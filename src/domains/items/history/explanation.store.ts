import { int8Array, textArray } from '#platform/binary-arrays.ts';
import type { Queryable } from '#platform/database.ts';
import type { EntryOutcome } from '../deduplication.store.ts';
import type { DfidPartsRow } from '../items.store.ts';
import type { StoredRecord } from '../stored-record.ts';

/** An entry of the asking workspace, with all that says how it came to its item. */
export interface ExplainedEntryRow {
  entry_id: string;
  receipt_id: string;
  received_at: Date;
  /** The item that it was sent for, or that it is part of with some of its identifiers. */
  item_number: number;
  outcome: EntryOutcome;
  identifiers: StoredRecord['identifiers'];
  fingerprints: NonNullable<StoredRecord['fingerprints']> | null;
  ended: NonNullable<StoredRecord['ended']> | null;
  /** Keys of identifiers that are here while the rest of the entry is elsewhere; null for a whole entry. */
  kept_claims: [claimType: string, value: string][] | null;
  /** True when some of its identifiers are with an item outside of this one. */
  is_divided: boolean;
  withdrawn_at: Date | null;
  withdrawn_by: string | null;
  withdrawal_reason: string | null;
  conflict_id: string | null;
  conflict_action: string | null;
  resolved_at: Date | null;
  resolved_by: string | null;
  conflict_reason: string | null;
}

const ownColumns = `entries.entry_id, received_sequence, outcome, record -> 'identifiers' as identifiers, record -> 'fingerprints' as fingerprints, record -> 'ended' as ended,
  (record ->> 'placed')::uuid as placed_by,
  withdrawn_at, withdrawn_by, withdrawal_reason`;

/**
 * The entries of a workspace for items, withdrawn ones included, in the order of arrival.
 * @param limits how many, and how many bytes of identifiers, are read at most; the oldest are.
 */
export async function listExplainedEntries(
  queryable: Queryable,
  workspaceId: string,
  itemNumbers: readonly number[],
  limits: { rows: number; bytes: number },
): Promise<{ entries: ExplainedEntryRow[]; isComplete: boolean }> {
  // `offset 0` keeps each lookup one of an index, whatever the planner takes the number of entries for.
  const { rows } = await queryable.query<ExplainedEntryRow & { found: number }>({
    name: 'list_explained_entries',
    text: `with own as (
             select ${ownColumns}, item_number, null::json as kept_claims from entries
             where item_number = any($1::int8[]) and workspace_id = $2 and status = 'completed'
             union all
             select parts.*, divisions.item_number, divisions.claims
             from entry_divisions as divisions
             cross join lateral (
               select ${ownColumns} from entries
               where entries.entry_id = divisions.entry_id and workspace_id = $2 and status = 'completed'
                 and not entries.item_number = any($1::int8[]) offset 0
             ) as parts
             where divisions.item_number = any($1::int8[])
           ),
           sized as (
             select own.*, sum(octet_length(identifiers::text)) over (order by received_sequence, entry_id) as bytes_so_far,
                    count(*) over () as found
             from own order by received_sequence, entry_id limit $3
           )
           select sized.entry_id, receipt_id, received_at, item_number, sized.outcome, identifiers, fingerprints, ended, kept_claims,
                  exists (select from entry_divisions as divisions
                          where divisions.entry_id = sized.entry_id and not divisions.item_number = any($1::int8[])) as is_divided,
                  withdrawn_at, withdrawn_by, withdrawal_reason, conflict_id, conflict_action, resolved_at, resolved_by, conflict_reason, found
           from sized
           cross join lateral (
             select receipt_id, received_at from receipts
             where receipts.workspace_id = $2 and receipts.received_sequence = sized.received_sequence offset 0
           ) as receipts
           left join lateral (
             select conflicts.conflict_id, action as conflict_action, resolved_at, resolved_by, reason as conflict_reason
             from conflicts
             where conflicts.status = 'resolved' and conflicts.conflict_id = coalesce(
               placed_by, (select conflict_entries.conflict_id from conflict_entries where conflict_entries.entry_id = sized.entry_id))
             offset 0
           ) as resolved on true
           where bytes_so_far <= $4
           order by sized.received_sequence, sized.entry_id`,
    values: [int8Array(itemNumbers), workspaceId, limits.rows, limits.bytes],
  });
  return { entries: rows, isComplete: rows.length === (rows[0]?.found ?? 0) };
}

/** A merge that holds or held. Credentials of others are in it, so that it can be told that a person decided. */
export interface ExplainedMergeRow {
  survivor: number;
  loser: number;
  is_own: boolean;
  /** The credential of the person who decided it; null when a record joined the two. */
  decided_by: string | null;
  reason: string | null;
  strategy: string | null;
  /** The entry that joined the two, if it is of the asking workspace. */
  own_entry_id: string | null;
  merged_at: Date;
  undone_at: Date | null;
  undone_by: string | null;
}

/** The merges of items with others, oldest first. */
export async function listExplainedMerges(
  queryable: Queryable,
  workspaceId: string,
  itemNumbers: readonly number[],
  limit: number,
): Promise<ExplainedMergeRow[]> {
  const { rows } = await queryable.query<ExplainedMergeRow>({
    name: 'list_explained_merges',
    text: `select survivor, loser, workspace_id = $2 as is_own, decided_by, case when workspace_id = $2 then reason end as reason, strategy,
                  (select entry_id from entries
                   where entries.entry_id = item_merges.entry_id and entries.workspace_id = $2) as own_entry_id,
                  merged_at, undone_at, undone_by
           from item_merges where survivor = any($1::int8[]) or loser = any($1::int8[])
           order by merged_at, merge_id limit $3`,
    values: [int8Array(itemNumbers), workspaceId, limit],
  });
  return rows;
}

export interface ExplainedSeparationRow {
  item_number: number;
  other_item: number;
  is_own: boolean;
  decided_by: string;
  reason: string | null;
  decided_at: Date;
}

/** What items are kept apart from, oldest first. */
export async function listExplainedSeparations(
  queryable: Queryable,
  workspaceId: string,
  itemNumbers: readonly number[],
  limit: number,
): Promise<ExplainedSeparationRow[]> {
  const { rows } = await queryable.query<ExplainedSeparationRow>({
    name: 'list_explained_separations',
    text: `select item_number, other_item, workspace_id = $2 as is_own, decided_by,
                  case when workspace_id = $2 then reason end as reason, decided_at
           from (
             select lower_item as item_number, higher_item as other_item, workspace_id, decided_by, reason, decided_at
             from item_separations where lower_item = any($1::int8[])
             union all
             select higher_item, lower_item, workspace_id, decided_by, reason, decided_at
             from item_separations where higher_item = any($1::int8[])
           ) as separations
           order by decided_at, item_number, other_item limit $3`,
    values: [int8Array(itemNumbers), workspaceId, limit],
  });
  return rows;
}

/** The open cases that a workspace may see about items. */
export async function listOpenConflicts(
  queryable: Queryable,
  workspaceId: string,
  itemNumbers: readonly number[],
): Promise<{ conflict_id: string; opened_at: Date }[]> {
  const { rows } = await queryable.query<{ conflict_id: string; opened_at: Date }>({
    name: 'list_open_conflicts',
    text: `select distinct conflicts.conflict_id, conflicts.opened_at
           from contested_items
           join conflicts on conflicts.conflict_id = contested_items.conflict_id and conflicts.status = 'open'
           join conflict_participants as participants
             on participants.conflict_id = conflicts.conflict_id and participants.workspace_id = $2
           where contested_items.item_number = any($1::int8[])
           order by conflicts.opened_at, conflicts.conflict_id`,
    values: [int8Array(itemNumbers), workspaceId],
  });
  return rows;
}

/** An item that an explanation speaks of. */
export interface ExplainedItemRow extends DfidPartsRow {
  created_at: Date;
  /** The asking workspace has a part in it. */
  is_own: boolean;
}

export async function findExplainedItems(
  queryable: Queryable,
  workspaceId: string,
  itemNumbers: readonly number[],
): Promise<Map<number, ExplainedItemRow>> {
  const { rows } = await queryable.query<ExplainedItemRow>({
    name: 'find_explained_items',
    text: `select item_number, value_chain, country, year, merged_into, created_at,
                  exists (select from contributions
                          where contributions.item_number = items.item_number and contributions.workspace_id = $2) as is_own
           from items where item_number = any($1::int8[])`,
    values: [int8Array(itemNumbers), workspaceId],
  });
  return new Map(rows.map((row) => [row.item_number, row]));
}

/** Which of these credentials are of a workspace. */
export async function findOwnCredentials(
  queryable: Queryable,
  workspaceId: string,
  credentialIds: readonly string[],
): Promise<Set<string>> {
  const { rows } = await queryable.query<{ credential_id: string }>({
    name: 'find_own_credentials',
    text: `select api_key_id::text as credential_id from api_keys where workspace_id = $1 and api_key_id::text = any($2::text[])
           union all
           select user_id::text from users where workspace_id = $1 and user_id::text = any($2::text[])`,
    values: [workspaceId, textArray([...credentialIds])],
  });
  return new Set(rows.map((row) => row.credential_id));
}
