import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { openDatabase, type Database } from '#platform/database.ts';
import { createTestDatabase, type TestDatabase } from '../../testing/database.ts';
import {
  beginTransaction,
  computeOutcome,
  createWorkspace,
  emptyIdentityTables,
  findBrokenRules,
  makeAbsorber,
  readOutcome,
  receiptOf,
  waitUntilBlocked,
  type Absorber,
  type TestRecord,
  type TestWorkspace,
} from '../../testing/deduplication.ts';
import { ContentionError } from './absorption.ts';

const lanes = 8;

let testDatabase: TestDatabase;
let database: Database;
let absorber: Absorber;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  database = openDatabase({ url: testDatabase.url, poolSize: lanes + 4, applicationName: 'test', isWorker: true });
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
const officialChip = (number: number) => ({ identifier_type: 'rfid', value: `076${String(number).padStart(12, '0')}` });
const lot = (number: number) => ({ identifier_type: 'lote', value: `L${number}` });
const season = (name: string) => ({ identifier_type: 'safra', value: name });
const earTag = (number: number) => ({ identifier_type: 'brinco', value: `T${number}` });

interface RecordDraft {
  identifiers: object[];
  metadata?: object;
  occurred_at?: string;
  value_chain?: string;
  events?: object[];
}

const record = (identifiers: object[], rest: Omit<RecordDraft, 'identifiers'> = {}): RecordDraft => ({
  identifiers,
  ...rest,
});

async function absorbOne(workspace: TestWorkspace, ...records: object[]) {
  return absorber.absorb(workspace, receiptOf(...records));
}

async function query<Row extends object>(text: string, values: unknown[] = []): Promise<Row[]> {
  return (await database.pool.query<Row>(text, values)).rows;
}

const claimTypesOwned = async () =>
  (await query<{ claim: string }>(`select identifier_type || ' ' || value as claim from identifier_claims`))
    .map((row) => row.claim)
    .toSorted();

const liveItems = async () =>
  (
    await query<{ item_number: number }>('select item_number from items where merged_into is null order by item_number')
  ).map((row) => row.item_number);

const contributionsOf = (workspace: TestWorkspace) =>
  query<{ item_number: number; version: number; updated_at: Date; state: { fields: Record<string, [unknown]> } }>(
    `select item_number, version, updated_at, state from contributions join items using (item_number)
     where workspace_id = $1 and merged_into is null order by item_number`,
    [workspace.id],
  );

/** Runs `first` up to its commit, lets `second` run into its locks, commits the first and gives what became of the second. */
async function race(
  first: { workspace: TestWorkspace; records: object[] },
  second: { workspace: TestWorkspace; records: object[] },
) {
  const one = await beginTransaction(database);
  await absorber.absorbWithin(one.client, first.workspace, receiptOf(...first.records));
  const other = await beginTransaction(database);
  const records = receiptOf(...second.records);
  const attempt = absorber.absorbWithin(other.client, second.workspace, records).then(
    (verdicts) => ({ verdicts, error: undefined }),
    (error: unknown) => ({ verdicts: undefined, error }),
  );
  await waitUntilBlocked(database, other.backendPid);
  await one.commit();
  const { verdicts, error } = await attempt;
  if (verdicts) {
    await other.commit();
    return { verdicts, wasTriedAgain: false };
  }
  await other.rollback();
  if (!(error instanceof ContentionError)) throw error;
  return { verdicts: await absorber.absorb(second.workspace, records), wasTriedAgain: true };
}

interface Submission {
  workspace: TestWorkspace;
  record: TestRecord;
}

/** Works receipts in chunks of random sizes, cut without regard to receipts, on several connections at a time. */
async function absorbConcurrently(submissions: readonly Submission[], chunkSizes: readonly number[]) {
  const waiting: { workspace: TestWorkspace; records: TestRecord[] }[] = [];
  for (const own of Map.groupBy(submissions, ({ workspace }) => workspace).values()) {
    for (let from = 0, turn = 0; from < own.length; turn += 1) {
      const size = chunkSizes[turn % chunkSizes.length]!;
      waiting.push({
        workspace: own[0]!.workspace,
        records: own.slice(from, from + size).map((submission) => submission.record),
      });
      from += size;
    }
  }
  const lane = async () => {
    for (let chunk = waiting.shift(); chunk; chunk = waiting.shift()) {
      await absorber.absorb(chunk.workspace, chunk.records);
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
}

/** What is random about one record; which identifiers the numbers mean is up to the test. */
const drafts = fc.array(
  fc.record({
    workspace: fc.nat(1),
    thing: fc.nat(9),
    names: fc.subarray(['sisbov', 'chip', 'official', 'lot'] as const, { minLength: 1 }),
    otherThing: fc.nat(9),
    isContradictory: fc.integer({ min: 0, max: 9 }).map((number) => number === 0),
    fields: fc.record({ weight: fc.nat(3), farm: fc.constantFrom('A', 'B') }, { requiredKeys: [] }),
    second: fc.option(fc.nat(5)),
    event: fc.option(fc.nat(2), { freq: 4 }),
  }),
  { minLength: 150, maxLength: 200 },
);

const scenario = drafts.chain((all) =>
  fc.record({
    all: fc.constant(all),
    order: fc.shuffledSubarray([...all.keys()], { minLength: all.length }),
    chunkSizes: fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 10 }),
  }),
);

type Draft = ReturnType<typeof sampleScenario>['all'][number];

function sampleScenario(seed: number) {
  return fc.sample(scenario, { seed, numRuns: 1 })[0]!;
}

function identifiersOf(thing: number, names: readonly string[]) {
  return names.flatMap((name) => {
    if (name === 'sisbov') return [sisbov(thing)];
    if (name === 'chip') return [chip(thing)];
    if (name === 'official') return [officialChip(thing)];
    return [lot(thing), season('2024/2025')];
  });
}

function jsonOf({ fields, second, event, thing }: Draft, identifiers: object[]): RecordDraft {
  return record(identifiers, {
    value_chain: 'SOY',
    metadata: fields,
    ...(second === null ? {} : { occurred_at: `2025-01-01T00:00:0${second}Z` }),
    ...(event === null
      ? {}
      : { events: [{ event_type: 'weighed', event_key: `${thing}-${event}`, payload: { event } }] }),
  });
}

function submissionsOf(
  { all, order }: ReturnType<typeof sampleScenario>,
  workspaces: readonly TestWorkspace[],
  identify: (draft: Draft) => object[],
): Submission[] {
  const submissions = all.map((draft) => ({
    workspace: workspaces[draft.workspace]!,
    record: receiptOf(jsonOf(draft, identify(draft)))[0]!,
  }));
  return order.map((index) => submissions[index]!);
}

describe('eight transactions at a time', () => {
  test.each([11, 12, 13, 14])(
    'bring records of two trusted workspaces to the partition and values of the sequential model (seed %i)',
    async (seed) => {
      const sample = sampleScenario(seed);
      const workspaces = [await createWorkspace(database, true), await createWorkspace(database, true)];
      const submissions = submissionsOf(sample, workspaces, ({ thing, names }) => identifiersOf(thing, names));

      await absorbConcurrently(submissions, sample.chunkSizes);

      expect(await readOutcome(database)).toEqual(computeOutcome(submissions));
      expect(await findBrokenRules(database)).toEqual([]);
      expect(await query('select count(*) as entries from entries')).toEqual([{ entries: submissions.length }]);
      expect(absorber.obstacles.deadlocks).toBe(0);
    },
  );

  test.each([21, 22, 23])(
    'bring records of strangers, who share some animals and link only their own, to that of the model (seed %i)',
    async (seed) => {
      const sample = sampleScenario(seed);
      const workspaces = [await createWorkspace(database), await createWorkspace(database)];
      const submissions = submissionsOf(sample, workspaces, ({ workspace, thing, names }) =>
        thing < 4
          ? identifiersOf(thing, [...new Set(['sisbov', ...names])])
          : identifiersOf(100 * (workspace + 1) + thing, names),
      );

      await absorbConcurrently(submissions, sample.chunkSizes);

      expect(await readOutcome(database)).toEqual(computeOutcome(submissions));
      expect(await findBrokenRules(database)).toEqual([]);
      expect(absorber.obstacles.deadlocks).toBe(0);
    },
  );

  test.each([31, 32, 33])(
    'keep every rule when some records contradict others and two strangers link freely (seed %i)',
    async (seed) => {
      const sample = sampleScenario(seed);
      const workspaces = [await createWorkspace(database), await createWorkspace(database)];
      const submissions = submissionsOf(sample, workspaces, ({ thing, names, isContradictory, otherThing }) => [
        ...identifiersOf(thing, names),
        ...(isContradictory ? identifiersOf(otherThing, ['sisbov', 'chip']) : []),
      ]);

      await absorbConcurrently(submissions, sample.chunkSizes);

      expect(await findBrokenRules(database)).toEqual([]);
      expect(await query('select count(*) as entries from entries')).toEqual([{ entries: submissions.length }]);
      expect(absorber.obstacles.deadlocks).toBe(0);
    },
  );
});

describe('two transactions that meet', () => {
  test('at an identifier that is new to both make one item of it, created once', async () => {
    const workspace = await createWorkspace(database);

    const { verdicts } = await race(
      { workspace, records: [record([sisbov(1)])] },
      { workspace, records: [record([sisbov(1), chip(1)]), record([sisbov(2)])] },
    );

    expect(verdicts.map((verdict) => verdict.outcome)).toEqual(['enriched', 'created']);
    expect(await liveItems()).toHaveLength(2);
    expect(await findBrokenRules(database)).toEqual([]);
  });

  test('at the same new identifier of an item that exists both add to it', async () => {
    const workspace = await createWorkspace(database);
    await absorbOne(workspace, record([sisbov(1)]));

    const { verdicts } = await race(
      { workspace, records: [record([sisbov(1), chip(1)])] },
      { workspace, records: [record([sisbov(1), chip(1)], { metadata: { weight: 1 } })] },
    );

    expect(verdicts.map((verdict) => verdict.outcome)).toEqual(['enriched']);
    expect(await claimTypesOwned()).toEqual(['chip 982000000000001', 'sisbov 105000000000001']);
    expect(await findBrokenRules(database)).toEqual([]);
  });

  test('at a merge write nothing to the item that was merged away', async () => {
    const workspace = await createWorkspace(database);
    await absorbOne(workspace, record([sisbov(1)]), record([chip(1)]));

    const { verdicts, wasTriedAgain } = await race(
      { workspace, records: [record([sisbov(1), chip(1)])] },
      { workspace, records: [record([chip(1)], { metadata: { weight: 2 } })] },
    );

    expect(wasTriedAgain).toBe(true);
    expect(verdicts.map((verdict) => verdict.outcome)).toEqual(['enriched']);
    const [contribution, ...others] = await contributionsOf(workspace);
    expect(others).toEqual([]);
    expect(contribution!.state.fields['weight']![0]).toBe(2);
    expect(await findBrokenRules(database)).toEqual([]);
  });

  test('at an item to which both give a number of which it has one: the second conflicts and owns nothing', async () => {
    const workspace = await createWorkspace(database);
    await absorbOne(workspace, record([chip(1)]));

    const { verdicts } = await race(
      { workspace, records: [record([chip(1), sisbov(1)])] },
      { workspace, records: [record([chip(1), sisbov(2)])] },
    );

    expect(verdicts).toEqual([{ status: 'conflicted', outcome: 'conflict' }]);
    expect(await claimTypesOwned()).toEqual(['chip 982000000000001', 'sisbov 105000000000001']);
    expect(await findBrokenRules(database)).toEqual([]);
  });

  test('and of which the first is rolled back leave no trace of the first', async () => {
    const workspace = await createWorkspace(database);
    const one = await beginTransaction(database);
    await absorber.absorbWithin(one.client, workspace, receiptOf(record([sisbov(1)])));
    const other = await beginTransaction(database);
    const attempt = absorber.absorbWithin(other.client, workspace, receiptOf(record([sisbov(1)])));
    await waitUntilBlocked(database, other.backendPid);

    await one.rollback();

    expect(await attempt).toEqual([{ status: 'completed', outcome: 'created' }]);
    await other.commit();
    expect(await liveItems()).toHaveLength(1);
    expect(await findBrokenRules(database)).toEqual([]);
  });

  test('never take from each other a claim that the first made for the item both mean', async () => {
    const workspace = await createWorkspace(database);
    await absorbOne(workspace, record([chip(1)]), record([chip(2)]));

    // The second names the number that the first adds, and a second chip, so that it conflicts.
    const { verdicts } = await race(
      { workspace, records: [record([chip(1), sisbov(1)])] },
      { workspace, records: [record([chip(1), sisbov(1), chip(3)])] },
    );

    expect(verdicts[0]!.status).toBe('conflicted');
    expect(await claimTypesOwned()).toContain('sisbov 105000000000001');
    expect(await claimTypesOwned()).not.toContain('chip 982000000000003');
    expect(await findBrokenRules(database)).toEqual([]);
  });
});

describe('a record that joins items', () => {
  test('is an enrichment, names itself in the merge and leaves flat pointers along a chain of merges', async () => {
    const workspace = await createWorkspace(database);
    await absorbOne(workspace, record([sisbov(1)]), record([chip(1)]), record([officialChip(1)]));
    const numbers = await liveItems();

    const first = receiptOf(record([chip(1), officialChip(1)]));
    const second = receiptOf(record([sisbov(1), officialChip(1)]), record([chip(1)]));
    const verdicts = [...(await absorber.absorb(workspace, first)), ...(await absorber.absorb(workspace, second))];

    expect(verdicts.map((verdict) => verdict.outcome)).toEqual(['enriched', 'enriched', 'duplicate']);
    expect(await query('select survivor, loser, entry_id, moved_items from item_merges order by loser desc')).toEqual([
      { survivor: numbers[1], loser: numbers[2], entry_id: first[0]!.entryId, moved_items: [] },
      { survivor: numbers[0], loser: numbers[1], entry_id: second[0]!.entryId, moved_items: [String(numbers[2])] },
    ]);
    expect(await liveItems()).toEqual([numbers[0]]);
    expect(await findBrokenRules(database)).toEqual([]);
  });

  test('tells the same of merges whether they come in one chunk or in several', async () => {
    const workspace = await createWorkspace(database);
    await absorbOne(workspace, record([sisbov(1)]), record([chip(1)]), record([officialChip(1)]));
    const numbers = await liveItems();

    const links = receiptOf(
      record([chip(1), officialChip(1)]),
      record([sisbov(1), officialChip(1)]),
      record([chip(1)]),
    );
    const verdicts = await absorber.absorb(workspace, links);

    expect(verdicts.map((verdict) => verdict.outcome)).toEqual(['enriched', 'enriched', 'duplicate']);
    expect(await query('select survivor, loser, entry_id, moved_items from item_merges order by loser desc')).toEqual([
      { survivor: numbers[1], loser: numbers[2], entry_id: links[0]!.entryId, moved_items: [] },
      { survivor: numbers[0], loser: numbers[1], entry_id: links[1]!.entryId, moved_items: [String(numbers[2])] },
    ]);
    expect(await findBrokenRules(database)).toEqual([]);
  });

  test('that only now turn out to be one, all new, is an enrichment of the one item', async () => {
    const workspace = await createWorkspace(database);

    const verdicts = await absorbOne(workspace, record([sisbov(1)]), record([chip(1)]), record([sisbov(1), chip(1)]));

    expect(verdicts.map((verdict) => verdict.outcome)).toEqual(['created', 'enriched', 'enriched']);
    expect(await liveItems()).toHaveLength(1);
    expect(await findBrokenRules(database)).toEqual([]);
  });

  test('of which one is contradicted joins neither and takes no new identifier', async () => {
    const workspace = await createWorkspace(database);
    await absorbOne(workspace, record([sisbov(1), chip(1)]), record([sisbov(2)]));

    const verdicts = await absorbOne(
      workspace,
      record([sisbov(1), sisbov(2), officialChip(9)]),
      record([officialChip(9)]),
      record([sisbov(1), chip(2), lot(1)]),
    );

    expect(verdicts.map((verdict) => verdict.outcome)).toEqual(['conflict', 'created', 'conflict']);
    expect(await liveItems()).toHaveLength(3);
    expect(await claimTypesOwned()).not.toContain('chip 982000000000002');
    expect(await findBrokenRules(database)).toEqual([]);
  });
});

describe('what a workspace sends', () => {
  test('changes nothing that another workspace reads: it learns the item and enriches its own view of it', async () => {
    const [ours, theirs] = [await createWorkspace(database), await createWorkspace(database)];
    await absorbOne(ours, record([sisbov(1)], { metadata: { farm: 'A' } }));
    const before = await contributionsOf(ours);

    const verdicts = await absorbOne(theirs, record([sisbov(1)], { metadata: { farm: 'stolen', owner: 'B' } }));

    expect(verdicts).toEqual([{ status: 'completed', outcome: 'enriched' }]);
    expect(await contributionsOf(ours)).toEqual(before);
    const [contribution] = await contributionsOf(theirs);
    expect(contribution!.item_number).toBe(before[0]!.item_number);
    expect(contribution!.state.fields).toEqual({ farm: ['stolen', 0, 0], owner: ['B', 0, 0] });
    expect(await findBrokenRules(database)).toEqual([]);
  });

  test('cannot join two items of another workspace', async () => {
    const [ours, theirs] = [await createWorkspace(database), await createWorkspace(database)];
    await absorbOne(ours, record([sisbov(1)], { metadata: { farm: 'A' } }), record([chip(1)]));
    const before = await contributionsOf(ours);

    const verdicts = await absorbOne(theirs, record([sisbov(1), chip(1)], { metadata: { farm: 'B' } }));

    expect(verdicts).toEqual([{ status: 'conflicted', outcome: 'conflict' }]);
    expect(await contributionsOf(ours)).toEqual(before);
    expect(await contributionsOf(theirs)).toEqual([]);
    expect(await query('select * from item_merges')).toEqual([]);
    expect(await query('select item_number, event_type from events where workspace_id = $1', [theirs.id])).toEqual([
      { item_number: null, event_type: 'conflict_opened' },
    ]);
    expect(await findBrokenRules(database)).toEqual([]);
  });

  test('leads only itself from an identifier that it adds to an item of others', async () => {
    const [ours, theirs] = [await createWorkspace(database), await createWorkspace(database)];
    await absorbOne(ours, record([sisbov(1)]));

    await absorbOne(theirs, record([sisbov(1), chip(1)]));
    await absorbOne(ours, record([chip(1)]));
    const verdicts = await absorbOne(theirs, record([chip(1)]));

    expect(await contributionsOf(ours)).toHaveLength(2);
    expect(verdicts).toEqual([{ status: 'conflicted', outcome: 'conflict' }]);
    expect(await findBrokenRules(database)).toEqual([]);
  });

  test('comes back to the item by an identifier that it added itself', async () => {
    const [ours, theirs] = [await createWorkspace(database), await createWorkspace(database)];
    await absorbOne(ours, record([sisbov(1)]));
    await absorbOne(theirs, record([sisbov(1), chip(1)]));

    const verdicts = await absorbOne(theirs, record([chip(1)], { metadata: { weight: 1 } }));

    expect(verdicts).toEqual([{ status: 'completed', outcome: 'enriched' }]);
    expect(await liveItems()).toHaveLength(1);
    expect(await findBrokenRules(database)).toEqual([]);
  });

  test('cannot join two of our animals by having named both before us', async () => {
    const [ours, theirs] = [await createWorkspace(database), await createWorkspace(database)];
    await absorbOne(theirs, record([sisbov(1), chip(1)]));

    const verdicts = [...(await absorbOne(ours, record([sisbov(1)]))), ...(await absorbOne(ours, record([chip(1)])))];

    expect(verdicts.map((verdict) => verdict.status)).toEqual(['completed', 'conflicted']);
    expect(await findBrokenRules(database)).toEqual([]);
  });

  test('joins items of others when an administrator trusts it, and each keeps its own values', async () => {
    const [ours, trusted] = [await createWorkspace(database), await createWorkspace(database, true)];
    await absorbOne(
      ours,
      record([sisbov(1)], { metadata: { farm: 'A' } }),
      record([chip(1)], { metadata: { weight: 7 } }),
    );

    const verdicts = await absorbOne(trusted, record([sisbov(1), chip(1)], { metadata: { farm: 'B' } }));

    expect(verdicts).toEqual([{ status: 'completed', outcome: 'enriched' }]);
    const [contribution, ...others] = await contributionsOf(ours);
    expect(others).toEqual([]);
    const values = Object.entries(contribution!.state.fields).map(([name, [value]]) => [name, value]);
    expect(Object.fromEntries(values)).toEqual({ farm: 'A', weight: 7 });
    expect(await findBrokenRules(database)).toEqual([]);
  });

  test('twice makes no new version', async () => {
    const workspace = await createWorkspace(database);
    const content = record([sisbov(1)], { metadata: { farm: 'A' } });
    await absorbOne(workspace, content);
    const before = await contributionsOf(workspace);

    const verdicts = await absorbOne(workspace, content, content);

    expect(verdicts.map((verdict) => verdict.outcome)).toEqual(['duplicate', 'duplicate']);
    const [after] = await contributionsOf(workspace);
    expect([after!.version, after!.updated_at]).toEqual([before[0]!.version, before[0]!.updated_at]);
  });

  test('makes one version of an item however many of its records come in a chunk', async () => {
    const workspace = await createWorkspace(database);
    await absorbOne(workspace, record([sisbov(1)]));

    await absorbOne(workspace, ...[1, 2, 3].map((weight) => record([sisbov(1)], { metadata: { weight } })));

    expect((await contributionsOf(workspace))[0]!.version).toBe(2);
  });
});

describe('contextual identifiers', () => {
  const soyLot = (identifiers: object[]) => record(identifiers, { value_chain: 'SOY' });

  test('match as a complete set within one workspace', async () => {
    const workspace = await createWorkspace(database);
    await absorbOne(workspace, soyLot([lot(1), season('2024/2025')]));

    const verdicts = await absorbOne(workspace, soyLot([season('2024/2025'), lot(1)]));

    expect(verdicts.map((verdict) => verdict.outcome)).toEqual(['duplicate']);
  });

  test.each([
    ['of another workspace', true, soyLot([lot(1), season('2024/2025')])],
    ['of another season', false, soyLot([lot(1), season('2023/2024')])],
    ['without its season', false, soyLot([lot(1)])],
    ['with two lots', false, soyLot([lot(1), lot(2), season('2024/2025')])],
    ['of a chain without the rule', false, record([lot(1), season('2024/2025')], { value_chain: 'COTTON' })],
  ])('never match a set %s', async (_name, isOfOther, other) => {
    const [workspace, stranger] = [await createWorkspace(database), await createWorkspace(database)];
    await absorbOne(workspace, soyLot([lot(1), season('2024/2025')]));

    const verdicts = await absorbOne(isOfOther ? stranger : workspace, other);

    expect(verdicts.map((verdict) => verdict.outcome)).toEqual(['created']);
    expect(await liveItems()).toHaveLength(2);
  });

  test('of cattle never match: an ear tag alone is a new animal each time, found by search', async () => {
    const workspace = await createWorkspace(database);

    await absorbOne(workspace, record([earTag(7)]), record([earTag(7)]));

    const items = await liveItems();
    expect(items).toHaveLength(2);
    expect(await query('select item_number from identifier_mentions order by item_number')).toEqual(
      items.map((item_number) => ({ item_number })),
    );
  });
});

describe('events of records', () => {
  const weighed = (rest: object) => ({ event_type: 'weighed', payload: { kg: 400 }, ...rest });
  const countWeighings = async () =>
    (await query<{ count: number }>(`select count(*)::int8 as count from events where event_type = 'weighed'`))[0]!
      .count;

  const sendTwice = async (first: object, second: object) => {
    const workspace = await createWorkspace(database);
    await absorbOne(workspace, record([sisbov(1)], { events: [weighed(first)] }));
    const [verdict] = await absorbOne(workspace, record([sisbov(1)], { events: [weighed(second)] }));
    return { outcome: verdict!.outcome, weighings: await countWeighings() };
  };

  const time = '2025-01-01T00:00:00Z';

  test.each([
    ['key, whatever the rest says', { event_key: 'k' }, { event_key: 'k', payload: { kg: 500 } }],
    ['time, type and payload', { occurred_at: time }, { occurred_at: '2025-01-01T00:00:00.000Z' }],
  ])('are one with the same %s', async (_name, first, second) => {
    expect(await sendTwice(first, second)).toEqual({ outcome: 'duplicate', weighings: 1 });
  });

  test.each([
    ['other keys', { event_key: 'k' }, { event_key: 'l' }],
    ['other times', { occurred_at: time }, { occurred_at: '2025-01-01T00:00:01Z' }],
    ['other payloads', { occurred_at: time }, { occurred_at: time, payload: { kg: 500 } }],
    ['neither key nor time', {}, {}],
  ])('are two with %s', async (_name, first, second) => {
    expect(await sendTwice(first, second)).toEqual({ outcome: 'enriched', weighings: 2 });
  });

  test('are one within one chunk too', async () => {
    const workspace = await createWorkspace(database);
    const content = record([sisbov(1)], { events: [weighed({ event_key: 'k' })] });

    const verdicts = await absorbOne(workspace, content, content);

    expect(await countWeighings()).toBe(1);
    expect(verdicts.map((verdict) => verdict.outcome)).toEqual(['created', 'duplicate']);
  });

  test('stay one when their item becomes another, before and by the record that repeats them', async () => {
    const workspace = await createWorkspace(database);
    const events = [weighed({ event_key: 'k' })];
    await absorbOne(workspace, record([sisbov(1)]), record([chip(1)], { events }));

    const linking = await absorbOne(workspace, record([sisbov(1), chip(1)], { events }));
    const later = await absorbOne(workspace, record([sisbov(1)], { events }));

    expect(await countWeighings()).toBe(1);
    expect([...linking, ...later].map((verdict) => verdict.outcome)).toEqual(['enriched', 'duplicate']);
  });

  test('of two workspaces with the same key are two', async () => {
    const [ours, theirs] = [await createWorkspace(database), await createWorkspace(database)];
    const content = record([sisbov(1)], { events: [weighed({ event_key: 'k' })] });

    await absorbOne(ours, content);
    await absorbOne(theirs, content);

    expect(await countWeighings()).toBe(2);
  });
});

describe('a refused record', () => {
  test('owns nothing and costs its neighbours nothing', async () => {
    const workspace = await createWorkspace(database);

    const verdicts = await absorbOne(
      workspace,
      record([sisbov(1)]),
      record([chip(1)], { value_chain: 'GOLD' }),
      record([{ identifier_type: 'cpf', value: '111.444.777-35' }]),
      record([sisbov(2)]),
    );

    expect(verdicts.map((verdict) => verdict.status)).toEqual(['completed', 'rejected', 'rejected', 'completed']);
    expect(await claimTypesOwned()).toEqual(['sisbov 105000000000001', 'sisbov 105000000000002']);
    expect(await findBrokenRules(database)).toEqual([]);
  });

  test('by the database is told by its own error, not by that of the statements after it', async () => {
    const workspace = await createWorkspace(database);
    await query(`create function refuse_marked() returns trigger language plpgsql as $$ begin
      if new.record::text like '%unspeakable%' then raise exception 'marked' using errcode = '22000'; end if; return new; end $$`);
    await query('create trigger refuse_marked before insert on entries for each row execute function refuse_marked()');

    const attempt = absorbOne(workspace, record([sisbov(1)], { metadata: { word: 'unspeakable' } }));

    await expect(attempt).rejects.toMatchObject({ code: '22000' });
    await query('drop function refuse_marked cascade');
    expect(await liveItems()).toEqual([]);
  });
});
