import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { openDatabase, type Database } from '#platform/database.ts';
import { createTestDatabase, type TestDatabase } from '../../testing/database.ts';
import { bootstrapInstallation, createApiKey, createWorkspace, findWorkspace } from './accounts.service.ts';
import { hashApiKey, makeAuthentication } from './authentication.ts';
import { hashPassword, verifyPassword } from './passwords.ts';

let testDatabase: TestDatabase;
let database: Database;
beforeAll(async () => {
  testDatabase = await createTestDatabase();
  database = openDatabase({ url: testDatabase.url, poolSize: 4, applicationName: 'defarm-test' });
});
afterAll(async () => {
  await database.close();
  await testDatabase.drop();
});

const first = {
  email: 'First@Example.com',
  password: 'a password of some length',
  apiKey: `dfm_${'a1'.repeat(20)}`,
};

describe('the first credentials', () => {
  beforeEach(() => database.pool.query('truncate workspaces, users, api_keys'));
  const counts = async () => {
    const { rows } = await database.pool.query<Record<string, number>>(
      `select (select count(*) from workspaces) as workspaces, (select count(*) from users) as users,
              (select count(*) from api_keys) as keys`,
    );
    return rows[0];
  };

  test('are created once, however many processes start at the same time', async () => {
    const results = await Promise.all(Array.from({ length: 5 }, () => bootstrapInstallation(testDatabase.url, first)));
    expect(results.filter(Boolean).length).toBe(1);
    expect(await counts()).toEqual({ workspaces: 1, users: 1, keys: 1 });
  });

  test('change nothing in an installation that has a workspace', async () => {
    await createWorkspace(database.knex, 'Fazenda Boa Vista');
    expect(await bootstrapInstallation(testDatabase.url, first)).toBe(false);
    expect(await counts()).toEqual({ workspaces: 1, users: 0, keys: 0 });
  });

  test('are created only as far as they are given', async () => {
    expect(await bootstrapInstallation(testDatabase.url, {})).toBe(false);
    expect(await bootstrapInstallation(testDatabase.url, { apiKey: first.apiKey })).toBe(true);
    expect(await counts()).toEqual({ workspaces: 1, users: 0, keys: 1 });
  });

  test('are kept as hashes only', async () => {
    await bootstrapInstallation(testDatabase.url, first);
    const { rows } = await database.pool.query<{ kept: string }>(
      'select users::text || api_keys::text as kept from users, api_keys',
    );
    expect(rows[0]!.kept).not.toContain(first.password);
    expect(rows[0]!.kept).not.toContain(first.apiKey);
    expect(rows[0]!.kept).toContain(hashApiKey(first.apiKey).toString('hex'));
  });
});

describe('workspaces', () => {
  test('are found by any spelling of their name', async () => {
    const { workspace_id: id } = await createWorkspace(database.knex, 'Cooperativa São José');
    for (const name of ['cooperativa são josé', 'COOPERATIVA  SAO JOSE', 'cooperativa-sao-jose'])
      expect((await findWorkspace(database.knex, name))?.workspace_id).toBe(id);
  });

  test('need a name of their own that holds a letter or digit', async () => {
    await createWorkspace(database.knex, 'Taken');
    await expect(createWorkspace(database.knex, 'taken!')).rejects.toThrow('exists already');
    await expect(createWorkspace(database.knex, '—')).rejects.toThrow('letter or digit');
  });
});

describe('authentication', () => {
  const second = 1000;

  test('an API key stands for its workspace and scope, and stops within 30 seconds after it was revoked elsewhere', async () => {
    let nowMs = 0;
    const authentication = makeAuthentication(database, () => nowMs);
    const { workspace_id: workspaceId } = await createWorkspace(database.knex, 'Keys');
    const key = await createApiKey(database.knex, { workspaceId, name: 'a key', scope: 'write' });
    expect(key).toMatch(/^dfm_[A-Za-z0-9]{40}$/);
    expect(await authentication.authenticateApiKey(key)).toMatchObject({ workspaceId, scope: 'write' });
    await database.pool.query('update api_keys set revoked_at = now() where key_hash = $1', [hashApiKey(key)]);
    nowMs = 30 * second;
    expect(await authentication.authenticateApiKey(key)).toBeUndefined();
    authentication.stop();
  });

  test('a key that was tried before it existed works within two seconds', async () => {
    let nowMs = 0;
    const authentication = makeAuthentication(database, () => nowMs);
    const { workspace_id: workspaceId } = await createWorkspace(database.knex, 'Early');
    const key = `dfm_${'early'.repeat(8)}`;
    expect(await authentication.authenticateApiKey(key)).toBeUndefined();
    await createApiKey(database.knex, { workspaceId, name: 'early', scope: 'read', key });
    nowMs = 2 * second;
    expect(await authentication.authenticateApiKey(key)).toMatchObject({ scope: 'read' });
    authentication.stop();
  });

  test('text that is no API key is refused without asking the database', async () => {
    const nowhere = openDatabase({ url: 'postgres://127.0.0.1:1/none', poolSize: 1, applicationName: 'defarm-test' });
    const authentication = makeAuthentication(nowhere, () => 0);
    for (const text of ['', 'dfm_', `dfm_${'a'.repeat(31)}`, `dfm_${'é'.repeat(40)}`, 'a'.repeat(44)])
      expect(await authentication.authenticateApiKey(text)).toBeUndefined();
    authentication.stop();
    await nowhere.close();
  });

  test('an administrator is known by e-mail in any case and by the exact password, and a flood of guesses is turned away', async () => {
    await database.pool.query('truncate workspaces, users, api_keys');
    await bootstrapInstallation(testDatabase.url, first);
    const authentication = makeAuthentication(database, () => 0);
    const isAdministrator = (email: string, password: string) => authentication.isAdministrator(email, password);
    expect(await isAdministrator('first@example.COM', first.password)).toBe(true);
    expect(await isAdministrator(first.email, `${first.password} `)).toBe(false);
    expect(await isAdministrator(first.email, '')).toBe(false);
    expect(await isAdministrator('second@example.com', first.password)).toBe(false);
    expect(await isAdministrator('first\u0000@example.com', first.password)).toBe(false);
    const flood = await Promise.allSettled(Array.from({ length: 200 }, () => isAdministrator(first.email, 'guess')));
    expect(flood.filter(({ status }) => status === 'rejected').length).toBeGreaterThan(100);
    expect(await isAdministrator(first.email, first.password)).toBe(true);
    await database.pool.query('update users set is_active = false');
    expect(await isAdministrator(first.email, first.password)).toBe(false);
    authentication.stop();
  });
});

describe('passwords', () => {
  test('are kept as Argon2id with the cost that OWASP recommends, salted each time', async () => {
    const [one, other] = [await hashPassword('secret'), await hashPassword('secret')];
    expect(one).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/);
    expect(one).not.toBe(other);
    expect(await verifyPassword('secret', one)).toBe(true);
    expect(await verifyPassword('Secret', one)).toBe(false);
    expect(await verifyPassword('secret', undefined)).toBe(false);
  });
});
