import type { Queryable } from '#platform/database.ts';
import type { EventRow } from '#domains/events/index.ts';
import type { DfidPartsRow, ItemRow } from './items.store.ts';

/** What a workspace knows of an item, and the time of the transaction in microseconds since the Unix epoch. */
export type OwnItemRow = ItemRow & { now_micros: number };

/** What a workspace knows of an item as it is now; the caller's transaction sees its own changes. */
export async function readOwnItem(
  queryable: Queryable,
  workspaceId: string,
  itemNumber: number,
): Promise<OwnItemRow | undefined> {
  const { rows } = await queryable.query<OwnItemRow>({
    name: 'read_own_item',
    text: `select items.item_number, value_chain, country, year, merged_into, status, version, state, registered_at, updated_at,
                  (extract(epoch from now()) * 1000000)::int8 as now_micros
           from contributions join items on items.item_number = contributions.item_number
           where contributions.item_number = $1 and contributions.workspace_id = $2`,
    values: [itemNumber, workspaceId],
  });
  return rows[0];
}

/** Gives what a workspace knows of an item its next version, and another status unless it is null. */
export async function advanceContribution(
  queryable: Queryable,
  workspaceId: string,
  itemNumber: number,
  status: string | null,
): Promise<void> {
  await queryable.query({
    name: 'advance_contribution',
    text: `update contributions set status = coalesce($3, status), version = version + 1, updated_at = now()
           where item_number = $1 and workspace_id = $2`,
    values: [itemNumber, workspaceId, status],
  });
}

/** An event of a workspace with what the DFID of its item is made of. */
export async function readEventOfItem(
  queryable: Queryable,
  workspaceId: string,
  eventId: string,
): Promise<EventRow & DfidPartsRow> {
  const { rows } = await queryable.query<EventRow & DfidPartsRow>({
    name: 'read_event_of_item',
    text: `select event_id, events.item_number, event_type, entry_id, occurred_at, visibility, payload, events.created_at,
                  value_chain, country, year, merged_into
           from events join items on items.item_number = events.item_number
           where workspace_id = $1 and event_id = $2`,
    values: [workspaceId, eventId],
  });
  return rows[0]!;
}
