import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  foldGroup,
  mergeStrategies,
  type GroupMember,
  type LocalContent,
  type MergeStrategy,
} from './local-item-fold.ts';

const content = (fields: Record<string, unknown>, identifiers: LocalContent['identifiers'] = []): LocalContent => ({
  identifiers,
  fields,
});
const root = (fields: Record<string, unknown>): GroupMember => ({
  localId: 'root',
  content: content(fields),
  merge: null,
});
const below = (
  parentId: string,
  localId: string,
  strategy: MergeStrategy,
  order: number,
  fields: Record<string, unknown>,
): GroupMember => ({ localId, content: content(fields), merge: { parentId, strategy, order } });

const merged = (strategy: MergeStrategy, first: Record<string, unknown>, ...others: Record<string, unknown>[]) =>
  foldGroup('root', [root(first), ...others.map((fields, at) => below('root', `m${at}`, strategy, at, fields))]).fields;

describe('append', () => {
  test('makes one list of two without repeats, in their order', () => {
    expect(merged('append', { a: [1, { x: 1, y: 2 }] }, { a: [{ y: 2, x: 1 }, 2] }, { a: [2, 3, 1] })).toEqual({
      a: [1, { x: 1, y: 2 }, 2, 3],
    });
  });

  test('gives an object the members of the other, the last of each name, and does not look deeper', () => {
    expect(merged('append', { o: { a: 1, deep: { x: 1 } } }, { o: { a: 2, deep: { y: 1 } } }, { o: { b: 3 } })).toEqual(
      {
        o: { a: 2, deep: { y: 1 }, b: 3 },
      },
    );
  });

  test('keeps the last of all else, also of two kinds', () => {
    expect(merged('append', { s: 1, k: [1], n: 'x', own: true }, { s: 2, k: { a: 1 }, n: null, more: 1 })).toEqual({
      s: 2,
      k: { a: 1 },
      n: null,
      own: true,
      more: 1,
    });
  });
});

test('overwrite keeps the last whole value of each field', () => {
  expect(merged('overwrite', { a: [1], o: { x: 1 }, own: 1 }, { a: [2], o: { y: 1 } }, { a: [3] })).toEqual({
    a: [3],
    o: { y: 1 },
    own: 1,
  });
});

test('keep_first leaves the fields of the master untouched, and yet it gets identifiers and sources', () => {
  const fold = foldGroup('root', [
    { localId: 'root', content: content({ a: 1 }, [['chip', 'x', 'chip', '1', 1]]), merge: null },
    {
      localId: 'm',
      content: content({ a: 2, b: 3 }, [
        ['rfid', 'X', 'chip', '1', 1],
        ['lote', 'L', 'lote', 'L', 0],
      ]),
      merge: { parentId: 'root', strategy: 'keep_first', order: 1 },
    },
  ]);
  expect(fold).toEqual({
    fields: { a: 1 },
    identifiers: [
      ['chip', 'x', 'chip', '1', 1],
      ['lote', 'L', 'lote', 'L', 0],
    ],
    sources: ['root', 'm'],
  });
});

test('a field named __proto__ is a field like any other', () => {
  const fields = JSON.parse('{"__proto__": {"a": 1}}') as Record<string, unknown>;
  const result = merged('append', fields, JSON.parse('{"__proto__": {"__proto__": 2}}') as Record<string, unknown>);
  expect(JSON.stringify(result)).toBe('{"__proto__":{"a":1,"__proto__":2}}');
});

test('merges in each other are folded from the inside out', () => {
  const members = [
    root({ list: [1], s: 'root' }),
    below('root', 'a', 'append', 3, { list: [2], s: 'a' }),
    below('a', 'b', 'keep_first', 1, { list: [9], s: 'b' }),
    below('a', 'c', 'append', 2, { list: [3, 1], s: 'c' }),
  ];
  expect(foldGroup('root', members)).toEqual({
    identifiers: [],
    fields: { list: [1, 2, 3], s: 'c' },
    sources: ['root', 'a', 'b', 'c'],
  });
});

const fieldsArbitrary = fc.dictionary(
  fc.constantFrom('a', 'b', '__proto__'),
  fc.oneof(
    fc.integer({ min: 0, max: 3 }),
    fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 3 }),
    fc.dictionary(fc.constantFrom('x', 'y'), fc.integer({ min: 0, max: 3 })),
  ),
);
const groupArbitrary = fc
  .array(fc.record({ fields: fieldsArbitrary, strategy: fc.constantFrom(...mergeStrategies), parent: fc.nat() }), {
    minLength: 1,
    maxLength: 8,
  })
  .map((drafts) =>
    drafts.map(({ fields, strategy, parent }, at) =>
      at === 0
        ? root(fields)
        : below(at === 1 ? 'root' : `m${(parent % (at - 1)) + 1}`, `m${at}`, strategy, at, fields),
    ),
  );

test('the fold depends on the tree alone, not on the order in which its members are read, and changes none of them', () => {
  fc.assert(
    fc.property(groupArbitrary, (members) => {
      const before = JSON.stringify(members);
      const fold = foldGroup('root', members);
      expect(foldGroup('root', members.toReversed())).toEqual(fold);
      expect(JSON.stringify(members)).toBe(before);
    }),
  );
});

test('a fold of many merges that grow one list takes time in proportion to its length', () => {
  const size = 2000;
  const list = (from: number) => Array.from({ length: 500 }, (_none, at) => from * 500 + at);
  const members = [
    root({ list: [] }),
    ...Array.from({ length: size }, (_none, at) => below('root', `m${at}`, 'append' as const, at, { list: list(at) })),
  ];
  expect((foldGroup('root', members).fields['list'] as unknown[]).length).toBe(size * 500);
});
