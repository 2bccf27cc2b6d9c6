import { afterAll, beforeAll, expect, test } from 'vitest';
import { openDatabase, withTransaction, type Database } from '#platform/database.ts';
import { createTestDatabase, type TestDatabase } from '../../../testing/database.ts';
import { createWorkspace, makeAbsorber, receiptOf, type Absorber } from '../../../testing/deduplication.ts';
import { listVersionChanges } from './versions.store.ts';

let testDatabase: TestDatabase;
let database: Database;
let absorber: Absorber;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  database = openDatabase({ url: testDatabase.url, poolSize: 4, applicationName: 'test', isWorker: true });
  absorber = makeAbsorber(database);
});
afterAll(async () => {
  await absorber.close();
  await database.close();
  await testDatabase.drop();
});

const page = { before: null, versions: 10, changes: 10 };
const record = (weight: number) => ({
  value_chain: 'BEEF',
  identifiers: [{ identifier_type: 'sisbov', value: 'BR105000000001' }],
  metadata: { weight },
});

test('a transaction makes one version of an item although it absorbs its records one after another', async () => {
  const workspace = await createWorkspace(database);
  const [first, second, third, fourth] = receiptOf(record(1), record(2), record(3), record(4));
  await withTransaction(database.pool, async (client) => {
    await absorber.absorbWithin(client, workspace, [first!]);
    await absorber.absorbWithin(client, workspace, [second!]);
  });
  await withTransaction(database.pool, async (client) => {
    await absorber.absorbWithin(client, workspace, [third!]);
    await absorber.absorbWithin(client, workspace, [fourth!]);
  });

  const { rows } = await database.pool.query<{ item_number: number; version: number }>(
    'select item_number, version from contributions',
  );
  const versions = await listVersionChanges(database.pool, workspace.id, rows[0]!.item_number, page);

  expect(rows.map((row) => row.version)).toEqual([2]);
  expect(versions.map((row) => [row.version, row.event_type])).toEqual([
    [2, 'item_enriched'],
    [2, 'item_enriched'],
    [1, 'item_created'],
    [1, 'item_enriched'],
  ]);
});
