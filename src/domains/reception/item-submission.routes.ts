import { changeProblems, ifMatchHeader, itemSchema, splitItemAnswer, updateItemBody } from '#domains/items/index.ts';
import { defineRoute, type Route } from '#platform/route.ts';
import { createItemAnswer, createItemBody, createItemSchema, splitItemBody } from './item-submission.schema.ts';
import type { ItemSubmissions } from './item-submission.service.ts';

const tag = 'Items';

/** Why one record may be refused. */
const recordProblems = [
  'record_too_large',
  'too_many_members',
  'unknown_member',
  'invalid_member',
  'unknown_value_chain',
  'invalid_country',
  'invalid_year',
  'invalid_occurred_at',
  'no_identifying_identifier',
  'blank_identifier',
  'identifier_too_long',
  'invalid_identifier',
  'wrong_check_digit',
  'spreadsheet_damage',
  'control_character',
  'unprocessable_record',
] as const;

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
      problems: ['record_conflicted', 'quality_rule', 'rejected_by_decision', ...recordProblems],
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
      problems: [...changeProblems, 'record_too_large', 'too_many_members', 'invalid_member', 'unprocessable_record'],
      handle: (request) => submissions.edit(request),
    }),
    defineRoute({
      method: 'post',
      path: '/api/items/{dfid}/split',
      access: 'write',
      tag: 'Workflows',
      summary: 'Divide an item, or give identifiers that do not belong to it to a new one',
      body: splitItemBody,
      responses: { 201: { description: 'What was there, and what is new', schema: splitItemAnswer } },
      problems: ['not_found', 'item_merged', 'administrator_required', 'record_too_large'],
      isIdempotent: true,
      recall: submissions.recallSplit,
      handle: (request) => submissions.split(request),
    }),
  ];
}
