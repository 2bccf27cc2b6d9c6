import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
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

let testDatabase: TestDatabase;
let database: Database;
let absorber: Absorber;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  database = openDatabase({ url: testDatabase.url, poolSize: 8, applicationName: 'test', isWorker: true });
  absorber = makeAbsorber(database);
});

beforeEach(() => emptyIdentityTables(database));

afterAll(async () => {
  await absorber.close();
  await database.close();
  await testDatabase.drop();
});

const sisbov = (number: number) => ({ identifier_type: 'sisbov', value: `BR${String(number).padStart(12, '0')}` });
const chip = (number: number) => ({ identifier_type: 'chip', value: `982${String(number).padStart(12, '0')}` });
const replaced = (old: object, next: object, rest: object = {}) => ({
  event_type: 'identifier_replaced',
  payload: { old, new: next },
  ...rest,
});

async function query<Row extends object>(text: string, values: unknown[] = []): Promise<Row[]> {
  return (await database.pool.query<Row>(text, values)).rows;
}

async function absorbOne(workspace: TestWorkspace, ...records: object[]) {
  return absorber.absorb(workspace, receiptOf(...records));
}

const statusOf = async ({ entryId }: TestRecord) =>
  (
    await query<{ status: string; outcome: string }>('select status, outcome from entries where entry_id = $1', [
      entryId,
    ])
  )[0]!;

const itemsOf = async (records: readonly TestRecord[]) =>
  (
    await query<{ item_number: number }>(
      `select distinct coalesce(merged_into, item_number) as item_number from entries join items using (item_number)
       where entry_id = any($1::uuid[])`,
      [records.map(({ entryId }) => entryId)],
    )
  ).map((row) => row.item_number);

const endedClaims = async () =>
  (await query<{ value: string }>('select value from identifier_claims where ended_at is not null order by value')).map(
    ({ value }) => value,
  );

const openCases = () => query(`select conflict_id from conflicts where status = 'open'`);

describe('a record that tells of a replaced identifier', () => {
  test('ties the record, the old identifier and the new one to one item, and ends the old one', async () => {
    const workspace = await createWorkspace(database);
    const told = receiptOf({
      identifiers: [sisbov(1)],
      events: [replaced(chip(1), chip(2), { occurred_at: '2025-03-01T00:00:00Z' })],
    });
    const later = receiptOf({ identifiers: [chip(1)] }, { identifiers: [chip(2)] }, { identifiers: [sisbov(1)] });

    await absorber.absorb(workspace, told);
    await absorber.absorb(workspace, later);

    expect(await itemsOf([...told, ...later])).toHaveLength(1);
    expect(await query('select value, ended_at, ended_by from identifier_claims where ended_at is not null')).toEqual([
      { value: '982000000000001', ended_at: new Date('2025-03-01T00:00:00Z'), ended_by: told[0]!.entryId },
    ]);
    expect(await findBrokenRules(database)).toEqual([]);
  });

  test('never lets another item have the old identifier', async () => {
    const workspace = await createWorkspace(database);
    await absorbOne(workspace, { identifiers: [sisbov(1)], events: [replaced(chip(1), chip(2))] });

    const verdicts = await absorbOne(workspace, { identifiers: [sisbov(2), chip(1)] });

    expect(verdicts).toEqual([{ status: 'conflicted', outcome: 'conflict' }]);
    expect(await findBrokenRules(database)).toEqual([]);
  });

  test('that comes later frees what waited for it, and closes the case', async () => {
    const workspace = await createWorkspace(database);
    const [first, second] = [
      receiptOf({ identifiers: [sisbov(1), chip(1)] }),
      receiptOf({ identifiers: [sisbov(1), chip(2)], metadata: { weight: 3 }, events: [{ event_type: 'weighed' }] }),
    ];
    await absorber.absorb(workspace, first);
    expect(await absorber.absorb(workspace, second)).toEqual([{ status: 'conflicted', outcome: 'conflict' }]);

    await absorbOne(workspace, { identifiers: [], events: [replaced(chip(1), chip(2))] });

    expect(await statusOf(second[0]!)).toEqual({ status: 'completed', outcome: 'enriched' });
    expect(await itemsOf([...first, ...second])).toHaveLength(1);
    expect(await query(`select count(*)::int8 as count from events where event_type = 'weighed'`)).toEqual([
      { count: 1 },
    ]);
    expect(await openCases()).toEqual([]);
    expect(await query('select * from case_retries')).toEqual([]);
    expect(await findBrokenRules(database)).toEqual([]);
  });

  test('leaves waiting what it does not free, in the same open case', async () => {
    const workspace = await createWorkspace(database);
    await absorbOne(workspace, { identifiers: [sisbov(1), chip(1)] });
    const [freed, stuck] = receiptOf({ identifiers: [sisbov(1), chip(2)] }, { identifiers: [sisbov(1), chip(3)] });
    await absorber.absorb(workspace, [freed!, stuck!]);

    await absorbOne(workspace, { identifiers: [sisbov(1)], events: [replaced(chip(1), chip(2))] });

    expect((await statusOf(freed!)).status).toBe('completed');
    expect((await statusOf(stuck!)).status).toBe('conflicted');
    expect(await openCases()).toHaveLength(1);
    expect(await findBrokenRules(database)).toEqual([]);
  });

  test('needs no case when it comes in the chunk of what it frees', async () => {
    const workspace = await createWorkspace(database);

    const verdicts = await absorbOne(
      workspace,
      { identifiers: [sisbov(1), chip(1)] },
      { identifiers: [sisbov(1), chip(3)] },
      { identifiers: [], events: [replaced(chip(2), chip(3))] },
      { identifiers: [], events: [replaced(chip(1), chip(2))] },
    );

    expect(verdicts.map(({ outcome }) => outcome)).toEqual(['created', 'enriched', 'enriched', 'enriched']);
    expect(await query('select * from conflicts')).toEqual([]);
    expect(await endedClaims()).toEqual(['982000000000001', '982000000000002']);
    expect(await findBrokenRules(database)).toEqual([]);
  });

  test('is believed together with another that only the two make free of contradiction', async () => {
    const workspace = await createWorkspace(database);
    const records = [
      receiptOf({ identifiers: [sisbov(1), chip(1)] }),
      receiptOf({ identifiers: [sisbov(2)], events: [replaced(chip(1), chip(2))] }),
      receiptOf({ identifiers: [chip(2)], events: [replaced(sisbov(1), sisbov(2))] }),
    ];

    for (const record of records) await absorber.absorb(workspace, record);

    expect(await itemsOf(records.flat())).toHaveLength(1);
    for (const [record] of records) expect((await statusOf(record!)).status).toBe('completed');
    expect(await openCases()).toEqual([]);
    expect(await findBrokenRules(database)).toEqual([]);
  });
});

describe('who may end an identifier', () => {
  test.each([
    ['a stranger', false, 'conflicted', []],
    ['a workspace that an administrator trusts', true, 'completed', ['982000000000001']],
  ])('of an item of others: %s', async (_name, isTrusted, status, ended) => {
    const [ours, theirs] = [await createWorkspace(database), await createWorkspace(database, isTrusted)];
    await absorbOne(ours, { identifiers: [sisbov(1), chip(1)] });

    const [verdict] = await absorbOne(theirs, { identifiers: [sisbov(1)], events: [replaced(chip(1), chip(2))] });

    expect(verdict!.status).toBe(status);
    expect(await endedClaims()).toEqual(ended);
    expect(await findBrokenRules(database)).toEqual([]);
  });

  test('whoever may, what waited of others is free too', async () => {
    const [ours, theirs] = [await createWorkspace(database), await createWorkspace(database)];
    await absorbOne(ours, { identifiers: [sisbov(1), chip(1)] });
    const [waiting] = receiptOf({ identifiers: [sisbov(1), chip(2)], metadata: { weight: 2 } });
    expect((await absorber.absorb(theirs, [waiting!]))[0]!.status).toBe('conflicted');

    await absorbOne(ours, { identifiers: [sisbov(1)], events: [replaced(chip(1), chip(2))] });

    expect(await statusOf(waiting!)).toEqual({ status: 'completed', outcome: 'enriched' });
    expect(
      await query('select workspace_id from contributions where state -> $1 -> $2 is not null', ['fields', 'weight']),
    ).toEqual([{ workspace_id: theirs.id }]);
    expect(await openCases()).toEqual([]);
    expect(await findBrokenRules(database)).toEqual([]);
  });

  test('a stranger may repeat what was ended before, and end nothing else with it', async () => {
    const [ours, theirs] = [await createWorkspace(database), await createWorkspace(database)];
    await absorbOne(ours, { identifiers: [sisbov(1)], events: [replaced(chip(1), chip(2))] });

    const verdicts = await absorbOne(
      theirs,
      { identifiers: [sisbov(1), chip(1)], events: [replaced(chip(1), chip(2))] },
      { identifiers: [sisbov(1), chip(1)], events: [replaced(chip(2), chip(1))] },
    );

    expect(verdicts.map(({ status }) => status)).toEqual(['completed', 'conflicted']);
    expect(await endedClaims()).toEqual(['982000000000001']);
    expect(await findBrokenRules(database)).toEqual([]);
  });
});

/** Animals: their chips one after the other, and records that name what was on them at one time or another. */
const lives = (sisbovsMax: number) =>
  fc
    .array(
      fc.record({
        chips: fc.integer({ min: 1, max: 4 }),
        sisbovs: fc.integer({ min: 1, max: sisbovsMax }),
        records: fc.array(
          fc.record({
            chip: fc.option(fc.nat(3)),
            sisbov: fc.option(fc.nat(1)),
            weight: fc.nat(3),
            second: fc.option(fc.nat(5)),
          }),
          { maxLength: 8 },
        ),
        isNamed: fc.boolean(),
        isTrustedOther: fc.array(fc.boolean(), { minLength: 16, maxLength: 16 }),
      }),
      { minLength: 1, maxLength: 3 },
    )
    .chain((animals) => {
      const all = animals.flatMap((animal, at) => recordsOf(animal, at));
      return fc.record({
        all: fc.constant(all),
        order: fc.shuffledSubarray([...all.keys()], { minLength: all.length, maxLength: all.length }),
        chunkSizes: fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 5 }),
      });
    });

interface AnimalDraft {
  chips: number;
  sisbovs: number;
  isNamed: boolean;
  isTrustedOther: boolean[];
  records: { chip: number | null; sisbov: number | null; weight: number; second: number | null }[];
}

function recordsOf(animal: AnimalDraft, at: number): { isOther: boolean; json: object }[] {
  const chipOf = (number: number) => chip(10 * at + (number % animal.chips));
  const sisbovOf = (number: number) => sisbov(10 * at + (number % animal.sisbovs));
  const last = (of: number) => of - 1;
  const links = [
    { identifiers: [chipOf(last(animal.chips)), sisbovOf(last(animal.sisbovs))] },
    ...Array.from({ length: animal.chips - 1 }, (_none, number) => ({
      identifiers: animal.isNamed ? [sisbovOf(number)] : [],
      events: [replaced(chipOf(number), chipOf(number + 1))],
    })),
    ...Array.from({ length: animal.sisbovs - 1 }, (_none, number) => ({
      identifiers: animal.isNamed ? [chipOf(number + 1)] : [],
      events: [replaced(sisbovOf(number), sisbovOf(number + 1), { occurred_at: '2025-02-01T00:00:00Z' })],
    })),
  ];
  const told = animal.records.flatMap(({ chip: chipNumber, sisbov: sisbovNumber, weight, second }) =>
    chipNumber === null && sisbovNumber === null
      ? []
      : [
          {
            identifiers: [
              ...(chipNumber === null ? [] : [chipOf(chipNumber)]),
              ...(sisbovNumber === null ? [] : [sisbovOf(sisbovNumber)]),
            ],
            metadata: { weight },
            ...(second === null ? {} : { occurred_at: `2025-01-01T00:00:0${second}Z` }),
          },
        ],
  );
  return [...links, ...told].map((json, index) => ({ json, isOther: animal.isTrustedOther[index]! }));
}

describe('animals that were tagged anew several times', () => {
  test.each([
    ['in two ways at once, told by one workspace', 2, false],
    ['in two ways at once, told by two trusted workspaces', 2, true],
  ])(
    '%s, end as the same items with the same values whatever the order and chunks',
    async (_name, sisbovsMax, hasTwo) => {
      await fc.assert(
        fc.asyncProperty(lives(sisbovsMax), async ({ all, order, chunkSizes }) => {
          await emptyIdentityTables(database);
          const [one, other] = [await createWorkspace(database, hasTwo), await createWorkspace(database, hasTwo)];
          const submissions = all.map(({ json, isOther }) => ({
            workspace: hasTwo && isOther ? other : one,
            record: receiptOf(json)[0]!,
          }));
          const arriving = order.map((index) => submissions[index]!);

          for (let from = 0, turn = 0; from < arriving.length; turn += 1) {
            const size = chunkSizes[turn % chunkSizes.length]!;
            const chunk = arriving.slice(from, from + size);
            for (const workspace of [one, other]) {
              const own = chunk.filter((each) => each.workspace === workspace).map(({ record }) => record);
              if (own.length > 0) await absorber.absorb(workspace, own);
            }
            from += size;
          }

          expect(await readOutcome(database)).toEqual(computeOutcome(submissions));
          expect(await openCases()).toEqual([]);
          expect(await findBrokenRules(database)).toEqual([]);
        }),
        { numRuns: 40, endOnFailure: true },
      );
    },
    180_000,
  );

  test.each([41, 42, 43, 44])(
    'do so when six transactions tell of them at a time, and none waits for another in a circle (seed %i)',
    async (seed) => {
      const [one, other] = [await createWorkspace(database, true), await createWorkspace(database, true)];
      const { all } = fc.sample(lives(2), { seed, numRuns: 12 }).at(-1)!;
      const copies = Array.from({ length: 6 }, () =>
        all.map(({ json, isOther }) => ({ workspace: isOther ? other : one, record: receiptOf(json)[0]! })),
      );
      const submissions = copies.flat();
      const waiting = copies.map((records, lane) => [...records.slice(lane), ...records.slice(0, lane)]);

      const lane = async (records: typeof submissions) => {
        for (let from = 0; from < records.length; from += 3) {
          for (const [workspace, own] of Map.groupBy(records.slice(from, from + 3), (each) => each.workspace))
            await absorber.absorb(
              workspace,
              own.map(({ record }) => record),
            );
        }
      };
      await Promise.all(waiting.map(lane));
      // What others were in the way of is put off to a later sweep.
      await query('update case_retries set due_at = now()');
      await absorber.retryDue();

      expect(await readOutcome(database)).toEqual(computeOutcome(submissions));
      expect(await findBrokenRules(database)).toEqual([]);
      expect(
        await query('select deadlocks::int4 as deadlocks from pg_stat_database where datname = current_database()'),
      ).toEqual([{ deadlocks: 0 }]);
    },
    60_000,
  );
});
