import { listBody } from '#platform/page.ts';
import { defineRoute, principalOf, type Route } from '#platform/route.ts';
import { explanationSchema, versionListQuery, versionListSchema, versionSchema } from './item-history.schema.ts';
import type { ItemHistory } from './item-history.service.ts';

const tag = 'Items';

/** The routes that say why an item is what it is, and what it was. */
export function itemHistoryRoutes(history: ItemHistory): Route[] {
  return [
    defineRoute({
      method: 'get',
      path: '/api/items/{dfid}/explain',
      access: 'read',
      tag,
      summary: 'Why the records of an item are one item, in sentences and as data',
      responses: { 200: { description: 'By id or DFID, merged items included', schema: explanationSchema } },
      problems: ['not_found'],
      async handle(request) {
        const { workspaceId } = principalOf(request);
        return { status: 200, body: await history.explain(workspaceId, request.parameters['dfid']!) };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/api/items/{dfid}/versions',
      access: 'read',
      tag,
      summary: 'The versions of what your workspace knows of an item, newest first',
      query: versionListQuery,
      responses: { 200: { description: 'A page of versions', schema: versionListSchema } },
      problems: ['not_found'],
      async handle(request) {
        const { workspaceId } = principalOf(request);
        const { dfid, ...page } = await history.listVersions(workspaceId, request.parameters['dfid']!, request.query);
        return { status: 200, body: { dfid, ...listBody('versions', page, (version) => version) } };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/api/items/{dfid}/versions/{version}',
      access: 'read',
      tag,
      summary: 'What your workspace knew of an item in a version',
      responses: { 200: { description: 'The version', schema: versionSchema } },
      problems: ['not_found'],
      async handle(request) {
        const { workspaceId } = principalOf(request);
        const { dfid, version } = request.parameters;
        return { status: 200, body: await history.getVersion(workspaceId, dfid!, version!) };
      },
    }),
  ];
}
