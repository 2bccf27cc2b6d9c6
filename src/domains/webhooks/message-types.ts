import { z } from 'zod';
import type { MessageType } from '#domains/events/index.ts';
import { itemMessageTypes, recordedEventData, thinEventData } from '#domains/items/index.ts';
import { anchoredMessageType } from '#domains/ledger/index.ts';
import { receiptSettledType } from '#domains/reception/index.ts';
import { storedMessageType } from '#domains/storage/index.ts';

const originOnly = z.string().meta({ description: 'Only its host: the rest of a URL may be a secret' });
const webhookId = z.uuid();

/** The type of the message that a test of an endpoint sends. */
export const testMessageType = 'webhook_test';

const testData = z.object({ id: z.uuid(), webhook_id: webhookId });

const webhookMessageTypes: readonly MessageType[] = [
  {
    name: testMessageType,
    description: 'A test of a webhook, which is sent to it alone, whatever it chose.',
    data: testData,
    thinData: testData,
  },
  {
    name: 'webhook_delivery_failed',
    description: 'A message was given up after its last attempt; a retry of the delivery sends it once more.',
    data: z.object({
      webhook_id: webhookId,
      delivery_id: z.uuid(),
      event_id: z.uuid(),
      event_type: z.string(),
      attempts: z.number().int(),
      error: z.string(),
    }),
    thinData: z.object({ webhook_id: webhookId, delivery_id: z.uuid() }),
  },
  {
    name: 'webhook_failing',
    description:
      'A webhook failed for so long that it is at 50, 75 or 90 percent of the way to being switched off (100 failures in a row, and 72 hours).',
    data: z.object({
      webhook_id: webhookId,
      name: z.string(),
      url: originOnly,
      percent: z.number().int(),
      failures: z.number().int(),
      failing_since: z.iso.datetime(),
    }),
    thinData: z.object({ webhook_id: webhookId }),
  },
  {
    name: 'webhook_disabled',
    description: 'A webhook was switched off, since its receiver is gone or failed for days.',
    data: z.object({ webhook_id: webhookId, name: z.string(), url: originOnly, reason: z.string() }),
    thinData: z.object({ webhook_id: webhookId }),
  },
];

/** Types that this system tells by itself; besides them, those of the events that records bring, such as `weighed`. */
const messageTypes: readonly MessageType[] = [
  ...itemMessageTypes,
  receiptSettledType,
  storedMessageType,
  anchoredMessageType,
  ...webhookMessageTypes,
];

/** What endpoints may be told of, with the JSON Schemas of bodies. */
export const messageCatalogue = {
  event_types: messageTypes.map(({ name, description, data, thinData }) => ({
    name,
    description,
    schema: bodySchema(z.literal(name), data),
    thin_schema: bodySchema(z.literal(name), thinData),
  })),
  count: messageTypes.length,
  others: {
    schema: bodySchema(z.string(), recordedEventData),
    thin_schema: bodySchema(z.string(), thinEventData),
  },
};

/** The JSON Schema of a body. */
function bodySchema(type: z.ZodType, data: z.ZodType) {
  const timestamp = z.iso.datetime().meta({ description: 'When it happened, by our clock' });
  // Of input: that of output would forbid members that come to be added.
  return z.toJSONSchema(z.object({ type, timestamp, data }), { io: 'input' });
}
