import { z } from 'zod';
import { Problem } from '#platform/errors.ts';
import { listSchema, pageQuery } from '#platform/page.ts';
import type { SuggestionPosition } from './suggestions.store.ts';

const scoreMin = z.coerce
  .number()
  .min(0)
  .max(1)
  .default(0.5)
  .meta({ description: 'The least score, 0 to 1; pairs below 0.3 are not kept for the list' });

export const suggestionListQuery = z.object({ ...pageQuery, min_score: scoreMin });
export const itemSuggestionsQuery = z.object({ min_score: scoreMin });

export const dismissBody = z.object({ reason: z.string().max(1000).nullish() });

const suggestedItemSchema = z.object({ id: z.uuid(), dfid: z.string() });

const suggestionSchema = z
  .object({
    id: z.string().meta({ description: 'The numbers of the two items' }),
    score: z.number().min(0).max(1),
    items: z.tuple([suggestedItemSchema, suggestedItemSchema]),
    reasons: z.array(
      z.object({
        kind: z.enum(['name', 'identifier', 'date', 'weight']),
        field: z.string(),
        similarity: z.number(),
        detail: z.string(),
        values: z.array(z.unknown()),
      }),
    ),
  })
  .meta({ id: 'Suggestion' });

const isComplete = z
  .boolean()
  .meta({ description: 'False until the items that the workspace had when it first asked are compared' });

export const suggestionListSchema = (listSchema('suggestions', suggestionSchema) as z.ZodObject).extend({
  is_complete: isComplete,
});

export const dismissalSchema = z.object({
  id: z.string(),
  dismissed_at: z.iso.datetime(),
  reason: z.string().nullable(),
});

/** The text of a place in the list, for a cursor. */
export function positionText({ score, lowerItem, higherItem }: SuggestionPosition): string {
  return `${score}-${lowerItem}-${higherItem}`;
}

/**
 * The place in a cursor, undefined without one.
 * @throws Problem invalid_query for text that no list of suggestions gave out.
 */
export function readPosition(cursor: string | undefined): SuggestionPosition | undefined {
  if (cursor === undefined) return undefined;
  const match = /^v1:(\d{1,4})-(\d{1,15})-(\d{1,15})$/.exec(Buffer.from(cursor, 'base64url').toString('latin1'));
  if (match) return { score: Number(match[1]), lowerItem: Number(match[2]), higherItem: Number(match[3]) };
  throw new Problem('invalid_query', 'cursor is not one that this service gave out for this list', {
    errors: [{ pointer: 'cursor', code: 'invalid_query', detail: 'not a cursor of this list' }],
  });
}
