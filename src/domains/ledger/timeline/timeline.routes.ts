import { defineRoute, principalOf, type Route } from '#platform/route.ts';
import { indexingProgressSchema, timelineEntrySchema, timelineQuery, timelineSchema } from './timeline.schema.ts';
import type { TimelineService } from './timeline.service.ts';

const tag = 'Log and proofs';

/** Which contents of items stand on public ledgers. */
export function timelineRoutes(timeline: TimelineService): Route[] {
  return [
    defineRoute({
      method: 'get',
      path: '/api/items/{dfid}/timeline',
      access: 'read',
      tag,
      summary: 'The contents of an item that stand on public ledgers, the first one first',
      query: timelineQuery,
      responses: { 200: { description: 'A page of entries', schema: timelineSchema } },
      problems: ['not_found'],
      handle: async (request) => ({
        status: 200,
        body: await timeline.list(principalOf(request).workspaceId, request.parameters['dfid']!, request.query),
      }),
    }),
    defineRoute({
      method: 'get',
      path: '/api/items/{dfid}/timeline/{sequence}',
      access: 'read',
      tag,
      summary: 'One of them',
      responses: { 200: { description: 'The entry', schema: timelineEntrySchema } },
      problems: ['not_found'],
      handle: async ({ parameters, ...request }) => ({
        status: 200,
        body: await timeline.entry(principalOf(request).workspaceId, parameters['dfid']!, parameters['sequence']!),
      }),
    }),
    defineRoute({
      method: 'get',
      path: '/api/timeline/indexing-progress/{network}',
      access: 'read',
      tag,
      summary: 'How far a network was followed',
      responses: { 200: { description: 'Progress and gaps', schema: indexingProgressSchema } },
      problems: ['not_found'],
      handle: async ({ parameters }) => ({ status: 200, body: await timeline.progress(parameters['network']!) }),
    }),
  ];
}
