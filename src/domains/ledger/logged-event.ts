import { formatDfid } from '#domains/items/index.ts';
import { parseJson } from '#platform/json/parse-json.ts';
import type { EntryFields } from './entry-commitment.ts';
import type { LoggedEventRow } from './log.store.ts';

/** What the log commits to of an event, the same whenever it is read. */
export function fieldsOfEvent(row: LoggedEventRow): EntryFields {
  return {
    dfid: formatDfid({
      valueChain: row.value_chain,
      country: row.country,
      year: row.year,
      sequence: row.item_number,
    }),
    event_id: row.event_id,
    event_type: row.event_type,
    kind: 'event',
    occurred_at: row.occurred_at,
    participant: row.workspace_id,
    payload: row.payload === '{}' ? {} : parseJson(row.payload),
    recorded_at: row.recorded_at,
    visibility: row.visibility,
  };
}
