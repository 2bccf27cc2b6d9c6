import { withTransaction, type Database } from '#platform/database.ts';
import type { QueueWork } from '#platform/queue/definition.ts';
import { maintenanceQueue } from './maintenance.jobs.ts';
import { deleteExpiredIdempotencyKeys, eraseOldBodies } from './receipts.store.ts';

interface MaintenanceOptions {
  database: Database;
  bodyRetentionDays: number;
}

const rowsAtOnce = 500;
const retentionTask = 'retention';

/**
 * Makes the work behind the queue `maintenance`. When a task is due stands in a row of Postgres, not in a schedule of the
 * queue, so that losing the queue loses no schedule.
 */
export function makeMaintenanceWork({ database, bodyRetentionDays }: MaintenanceOptions): QueueWork<{ task: string }> {
  const { pool } = database;

  const drain = async (step: () => Promise<number>): Promise<number> => {
    let total = 0;
    for (let count = await step(); count > 0; count = await step()) total += count;
    return total;
  };

  const runNext = () =>
    withTransaction(pool, async (client) => {
      const due = await client.query<{ task: string }>(
        'select task from maintenance_tasks where next_run_at <= now() order by next_run_at limit 1 for update skip locked',
      );
      const task = due.rows[0]?.task;
      if (task !== retentionTask) return undefined;
      const result = {
        bodies_erased: await drain(() => eraseOldBodies(pool, bodyRetentionDays, rowsAtOnce)),
        idempotency_keys_deleted: await drain(() => deleteExpiredIdempotencyKeys(pool, rowsAtOnce)),
      };
      await client.query(
        `update maintenance_tasks set next_run_at = now() + interval '1 hour', last_run_at = now(), last_result = $2 where task = $1`,
        [task, JSON.stringify(result)],
      );
      return { task, ...result };
    });

  return {
    queue: maintenanceQueue,
    concurrency: 1,
    process: async () => (await runNext()) ?? { task: 'nothing was due' },
    async findOverdue(limit) {
      const { rows } = await pool.query<{ task: string }>(
        'select task from maintenance_tasks where next_run_at <= now() order by next_run_at limit $1',
        [limit],
      );
      return rows;
    },
    workDirectly: async () => (await runNext()) !== undefined,
  };
}
