import { describe, expect, test } from 'vitest';
import { seedTypes } from '../../testing/deduplication.ts';
import { weightOf } from './cattle-records.ts';
import { makeIncomingRecords, planVisits } from './resolver-plan.ts';
import { chunkRecords, transactionsInFlight } from './resolver-run.ts';

describe('visits', () => {
  test.each([0, 30, 90])('are about stored animals in exactly %i of every hundred records', (knownPercent) => {
    const { visits } = planVisits({ count: 10_000, stored: 5000, knownPercent });

    for (let start = 0; start < visits.length; start += 100) {
      const some = visits.slice(start, start + 100);
      expect(some.filter(({ animal }) => animal < 5000)).toHaveLength(knownPercent);
      expect(some.filter(({ isKnown }) => isKnown)).toHaveLength(knownPercent);
    }
  });

  test('come to no animal twice in what is in flight at once, and to every stored one in turn', () => {
    const inFlight = chunkRecords * transactionsInFlight;
    const { visits } = planVisits({ count: 20_000, stored: 5000, knownPercent: 90 });

    for (let start = 0; start + inFlight <= visits.length; start += chunkRecords) {
      const animals = visits.slice(start, start + inFlight).map(({ animal }) => animal);
      expect(new Set(animals).size).toBe(inFlight);
    }
    expect(new Set(visits.filter(({ isKnown }) => isKnown).map(({ animal }) => animal)).size).toBe(5000);
  });

  test('bring another weight each time to every second stored animal, and nothing new to the others', () => {
    const plan = planVisits({ count: 20_000, stored: 5000, knownPercent: 90 });

    const weights = new Map<number, string>();
    const outcomes = { created: 0, enriched: 0, duplicate: 0 };
    for (const { animal, weight, isKnown } of plan.visits) {
      const before = weights.get(animal) ?? (isKnown ? weightOf(animal, false) : undefined);
      outcomes[before === undefined ? 'created' : before === weight ? 'duplicate' : 'enriched'] += 1;
      weights.set(animal, weight);
    }
    expect(outcomes).toEqual({ created: plan.created, enriched: plan.enriched, duplicate: plan.duplicate });
    expect(outcomes).toEqual({ created: 2000, enriched: 9000, duplicate: 9000 });
    expect(plan.finalWeights).toEqual(weights);
  });

  test('become records that all may be absorbed, each with a place of its own in the order of arrival', () => {
    const { visits } = planVisits({ count: 20_000, stored: 5000, knownPercent: 30 });
    const records = makeIncomingRecords(visits, {
      workspaceId: '018bcfe5-6800-7000-8000-000000000000',
      types: seedTypes,
      receiptsBefore: 7,
      receivedAtMicros: 1_760_000_000_000_000,
    });

    expect(records.every(({ judgement }) => judgement.ok && judgement.value.claims.length === 2)).toBe(true);
    expect(new Set(records.map(({ entryId }) => entryId)).size).toBe(20_000);
    expect([records[0]!.receivedSequence, records.at(-1)!.receivedSequence]).toEqual([8, 9]);
  });
});
