import type { Queryable } from '#platform/database.ts';
import { findKnownEvents, insertEvents, type NewEvent, type RemovedEvent } from '#domains/events/index.ts';
import { makeId } from '#platform/ids.ts';
import { eventsOfRecord, waitingRecord, type StoredRecord, type StoredWaiting } from '../stored-record.ts';
import type { EvidenceEntryRow } from './refold.store.ts';

/** Types of events that the system writes for an entry; they tell of the entry's effect and go with it. */
const systemEventTypes = new Set(['item_created', 'item_enriched', 'item_merged', 'item_split', 'item_updated']);

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
  const own = submitted.map((event) => ({
    eventType: event.event_type,
    occurredAtMicros: event.occurred_at_micros,
    visibility: event.visibility,
    eventKey: event.event_key,
    payload: JSON.stringify(event.payload),
  }));
  return waitingRecord(row.record, nature, [...own, ...repeated]);
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
