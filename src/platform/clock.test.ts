import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatDateTimeMicros, parseDateTimeMicros } from './clock.ts';

describe('RFC 3339 times', () => {
  it.each([
    ['1970-01-01T00:00:00Z', 0],
    ['1970-01-01T00:00:00.000001Z', 1],
    ['2025-03-14T09:26:53.589793238Z', 1_741_944_413_589_793],
    ['2025-03-14T06:26:53-03:00', 1_741_944_413_000_000],
    ['2024-02-29t23:59:60z', 1_709_251_200_000_000],
    ['1700-01-01T00:00:00+00:00', -8_520_336_000_000_000],
  ])('%s is %d microseconds from the epoch', (text, micros) => {
    expect(parseDateTimeMicros(text)).toBe(micros);
  });

  it.each([
    '2025-02-29T00:00:00Z',
    '2025-13-01T00:00:00Z',
    '2025-01-01T24:00:00Z',
    '2025-01-01 00:00:00Z',
    '2025-01-01T00:00:00',
    '2025-01-01',
    '2025-01-01T00:00:00+24:00',
    '0001-01-01T00:00:00Z',
    '9999-12-31T23:59:59Z',
    '٢٠٢٥-01-01T00:00:00Z',
    '',
  ])('%j is refused', (text) => {
    expect(parseDateTimeMicros(text)).toBeUndefined();
  });

  it('reading what was written gives the same microsecond', () => {
    fc.assert(
      fc.property(fc.maxSafeInteger(), (micros) => {
        expect(parseDateTimeMicros(formatDateTimeMicros(micros))).toBe(micros);
      }),
    );
  });
});
