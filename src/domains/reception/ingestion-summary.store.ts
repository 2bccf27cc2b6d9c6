import type { Queryable } from '#platform/database.ts';
import { entryIdAt, receiptEntriesMax } from '#platform/ids.ts';

/** What the completed records of a receipt brought, beyond what its chunks count. */
export interface BroughtRow {
  events_created: number;
  /** How many identifiers of each type its records named. */
  identifiers_resolved: Record<string, number>;
}

/** Types beyond these are rare, and may be as many as a sender makes up. */
const shownTypesMax = 100;

/**
 * Reads the entries of one receipt once, and the events of the items that they belong to.
 * @param queryable a connection like a worker's: without statistics the planner would read all events for each item.
 */
export async function readBrought(queryable: Queryable, receiptId: string): Promise<BroughtRow> {
  const { rows } = await queryable.query<BroughtRow>({
    name: 'read_brought',
    text: `with own as materialized (
             select item_number, record from entries where entry_id between $1 and $2 and status = 'completed'
           ), counted as (
             select identifier ->> 2 as identifier_type, count(*)::int4 as named
             from own cross join lateral json_array_elements(record -> 'identifiers') as identifier
             group by 1 order by 2 desc, 1 limit ${shownTypesMax}
           )
           select (select coalesce(json_object_agg(identifier_type, named), '{}') from counted) as identifiers_resolved,
                  (select coalesce(sum(told.events), 0)::int4 from (select distinct item_number from own) as touched
                   cross join lateral (select count(*) as events from events
                                       where events.item_number = touched.item_number and events.entry_id between $1 and $2 offset 0
                                      ) as told) as events_created`,
    values: [entryIdAt(receiptId, 0), entryIdAt(receiptId, receiptEntriesMax - 1)],
  });
  return rows[0]!;
}
