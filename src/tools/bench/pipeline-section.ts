import { planRecords } from './cattle-records.ts';
import { withSystem, type BenchContext } from './context.ts';
import { measureCopyLimit } from './copy-limit.ts';
import { createDatabase, dropDatabase, withConnection } from './databases.ts';
import { runNaivePipeline } from './naive-pipeline.ts';
import { measure } from './process-watch.ts';
import { runReceipts } from './receipt-run.ts';
import { judge, showCount, showCpu, showDecimal, type Run, type SectionReport, type Target } from './report.ts';
import { receiptRecords } from './sizes.ts';
import { median } from './statistics.ts';
import { verifyAnimals, verifyRows } from './verify-items.ts';

const database = 'bench-pipeline';
const naiveDatabase = 'bench-pipeline-naive';
/** A target speaks of machines on which the limit reaches this rate. */
const referenceLimitRate = 25_000;

/** Many records as large receipts until all are settled, beside the naive way and the limit of the database. */
export async function benchPipeline(context: BenchContext): Promise<SectionReport> {
  const runs: Run[] = [];
  for (let repeat = 1; repeat <= context.repeats; repeat += 1) {
    context.say(`pipeline: repeat ${repeat}, naive`);
    runs.push(await runNaive(context, repeat));
    context.say(`pipeline: repeat ${repeat}, ours and COPY of its rows`);
    runs.push(...(await runOurs(context, repeat)));
  }
  return report(context, runs);
}

async function runNaive({ servers, sizes }: BenchContext, repeat: number): Promise<Run> {
  await servers.redis.flushall();
  await createDatabase(servers, naiveDatabase);
  const plan = planRecords({ count: sizes.pipeline.naiveRecords, firstAnimal: 0, stored: 0, seed: repeat });
  const { seconds, recordsPerSecond, wallSeconds, cpuSeconds } = await runNaivePipeline(servers, naiveDatabase, plan);
  await dropDatabase(servers, naiveDatabase);
  const figures = { records: plan.animals.length, seconds, records_per_second: recordsPerSecond };
  return { variant: 'naive', repeat, figures, wallSeconds, cpuSeconds };
}

async function runOurs(context: BenchContext, repeat: number): Promise<Run[]> {
  const { servers, sizes, workers } = context;
  await servers.redis.flushall();
  await createDatabase(servers, database);
  const plan = planRecords({ count: sizes.pipeline.records, firstAnimal: 0, stored: 0, seed: repeat });
  const records = plan.animals.length;
  const ours = await withConnection(servers, database, (client) =>
    withSystem(context, { section: 'pipeline', database, workers }, async (system): Promise<Run> => {
      const { seconds, recordsPerSecond, wallSeconds, cpuSeconds } = await runReceipts(system, client, plan);
      await verifyRows(client, { entries: records, items: plan.newAnimals });
      await verifyAnimals(client, plan);
      const figures = { records, seconds, records_per_second: recordsPerSecond };
      return { variant: 'ours', repeat, figures, wallSeconds, cpuSeconds };
    }),
  );
  const limit = await withConnection(servers, database, async (client): Promise<Run> => {
    const { result, wallSeconds, cpuSeconds } = await measure(servers.processes, () =>
      measureCopyLimit(servers, client),
    );
    const { rows, seconds, secondsByTable } = result;
    const ofTables = Object.fromEntries(Object.entries(secondsByTable).map(([name, of]) => [`${name}_seconds`, of]));
    const figures = {
      rows,
      seconds,
      rows_per_second: rows / seconds,
      records_per_second: records / seconds,
      ...ofTables,
    };
    return { variant: 'limit', repeat, figures, wallSeconds, cpuSeconds };
  });
  await dropDatabase(servers, database);
  return [ours, limit];
}

function report({ sizes, repeats, workers }: BenchContext, runs: readonly Run[]): SectionReport {
  const figureOf = (variant: string, figure: string) =>
    median(runs.filter((run) => run.variant === variant).map((run) => run.figures[figure]!));
  const names = { ours: 'ours, HTTP to settled', naive: '(b) naive, job per record', limit: '(c) limit, COPY FROM' };
  const ratio = figureOf('ours', 'seconds') / figureOf('limit', 'seconds');
  const timesNaive = figureOf('ours', 'records_per_second') / figureOf('naive', 'records_per_second');
  return {
    name: 'pipeline',
    title: `2. ${showCount(sizes.pipeline.records)} records in NDJSON receipts of ${showCount(receiptRecords)}`,
    conditions: [
      `${repeats} interleaved repeats; medians. ${workers} worker process${workers === 1 ? '' : 'es'}, started for each repeat and not warmed up.`,
      'Each record has 616 bytes, two identifiers and six fields; every fifth adds to, or repeats, an earlier one.',
      `(b) works ${showCount(sizes.pipeline.naiveRecords)} records without HTTP. (c) loads the very rows that ours produced, bodies left out,`,
      'table by table on the server. A checkpoint before each; every item and its weight is compared after ours.',
    ],
    columns: ['', 'records', 'seconds', 'records/s', 'rows/s', 'CPU seconds of the last repeat'],
    rows: (['ours', 'naive', 'limit'] as const).map((variant) => [
      names[variant],
      showCount(variant === 'limit' ? sizes.pipeline.records : figureOf(variant, 'records')),
      showDecimal(figureOf(variant, 'seconds')),
      showCount(figureOf(variant, 'records_per_second')),
      variant === 'limit' ? showCount(figureOf('limit', 'rows_per_second')) : '',
      showCpu(runs.findLast((run) => run.variant === variant)!.cpuSeconds),
    ]),
    targets: [
      judge('at most 2.0 times the time of (c)', ratio, { most: 2 }, showDecimal(ratio)),
      judge('at least 12 times the rate of (b)', timesNaive, { least: 12 }, showDecimal(timesNaive)),
      rateTarget(figureOf('ours', 'records_per_second'), figureOf('limit', 'records_per_second')),
    ],
    runs,
  };
}

function rateTarget(rate: number, limitRate: number): Target {
  const wanted = 'at least 12,000 records/s where (c) runs at 25,000';
  const figure = `${showCount(rate)} records/s, (c) ${showCount(limitRate)}`;
  if (rate >= 12_000) return { wanted, figure, verdict: 'met' };
  return { wanted, figure, verdict: limitRate >= referenceLimitRate ? 'missed' : 'undecided' };
}
