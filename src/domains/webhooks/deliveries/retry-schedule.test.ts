import { describe, expect, test } from 'vitest';
import { defaultDelaysSeconds, nextDelaySeconds, readRetryAfter } from './retry-schedule.ts';

const rule = { maxRetries: 9, firstDelaySeconds: undefined, schedule: defaultDelaysSeconds };
const noAnswer = { status: undefined, retryAfterSeconds: undefined };
const delays = (outcome: { status: number | undefined; retryAfterSeconds: number | undefined }, more: object = {}) =>
  Array.from({ length: 12 }, (_, at) => nextDelaySeconds(outcome, at + 1, { ...rule, ...more }, 1));

describe('the delay before the next attempt', () => {
  test('is that of the schedule, nine times', () => {
    expect(delays(noAnswer)).toEqual([...defaultDelaysSeconds, undefined, undefined, undefined]);
    expect(delays({ ...noAnswer, status: 503 })).toEqual(delays(noAnswer));
  });

  test('is at least half of that, by chance', () => {
    expect([0, 0.5].map((random) => nextDelaySeconds(noAnswer, 1, rule, random))).toEqual([2.5, 3.75]);
  });

  test('doubles from the first one that an endpoint names', () => {
    expect(delays(noAnswer, { firstDelaySeconds: 10, maxRetries: 4 }).slice(0, 5)).toEqual([10, 20, 40, 80, undefined]);
    expect(nextDelaySeconds(noAnswer, 30, { ...rule, maxRetries: 30, firstDelaySeconds: 60 }, 1)).toBe(86_400);
  });

  test('is never below what the receiver asks for', () => {
    expect(nextDelaySeconds({ status: 429, retryAfterSeconds: 90 }, 1, rule, 1)).toBe(90);
    expect(nextDelaySeconds({ status: 429, retryAfterSeconds: 1 }, 1, rule, 1)).toBe(5);
  });

  test('is none after 410, and after a few refusals, but for those of a moment', () => {
    expect(nextDelaySeconds({ ...noAnswer, status: 410 }, 1, rule, 1)).toBeUndefined();
    expect(delays({ ...noAnswer, status: 404 }).filter((delay) => delay !== undefined)).toHaveLength(3);
    for (const status of [408, 425, 429])
      expect(delays({ ...noAnswer, status }).filter((delay) => delay !== undefined)).toHaveLength(9);
  });
});

test.each([
  ['120', 120],
  ['0', 0],
  ['Sat, 28 Nov 2026 12:00:30 GMT', 30],
  ['Sat, 28 Nov 2026 11:00:00 GMT', 0],
  ['Saturday, 28-Nov-26 12:00:30 GMT', 30],
  ['Sat Nov 28 12:00:30 2026', 30],
  ['soon', undefined],
  ['-5', undefined],
  [undefined, undefined],
])('Retry-After %j asks for %j seconds', (text, seconds) => {
  expect(readRetryAfter(text, Date.parse('2026-11-28T12:00:00Z'))).toBe(seconds);
});
