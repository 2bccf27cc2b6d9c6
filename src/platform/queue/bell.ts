import type { Logger } from '#platform/logger.ts';
import type { QueueBackend } from '#platform/queue/backend.ts';
import type { QueueDefinition } from '#platform/queue/definition.ts';

/** Longest time that ringing may take before it counts as missed. */
const ringTimeoutMs = 1000;

/** Tells workers that there is work. Best effort: a missed ring only costs the time until the next sweep. */
export interface Bell {
  /** Adds one job per element. Never throws; false when the jobs may not have arrived. */
  ring<Data extends object>(queue: QueueDefinition<Data>, jobs: readonly Data[]): Promise<boolean>;
  /** Jobs of a queue by state, or undefined while that cannot be known. */
  countJobs(queueName: string): Promise<Record<string, number> | undefined>;
}

export function makeBell(
  backend: QueueBackend,
  options: { logger: Logger; onMissed?: (queueName: string) => void },
): Bell {
  const attempt = async <Result>(queueName: string, work: () => Promise<Result>): Promise<Result | undefined> => {
    if (!backend.isReady()) return undefined;
    try {
      return await withinTime(work());
    } catch (error) {
      options.logger.debug({ err: error, queue: queueName }, 'the bell was not heard');
      return undefined;
    }
  };
  return {
    async ring(queue, jobs) {
      if (jobs.length === 0) return true;
      const added = await attempt(queue.name, async () => {
        const target = backend.openQueue(queue.name);
        if (jobs.length === 1) await target.add(queue.name, jobs[0]!);
        else await target.addBulk(jobs.map((data) => ({ name: queue.name, data })));
        return jobs.length;
      });
      if (added === undefined) options.onMissed?.(queue.name);
      return added !== undefined;
    },
    countJobs: (queueName) =>
      attempt(queueName, () =>
        backend.openQueue(queueName).getJobCounts('waiting', 'active', 'delayed', 'completed', 'failed'),
      ),
  };
}

async function withinTime<Result>(work: Promise<Result>): Promise<Result> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${ringTimeoutMs} ms`)), ringTimeoutMs);
  });
  try {
    return await Promise.race([work, timeout]);
  } finally {
    clearTimeout(timer);
  }
}
