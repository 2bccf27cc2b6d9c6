import type { Queryable } from '#platform/database.ts';

/**
 * The items of which the next events of a workspace tell, in the order in which these were made, and the last of these
 * events; undefined when there is none. Ids grow with the clock of the process that makes them, before its transaction ends:
 * who goes on from the last id must leave out the events of the last while.
 * @param before an id that is greater than those of the events to look at.
 */
export async function findChangedItems(
  queryable: Queryable,
  workspaceId: string,
  after: string,
  before: string,
  limit: number,
): Promise<{ itemNumbers: number[]; lastEventId: string; isLast: boolean } | undefined> {
  const { rows } = await queryable.query<{ event_id: string; item_number: number }>({
    name: 'find_changed_items',
    text: `select event_id, item_number from events where workspace_id = $1 and event_id > $2 and event_id < $3
           order by event_id limit $4::int4`,
    values: [workspaceId, after, before, limit],
  });
  if (rows.length === 0) return undefined;
  return {
    itemNumbers: [...new Set(rows.map((row) => row.item_number))],
    lastEventId: rows.at(-1)!.event_id,
    isLast: rows.length < limit,
  };
}
