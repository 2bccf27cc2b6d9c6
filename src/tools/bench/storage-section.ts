import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeContentStart, makeLocalAdapter, makeStorageWork } from '#domains/storage/index.ts';
import { addressOf, carOf, directoryDag } from '#domains/storage/content-address.ts';
import { openDatabase } from '#platform/database.ts';
import { makeLogger } from '#platform/logger.ts';
import type { BenchContext } from './context.ts';
import { createDatabase, dropDatabase, withConnection } from './databases.ts';
import { measure } from './process-watch.ts';
import { BenchFault, showCount, showDecimal, type Run, type SectionReport } from './report.ts';
import { median } from './statistics.ts';

const database = 'bench-storage';
const batchItems = 1000;
const contentsInFlight = 500;
/** What a transaction with one operation costs while the ledger is not crowded (Stellar, network fees, 2026). */
const leastFeeStroops = 100;
const stroopsPerLumen = 10_000_000;
const anchorsOfADay = 144;

/** Storage alone: contents made and addressed, CARs built in memory, and batches stored in a folder by the worker's code. */
export async function benchStorage({ servers, sizes, repeats, say }: BenchContext): Promise<SectionReport> {
  const { contents } = sizes.storage;
  const runs: Run[] = [];
  for (let repeat = 1; repeat <= repeats; repeat += 1) {
    say(`storage: repeat ${repeat}, ${showCount(contents)} contents`);
    await createDatabase(servers, database);
    const workspaceId = await withConnection(servers, database, async (client) => {
      const { rows } = await client.query<{ workspace_id: string }>('select workspace_id from workspaces');
      await client.query(
        `insert into storage_settings (scope_kind, scope_id, is_enabled, public_fields, public_identifier_types, stores_encrypted)
         values ('workspace', $1, true, '{breed,weight_kg}', '{sisbov}', false)`,
        [rows[0]!.workspace_id],
      );
      return rows[0]!.workspace_id;
    });
    runs.push(await runOnce(servers.postgresUrl(database), workspaceId, contents, repeat, servers.processes));
  }
  await dropDatabase(servers, database);
  return report(contents, runs);
}

async function runOnce(
  url: string,
  workspaceId: string,
  contents: number,
  repeat: number,
  processes: BenchContext['servers']['processes'],
): Promise<Run> {
  const folder = mkdtempSync(join(tmpdir(), 'defarm-bench-'));
  const opened = openDatabase({ url, poolSize: 4, applicationName: 'bench-storage', isWorker: true });
  const watched = [...processes, { name: 'storage', pid: process.pid }];
  try {
    const making = await measure(watched, () => makeContents(opened, workspaceId, contents));
    const building = await measure(watched, () => buildCars(contents));
    const work = makeStorageWork({
      pool: opened.pool,
      logger: makeLogger({ level: 'silent', name: 'bench' }),
      keys: undefined,
      adapters: [makeLocalAdapter(folder, async () => {})],
      defaultAdapter: 'local',
      limits: { itemsMax: batchItems, ageMaxMs: 0, checkAfterMs: 86_400_000 },
    });
    const storing = await measure(watched, async () => {
      while (await work.workDirectly());
    });
    const { rows } = await opened.pool.query<{ stored: number }>(
      `select count(*) as stored from storage_history where state = 'stored'`,
    );
    if (rows[0]!.stored !== contents)
      throw new BenchFault(`storage: ${rows[0]!.stored} contents are stored, not ${contents}`);
    return {
      variant: 'local',
      repeat,
      figures: {
        made_per_second: contents / making.wallSeconds,
        in_cars_per_second: contents / building.wallSeconds,
        stored_per_second: contents / storing.wallSeconds,
      },
      wallSeconds: making.wallSeconds + building.wallSeconds + storing.wallSeconds,
      cpuSeconds: storing.cpuSeconds,
    };
  } finally {
    await opened.close();
    rmSync(folder, { recursive: true });
  }
}

const animal = (at: number) => ({
  identifiers: [
    {
      identifier_type: 'sisbov',
      value: `BR${100_000_000_000 + at}`,
      is_canonical: true,
      normalized_type: 'sisbov',
      normalized_value: `105${100_000_000_000 + at}`,
    },
  ],
  metadata: { breed: 'Nelore', farm: `Fazenda ${at % 17}`, weight_kg: 300 + (at % 400) },
  status: 'active',
});

async function makeContents(
  { pool }: ReturnType<typeof openDatabase>,
  workspaceId: string,
  count: number,
): Promise<void> {
  const types = { find: () => undefined, fingerprintRules: [], singleClaimTypes: new Set<string>() };
  const maker = await makeContentStart({
    loadTypes: async () => types,
    keys: undefined,
    adapter: 'local',
    logger: makeLogger({ level: 'silent', name: 'bench' }),
  })(pool);
  for (let at = 0; at < count; at += 1) {
    const dfid = `DFID-BEEF-BR-2025-${String(at + 1).padStart(6, '0')}-000000`;
    await maker.make({ workspaceId, itemNumber: at + 1, version: 1, dfid, content: animal(at) });
    if ((at + 1) % contentsInFlight === 0) await maker.write(pool);
  }
  await maker.write(pool);
}

async function buildCars(count: number): Promise<void> {
  for (let begin = 0; begin < count; begin += batchItems) {
    const files = await Promise.all(
      Array.from({ length: Math.min(batchItems, count - begin) }, async (_, at) => {
        const bytes = Buffer.from(JSON.stringify(animal(begin + at)));
        return { name: `${(await addressOf(bytes)).toString()}.json`, bytes };
      }),
    );
    await carOf(await directoryDag(files));
  }
}

function report(contents: number, runs: readonly Run[]): SectionReport {
  const names = ['made_per_second', 'in_cars_per_second', 'stored_per_second'];
  const figure = (name: string) => median(runs.map(({ figures }) => figures[name]!));
  const anchorsLumens = (anchorsOfADay * leastFeeStroops) / stroopsPerLumen;
  const perItemLumens = (1_000_000 * 2 * leastFeeStroops) / stroopsPerLumen;
  return {
    name: 'storage',
    title: `Storage: ${showCount(contents)} contents of animals, ${showCount(batchItems)} to a directory`,
    conditions: [
      'Made: projected, addressed and written to Postgres, as the lane of the log does. In CARs: addressed, put into directories and written as CARs, in memory.',
      'Stored: packed, read back, built again, compared and written to a folder, each block and folder flushed to the disk, one batch behind the other.',
      `Fees of a million items in a day, by the least fee of ${leastFeeStroops} stroops an operation: ${showDecimal(anchorsLumens, 4)} XLM for an anchor every ten minutes; ${showDecimal(perItemLumens, 0)} XLM at least for two contract calls an item, without their resource fees.`,
    ],
    columns: ['adapter', 'made/s', 'in CARs/s', 'stored/s'],
    rows: [['local', ...names.map((name) => showCount(figure(name)))]],
    targets: [],
    runs,
  };
}
