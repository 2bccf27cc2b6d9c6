import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { canonicalJson } from './canonical.ts';
import { jsonPointer } from './pointer.ts';

describe('canonicalJson', () => {
  test('sorts members by UTF-16 code units and writes numbers and strings as RFC 8785 3.2 shows', () => {
    const value = {
      numbers: [Number('333333333.33333329'), 1e30, 4.5, 2e-3, 0.000000000000000000000000001],
      string: '€$\u000F\nA\'B"\\\\"/',
      literals: [null, true, false],
    };
    expect(canonicalJson(value)).toBe(
      String.raw`{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}`,
    );
    expect(canonicalJson({ '\uFB33': 1, '😀': 2, ö: 3, '1': 4 })).toBe('{"1":4,"ö":3,"😀":2,"\uFB33":1}');
  });

  test('gives the same text for the same value whatever the order of members, and keeps the value', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string({ unit: 'grapheme' }), fc.jsonValue()), (members) => {
        const reversed = Object.fromEntries(Object.entries(members).toReversed());
        const text = canonicalJson(members);
        expect(canonicalJson(reversed)).toBe(text);
        expect(canonicalJson(JSON.parse(text))).toBe(text);
      }),
    );
  });

  test('writes scalars as they stand inside a container', () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.string({ unit: 'grapheme' }), fc.double({ noNaN: true }), fc.boolean(), fc.constant(null)),
        (value) => {
          fc.pre(typeof value !== 'number' || Number.isFinite(value));
          expect(`[${canonicalJson(value)}]`).toBe(canonicalJson([value]));
        },
      ),
    );
  });

  test.each([
    [undefined, 'no canonical JSON form'],
    [Number.NaN, 'NaN'],
    [Number.POSITIVE_INFINITY, 'Infinity'],
    ['\uD800', 'surrogate'],
    [1n, 'BigInt'],
    [{ a: '\uDC00' }, 'surrogate'],
    [() => 1, 'no canonical JSON form'],
  ])('throws for %s, which has no canonical form', (value, message) => {
    expect(() => canonicalJson(value)).toThrow(message);
  });
});

describe('jsonPointer', () => {
  test('escapes tilde and slash (RFC 6901 section 5)', () => {
    expect(jsonPointer()).toBe('');
    expect(jsonPointer('')).toBe('/');
    expect(jsonPointer('a/b', 'm~n', 0, '~1', ' é')).toBe('/a~1b/m~0n/0/~01/ é');
  });
});
