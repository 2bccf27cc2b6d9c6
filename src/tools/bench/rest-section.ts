import { setTimeout as delay } from 'node:timers/promises';
import type { Client } from 'pg';
import { Pool } from 'undici';
import { identifierOf, recordText } from './cattle-records.ts';
import { withSystem, type BenchContext } from './context.ts';
import { createDatabase, dropDatabase, withConnection } from './databases.ts';
import { measure } from './process-watch.ts';
import { BenchFault, judge, showCount, showCpu, showDecimal, type Run, type SectionReport } from './report.ts';
import { quantile } from './statistics.ts';
import type { System } from './system.ts';
import { verifyRows } from './verify-items.ts';

const database = 'bench-rest';
const bodyBytes = 600;
const pollMs = 2;
const settleTimeoutMs = 30_000;
/** The pause before a sample varies, so that samples do not keep step with the timers of the processes. */
const pauseMs = { least: 20, most: 80 };

/** Milliseconds from the arrival of the 202. */
interface Sample {
  /** To the moment at which the database says that it settled the receipt. */
  readonly settledMs: number;
  /** To the moment at which another connection sees it, which includes the commit and up to one poll. */
  readonly seenMs: number;
}

/** One record at a time on an idle system. */
export async function benchRest(context: BenchContext): Promise<SectionReport> {
  const { servers, sizes, workers } = context;
  const { samples, warmUpSamples } = sizes.rest;
  context.say(`rest: ${samples} records, one at a time`);
  await servers.redis.flushall();
  await createDatabase(servers, database);
  const { run, taken } = await withConnection(servers, database, (client) =>
    withSystem(context, { section: 'rest', database, workers }, async (system) => {
      const pool = new Pool(system.baseUrl, { connections: 1 });
      try {
        for (let animal = 0; animal < warmUpSamples; animal += 1) await takeSample(system, pool, client, animal);
        const { result, wallSeconds, cpuSeconds } = await measure(system.processes, () =>
          takeSamples(system, pool, client, { first: warmUpSamples, count: samples }),
        );
        await verifyRows(client, { entries: warmUpSamples + samples, items: warmUpSamples + samples });
        const measured: Run = { variant: 'rest', repeat: 1, figures: figuresOf(result), wallSeconds, cpuSeconds };
        return { run: measured, taken: result };
      } finally {
        await pool.close();
      }
    }),
  );
  await dropDatabase(servers, database);
  return report(run, taken);
}

async function takeSamples(system: System, pool: Pool, client: Client, range: { first: number; count: number }) {
  const samples: Sample[] = [];
  for (let at = 0; at < range.count; at += 1) {
    await delay(pauseMs.least + Math.random() * (pauseMs.most - pauseMs.least));
    samples.push(await takeSample(system, pool, client, range.first + at));
  }
  return samples;
}

async function takeSample(system: System, pool: Pool, client: Client, animal: number): Promise<Sample> {
  const response = await pool.request({
    path: '/api/receipts',
    method: 'POST',
    headers: { ...system.headers, 'content-type': 'application/json' },
    body: recordText(animal, false, bodyBytes),
  });
  const answeredAtMs = performance.timeOrigin + performance.now();
  const answer = (await response.body.json()) as { receipt_id: string };
  if (response.statusCode !== 202) throw new BenchFault(`a record was answered ${response.statusCode}`);
  const { finishedAtMs, seenAtMs } = await waitUntilFinished(system, client, answer.receipt_id);
  await verifyReadable(system, pool, animal);
  return { settledMs: finishedAtMs - answeredAtMs, seenMs: seenAtMs - answeredAtMs };
}

async function waitUntilFinished(system: System, client: Client, receiptId: string) {
  const deadline = Date.now() + settleTimeoutMs;
  for (;;) {
    const { rows } = await client.query<{ finished_at_ms: number | null }>({
      name: 'finished_at',
      text: 'select (extract(epoch from finished_at) * 1000)::float8 as finished_at_ms from receipts where receipt_id = $1',
      values: [receiptId],
    });
    const seenAtMs = performance.timeOrigin + performance.now();
    const finishedAtMs = rows[0]?.finished_at_ms;
    if (finishedAtMs != null) return { finishedAtMs, seenAtMs };
    system.checkAlive();
    if (Date.now() > deadline) throw new BenchFault('a single record did not settle');
    await delay(pollMs);
  }
}

async function verifyReadable(system: System, pool: Pool, animal: number): Promise<void> {
  const value = identifierOf('sisbov', animal);
  const response = await pool.request({
    path: `/api/items?identifier_type=sisbov&value=${value}`,
    method: 'GET',
    headers: system.headers,
  });
  const page = (await response.body.json()) as { items?: readonly { dfid: string }[] };
  if (page.items?.length !== 1 || !page.items[0]!.dfid.startsWith('DFID-BEEF-BR-2025-'))
    throw new BenchFault(`the item of ${value} cannot be read when its receipt is settled: ${JSON.stringify(page)}`);
}

function figuresOf(samples: readonly Sample[]): Record<string, number> {
  const settled = samples.map(({ settledMs }) => settledMs);
  const seen = samples.map(({ seenMs }) => seenMs);
  return {
    samples: samples.length,
    settled_p50_ms: quantile(settled, 0.5),
    settled_p99_ms: quantile(settled, 0.99),
    settled_max_ms: Math.max(...settled),
    seen_p50_ms: quantile(seen, 0.5),
    seen_p99_ms: quantile(seen, 0.99),
    seen_max_ms: Math.max(...seen),
  };
}

function report(run: Run, samples: readonly Sample[]): SectionReport {
  const row = (name: string, kind: 'settled' | 'seen') => [
    name,
    ...['p50', 'p99', 'max'].map((of) => showDecimal(run.figures[`${kind}_${of}_ms`]!)),
  ];
  const seenAtMost = (part: 'p50' | 'p99', most: number) => {
    const value = run.figures[`seen_${part}_ms`]!;
    return judge(`${part} at most ${most} ms`, value, { most }, `${showDecimal(value)} ms`);
  };
  return {
    name: 'rest',
    title: `5. One record at a time at rest, on Redis: from the 202 to the settled item, ${showCount(samples.length)} samples`,
    conditions: [
      'The second row is judged: the settled receipt as another connection sees it, asked every 2 ms.',
      `Each item is read through the API as soon as its receipt is settled. CPU seconds: ${showCpu(run.cpuSeconds)}`,
    ],
    columns: ['milliseconds from the 202', 'p50', 'p99', 'max'],
    rows: [row('to finished_at of the receipt', 'settled'), row('to its being seen', 'seen')],
    targets: [seenAtMost('p50', 25), seenAtMost('p99', 100)],
    runs: [
      {
        ...run,
        figures: {
          ...run.figures,
          ...Object.fromEntries(samples.map(({ seenMs }, at) => [`seen_${at + 1}_ms`, seenMs])),
        },
      },
    ],
  };
}
