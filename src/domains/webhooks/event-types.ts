import { z } from 'zod';
import { systemEventTypes } from '#domains/items/index.ts';

/** A type of messages, as endpoints choose it. */
export interface MessageType {
  readonly name: string;
  readonly description: string;
  /** What is told, and its shortest form. */
  readonly data: z.ZodType;
  readonly thinData: z.ZodType;
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

const originOnly = z.string().meta({ description: 'Only its host: the rest of a URL may be a secret' });

/** What is told of things that are no events of items, by the type of the message. */
const notices = {
  receipt_settled: {
    description:
      'All records of a receipt are worked on, or it could not be read. Items that are sent one by one are answered at once, and have none.',
    data: z.object({
      receipt_id: z.uuid(),
      status: z.enum(['completed', 'completed_with_errors', 'failed']),
      entries: z.number().int().nullable(),
    }),
    thinData: z.object({ receipt_id: z.uuid() }),
  },
  item_stored: {
    description: 'A version of an item is stored outside of this system, as your settings of storage say.',
    data: z.object({
      dfid: z.string(),
      item_id: z.uuid(),
      version: z.number().int(),
      kind: z.enum(['public', 'encrypted']),
      cid: z.string(),
      adapter: z.string(),
    }),
    thinData: z.object({ dfid: z.string(), version: z.number().int() }),
  },
  item_anchored: {
    description:
      'A version of an item is in a checkpoint of the log that is anchored on a public ledger. A version that another one followed before the log came to it has no entry of its own.',
    data: z.object({
      dfid: z.string(),
      item_id: z.uuid(),
      version: z.number().int(),
      proof: z.looseObject({ format: z.literal('defarm-proof-v1') }).meta({
        description: 'The proof, as GET /api/items/{dfid}/proof gives it: keep it, and check it offline',
      }),
    }),
    thinData: z.object({ dfid: z.string(), version: z.number().int() }),
  },
  webhook_delivery_failed: {
    description: 'A message was given up after its last attempt; a retry of the delivery sends it once more.',
    data: z.object({
      webhook_id: z.uuid(),
      delivery_id: z.uuid(),
      event_id: z.uuid(),
      event_type: z.string(),
      attempts: z.number().int(),
      error: z.string(),
    }),
    thinData: z.object({ webhook_id: z.uuid(), delivery_id: z.uuid() }),
  },
  webhook_failing: {
    description:
      'A webhook failed for so long that it is at 50, 75 or 90 percent of the way to being switched off (100 failures in a row, and 72 hours).',
    data: z.object({
      webhook_id: z.uuid(),
      name: z.string(),
      url: originOnly,
      percent: z.number().int(),
      failures: z.number().int(),
      failing_since: z.iso.datetime(),
    }),
    thinData: z.object({ webhook_id: z.uuid() }),
  },
  webhook_disabled: {
    description: 'A webhook was switched off, since its receiver is gone or failed for days.',
    data: z.object({ webhook_id: z.uuid(), name: z.string(), url: originOnly, reason: z.string() }),
    thinData: z.object({ webhook_id: z.uuid() }),
  },
} as const;

/** Types that this system tells by itself; besides them, those of the events that records bring, such as `weighed`. */
export const messageTypes: readonly MessageType[] = [
  ...[...systemEventTypes, 'conflict_opened', 'conflict_resolved'].map((name) => ({
    name,
    description: descriptions[name]!,
    data: eventData,
    thinData: thinEventData,
  })),
  ...Object.entries(notices).map(([name, notice]) => ({ name, ...notice })),
];

/** The type of the message that a test of an endpoint sends. */
export const testMessageType = 'webhook_test';

/** The schemas of the body of a message with a full payload, and with a thin one. */
export function messageSchemas({ name, data, thinData }: MessageType) {
  const bodyOf = (of: z.ZodType) =>
    z.toJSONSchema(
      z.object({
        type: z.literal(name),
        timestamp: z.iso.datetime().meta({ description: 'When it happened, by our clock' }),
        data: of,
      }),
    );
  return { full: bodyOf(data), thin: bodyOf(thinData) };
}
