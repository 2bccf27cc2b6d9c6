import { listBody } from '#platform/page.ts';
import { defineRoute, principalOf, type Route } from '#platform/route.ts';
import { Problem } from '#platform/errors.ts';
import { itemNumberOf } from './item-names.ts';
import type { ItemChanges } from './item-changes.service.ts';
import { createEventBody, eventListQuery, eventListSchema, eventSchema } from './items.schema.ts';
import type { ItemsService } from './items.service.ts';

const tag = 'Events';

/** The routes under /api/events. They live with items because an event is shown with the DFID of its item. */
export function eventRoutes(items: ItemsService, changes: ItemChanges): Route[] {
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
        // All events tell of items or conflicts, are complete, and belong to no user.
        const matchesNothing =
          (sourceType !== undefined && sourceType !== 'item' && sourceType !== 'conflict') ||
          (status !== undefined && status !== 'completed') ||
          userId !== undefined;
        const filter = {
          workspaceId: principalOf(request).workspaceId,
          eventType,
          item: itemId ?? dfid,
          circuitId,
          isAboutItems: sourceType === undefined ? undefined : sourceType === 'item',
          matchesNothing,
        };
        return {
          status: 200,
          body: listBody('events', await items.listEvents(filter, { limit, offset, cursor }), (event) => event),
        };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/api/events',
      access: 'write',
      tag,
      summary: 'Tell an event of an item',
      body: createEventBody,
      responses: {
        201: { description: 'The event', schema: eventSchema },
        200: { description: 'The event that was told before, with is_duplicate', schema: eventSchema },
      },
      problems: [
        'item_merged',
        'not_found',
        'invalid_member',
        'invalid_occurred_at',
        'invalid_request',
        'record_too_large',
      ],
      isIdempotent: true,
      handle(request) {
        const { workspaceId, credentialId: changedBy } = principalOf(request);
        const {
          event_type: eventType,
          occurred_at: occurredAt,
          payload,
          visibility,
          event_key: eventKey,
          circuit_id: circuitId,
        } = request.body;
        return changes.recordEvent(
          { workspaceId, changedBy, idOrDfid: readItemName(request.body), headers: {} },
          {
            pointer: '',
            eventType,
            occurredAt: occurredAt ?? undefined,
            payload,
            visibility: visibility ?? undefined,
            eventKey: eventKey ?? undefined,
            circuitId: circuitId?.toLowerCase() ?? null,
          },
          request.idempotency,
        );
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

/** An event names its item by DFID or id; by both only if they say the same. */
function readItemName({ dfid, item_id: itemId }: { dfid?: string | undefined; item_id?: string | undefined }): string {
  const name = dfid ?? itemId;
  if (name !== undefined && (itemId === undefined || itemNumberOf(name) === itemNumberOf(itemId))) return name;
  const detail = name === undefined ? 'name the item by dfid or item_id' : 'dfid and item_id name two items';
  throw new Problem('invalid_request', detail, {
    errors: [{ pointer: name === undefined ? '/dfid' : '/item_id', code: 'invalid_request', detail }],
  });
}
