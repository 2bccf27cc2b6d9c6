import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { groupByShared } from './group-by-shared.ts';

/** The definition, by passes that are repeated until nothing changes. */
function groupSlowly(members: readonly (readonly number[])[]): number[][] {
  const labels = members.map((_member, index) => index);
  for (let changed = true; changed;) {
    changed = false;
    for (const [one, first] of members.entries()) {
      for (const [other, second] of members.entries()) {
        if (labels[one]! <= labels[other]! || !first.some((shared) => second.includes(shared))) continue;
        labels[one] = labels[other]!;
        changed = true;
      }
    }
  }
  return [...Map.groupBy(labels.keys(), (index) => labels[index]).values()];
}

describe('groups of members', () => {
  test('are those that share something, directly or through others, in the order of the members', () => {
    fc.assert(
      fc.property(fc.array(fc.array(fc.nat(12), { maxLength: 3 }), { maxLength: 12 }), (members) => {
        const groups = groupByShared([...members.keys()], (index) => members[index]!);
        expect(groups).toEqual(groupSlowly(members));
      }),
      { numRuns: 500 },
    );
  });

  test('take nearly linear time, also when all hang together', () => {
    const chain = (count: number) => Array.from({ length: count }, (_nothing, at) => [at, at + 1]);
    const measure = (count: number) => {
      const began = process.cpuUsage();
      expect(groupByShared(chain(count), (member) => member)).toHaveLength(1);
      // The system knows the sum exactly, and guesses by ticks which part of it was the user's: perhaps none.
      const { user, system } = process.cpuUsage(began);
      return user + system;
    };
    // Whatever else the process does meanwhile, such as collecting garbage, only adds to a measurement.
    const least = (count: number) => Math.min(...Array.from({ length: 5 }, () => measure(count)));

    const [part, whole] = [least(50_000), least(400_000)];

    // Eight times as many; quadratic work would take sixty-four times as long.
    expect(whole / part).toBeLessThan(32);
  });
});
