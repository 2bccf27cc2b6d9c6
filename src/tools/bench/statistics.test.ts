import { expect, test } from 'vitest';
import { median, quantile } from './statistics.ts';

test('the median is the middle value, or the mean of the two in the middle', () => {
  expect(median([9, 1, 5])).toBe(5);
  expect(median([10, 1, 5, 6])).toBe(5.5);
});

test('a quantile is the value at the nearest rank, whatever the order of the values', () => {
  const values = Array.from({ length: 200 }, (_, at) => 200 - at);
  expect(quantile(values, 0.5)).toBe(100);
  expect(quantile(values, 0.99)).toBe(198);
  expect(quantile([7], 0.99)).toBe(7);
});

test('there is no middle of nothing', () => {
  expect(median([])).toBeNaN();
  expect(quantile([], 0.5)).toBeNaN();
});
