import type { NewEvent } from '#domains/events/index.ts';
import { makeId } from '#platform/ids.ts';

/** A private weighing of the first item of a database, by a workspace of its own but for what is said otherwise. */
export function weighing(more: Partial<NewEvent> = {}): NewEvent {
  return {
    workspaceId: makeId(),
    eventId: makeId(),
    itemNumber: 1,
    eventType: 'weighed',
    entryId: null,
    occurredAtMicros: 1_760_000_000_123_456,
    visibility: 'private',
    payload: '{"kg":450.5}',
    eventKey: null,
    ...more,
  };
}
