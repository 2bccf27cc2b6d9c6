import { changeProblems, ifMatchHeader, itemSchema, updateItemBody } from '#domains/items/index.ts';
import { defineRoute, type Route } from '#platform/route.ts';
import { createItemAnswer, createItemBody, createItemSchema } from './item-submission.schema.ts';
import type { ItemSubmissions } from './item-submission.service.ts';

const tag = 'Items';

/** The routes under /api/items that bring records: each keeps a receipt, so they live here. */
export function itemSubmissionRoutes(submissions: ItemSubmissions): Route[] {
  return [
    defineRoute({
      method: 'post',
      path: '/api/items',
      access: 'write',
      tag,
      summary: 'Create an item, or enrich the one that has these identifiers',
      body: createItemBody,
      describedBody: createItemSchema,
      responses: {
        201: { description: 'The new item', schema: createItemAnswer },
        200: { description: 'The item that was there, enriched', schema: createItemAnswer },
      },
      problems: ['record_conflicted', 'record_too_large', 'no_identifying_identifier', 'invalid_identifier'],
      isIdempotent: true,
      recall: submissions.recall,
      handle: (request) => submissions.create(request),
    }),
    defineRoute({
      method: 'put',
      path: '/api/items/{id}',
      access: 'write',
      tag,
      summary: 'Set fields of an item; those that are not named stay',
      body: updateItemBody,
      requestHeaders: ifMatchHeader,
      responses: { 200: { description: 'The item with these fields', schema: itemSchema } },
      problems: [...changeProblems, 'record_too_large'],
      handle: (request) => submissions.edit(request),
    }),
  ];
}
