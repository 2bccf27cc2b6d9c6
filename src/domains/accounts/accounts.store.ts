import type { Knex, Queryable } from '#platform/database.ts';
import type { Scope } from '#platform/route.ts';

export interface WorkspaceRow {
  workspace_id: string;
  name: string;
  slug: string;
}

export interface ApiKeyRow {
  api_key_id: string;
  workspace_id: string;
  scope: Scope;
}

export interface UserRow {
  user_id: string;
  email: string;
  password_hash: string;
  is_administrator: boolean;
}

/** A key that is neither revoked nor expired. */
export async function findValidApiKey(queryable: Queryable, keyHash: Buffer): Promise<ApiKeyRow | undefined> {
  const { rows } = await queryable.query<ApiKeyRow>({
    name: 'find_valid_api_key',
    text: `select api_key_id, workspace_id, scope from api_keys
           where key_hash = $1 and revoked_at is null and (expires_at is null or expires_at > now())`,
    values: [keyHash],
  });
  return rows[0];
}

export async function findActiveUserByEmail(knex: Knex, email: string): Promise<UserRow | undefined> {
  return knex('users')
    .select('user_id', 'email', 'password_hash', 'is_administrator')
    .whereRaw('lower(email) = lower(?)', [email])
    .andWhere({ is_active: true })
    .first<UserRow | undefined>();
}

export async function findWorkspaceBySlug(knex: Knex, slug: string): Promise<WorkspaceRow | undefined> {
  return knex('workspaces').select('workspace_id', 'name', 'slug').where({ slug }).first<WorkspaceRow | undefined>();
}

/** Whether any user or workspace exists; takes a lock that lets one process at a time bootstrap. */
export async function isEmptyUnderLock(transaction: Knex.Transaction): Promise<boolean> {
  await transaction.raw('lock table workspaces in share row exclusive mode');
  const row = await transaction('workspaces').select('workspace_id').first<unknown>();
  return row === undefined;
}

export async function insertWorkspace(knex: Knex, row: WorkspaceRow): Promise<void> {
  await knex('workspaces').insert(row);
}

export async function insertUser(
  knex: Knex,
  row: UserRow & { workspace_id: string; full_name: string },
): Promise<void> {
  await knex('users').insert(row);
}

export async function insertApiKey(
  knex: Knex,
  row: ApiKeyRow & { name: string; key_hash: Buffer; key_prefix: string },
): Promise<void> {
  await knex('api_keys').insert(row);
}

export async function touchApiKeys(queryable: Queryable, apiKeyIds: readonly string[]): Promise<void> {
  await queryable.query('update api_keys set last_used_at = now() where api_key_id = any($1::uuid[])', [apiKeyIds]);
}

export interface AdministeredWorkspaceRow extends WorkspaceRow {
  may_link_items: boolean;
  created_at: Date;
}

const administeredColumns = ['workspace_id', 'name', 'slug', 'may_link_items', 'created_at'];

/** Workspaces in the order of their ids, which is that of their creation. */
export async function listWorkspaces(
  knex: Knex,
  page: { limit: number; offset: number; after: string | undefined },
): Promise<AdministeredWorkspaceRow[]> {
  const query = knex('workspaces')
    .select<AdministeredWorkspaceRow[]>(administeredColumns)
    .orderBy('workspace_id')
    .limit(page.limit);
  if (page.after === undefined) void query.offset(page.offset);
  else void query.where('workspace_id', '>', page.after);
  return query;
}

export async function countWorkspaces(knex: Knex, most: number): Promise<number> {
  const counted = await knex
    .count<{ count: number }[]>('*')
    .from(knex('workspaces').select(knex.raw('1')).limit(most).as('counted'));
  return counted[0]?.count ?? 0;
}

export async function updateWorkspaceTrust(
  knex: Knex,
  workspaceId: string,
  mayLinkItems: boolean,
): Promise<AdministeredWorkspaceRow | undefined> {
  const rows = await knex('workspaces')
    .where({ workspace_id: workspaceId })
    .update({ may_link_items: mayLinkItems })
    .returning<AdministeredWorkspaceRow[]>(administeredColumns);
  return rows[0];
}
