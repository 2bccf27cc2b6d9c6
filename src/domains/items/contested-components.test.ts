import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { openDatabase, type Database } from '#platform/database.ts';
import { createTestDatabase, type TestDatabase } from '../../testing/database.ts';
import {
  createWorkspace,
  emptyIdentityTables,
  findBrokenRules,
  makeAbsorber,
  receiptOf,
  type Absorber,
  type TestRecord,
  type TestWorkspace,
} from '../../testing/deduplication.ts';
import { claimsOfRecord, type StoredRecord } from './stored-record.ts';

const lanes = 8;

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

interface Submission {
  readonly workspace: TestWorkspace;
  readonly record: TestRecord;
}

/** How many things a record may be about: with few records on many things most are new, on few things most are known. */
const sizes = [
  { known: 0, things: 300 },
  { known: 30, things: 120 },
  { known: 90, things: 25 },
];

function drawRecords(seed: number, things: number) {
  return fc.sample(
    fc.record({
      thing: fc.nat(things - 1),
      otherThing: fc.nat(things - 1),
      names: fc.subarray(['sisbov', 'chip', 'sgtin', 'lot'] as const, { minLength: 1 }),
      mistakes: fc.subarray(['sisbov', 'chip', 'sgtin'] as const, { minLength: 1 }),
      isMistaken: fc.nat(19).map((number) => number === 0),
      isRepeated: fc.boolean(),
      workspace: fc.nat(2),
    }),
    { seed, numRuns: 150 },
  );
}

function identifierOf(name: string, thing: number): object[] {
  const number = String(thing).padStart(12, '0');
  if (name === 'sisbov') return [{ identifier_type: 'sisbov', value: `BR${number}` }];
  if (name === 'chip') return [{ identifier_type: 'chip', value: `982${number}` }];
  if (name === 'sgtin') return [{ identifier_type: 'sgtin', value: `urn:epc:id:sgtin:7891234.056789.${thing}` }];
  return [
    { identifier_type: 'lote', value: `L${thing}` },
    { identifier_type: 'safra', value: '2024/2025' },
  ];
}

function submissionsOf(drawn: ReturnType<typeof drawRecords>, workspaces: readonly TestWorkspace[]): Submission[] {
  return drawn.flatMap(({ thing, otherThing, names, mistakes, isMistaken, isRepeated, workspace }) => {
    const json = {
      value_chain: 'SOY',
      identifiers: [
        ...names.flatMap((name) => identifierOf(name, thing)),
        ...(isMistaken ? mistakes.flatMap((name) => identifierOf(name, otherThing)) : []),
      ],
    };
    const submission = () => ({ workspace: workspaces[workspace]!, record: receiptOf(json)[0]! });
    return isRepeated ? [submission(), submission()] : [submission()];
  });
}

async function absorbInOrder(order: readonly Submission[], chunkSize: number): Promise<void> {
  const chunks: { workspace: TestWorkspace; records: TestRecord[] }[] = [];
  for (const { workspace, record } of order) {
    const open = chunks.findLast((chunk) => chunk.workspace === workspace);
    if (open && open.records.length < chunkSize) open.records.push(record);
    else chunks.push({ workspace, records: [record] });
  }
  const lane = async () => {
    for (let chunk = chunks.shift(); chunk; chunk = chunks.shift())
      await absorber.absorb(chunk.workspace, chunk.records);
  };
  await Promise.all(Array.from({ length: lanes }, lane));
}

/** All entries that hang together by what identifies things, as sets of entry ids, with the open cases that they are in. */
async function readComponents(): Promise<{ entries: string[]; cases: string[] }[]> {
  const { rows } = await database.pool.query<{ entry_id: string; record: StoredRecord; conflict_id: string | null }>(
    'select entry_id, record, conflict_id from entries left join conflict_entries using (entry_id) order by entry_id',
  );
  const parents = new Map<string, string>();
  const rootOf = (node: string): string => {
    let root = node;
    for (let next = parents.get(root); next !== undefined && next !== root; next = parents.get(root)) root = next;
    return root;
  };
  for (const { entry_id: entryId, record } of rows)
    for (const key of claimsOfRecord(record)) parents.set(rootOf(key), rootOf(entryId));
  return [...Map.groupBy(rows, (row) => rootOf(row.entry_id)).values()].map((members) => ({
    entries: members.map((row) => row.entry_id),
    cases: [...new Set(members.flatMap((row) => row.conflict_id ?? []))],
  }));
}

describe('records that contradict each other', () => {
  test.each(sizes.flatMap((size, at) => [1, 2].map((turn) => ({ ...size, seed: 100 * at + turn }))))(
    'leave the same components contested, with one case each, in any order and chunks ($known % known, seed $seed)',
    async ({ things, seed }) => {
      const workspaces = [
        await createWorkspace(database, true),
        await createWorkspace(database, true),
        await createWorkspace(database, true),
      ];
      const submissions = submissionsOf(drawRecords(seed, things), workspaces);
      const orders = [
        submissions,
        submissions.toReversed(),
        fc.sample(fc.shuffledSubarray(submissions, { minLength: submissions.length }), { seed, numRuns: 1 })[0]!,
      ];
      const contested: string[][][] = [];
      for (const [at, order] of orders.entries()) {
        await database.pool.query(
          `truncate items, identifier_claims, workspace_claims, identifier_mentions, contributions, entries, item_merges, events,
                    conflicts, conflict_entries, conflict_participants, contested_claims, contested_items`,
        );

        await absorbInOrder(order, [7, 50, 1][at]!);

        const components = await readComponents();
        expect(components.filter(({ cases }) => cases.length > 1)).toEqual([]);
        expect(await findBrokenRules(database)).toEqual([]);
        contested.push(components.filter(({ cases }) => cases.length === 1).map(({ entries }) => entries));
      }
      expect(contested[0]!.length).toBeGreaterThan(0);
      expect(contested[1]).toEqual(contested[0]);
      expect(contested[2]).toEqual(contested[0]);
      expect(absorber.obstacles.deadlocks).toBe(0);
    },
    60_000,
  );
});
