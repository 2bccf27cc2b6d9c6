import { openDatabase } from '#platform/database.ts';
import { makeTypeRegistryLoader, type TypeRegistry } from '#domains/items/index.ts';
import { availableParallelism } from 'node:os';
import type { Client } from 'pg';
import { taggedPlaceholderText } from './cattle-records.ts';
import { withSystem, type BenchContext } from './context.ts';
import { createDatabase, dropDatabase, withConnection } from './databases.ts';
import { measure } from './process-watch.ts';
import { judge, showCount, showDecimal, type Run, type SectionReport, type Target } from './report.ts';
import { makeIncomingRecords, planVisits, type VisitPlan } from './resolver-plan.ts';
import { chunkRecords, makeResolver, transactionsInFlight, type Resolver } from './resolver-run.ts';
import { receiptRecords } from './sizes.ts';
import { median } from './statistics.ts';
import { sendSample, storeItems } from './stored-items.ts';
import { compare, verifyAnimals } from './verify-items.ts';

const sampleDatabase = 'bench-resolver-sample';
const database = 'bench-resolver';
const identifiersPerAnimal = 2;
const knownPercents = [0, 30, 90] as const;
/** A target speaks of machines with so many processors. */
const referenceCores = 2;

interface Case {
  /** Stored before. */
  readonly identifiers: number;
  /** Of a hundred records, those about items that are stored. */
  readonly knownPercent: number;
}

/** Deduplication alone, on ever larger databases: records that were read and judged before, in this process. */
export async function benchResolver(context: BenchContext): Promise<SectionReport> {
  const { sizes, servers, repeats } = context;
  await fill(context);
  const cases = sizes.resolver.identifiers.flatMap((identifiers) =>
    knownPercents.map((knownPercent): Case => ({ identifiers, knownPercent })),
  );
  const runs: Run[] = [];
  for (let repeat = 1; repeat <= repeats; repeat += 1) {
    for (const each of repeat % 2 === 1 ? cases : cases.toReversed()) {
      context.say(`resolver: repeat ${repeat}, ${variantOf(each)}`);
      runs.push(await runCase(context, each, repeat));
    }
  }
  for (const name of [sampleDatabase, database, ...sizes.resolver.identifiers.map(templateOf)])
    await dropDatabase(servers, name);
  return report(context, cases, runs);
}

function templateOf(identifiers: number): string {
  return `bench-resolver-${identifiers}`;
}

function variantOf({ identifiers, knownPercent }: Case): string {
  return `${identifiers} stored, ${knownPercent} % known`;
}

async function fill(context: BenchContext): Promise<void> {
  const { servers, sizes } = context;
  await servers.redis.flushall();
  await createDatabase(servers, sampleDatabase);
  await withSystem(context, { section: 'resolver', database: sampleDatabase, workers: 1 }, (system) =>
    withConnection(servers, sampleDatabase, (client) => sendSample(system, client, taggedPlaceholderText())),
  );
  for (const identifiers of sizes.resolver.identifiers) {
    context.say(`resolver: storing ${showCount(identifiers)} identifiers`);
    await createDatabase(servers, templateOf(identifiers), sampleDatabase);
    await withConnection(servers, templateOf(identifiers), (client) =>
      storeItems(client, identifiers / identifiersPerAnimal),
    );
  }
}

async function runCase({ servers, sizes }: BenchContext, of: Case, repeat: number): Promise<Run> {
  const { records, warmUpRecords } = sizes.resolver;
  await createDatabase(servers, database, templateOf(of.identifiers));
  const url = servers.postgresUrl(database);
  const stored = of.identifiers / identifiersPerAnimal;
  const plan = planVisits({ count: warmUpRecords + records, stored, knownPercent: of.knownPercent });
  return withConnection(servers, database, async (client) => {
    await warmUp(client);
    const workspaceId = await findWorkspace(client);
    const types = await loadTypes(url);
    const receiptsBefore = Math.ceil(stored / receiptRecords);
    const receivedAtMicros = Date.now() * 1000;
    const incoming = makeIncomingRecords(plan.visits, { workspaceId, types, receiptsBefore, receivedAtMicros });
    const resolver = makeResolver(url, workspaceId, types);
    try {
      const run = await measureResolver(resolver, incoming, warmUpRecords, async (work) => {
        await client.query('checkpoint');
        return measure([...servers.processes, { name: 'resolver', pid: process.pid }], work);
      });
      await verifyVisits(client, plan, { stored, firstEntryId: incoming[0]!.entryId });
      return { variant: variantOf(of), repeat, ...run };
    } finally {
      await resolver.close();
    }
  });
}

/** A database in use is in memory; a copy that was just made is not. */
async function warmUp(client: Client): Promise<void> {
  await client.query('create extension pg_prewarm');
  await client.query(
    `select pg_prewarm(oid::regclass) from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'i')`,
  );
}

type Measuring = <Result>(work: () => Promise<Result>) => ReturnType<typeof measure<Result>>;

async function measureResolver(
  resolver: Resolver,
  incoming: Parameters<Resolver['absorb']>[0],
  warmUpRecords: number,
  measuring: Measuring,
): Promise<Omit<Run, 'variant' | 'repeat'>> {
  const early = await resolver.absorb(incoming.slice(0, warmUpRecords));
  const measured = incoming.slice(warmUpRecords);
  const { result, wallSeconds, cpuSeconds } = await measuring(() => resolver.absorb(measured));
  const failures = [...early, ...result];
  for (const failure of failures) process.stderr.write(`resolver: a transaction failed: ${failure.message}\n`);
  const microsecondsPerRecord = (name: string) => ((cpuSeconds[name] ?? 0) * 1_000_000) / measured.length;
  const figures = {
    records: measured.length,
    records_per_second: measured.length / wallSeconds,
    resolver_cpu_us_per_record: microsecondsPerRecord('resolver'),
    postgres_cpu_us_per_record: microsecondsPerRecord('postgres'),
    failed_transactions: failures.length,
  };
  return { figures, wallSeconds, cpuSeconds };
}

async function findWorkspace(client: Client): Promise<string> {
  const { rows } = await client.query<{ workspace_id: string }>('select workspace_id from workspaces');
  return rows[0]!.workspace_id;
}

async function loadTypes(url: string): Promise<TypeRegistry> {
  const reader = openDatabase({ url, poolSize: 1, applicationName: 'bench-resolver-types' });
  try {
    return await makeTypeRegistryLoader(reader, Date.now)();
  } finally {
    await reader.close();
  }
}

/**
 * Compares what the records became, all that they added to the stored rows, and every animal that they visited.
 * @throws BenchFault naming each number that differs.
 */
async function verifyVisits(
  client: Client,
  plan: VisitPlan,
  { stored, firstEntryId }: { stored: number; firstEntryId: string },
): Promise<void> {
  const { rows } = await client.query<Record<string, number>>(
    `select (select count(*) from entries where entry_id >= $2 and status = 'completed' and outcome = 'created') as created,
            (select count(*) from entries where entry_id >= $2 and status = 'completed' and outcome = 'enriched') as enriched,
            (select count(*) from entries where entry_id >= $2 and status = 'completed' and outcome = 'duplicate') as duplicate,
            (select count(*) from items where item_number > $1) as items,
            (select count(*) from contributions where item_number > $1) as contributions,
            (select count(*) from identifier_claims where item_number > $1) as claims,
            (select count(*) from events where item_number > $1 and event_type = 'item_created') as creation_events,
            (select count(*) from identifier_mentions) as mentions`,
    [stored, firstEntryId],
  );
  const { created, enriched, duplicate } = plan;
  compare('resolver', rows[0]!, {
    created,
    enriched,
    duplicate,
    items: created,
    contributions: created,
    claims: identifiersPerAnimal * created,
    creation_events: created,
    mentions: stored + created,
  });
  await verifyAnimals(client, plan);
}

function report({ sizes, repeats }: BenchContext, cases: readonly Case[], runs: readonly Run[]): SectionReport {
  const { records, warmUpRecords } = sizes.resolver;
  const figureOf = (of: Case, figure: string) =>
    median(runs.filter((run) => run.variant === variantOf(of)).map((run) => run.figures[figure]!));
  const failed = runs.reduce((sum, run) => sum + run.figures['failed_transactions']!, 0);
  return {
    name: 'resolver',
    title: `6. Deduplication alone: ${showCount(records)} records in transactions of ${chunkRecords}, ${transactionsInFlight} in flight`,
    conditions: [
      `${repeats} interleaved repeats, each on a fresh copy of the filled and analysed database, read into memory before; medians.`,
      'From judged records to the last commit in this process: no HTTP, no bodies, no JSON to read, no judging, no chunk rows.',
      `Warmed up with ${showCount(warmUpRecords)} like records, then a checkpoint: the first change of each page after it is written whole.`,
      `Each record names an ear tag besides, which is kept and found.`,
      'Of the known ones every second brings another weight, the others repeat. Every item visited is compared afterwards.',
    ],
    columns: ['identifiers stored', 'known', 'records/s', 'CPU us/record here', 'in Postgres', 'failed'],
    rows: cases.map((each) => [
      showCount(each.identifiers),
      `${each.knownPercent} %`,
      showCount(figureOf(each, 'records_per_second')),
      showCount(figureOf(each, 'resolver_cpu_us_per_record')),
      showCount(figureOf(each, 'postgres_cpu_us_per_record')),
      showCount(figureOf(each, 'failed_transactions')),
    ]),
    targets: [
      rateTarget(Math.min(...cases.map((each) => figureOf(each, 'records_per_second')))),
      flatnessTarget(sizes.resolver.identifiers, runs),
      judge('no transaction fails', failed, { most: 0 }, showCount(failed)),
    ],
    runs,
  };
}

function rateTarget(rate: number): Target {
  const wanted = `at least 12,000 records/s on ${referenceCores} processors`;
  const figure = `${showCount(rate)} records/s in the slowest case`;
  const cores = availableParallelism();
  if (cores !== referenceCores) return { wanted, figure: `${figure}, ${cores} processors`, verdict: 'undecided' };
  return judge(wanted, rate, { least: 12_000 }, figure);
}

/** The ratio is one of two runs of the same repeat, which had the same machine. */
function flatnessTarget(identifiers: readonly number[], runs: readonly Run[]): Target {
  const [few, many] = [identifiers[0]!, identifiers.at(-1)!];
  const ratios = knownPercents.map((knownPercent) => {
    const ratesOf = (stored: number) =>
      runs
        .filter((run) => run.variant === variantOf({ identifiers: stored, knownPercent }))
        .toSorted((a, b) => a.repeat - b.repeat)
        .map((run) => run.figures['records_per_second']!);
    const before = ratesOf(few);
    return median(ratesOf(many).map((rate, at) => rate / before[at]!));
  });
  const figure = knownPercents.map((percent, at) => `${showDecimal(ratios[at]!)} with ${percent} % known`).join(', ');
  const wanted = `at ${showCount(many)} identifiers at least 0.85 of the rate at ${showCount(few)}`;
  return judge(wanted, Math.min(...ratios), { least: 0.85 }, figure);
}
