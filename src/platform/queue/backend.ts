import { setTimeout as delay } from 'node:timers/promises';
import {
  createPostgresBackend,
  Queue,
  Worker,
  type BackendFactory,
  type ConnectionOptions,
  type RedisQueueBackend,
} from 'bullmq';
import { Redis } from 'ioredis';
import pg from 'pg';
import { surviveLostConnections } from '#platform/database.ts';
import type { Logger } from '#platform/logger.ts';
import { queueSchemaName } from '#platform/queue/postgres-schema.ts';

interface QueueBackendOptions {
  /** Set: the queues live in Redis. Not set: in Postgres, for one machine. */
  redisUrl: string | undefined;
  databaseUrl: string;
  prefix: string;
  logger: Logger;
}

interface WorkerOptions {
  name: string;
  concurrency: number;
  process(job: { id: string; data: unknown }): Promise<unknown>;
}

export interface OpenWorker {
  /** Lets running jobs end and takes no more. */
  close(): Promise<void>;
}

/** Where the queues live. Nothing here waits for the backend to be reachable, and losing it is never fatal. */
export interface QueueBackend {
  readonly kind: 'redis' | 'postgres';
  /** False while Redis is away. */
  isReady(): boolean;
  /** The producing end; made once the backend is reachable. */
  openQueue(name: string): Queue;
  openWorker(options: WorkerOptions): OpenWorker;
  close(): Promise<void>;
}

const hour = 3600;
const jobOptions = {
  attempts: 3,
  backoff: { type: 'exponential', delay: 1000, jitter: 0.5 },
  removeOnComplete: { age: hour, count: 1000 },
  removeOnFail: { age: 14 * 24 * hour, count: 5000 },
} as const;

/** A pause of the process longer than this loses its jobs to another worker; the row locks decide what that means. */
const lockDurationMs = 120_000;
/** How long a worker that ends tries to tell the backend of its last jobs. */
const farewellMs = 1500;

/** Opens the queues in Redis, or without a URL in Postgres. */
export function openQueueBackend(options: QueueBackendOptions): QueueBackend {
  return options.redisUrl === undefined ? openPostgresBackend(options) : openRedisBackend(options, options.redisUrl);
}

function openRedisBackend({ prefix, logger }: QueueBackendOptions, redisUrl: string): QueueBackend {
  const reconnectDelayMs = (tries: number) => Math.min(50 * 2 ** Math.min(tries, 6), 2000);
  // The producer must fail at once while Redis is away: a request never waits for the doorbell.
  const producer = new Redis(redisUrl, {
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    connectTimeout: 2000,
    retryStrategy: reconnectDelayMs,
  });
  const warn = warnSparingly(logger, 'Redis is not reachable; work goes on without the doorbell');
  producer.on('error', warn);
  const connections: Redis[] = [];
  // The braces keep all keys of a queue in one slot of a Redis cluster.
  const keyPrefix = `{${prefix}}`;
  const queues = new Map<string, Queue>();
  return {
    kind: 'redis',
    isReady: () => producer.status === 'ready',
    openQueue(name) {
      return openOnce(queues, name, () => {
        const queue = new Queue(name, { connection: producer, prefix: keyPrefix, defaultJobOptions: jobOptions });
        queue.on('error', warn);
        return queue;
      });
    },
    openWorker(worker) {
      const connection = new Redis(redisUrl, {
        maxRetriesPerRequest: null,
        connectTimeout: 2000,
        retryStrategy: reconnectDelayMs,
      });
      connection.on('error', warn);
      connections.push(connection);
      return startWorker(
        worker,
        warn,
        (process) => new Worker(worker.name, process, { connection, prefix: keyPrefix, ...workerOptions(worker) }),
      );
    },
    async close() {
      await Promise.all([...queues.values()].map((queue) => queue.close().catch(() => {})));
      for (const connection of [producer, ...connections]) connection.disconnect();
    },
  };
}

function openPostgresBackend({ databaseUrl, logger }: QueueBackendOptions): QueueBackend {
  const pool = new pg.Pool({
    connectionString: databaseUrl,
    max: 8,
    application_name: 'defarm-queues',
    options: `-c search_path=${queueSchemaName},public`,
  });
  // Each queue and each worker listens for errors of the pool.
  pool.setMaxListeners(0);
  const warn = warnSparingly(logger, 'the queues in Postgres are not reachable');
  surviveLostConnections(pool, warn);
  // BullMQ types its Postgres backend apart from the Redis one, although Queue and Worker treat them alike.
  const factory = createPostgresBackend as unknown as BackendFactory<RedisQueueBackend>;
  const connection = pool as unknown as ConnectionOptions;
  const queues = new Map<string, Queue>();
  return {
    kind: 'postgres',
    isReady: () => true,
    openQueue(name) {
      return openOnce(queues, name, () => {
        const queue = new Queue(name, { connection, defaultJobOptions: jobOptions }, factory);
        queue.on('error', warn);
        return queue;
      });
    },
    openWorker(worker) {
      return startWorker(
        worker,
        warn,
        (process) => new Worker(worker.name, process, { connection, ...workerOptions(worker) }, factory),
      );
    },
    async close() {
      await Promise.all([...queues.values()].map((queue) => queue.close().catch(() => {})));
      await pool.end();
    },
  };
}

function workerOptions({ concurrency }: WorkerOptions) {
  return { concurrency, lockDuration: lockDurationMs, maxStalledCount: 3, stalledInterval: 30_000 };
}

type BullProcess = (job: { id?: string; data: unknown }) => Promise<unknown>;

function startWorker(
  options: WorkerOptions,
  warn: (error: Error) => void,
  open: (process: BullProcess) => Worker,
): OpenWorker {
  const running = new Set<Promise<unknown>>();
  const worker = open(async (job) => {
    const work = options.process({ id: job.id ?? '', data: job.data });
    running.add(work);
    try {
      return await work;
    } finally {
      running.delete(work);
    }
  });
  worker.on('error', warn);
  return {
    async close() {
      const closed = worker.close().catch(warn);
      await Promise.allSettled(running);
      // Without Redis it would wait for ever to say that these jobs are done; the rows in Postgres say it already.
      await Promise.race([closed, delay(farewellMs, undefined, { ref: false })]);
    },
  };
}

function openOnce(queues: Map<string, Queue>, name: string, open: () => Queue): Queue {
  const known = queues.get(name);
  if (known) return known;
  const queue = open();
  queues.set(name, queue);
  return queue;
}

/** Reconnecting fails many times a minute; one line in ten seconds says enough. */
function warnSparingly(logger: Logger, message: string): (error: Error) => void {
  let quietUntilMs = 0;
  return (error) => {
    if (Date.now() < quietUntilMs) return;
    quietUntilMs = Date.now() + 10_000;
    logger.warn({ err: error }, message);
  };
}
