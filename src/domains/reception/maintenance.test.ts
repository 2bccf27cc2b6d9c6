import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { openDatabase, type Database } from '#platform/database.ts';
import { makeId, makeReceiptId } from '#platform/ids.ts';
import { createTestDatabase, type TestDatabase } from '../../testing/database.ts';
import { makeMaintenanceWork } from './maintenance.ts';

const bodyRetentionDays = 90;
let testDatabase: TestDatabase;
let database: Database;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  database = openDatabase({ url: testDatabase.url, poolSize: 3, applicationName: 'test', isWorker: true });
});

afterAll(async () => {
  await database.close();
  await testDatabase.drop();
});

/** A receipt of two body parts that settled so many days ago; null: not yet. */
async function keepReceipt(settledDaysAgo: number | null): Promise<string> {
  const receiptId = makeReceiptId();
  await database.pool.query(
    `insert into receipts (receipt_id, workspace_id, hash, size_bytes, content_type, format, charset, finished_at)
     values ($1, $2, '\\x00', 2, 'application/json', 'json', 'utf-8', now() - make_interval(days => $3))`,
    [receiptId, makeId(), settledDaysAgo],
  );
  await database.pool.query(`insert into receipt_bodies values ($1, 0, '\\x7b'), ($1, 1, '\\x7d')`, [receiptId]);
  return receiptId;
}

async function keepKey(key: string, validForHours: number): Promise<void> {
  await database.pool.query(
    `insert into idempotency_keys (workspace_id, operation, key, fingerprint, receipt_id, expires_at)
     values ($1, 'test', $2, '\\x00', $3, now() + make_interval(hours => $4))`,
    [makeId(), key, makeReceiptId(), validForHours],
  );
}

async function column(query: string): Promise<unknown[]> {
  return (await database.pool.query<{ value: unknown }>(query)).rows.map((row) => row.value);
}

beforeEach(async () => {
  await database.pool.query('truncate receipts, receipt_bodies, idempotency_keys');
  await database.pool.query(`update maintenance_tasks set next_run_at = now()`);
});

describe('maintenance', () => {
  test('erases a large backlog in several short runs', async () => {
    const backlog = 5200;
    await database.pool.query(
      `insert into receipts (receipt_id, workspace_id, hash, size_bytes, content_type, format, charset, finished_at)
       select gen_random_uuid(), gen_random_uuid(), '\\x00', 2, 'application/json', 'json', 'utf-8', now() - interval '1 year'
       from generate_series(1, $1)`,
      [backlog],
    );
    const work = makeMaintenanceWork({ database, bodyRetentionDays, further: {} });

    const first = await work.process({ task: 'retention' });
    const second = await work.process({ task: 'retention' });

    expect(first).toMatchObject({ bodies_erased: 5000, is_all_done: false });
    expect(second).toMatchObject({ bodies_erased: 200, is_all_done: true });
  });

  test('erases bodies and keys whose time is over and no others, once an hour, whatever tasks another version has', async () => {
    const old = await keepReceipt(bodyRetentionDays + 1);
    const young = await keepReceipt(bodyRetentionDays - 1);
    const open = await keepReceipt(null);
    await keepKey('expired', -1);
    await keepKey('valid', 1);
    await database.pool.query(
      `insert into work_attempts (receipt_id, chunk_number, attempt, worker, started_at)
       values (gen_random_uuid(), 0, 1, 'w', now() - interval '8 days'), (gen_random_uuid(), 0, 1, 'w', now())`,
    );
    await database.pool.query(`insert into maintenance_tasks values ('of another version', now() - interval '1 year')`);
    const work = makeMaintenanceWork({ database, bodyRetentionDays, further: {} });

    const due = await work.findOverdue(10);
    const result = await work.process(due[0]!);

    expect(due).toEqual([{ task: 'retention' }]);
    expect(result).toEqual({
      task: 'retention',
      bodies_erased: 1,
      idempotency_keys_deleted: 1,
      attempts_deleted: 1,
      is_all_done: true,
    });
    expect(await column('select receipt_id as value from receipts where body_erased_at is not null')).toEqual([old]);
    expect(new Set(await column('select receipt_id as value from receipt_bodies'))).toEqual(new Set([young, open]));
    expect(await column('select key as value from idempotency_keys')).toEqual(['valid']);
    expect(await work.findOverdue(10)).toEqual([]);
    expect(await work.workDirectly()).toBe(false);
    expect(
      await column(
        `select next_run_at > now() + interval '59 minutes' as value from maintenance_tasks where task = 'retention'`,
      ),
    ).toEqual([true]);
  });
});
