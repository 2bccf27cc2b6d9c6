import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { JsonSyntaxError, makeJsonSyntaxScanner } from './syntax-scanner.ts';

interface TopLevelElement {
  start: number;
  end: number;
}

interface Outcome {
  kind?: 'object' | 'array';
  position?: number;
  reason?: string;
  elements: TopLevelElement[];
}

function scan(document: Buffer, cuts: readonly number[] = []): Outcome {
  const elements: TopLevelElement[] = [];
  const scanner = makeJsonSyntaxScanner({ onElement: (start, end) => elements.push({ start, end }) });
  const borders = [0, ...cuts.map((cut) => cut % (document.length + 1)).toSorted((a, b) => a - b), document.length];
  try {
    for (const [index, border] of borders.entries()) scanner.push(document.subarray(border, borders[index + 1]));
    return { kind: scanner.finish(), elements };
  } catch (error) {
    if (!(error instanceof JsonSyntaxError)) throw error;
    return { position: error.position, reason: error.reason, elements };
  }
}

function isJsonContainer(document: Buffer): boolean {
  try {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(document));
    return typeof value === 'object' && value !== null;
  } catch {
    return false;
  }
}

function sliceElements(document: Buffer): string[] {
  return scan(document).elements.map(({ start, end }) => document.toString('utf8', start, end));
}

const cutPoints = fc.array(fc.nat(), { maxLength: 8 });

const mutatedDocument = fc
  .tuple(
    fc.json({ maxDepth: 4, noUnicodeString: false }),
    fc.array(
      fc.record({
        at: fc.nat(),
        drop: fc.nat({ max: 2 }),
        insert: fc.oneof(
          fc.constantFrom(
            ...Array.from('{}[]:,"\\/- \t\n\r0123456789.eE+utrfalsn'),
            '\\u00e9',
            'true',
            'null',
            '"a":1',
            '\u0000',
          ),
          fc.uint8Array({ maxLength: 3 }),
          fc.constantFrom('é', '€', '😀').map((character) => Buffer.from(character)),
        ),
      }),
      { maxLength: 3 },
    ),
  )
  .map(([json, mutations]) => {
    let document = Buffer.from(`[${json}]`);
    for (const { at, drop, insert } of mutations) {
      const place = at % (document.length + 1);
      document = Buffer.concat([document.subarray(0, place), Buffer.from(insert), document.subarray(place + drop)]);
    }
    return document;
  });

describe('JSON syntax scanner', () => {
  test('accepts exactly what a strict UTF-8 decoder and JSON.parse accept, for any chunking', () => {
    fc.assert(
      fc.property(mutatedDocument, cutPoints, (document, cuts) => {
        const whole = scan(document);
        expect(whole.kind !== undefined).toBe(isJsonContainer(document));
        expect(scan(document, cuts)).toEqual(whole);
        expect(
          scan(
            document,
            Array.from(document, (_, index) => index),
          ),
        ).toEqual(whole);
      }),
      { numRuns: 3000 },
    );
  });

  test('accepts a byte sequence in a string exactly when it is UTF-8, and places the fault at its first byte', () => {
    const leads = [
      0x7f, 0x80, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf4, 0xf5, 0xff,
    ];
    const followers = [0x22, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0];
    for (const lead of leads) {
      for (const second of followers) {
        for (const third of followers) {
          const document = Buffer.from([0x5b, 0x22, lead, second, third, 0x80, 0x22, 0x5d]);
          expect(scan(document).kind !== undefined).toBe(isJsonContainer(document));
        }
      }
    }
    expect(scan(Buffer.from([0x5b, 0x22, 0x61, 0xe2, 0x82, 0x22, 0x5d]))).toMatchObject({
      position: 3,
      reason: 'not UTF-8',
    });
    expect(scan(Buffer.from([0x5b, 0x22, 0xe2, 0x82]))).toMatchObject({ position: 2, reason: 'not UTF-8' });
    expect(scan(Buffer.from([0xff, 0xfe, 0x5b, 0x00]))).toMatchObject({ position: 0, reason: 'not UTF-8' });
  });

  test('tells the place of each element of a top-level array', () => {
    const document = Buffer.from('\uFEFF [ {"a":[1,{}]} ,2.5e3\n, "x,]é" ,[[]],null,-0]\r\n');
    expect(sliceElements(document)).toEqual(['{"a":[1,{}]}', '2.5e3', '"x,]é"', '[[]]', 'null', '-0']);
    expect(scan(document).kind).toBe('array');
    expect(sliceElements(Buffer.from(' [ ] '))).toEqual([]);
  });

  test('tells the place of a whole top-level object, once', () => {
    const document = Buffer.from(' {"a":[1,2],"b":{"c":{}}} ');
    expect(sliceElements(document)).toEqual(['{"a":[1,2],"b":{"c":{}}}']);
    expect(scan(document).kind).toBe('object');
  });

  test.each([
    ['', 0, 'the document is empty: an object or an array is expected'],
    [' \n', 2, 'the document is empty: an object or an array is expected'],
    ['\uFEFF', 3, 'the document is empty: an object or an array is expected'],
    ['42', 0, 'an object or an array is expected'],
    ['"a"', 0, 'an object or an array is expected'],
    ['{} {}', 3, 'nothing may follow the document'],
    ['[1,]', 3, 'a value is expected'],
    ['{"a":1,}', 7, 'a member name in double quotes is expected'],
    ["{'a':1}", 1, 'a member name in double quotes or } is expected'],
    ['{"a" 1}', 5, 'a colon is expected'],
    ['[1 2]', 3, 'a comma or the closing bracket is expected'],
    ['[1}', 2, 'a comma or the closing bracket is expected'],
    ['[01]', 2, 'a comma or the closing bracket is expected'],
    ['[1.]', 3, 'a digit is expected in the number'],
    ['[NaN]', 1, 'a value or ] is expected'],
    ['[trve]', 3, 'the word true is expected'],
    ['["\t"]', 2, 'a control character stands unescaped in a string'],
    ['[\u0001]', 1, 'a control character stands outside a string'],
    ['["\\x"]', 3, 'a string holds an unknown escape'],
    ['["\\u00g0"]', 6, 'four hexadecimal digits are expected after \\u'],
    ['[é]', 1, 'a value or ] is expected'],
    ['{"a":[1', 7, 'the document ends too early'],
  ])('refuses %j at byte %i: %s', (text, position, reason) => {
    expect(scan(Buffer.from(text))).toMatchObject({ position, reason });
  });

  test('throws the same fault again when pushed further', () => {
    const scanner = makeJsonSyntaxScanner({});
    expect(() => scanner.push(Buffer.from('[}'))).toThrow('at byte 1');
    expect(() => scanner.push(Buffer.from(']'))).toThrow('at byte 1');
    expect(() => scanner.finish()).toThrow('at byte 1');
  });

  test('reads sixteen million levels of nesting within seconds', () => {
    const half = 8 * 1024 * 1024;
    expect(scan(Buffer.concat([Buffer.alloc(half, '['), Buffer.alloc(half, ']')])).kind).toBe('array');
    expect(scan(Buffer.alloc(2 * half, '['))).toMatchObject({ position: 2 * half });
  }, 10_000);
});
