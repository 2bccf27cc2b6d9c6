import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { canonicalJson } from '#platform/json/canonical.ts';
import { entryIdAt, makeReceiptId } from '#platform/ids.ts';
import {
  compareEntryOrder,
  ContributionState,
  type EntryContent,
  type EntryOrder,
  type StoredContributionState,
} from './contribution-state.ts';
import type { JudgedIdentifier } from './judge-record.ts';

interface Entry {
  readonly order: EntryOrder;
  readonly content: EntryContent;
}

const fieldName = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom('weight', 'farm') },
  fc.constantFrom('__proto__', 'constructor', '', '"', 'ção', '𝕏', '10', '\u0001'),
);
const fieldValue = fc
  .oneof({ weight: 4, arbitrary: fc.constantFrom('"a"', '"b"') }, fc.jsonValue({ maxDepth: 2 }).map(canonicalJson))
  // JSON.parse of V8 mixes up escaped names after one with a backslash (https://github.com/nodejs/node/issues/63785).
  .filter((text) => !text.includes('\\\\'));

const identifier: fc.Arbitrary<JudgedIdentifier> = fc.record({
  typeName: fc.constantFrom('sisbov', 'SISBOV', 'chip'),
  raw: fc.string({ maxLength: 5, unit: 'grapheme' }),
  claimType: fc.constantFrom('sisbov', 'chip'),
  value: fc.constantFrom('1', '2', '"'),
  isCanonical: fc.constant(false),
  pointer: fc.constant(''),
});

/** The chain of a record decides for all its identifiers whether their type is canonical. */
const content: fc.Arbitrary<EntryContent> = fc
  .record({
    identifiers: fc.array(identifier, { maxLength: 3 }),
    isCanonical: fc.boolean(),
    fields: fc.uniqueArray(fc.tuple(fieldName, fieldValue), { maxLength: 4, selector: ([name]) => name }),
  })
  .map(({ identifiers, isCanonical, fields }) => ({
    identifiers: identifiers.map((named) => ({ ...named, isCanonical })),
    fields,
  }));

/** Entries with distinct places in time, many of them at the same effective time or in the same receipt. */
const entries: fc.Arbitrary<Entry[]> = fc
  .array(fc.record({ effectiveAtMicros: fc.integer({ min: -3, max: 3 }), receipt: fc.nat(3), content }), {
    maxLength: 12,
  })
  .map((drafts) => {
    const receiptIds = Array.from({ length: 4 }, makeReceiptId);
    return drafts.map(({ effectiveAtMicros, receipt, content: brought }, position) => ({
      order: { entryId: entryIdAt(receiptIds[receipt]!, position), effectiveAtMicros, receivedSequence: 100 + receipt },
      content: brought,
    }));
  });

const shuffledEntries = entries.chain((all) =>
  fc.record({
    all: fc.constant(all),
    shuffled: fc.shuffledSubarray(all, { minLength: all.length }),
    cut: fc.nat(all.length),
  }),
);

type NamedIdentifier = Omit<JudgedIdentifier, 'pointer' | 'isCanonical'> & { isCanonical: boolean };

/** The fold as it is defined: the entries in their order, each later value over the earlier one. */
function foldNaively(all: readonly Entry[]) {
  const fields = new Map<string, { value: string; latest: string; earliest: string }>();
  const identifiers = new Map<string, { identifier: NamedIdentifier; entry: string }>();
  for (const { order, content: brought } of all.toSorted((a, b) => compareEntryOrder(a.order, b.order))) {
    for (const { pointer: _pointer, ...named } of brought.identifiers) {
      const key = JSON.stringify([named.claimType, named.value]);
      const known = identifiers.get(key);
      if (known) known.identifier.isCanonical ||= named.isCanonical;
      else identifiers.set(key, { identifier: { ...named }, entry: order.entryId });
    }
    for (const [name, value] of brought.fields) {
      const earliest = fields.get(name)?.earliest ?? order.entryId;
      fields.set(name, { value, latest: order.entryId, earliest });
    }
  }
  return { fields, identifiers };
}

/** What `foldNaively` tells, read from the JSON that the database keeps. */
function readState(state: ContributionState): ReturnType<typeof foldNaively> {
  const stored = JSON.parse(state.toJson()) as StoredContributionState;
  const entryAt = (index: number) => stored.entries[index]![0];
  return {
    fields: new Map(
      Object.entries(stored.fields).map(([name, [value, latest, earliest]]) => [
        name,
        { value: canonicalJson(value), latest: entryAt(latest), earliest: entryAt(earliest) },
      ]),
    ),
    identifiers: new Map(
      stored.identifiers.map(([typeName, raw, claimType, value, isCanonical, entry]) => [
        JSON.stringify([claimType, value]),
        { identifier: { typeName, raw, claimType, value, isCanonical: isCanonical === 1 }, entry: entryAt(entry) },
      ]),
    ),
  };
}

/** A state after these entries as a later transaction finds it: read back from the database. */
function storedAfter(all: readonly Entry[]): ContributionState {
  const state = new ContributionState();
  for (const { order, content: brought } of all) state.apply(order, brought);
  return ContributionState.fromStored(JSON.parse(state.toJson()) as StoredContributionState, canonicalJson);
}

function historyOf(all: readonly Entry[]) {
  const history = new Map<string, { order: EntryOrder; value: string }[]>();
  for (const { order, content: brought } of all) {
    for (const [name, value] of brought.fields) {
      const values = history.get(name) ?? [];
      values.push({ order, value });
      history.set(name, values);
    }
  }
  return history;
}

/** Whether an entry tells anything new at its place among those that came before it. */
function changesSomething(known: readonly Entry[], entry: Entry): boolean {
  const isNew = (named: JudgedIdentifier) =>
    !known.some(({ content: { identifiers } }) =>
      identifiers.some(
        ({ claimType, value, isCanonical }) =>
          claimType === named.claimType && value === named.value && (isCanonical || !named.isCanonical),
      ),
    );
  const before = foldNaively(known.filter(({ order }) => compareEntryOrder(order, entry.order) < 0)).fields;
  return (
    entry.content.identifiers.some(isNew) ||
    entry.content.fields.some(([name, value]) => before.get(name)?.value !== value)
  );
}

function entryWith(effectiveAtMicros: number, fields: Record<string, string>): Entry {
  return {
    order: { entryId: entryIdAt(makeReceiptId(), 0), effectiveAtMicros, receivedSequence: 1 },
    content: { identifiers: [], fields: Object.entries(fields) },
  };
}

describe('what a workspace knows of an item', () => {
  test('is the fold over its entries in their order, in whatever order they are applied and stored between', () => {
    fc.assert(
      fc.property(shuffledEntries, ({ all, shuffled, cut }) => {
        const state = storedAfter(shuffled.slice(0, cut));
        for (const { order, content: brought } of shuffled.slice(cut)) state.apply(order, brought);
        expect(readState(state)).toEqual(foldNaively(all));
      }),
      { numRuns: 500 },
    );
  });

  test('comes back from the database as it went in', () => {
    fc.assert(
      fc.property(entries, (all) => {
        const once = storedAfter(all);
        const twice = ContributionState.fromStored(JSON.parse(once.toJson()) as StoredContributionState, canonicalJson);
        expect(twice.toJson()).toBe(once.toJson());
        expect(readState(twice)).toEqual(foldNaively(all));
      }),
      { numRuns: 300 },
    );
  });

  test.each([
    ['a text of a megabyte', canonicalJson('ç"\\\u2028'.repeat(250_000))],
    ['numbers at the edge', '[1e+21,1e-7,9007199254740991,0.1]'],
    ['a nested __proto__', '{"__proto__":{"isAdministrator":true},"constructor":1}'],
  ])('keeps %s', (_name, value) => {
    const state = storedAfter([
      entryWith(1, JSON.parse(`{"__proto__":${JSON.stringify(value)}}`) as Record<string, string>),
    ]);
    expect(readState(state).fields.get('__proto__')?.value).toBe(value);
  });

  test('of two items that become one is the fold over the entries of both', () => {
    fc.assert(
      fc.property(shuffledEntries, ({ all, shuffled, cut }) => {
        const state = storedAfter(shuffled.slice(0, cut));
        state.mergeFrom(storedAfter(shuffled.slice(cut)));
        expect(readState(state)).toEqual(foldNaively(all));
      }),
      { numRuns: 300 },
    );
  });
});

describe('an entry changes something', () => {
  test('if and only if it brings an identifier that is new or now canonical, or a value that is new at its place in time', () => {
    fc.assert(
      fc.property(shuffledEntries, ({ shuffled, cut }) => {
        const known = shuffled.slice(0, cut);
        const incoming = shuffled.slice(cut);
        const state = storedAfter(known);
        if (incoming.some(({ order, content: brought }) => state.fieldsBetween(order, brought).length > 0)) {
          state.useHistory(historyOf(known));
        }
        for (const entry of incoming) {
          expect(state.apply(entry.order, entry.content)).toBe(changesSomething(known, entry));
          known.push(entry);
        }
      }),
      { numRuns: 1000 },
    );
  });

  test('not if it repeats, between a stored value and a newer one of the same chunk, the stored value', () => {
    const state = storedAfter([entryWith(10, { farm: '"A"' })]);
    const newer = entryWith(30, { farm: '"B"' });
    const between = entryWith(20, { farm: '"A"' });

    const outcomes = [newer, between].map(({ order, content: brought }) => state.apply(order, brought));

    expect(outcomes).toEqual([true, false]);
  });
});
