import type { Client } from 'pg';
import { makeItemsService } from '#domains/items/index.ts';
import { makeLedgerService, readVerifierKey, verifyBundle } from '#domains/ledger/index.ts';
import { sequencingLimits } from '#domains/ledger/ledger-work.ts';
import { sequenceEvents } from '#domains/ledger/sequence-events.ts';
import { signCheckpoint } from '#domains/ledger/sign-checkpoint.ts';
import { makeSigningKey, readSigningKey } from '#domains/ledger/signed-note.ts';
import { makeContentStart } from '#domains/storage/index.ts';
import { makeLogger } from '#platform/logger.ts';
import { openDatabase, type Database } from '#platform/database.ts';
import type { BenchContext } from './context.ts';
import { createDatabase, dropDatabase, withConnection } from './databases.ts';
import { measure } from './process-watch.ts';
import { BenchFault, judge, showCount, showDecimal, type Run, type SectionReport } from './report.ts';
import { median } from './statistics.ts';

const database = 'bench-log';
const templateOf = (size: number) => `bench-log-${size}`;
/** No workspace stores anything outside. */
const startContents = makeContentStart({
  loadTypes: () => Promise.reject(new Error('no types here')),
  keys: undefined,
  adapter: null,
  logger: makeLogger({ level: 'silent', name: 'bench' }),
});
const proofsInFlight = 8;
const key = makeSigningKey('bench.example.com');
const signing = {
  origin: 'bench.example.com',
  signer: readSigningKey(key)!,
  lastCheckpointFile: undefined,
};

/** The transparency log alone: entries made, proofs made and proofs checked, on a small and on a large log. */
export async function benchLog(context: BenchContext): Promise<SectionReport> {
  const { servers, sizes, repeats } = context;
  for (const size of sizes.log.sizes) {
    context.say(`log: making ${showCount(size)} entries`);
    await createDatabase(servers, templateOf(size));
    await withConnection(servers, templateOf(size), (client) => tellItems(client, size));
    await withDatabase(servers.postgresUrl(templateOf(size)), ({ pool }) => sequenceAll(pool));
    await withConnection(servers, templateOf(size), (client) => client.query('vacuum analyze'));
  }
  const runs: Run[] = [];
  for (let repeat = 1; repeat <= repeats; repeat += 1) {
    for (const size of repeat % 2 === 1 ? sizes.log.sizes : sizes.log.sizes.toReversed()) {
      context.say(`log: repeat ${repeat}, ${size} entries`);
      runs.push(await runSize(context, size, repeat));
    }
  }
  for (const name of [database, ...sizes.log.sizes.map(templateOf)]) await dropDatabase(servers, name);
  return report(context, runs);
}

async function withDatabase<Result>(url: string, work: (database: Database) => Promise<Result>): Promise<Result> {
  const opened = openDatabase({ url, poolSize: proofsInFlight, applicationName: 'bench-log', isWorker: true });
  try {
    return await work(opened);
  } finally {
    await opened.close();
  }
}

/** New items of the only workspace as changes write them: each gives the log two entries, an event and a version. */
async function tellItems(client: Client, entries: number): Promise<void> {
  await client.query(
    `with numbers as (
       select coalesce(max(item_number), 0) as last from items
     ), new as (
       insert into items (item_number, value_chain, country, year)
       select last + n, 'BEEF', 'BR', 2025 from numbers cross join generate_series(1, $1::int) as n
       returning item_number
     ), own as (
       insert into contributions (item_number, workspace_id, state)
       select item_number, workspace_id,
              json_build_object(
                'entries', json_build_array(json_build_array(uuidv7(), 1760000000000000, item_number)),
                'identifiers', json_build_array(json_build_array('sisbov', 'BR' || 100000000000 + item_number, 'sisbov', 'BR' || 100000000000 + item_number, 1, 0)),
                'fields', json_build_object('breed', json_build_array('Nelore', 0, 0), 'weight_kg', json_build_array(300 + item_number % 400, 0, 0),
                                            'farm', json_build_array('Fazenda ' || item_number % 17, 0, 0)))
       from new cross join workspaces
     ), told as (
       insert into events (workspace_id, event_id, item_number, event_type, occurred_at, visibility, payload)
       select workspace_id, uuidv7(), item_number, 'item_created', now(), 'private', '{}'
       from new cross join workspaces
       returning workspace_id, event_id, item_number
     )
     insert into event_feed (workspace_id, event_id, item_number) select * from told`,
    [entries / 2],
  );
}

async function sequenceAll(pool: Database['pool']): Promise<void> {
  while ((await sequenceEvents(pool, sequencingLimits, startContents))?.hasMore);
}

async function runSize({ servers, sizes }: BenchContext, size: number, repeat: number): Promise<Run> {
  const { entries, proofs } = sizes.log;
  await createDatabase(servers, database, templateOf(size));
  await withConnection(servers, database, (client) => tellItems(client, entries));
  return withDatabase(servers.postgresUrl(database), async (opened) => {
    const watched = [...servers.processes, { name: 'log', pid: process.pid }];
    const sequencing = await measure(watched, () => sequenceAll(opened.pool));
    const signed = await signCheckpoint(opened.pool, signing);
    if (signed !== size + entries) throw new BenchFault(`log: ${signed} entries were signed, not ${size + entries}`);
    const items = makeItemsService({ database: opened, loadTypes: () => Promise.reject(new Error('no types here')) });
    const ledger = makeLedgerService({
      database: opened,
      items,
      maxFeeStroops: 100,
      verifierKey: signing.signer.verifier.text,
    });
    const chosen = await chooseEvents(opened, proofs);
    const bundles: string[] = [];
    const building = await measure(watched, () =>
      inFlight(chosen, async ({ workspace_id: workspaceId, event_id: eventId }) => {
        bundles.push(JSON.stringify(await ledger.proveEvent(workspaceId, eventId)));
      }),
    );
    const trust = { keys: [readVerifierKey(ledger.verifierKey!)!], accounts: [] };
    const verifying = await measure(watched, async () => {
      let refused = 0;
      for (const bundle of bundles) if (!(await verifyBundle(bundle, trust)).authenticated) refused += 1;
      return refused;
    });
    if (verifying.result > 0) throw new BenchFault(`log: ${verifying.result} proofs do not hold`);
    return {
      variant: String(size),
      repeat,
      figures: {
        entries_per_second: entries / sequencing.wallSeconds,
        proofs_built_per_second: proofs / building.wallSeconds,
        proofs_verified_per_second: proofs / verifying.wallSeconds,
        proof_bytes: median(bundles.map((bundle) => Buffer.byteLength(bundle))),
      },
      wallSeconds: sequencing.wallSeconds + building.wallSeconds + verifying.wallSeconds,
      cpuSeconds: sequencing.cpuSeconds,
    };
  });
}

async function chooseEvents({ pool }: Database, count: number) {
  const { rows } = await pool.query<{ workspace_id: string; event_id: string }>(
    'select workspace_id, event_id from log_entries where event_id is not null order by md5(index::text) limit $1',
    [count],
  );
  return rows;
}

async function inFlight<Each>(all: readonly Each[], work: (each: Each) => Promise<void>): Promise<void> {
  const waiting = all.values();
  const lane = async () => {
    for (const each of waiting) await work(each);
  };
  await Promise.all(Array.from({ length: proofsInFlight }, lane));
}

function report({ sizes }: BenchContext, runs: readonly Run[]): SectionReport {
  const figure = (size: number, name: string) =>
    median(runs.filter(({ variant }) => variant === String(size)).map(({ figures }) => figures[name]!));
  const names = ['entries_per_second', 'proofs_built_per_second', 'proofs_verified_per_second', 'proof_bytes'];
  const [small, large] = [sizes.log.sizes[0]!, sizes.log.sizes.at(-1)!];
  const slowest = Math.min(...sizes.log.sizes.map((size) => figure(size, 'entries_per_second')));
  const ratio = figure(large, 'entries_per_second') / figure(small, 'entries_per_second');
  const verified = Math.min(...sizes.log.sizes.map((size) => figure(size, 'proofs_verified_per_second')));
  return {
    name: 'log',
    title: `Transparency log: ${showCount(sizes.log.entries)} entries, half of events and half of the items' versions, then ${showCount(sizes.log.proofs)} proofs`,
    conditions: [
      `One lane, ${showCount(sequencingLimits.rows)} events at a time: read, committed to field by field, hashed, written with their tiles.`,
      `Proofs one by one, ${proofsInFlight} at the same time, of events all over the log; checked one behind the other with the key of the log, all under one checkpoint.`,
    ],
    columns: ['entries before', 'entries/s', 'proofs built/s', 'verified/s', 'bytes of a proof'],
    rows: sizes.log.sizes.map((size) => [showCount(size), ...names.map((name) => showCount(figure(size, name)))]),
    targets: [
      judge('at least 20,000 entries/s', slowest, { least: 20_000 }, showCount(slowest)),
      judge(
        `at ${showCount(large)} entries at least 0.85 of the rate at ${showCount(small)}`,
        ratio,
        { least: 0.85 },
        showDecimal(ratio),
      ),
      judge('at least 5,000 proofs verified/s on one processor', verified, { least: 5000 }, showCount(verified)),
    ],
    runs,
  };
}
