import { globSync } from 'node:fs';
import { basename } from 'node:path';
import { pathToFileURL } from 'node:url';
import { readConfigOrExit } from '../src/config.ts';
import { makeWorker, type WorkerContainer } from '../src/container.ts';
import { requireDatabaseUrl } from '../src/require-database-url.ts';
import type { QueueWork } from '#platform/queue/definition.ts';
import { startSweeper } from '#platform/queue/sweeper.ts';
import { startQueueWorker } from '#platform/queue/worker-process.ts';
import { endOnSignal } from '#platform/process-life.ts';

interface WorkerModule {
  queue: string;
  makeWork(container: WorkerContainer): QueueWork;
}

/** Every other file of this folder is a queue: its name is the queue's. */
const available = globSync('*.ts', { cwd: import.meta.dirname, exclude: ['*.test.ts', 'main.ts'] })
  .map((file) => basename(file, '.ts'))
  .toSorted();
const named = process.argv.slice(2);
const unknown = named.filter((name) => !available.includes(name));
if (unknown.length > 0) {
  process.stderr.write(`There is no queue named ${unknown.join(', ')}. Queues are ${available.join(', ')}.\n`);
  process.exit(64);
}

const config = readConfigOrExit();
const container = makeWorker(config, requireDatabaseUrl(config));
const { backend, bell, database, logger, metrics } = container;
const modules = await Promise.all(
  (named.length > 0 ? named : available).map(
    (name) => import(pathToFileURL(`${import.meta.dirname}/${name}.ts`).href) as Promise<WorkerModule>,
  ),
);
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
logger.info({ queues: works.map((work) => work.queue.name), backend: backend.kind }, 'working');

endOnSignal({
  logger,
  async stop() {
    await Promise.all([sweeper.stop(), ...workers.map((worker) => worker.close())]);
    await container.close();
  },
});
