import { int8Array, uuidArray } from '#platform/binary-arrays.ts';
import type { Queryable } from '#platform/database.ts';

/**
 * What a workspace knows of an item has one version for each transaction that wrote events of the item for the workspace.
 * Here is what keeps the two in step where events move between items, or are told beside what they tell of.
 */

/** Counts a version for each contribution to these items that got events in this transaction, unless it has one. */
export async function countVersionsOfEvents(queryable: Queryable, itemNumbers: readonly number[]): Promise<void> {
  await queryable.query({
    name: 'count_versions_of_events',
    text: `update contributions set version = version + 1, updated_at = now()
           where item_number = any($1::int8[]) and updated_at <> now()
             and exists (select from events
                         where events.item_number = contributions.item_number and events.workspace_id = contributions.workspace_id
                           and coalesce(events.versioned_at, events.created_at) = now())`,
    values: [int8Array(itemNumbers)],
  });
}

/** The contributions to these items that have a version of this transaction, of which no event tells yet. */
export async function findUntoldVersions(
  queryable: Queryable,
  itemNumbers: readonly number[],
): Promise<{ item_number: number; workspace_id: string; is_new: boolean }[]> {
  const { rows } = await queryable.query<{ item_number: number; workspace_id: string; is_new: boolean }>({
    name: 'find_untold_versions',
    text: `select item_number, workspace_id, registered_at = now() as is_new from contributions
           where item_number = any($1::int8[]) and updated_at = now()
             and not exists (select from events
                             where events.item_number = contributions.item_number and events.workspace_id = contributions.workspace_id
                               and events.created_at = now() and events.versioned_at is null and events.withdrawn_at is null)`,
    values: [int8Array(itemNumbers)],
  });
  return rows;
}

/**
 * Lets events of an item that this transaction told workspaces make a version for each of them, unless it has one. For a
 * workspace that has no part in the item they belong to no version.
 */
export async function countVersionsOfTold(
  queryable: Queryable,
  itemNumber: number,
  workspaceIds: readonly string[],
  eventIds: readonly string[],
): Promise<void> {
  await queryable.query({
    name: 'count_versions_of_told',
    text: `update contributions set version = version + 1, updated_at = now()
           where item_number = $1 and workspace_id = any($2::uuid[]) and updated_at <> now()`,
    values: [itemNumber, uuidArray(workspaceIds)],
  });
  await queryable.query({
    name: 'leave_told_out_of_versions',
    text: `update events set versioned_at = '-infinity'
           where workspace_id = any($2::uuid[]) and event_id = any($3::uuid[])
             and not exists (select from contributions
                             where contributions.item_number = $1 and contributions.workspace_id = events.workspace_id)`,
    values: [itemNumber, uuidArray(workspaceIds), uuidArray(eventIds)],
  });
}

/** Lets events belong to no version: what they tell is not part of what the workspaces see of the item itself. */
export async function leaveOutOfVersions(
  queryable: Queryable,
  workspaceIds: readonly string[],
  eventIds: readonly string[],
): Promise<void> {
  await queryable.query({
    name: 'leave_out_of_versions',
    text: `update events set versioned_at = '-infinity' where workspace_id = any($1::uuid[]) and event_id = any($2::uuid[])`,
    values: [uuidArray(workspaceIds), uuidArray(eventIds)],
  });
}

/** Ends the count of contributions that are no more: should there be one again, its versions begin with 1. */
export async function endVersions(
  queryable: Queryable,
  heads: readonly { item_number: number; workspace_id: string }[],
): Promise<void> {
  if (heads.length === 0) return;
  await queryable.query({
    name: 'end_versions',
    text: `update events set versioned_at = '-infinity' from unnest($1::int8[], $2::uuid[]) as gone (item_number, workspace_id)
           where events.item_number = gone.item_number and events.workspace_id = gone.workspace_id`,
    values: [int8Array(heads.map((head) => head.item_number)), uuidArray(heads.map((head) => head.workspace_id))],
  });
}
