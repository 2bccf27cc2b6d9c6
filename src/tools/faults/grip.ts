import pg from 'pg';
import { waitFor } from './waiting.ts';

const gripTimeoutMs = 15_000;

/** Holds transactions of the product in the middle of their work. */
export interface Grip {
  /** Resolves when at least this many sessions of workers stand still because of the grip. */
  waitUntilHeld(sessions: number): Promise<void>;
  /** Lets them go on. */
  release(): Promise<void>;
}

/** The tables that a worker writes to in the middle of cutting a receipt, and in the middle of a chunk. */
export type GrippedTable = 'receipt_chunks' | 'entries';

/**
 * Lets nobody write into a table until it is released: what a worker is at then stands still after its claim and before
 * its commit, so that a fault can be put exactly there.
 */
export async function gripTable(databaseUrl: string, table: GrippedTable): Promise<Grip> {
  const client = new pg.Client({ connectionString: databaseUrl });
  client.on('error', () => undefined);
  await client.connect();
  await client.query('begin');
  await client.query(`lock table ${table} in share row exclusive mode`);
  return {
    async waitUntilHeld(sessions) {
      await waitFor(`${sessions} workers in the middle of their work`, gripTimeoutMs, async () => {
        const { rows } = await client.query<{ held: number }>(
          // Not pg_stat_activity, which stays as it was first seen in a transaction.
          `select count(distinct pid)::int4 as held from pg_locks
           where not granted and pg_backend_pid() = any(pg_blocking_pids(pid))`,
        );
        return rows[0]!.held >= sessions;
      });
    },
    async release() {
      await client.query('rollback').catch(() => undefined);
      await client.end().catch(() => undefined);
    },
  };
}
