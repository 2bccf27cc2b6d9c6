import { globSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { basename, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Config } from './config.ts';
import { makeWorker, type WorkerContainer } from './worker-container.ts';
import type { Logger } from '#platform/logger.ts';
import type { Metrics } from '#platform/metrics.ts';
import type { QueueWork } from '#platform/queue/definition.ts';
import { startSweeper } from '#platform/queue/sweeper.ts';
import { startQueueWorker } from '#platform/queue/worker-process.ts';

interface WorkerModule {
  queue: string;
  makeWork(container: WorkerContainer): QueueWork;
}

/** A worker process at work, or one like it inside a test. */
export interface RunningWorker {
  readonly logger: Logger;
  /** Takes no more jobs, lets those that run end, and closes everything. */
  stop(): Promise<void>;
}

const workersFolder = join(import.meta.dirname, '..', 'workers');

/** The queues that workers can work on: each file of `workers/` but `main.ts` is one, and its name is the queue's. */
export function findWorkableQueues(): string[] {
  return globSync('*.ts', { cwd: workersFolder, exclude: ['*.test.ts', 'main.ts'] })
    .map((file) => basename(file, '.ts'))
    .toSorted();
}

/** Starts to take the jobs of the named queues, and to look for work of theirs that no job announced. */
export async function startWorker(
  config: Config,
  databaseUrl: string,
  queueNames: readonly string[],
): Promise<RunningWorker> {
  const modules = await Promise.all(
    queueNames.map((name) => import(pathToFileURL(join(workersFolder, `${name}.ts`)).href) as Promise<WorkerModule>),
  );
  const container = makeWorker(config, databaseUrl);
  const { backend, bell, database, logger, metrics } = container;
  const works = modules.map((module) => module.makeWork(container));
  const workers = works.map((work) =>
    startQueueWorker(work, {
      backend,
      logger,
      onJob: ({ queueName, outcome, durationSeconds }) =>
        metrics.jobSeconds.observe({ queue: queueName, outcome }, durationSeconds),
    }),
  );
  const sweeper = startSweeper({ database, bell, logger, works, intervalMs: config.SWEEP_INTERVAL_MS });
  const metricsServer =
    config.WORKER_METRICS_PORT === undefined ? undefined : serveMetrics(metrics, config.WORKER_METRICS_PORT, logger);
  logger.info({ queues: queueNames, backend: backend.kind }, 'working');
  return {
    logger,
    async stop() {
      for (const work of works) work.stop?.();
      await Promise.all([sweeper.stop(), ...workers.map((worker) => worker.close())]);
      metricsServer?.closeAllConnections();
      metricsServer?.close();
      await container.close();
    },
  };
}

/** A worker has no API, so its numbers get a listener of their own. Failing to listen does not stop the work. */
function serveMetrics(metrics: Metrics, port: number, logger: Logger): Server {
  const server = createServer((request, response) => {
    if (request.url === '/health/live') {
      response.end('{"status":"healthy"}');
    } else if (request.url === '/metrics') {
      metrics.registry.metrics().then(
        (text) => response.setHeader('content-type', metrics.registry.contentType).end(text),
        () => response.writeHead(500).end(),
      );
    } else {
      response.writeHead(404).end();
    }
  });
  server.on('error', (error) => logger.error({ err: error, port }, 'metrics cannot be served'));
  return server.listen(port);
}
