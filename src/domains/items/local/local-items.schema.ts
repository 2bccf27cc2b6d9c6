import { z } from 'zod';
import { anyCase, listSchema, pageQuery } from '#platform/page.ts';
import { identifierSchema } from '../items.schema.ts';
import { parseValueChain, valueChains, type ValueChain } from '../value-chain.ts';
import { mergeStrategies } from './local-item-fold.ts';
import { parseLocalId } from './local-id.ts';
import { batchItemsMax } from './read-local-items.ts';

const localId = z
  .string()
  .transform((text, context) => {
    const parsed = parseLocalId(text);
    if (parsed !== undefined) return parsed;
    context.addIssue('a local id is a UUID');
    return z.NEVER;
  })
  .meta({ type: 'string', format: 'uuid', description: 'A UUID; also taken with LID- before it' });

const valueChain = z
  .string()
  .transform((text, context): ValueChain => {
    const chain = parseValueChain(text);
    if (chain !== undefined) return chain;
    context.addIssue(`value chains are ${valueChains.join(', ')}`);
    return z.NEVER;
  })
  .meta({ type: 'string', description: 'A value chain, by its code or its Portuguese name' });

const localItemRequest = z
  .object({
    local_id: z.uuid().optional().meta({ description: 'Chosen by the client, so that sending again is harmless' }),
    identifiers: z.array(z.object({ identifier_type: z.string(), value: z.string() })),
    metadata: z.record(z.string(), z.unknown()).optional(),
    enriched_data: z.record(z.string(), z.unknown()).optional().meta({ description: 'Another name for metadata' }),
    value_chain: z.string().optional(),
    country: z.string().optional(),
    year: z.number().int().optional(),
    occurred_at: z.iso.datetime().optional(),
  })
  .meta({ id: 'LocalItemRequest' });

/** What POST /api/items/local takes; checked by the judgement of records, not by this. */
export const collectRequestSchema = z.union([
  localItemRequest,
  z.object({ items: z.array(localItemRequest).max(batchItemsMax) }).meta({ id: 'LocalItemBatchRequest' }),
]);

const statusText = z.string().meta({ description: 'LocalOnly, Tokenized or MergedInto(local id)' });
const collected = z.object({ local_id: z.uuid(), status: statusText });

const batchAnswer = z
  .object({
    success_count: z.number().int(),
    failed_count: z.number().int(),
    results: z.array(
      z.object({
        success: z.boolean(),
        local_id: z.uuid().nullable(),
        status: statusText.optional(),
        was_known: z.boolean().optional(),
        error: z.object({ code: z.string(), detail: z.string(), pointer: z.string() }).optional(),
      }),
    ),
  })
  .meta({ id: 'LocalItemBatchResult' });

const success = <Data extends z.ZodType>(data: Data) => z.object({ success: z.literal(true), data });

export const collectAnswerSchema = z.union([success(collected), batchAnswer]);

const localItemSchema = z
  .object({
    local_id: z.uuid(),
    status: statusText,
    merged_into: z.uuid().nullable(),
    dfid: z.string().nullable(),
    value_chain: z.string(),
    country: z.string(),
    year: z.number().int(),
    occurred_at: z.iso.datetime().nullable(),
    identifiers: z.array(identifierSchema),
    metadata: z.record(z.string(), z.unknown()),
    sources: z.array(z.uuid()).meta({ description: 'The records that its values come from' }),
    created_at: z.iso.datetime(),
    updated_at: z.iso.datetime(),
  })
  .meta({ id: 'LocalItem' });

export const localItemListSchema = listSchema('local_items', localItemSchema);

const localItemDetails = z.object({
  ...localItemSchema.shape,
  decisions: z.array(
    z.object({
      decision_id: z.uuid(),
      kind: z.enum(['merge', 'unmerge']),
      master_lid: z.uuid(),
      merged_lid: z.uuid(),
      merge_strategy: z.enum(mergeStrategies),
      decided_by: z.uuid(),
      decided_at: z.iso.datetime(),
    }),
  ),
});

export const localItemDetailsSchema = success(localItemDetails);

export const mappingSchema = z
  .object({ local_id: z.uuid(), dfid: z.string().optional(), status: statusText })
  .meta({ id: 'LocalItemMapping' });

/** `LocalOnly`, `local_only`, `MergedInto` and the like, as one word. */
export const localItemListQuery = z.object({
  ...pageQuery,
  status: z
    .preprocess(
      (sent) => (typeof sent === 'string' ? sent.toLowerCase().replaceAll('_', '') : sent),
      z.enum(['localonly', 'tokenized', 'merged', 'mergedinto']),
    )
    .optional()
    .meta({ description: 'LocalOnly, Tokenized or Merged' }),
});

const strategy = anyCase(z.enum(mergeStrategies)).default('append');

export const duplicatesQuery = z.object({
  limit: z.coerce.number().int().min(1).max(100).default(50).meta({ description: 'Groups on a page, at most 100' }),
  cursor: pageQuery.cursor,
  namespace: valueChain.optional(),
});

const conflictingFields = z.array(
  z.object({ field: z.string(), values: z.array(z.object({ local_id: z.uuid(), value: z.unknown() })) }),
);

export const duplicatesSchema = success(
  z.object({
    groups: z.array(
      z.object({
        suggested_master: z.uuid(),
        local_ids: z.array(z.uuid()).meta({ description: 'Oldest first' }),
        shared_identifiers: z.array(
          z.object({ identifier_type: z.string(), value: z.string(), local_ids: z.array(z.uuid()) }),
        ),
        conflicting_fields: conflictingFields,
        conflicting_identifiers: z.array(
          z.object({
            identifier_type: z.string(),
            values: z.array(z.object({ local_id: z.uuid(), value: z.string() })),
          }),
        ),
        is_complete: z
          .boolean()
          .meta({ description: 'False when the group is too large for all its members to be compared' }),
      }),
    ),
    summary: z.object({
      total_groups: z.number().int(),
      total_items: z.number().int().meta({ description: 'Local items in groups' }),
      total_duplicates: z.number().int().meta({ description: 'Local items that merging would take away' }),
      is_complete: z.boolean().meta({ description: 'False when there are more than one answer looks at' }),
    }),
    count: z.number().int(),
    next_cursor: z.string().nullable(),
  }),
);

export const mergeRequestSchema = z
  .object({
    master_lid: localId,
    merge_lids: z.array(localId).min(1).max(1000),
    merge_strategy: strategy,
  })
  .meta({ id: 'LocalMergeRequest' });

export const mergeAnswerSchema = success(
  z.object({
    master_lid: z.uuid(),
    merged_lids: z.array(z.uuid()),
    merge_strategy: z.enum(mergeStrategies),
    status: statusText,
    master: localItemSchema,
  }),
);

export const unmergeRequestSchema = z.object({ merged_lid: localId }).meta({ id: 'LocalUnmergeRequest' });

export const unmergeAnswerSchema = success(
  z.object({
    local_id: z.uuid(),
    status: statusText,
    master_lid: z.uuid(),
    unmerged: localItemSchema,
    master: localItemSchema,
  }),
);

export const organizeRequestSchema = z
  .object({
    action: anyCase(z.enum(['deduplicate', 'merge_all'])).meta({
      description:
        'deduplicate leaves alone the groups whose identifiers contradict each other; merge_all merges them too',
    }),
    dry_run: z.boolean().default(false),
    merge_strategy: strategy,
    namespace: valueChain.optional(),
  })
  .meta({ id: 'LocalOrganizeRequest' });

export const organizeAnswerSchema = success(
  z.object({
    action: z.enum(['deduplicate', 'merge_all']),
    dry_run: z.boolean(),
    merge_strategy: z.enum(mergeStrategies),
    groups_found: z.number().int(),
    groups_merged: z.number().int(),
    items_merged: z.number().int(),
    merges: z.array(z.object({ master_lid: z.uuid(), merged_lids: z.array(z.uuid()) })),
    skipped: z.array(z.object({ local_ids: z.array(z.uuid()), reason: z.string(), detail: z.string() })),
    is_complete: z.boolean().meta({ description: 'False when there are more duplicates than one request looks at' }),
  }),
);
