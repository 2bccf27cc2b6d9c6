import { Problem } from '#platform/errors.ts';
import { listBody } from '#platform/page.ts';
import { defineRoute, principalOf, type Route } from '#platform/route.ts';
import { itemDetailsSchema, itemListQuery, itemListSchema, provenanceSchema } from './items.schema.ts';
import type { ItemsService } from './items.service.ts';

import { parseValueChain, valueChains, type ValueChain } from './value-chain.ts';

const tag = 'Items';

/** The routes under /api/items. */
export function itemRoutes(items: ItemsService): Route[] {
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
        // No item is in a circuit yet.
        if (circuitId !== undefined)
          return {
            status: 200,
            body: listBody('items', { rows: [], total: 0, nextPosition: undefined }, (item) => item),
          };
        const found = await items.list(
          {
            workspaceId: principalOf(request).workspaceId,
            identifierType,
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
          headers: survivor ? { link: `</api/items/${survivor}>; rel="canonical"` } : {},
          body: details,
        };
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

function readValueChain(sent: string): ValueChain {
  const chain = parseValueChain(sent);
  if (chain) return chain;
  const detail = `value chains are ${valueChains.join(', ')}`;
  throw new Problem('invalid_query', `value_chain: ${detail}`, {
    errors: [{ pointer: 'value_chain', code: 'invalid_query', detail }],
  });
}
