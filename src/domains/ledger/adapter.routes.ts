import { defineRoute, principalOf, type Route } from '#platform/route.ts';
import type { AdapterReport } from './adapter-report.ts';
import { adapterStatisticsSchema, itemAnchorsSchema } from './adapter.schema.ts';

/** Where items stand outside of this installation, as the web client asks for it. */
export function adapterRoutes(report: AdapterReport): Route[] {
  return [
    defineRoute({
      method: 'get',
      path: '/api/adapter/items/{item_id}/anchors',
      access: 'read',
      tag: 'Log and proofs',
      summary: 'The transactions that anchor what is logged of an item, and where its contents are stored',
      responses: { 200: { description: 'Anchors and places', schema: itemAnchorsSchema } },
      problems: ['not_found'],
      handle: async (request) => ({
        status: 200,
        body: await report.anchorsOf(principalOf(request).workspaceId, request.parameters['item_id']!),
      }),
    }),
    defineRoute({
      method: 'get',
      path: '/api/admin/adapter/stats',
      access: 'admin',
      tag: 'Admin',
      summary: 'What storing and anchoring did so far, and what it cost',
      responses: { 200: { description: 'Counts', schema: adapterStatisticsSchema } },
      handle: async () => ({ status: 200, body: await report.statistics() }),
    }),
  ];
}
