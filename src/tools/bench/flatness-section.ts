import { planRecords, type RecordPlan } from './cattle-records.ts';
import { withSystem, type BenchContext } from './context.ts';
import { createDatabase, dropDatabase, withConnection } from './databases.ts';
import { runReceipts } from './receipt-run.ts';
import { judge, showCount, showCpu, showDecimal, type Run, type SectionReport } from './report.ts';
import { median } from './statistics.ts';
import { sendSample, storeItems } from './stored-items.ts';
import { verifyAnimals, verifyRows, verifyStoredVisits } from './verify-items.ts';

const sampleDatabase = 'bench-sample';
const database = 'bench-flatness';
const identifiersPerAnimal = 2;

interface Filling {
  readonly variant: 'few' | 'many';
  readonly template: string;
  /** Animals that the database holds before any process works on it. */
  readonly stored: number;
}

/** The same records on a small and on a large database. */
export async function benchFlatness(context: BenchContext): Promise<SectionReport> {
  const { sizes, servers, repeats } = context;
  const warmUp = planRecords({ count: sizes.flatness.warmUpRecords, firstAnimal: 0, stored: 0, seed: 0 });
  const makeFilling = (variant: Filling['variant'], identifiers: number): Filling => ({
    variant,
    template: `bench-stored-${variant}`,
    // The warm-up stores the rest.
    stored: identifiers / identifiersPerAnimal - warmUp.newAnimals,
  });
  const fillings = [
    makeFilling('few', sizes.flatness.fewIdentifiers),
    makeFilling('many', sizes.flatness.manyIdentifiers),
  ];
  await fill(context, fillings);
  const runs: Run[] = [];
  for (let repeat = 1; repeat <= repeats; repeat += 1) {
    for (const filling of repeat % 2 === 1 ? fillings : fillings.toReversed()) {
      context.say(`flatness: repeat ${repeat}, ${filling.variant}`);
      runs.push(await runFilled(context, filling, repeat));
    }
  }
  for (const name of [sampleDatabase, database, ...fillings.map(({ template }) => template)])
    await dropDatabase(servers, name);
  return report(context, runs);
}

async function fill(context: BenchContext, fillings: readonly Filling[]): Promise<void> {
  const { servers } = context;
  await servers.redis.flushall();
  await createDatabase(servers, sampleDatabase);
  const options = { section: 'flatness', database: sampleDatabase, workers: 1 };
  await withSystem(context, options, (system) =>
    withConnection(servers, sampleDatabase, (client) => sendSample(system, client)),
  );
  for (const { template, stored } of fillings) {
    context.say(`flatness: storing ${showCount(stored)} items`);
    await createDatabase(servers, template, sampleDatabase);
    await withConnection(servers, template, (client) => storeItems(client, stored));
  }
}

async function runFilled(context: BenchContext, { variant, template, stored }: Filling, repeat: number): Promise<Run> {
  const { servers, sizes, workers } = context;
  const { records, warmUpRecords } = sizes.flatness;
  await servers.redis.flushall();
  await createDatabase(servers, database, template);
  const warmUp = planRecords({ count: warmUpRecords, firstAnimal: stored, stored: 0, seed: 100 + repeat });
  const firstAnimal = stored + warmUp.newAnimals;
  const plan = planRecords({ count: records, firstAnimal, stored, seed: repeat });
  return withConnection(servers, database, (client) =>
    withSystem(context, { section: 'flatness', database, workers }, async (system) => {
      await runReceipts(system, client, warmUp);
      await client.query('vacuum (analyze)');
      const { seconds, recordsPerSecond, wallSeconds, cpuSeconds } = await runReceipts(system, client, plan);
      const all: readonly RecordPlan[] = [warmUp, plan];
      await verifyRows(client, {
        entries: all.reduce((sum, of) => sum + of.animals.length, stored),
        items: all.reduce((sum, of) => sum + of.newAnimals, stored),
      });
      await verifyAnimals(client, plan);
      await verifyStoredVisits(client, plan, stored);
      const figures = {
        identifiers_before: identifiersPerAnimal * firstAnimal,
        records,
        seconds,
        records_per_second: recordsPerSecond,
      };
      return { variant, repeat, figures, wallSeconds, cpuSeconds };
    }),
  );
}

function report({ sizes, repeats }: BenchContext, runs: readonly Run[]): SectionReport {
  const figureOf = (variant: string, figure: string) =>
    median(runs.filter((run) => run.variant === variant).map((run) => run.figures[figure]!));
  const ratio = figureOf('many', 'records_per_second') / figureOf('few', 'records_per_second');
  const { records, warmUpRecords } = sizes.flatness;
  return {
    name: 'flatness',
    title: `3. ${showCount(records)} records on a small and on a large database`,
    conditions: [
      `${repeats} interleaved repeats, each on a fresh copy of the filled database; medians.`,
      `Processes warmed up with ${showCount(warmUpRecords)} records, then vacuum, analyze and checkpoint, then the measured records.`,
      'Every tenth record concerns an item that was stored before, every tenth one of the same run.',
    ],
    columns: ['identifiers stored', 'seconds', 'records/s', 'CPU seconds of the last repeat'],
    rows: (['few', 'many'] as const).map((variant) => [
      showCount(figureOf(variant, 'identifiers_before')),
      showDecimal(figureOf(variant, 'seconds')),
      showCount(figureOf(variant, 'records_per_second')),
      showCpu(runs.findLast((run) => run.variant === variant)!.cpuSeconds),
    ]),
    targets: [
      judge(
        `at least 0.85 of the rate at ${showCount(figureOf('few', 'identifiers_before'))} identifiers`,
        ratio,
        { least: 0.85 },
        showDecimal(ratio),
      ),
    ],
    runs,
  };
}
