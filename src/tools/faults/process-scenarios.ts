import { setTimeout as delay } from 'node:timers/promises';
import { Queue } from 'bullmq';
import type { Cluster } from './cluster.ts';
import { queuePrefix } from './cluster.ts';
import { gripTable, type GrippedTable } from './grip.ts';
import type { ProcessEnd, ProductProcess } from './product-process.ts';
import type { Scenario, ScenarioContext } from './scenario.ts';
import { waitFor } from './waiting.ts';

/** What the product promises for SIGTERM. */
const orderlyEndMs = 10_000;

const heldWork: Readonly<Record<GrippedTable, string>> = {
  receipt_chunks: `chunk_number = -1 and exists (
    select from receipts where receipts.receipt_id = work_attempts.receipt_id and cut_at is null)`,
  entries: `exists (
    select from receipt_chunks where receipt_chunks.receipt_id = work_attempts.receipt_id
      and receipt_chunks.chunk_number = work_attempts.chunk_number and not is_done)`,
};

/** The worker that has most in hand of what the grip holds, and how much that is. */
function waitForHolder(cluster: Cluster, table: GrippedTable): Promise<{ worker: ProductProcess; held: number }> {
  return waitFor('a worker with work in hand', 15_000, async () => {
    const rows = await cluster.query<{ pid: string; held: number }>(
      `select split_part(worker, ':', -1) as pid, count(distinct (receipt_id, chunk_number))::int4 as held
       from work_attempts where ${heldWork[table]} group by 1 order by 2 desc`,
    );
    for (const { pid, held } of rows) {
      const worker = cluster.workers.find((candidate) => String(candidate.pid) === pid);
      if (worker) return { worker, held };
    }
    return undefined;
  });
}

/** Kills a worker exactly between its claim and its commit; `prepare` runs when it is there. */
async function killInTheMiddle(
  cluster: Cluster,
  table: GrippedTable,
  prepare?: () => Promise<void>,
): Promise<ProductProcess> {
  const grip = await gripTable(cluster.databaseUrl, table);
  try {
    await grip.waitUntilHeld(1);
    await prepare?.();
    const { worker } = await waitForHolder(cluster, table);
    await worker.kill();
    return worker;
  } finally {
    await grip.release();
  }
}

const workerKilled: Scenario = {
  name: 'kill -9 of workers',
  isShort: true,
  async disturb(context) {
    const { cluster } = context;
    const kills = context.repeat(3, 12);
    for (let kill = 0; kill < kills; kill += 1) {
      const worker = await killInTheMiddle(cluster, kill % 2 === 0 ? 'entries' : 'receipt_chunks');
      await context.waitForSettled(5);
      await worker.start();
      await context.waitForAcknowledged(20);
    }
    await context.catchUp();
    // At rest no new receipt rings, so the others have to find by themselves what the killed one had in hand.
    const killed = await killInTheMiddle(cluster, 'entries', () => context.load.stop());
    const tookOver = await context.waitForRest();
    await killed.start();
    context.load.start();
    return {
      done: `${kills} workers killed in the middle of their work, and one more at rest, taken over after ${tookOver}`,
      disturbances: kills + 1,
    };
  },
};

const sameWorkKilled: Scenario = {
  name: 'kill -9 over the same work again and again',
  isShort: true,
  // With nobody else to take it, it is the same work each time.
  options: { workers: 1 },
  async disturb(context) {
    const { cluster } = context;
    const kills = 3;
    for (const table of ['receipt_chunks', 'entries'] as const) {
      for (let kill = 0; kill < kills; kill += 1) {
        const worker = await killInTheMiddle(cluster, table);
        await worker.start();
      }
      // Work that is hit more often than this may be given up, so the next series has to meet other work.
      await context.catchUp();
    }
    return {
      done: `its worker killed ${kills} times while cutting, ${kills} times in chunks`,
      disturbances: 2 * kills,
    };
  },
};

const apiKilled: Scenario = {
  name: 'kill -9 of the API',
  isShort: true,
  async disturb(context) {
    const { cluster, load } = context;
    const kills = context.repeat(3, 10);
    for (let kill = 0; kill < kills; kill += 1) {
      await cluster.web.kill();
      await cluster.web.start();
      await context.waitForAcknowledged(30);
    }
    const lost = load.attempts.filter(({ outcome }) => typeof outcome === 'string').length;
    context.check(lost > 0, 'no request met the killed API, so nothing was tried');
    return { done: `${kills} kills, ${lost} requests without an answer sent again`, disturbances: 0 };
  },
};

const workerFrozen: Scenario = {
  name: 'SIGSTOP of a worker in the middle of a chunk',
  isShort: true,
  async disturb(context) {
    const { cluster, load } = context;
    const grip = await gripTable(cluster.databaseUrl, 'entries');
    await grip.waitUntilHeld(2);
    // At rest no new receipt rings, so the others have to find by themselves what the frozen one holds.
    await load.stop();
    const { worker: frozen, held } = await waitForHolder(cluster, 'entries');
    frozen.freeze();
    await grip.release();
    const tookOver = await context.waitForRest().finally(() => frozen.resume());
    load.start();
    return {
      done: `frozen with ${held} chunks in hand, taken over after ${tookOver}, then resumed`,
      disturbances: 2,
    };
  },
};

const sameChunkTwice: Scenario = {
  name: 'the same chunk given to several workers',
  isShort: true,
  options: { workers: 3 },
  async disturb(context) {
    const { cluster } = context;
    const copies = 5;
    const rounds = context.repeat(2, 10);
    let jobs = 0;
    const queues = new Map(
      ['ingestion', 'deduplication'].map((name) => [
        name,
        new Queue(name, { connection: { url: cluster.redis.url }, prefix: queuePrefix }),
      ]),
    );
    try {
      for (let round = 0; round < rounds; round += 1) {
        const grip = await gripTable(cluster.databaseUrl, 'entries');
        await grip.waitUntilHeld(2);
        const chunks = await cluster.query<{ receipt_id: string; chunk_number: number }>(
          'select receipt_id, chunk_number from receipt_chunks order by is_done, received_sequence limit 50',
        );
        const repeated = Array.from({ length: copies }, () => chunks).flat();
        await queues.get('deduplication')!.addBulk(repeated.map((data) => ({ name: 'deduplication', data })));
        await queues
          .get('ingestion')!
          .addBulk(
            repeated.map(({ receipt_id: receiptId }) => ({ name: 'ingestion', data: { receipt_ids: [receiptId] } })),
          );
        jobs += 2 * repeated.length;
        await grip.release();
        await context.waitForSettled(20);
      }
    } finally {
      await Promise.all([...queues.values()].map((queue) => queue.close()));
    }
    return { done: `${jobs} more jobs for chunks and receipts that others were working on`, disturbances: 0 };
  },
};

function checkOrderlyEnd(context: ScenarioContext, name: string, end: ProcessEnd): void {
  const took = `${(end.tookMs / 1000).toFixed(1)} s`;
  context.check(
    end.code === 0,
    `${name} ended with ${end.signal ?? `code ${end.code}`} after ${took} on SIGTERM, expected 0`,
  );
  context.check(end.tookMs <= orderlyEndMs, `${name} took ${took} to end on SIGTERM, expected 10 s at most`);
}

const terminated: Scenario = {
  name: 'SIGTERM of API and workers',
  isShort: true,
  async disturb(context) {
    const { cluster } = context;
    const rounds = context.repeat(1, 4);
    let slowestMs = 0;
    const endAndStart = async (process: ProductProcess) => {
      const end = await process.terminate();
      checkOrderlyEnd(context, process.name, end);
      slowestMs = Math.max(slowestMs, end.tookMs);
      await process.start();
      await context.waitForAcknowledged(10);
    };
    for (let round = 0; round < rounds; round += 1) {
      for (const process of [...cluster.workers, cluster.web]) await endAndStart(process);
    }
    // Ending must not depend on Redis either.
    await cluster.redis.kill();
    await context.waitForAcknowledged(20);
    await endAndStart(cluster.workers[0]!);
    await endAndStart(cluster.web);
    await cluster.redis.start();
    const twice = await cluster.workers[0]!.terminateImpatiently();
    context.check(twice.tookMs < 2000, `a second SIGTERM took ${Math.round(twice.tookMs)} ms to end a worker`);
    await cluster.workers[0]!.start();
    return { done: `each ended in order, the slowest in ${(slowestMs / 1000).toFixed(1)} s`, disturbances: 2 };
  },
};

const allKilled: Scenario = {
  name: 'kill -9 of everything at once',
  isShort: true,
  options: { isRedisAppendOnly: true },
  async disturb(context) {
    const { cluster } = context;
    const rounds = context.repeat(1, 3);
    for (let round = 0; round < rounds; round += 1) {
      await Promise.all([
        cluster.web.kill(),
        ...cluster.workers.map((worker) => worker.kill()),
        cluster.redis.kill(),
        cluster.postgres.stopImmediately(),
      ]);
      // The processes come up first and have to wait for what they need.
      await cluster.startProcesses();
      await delay(1000);
      context.check((await cluster.readHealth())?.status === 503, 'without Postgres /health/ready does not answer 503');
      await cluster.postgres.start();
      await cluster.redis.start();
      await context.waitForAcknowledged(30);
    }
    return { done: `${rounds} times; processes started before Postgres and Redis`, disturbances: rounds };
  },
};

/** Faults of the product's own processes. */
export const processScenarios: readonly Scenario[] = [
  workerKilled,
  sameWorkKilled,
  apiKilled,
  workerFrozen,
  sameChunkTwice,
  terminated,
  allKilled,
];
