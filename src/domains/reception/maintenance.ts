import { withTransaction, type Database, type Queryable } from '#platform/database.ts';
import { deleteExpiredIdempotencyKeys } from '#platform/idempotency.store.ts';
import type { QueueWork } from '#platform/queue/definition.ts';
import { maintenanceQueue } from './maintenance.jobs.ts';
import { eraseOldBodies } from './receipts.store.ts';
import { deleteOldAttempts } from './work.store.ts';

interface MaintenanceOptions {
  database: Database;
  bodyRetentionDays: number;
  /** What others keep for a time only, by the name under which it is reported: each forgets so many rows at most, and says how many. */
  further: Readonly<Record<string, (queryable: Queryable, rowsMax: number) => Promise<number>>>;
}

const rowsAtOnce = 500;
/** Tries tell why work is put off; those of the last days are of interest to people. */
const attemptsKeptDays = 7;
/** One run does so many steps at most, so that its transaction stays short; what is left is due again at once. */
const stepsPerRun = 10;
/** The only task of this version. One that another version put into the table is left to its own workers. */
const retentionTask = 'retention';

/**
 * Makes the work behind the queue `maintenance`. When a task is due stands in a row of Postgres, not in a schedule of the
 * queue, so that losing the queue loses no schedule.
 */
export function makeMaintenanceWork({
  database,
  bodyRetentionDays,
  further,
}: MaintenanceOptions): QueueWork<{ task: string }> {
  const { pool } = database;

  const runNext = () =>
    withTransaction(pool, async (client) => {
      const due = await client.query<{ task: string }>(
        'select task from maintenance_tasks where task = $1 and next_run_at <= now() for update skip locked',
        [retentionTask],
      );
      const task = due.rows[0]?.task;
      if (task === undefined) return undefined;
      const steps = {
        bodies_erased: (rows: number) => eraseOldBodies(client, bodyRetentionDays, rows),
        idempotency_keys_deleted: (rows: number) => deleteExpiredIdempotencyKeys(client, rows),
        attempts_deleted: (rows: number) => deleteOldAttempts(client, attemptsKeptDays, rows),
        ...Object.fromEntries(
          Object.entries(further).map(([name, forget]) => [name, (rows: number) => forget(client, rows)]),
        ),
      };
      const result: Record<string, number | boolean> = {};
      let isAllDone = true;
      for (const [name, step] of Object.entries(steps)) {
        const done = await repeat(() => step(rowsAtOnce));
        result[name] = done.rows;
        isAllDone &&= done.isAllDone;
      }
      result['is_all_done'] = isAllDone;
      await client.query(
        `update maintenance_tasks set next_run_at = now() + make_interval(hours => $3), last_run_at = now(), last_result = $2
         where task = $1`,
        [task, JSON.stringify(result), isAllDone ? 1 : 0],
      );
      return { task, ...result };
    });

  return {
    queue: maintenanceQueue,
    concurrency: 1,
    process: async () => (await runNext()) ?? { task: 'nothing was due' },
    async findOverdue(limit) {
      const { rows } = await pool.query<{ task: string }>(
        'select task from maintenance_tasks where task = $1 and next_run_at <= now() limit $2',
        [retentionTask, limit],
      );
      return rows;
    },
    workDirectly: async () => (await runNext()) !== undefined,
  };
}

async function repeat(step: () => Promise<number>): Promise<{ rows: number; isAllDone: boolean }> {
  let rows = 0;
  for (let done = 0; done < stepsPerRun; done += 1) {
    const count = await step();
    rows += count;
    if (count < rowsAtOnce) return { rows, isAllDone: true };
  }
  return { rows, isAllDone: false };
}
