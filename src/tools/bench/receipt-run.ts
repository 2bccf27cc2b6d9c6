import { setTimeout as delay } from 'node:timers/promises';
import type { Client } from 'pg';
import { Pool } from 'undici';
import { ndjsonOf, type RecordPlan } from './cattle-records.ts';
import { measure } from './process-watch.ts';
import { BenchFault, type CpuSeconds } from './report.ts';
import { receiptRecords } from './sizes.ts';
import type { System } from './system.ts';

const pollMs = 50;
/** Nothing more settling for so long means that something is stuck. */
const stuckAfterMs = 120_000;

/** How long records took from the first request to the last settled receipt. */
export interface ReceiptRun {
  readonly seconds: number;
  readonly recordsPerSecond: number;
  readonly wallSeconds: number;
  readonly cpuSeconds: CpuSeconds;
}

/**
 * Sends a plan as NDJSON receipts, one after another so that they arrive in the plan's order, and waits until all are
 * settled. The clock is that of the database: from before the first request to the last `finished_at`.
 */
export async function runReceipts(system: System, client: Client, plan: RecordPlan): Promise<ReceiptRun> {
  const count = plan.animals.length;
  const bodies: Buffer[] = [];
  for (let start = 0; start < count; start += receiptRecords) {
    bodies.push(ndjsonOf(plan, start, Math.min(start + receiptRecords, count)));
  }
  await client.query('checkpoint');
  const { result, wallSeconds, cpuSeconds } = await measure(system.processes, async () => {
    const { rows } = await client.query<{ now: number }>('select extract(epoch from clock_timestamp())::float8 as now');
    await sendBodies(system, bodies);
    const finishedAt = await waitUntilSettled(system, client);
    return finishedAt - rows[0]!.now;
  });
  return { seconds: result, recordsPerSecond: count / result, wallSeconds, cpuSeconds };
}

async function sendBodies(system: System, bodies: readonly Buffer[]): Promise<void> {
  const pool = new Pool(system.baseUrl, { connections: 1 });
  try {
    for (const body of bodies) {
      const response = await pool.request({
        path: '/api/receipts',
        method: 'POST',
        headers: { ...system.headers, 'content-type': 'application/x-ndjson' },
        body,
      });
      const text = await response.body.text();
      if (response.statusCode !== 202) throw new BenchFault(`a receipt was answered ${response.statusCode}: ${text}`);
    }
  } finally {
    await pool.close();
  }
}

/**
 * Waits until every receipt of the database is settled; the time of the last one in seconds since 1970.
 * @throws BenchFault when nothing moves any more, or a process has died.
 */
export async function waitUntilSettled(system: System, client: Client): Promise<number> {
  let openBefore = -1;
  let movedAtMs = Date.now();
  for (;;) {
    system.checkAlive();
    const { rows } = await client.query<{ open: number; finished_at: number }>(
      `select (select count(*) from receipts where cut_at is null) * 1000000 + (select count(*) from receipt_chunks where not is_done)
                + (select count(*) from receipts where finished_at is null) as open,
              (select extract(epoch from max(finished_at))::float8 from receipts) as finished_at`,
    );
    const { open, finished_at: finishedAt } = rows[0]!;
    if (open === 0) return finishedAt;
    if (open !== openBefore) movedAtMs = Date.now();
    if (Date.now() - movedAtMs > stuckAfterMs) throw new BenchFault(`receipts do not settle any more: ${open} open`);
    openBefore = open;
    await delay(pollMs);
  }
}
