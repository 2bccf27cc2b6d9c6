import { setMaxListeners } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import type { Database } from '#platform/database.ts';
import { withTransaction } from '#platform/database.ts';
import type { Logger } from '#platform/logger.ts';
import type { Bell } from '#platform/queue/bell.ts';
import type { QueueDefinition, QueueWork } from '#platform/queue/definition.ts';

interface SweeperOptions {
  database: Database;
  bell: Bell;
  logger: Logger;
  works: readonly QueueWork[];
  intervalMs: number;
}

/** The first key of the advisory locks that let one process at a time look for forgotten work. */
const sweepLockClass = 0x5377_6570;
const rungAtMost = 50;
/** How long one sweep works by itself before it looks again whether the bell is back. */
const directWorkMs = 5000;

/**
 * The guarantee that all work gets done: a timer in every worker, without Redis in its path. It rings for due rows that
 * have no job, and when ringing fails it works on them itself.
 */
export function startSweeper({ database, bell, logger, works, intervalMs }: SweeperOptions): { stop(): Promise<void> } {
  let stopped = false;
  const waitingBefore = new Map<string, number>();

  const sweepOne = async (work: QueueWork) => {
    const jobs = await bell.countJobs(work.queue.name);
    const waiting = jobs?.['waiting'] ?? 0;
    // Jobs that wait and do not become fewer have no worker that hears them, as after a lost connection.
    const isStuck = waiting > 0 && waitingBefore.get(work.queue.name) === waiting;
    waitingBefore.set(work.queue.name, waiting);
    // Jobs that wait are permits enough. Active ones are not: those of a worker that was killed or frozen stay active for
    // minutes, while rows that are really being worked on are locked and not found. Delayed ones come too late.
    const hasJobs = waiting > 0 && !isStuck;
    const overdue = await withTransaction(database.pool, async (client) => {
      const lock = await client.query<{ taken: boolean }>(
        'select pg_try_advisory_xact_lock($1, hashtext($2)) as taken',
        [sweepLockClass, work.queue.name],
      );
      if (!lock.rows[0]?.taken) return [];
      await work.tidy?.();
      return hasJobs ? [] : ((await work.findOverdue(rungAtMost)) as object[]);
    });
    if (overdue.length === 0) return;
    const isHeard = !isStuck && (await bell.ring(work.queue as QueueDefinition<object>, overdue));
    logger.debug({ queue: work.queue.name, overdue: overdue.length, is_heard: isHeard }, 'sweep');
    if (!isHeard) await workWithoutBell(work);
  };

  const workWithoutBell = async (work: QueueWork) => {
    const until = Date.now() + directWorkMs;
    const lane = async () => {
      while (!stopped && Date.now() < until && (await work.workDirectly()));
    };
    await Promise.all(Array.from({ length: work.concurrency }, lane));
  };

  const waking = new AbortController();
  setMaxListeners(0, waking.signal);
  // Each queue by itself, so that one on which there is much to do holds up no other.
  const sweepAgainAndAgain = async (work: QueueWork) => {
    while (!stopped) {
      // The jitter keeps many workers from asking for the lock at the same moment.
      await delay(intervalMs * (0.75 + Math.random() / 2), undefined, { signal: waking.signal }).catch(() => {});
      if (stopped) return;
      await sweepOne(work).catch((error: unknown) =>
        logger.warn({ err: error, queue: work.queue.name }, 'a sweep failed; the next one follows'),
      );
    }
  };
  const sweeping = works.map(sweepAgainAndAgain);
  return {
    async stop() {
      stopped = true;
      waking.abort();
      await Promise.all(sweeping);
    },
  };
}
