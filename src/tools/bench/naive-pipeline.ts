import { Queue } from 'bullmq';
import { fork } from 'node:child_process';
import { join } from 'node:path';
import { recordText, type RecordPlan } from './cattle-records.ts';
import { withConnection } from './databases.ts';
import { naiveRecordQueue, type NaiveJob } from './naive-job.ts';
import { measure } from './process-watch.ts';
import { BenchFault, type CpuSeconds } from './report.ts';
import type { BenchServers } from './servers.ts';
import { compare } from './verify-items.ts';

type Message = { readonly ready: true } | { readonly finishedAtMs: number } | { readonly fault: string };

/**
 * Works a plan the naive way, one job per record and one statement per row, from the first job on the queue to the last
 * commit. Adding the jobs in one go, without HTTP, is in its favour.
 */
export async function runNaivePipeline(
  servers: BenchServers,
  database: string,
  plan: RecordPlan,
): Promise<{ seconds: number; recordsPerSecond: number; wallSeconds: number; cpuSeconds: CpuSeconds }> {
  const count = plan.animals.length;
  const child = fork(join(import.meta.dirname, 'naive-worker.ts'), [String(count)], {
    execArgv: [],
    env: { PATH: process.env['PATH'], DATABASE_URL: servers.postgresUrl(database), REDIS_URL: servers.redisUrl },
  });
  const nextMessage = () =>
    new Promise<Message>((resolve) => {
      child.once('message', resolve);
      child.once('exit', () => resolve({ fault: 'the naive worker ended' }));
    });
  const queue = new Queue(naiveRecordQueue, { connection: servers.redis });
  try {
    const ready = await nextMessage();
    if ('fault' in ready) throw new BenchFault(ready.fault);
    const jobs = Array.from({ length: count }, (_, position) => ({ name: 'record', data: makeJob(plan, position) }));
    await withConnection(servers, database, (client) => client.query('checkpoint'));
    const processes = [{ name: 'worker', pid: child.pid! }, ...servers.processes, { name: 'client', pid: process.pid }];
    const { result, wallSeconds, cpuSeconds } = await measure(processes, async () => {
      const startedAtMs = performance.timeOrigin + performance.now();
      const finished = nextMessage();
      await queue.addBulk(jobs);
      const message = await finished;
      if (!('finishedAtMs' in message)) throw new BenchFault('fault' in message ? message.fault : 'started twice');
      return (message.finishedAtMs - startedAtMs) / 1000;
    });
    await verify(servers, database, plan);
    return { seconds: result, recordsPerSecond: count / result, wallSeconds, cpuSeconds };
  } finally {
    await queue.close();
    const exited = new Promise((resolve) => child.once('exit', resolve));
    if (child.exitCode === null && child.connected) {
      child.disconnect();
      await exited;
    }
  }
}

function makeJob(plan: RecordPlan, position: number): NaiveJob {
  const text = recordText(plan.animals[position]!, plan.isWeighedAgain[position] === 1);
  return { position, record: JSON.parse(text) as NaiveJob['record'] };
}

async function verify(servers: BenchServers, database: string, plan: RecordPlan): Promise<void> {
  await withConnection(servers, database, async (client) => {
    const { rows } = await client.query<{ entries: number; items: number; claims: number }>(
      `select (select count(*) from entries) as entries, (select count(*) from items) as items,
              (select count(*) from identifier_claims) as claims`,
    );
    const items = plan.newAnimals;
    // Values are not compared: jobs at the same time have no order, and the naive way keeps whatever came last.
    compare('naive pipeline', rows[0]!, { entries: plan.animals.length, items, claims: 2 * items });
  });
}
