import type { Client } from 'pg';
import { comparisonPaths, createNaiveTable, naiveReceptionQueue } from './comparison-routes.ts';
import { withSystem, type BenchContext } from './context.ts';
import { createDatabase, withConnection } from './databases.ts';
import type { RecordsOutcome } from './load-client.ts';
import { startLoadProcess, type LoadProcess } from './load-process.ts';
import { measure } from './process-watch.ts';
import { waitUntilSettled } from './receipt-run.ts';
import { BenchFault, judge, showCount, showCpu, showDecimal, type Run, type SectionReport } from './report.ts';
import { median } from './statistics.ts';
import type { System } from './system.ts';
import { compare, verifyRows } from './verify-items.ts';

const bodyBytes = 600;
const variants = ['ours', 'answer', 'naive'] as const;
type Variant = (typeof variants)[number] | 'ours with worker';

const paths: Record<Variant, string> = {
  ours: '/api/receipts',
  answer: comparisonPaths.answer,
  naive: comparisonPaths.naive,
  'ours with worker': '/api/receipts',
};
const names: Record<Variant, string> = {
  ours: 'POST /api/receipts',
  answer: '(a) same app, only answers',
  naive: '(b) naive: one INSERT, one job',
  'ours with worker': 'POST /api/receipts, worker running',
};

interface Bench {
  readonly context: BenchContext;
  readonly system: System;
  readonly client: Client;
  readonly load: LoadProcess;
  nextAnimal: number;
}

/** One small record per request on many connections, beside an answer alone and the naive way. */
export async function benchHttp(context: BenchContext): Promise<SectionReport> {
  const { sizes, repeats, servers } = context;
  const database = 'bench-http';
  const runs: Run[] = [];
  await createDatabase(servers, database);
  await withConnection(servers, database, async (client) => {
    await client.query(createNaiveTable);
    await withSystem(context, { section: 'http', database, workers: 0 }, async (system) => {
      const load = startLoadProcess();
      try {
        const bench: Bench = { context, system, client, load, nextAnimal: 0 };
        for (const variant of variants) await runVariant(bench, variant, 0, sizes.http.warmUpSeconds);
        for (let repeat = 1; repeat <= repeats; repeat += 1) {
          // Each variant comes first once, so that none always meets the same neighbour.
          const turn = [...variants.slice((repeat - 1) % 3), ...variants.slice(0, (repeat - 1) % 3)];
          for (const variant of turn) runs.push(await runVariant(bench, variant, repeat, sizes.http.seconds));
          await system.startWorkers(context.workers);
          runs.push(await runVariant(bench, 'ours with worker', repeat, sizes.http.seconds));
          await system.stopWorkers();
        }
      } finally {
        load.stop();
      }
    });
  });
  return report(context, runs);
}

async function runVariant(bench: Bench, variant: Variant, repeat: number, seconds: number): Promise<Run> {
  const { context, system, client, load } = bench;
  context.say(`http: ${repeat === 0 ? 'warm-up' : `repeat ${repeat}`}, ${variant}`);
  await empty(context, client);
  const task = {
    baseUrl: system.baseUrl,
    headers: system.headers,
    connections: context.sizes.http.connections,
    firstAnimal: bench.nextAnimal,
    path: paths[variant],
    seconds,
    bytes: bodyBytes,
  };
  // This process only waits; the client's time is that of the load process.
  const processes = [...system.processes.filter(({ name }) => name !== 'client'), load.process];
  const { result, wallSeconds, cpuSeconds } = await measure(processes, () => load.sendRecords(task));
  bench.nextAnimal = result.nextAnimal;
  system.checkAlive();
  const accepted = await verifyAnswers(bench, variant, result);
  return {
    variant,
    repeat,
    figures: {
      requests: accepted,
      requests_per_second: accepted / result.seconds,
      requests_per_web_cpu_second: accepted / cpuSeconds['web']!,
      p50_ms: result.p50Ms,
      p99_ms: result.p99Ms,
      answer_bytes: result.answerBytes[0],
    },
    wallSeconds,
    cpuSeconds,
  };
}

/** Each run begins with empty tables and an empty Redis, whatever the one before it left. */
async function empty({ servers }: BenchContext, client: Client): Promise<void> {
  await client.query(`truncate receipts, receipt_bodies, receipt_chunks, work_attempts, entries, items, identifier_claims,
                               identifier_mentions, contributions, events, naive_receipts`);
  await servers.redis.flushall();
  await client.query('checkpoint');
}

/** Every request must have been answered 202, and what was acknowledged must be there. */
async function verifyAnswers(
  bench: Bench,
  variant: Variant,
  { answers, answerBytes }: RecordsOutcome,
): Promise<number> {
  const { context, client, system } = bench;
  const accepted = answers['202'] ?? 0;
  const { 202: _, ...others } = answers;
  if (accepted === 0 || Object.keys(others).length > 0)
    throw new BenchFault(`${variant}: requests were answered ${JSON.stringify(answers)}`);
  if (answerBytes[0] !== answerBytes[1])
    throw new BenchFault(`${variant}: answers had ${answerBytes[0]} to ${answerBytes[1]} bytes`);
  const { rows } = await client.query<{ receipts: number; bodies: number; naive: number }>(
    `select (select count(*) from receipts) as receipts, (select count(*) from receipt_bodies) as bodies,
            (select count(*) from naive_receipts) as naive`,
  );
  const found = { ...rows[0]!, jobs: await context.servers.redis.llen(`bull:${naiveReceptionQueue}:wait`) };
  const kept =
    variant === 'answer'
      ? { ours: 0, naive: 0 }
      : variant === 'naive'
        ? { ours: 0, naive: accepted }
        : { ours: accepted, naive: 0 };
  compare(variant, found, { receipts: kept.ours, bodies: kept.ours, naive: kept.naive, jobs: kept.naive });
  if (variant === 'ours with worker') {
    await waitUntilSettled(system, client);
    await verifyRows(client, { entries: accepted, items: accepted });
  }
  return accepted;
}

function report({ sizes, repeats }: BenchContext, runs: readonly Run[]): SectionReport {
  const figureOf = (variant: Variant, figure: string) =>
    median(runs.filter((run) => run.variant === variant).map((run) => run.figures[figure]!));
  const rate = (variant: Variant) => figureOf(variant, 'requests_per_second');
  const sizesOfAnswers = new Set(runs.map((run) => run.figures['answer_bytes']));
  if (sizesOfAnswers.size !== 1)
    throw new BenchFault(`the variants answer with different sizes: ${[...sizesOfAnswers].join(', ')} bytes`);
  const { connections, seconds, warmUpSeconds } = sizes.http;
  const p99 = figureOf('ours', 'p99_ms');
  return {
    name: 'http',
    title: `1. One JSON record of ${bodyBytes} bytes per request, ${connections} keep-alive connections`,
    conditions: [
      `${repeats} interleaved repeats of ${seconds} s after ${warmUpSeconds} s of warm-up each; medians. Client in a process of its own.`,
      '(b) is written as the guides of Express and BullMQ do: express.json, one statement and one job per request.',
      'No worker runs in the first three rows; the last row, with workers taking the records at once, is for information.',
      'Empty tables, empty Redis and a checkpoint before each run. Kept receipts are counted after each.',
    ],
    columns: ['', 'requests/s', 'p50 ms', 'p99 ms', 'per CPU s of web', 'CPU seconds of the last repeat'],
    rows: ([...variants, 'ours with worker'] as const).map((variant) => [
      names[variant],
      showCount(rate(variant)),
      showDecimal(figureOf(variant, 'p50_ms')),
      showDecimal(figureOf(variant, 'p99_ms')),
      showCount(figureOf(variant, 'requests_per_web_cpu_second')),
      showCpu(runs.findLast((run) => run.variant === variant)!.cpuSeconds),
    ]),
    targets: [
      ratioTarget('at least 0.7 of (a)', rate('ours') / rate('answer'), 0.7),
      ratioTarget('at least 3 times (b)', rate('ours') / rate('naive'), 3),
      { wanted: 'p99 under 50 ms', figure: `${showDecimal(p99)} ms`, verdict: p99 < 50 ? 'met' : 'missed' },
    ],
    runs,
  };
}

function ratioTarget(wanted: string, ratio: number, least: number) {
  return judge(wanted, ratio, { least }, showDecimal(ratio));
}
