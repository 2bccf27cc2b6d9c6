import { defineRoute, principalOf, type Route } from '#platform/route.ts';
import {
  itemEventProofSchema,
  itemRootListQuery,
  itemRootListSchema,
  itemRootSchema,
  syncCheckBody,
  syncCheckSchema,
  verifyItemProofBody,
  verifyItemProofSchema,
} from './item-trees.schema.ts';
import type { ItemTreesService } from './item-trees.service.ts';

const tag = 'Item roots';
const path = '/api/merkle';

/** One hash over all events of an item, by which two copies are compared without sending them. */
export function itemTreeRoutes(trees: ItemTreesService): Route[] {
  return [
    defineRoute({
      method: 'get',
      path: `${path}/items`,
      access: 'read',
      tag,
      summary: 'The roots of your items, in the order of the numbers in their DFIDs',
      query: itemRootListQuery,
      responses: { 200: { description: 'A page of roots', schema: itemRootListSchema } },
      handle: async (request) => ({
        status: 200,
        body: await trees.list(principalOf(request).workspaceId, request.query),
      }),
    }),
    defineRoute({
      method: 'get',
      path: `${path}/items/{dfid}`,
      access: 'read',
      tag,
      summary: 'The root over the events of an item that you told, as far as they are in the log',
      responses: { 200: { description: 'The root', schema: itemRootSchema } },
      problems: ['not_found'],
      handle: async (request) => ({
        status: 200,
        body: await trees.root(principalOf(request).workspaceId, request.parameters['dfid']!),
      }),
    }),
    defineRoute({
      method: 'get',
      path: `${path}/items/{dfid}/events/{event_id}`,
      access: 'read',
      tag,
      summary: 'The path from an event to the root of its item',
      responses: { 200: { description: 'The path', schema: itemEventProofSchema } },
      problems: ['not_found'],
      handle: async ({ parameters, ...request }) => ({
        status: 200,
        body: await trees.prove(principalOf(request).workspaceId, parameters['dfid']!, parameters['event_id']!),
      }),
    }),
    defineRoute({
      method: 'post',
      path: `${path}/verify`,
      access: 'read',
      tag,
      summary: 'Whether a path leads from its leaf to the root that is expected',
      body: verifyItemProofBody,
      responses: { 200: { description: 'What was found', schema: verifyItemProofSchema } },
      problems: ['invalid_request'],
      handle: async ({ body }) => ({ status: 200, body: trees.verify(body) }),
    }),
    defineRoute({
      method: 'post',
      path: `${path}/sync-check`,
      access: 'read',
      tag,
      summary: 'Compare the roots of a copy with those that are here',
      body: syncCheckBody,
      responses: { 200: { description: 'What differs', schema: syncCheckSchema } },
      problems: ['invalid_request'],
      handle: async (request) => ({
        status: 200,
        body: await trees.syncCheck(principalOf(request).workspaceId, request.body),
      }),
    }),
  ];
}
