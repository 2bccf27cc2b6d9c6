import { listBody } from '#platform/page.ts';
import { defineRoute, type Route } from '#platform/route.ts';
import { updateWorkspaceBody, workspaceListQuery, workspaceListSchema, workspaceSchema } from './workspaces.schema.ts';
import type { WorkspacesService } from './workspaces.service.ts';

const tag = 'Admin';

/** The routes by which administrators look at workspaces and trust them. */
export function workspaceRoutes(workspaces: WorkspacesService): Route[] {
  return [
    defineRoute({
      method: 'get',
      path: '/api/admin/workspaces',
      access: 'admin',
      tag,
      summary: 'All workspaces of the installation, oldest first',
      query: workspaceListQuery,
      responses: { 200: { description: 'A page of workspaces', schema: workspaceListSchema } },
      async handle(request) {
        return { status: 200, body: listBody('workspaces', await workspaces.list(request.query), (row) => row) };
      },
    }),
    defineRoute({
      method: 'patch',
      path: '/api/admin/workspaces/{id}',
      access: 'admin',
      tag,
      summary: 'Trust a workspace to join items that others contributed to, or no longer',
      body: updateWorkspaceBody,
      responses: { 200: { description: 'The workspace', schema: workspaceSchema } },
      problems: ['not_found'],
      async handle(request) {
        const { may_link_items: mayLinkItems } = request.body;
        return { status: 200, body: await workspaces.trust(request.parameters['id']!, mayLinkItems) };
      },
    }),
  ];
}
