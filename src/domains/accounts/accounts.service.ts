import { randomInt } from 'node:crypto';
import { makeId } from '#platform/ids.ts';
import { openDatabase, type Knex } from '#platform/database.ts';
import type { Scope } from '#platform/route.ts';
import {
  findWorkspaceBySlug,
  insertApiKey,
  insertUser,
  insertWorkspace,
  isEmptyUnderLock,
  type WorkspaceRow,
} from './accounts.store.ts';
import { hashApiKey } from './authentication.ts';
import { hashPassword } from './passwords.ts';

const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';
const shownPrefixLength = 8;

function randomText(length: number): string {
  return Array.from({ length }, () => letters[randomInt(letters.length)]).join('');
}

/** The name as it stands in URLs and on the command line: lower case, no accents, words joined by a dash. */
export function slugOf(name: string): string {
  return name
    .normalize('NFD')
    .replaceAll(/\p{M}/gu, '')
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replaceAll(/^-+|-+$/g, '')
    .slice(0, 60);
}

/**
 * Creates a workspace.
 * @throws Error when the name holds no letter or digit, or another workspace has the same slug.
 */
export async function createWorkspace(knex: Knex, name: string): Promise<WorkspaceRow> {
  const row = { workspace_id: makeId(), name: name.trim(), slug: slugOf(name) };
  if (row.slug === '') throw new Error('a workspace needs a name with at least one letter or digit');
  if (await findWorkspaceBySlug(knex, row.slug)) throw new Error(`a workspace named ${row.slug} exists already`);
  await insertWorkspace(knex, row);
  return row;
}

/** The workspace with this name or slug. */
export async function findWorkspace(knex: Knex, name: string): Promise<WorkspaceRow | undefined> {
  return findWorkspaceBySlug(knex, slugOf(name));
}

/** Creates an API key and returns its text, which is kept nowhere. */
export async function createApiKey(
  knex: Knex,
  options: { workspaceId: string; name: string; scope: Scope; key?: string },
): Promise<string> {
  const key = options.key ?? `dfm_${randomText(40)}`;
  await insertApiKey(knex, {
    api_key_id: makeId(),
    workspace_id: options.workspaceId,
    name: options.name,
    scope: options.scope,
    key_hash: hashApiKey(key),
    key_prefix: key.slice(0, shownPrefixLength),
  });
  return key;
}

/** What the first administrator and the first key are to be; what is missing is made up, or left out. */
interface BootstrapOptions {
  makeUp: boolean;
  email?: string | undefined;
  password?: string | undefined;
  apiKey?: string | undefined;
}

export interface FirstCredentials {
  workspace: string;
  apiKey: string | undefined;
  email: string | undefined;
  password: string | undefined;
}

/**
 * Gives an empty database its first workspace, administrator and API key. Undefined, and nothing changed, when the
 * database is not empty or there is nothing to create. Safe when several processes start at once.
 */
export async function bootstrapInstallation(
  databaseUrl: string,
  options: BootstrapOptions,
): Promise<FirstCredentials | undefined> {
  const database = openDatabase({ url: databaseUrl, poolSize: 2, applicationName: 'defarm-bootstrap' });
  try {
    return await bootstrap(database.knex, options);
  } finally {
    await database.close();
  }
}

async function bootstrap(knex: Knex, options: BootstrapOptions): Promise<FirstCredentials | undefined> {
  const email = options.email ?? (options.makeUp ? 'admin@defarm.local' : undefined);
  const password = options.password ?? (options.makeUp ? randomText(24) : undefined);
  const chosenKey = options.apiKey ?? (options.makeUp ? `dfm_${randomText(40)}` : undefined);
  if (email === undefined && chosenKey === undefined) return undefined;
  const passwordHash = password === undefined ? undefined : await hashPassword(password);
  return knex.transaction(async (transaction) => {
    if (!(await isEmptyUnderLock(transaction))) return undefined;
    const workspace = await createWorkspace(transaction, 'Default');
    if (email !== undefined && passwordHash !== undefined) {
      await insertUser(transaction, {
        user_id: makeId(),
        workspace_id: workspace.workspace_id,
        email,
        password_hash: passwordHash,
        full_name: 'Administrator',
        is_administrator: true,
      });
    }
    if (chosenKey !== undefined) {
      await createApiKey(transaction, {
        workspaceId: workspace.workspace_id,
        name: 'First key',
        scope: 'admin',
        key: chosenKey,
      });
    }
    return { workspace: workspace.name, apiKey: chosenKey, email, password };
  });
}
