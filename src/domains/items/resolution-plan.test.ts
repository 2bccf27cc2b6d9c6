import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { claimKey } from './judge-record.ts';
import {
  groupBySharedKeys,
  planResolution,
  type Contributor,
  type KnownItem,
  type PlannedRecord,
} from './resolution-plan.ts';

const singleClaimTypes = new Set(['sisbov', 'chip', 'sgtin']);

function record(...claims: string[]): PlannedRecord {
  return { claims: claims.map(keyOf) };
}

/** `sisbov 1` as the key that records carry. */
function keyOf(text: string): string {
  const [type, value] = text.split(' ') as [string, string];
  return claimKey(type, value);
}

function plan(
  records: readonly PlannedRecord[],
  known: Readonly<Record<string, KnownItem>> = {},
  mayLinkItems = false,
) {
  const byKey = new Map(Object.entries(known).map(([text, item]) => [keyOf(text), item]));
  return planResolution(records, {
    ownersOf: (key) => (byKey.has(key) ? [byKey.get(key)!] : []),
    singleClaimTypes,
    mayLinkItems,
    identifiersMax: 100,
  });
}

function knownItem(itemNumber: number, options: Partial<KnownItem> = {}): KnownItem {
  return { itemNumber, singleClaims: new Map(), claimCount: 0, contributors: [], separatedFrom: new Set(), ...options };
}

function contributor(...keys: string[]): Contributor {
  return { keys: new Set(keys.map(keyOf)), isOurs: false, isTrusted: false };
}

function namedByOthers(...keys: string[]): Partial<KnownItem> {
  return { contributors: [contributor(...keys)] };
}

/** Records that are tied together by keys, directly or through others: the definition, computed by repeated passes. */
function connectedSets(records: readonly PlannedRecord[]): number[][] {
  const labels = records.map((_record, index) => index);
  for (let changed = true; changed;) {
    changed = false;
    for (const [one, first] of records.entries()) {
      for (const [other, second] of records.entries()) {
        if (labels[one]! <= labels[other]! || !first.claims.some((key) => second.claims.includes(key))) continue;
        labels[one] = labels[other]!;
        changed = true;
      }
    }
  }
  return partitionOf(labels);
}

function partitionOf(labels: readonly unknown[]): number[][] {
  return [...Map.groupBy(labels.keys(), (index) => labels[index]).values()].toSorted((a, b) => a[0]! - b[0]!);
}

/** What deduplication decides, one record at a time, with sets and nothing clever. */
function resolveOneByOne(records: readonly PlannedRecord[]): { sets: number[][]; conflicts: number[] } {
  let things: { keys: Set<string>; records: number[] }[] = [];
  const conflicts: number[] = [];
  for (const [index, { claims }] of records.entries()) {
    const touched = things.filter((thing) => claims.some((key) => thing.keys.has(key)));
    const keys = new Set([...claims, ...touched.flatMap((thing) => [...thing.keys])]);
    const singles = [...keys].map((key) => key.split('\u0000')[0]!).filter((type) => singleClaimTypes.has(type));
    if (new Set(singles).size < singles.length) {
      conflicts.push(index);
      continue;
    }
    const united = { keys, records: [...touched.flatMap((thing) => thing.records), index].toSorted((a, b) => a - b) };
    things = [...things.filter((thing) => !touched.includes(thing)), united];
  }
  return { sets: things.map((thing) => thing.records).toSorted((a, b) => a[0]! - b[0]!), conflicts };
}

/** Things with one value of each single type and some fingerprints, and records that each name some keys of one thing. */
const consistentRecords = fc
  .array(
    fc.array(fc.subarray(['sisbov', 'chip', 'sgtin', 'fingerprint:a 1', 'fingerprint:a 2', 'fingerprint:b 1']), {
      minLength: 1,
      maxLength: 6,
    }),
    { minLength: 1, maxLength: 6 },
  )
  .map((things) =>
    things.flatMap((records, thing) =>
      records.map((names) =>
        record(...names.map((name) => (name.includes(' ') ? `${name}${thing}` : `${name} ${thing}`))),
      ),
    ),
  );

const anyRecords = fc.array(
  fc
    .uniqueArray(
      fc.constantFrom('sisbov 1', 'sisbov 2', 'chip 1', 'chip 2', 'sgtin 1', 'fingerprint:a 1', 'fingerprint:a 2'),
      {
        maxLength: 4,
      },
    )
    .map((claims) => record(...claims)),
  { maxLength: 14 },
);

/** Plans chunk after chunk as a database would keep the results between them, and tells the item of each record. */
function planInChunks(records: readonly PlannedRecord[], order: readonly number[], chunkSize: number) {
  const items = new Map<number, Map<string, string>>();
  const owners = new Map<string, number>();
  const itemOfRecord = new Map<number, number>();
  const conflicts: number[] = [];
  let lastNumber = 0;
  for (let from = 0; from < order.length; from += chunkSize) {
    const chunk = order.slice(from, from + chunkSize);
    const planned = planResolution(
      chunk.map((index) => records[index]!),
      {
        ownersOf: (key) => {
          const owner = owners.get(key);
          const singles = [...(items.get(owner ?? 0) ?? [])];
          return owner === undefined
            ? []
            : [knownItem(owner, { singleClaims: new Map(singles.map(([type, value]) => [type, new Set([value])])) })];
        },
        singleClaimTypes,
        mayLinkItems: false,
        identifiersMax: 100,
      },
    );
    for (const item of planned.items) {
      const [survivor = (lastNumber += 1), ...losers] = item.itemNumbers;
      const singles = new Map([survivor, ...losers].flatMap((number) => [...(items.get(number) ?? [])]));
      for (const key of item.records.flatMap((index) => records[chunk[index]!]!.claims)) {
        const [type, value] = key.split('\u0000') as [string, string];
        if (singleClaimTypes.has(type)) singles.set(type, value);
        owners.set(key, survivor);
      }
      items.set(survivor, singles);
      for (const [key, owner] of owners) if (losers.includes(owner)) owners.set(key, survivor);
      for (const [index, number] of itemOfRecord) if (losers.includes(number)) itemOfRecord.set(index, survivor);
      for (const at of item.records) itemOfRecord.set(chunk[at]!, survivor);
    }
    for (const at of planned.conflicts.keys()) conflicts.push(chunk[at]!);
  }
  return { itemOfRecord, conflicts };
}

describe('the partition of records', () => {
  test('is that of the keys they share for consistent records, in any order and any chunks', () => {
    const shuffled = consistentRecords.chain((records) =>
      fc.record({
        records: fc.constant(records),
        order: fc.shuffledSubarray([...records.keys()], { minLength: records.length }),
        chunkSize: fc.integer({ min: 1, max: records.length }),
      }),
    );
    fc.assert(
      fc.property(shuffled, ({ records, order, chunkSize }) => {
        const { itemOfRecord, conflicts } = planInChunks(records, order, chunkSize);
        expect(conflicts).toEqual([]);
        expect(partitionOf([...records.keys()].map((index) => itemOfRecord.get(index)))).toEqual(
          connectedSets(records),
        );
      }),
      { numRuns: 300 },
    );
  });

  test('is that of a model which takes any records one by one, contradictions included', () => {
    fc.assert(
      fc.property(anyRecords, fc.integer({ min: 1, max: 14 }), (records, chunkSize) => {
        const expected = resolveOneByOne(records);
        const { itemOfRecord, conflicts } = planInChunks(records, [...records.keys()], chunkSize);
        expect(conflicts).toEqual(expected.conflicts);
        const placed = [...records.keys()].filter((index) => itemOfRecord.has(index));
        const sets = [...Map.groupBy(placed, (index) => itemOfRecord.get(index)).values()];
        expect(sets.toSorted((a, b) => a[0]! - b[0]!)).toEqual(expected.sets);
      }),
      { numRuns: 500 },
    );
  });
});

describe('a plan', () => {
  test('never puts two values of a type that an item has one of into one item, and lets conflicts own nothing', () => {
    fc.assert(
      fc.property(anyRecords, (records) => {
        const { items, conflicts } = plan(records);
        for (const item of items) {
          const claims = new Set(item.records.flatMap((index) => records[index]!.claims));
          const types = [...claims].map((key) => key.split('\u0000')[0]!).filter((type) => singleClaimTypes.has(type));
          expect(new Set(types).size).toBe(types.length);
        }
        const placed = items.flatMap((item) => item.records);
        expect([...placed, ...conflicts.keys()].toSorted((a, b) => a - b)).toEqual([...records.keys()]);
      }),
      { numRuns: 500 },
    );
  });

  test('names the values that exclude each other and the items they would join', () => {
    const known = {
      'sisbov 1': knownItem(7, { singleClaims: new Map([['sisbov', new Set(['1'])]]) }),
      'sisbov 2': knownItem(3, { singleClaims: new Map([['sisbov', new Set(['2'])]]) }),
    };

    const { items, conflicts } = plan([record('sisbov 1', 'sisbov 2')], known);

    expect(items).toEqual([]);
    expect(conflicts.get(0)?.contradictions).toEqual([
      { reason: 'values', claimType: 'sisbov', values: ['1', '2'], isOurs: true },
    ]);
    expect(conflicts.get(0)?.contested.map((item) => item.itemNumbers)).toEqual([[7], [3]]);
  });

  test('puts the lowest number first when a record joins items', () => {
    const known = { 'sisbov 1': knownItem(9), 'chip 1': knownItem(4), 'sgtin 1': knownItem(6) };

    const { items } = plan([record('sisbov 1', 'chip 1', 'sgtin 1')], known);

    expect(items.map((item) => item.itemNumbers)).toEqual([[4, 6, 9]]);
  });

  test('tells for each item that becomes another which record joined the two', () => {
    const known = { 'sisbov 1': knownItem(9), 'chip 1': knownItem(4), 'sgtin 1': knownItem(2) };

    const { items } = plan(
      [record('sisbov 1', 'chip 1'), record('chip 1'), record('sgtin 1', 'chip 1'), record('sisbov 1')],
      known,
    );

    expect(items.map((item) => item.joins)).toMatchObject([
      [
        { record: 0, survivor: 4, losers: [9] },
        { record: 2, survivor: 2, losers: [4] },
      ],
    ]);
  });

  test('tells of a record that joins what was new before it, although no item loses its number', () => {
    const { items } = plan([record('sisbov 1'), record('chip 1'), record('sisbov 1', 'chip 1')]);

    expect(items.map((item) => item.joins)).toMatchObject([[{ record: 2, survivor: undefined, losers: [] }]]);
  });

  test('keeps a record without keys apart from every other', () => {
    expect(plan([record(), record()]).items.map((item) => item.records)).toEqual([[0], [1]]);
  });
});

describe('joining items that exist', () => {
  const link = record('sisbov 1', 'chip 1');

  test('is allowed while all of them are ours alone', () => {
    const { conflicts } = plan([link], { 'sisbov 1': knownItem(1), 'chip 1': knownItem(2) });
    expect(conflicts.size).toBe(0);
  });

  test.each([
    ['one of them', true, false],
    ['both', false, false],
  ])('waits as a conflict when others contributed to %s', (_name, firstIsOurs, secondIsOurs) => {
    const known = {
      'sisbov 1': knownItem(1, firstIsOurs ? {} : namedByOthers('sisbov 1')),
      'chip 1': knownItem(2, secondIsOurs ? {} : namedByOthers('chip 1')),
    };

    const { items, conflicts } = plan([link], known);

    expect(items).toEqual([]);
    expect(conflicts.get(0)?.contradictions).toEqual([
      { reason: 'strangers', claimType: '', values: [], isOurs: false },
    ]);
  });

  test('is allowed to a workspace that an administrator trusts', () => {
    const known = { 'sisbov 1': knownItem(1, namedByOthers('sisbov 1')), 'chip 1': knownItem(2) };
    expect(plan([link], known, true).items.map((item) => item.itemNumbers)).toEqual([[1, 2]]);
  });

  test('is forbidden too when an earlier record of the chunk made one of them ours', () => {
    const known = { 'sisbov 1': knownItem(1, namedByOthers('sisbov 1')), 'chip 1': knownItem(2) };
    const { conflicts } = plan([record('sisbov 1'), link], known);
    expect([...conflicts.keys()]).toEqual([1]);
  });

  test('adds a new identifier to an item of others for the workspace alone', () => {
    const { items } = plan([link], { 'sisbov 1': knownItem(1, namedByOthers('sisbov 1')) });
    expect(items.map(({ itemNumbers, isGuarded }) => ({ itemNumbers, isGuarded }))).toEqual([
      { itemNumbers: [1], isGuarded: true },
    ]);
  });

  test('waits when only a stranger said that the record and what we sent before are one thing', () => {
    const known = knownItem(1, {
      contributors: [contributor('sisbov 1', 'chip 1'), { ...contributor('sisbov 1'), isOurs: true }],
    });

    const { conflicts } = plan([record('chip 1')], { 'sisbov 1': known, 'chip 1': known });

    expect(conflicts.get(0)?.contradictions.map(({ reason }) => reason)).toEqual(['strangers']);
  });

  test('joins what a trusted workspace said is one thing', () => {
    const known = knownItem(1, {
      contributors: [
        { ...contributor('sisbov 1', 'chip 1'), isTrusted: true },
        { ...contributor('sisbov 1'), isOurs: true },
      ],
    });

    const { items } = plan([record('chip 1')], { 'sisbov 1': known, 'chip 1': known });

    expect(items.map((item) => item.itemNumbers)).toEqual([[1]]);
  });

  test('joins what we said is one thing ourselves', () => {
    const known = knownItem(1, {
      contributors: [contributor('sisbov 1'), { ...contributor('sisbov 1', 'chip 1'), isOurs: true }],
    });

    const { items } = plan([record('chip 1')], { 'sisbov 1': known, 'chip 1': known });

    expect(items.map((item) => item.itemNumbers)).toEqual([[1]]);
  });

  test('waits when a person keeps two of the items apart', () => {
    const known = {
      'sisbov 1': knownItem(1, { separatedFrom: new Set([2]) }),
      'chip 1': knownItem(2, { separatedFrom: new Set([1]) }),
    };

    const { conflicts } = plan([link], known);

    expect(conflicts.get(0)?.contradictions.map(({ reason }) => reason)).toEqual(['separated']);
  });

  test('waits when the item would have more identifiers than one thing is likely to have', () => {
    const many = record(...Array.from({ length: 101 }, (_nothing, at) => `other ${at}`));
    const { conflicts } = plan([link, many], { 'sisbov 1': knownItem(1, { claimCount: 100 }) });
    expect([...conflicts.values()].map(({ contradictions }) => contradictions.map(({ reason }) => reason))).toEqual([
      ['size'],
      ['size'],
    ]);
  });

  test('follows what a person decided when the same identifiers came before', () => {
    const one = knownItem(1, { separatedFrom: new Set([2]) });
    const known = new Map([
      [keyOf('sisbov 1'), one],
      [keyOf('chip 1'), knownItem(2, { separatedFrom: new Set([1]) })],
    ]);

    const { items, rejected } = planResolution([link, record('sisbov 1', 'chip 1')], {
      ownersOf: (key) => [known.get(key)!],
      singleClaimTypes,
      mayLinkItems: false,
      identifiersMax: 100,
      decisionOn: (index) => ({ itemNumber: index === 0 ? 1 : null, conflictId: 'a case' }),
      knownItem: () => one,
    });

    expect(items.map((item) => ({ itemNumbers: item.itemNumbers, records: item.records }))).toEqual([
      { itemNumbers: [1], records: [0] },
    ]);
    expect(items[0]!.attached).toEqual(new Map([[0, 'a case']]));
    expect(rejected).toEqual([1]);
  });
});

describe('groups of records', () => {
  test('are the sets that share keys or owners of keys, directly or through others', () => {
    fc.assert(
      fc.property(
        anyRecords,
        fc.dictionary(fc.constantFrom('sisbov 1', 'chip 2', 'sgtin 1'), fc.nat(2)),
        (records, owned) => {
          const owners = new Map(Object.entries(owned).map(([text, number]) => [keyOf(text), number]));
          const withOwners = records.map(({ claims }) => ({
            claims: claims.flatMap((key) => (owners.has(key) ? [key, `owner ${owners.get(key)}`] : [key])),
          }));

          const groups = groupBySharedKeys(records, (key) => (owners.has(key) ? [owners.get(key)!] : []));

          expect(groups.map((group) => group.map((each) => records.indexOf(each)))).toEqual(connectedSets(withOwners));
        },
      ),
      { numRuns: 300 },
    );
  });
});
