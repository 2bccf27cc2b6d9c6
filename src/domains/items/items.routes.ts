import { Problem } from '#platform/errors.ts';
import { listBody } from '#platform/page.ts';
import { defineRoute, principalOf, type Route, type RouteRequest, type RouteResponse } from '#platform/route.ts';
import { itemTagOf, type ItemChange } from './hold-item.ts';
import type { ItemChanges } from './item-changes.service.ts';
import {
  itemDetailsSchema,
  itemListQuery,
  itemListSchema,
  itemSchema,
  provenanceSchema,
  updateItemStatusBody,
} from './items.schema.ts';
import type { ItemsService } from './items.service.ts';

import { parseValueChain, valueChains, type ValueChain } from './value-chain.ts';

const tag = 'Items';

/** The routes under /api/items. */
export function itemRoutes(items: ItemsService, changes: ItemChanges): Route[] {
  return [
    defineRoute({
      method: 'get',
      path: '/api/items',
      access: 'read',
      tag,
      summary: 'Find items, newest first',
      query: itemListQuery,
      responses: { 200: { description: 'A page of items', schema: itemListSchema } },
      async handle(request) {
        const {
          limit,
          offset,
          cursor,
          identifier_type: identifierType,
          value_chain: valueChain,
          circuit_id: circuitId,
          ...filter
        } = request.query;
        const found = await items.list(
          {
            workspaceId: principalOf(request).workspaceId,
            identifierType,
            circuitId,
            ...filter,
            valueChain: valueChain === undefined ? undefined : readValueChain(valueChain),
            country: filter.country?.toUpperCase(),
          },
          { limit, offset, cursor },
        );
        return { status: 200, body: listBody('items', found, (item) => item) };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/api/items/{id}',
      access: 'read',
      tag,
      summary: 'What your workspace knows of an item',
      responses: { 200: { description: 'By id or DFID, merged items included', schema: itemDetailsSchema } },
      async handle(request) {
        const details = await items.get(principalOf(request).workspaceId, request.parameters['id']!);
        const survivor = details.item.merged_into_dfid;
        return {
          status: 200,
          headers: {
            etag: itemTagOf(details.item),
            ...(survivor ? { link: `</api/items/${survivor}>; rel="canonical"` } : {}),
          },
          body: details,
        };
      },
    }),
    defineRoute({
      method: 'delete',
      path: '/api/items/{id}',
      access: 'write',
      tag,
      summary: 'Archive an item for your workspace; nothing is erased',
      requestHeaders: ifMatchHeader,
      responses: { 204: { description: 'It is archived' } },
      problems: changeProblems,
      async handle(request) {
        await changes.archive(changeOf(request));
        return { status: 204 };
      },
    }),
    defineRoute({
      method: 'put',
      path: '/api/items/{id}/status',
      access: 'write',
      tag,
      summary: 'Set the status that an item has for your workspace',
      body: updateItemStatusBody,
      requestHeaders: ifMatchHeader,
      responses: { 200: { description: 'The item with that status', schema: itemSchema } },
      problems: changeProblems,
      async handle(request) {
        await changes.changeStatus(changeOf(request), request.body.status);
        return itemAnswer(items, request);
      },
    }),
    defineRoute({
      method: 'get',
      path: '/api/items/{id}/provenance',
      access: 'read',
      tag,
      summary: 'Where each identifier and value came from, and what it overwrote',
      responses: { 200: { description: 'Per identifier and field', schema: provenanceSchema } },
      async handle(request) {
        return {
          status: 200,
          body: await items.provenance(principalOf(request).workspaceId, request.parameters['id']!),
        };
      },
    }),
  ];
}

/** How a change may depend on what was read before. */
export const ifMatchHeader = { 'If-Match': 'The ETag that the item must still have; * for any' };
/** What a change of one item may be refused with, beside what every route may answer. */
export const changeProblems = ['not_found', 'item_merged', 'precondition_failed', 'invalid_header'] as const;

type ItemRequest = Pick<RouteRequest, 'principal' | 'parameters' | 'headers'>;

/** The change of the item that `parameter` of a request's path names. */
export function changeOf(request: ItemRequest, parameter: 'id' | 'dfid' = 'id'): ItemChange {
  const { workspaceId, credentialId: changedBy } = principalOf(request);
  return { workspaceId, changedBy, idOrDfid: request.parameters[parameter]!, headers: request.headers };
}

/** The answer to a change: the item as it is after it. */
export async function itemAnswer(items: ItemsService, request: ItemRequest): Promise<RouteResponse> {
  const { item } = await items.get(principalOf(request).workspaceId, request.parameters['id']!);
  return { status: 200, headers: { etag: itemTagOf(item) }, body: item };
}

function readValueChain(sent: string): ValueChain {
  const chain = parseValueChain(sent);
  if (chain) return chain;
  const detail = `value chains are ${valueChains.join(', ')}`;
  throw new Problem('invalid_query', `value_chain: ${detail}`, {
    errors: [{ pointer: 'value_chain', code: 'invalid_query', detail }],
  });
}
