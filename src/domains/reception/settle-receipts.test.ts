import { afterAll, beforeAll, expect, test } from 'vitest';
import { openDatabase, type Database } from '#platform/database.ts';
import { entryIdAt, makeReceiptId } from '#platform/ids.ts';
import { createTestDatabase, type TestDatabase } from '../../testing/database.ts';
import { beginTransaction, createWorkspace } from '../../testing/deduplication.ts';
import { settleReceipts } from './receipts.store.ts';
import { recountEntries } from './recount-entries.ts';
import { insertSettledReceipt } from './settled-receipts.store.ts';

let testDatabase: TestDatabase;
let database: Database;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  database = openDatabase({ url: testDatabase.url, poolSize: 4, applicationName: 'test', isWorker: true });
});

afterAll(async () => {
  await database.close();
  await testDatabase.drop();
});

const none = { completed: 0, rejected: 0, failed: 0, conflicted: 0, created: 0, enriched: 0 };

test('a receipt is settled with the counts of a recount that was on its way', async () => {
  const workspace = await createWorkspace(database);
  const receiptId = makeReceiptId();
  await insertSettledReceipt(database.pool, {
    receiptId,
    workspaceId: workspace.id,
    receivedSequence: 1,
    hash: Buffer.alloc(32),
    body: Buffer.from('{}'),
    requestId: 'test',
    counts: { ...none, conflicted: 1 },
  });
  await database.pool.query('update receipts set finished_at = null, outcome = null');
  const { client, commit } = await beginTransaction(database);
  await recountEntries(client, [
    {
      entryId: entryIdAt(receiptId, 0),
      from: { status: 'conflicted', outcome: 'conflict' },
      to: { status: 'completed', outcome: 'created' },
    },
  ]);

  const settled = settleReceipts(database.pool, [receiptId]);
  await expect
    .poll(async () => {
      const { rows } = await database.pool.query<{ pid: number }>(
        `select pid from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
      );
      return rows.length;
    })
    .toBe(1);
  await commit();

  expect(await settled).toBe(1);
  const { rows } = await database.pool.query('select outcome, finished_at is not null as is_settled from receipts');
  expect(rows).toEqual([{ outcome: 'completed', is_settled: true }]);
  expect(await settleReceipts(database.pool, [receiptId])).toBe(0);
});
