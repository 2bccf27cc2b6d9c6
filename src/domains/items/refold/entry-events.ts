import type { Queryable } from '#platform/database.ts';
import {
  findKnownEvents,
  insertEvents,
  removeRepeatedEvents,
  type NewEvent,
  type RehomedEvents,
  type RemovedEvent,
} from '#domains/events/index.ts';
import { makeId } from '#platform/ids.ts';
import type { JudgedEvent } from '../judge-record.ts';
import {
  eventsOfRecord,
  waitingRecord,
  withRepeated,
  type StoredRecord,
  type StoredWaiting,
} from '../stored-record.ts';
import { systemEventTypes } from '../item-message-types.ts';
import type { Evidence } from './refold-evidence.ts';
import { writeRecords, type EvidenceEntryRow } from './refold.store.ts';

/** The record of a complete entry that waits again, with the events that it had brought. */
export function waitingAgain(
  row: EvidenceEntryRow,
  removed: readonly RemovedEvent[],
  nature: Omit<StoredWaiting, 'events'>,
): StoredRecord {
  const submitted = removed.filter(
    (event) => event.entry_id === row.entry_id && !(event.event_key === null && systemEventTypes.has(event.event_type)),
  );
  const repeated = eventsOfRecord(row.record.repeated);
  return waitingRecord(row.record, nature, [...submitted.map(judgedEvent), ...repeated]);
}

function judgedEvent(event: RemovedEvent): JudgedEvent {
  return {
    eventType: event.event_type,
    occurredAtMicros: event.occurred_at_micros,
    visibility: event.visibility,
    eventKey: event.event_key,
    payload: JSON.stringify(event.payload),
  };
}

/**
 * Keeps submitted events in mind, in the records of their entries, that would be twice in the items that the entries go to.
 * Gives the rows of all evidence as they are then.
 */
export async function keepRepeatedEvents(
  queryable: Queryable,
  rehomed: readonly RehomedEvents[],
  rows: Evidence['rows'],
): Promise<Evidence['rows']> {
  const repeated = Map.groupBy(await removeRepeatedEvents(queryable, rehomed), (event) => event.entry_id);
  if (repeated.size === 0) return rows;
  const changed = new Map(rows);
  for (const [entry, row] of rows) {
    const events = entry.isDivision ? undefined : repeated.get(entry.entryId);
    if (events) changed.set(entry, { ...row, record: withRepeated(row.record, events.map(judgedEvent)) });
  }
  await writeRecords(
    queryable,
    [...changed].filter(([entry]) => !entry.isDivision && repeated.has(entry.entryId)).map(([, row]) => row),
  );
  return changed;
}

/** The entries of one item, which may bring events that it does not have yet. */
export interface EntriesOfItem {
  readonly root: number;
  readonly itemNumbers: readonly number[];
  readonly rows: readonly EvidenceEntryRow[];
}

/**
 * Writes the events of entries that waited, and those that were not written when their entry came since another item,
 * which was taken for the same one, had them already.
 */
export async function restoreEvents(queryable: Queryable, items: readonly EntriesOfItem[]): Promise<void> {
  const missing: NewEvent[] = [];
  for (const { root, itemNumbers, rows } of items) {
    const bringing = rows.filter(({ record }) => record.waiting !== undefined || record.repeated !== undefined);
    for (const [workspaceId, own] of Map.groupBy(bringing, (row) => row.workspace_id)) {
      const events = own.flatMap((row) =>
        [...eventsOfRecord(row.record.waiting?.events), ...eventsOfRecord(row.record.repeated)].map((event) => ({
          row,
          event,
        })),
      );
      const keys = events.flatMap(({ event }) => event.eventKey ?? []);
      const known = keys.length === 0 ? [] : await findKnownEvents(queryable, workspaceId, itemNumbers, keys);
      const seen = new Set(known.map((each) => each.event_key.toString('hex')));
      for (const { row, event } of events) {
        const key = event.eventKey?.toString('hex');
        if (key !== undefined && seen.has(key)) continue;
        if (key !== undefined) seen.add(key);
        missing.push({
          workspaceId,
          eventId: makeId(),
          itemNumber: row.item_number !== null && itemNumbers.includes(row.item_number) ? row.item_number : root,
          eventType: event.eventType,
          entryId: row.entry_id,
          occurredAtMicros: event.occurredAtMicros ?? row.effective_at_micros,
          visibility: event.visibility,
          payload: event.payload,
          eventKey: event.eventKey,
        });
      }
    }
  }
  await insertEvents(queryable, missing);
}
