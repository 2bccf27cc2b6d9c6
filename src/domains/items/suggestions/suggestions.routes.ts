import { listBody, type Page } from '#platform/page.ts';
import { defineRoute, principalOf, type Route, type RouteResponse } from '#platform/route.ts';
import {
  dismissalSchema,
  dismissBody,
  itemSuggestionsQuery,
  suggestionListQuery,
  suggestionListSchema,
} from './suggestions.schema.ts';
import type { SuggestionsService } from './suggestions.service.ts';

const tag = 'Suggestions';

/** The routes of suggestions. They stand before /api/items/{id}, which would take their path. */
export function suggestionRoutes(suggestions: SuggestionsService): Route[] {
  return [
    defineRoute({
      method: 'get',
      path: '/api/items/suggestions',
      access: 'read',
      tag,
      summary: 'Pairs of items that may be one, the likeliest first',
      query: suggestionListQuery,
      responses: { 200: { description: 'A page of pairs, compared in the background', schema: suggestionListSchema } },
      async handle(request) {
        const { min_score: minScore, ...page } = request.query;
        return answer(await suggestions.list({ workspaceId: principalOf(request).workspaceId, minScore }, page));
      },
    }),
    defineRoute({
      method: 'get',
      path: '/api/items/{id}/suggestions',
      access: 'read',
      tag,
      summary: 'Items that may be this one, compared now',
      query: itemSuggestionsQuery,
      responses: { 200: { description: 'At most fifty, the likeliest first', schema: suggestionListSchema } },
      async handle(request) {
        const { workspaceId } = principalOf(request);
        return answer(await suggestions.listOfItem(workspaceId, request.parameters['id']!, request.query.min_score));
      },
    }),
    defineRoute({
      method: 'post',
      path: '/api/items/suggestions/{id}/dismiss',
      access: 'write',
      tag,
      summary: 'Say that two items are not one, and never be asked again',
      body: dismissBody,
      responses: { 200: { description: 'The dismissal; the first one stands', schema: dismissalSchema } },
      async handle(request) {
        const { workspaceId, credentialId } = principalOf(request);
        const decision = { reason: request.body.reason ?? null, dismissedBy: credentialId };
        return { status: 200, body: await suggestions.dismiss(workspaceId, request.parameters['id']!, decision) };
      },
    }),
  ];
}

function answer({ page, isComplete }: { page: Page<unknown>; isComplete: boolean }): RouteResponse {
  return { status: 200, body: { ...listBody('suggestions', page, (row) => row), is_complete: isComplete } };
}
