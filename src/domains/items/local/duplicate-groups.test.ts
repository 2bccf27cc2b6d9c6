import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  findConflictingFields,
  findConflictingIdentifiers,
  groupDuplicates,
  type SharedIdentifier,
} from './duplicate-groups.ts';

const having = (localId: string, value: string, collectedAtMicros = 0): SharedIdentifier => ({
  identifierType: 'chip',
  value,
  localId,
  collectedAtMicros,
  sequence: Number(localId),
});

test('local items are one group when they share identifiers through others', () => {
  expect(groupDuplicates([having('1', 'a'), having('2', 'a'), having('2', 'b'), having('3', 'b')])).toEqual([
    {
      localIds: ['1', '2', '3'],
      sharedIdentifiers: [
        { identifierType: 'chip', value: 'a', localIds: ['1', '2'] },
        { identifierType: 'chip', value: 'b', localIds: ['2', '3'] },
      ],
    },
  ]);
});

test('the oldest comes first, by when it was collected, then by arrival', () => {
  const groups = groupDuplicates([having('1', 'a', 5), having('2', 'a', 3), having('3', 'a', 3)]);
  expect(groups.map((group) => group.localIds)).toEqual([['2', '3', '1']]);
});

test('the same value under two types is shared by nobody', () => {
  expect(groupDuplicates([having('1', 'a'), { ...having('2', 'a'), identifierType: 'sisbov' }])).toEqual([]);
});

test('groups are exactly the connected sets, whatever the order of the pairs', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(12), fc.nat(8)), { maxLength: 30 }),
      fc.infiniteStream(fc.nat()),
      (pairs, order) => {
        const shared = pairs.map(([localId, value]) => having(String(localId), String(value)));
        const sorted = shared
          .map((item) => ({ item, at: order.next().value }))
          .toSorted((a, b) => a.at - b.at)
          .map(({ item }) => item);
        const found = groupDuplicates(sorted).map((group) => group.localIds);
        const reachable = (from: string): string[] => {
          const seen = new Set([from]);
          for (const at of seen) {
            const values = new Set(shared.filter((item) => item.localId === at).map((item) => item.value));
            for (const item of shared) if (values.has(item.value)) seen.add(item.localId);
          }
          return [...seen].toSorted((a, b) => Number(a) - Number(b));
        };
        const expected = new Map(
          shared
            .map(({ localId }) => reachable(localId))
            .filter((set) => set.length > 1)
            .map((set) => [set[0], set]),
        );
        expect(found).toEqual([...expected.values()].toSorted((a, b) => Number(a[0]) - Number(b[0])));
      },
    ),
  );
});

test('a chain of ten thousand items is one group', () => {
  const chain = Array.from({ length: 10_000 }, (_none, at) => [
    having(String(at), String(at)),
    having(String(at), String(at + 1)),
  ]).flat();
  expect(groupDuplicates(chain).map((group) => group.localIds.length)).toEqual([10_000]);
});

test('fields conflict when two have different values, not when one lacks the field or orders its members otherwise', () => {
  const members = [
    { localId: '1', content: { identifiers: [], fields: { raca: 'Nelore', peso: 400, o: { a: 1, b: 2 } } } },
    { localId: '2', content: { identifiers: [], fields: { raca: 'Angus', o: { b: 2, a: 1 } } } },
  ];
  expect(findConflictingFields(members)).toEqual([
    {
      field: 'raca',
      values: [
        { local_id: '1', value: 'Nelore' },
        { local_id: '2', value: 'Angus' },
      ],
    },
  ]);
});

const named = (localId: string, identifierType: string, value: string) => ({ localId, identifierType, value });

test('identifiers conflict when a thing has one of them and no member names all that the group has', () => {
  const single = new Set(['sisbov', 'chip']);
  const conflicting = (...identifiers: ReturnType<typeof named>[]) =>
    findConflictingIdentifiers(identifiers, single).map((conflict) => conflict.identifier_type);
  expect(conflicting(named('1', 'sisbov', 'a'), named('2', 'sisbov', 'b'))).toEqual(['sisbov']);
  expect(conflicting(named('1', 'sisbov', 'a'), named('2', 'sisbov', 'a'))).toEqual([]);
  expect(conflicting(named('1', 'sisbov', 'a'), named('2', 'sisbov', 'a'), named('2', 'sisbov', 'b'))).toEqual([]);
  expect(conflicting(named('1', 'many', 'a'), named('2', 'many', 'b'))).toEqual([]);
  expect(conflicting(named('1', 'sisbov', 'a'), named('1', 'chip', 'x'), named('2', 'chip', 'y'))).toEqual(['chip']);
});
