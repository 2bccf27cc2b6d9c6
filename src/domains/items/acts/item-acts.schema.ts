import { z } from 'zod';
import { ignoredMembers, itemSchema } from '../items.schema.ts';

const reason = z.string().max(2000).nullish().meta({ description: 'Why; kept with the decision' });

export const mergeItemsBody = z
  .strictObject({
    secondary_dfid: z.string().max(100),
    strategy: z.string().meta({ description: 'append, keep_first or overwrite' }),
    reason,
    ...ignoredMembers,
  })
  .meta({ id: 'MergeItemsRequest' });

export const mergeItemsAnswer = z
  .object({ merged_item: itemSchema, message: z.string() })
  .meta({ id: 'MergeItemsResponse' });

export const unmergeItemBody = z
  .strictObject({ reason, ...ignoredMembers })
  .nullish()
  .meta({ id: 'UnmergeItemRequest' });

export const unmergeItemAnswer = z
  .object({
    restored_item: itemSchema,
    primary_item: itemSchema,
    primary_dfid: z.string(),
    restored_dfid: z.string(),
    status: z.literal('unmerged'),
    message: z.string(),
  })
  .meta({ id: 'UnmergeItemResponse' });

export const splitItemAnswer = z
  .object({ source_item: itemSchema, new_item: itemSchema, message: z.string() })
  .meta({ id: 'SplitItemResponse' });

export const namedIdentifier = z.strictObject({
  identifier_type: z.string().max(300),
  value: z.string().max(10_000),
  is_canonical: z.boolean().nullish(),
});

export const correctionBody = z
  .strictObject({
    entry_id: z.string().max(100),
    reason: z.string().trim().min(1).max(2000),
    ...ignoredMembers,
  })
  .meta({ id: 'CorrectionRequest' });

export const correctionAnswer = z.object({ item: itemSchema, message: z.string() }).meta({ id: 'CorrectionResponse' });

export const relationshipSchema = z
  .object({
    id: z.uuid(),
    primary_item_id: z.uuid(),
    related_item_id: z.uuid(),
    primary_dfid: z.string(),
    related_dfid: z.string(),
    relationship_type: z.enum(['duplicate', 'derived', 'related']),
    confidence_score: z.number().nullable(),
    quantity: z
      .string()
      .nullable()
      .meta({ description: 'As a decimal; how much of the primary went into the related' }),
    unit: z.string().nullable(),
    origin: z.enum(['declared', 'split', 'merged']),
    created_at: z.iso.datetime(),
  })
  .meta({ id: 'ItemRelationshipRecord' });

const decimal = z
  .union([z.number(), z.string()])
  .transform(String)
  .refine((text) => /^\d{1,15}(?:\.\d{1,9})?$/.test(text) && Number(text) > 0, {
    error: 'a quantity is a decimal greater than 0 with at most 15 digits before and 9 after the point',
  });

/** How much of something, where it is said at all. */
export const quantityMembers = {
  quantity: decimal.nullish().meta({ override: { type: 'string', description: 'A decimal' } }),
  unit: z.string().min(1).max(32).nullish(),
};

/** A quantity says nothing without its unit. */
export const quantityRule = {
  isMet: ({ quantity, unit }: { quantity?: unknown; unit?: unknown }) => (quantity == null) === (unit == null),
  error: 'a quantity and its unit come together',
};

export const declareRelationshipsBody = z
  .strictObject({
    relationship_type: z.enum(['derived', 'related']),
    direction: z
      .enum(['outputs', 'inputs'])
      .default('outputs')
      .meta({ description: 'outputs: the related items came out of this one; inputs: they went into it' }),
    related: z
      .array(
        z
          .strictObject({ dfid: z.string().max(100), ...quantityMembers })
          .refine(quantityRule.isMet, { error: quantityRule.error }),
      )
      .min(1)
      .max(1000),
    ...ignoredMembers,
  })
  .meta({ id: 'DeclareRelationshipsRequest' });
