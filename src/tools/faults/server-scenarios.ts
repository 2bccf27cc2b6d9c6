import { setTimeout as delay } from 'node:timers/promises';
import { gripTable } from './grip.ts';
import type { Attempt } from './load.ts';
import type { Scenario } from './scenario.ts';
import { waitFor } from './waiting.ts';

const flushed: Scenario = {
  name: 'FLUSHALL',
  isShort: true,
  async disturb(context) {
    const { cluster } = context;
    const flushes = context.repeat(8, 40);
    for (let flush = 0; flush < flushes; flush += 1) {
      await cluster.redis.flushAll();
      await context.waitForAcknowledged(10);
    }
    // As long as receipts come in their bells also call for older work. At rest nothing but the sweep finds it.
    const grip = await gripTable(cluster.databaseUrl, 'entries');
    await grip.waitUntilHeld(1);
    await waitFor('jobs that wait', 20_000, async () => (await cluster.countWaitingJobs()) > 0);
    await context.load.stop();
    const lost = await cluster.countWaitingJobs();
    await cluster.redis.flushAll();
    await grip.release();
    const found = await context.waitForRest();
    context.load.start();
    return {
      done: `${flushes} times under load, and once at rest with ${lost} jobs waiting, whose work was found in ${found}`,
      disturbances: 0,
    };
  },
};

function redisAway(isRedisAppendOnly: boolean): Scenario {
  return {
    name: isRedisAppendOnly ? 'Redis away, jobs kept' : 'Redis away, jobs lost',
    isShort: !isRedisAppendOnly,
    options: { isRedisAppendOnly },
    async disturb(context) {
      const { cluster } = context;
      const awaySeconds = context.repeat(5, 20);
      await cluster.redis.kill();
      const settledBefore = await cluster.countSettled();
      const acknowledgedBefore = context.load.acknowledged.length;
      await delay(awaySeconds * 1000);
      const acknowledged = context.load.acknowledged.length - acknowledgedBefore;
      const settled = (await cluster.countSettled()) - settledBefore;
      context.check(acknowledged > 0, 'without Redis nothing was acknowledged');
      context.check(settled > 0, 'without Redis nothing was settled');
      await cluster.redis.start();
      await waitFor('the API to see Redis again', 20_000, async () => {
        const health = await cluster.readHealth();
        return health?.status === 200 && !health.text.includes('Redis');
      });
      return {
        done: `${awaySeconds} s, in which ${acknowledged} receipts were acknowledged and ${settled} settled`,
        disturbances: 0,
      };
    },
  };
}

const redisFrozen: Scenario = {
  name: 'SIGSTOP of Redis',
  isShort: false,
  async disturb(context) {
    const { redis } = context.cluster;
    const frozenSeconds = 8;
    process.kill(redis.pid!, 'SIGSTOP');
    try {
      await context.waitForAcknowledged(20);
      await context.waitForSettled(20);
      await delay(frozenSeconds * 1000);
    } finally {
      process.kill(redis.pid!, 'SIGCONT');
    }
    return { done: `more than ${frozenSeconds} s; receipts were acknowledged and settled meanwhile`, disturbances: 0 };
  },
};

const redisAwayAtBoot: Scenario = {
  name: 'Redis away at boot',
  isShort: true,
  async start(cluster) {
    await cluster.startProcesses();
    await cluster.waitUntilReady();
  },
  async disturb(context) {
    const { cluster } = context;
    const health = await cluster.readHealth();
    context.check(health?.text.includes('Redis') ?? false, '/health/ready does not say that Redis is away');
    await context.waitForSettled(20);
    await cluster.redis.start();
    await waitFor('the API to see Redis', 20_000, async () => !(await cluster.readHealth())?.text.includes('Redis'));
    return { done: 'receipts were settled without it; it came later', disturbances: 0 };
  },
};

/** Requests that began and were answered while the server was away. */
function within(attempts: readonly Attempt[], fromMs: number, untilMs: number): Attempt[] {
  return attempts.filter(({ startedAtMs, endedAtMs }) => startedAtMs > fromMs && endedAtMs < untilMs);
}

const postgresStopped: Scenario = {
  name: 'Postgres stopped with -m immediate',
  isShort: true,
  async disturb(context) {
    const { cluster, load } = context;
    const stops = context.repeat(1, 4);
    const awayMs = context.repeat(6000, 9000);
    let refused = 0;
    for (let stop = 0; stop < stops; stop += 1) {
      await cluster.postgres.stopImmediately();
      const goneAtMs = performance.now();
      await delay(awayMs);
      context.check((await cluster.readHealth())?.status === 503, 'without Postgres /health/ready does not answer 503');
      const met = within(load.attempts, goneAtMs, performance.now());
      for (const { outcome } of met)
        context.check(outcome === 503, `without Postgres a receipt was answered with ${outcome}, expected 503`);
      refused += met.length;
      await cluster.postgres.start();
      await context.waitForAcknowledged(40);
    }
    context.check(refused > 0, 'no request met the stopped Postgres, so nothing was tried');
    return {
      done: `${stops} times for ${awayMs / 1000} s; ${refused} requests answered meanwhile, all to be 503`,
      disturbances: 2 * stops,
    };
  },
};

/** Faults of the servers that the product stands on. */
export const serverScenarios: readonly Scenario[] = [
  flushed,
  redisAway(false),
  redisAway(true),
  redisFrozen,
  redisAwayAtBoot,
  postgresStopped,
];
