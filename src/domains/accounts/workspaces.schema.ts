import { z } from 'zod';
import { listSchema, pageQuery } from '#platform/page.ts';

export const workspaceSchema = z
  .object({
    workspace_id: z.uuid(),
    name: z.string(),
    slug: z.string(),
    may_link_items: z.boolean().meta({ description: 'Trusted to join items that others contributed to' }),
    created_at: z.iso.datetime(),
  })
  .meta({ id: 'AdministeredWorkspace' });

export const workspaceListSchema = listSchema('workspaces', workspaceSchema);
export const workspaceListQuery = z.object(pageQuery);
export const updateWorkspaceBody = z
  .strictObject({ may_link_items: z.boolean() })
  .meta({ id: 'UpdateAdministeredWorkspaceRequest' });
