import { z } from 'zod';
import { Problem } from '#platform/errors.ts';
import { isUuid } from '#platform/ids.ts';
import { listSchema, pageQuery } from '#platform/page.ts';
import { severities } from '#domains/items/index.ts';
import { pendingReasons, priorityNames } from './pending-reasons.ts';
import type { PendingPosition } from './pending-items.store.ts';

/** Words that the contract writes with capitals, taken in any case. */
function oneOfAnyCase<const Words extends readonly [string, ...string[]]>(words: Words) {
  return z.preprocess(
    (sent) =>
      typeof sent === 'string' ? (words.find((word) => word.toLowerCase() === sent.toLowerCase()) ?? sent) : sent,
    z.enum(words),
  );
}

const priorityLevel = z.preprocess((sent) => {
  const named = priorityNames.findIndex(
    (name) => typeof sent === 'string' && name.toLowerCase() === sent.toLowerCase(),
  );
  return named === -1 ? sent : named + 1;
}, z.coerce.number().int().min(1).max(priorityNames.length));

export const pendingListQuery = z.object({
  ...pageQuery,
  reason: oneOfAnyCase(pendingReasons).optional(),
  priority_min: priorityLevel.default(1).meta({ description: 'Low 1, Normal 2, High 3, Critical 4' }),
});

const membersMax = 1000;
/** As long as a record, in code units of JSON. */
const textMax = 1_048_576;

export const resolveBody = z
  .object({
    action: oneOfAnyCase(['approve', 'reject', 'modify']),
    new_identifiers: z.array(z.record(z.string(), z.unknown())).max(membersMax).nullish(),
    new_enriched_data: z.record(z.string(), z.unknown()).nullish(),
    reason: z.string().max(1000).nullish(),
  })
  .superRefine(({ action, new_identifiers: identifiers, new_enriched_data: data }, context) => {
    const hasNew = identifiers != null || data != null;
    if (hasNew && JSON.stringify([identifiers, data]).length > textMax)
      context.addIssue({ code: 'custom', message: `new values have at most ${textMax} characters` });
    if (action === 'modify' && !hasNew)
      context.addIssue({
        code: 'custom',
        path: ['new_identifiers'],
        message: 'modify brings new_identifiers or new_enriched_data',
      });
    if (action !== 'modify' && hasNew)
      context.addIssue({
        code: 'custom',
        path: ['action'],
        message: 'only modify takes new_identifiers and new_enriched_data',
      });
  });

export const pendingItemSchema = z
  .object({
    id: z.uuid().meta({ description: 'The id of the entry' }),
    receipt_id: z.uuid(),
    position: z.number().int(),
    line: z.number().int().nullable(),
    status: z.enum(['pending', 'dismissed', 'completed', 'conflicted']),
    reason: z.enum(pendingReasons).nullable(),
    severity: z.enum(severities).nullable().meta({ description: 'Of the quality rule that holds the record' }),
    priority: z.enum(priorityNames).nullable(),
    priority_level: z.number().int().min(1).max(4).nullable(),
    error: z.object({ code: z.string(), detail: z.string(), pointer: z.string() }).nullable(),
    suggested_actions: z.array(
      z.object({
        action_type: z.string(),
        description: z.string(),
        confidence: z.number(),
        automated: z.boolean(),
      }),
    ),
    record: z.string().nullable().meta({ description: 'What was sent, in its character set; null when it was erased' }),
    record_status: z.enum(['complete', 'cut_short', 'erased']),
    format: z.enum(['json', 'ndjson', 'csv']),
    columns: z.array(z.string()).nullable().meta({ description: 'The header of a CSV' }),
    retry_count: z.number().int(),
    outcome: z.enum(['created', 'enriched', 'duplicate', 'conflict']).nullable(),
    dfid: z.string().nullable(),
    created_at: z.iso.datetime(),
  })
  .meta({ id: 'PendingItem' });

export const pendingListSchema = listSchema('pending_items', pendingItemSchema);

export const pendingDetailsSchema = pendingItemSchema
  .extend({
    decisions: z.array(
      z.object({
        action: z.enum(['approve', 'reject', 'modify']),
        result: z.enum(['completed', 'conflicted', 'dismissed', 'still_pending']),
        reason: z.string().nullable(),
        new_identifiers: z.unknown(),
        new_enriched_data: z.unknown(),
        decided_by: z.uuid(),
        decided_at: z.iso.datetime(),
      }),
    ),
  })
  .meta({ id: 'PendingItemDetails' });

/** The text of a place in the list, for a cursor. */
export function positionText({ rank, code, entryId }: PendingPosition): string {
  return `${-rank}.${code}.${entryId}`;
}

/**
 * The place in a cursor, undefined without one.
 * @throws Problem invalid_query for text that no list of pending items gave out.
 */
export function readPosition(cursor: string | undefined): PendingPosition | undefined {
  if (cursor === undefined) return undefined;
  const match = /^v1:([1-4])\.([a-z0-9_]{1,64})\.([0-9a-f-]{36})$/.exec(
    Buffer.from(cursor, 'base64url').toString('latin1'),
  );
  if (match && isUuid(match[3]!)) return { rank: -Number(match[1]), code: match[2]!, entryId: match[3]! };
  throw new Problem('invalid_query', 'cursor is not one that this service gave out for this list', {
    errors: [{ pointer: 'cursor', code: 'invalid_query', detail: 'not a cursor of this list' }],
  });
}
