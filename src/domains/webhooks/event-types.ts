import { z } from 'zod';
import { systemEventTypes } from '#domains/items/index.ts';

/** A type of messages, as endpoints choose it. */
export interface MessageType {
  readonly name: string;
  readonly description: string;
}

const descriptions: Readonly<Record<string, string>> = {
  item_created: 'An item got its DFID.',
  item_enriched: 'A record told something new of an item.',
  item_updated: 'Fields of an item were set by hand.',
  item_merged: 'Two items became one.',
  item_unmerged: 'Items that were one are two again.',
  item_split: 'An item was divided.',
  item_status_changed: 'The status of an item was set.',
  item_archived: 'An item was archived.',
  entry_withdrawn: 'A record was withdrawn from an item.',
  conflict_opened: 'Records contradict what is known, and wait for a person.',
  conflict_resolved: 'A person decided about such records.',
};

/** Types that this system tells by itself; besides them, those of the events that records bring, such as `weighed`. */
export const messageTypes: readonly MessageType[] = [...systemEventTypes, 'conflict_opened', 'conflict_resolved'].map(
  (name) => ({ name, description: descriptions[name]! }),
);

/** The type of the message that a test of an endpoint sends. */
export const testMessageType = 'webhook_test';

/** What is told of an event. */
const eventData = z.object({
  id: z.uuid().meta({ description: 'The id of the event, as GET /api/events/{id} takes it' }),
  source_type: z.enum(['item', 'conflict']),
  dfid: z.string().nullable(),
  item_id: z.uuid().nullable(),
  occurred_at: z.iso.datetime(),
  visibility: z.string(),
  payload: z.unknown().meta({ description: 'What the event tells, by its type' }),
});

const thinEventData = z.object({ id: z.uuid(), dfid: z.string().nullable() });

/** The body of a message with a full payload, and with a thin one. */
export function messageSchemas(type: string) {
  const bodyOf = (data: z.ZodType) =>
    z.toJSONSchema(
      z.object({
        type: z.literal(type),
        timestamp: z.iso.datetime().meta({ description: 'When the event was recorded' }),
        data,
      }),
    );
  return { full: bodyOf(eventData), thin: bodyOf(thinEventData) };
}
