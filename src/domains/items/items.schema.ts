import { z } from 'zod';
import { eventVisibilities } from '#domains/events/index.ts';
import { anyCase, listSchema, pageQuery } from '#platform/page.ts';

/** What a workspace may make of an item; `merged` is what deduplication makes of it. */
const changeableStatuses = ['pending', 'active', 'inactive', 'archived'] as const;
export type ChangeableStatus = (typeof changeableStatuses)[number];
const itemStatuses = [...changeableStatuses, 'merged'] as const;
const eventStatuses = ['pending', 'processing', 'completed', 'failed'] as const;

export const identifierSchema = z
  .object({
    identifier_type: z.string(),
    value: z.string(),
    is_canonical: z.boolean(),
    normalized_type: z.string(),
    normalized_value: z.string(),
  })
  .meta({ id: 'Identifier' });

export const itemSchema = z
  .object({
    id: z.uuid(),
    dfid: z.string(),
    value_chain: z.string(),
    country: z.string(),
    year: z.number().int(),
    status: z.enum(itemStatuses),
    metadata: z.record(z.string(), z.unknown()),
    version: z.number().int(),
    merged_into: z.uuid().nullable(),
    merged_into_dfid: z.string().nullable(),
    circuit_id: z.uuid().nullable().meta({ description: 'The circuit that your workspace named first for it' }),
    registered_at: z.iso.datetime(),
    last_updated_at: z.iso.datetime(),
    created_at: z.iso.datetime(),
    updated_at: z.iso.datetime(),
  })
  .meta({ id: 'Item' });

export const eventSchema = z
  .object({
    id: z.uuid(),
    event_type: z.string(),
    source_type: z.string(),
    source_id: z.string(),
    payload: z.unknown(),
    status: z.enum(eventStatuses),
    visibility: z.string(),
    is_duplicate: z.boolean(),
    item_id: z.uuid().nullable(),
    dfid: z.string().nullable(),
    circuit_id: z.uuid().nullable(),
    user_id: z.uuid().nullable(),
    metadata: z.unknown(),
    occurred_at: z.iso.datetime(),
    created_at: z.iso.datetime(),
    processed_at: z.iso.datetime(),
    error_message: z.string().nullable(),
  })
  .meta({ id: 'Event' });

export const itemDetailsSchema = z
  .object({
    item: itemSchema,
    identifiers: z.array(identifierSchema),
    canonical_identifier: identifierSchema.nullable(),
    events: z.array(eventSchema),
  })
  .meta({ id: 'ItemDetails' });

/** Who asks is told by the credentials; these members of a body are taken and say nothing. */
export const ignoredMembers = {
  user_id: z.unknown().optional().meta({ description: 'Ignored: credentials tell who asks' }),
  created_by: z.unknown().optional().meta({ description: 'Ignored: credentials tell who asks' }),
  approver_id: z.unknown().optional().meta({ description: 'Ignored: credentials tell who asks' }),
  restored_by: z.unknown().optional().meta({ description: 'Ignored: credentials tell who asks' }),
  ip_address: z.unknown().optional().meta({ description: 'Ignored' }),
};

/** An object of a body that is judged further on. What passes is the object itself, so that no member name is special. */
export const jsonObject = z.custom<Readonly<Record<string, unknown>>>(
  (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
  'an object',
);

export const updateItemBody = z
  .strictObject({
    metadata: jsonObject.meta({ override: { type: 'object', description: 'Fields to set; others stay as they are' } }),
    ...ignoredMembers,
  })
  .meta({ id: 'UpdateItemRequest' });

export const updateItemStatusBody = z
  .strictObject({ status: anyCase(z.enum(changeableStatuses)), ...ignoredMembers })
  .meta({ id: 'UpdateItemStatusRequest' });

export const createEventBody = z
  .strictObject({
    dfid: z.string().optional(),
    item_id: z.string().optional(),
    event_type: z.unknown().meta({ override: { type: 'string', description: 'snake_case, such as weight_measured' } }),
    occurred_at: z
      .unknown()
      .optional()
      .meta({ override: { type: 'string', format: 'date-time', description: 'RFC 3339; without it, now' } }),
    payload: z.unknown().optional(),
    visibility: z
      .unknown()
      .optional()
      .meta({ override: { type: 'string', enum: [...eventVisibilities], description: 'Without it, private' } }),
    event_key: z
      .unknown()
      .optional()
      .meta({ override: { type: 'string', description: 'The same key is the same event of the item' } }),
    circuit_id: z.uuid().nullish(),
    ...ignoredMembers,
  })
  .meta({ id: 'CreateEventRequest' });

const sourceSchema = z.object({
  entry_id: z.uuid().nullable(),
  receipt_id: z.uuid().nullable(),
  received_at: z.iso.datetime().nullable(),
  effective_at: z.iso.datetime().nullable(),
});

export const provenanceSchema = z
  .object({
    dfid: z.string(),
    identifiers: z.array(
      z.object({
        identifier_type: z.string(),
        value: z.string(),
        is_canonical: z.boolean(),
        sources: z.array(sourceSchema),
      }),
    ),
    fields: z.array(
      z.object({
        field: z.string(),
        value: z.unknown(),
        source: sourceSchema,
        overwritten: z.array(z.object({ value: z.unknown(), source: sourceSchema })),
      }),
    ),
    contributors: z.array(z.object({ participant: z.string() })),
    is_complete: z.boolean().meta({ description: 'False when the item has more entries than are shown' }),
  })
  .meta({ id: 'Provenance' });

export const itemListSchema = listSchema('items', itemSchema);
export const eventListSchema = listSchema('events', eventSchema);

export const itemListQuery = z.object({
  ...pageQuery,
  dfid: z.string().max(100).optional(),
  identifier_type: z.string().max(100).optional(),
  value: z.string().max(300).optional(),
  value_chain: z.string().max(40).optional(),
  country: z.string().max(10).optional(),
  year: z.coerce.number().int().min(1900).max(2100).optional(),
  status: anyCase(z.enum(itemStatuses)).optional(),
  circuit_id: z.uuid().optional(),
});

export const eventListQuery = z.object({
  ...pageQuery,
  event_type: z.string().max(64).optional(),
  source_type: z.string().max(64).optional(),
  item_id: z.uuid().optional(),
  dfid: z.string().max(100).optional(),
  circuit_id: z.uuid().optional(),
  user_id: z.uuid().optional(),
  status: anyCase(z.enum(eventStatuses)).optional(),
});
