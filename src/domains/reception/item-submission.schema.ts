import { z } from 'zod';
import {
  ignoredMembers,
  itemDetailsSchema,
  jsonObject,
  namedIdentifier,
  quantityMembers,
  quantityRule,
} from '#domains/items/index.ts';

const identifierInput = z
  .object({
    identifier_type: z.string().meta({ description: 'Such as sisbov; or namespace and key' }).optional(),
    namespace: z.string().optional(),
    key: z.string().optional(),
    value: z.string(),
    is_canonical: z.boolean().nullish().meta({ description: 'Ignored: the table of types decides' }),
  })
  .meta({ id: 'IdentifierInput' });

const submittedEvent = z
  .object({
    event_type: z.string().meta({ description: 'snake_case, such as weight_measured' }),
    occurred_at: z.iso.datetime({ offset: true }).nullish(),
    payload: z.unknown().optional(),
    visibility: z.string().nullish(),
    event_key: z.string().nullish().meta({ description: 'The same key is the same event of the item' }),
  })
  .meta({ id: 'SubmittedEvent' });

const recordMembers = {
  identifiers: z.array(identifierInput).nullish(),
  occurred_at: z.iso.datetime({ offset: true }).nullish().meta({ description: 'Without it, the time of reception' }),
  metadata: z.record(z.string(), z.unknown()).nullish(),
  enriched_data: z.record(z.string(), z.unknown()).nullish().meta({ description: 'Another name of metadata' }),
  events: z.array(submittedEvent).nullish(),
  circuit_id: z.uuid().nullish(),
};

/** One record of a receipt, for the documents: the worker judges it, member by member. */
export const recordSchema = z
  .object({
    ...recordMembers,
    value_chain: z.string().nullish(),
    country: z.string().nullish(),
    year: z.number().int().nullish(),
  })
  .meta({ id: 'Record' });

/** The body of POST /api/items: a record that says where the item belongs. */
export const createItemSchema = z
  .object({
    value_chain: z.string(),
    country: z.string(),
    year: z.number().int(),
    ...recordMembers,
    ...ignoredMembers,
  })
  .meta({ id: 'CreateItemRequest' });

/** What of that body the gateway fixes; the rest is judged as in any record, with its codes. */
const requiredMembers = createItemSchema.pick({ value_chain: true, country: true, year: true, circuit_id: true });

/** Takes the body of POST /api/items as it is, once its members have the shapes that the gateway fixes. */
export const createItemBody = jsonObject
  .superRefine((body, context) => {
    for (const { path, message } of requiredMembers.safeParse(body).error?.issues ?? [])
      context.addIssue({ code: 'custom', path, message });
  })
  .transform((body) =>
    Object.fromEntries(Object.entries(body).filter(([name]) => !Object.hasOwn(ignoredMembers, name))),
  );

/** The answer to POST /api/items. */
export const createItemAnswer = itemDetailsSchema
  .extend({ was_deduplicated: z.boolean().meta({ description: 'Whether the item was there before' }) })
  .meta({ id: 'CreateItemResponse' });

/** The body of a split: with identifiers a correction, without them a physical division. */
export const splitItemBody = z
  .strictObject({
    value_chain: z.unknown().meta({ override: { type: 'string' } }),
    country: z.unknown().meta({ override: { type: 'string' } }),
    year: z.unknown().meta({ override: { type: 'integer' } }),
    metadata: jsonObject
      .nullish()
      .meta({ override: { type: 'object', description: 'What is known of the part; the rest is as for the whole' } }),
    identifiers: z
      .array(namedIdentifier)
      .min(1)
      .max(1000)
      .nullish()
      .meta({ description: 'Leave the item, with what came with them, as one that they never belonged to' }),
    reason: z.string().max(2000).nullish(),
    ...quantityMembers,
    ...ignoredMembers,
  })
  .refine(quantityRule.isMet, { error: quantityRule.error })
  .refine(({ identifiers, metadata }) => !identifiers || !metadata || Object.keys(metadata).length === 0, {
    path: ['metadata'],
    error: 'identifiers leave with what came with them; metadata is for a division',
  })
  .meta({ id: 'SplitItemRequest' });
