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

/** What the first administrator and the first key are to be; what is left out is not created. */
interface FirstCredentials {
  email?: string | undefined;
  password?: string | undefined;
  apiKey?: string | undefined;
}

/** Credentials that nobody can guess, for an installation that was given none. */
export function makeUpCredentials(): Required<{ [Key in keyof FirstCredentials]: string }> {
  return { email: 'admin@defarm.local', password: randomText(24), apiKey: `dfm_${randomText(40)}` };
}

/**
 * Gives an empty database its first workspace, administrator and API key. False, and nothing changed, when the database
 * is not empty or nothing is given. Safe when several processes start at once.
 */
export async function bootstrapInstallation(databaseUrl: string, first: FirstCredentials): Promise<boolean> {
  if (first.email === undefined && first.apiKey === undefined) return false;
  const database = openDatabase({ url: databaseUrl, poolSize: 2, applicationName: 'defarm-bootstrap' });
  try {
    const passwordHash = first.password === undefined ? undefined : await hashPassword(first.password);
    return await database.knex.transaction((transaction) => createFirst(transaction, first, passwordHash));
  } finally {
    await database.close();
  }
}

async function createFirst(
  transaction: Knex.Transaction,
  first: FirstCredentials,
  passwordHash: string | undefined,
): Promise<boolean> {
  if (!(await isEmptyUnderLock(transaction))) return false;
  const { workspace_id: workspaceId } = await createWorkspace(transaction, 'Default');
  if (first.email !== undefined && passwordHash !== undefined) {
    await insertUser(transaction, {
      user_id: makeId(),
      workspace_id: workspaceId,
      email: first.email,
      password_hash: passwordHash,
      full_name: 'Administrator',
      is_administrator: true,
    });
  }
  if (first.apiKey !== undefined) {
    await createApiKey(transaction, { workspaceId, name: 'First key', scope: 'admin', key: first.apiKey });
  }
  return true;
}
