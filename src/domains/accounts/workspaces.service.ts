import type { Database } from '#platform/database.ts';
import { Problem } from '#platform/errors.ts';
import { isUuid } from '#platform/ids.ts';
import { countedAtMost, decodeCursor } from '#platform/page.ts';
import {
  countWorkspaces,
  listWorkspaces,
  updateWorkspaceTrust,
  type AdministeredWorkspaceRow,
} from './accounts.store.ts';

export type WorkspacesService = ReturnType<typeof makeWorkspacesService>;

/** What an administrator of the installation decides about workspaces. */
export function makeWorkspacesService({ knex }: Database) {
  return {
    async list(page: { limit: number; offset: number; cursor?: string | undefined }) {
      const rows = await listWorkspaces(knex, { ...page, after: decodeCursor(page.cursor, 'uuid') });
      const last = rows.at(-1);
      return {
        rows: rows.map(showWorkspace),
        total: await countWorkspaces(knex, countedAtMost + 1),
        nextPosition: rows.length === page.limit && last ? last.workspace_id : undefined,
      };
    },

    /** Trusts a workspace to join items that others contributed to, or does so no longer; holds for records from now on. */
    async trust(workspaceId: string, mayLinkItems: boolean) {
      const row = isUuid(workspaceId) ? await updateWorkspaceTrust(knex, workspaceId, mayLinkItems) : undefined;
      if (!row) throw new Problem('not_found', 'there is no workspace with this id');
      return showWorkspace(row);
    },
  };
}

function showWorkspace({ created_at: createdAt, ...row }: AdministeredWorkspaceRow) {
  return { ...row, created_at: createdAt.toISOString() };
}
