import { parseJson } from '#platform/json/parse-json.ts';
import { commitmentTo, disclose, type EntryFields, type EntrySeed } from './entry-commitment.ts';
import { dfidOfRow } from './logged-version.ts';
import type { LoggedEventRow } from './log.store.ts';

/** The commitment to an event, the same whenever it is read. */
export function commitToEvent(row: LoggedEventRow, seed: EntrySeed): Buffer {
  return withReadablePayload(row, (fields) => commitmentTo(fields, seed));
}

/** All that shows what was committed to of an event. */
export function discloseEvent(row: LoggedEventRow, seed: EntrySeed): ReturnType<typeof disclose> {
  return withReadablePayload(row, (fields) => {
    // Fails as the commitment did, for fields that were not committed to as they are.
    commitmentTo(fields, seed);
    return disclose(fields, seed);
  });
}

/** A payload without a canonical form, which nothing lets in, must not stop the log: its text stands for it then. */
function withReadablePayload<Result>(row: LoggedEventRow, use: (fields: EntryFields) => Result): Result {
  try {
    return use(fieldsOfEvent(row, row.payload === '{}' ? {} : parseJson(row.payload)));
  } catch {
    return use(fieldsOfEvent(row, row.payload));
  }
}

function fieldsOfEvent(row: LoggedEventRow, payload: unknown): EntryFields {
  return {
    dfid: dfidOfRow(row),
    event_id: row.event_id,
    event_type: row.event_type,
    kind: 'event',
    occurred_at: row.occurred_at,
    participant: row.workspace_id,
    payload,
    recorded_at: row.recorded_at,
    visibility: row.visibility,
  };
}
