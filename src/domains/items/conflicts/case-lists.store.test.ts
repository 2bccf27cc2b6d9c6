import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openDatabase, type Database } from '#platform/database.ts';
import { makeId } from '#platform/ids.ts';
import { createTestDatabase, type TestDatabase } from '../../../testing/database.ts';
import { createWorkspace } from '../../../testing/deduplication.ts';
import { claimKey } from '../judge-record.ts';
import { listCases, type CaseFilter } from './case-lists.store.ts';

const storedCases = 20_000;
/** A page of ten cases and their number, each some pages of an index and of a table deep. */
const pagesMax = 250;

let testDatabase: TestDatabase;
let database: Database;
let client: pg.PoolClient;
let busy: string;
let quiet: string;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  database = openDatabase({ url: testDatabase.url, poolSize: 1, applicationName: 'test' });
  [busy, quiet] = [(await createWorkspace(database)).id, (await createWorkspace(database)).id];
  client = await database.pool.connect();
  // Plans made while the tables are empty, as those of a process that started with a new installation.
  for (const { filter } of filters()) await list(filter);
  await client.query(
    `with numbered as (
       select n, ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid as conflict_id from generate_series(1, ${storedCases}) as n
     ), cases as (
       insert into conflicts (conflict_id, item_numbers) select conflict_id, array[n] from numbered
     ), parts as (
       insert into conflict_participants (workspace_id, conflict_id)
       select case when n % 4000 = 0 then $2::uuid else $1::uuid end, conflict_id from numbered
     ), claims as (
       insert into contested_claims (identifier_type, value, conflict_id) select 'chip', n::text, conflict_id from numbered
     )
     insert into contested_items (item_number, conflict_id) select n, conflict_id from numbered`,
    [busy, quiet],
  );
  await client.query(
    `update conflicts set status = 'resolved', resolved_at = now(), action = 'reject' where item_numbers[1] % 5000 <> 7`,
  );
  await client.query('vacuum conflicts, conflict_participants, contested_claims, contested_items');
});

afterAll(async () => {
  client.release();
  await database.close();
  await testDatabase.drop();
});

const list = (filter: CaseFilter) =>
  listCases(client, filter, { limit: 10, offset: 0, after: undefined, countedMax: 11 });

function filters(): { name: string; filter: CaseFilter; found: number }[] {
  const any = { workspaceId: null, status: undefined, itemNumbers: undefined, keys: undefined };
  const open = { ...any, status: 'open' as const };
  const resolved = { ...any, status: 'resolved' as const };
  const keys = [claimKey('chip', '5007')];
  return [
    { name: 'all', filter: any, found: 11 },
    { name: 'the few open ones', filter: open, found: 4 },
    { name: 'the decided ones', filter: resolved, found: 11 },
    { name: 'those of a workspace with few', filter: { ...any, workspaceId: quiet }, found: 5 },
    { name: 'the few open ones of a workspace with many', filter: { ...open, workspaceId: busy }, found: 4 },
    { name: 'the decided ones of a workspace', filter: { ...resolved, workspaceId: quiet }, found: 5 },
    { name: 'those of an item', filter: { ...any, itemNumbers: [4000] }, found: 1 },
    { name: 'those of an item of the workspace', filter: { ...any, workspaceId: busy, itemNumbers: [4000] }, found: 0 },
    { name: 'those of an identifier', filter: { ...open, keys }, found: 1 },
    { name: 'those of an item and an identifier', filter: { ...open, keys, itemNumbers: [1, 5007] }, found: 1 },
  ];
}

describe('among very many cases', () => {
  test.each(filters().map(({ name }, at) => [name, at] as const))(
    '%s are found without reading the others',
    async (_name, at) => {
      const { filter, found } = filters()[at]!;
      const read = async () => {
        const { rows } = await client.query<{ pages: number }>(
          `select sum(pg_stat_get_xact_blocks_fetched(oid))::int8 as pages from pg_class where oid::regclass::text ~ '^(contested_|conflict)'`,
        );
        return rows[0]!.pages;
      };
      await client.query('begin');

      const before = await read();
      const { total } = await list(filter);
      const pages = (await read()) - before;

      await client.query('rollback');
      expect(total).toBe(found);
      expect(pages).toBeLessThan(pagesMax);
    },
  );
});

test('a page after a cursor goes on where the one before ended', async () => {
  const filter: CaseFilter = { workspaceId: quiet, status: undefined, itemNumbers: undefined, keys: undefined };
  const first = await listCases(client, filter, { limit: 3, offset: 0, after: undefined, countedMax: 11 });
  const after = first.rows.at(-1)!.conflict_id;

  const second = await listCases(client, filter, { limit: 3, offset: 0, after, countedMax: 11 });

  const numbers = [...first.rows, ...second.rows].map((row) => row.item_numbers[0]);
  expect(numbers).toEqual([20_000, 16_000, 12_000, 8000, 4000]);
  expect(await listCases(client, filter, { limit: 3, offset: 0, after: makeId(), countedMax: 11 })).toMatchObject({
    total: 5,
  });
});
