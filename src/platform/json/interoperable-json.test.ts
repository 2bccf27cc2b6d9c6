import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { parseInteroperableJson } from './interoperable-json.ts';

function parse(text: string | Buffer): ReturnType<typeof parseInteroperableJson> {
  const body = Buffer.concat([Buffer.from('{"before":"'), Buffer.from(text), Buffer.from('\\u0000"}')]);
  return parseInteroperableJson(body, 11, body.length - 8);
}

function faultOf(text: string | Buffer): string {
  const result = parse(text);
  return result.ok ? 'none' : `${result.fault.code} ${result.fault.pointer}`;
}

function nested(depth: number): string {
  return `${'{"a":'.repeat(depth - 1)}[]${'}'.repeat(depth - 1)}`;
}

describe('parseInteroperableJson', () => {
  test('reads any well-formed value as JSON.parse does', () => {
    fc.assert(
      fc.property(fc.jsonValue({ noUnicodeString: false }), (value) => {
        const text = JSON.stringify(value);
        fc.pre(text.isWellFormed() && !/\\u(?:d[89a-f]|0000)|e[+-]?\d|\d{16}/iu.test(text));
        expect(parse(text)).toEqual({ ok: true, value: JSON.parse(text) });
      }),
      { numRuns: 2000 },
    );
  });

  test('never disagrees with itself on whether there is a fault, and never lets malformed text pass', () => {
    const piece = fc.constantFrom(
      ...Array.from('{}[]:,"'),
      '"a"',
      '"a":',
      '"\\u0061":',
      '1',
      '1e400',
      '-0.10',
      '\\',
      '"\\ud83d\\ude00"',
      '"\\ud83d"',
      '"\\ude00"',
      '\\u0000',
      '"\\\\u0000"',
      'null',
      ' ',
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
        const text = `{"x":[${pieces.join('')}]}`;
        const result = parse(text);
        let wellFormed = true;
        try {
          JSON.parse(text);
        } catch {
          wellFormed = false;
        }
        expect(!result.ok && result.fault.code === 'invalid_json').toBe(!wellFormed);
      }),
      { numRuns: 5000 },
    );
  });

  test.each([
    ['{"a":1,"a":1}', 'duplicate_key /a'],
    ['{"x":[{},{"a/b~":1,"c":{"d":2},"a/b~":3}]}', 'duplicate_key /x/1/a~1b~0'],
    ['{"a":1,"\\u0061":2}', 'duplicate_key /a'],
    ['{"__proto__":1,"__proto__":2}', 'duplicate_key /__proto__'],
    ['{"a":{"b":1},"a":{"c":1}}', 'duplicate_key /a'],
    ['{"a":"x\\u0000y"}', 'null_character /a'],
    ['{"k\\u0000":1}', 'null_character /k\uFFFD'],
    ['[["\\ud800"]]', 'lone_surrogate /0/0'],
    ['["\\udc00\\ud800"]', 'lone_surrogate /0'],
    ['["\\ud800\\u0041"]', 'lone_surrogate /0'],
    ['["\\ud800\\\\udc00"]', 'lone_surrogate /0'],
    ['{"\\ud800":1}', 'lone_surrogate /\uFFFD'],
    ['{"a":[0,{"b":1e400}]}', 'number_not_interoperable /a/1/b'],
    ['', 'invalid_json '],
    ['{"a":1', 'invalid_json '],
    ['{"a":1}x', 'invalid_json '],
    ['\uFEFF{}', 'invalid_json '],
    ['{"a":1,"a":', 'invalid_json '],
  ])('refuses %j: %s', (text, fault) => {
    expect(faultOf(text)).toBe(fault);
  });

  test.each([
    '{"a":1,"b":{"a":1},"c":[{"a":1},{"a":1}]}',
    '{"a":1,"A":2}',
    '{"a":"\\ud83d\\ude00 \\u00e9 \\\\u0000 \\n \\" é😀"}',
    '{"\\ud83d\\ude00":1}',
    ' [ ] ',
    '42',
    '"text"',
  ])('reads %s', (text) => {
    expect(parse(text)).toEqual({ ok: true, value: JSON.parse(text) });
  });

  test.each(['0.1', '450.70', '1.0', '1e2', '-0', '0e999999999999', '9007199254740991', '-9007199254740991.0', '1E-7'])(
    'reads the number %s',
    (token) => expect(faultOf(`[${token}]`)).toBe('none'),
  );

  test.each(['21.176699999999997', '5e-324', '2.2250738585072014e-308', '0.10000000000000000', '12300e-2'])(
    'reads the number %s',
    (token) => expect(faultOf(`[${token}]`)).toBe('none'),
  );

  test.each([
    ['1e400'],
    ['-1e400'],
    ['1e-400'],
    ['9007199254740993'],
    ['9007199254740992'],
    ['-9007199254740992'],
    ['1e20'],
    ['1.5e300'],
    ['0.1000000000000000055511151231257827'],
    ['9007199254740991.4'],
    ['0.30000000000000001'],
  ])('refuses the number %s', (token) => {
    expect(faultOf(`[${token}]`)).toBe('number_not_interoperable /0');
  });

  test('reads exactly the decimals that come back from a double, below the integers it cannot tell apart', () => {
    fc.assert(
      fc.property(
        fc.double({ noNaN: true, noDefaultInfinity: true }),
        fc.integer({ min: 1, max: 9 }),
        (number, digit) => {
          fc.pre(number !== 0);
          const isSurvivor = Number.isSafeInteger(number) || !Number.isInteger(number);
          expect(faultOf(`[${number}]`)).toBe(isSurvivor ? 'none' : 'number_not_interoperable /0');
          const [mantissa = '', exponent] = number.toExponential().split('e');
          const longer = `${mantissa}${mantissa.includes('.') ? '' : '.0'}00000000000000000${digit}e${exponent}`;
          expect(faultOf(`[${longer}]`)).toBe('number_not_interoperable /0');
        },
      ),
      { numRuns: 3000 },
    );
  });

  test('reads 64 levels and refuses the 65th, however deep it goes on', () => {
    expect(faultOf(nested(64))).toBe('none');
    expect(faultOf(nested(65))).toBe(`too_deep ${'/a'.repeat(64)}`);
    expect(faultOf(nested(200))).toBe(`too_deep ${'/a'.repeat(64)}`);
    expect(faultOf(Buffer.alloc(1_000_000, '['))).toBe('invalid_json ');
  });

  test('says at which byte of the record the text is malformed or not UTF-8', () => {
    expect(parse('{"a":tru}')).toMatchObject({ fault: { detail: 'the word true is expected at byte 8' } });
    const latin = parse(Buffer.from('{"a":"Jos\xe9"}', 'latin1'));
    expect(latin).toMatchObject({ fault: { code: 'invalid_utf8', pointer: '', detail: 'not UTF-8 at byte 9' } });
  });

  test('keeps __proto__ as an ordinary member that reaches no prototype', () => {
    const result = parse('{"__proto__":{"polluted":true},"constructor":1}');
    expect(result.ok && Object.entries(Object(result.value))).toEqual([
      ['__proto__', { polluted: true }],
      ['constructor', 1],
    ]);
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
  });
});
