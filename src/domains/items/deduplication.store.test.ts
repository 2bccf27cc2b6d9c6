import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openDatabase, type Database } from '#platform/database.ts';
import { makeId } from '#platform/ids.ts';
import { createTestDatabase, type TestDatabase } from '../../testing/database.ts';
import { createWorkspace } from '../../testing/deduplication.ts';
import { findCasesTouching, findWorkspaceLinks } from './conflicts/conflicts.store.ts';
import { findClaimOwners, findClaimsOfItems, findReservations, findSeparations } from './deduplication.store.ts';
import { claimKey } from './judge-record.ts';

const storedRows = 5000;
/** Ten lookups in each of two tables, each some pages deep; reading all rows takes more. */
const pagesMax = 200;

let testDatabase: TestDatabase;
let database: Database;
let client: pg.PoolClient;
let workspaceId: string;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  database = openDatabase({ url: testDatabase.url, poolSize: 1, applicationName: 'test', isWorker: true });
  workspaceId = (await createWorkspace(database)).id;
  client = await database.pool.connect();
});

afterAll(async () => {
  client.release();
  await database.close();
  await testDatabase.drop();
});

const keys = Array.from({ length: 10 }, (_none, at) => claimKey('chip', `${100 * at + 1}`));
const itemNumbers = keys.map((_key, at) => 100 * at + 1);

const lookups: Record<string, () => Promise<unknown>> = {
  find_claim_owners: () => findClaimOwners(client, workspaceId, keys),
  find_reservations: () => findReservations(client, workspaceId, keys),
  find_claims_of_items: () => findClaimsOfItems(client, workspaceId, itemNumbers),
  find_cases_touching: () => findCasesTouching(client, keys, itemNumbers),
  find_workspace_links: () => findWorkspaceLinks(client, keys, itemNumbers),
  find_separations: () => findSeparations(client, itemNumbers),
};

/** Pages of the tables of rare things that a lookup reads. */
async function pagesOf(lookup: () => Promise<unknown>): Promise<number> {
  const read = async () => {
    const { rows } = await client.query<{ pages: number }>(
      `select sum(pg_stat_get_xact_blocks_fetched(oid))::int8 as pages from pg_class
       where oid::regclass::text ~ '^(workspace_claims|contested_|item_separations|conflict)'`,
    );
    return rows[0]!.pages;
  };
  await client.query('begin');
  try {
    const before = await read();
    await lookup();
    return (await read()) - before;
  } finally {
    await client.query('rollback');
  }
}

describe('lookups of what is rare', () => {
  test('read a few pages of what is much by now, though their plans were made when there was nothing', async () => {
    await client.query('vacuum (analyze) workspace_claims, contested_claims, contested_items, item_separations');
    for (const lookup of Object.values(lookups)) await lookup();
    const numbers = `generate_series(1, ${storedRows}) as n`;
    await client.query(
      `insert into workspace_claims (workspace_id, identifier_type, value, item_number, entry_id)
       select $1, 'chip', n::text, n, $2 from ${numbers}`,
      [workspaceId, makeId()],
    );
    await client.query(
      `insert into contested_claims (identifier_type, value, conflict_id) select 'chip', n::text, $1 from ${numbers}`,
      [makeId()],
    );
    await client.query(`insert into contested_items (item_number, conflict_id) select n, $1 from ${numbers}`, [
      makeId(),
    ]);
    await client.query(
      `insert into item_separations (lower_item, higher_item, workspace_id, decided_by)
       select n, n + 100, $1, 'somebody' from ${numbers}`,
      [workspaceId],
    );

    const pages: Record<string, number> = {};
    for (const [name, lookup] of Object.entries(lookups)) pages[name] = await pagesOf(lookup);

    expect(Object.entries(pages).filter(([, count]) => count === 0 || count > pagesMax)).toEqual([]);
    const { privateOwners } = await findClaimOwners(client, workspaceId, keys);
    expect([...privateOwners]).toEqual(keys.map((key, at) => [key, itemNumbers[at]]));
    const reservations = await findReservations(client, workspaceId, keys);
    expect(reservations.contested).toEqual(new Set(keys));
    expect(reservations.privateOwners).toEqual(privateOwners);
    expect(new Set((await findCasesTouching(client, keys, [])).map(({ key }) => key))).toEqual(new Set(keys));
    expect(await findWorkspaceLinks(client, keys, [])).toHaveLength(keys.length);
    expect(await findSeparations(client, itemNumbers)).toHaveLength(itemNumbers.length - 1);
  });
});
