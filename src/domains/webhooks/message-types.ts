import { z } from 'zod';
import type { MessageType } from '#domains/events/index.ts';
import { itemMessageTypes, recordedEventData, thinEventData } from '#domains/items/index.ts';
import { anchoredMessageType } from '#domains/ledger/index.ts';
import { receiptSettledType } from '#domains/reception/index.ts';
import { storedMessageType } from '#domains/storage/index.ts';
import { deliveryFailedType, webhookDisabledType, webhookFailingType } from './deliveries/webhook-messages.ts';

const testData = z.object({ id: z.uuid(), webhook_id: z.uuid() });

/** The message that a test of an endpoint sends. */
export const testMessageType = {
  name: 'webhook_test',
  description: 'A test of a webhook, which is sent to it alone, whatever it chose.',
  data: testData,
  thinData: testData,
} as const satisfies MessageType;

/** Types that this system tells by itself; besides them, those of the events that records bring, such as `weighed`. */
const messageTypes: readonly MessageType[] = [
  ...itemMessageTypes,
  receiptSettledType,
  storedMessageType,
  anchoredMessageType,
  testMessageType,
  deliveryFailedType,
  webhookFailingType,
  webhookDisabledType,
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
  return z.toJSONSchema(z.object({ type, timestamp, data }), {
    // That of output would forbid members that come to be added.
    io: 'input',
    override({ jsonSchema }) {
      // A format says in a word what its pattern says in hundreds of characters.
      if (jsonSchema.format !== undefined) delete jsonSchema.pattern;
    },
  });
}
