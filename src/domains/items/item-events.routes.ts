import { listBody } from '#platform/page.ts';
import { defineRoute, principalOf, type Route } from '#platform/route.ts';
import { eventListQuery, eventListSchema, eventSchema } from './items.schema.ts';
import type { ItemsService } from './items.service.ts';

const tag = 'Events';

/** The routes under /api/events. They live with items because an event is shown with the DFID of its item. */
export function eventRoutes(items: ItemsService): Route[] {
  return [
    defineRoute({
      method: 'get',
      path: '/api/events',
      access: 'read',
      tag,
      summary: 'List events, newest first',
      query: eventListQuery,
      responses: { 200: { description: 'A page of events', schema: eventListSchema } },
      async handle(request) {
        const {
          limit,
          offset,
          cursor,
          event_type: eventType,
          item_id: itemId,
          dfid,
          source_type: sourceType,
          status,
          circuit_id: circuitId,
          user_id: userId,
        } = request.query;
        // All events so far tell of items, are complete, and belong to no circuit or user.
        const matchesNothing =
          (sourceType !== undefined && sourceType !== 'item') ||
          (status !== undefined && status !== 'completed') ||
          circuitId !== undefined ||
          userId !== undefined;
        const filter = {
          workspaceId: principalOf(request).workspaceId,
          eventType,
          item: itemId ?? dfid,
          matchesNothing,
        };
        return {
          status: 200,
          body: listBody('events', await items.listEvents(filter, { limit, offset, cursor }), (event) => event),
        };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/api/events/{id}',
      access: 'read',
      tag,
      summary: 'One event',
      responses: { 200: { description: 'The event', schema: eventSchema } },
      async handle(request) {
        return { status: 200, body: await items.getEvent(principalOf(request).workspaceId, request.parameters['id']!) };
      },
    }),
  ];
}
