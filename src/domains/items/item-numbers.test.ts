import type { Queryable } from '#platform/database.ts';
import { expect, test } from 'vitest';
import { makeItemNumberSource } from './item-numbers.ts';

/** A sequence whose answers come when the test lets them. */
function makeSequence() {
  let last = 0;
  const waiting: (() => void)[] = [];
  const query = ({ values }: { values: [number] }) => {
    const rows = Array.from({ length: values[0] }, () => ({ item_number: (last += 1) }));
    return new Promise((resolve) => void waiting.push(() => resolve({ rows })));
  };
  return {
    queryable: { query } as unknown as Queryable,
    answer: () => waiting.shift()!(),
  };
}

test('no number is handed out twice, whoever asks while the next block is on its way', async () => {
  const sequence = makeSequence();
  const take = makeItemNumberSource(sequence.queryable);
  const first = take(1990);
  sequence.answer();
  const taken = [...(await first)];

  const waiting = take(100);
  taken.push(...(await take(5)));
  sequence.answer();
  taken.push(...(await waiting), ...(await take(20)));

  expect(taken).toHaveLength(1990 + 100 + 5 + 20);
  expect(new Set(taken).size).toBe(taken.length);
});

test('more numbers than a block holds come at once', async () => {
  const sequence = makeSequence();
  const numbers = makeItemNumberSource(sequence.queryable)(10_000);
  sequence.answer();
  expect(new Set(await numbers).size).toBe(10_000);
});
