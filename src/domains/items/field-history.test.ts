import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { openDatabase, withTransaction, type Database } from '#platform/database.ts';
import { createTestDatabase, type TestDatabase } from '../../testing/database.ts';
import {
  beginTransaction,
  createWorkspace,
  emptyIdentityTables,
  makeAbsorber,
  receiptOf,
  seedTypes,
  waitUntilBlocked,
  type Absorber,
  type TestRecord,
  type TestWorkspace,
} from '../../testing/deduplication.ts';
import { makeItemNumberSource } from './item-numbers.ts';
import { refold } from './refold/refold.ts';
import type { RefoldRequest } from './refold/refold-request.ts';

let testDatabase: TestDatabase;
let database: Database;
let absorber: Absorber;
let workspace: TestWorkspace;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  database = openDatabase({ url: testDatabase.url, poolSize: 4, applicationName: 'test', isWorker: true });
  absorber = makeAbsorber(database);
});

beforeEach(async () => {
  await emptyIdentityTables(database);
  workspace = await createWorkspace(database);
});

afterAll(async () => {
  await absorber.close();
  await database.close();
  await testDatabase.drop();
});

/** Three names that one animal may have together. */
const names = {
  sisbov: { identifier_type: 'sisbov', value: 'BR000000000001' },
  chip: { identifier_type: 'chip', value: '982000000000002' },
  sgtin: { identifier_type: 'sgtin', value: 'urn:epc:id:sgtin:7891234.056789.1' },
} as const;
type Name = keyof typeof names;

interface Draft {
  readonly names: readonly Name[];
  readonly second: number;
  readonly fields: Readonly<Record<string, unknown>>;
}

const timeAt = (second: number) => new Date(Date.UTC(2025, 0, 1) + second * 1000).toISOString();

const jsonOf = (draft: Draft) => ({
  identifiers: draft.names.map((name) => names[name]),
  occurred_at: timeAt(draft.second),
  metadata: draft.fields,
});

type Outcome = 'created' | 'enriched' | 'duplicate';

/**
 * Says what becomes of records from the whole past: what a chunk shows to be one animal is one for all its records; a
 * record is new if it names, joins or tells something that those before it in work, at its place in time, do not.
 */
class Model {
  #animals: { names: Set<Name>; entries: { draft: Draft; arrival: number }[] }[] = [];
  #arrivals = 0;

  absorb(chunk: readonly Draft[]): Outcome[] {
    const joins = chunk.map((draft) => this.#join(draft));
    return chunk.map((draft, at) => {
      const animal = this.#animals.find((each) => draft.names.some((name) => each.names.has(name)))!;
      const known = animal.entries;
      const isNewName = draft.names.some((name) => known.every((past) => !past.draft.names.includes(name)));
      const isNewValue = Object.entries(draft.fields).some(([field, value]) => {
        const before = known.filter((past) => past.draft.second <= draft.second && field in past.draft.fields);
        const [last] = before.toSorted((a, b) => b.draft.second - a.draft.second || b.arrival - a.arrival);
        return last?.draft.fields[field] !== value;
      });
      const isFirst = known.length === 0;
      known.push({ draft, arrival: (this.#arrivals += 1) });
      return isFirst ? 'created' : joins[at] || isNewName || isNewValue ? 'enriched' : 'duplicate';
    });
  }

  /** The field values of each animal. */
  values(): Record<string, unknown>[] {
    return this.#animals.map(
      ({ entries }) =>
        Object.assign(
          {},
          ...entries
            .toSorted((a, b) => a.draft.second - b.draft.second || a.arrival - b.arrival)
            .map(({ draft }) => draft.fields),
        ) as Record<string, unknown>,
    );
  }

  #join(draft: Draft): boolean {
    const touched = this.#animals.filter((animal) => draft.names.some((name) => animal.names.has(name)));
    const joined = {
      names: new Set([...draft.names, ...touched.flatMap((animal) => [...animal.names])]),
      entries: touched.flatMap((animal) => animal.entries),
    };
    this.#animals = [...this.#animals.filter((animal) => !touched.includes(animal)), joined];
    return touched.length > 1;
  }
}

interface Told {
  readonly outcomes: readonly (string | null)[][];
  /** The field values of each item, as text and in one order. */
  readonly values: readonly string[];
}

const inOneOrder = (values: readonly object[]) =>
  values.map((each) => JSON.stringify(Object.entries(each).toSorted(([a], [b]) => (a < b ? -1 : 1)))).toSorted();

/** What becomes of chunks that are worked one after the other. */
async function work(chunks: readonly (readonly Draft[])[]): Promise<Told> {
  const outcomes: (string | null)[][] = [];
  for (const chunk of chunks) {
    const verdicts = await absorber.absorb(
      workspace,
      chunk.flatMap((draft) => receiptOf(jsonOf(draft))),
    );
    outcomes.push(verdicts.map((verdict) => verdict.outcome));
  }
  const { rows } = await database.pool.query<{ state: { fields: Record<string, [unknown]> } }>(
    'select state from contributions join items using (item_number) where merged_into is null',
  );
  const stored = rows.map(({ state }) =>
    Object.fromEntries(Object.entries(state.fields).map(([name, [value]]) => [name, value])),
  );
  return { outcomes, values: inOneOrder(stored) };
}

/** What must become of them. */
function predict(chunks: readonly (readonly Draft[])[]): Told {
  const model = new Model();
  return { outcomes: chunks.map((chunk) => model.absorb(chunk)), values: inOneOrder(model.values()) };
}

function cut<Element>(all: readonly Element[], sizes: readonly number[]): Element[][] {
  const chunks: Element[][] = [];
  for (let from = 0; from < all.length;) {
    const size = sizes[chunks.length % sizes.length]!;
    chunks.push(all.slice(from, from + size));
    from += size;
  }
  return chunks;
}

const drafts = fc.array(
  fc.record({
    names: fc.oneof(
      { weight: 12, arbitrary: fc.constantFrom<Name[]>(['sisbov'], ['chip'], ['sgtin']) },
      { weight: 1, arbitrary: fc.subarray<Name>(['sisbov', 'chip', 'sgtin'], { minLength: 2 }) },
    ),
    second: fc.nat(40),
    fields: fc
      .record({
        weight: fc.nat(2),
        farm: fc.option(fc.nat(1), { freq: 2, nil: undefined }),
        rare: fc.option(fc.nat(1), { freq: 1, nil: undefined }),
        '__proto__ "': fc.option(fc.constant(null), { freq: 1, nil: undefined }),
      })
      .map((fields) => Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))),
  }),
  { minLength: 1, maxLength: 60, size: 'max' },
);

/** Numbers from 0 in an order that looks random and is the same every time. */
function shuffled(count: number): number[] {
  let seed = 12_345;
  const numbers = Array.from({ length: count }, (_, number) => number);
  for (let at = count - 1; at > 0; at -= 1) {
    seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
    const other = seed % (at + 1);
    [numbers[at], numbers[other]] = [numbers[other]!, numbers[at]!];
  }
  return numbers;
}

describe('records of one item in any order of time', () => {
  test('have the outcomes and values of a model that knows the whole past, in any chunks and across merges', async () => {
    await fc.assert(
      fc.asyncProperty(drafts, fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 1 }), async (all, sizes) => {
        await emptyIdentityTables(database);
        workspace = await createWorkspace(database);
        const chunks = cut(all, sizes);
        expect(await work(chunks)).toEqual(predict(chunks));
      }),
      { numRuns: 40 },
    );
  });

  test('have them with fields that are in nearly none of the entries', async () => {
    const all = shuffled(1200).map((second): Draft => ({
      names: ['sisbov'],
      second,
      fields: {
        weight: second % 7,
        // In all, in some, and in three entries that lie as far apart as can be.
        ...(second % 100 === 0 ? { vet: second % 300 } : {}),
        ...(second % 600 < 3 ? { [`own ${second % 3}`]: 'a' } : {}),
      },
    }));
    const chunks = cut(all, [100, 7, 250]);
    expect(await work(chunks)).toEqual(predict(chunks));
  });

  test.each(['the latest first', 'the same time for all'])('have them with %s', async (order) => {
    const all = Array.from({ length: 200 }, (_, at): Draft => ({
      names: ['chip'],
      second: order === 'the latest first' ? 200 - at : 1,
      fields: { weight: at % 3, ...(at % 50 === 0 ? { vet: at } : {}) },
    }));
    const chunks = cut(all, [13]);
    expect(await work(chunks)).toEqual(predict(chunks));
  });

  test('of one receipt whose chunks are worked last first have those of the order in the receipt', async () => {
    const records = receiptOf(
      ...[1, 1, 2, 2, 1, 1].map((weight) => ({ identifiers: [names.chip], metadata: { weight } })),
    );
    await absorber.absorb(workspace, [records[0]!, records[5]!]);

    const later = await absorber.absorb(workspace, records.slice(3, 5));
    const earlier = await absorber.absorb(workspace, records.slice(1, 3));

    expect(later.map(({ outcome }) => outcome)).toEqual(['enriched', 'enriched']);
    expect(earlier.map(({ outcome }) => outcome)).toEqual(['duplicate', 'enriched']);
  });
});

const weighed = (second: number, weight: number, name: Name = 'sisbov') =>
  receiptOf(jsonOf({ names: [name], second, fields: { weight } }));

async function outcomeOf(records: readonly TestRecord[]): Promise<string | null> {
  return (await absorber.absorb(workspace, records))[0]!.outcome;
}

function decide(request: RefoldRequest, atSecond = 0) {
  const decision = { workspaceId: workspace.id, by: 'a person', reason: 'a test' };
  const nowMicros = Date.parse(timeAt(atSecond)) * 1000;
  return withTransaction(database.pool, async (client) => {
    const takeNumbers = makeItemNumberSource(database.pool);
    const { singleClaimTypes } = seedTypes;
    await refold(client, { decision, nowMicros, singleClaimTypes, takeNumbers }, request);
    await client.query('update item_merges set merged_at = $1', [timeAt(atSecond)]);
  });
}

async function itemOf({ entryId }: TestRecord): Promise<number> {
  const { rows } = await database.pool.query<{ item_number: number }>(
    'select item_number from entries where entry_id = $1',
    [entryId],
  );
  return rows[0]!.item_number;
}

describe('what a record out of order comes right after', () => {
  test('is no entry that was withdrawn', async () => {
    const [first, wrong, last] = [weighed(10, 1), weighed(20, 2), weighed(90, 3)];
    for (const records of [first, wrong, last]) await absorber.absorb(workspace, records);
    await decide({ roots: [await itemOf(first[0]!)], withdrawn: [wrong[0]!.entryId] });

    expect(await outcomeOf(weighed(30, 1))).toBe('duplicate');
    expect(await outcomeOf(weighed(40, 2))).toBe('enriched');
  });

  test('is no entry of another workspace', async () => {
    const stranger = await createWorkspace(database);
    await absorber.absorb(workspace, weighed(10, 1));
    await absorber.absorb(stranger, weighed(20, 2));
    await absorber.absorb(workspace, weighed(90, 3));

    expect(await outcomeOf(weighed(30, 1))).toBe('duplicate');
    expect(await outcomeOf(weighed(40, 2))).toBe('enriched');
  });

  test('may be an entry of a transaction that committed while this one waited for the item', async () => {
    for (const records of [weighed(10, 1), weighed(90, 3)]) await absorber.absorb(workspace, records);
    const [one, other] = [await beginTransaction(database), await beginTransaction(database)];
    await absorber.absorbWithin(one.client, workspace, weighed(20, 2));
    const waiting = absorber.absorbWithin(other.client, workspace, weighed(30, 2));
    await waitUntilBlocked(database, other.backendPid);
    await one.commit();

    expect((await waiting)[0]!.outcome).toBe('duplicate');
    await other.commit();
  });

  test('may be a value that a merge by hand chose, until the merge is undone', async () => {
    const [ours, theirs] = [weighed(10, 1), weighed(20, 2, 'chip')];
    for (const records of [ours, theirs]) await absorber.absorb(workspace, records);
    const [survivor, loser] = [await itemOf(ours[0]!), await itemOf(theirs[0]!)];
    await decide({ roots: [survivor, loser], united: { losers: [loser], strategy: 'keep_first' } }, 50);
    await absorber.absorb(workspace, weighed(90, 3));

    expect(await outcomeOf(weighed(30, 2))).toBe('duplicate');
    expect(await outcomeOf(weighed(60, 1))).toBe('duplicate');
    expect(await outcomeOf(weighed(70, 2))).toBe('enriched');

    await decide({ roots: [survivor], unmerged: loser });
    await absorber.absorb(workspace, weighed(95, 4, 'chip'));
    expect(await outcomeOf(weighed(55, 1, 'chip'))).toBe('enriched');
    expect(await outcomeOf(weighed(52, 2, 'chip'))).toBe('duplicate');
  });
});

describe('the rows that chunks read', () => {
  /** Entries that are read while records of one item are worked in chunks of 250. */
  async function countReadEntries(all: readonly Draft[]): Promise<number> {
    await emptyIdentityTables(database);
    workspace = await createWorkspace(database);
    let read = 0;
    for (const chunk of cut(all, [250])) {
      const { client, commit } = await beginTransaction(database);
      // The counters of a connection go on from one transaction to the next.
      const countSoFar = async () => {
        const { rows } = await client.query<{ read: number | null }>(
          `select idx_tup_fetch + seq_tup_read as read from pg_stat_xact_user_tables where relname = 'entries'`,
        );
        return rows[0]?.read ?? 0;
      };
      const before = await countSoFar();
      await absorber.absorbWithin(
        client,
        workspace,
        chunk.flatMap((draft) => receiptOf(jsonOf(draft))),
      );
      read += (await countSoFar()) - before;
      await commit();
    }
    return read;
  }

  const atRandom = (count: number, fieldsAt: (second: number) => Draft['fields']) =>
    shuffled(count).map((second): Draft => ({ names: ['sisbov'], second, fields: fieldsAt(second) }));

  test('are at most one for each record in random order of time, when all have the same fields', async () => {
    const dense = (second: number) => ({ weight: second, farm: second % 3 });
    const [once, twice] = [
      await countReadEntries(atRandom(2000, dense)),
      await countReadEntries(atRandom(4000, dense)),
    ];

    expect(once).toBeGreaterThan(1000);
    expect(once).toBeLessThanOrEqual(2000);
    expect(twice).toBeLessThanOrEqual(4000);
  });

  test('are about twice as many for twice as many records, when a field is in one of fifty', async () => {
    const sparse = (second: number) => ({ weight: second, ...(second % 50 === 0 ? { vet: second } : {}) });
    const [once, twice] = [
      await countReadEntries(atRandom(2000, sparse)),
      await countReadEntries(atRandom(4000, sparse)),
    ];

    expect(twice).toBeLessThanOrEqual(once * 2.5);
    expect(twice).toBeLessThanOrEqual(4000 * 2);
  });

  test('are never more for a chunk than the item has, when each record has a field that only two others have', async () => {
    const count = 1500;
    const lonely = Array.from({ length: 250 }, (_, at) => `own ${at}`);
    const ends = Object.fromEntries(lonely.map((name) => [name, 0]));
    const stored = [0, ...Array.from({ length: count }, (_, at) => at + 1), count + 1].map((second): Draft => ({
      names: ['sisbov'],
      second,
      fields: second === 0 || second > count ? ends : { weight: second },
    }));
    const late = lonely.map((name, at): Draft => ({
      names: ['sisbov'],
      second: 600 + 3 * at,
      fields: { [name]: 1 },
    }));

    const before = await countReadEntries(stored);
    const read = await countReadEntries([...stored, ...late]);

    expect(before).toBe(0);
    expect(read).toBeGreaterThan(600);
    expect(read).toBeLessThanOrEqual(stored.length + late.length);
  });
});
