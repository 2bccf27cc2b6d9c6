import { listBody } from '#platform/page.ts';
import { defineRoute, principalOf, type Route } from '#platform/route.ts';
import { pendingDetailsSchema, pendingListQuery, pendingListSchema, resolveBody } from './pending-items.schema.ts';
import type { PendingItemsService } from './pending-items.service.ts';

const tag = 'Pending items';
const path = '/api/items/pending';

/** The routes under /api/items/pending. They stand before /api/items/{id}, which would take their path. */
export function pendingItemRoutes(pendingItems: PendingItemsService): Route[] {
  return [
    defineRoute({
      method: 'get',
      path,
      access: 'read',
      tag,
      summary: 'Records that could not become items, the most urgent first',
      query: pendingListQuery,
      responses: {
        200: { description: 'By priority, then by kind of fault, then the oldest first', schema: pendingListSchema },
      },
      async handle(request) {
        const { reason, priority_min: priorityMin, ...page } = request.query;
        const { workspaceId } = principalOf(request);
        const found = await pendingItems.list({ workspaceId, reason, priorityMin }, page);
        return { status: 200, body: listBody('pending_items', found, (item) => item) };
      },
    }),
    defineRoute({
      method: 'get',
      path: `${path}/{id}`,
      access: 'read',
      tag,
      summary: 'One record that waits or waited, with what was decided about it',
      responses: { 200: { description: 'The record', schema: pendingDetailsSchema } },
      handle: async (request) => ({
        status: 200,
        body: await pendingItems.get(principalOf(request).workspaceId, request.parameters['id']!),
      }),
    }),
    defineRoute({
      method: 'post',
      path: `${path}/{id}/resolve`,
      access: 'write',
      tag,
      summary: 'Work on a record again, with other values if need be, or dismiss it',
      body: resolveBody,
      responses: { 200: { description: 'What became of it; it may still be pending', schema: pendingDetailsSchema } },
      problems: ['not_pending', 'body_erased', 'overloaded'],
      async handle(request) {
        const { workspaceId, credentialId } = principalOf(request);
        const { action, new_identifiers: newIdentifiers, new_enriched_data: newEnrichedData, reason } = request.body;
        const decision = {
          action,
          newIdentifiers: newIdentifiers ?? undefined,
          newEnrichedData: newEnrichedData ?? undefined,
          reason: reason ?? null,
        };
        const id = request.parameters['id']!;
        return { status: 200, body: await pendingItems.resolve(workspaceId, id, decision, credentialId) };
      },
    }),
  ];
}
