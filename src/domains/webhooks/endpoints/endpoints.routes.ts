import { z } from 'zod';
import { defineRoute, principalOf, type Route } from '#platform/route.ts';
import {
  attemptSchema,
  createEndpointBody,
  deliveryListQuery,
  deliverySchema,
  endpointListQuery,
  endpointSchema,
  eventTypesSchema,
  recoverBody,
  recoveredSchema,
  replayBody,
  replayedSchema,
  requestsQuery,
  requestsSchema,
  retriedSchema,
  rotateSecretBody,
  statisticsSchema,
  testedSchema,
  updateEndpointBody,
} from './endpoints.schema.ts';
import { messageCatalogue } from '../message-types.ts';
import type { EndpointDeliveries } from './endpoint-deliveries.service.ts';
import type { EndpointsService } from './endpoints.service.ts';

const tag = 'Webhooks';
const path = '/api/webhooks';

/** Where a workspace is told of events, and what became of that. */
export function webhookRoutes(endpoints: EndpointsService, deliveries: EndpointDeliveries): Route[] {
  // Before those that take any word for an id.
  return [
    eventTypesRoute(),
    ...endpointRoutes(endpoints),
    ...actRoutes(endpoints, deliveries),
    ...deliveryRoutes(deliveries),
  ];
}

function linkToNext(of: string, rawQuery: string, [name, value]: readonly [string, string]): { link: string } {
  const query = new URLSearchParams(rawQuery);
  query.set(name, value);
  return { link: `<${of}?${query.toString()}>; rel="next"` };
}

function eventTypesRoute(): Route {
  return defineRoute({
    method: 'get',
    path: `${path}/event-types`,
    access: 'read',
    tag,
    summary: 'The types of events that this system tells by itself, with the schemas of their bodies',
    responses: { 200: { description: 'The types', schema: eventTypesSchema } },
    handle: async () => ({ status: 200, body: messageCatalogue }),
  });
}

function endpointRoutes(endpoints: EndpointsService): Route[] {
  return [
    defineRoute({
      method: 'get',
      path,
      access: 'read',
      tag,
      summary: 'The webhooks of your workspace, oldest first',
      query: endpointListQuery,
      responses: {
        200: { description: 'A page of them; Link leads to the next one (RFC 8288)', schema: z.array(endpointSchema) },
      },
      async handle(request) {
        const { circuit_id: circuitId, is_active: isActive, after, limit } = request.query;
        const filter = { circuitId, isActive: isActive === undefined ? undefined : isActive === 'true', after };
        const found = await endpoints.list(principalOf(request).workspaceId, { ...filter, limit: limit + 1 });
        const shown = found.slice(0, limit);
        if (found.length === shown.length) return { status: 200, body: shown };
        return { status: 200, headers: linkToNext(path, request.rawQuery, ['after', shown.at(-1)!.id]), body: shown };
      },
    }),
    defineRoute({
      method: 'post',
      path,
      access: 'write',
      tag,
      summary: 'Be told of events; the answer alone shows the secret that signs them',
      body: createEndpointBody,
      responses: { 201: { description: 'The webhook, with its secret', schema: endpointSchema } },
      problems: ['not_found', 'invalid_request', 'invalid_webhook_secret', 'webhooks_unavailable'],
      isIdempotent: true,
      openKeptBody: endpoints.openKeptBody,
      recall: async (workspaceId, id) => ({
        status: 201,
        headers: { location: `${path}/${id}` },
        body: await endpoints.get(workspaceId, id),
      }),
      handle: (request) => endpoints.create(principalOf(request), request.body, request.idempotency),
    }),
    defineRoute({
      method: 'get',
      path: `${path}/{id}`,
      access: 'read',
      tag,
      summary: 'One webhook',
      responses: { 200: { description: 'The webhook', schema: endpointSchema } },
      problems: ['not_found'],
      handle: async (request) => ({
        status: 200,
        body: await endpoints.get(principalOf(request).workspaceId, request.parameters['id']!),
      }),
    }),
    defineRoute({
      method: 'put',
      path: `${path}/{id}`,
      access: 'write',
      tag,
      summary:
        'Change a webhook; what is not named stays, and a secret that is given takes the place of the one before',
      body: updateEndpointBody,
      responses: { 200: { description: 'The webhook', schema: endpointSchema } },
      problems: ['not_found', 'invalid_request', 'invalid_webhook_secret', 'webhooks_unavailable'],
      handle: async (request) => ({
        status: 200,
        body: await endpoints.update(principalOf(request).workspaceId, request.parameters['id']!, request.body),
      }),
    }),
    defineRoute({
      method: 'delete',
      path: `${path}/{id}`,
      access: 'write',
      tag,
      summary: 'Delete a webhook, with its deliveries',
      responses: { 204: { description: 'It is gone' } },
      problems: ['not_found'],
      async handle(request) {
        await endpoints.remove(principalOf(request).workspaceId, request.parameters['id']!);
        return { status: 204 };
      },
    }),
  ];
}

function actRoutes(endpoints: EndpointsService, deliveries: EndpointDeliveries): Route[] {
  return [
    defineRoute({
      method: 'post',
      path: `${path}/{id}/rotate-secret`,
      access: 'write',
      tag,
      summary: 'Give a webhook another secret, and another key; those before sign beside them for 24 hours',
      body: rotateSecretBody,
      isBodyOptional: true,
      responses: { 200: { description: 'The webhook, with its secret', schema: endpointSchema } },
      problems: ['not_found', 'invalid_request', 'invalid_webhook_secret', 'webhooks_unavailable'],
      isIdempotent: true,
      openKeptBody: endpoints.openKeptBody,
      handle: (request) =>
        endpoints.rotate(
          principalOf(request).workspaceId,
          request.parameters['id']!,
          request.body?.secret ?? undefined,
          request.idempotency,
        ),
    }),
    defineRoute({
      method: 'post',
      path: `${path}/{id}/test`,
      access: 'write',
      tag,
      summary: 'Send a message of the type webhook_test, in the way of all others',
      responses: { 202: { description: 'It is queued', schema: testedSchema } },
      problems: ['not_found', 'webhook_disabled'],
      handle: async (request) => ({
        status: 202,
        body: await deliveries.test(principalOf(request).workspaceId, request.parameters['id']!),
      }),
    }),
    ...(['enable', 'disable'] as const).map((act) =>
      defineRoute({
        method: 'post',
        path: `${path}/{id}/${act}`,
        access: 'write',
        tag,
        summary:
          act === 'enable'
            ? 'Switch a webhook on; what waits for it is sent'
            : 'Switch a webhook off; it is told of nothing that happens meanwhile, and what waits for it goes on waiting',
        responses: { 200: { description: 'The webhook', schema: endpointSchema } },
        problems: ['not_found'],
        handle: async (request) => ({
          status: 200,
          body: await endpoints.switch(principalOf(request).workspaceId, request.parameters['id']!, act === 'enable'),
        }),
      }),
    ),
  ];
}

function deliveryRoutes(deliveries: EndpointDeliveries): Route[] {
  return [
    defineRoute({
      method: 'get',
      path: `${path}/{id}/deliveries`,
      access: 'read',
      tag,
      summary: 'The deliveries of a webhook, newest first, each with its last attempt',
      query: deliveryListQuery,
      responses: {
        200: {
          description: 'A page of deliveries; Link leads to the next one (RFC 8288)',
          schema: z.array(deliverySchema),
        },
      },
      problems: ['not_found'],
      async handle(request) {
        const id = request.parameters['id']!;
        const found = await deliveries.list(principalOf(request).workspaceId, id, request.query);
        const { deliveries: body, hasMore } = found;
        if (!hasMore) return { status: 200, body };
        const next = ['before', body.at(-1)!.id] as const;
        return { status: 200, headers: linkToNext(`${path}/${id}/deliveries`, request.rawQuery, next), body };
      },
    }),
    defineRoute({
      method: 'get',
      path: `${path}/{id}/deliveries/{delivery_id}/attempts`,
      access: 'read',
      tag,
      summary: 'All attempts of a delivery, the first one first',
      responses: { 200: { description: 'The attempts', schema: z.array(attemptSchema) } },
      problems: ['not_found'],
      handle: async ({ parameters, ...request }) => ({
        status: 200,
        body: await deliveries.attempts(
          principalOf(request).workspaceId,
          parameters['id']!,
          parameters['delivery_id']!,
        ),
      }),
    }),
    defineRoute({
      method: 'post',
      path: `${path}/{id}/deliveries/{delivery_id}/retry`,
      access: 'write',
      tag,
      summary: 'Send a delivery once more, with the same bytes and the same webhook-id',
      responses: { 202: { description: 'How many are queued', schema: retriedSchema } },
      problems: ['not_found'],
      handle: async ({ parameters, ...request }) => ({
        status: 202,
        body: await deliveries.retryOne(
          principalOf(request).workspaceId,
          parameters['id']!,
          parameters['delivery_id']!,
        ),
      }),
    }),
    defineRoute({
      method: 'post',
      path: `${path}/{id}/retry`,
      access: 'write',
      tag,
      summary: 'Send the newest 1,000 deliveries that failed once more',
      responses: { 202: { description: 'How many are queued', schema: retriedSchema } },
      problems: ['not_found'],
      handle: async (request) => ({
        status: 202,
        body: await deliveries.retryFailed(principalOf(request).workspaceId, request.parameters['id']!),
      }),
    }),
    defineRoute({
      method: 'post',
      path: `${path}/{id}/replay`,
      access: 'write',
      tag,
      summary: 'Tell a webhook of an event once more, or for the first time',
      body: replayBody,
      responses: { 202: { description: 'The delivery', schema: replayedSchema } },
      problems: ['not_found'],
      handle: async (request) => ({
        status: 202,
        body: await deliveries.replay(
          principalOf(request).workspaceId,
          request.parameters['id']!,
          request.body.event_id.toLowerCase(),
        ),
      }),
    }),
    defineRoute({
      method: 'post',
      path: `${path}/{id}/recover`,
      access: 'write',
      tag,
      summary: 'Send what of a time failed for good, and what the webhook was not told of then; 10,000 of each at most',
      body: recoverBody,
      responses: { 202: { description: 'How many are queued', schema: recoveredSchema } },
      problems: ['not_found', 'invalid_request'],
      handle: async (request) => ({
        status: 202,
        body: await deliveries.recover(principalOf(request).workspaceId, request.parameters['id']!, request.body),
      }),
    }),
    defineRoute({
      method: 'get',
      path: `${path}/{id}/requests`,
      access: 'write',
      tag,
      summary: 'Requests as this webhook is sent them, signed now and without its credentials, for `npx defarm listen`',
      query: requestsQuery,
      responses: { 200: { description: 'The next ones behind a position', schema: requestsSchema } },
      problems: ['not_found', 'webhooks_unavailable'],
      handle: async (request) => ({
        status: 200,
        body: await deliveries.requests(principalOf(request).workspaceId, request.parameters['id']!, {
          after: request.query.after,
          limit: request.query.limit,
        }),
      }),
    }),
    defineRoute({
      method: 'get',
      path: `${path}/{id}/stats`,
      access: 'read',
      tag,
      summary: 'What became of the deliveries of a webhook so far',
      responses: { 200: { description: 'Counts and times', schema: statisticsSchema } },
      problems: ['not_found'],
      handle: async (request) => ({
        status: 200,
        body: await deliveries.statistics(principalOf(request).workspaceId, request.parameters['id']!),
      }),
    }),
  ];
}
