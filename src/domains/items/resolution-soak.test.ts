import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { openDatabase, type Database } from '#platform/database.ts';
import { createTestDatabase, type TestDatabase } from '../../testing/database.ts';
import {
  computeOutcome,
  createWorkspace,
  emptyIdentityTables,
  findBrokenRules,
  makeAbsorber,
  readOutcome,
  receiptOf,
  type Absorber,
  type TestRecord,
  type TestWorkspace,
} from '../../testing/deduplication.ts';

const lanes = 8;
const chunkSize = 100;
/** `SOAK_RECORDS=100000 npx vitest run src/domains/items/resolution-soak.test.ts` shows it for as many. */
const recordsTotal = Number(process.env['SOAK_RECORDS'] ?? 3000);

let testDatabase: TestDatabase;
let database: Database;
let absorber: Absorber;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  database = openDatabase({ url: testDatabase.url, poolSize: lanes + 2, applicationName: 'test', isWorker: true });
  absorber = makeAbsorber(database);
});

beforeEach(() => emptyIdentityTables(database));

afterAll(async () => {
  await absorber.close();
  await database.close();
  await testDatabase.drop();
});

/** Records about things of which a part is named again and again; what they say of one thing never contradicts. */
function drawRecords(seed: number, things: number, count: number): { workspace: number; json: object }[] {
  const draws = fc.sample(
    fc.record({
      thing: fc.nat(things - 1),
      names: fc.subarray(['sisbov', 'chip', 'rfid', 'lote'] as const, { minLength: 1 }),
      workspace: fc.nat(2),
      weight: fc.nat(9),
      second: fc.nat(59),
    }),
    { seed, numRuns: count },
  );
  return draws.map(({ thing, names, workspace, weight, second }) => ({
    workspace,
    json: {
      value_chain: 'SOY',
      occurred_at: `2025-01-01T00:00:${String(second).padStart(2, '0')}Z`,
      identifiers: names.flatMap((name) => identifiersOf(name, thing)),
      metadata: { weight },
    },
  }));
}

function identifiersOf(name: 'sisbov' | 'chip' | 'rfid' | 'lote', thing: number): object[] {
  const number = String(thing).padStart(12, '0');
  if (name === 'lote') {
    return [
      { identifier_type: 'lote', value: `L${thing}` },
      { identifier_type: 'safra', value: '2024/2025' },
    ];
  }
  const prefix = { sisbov: 'BR', chip: '982', rfid: '076' }[name];
  return [{ identifier_type: name, value: `${prefix}${number}` }];
}

async function absorbAll(submissions: readonly { workspace: TestWorkspace; record: TestRecord }[]): Promise<void> {
  const waiting: { workspace: TestWorkspace; records: TestRecord[] }[] = [];
  for (const own of Map.groupBy(submissions, ({ workspace }) => workspace).values()) {
    for (let from = 0; from < own.length; from += chunkSize)
      waiting.push({
        workspace: own[0]!.workspace,
        records: own.slice(from, from + chunkSize).map(({ record }) => record),
      });
  }
  const lane = async () => {
    for (let chunk = waiting.shift(); chunk; chunk = waiting.shift())
      await absorber.absorb(chunk.workspace, chunk.records);
  };
  await Promise.all(Array.from({ length: lanes }, lane));
}

test.each([
  ['no', 20],
  ['30 % of the', 1.2],
  ['90 % of the', 0.1],
])(
  'eight lanes at once leave the partition and values of the sequential model, without a deadlock (%s records known)',
  async (_share, thingsPerRecord) => {
    const workspaces = [
      await createWorkspace(database, true),
      await createWorkspace(database, true),
      await createWorkspace(database, true),
    ];
    const drawn = drawRecords(7, Math.ceil(recordsTotal * thingsPerRecord), recordsTotal);
    const submissions = drawn.map(({ workspace, json }) => ({
      workspace: workspaces[workspace]!,
      record: receiptOf(json)[0]!,
    }));

    await absorbAll(submissions);

    expect(await readOutcome(database)).toEqual(computeOutcome(submissions));
    expect(await findBrokenRules(database)).toEqual([]);
    expect(absorber.obstacles.deadlocks).toBe(0);
  },
  3_600_000,
);
