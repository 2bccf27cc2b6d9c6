import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import type { CutListener, RecordCutter } from './cutter.ts';
import { makeJsonCutter, makeJsonElementsCutter } from './json.ts';
import { makeNdjsonCutter } from './ndjson.ts';

interface Found {
  byteStart: number;
  byteEnd: number;
  line: number | null;
}

type MakeCutter = (onRecord: CutListener['onRecord']) => RecordCutter;

const ndjson: MakeCutter = (onRecord) => makeNdjsonCutter({ onRecord });
const json: MakeCutter = (onRecord) => makeJsonCutter({ onRecord });
const jsonElementsFrom =
  (startOffset: number): MakeCutter =>
  (onRecord) =>
    makeJsonElementsCutter({ startOffset, onRecord });

function cut(body: Buffer, makeCutter: MakeCutter, chunkSizes: readonly number[] = [], startOffset = 0): Found[] {
  const found: Found[] = [];
  const cutter = makeCutter((byteStart, byteEnd, line) => found.push({ byteStart, byteEnd, line }));
  let offset = startOffset;
  for (const size of chunkSizes) {
    cutter.push(body.subarray(offset, offset + size));
    offset += size;
  }
  cutter.push(body.subarray(offset));
  cutter.finish();
  return found;
}

function textsOf(body: Buffer, found: readonly Found[]): string[] {
  return found.map(({ byteStart, byteEnd }) => body.toString('utf8', byteStart, byteEnd));
}

const chunkSizes = fc.array(fc.nat({ max: 20 }), { maxLength: 20 });
const blank = fc.string({ unit: fc.constantFrom(' ', '\t', '\r', '\n'), maxLength: 2 });
const jsonElements = fc.array(fc.tuple(blank, fc.json({ maxDepth: 3, noUnicodeString: false }), blank), {
  maxLength: 6,
});
const mark = fc.constantFrom('', '\uFEFF');

describe('NDJSON cutter', () => {
  const lineText = fc.string({ unit: fc.constantFrom(...Array.from('{}"a \t\ré\uFEFF')), maxLength: 6 });
  const content = /[^ \t\r]/u;

  test('finds every line that is not blank, with its number, for any chunking', () => {
    fc.assert(
      fc.property(
        mark,
        fc.array(lineText),
        fc.constantFrom('\n', '\r\n'),
        chunkSizes,
        (start, lines, lineEnd, sizes) => {
          fc.pre(start !== '' || lines[0]?.startsWith('\uFEFF') !== true);
          const text = lines.join(lineEnd);
          const body = Buffer.from(start + text);
          const expected = text
            .split('\n')
            .map((line, index) => ({ text: line.replace(/\r$/u, ''), line: index + 1 }))
            .filter((line) => content.test(line.text));
          const found = cut(body, ndjson, sizes);
          expect(textsOf(body, found)).toEqual(expected.map((line) => line.text));
          expect(found.map(({ line }) => line)).toEqual(expected.map(({ line }) => line));
        },
      ),
      { numRuns: 3000 },
    );
  });

  test('finds in a slice from a line start what it finds there in the whole body', () => {
    const body = Buffer.from('\uFEFF{"a":1}\r\n\n{"b":2}\n\uFEFF3\n4');
    const whole = cut(body, ndjson);
    expect(textsOf(body, whole)).toEqual(['{"a":1}', '{"b":2}', '\uFEFF3', '4']);
    for (const [index, { byteStart, line }] of whole.entries()) {
      const slice: MakeCutter = (onRecord) =>
        makeNdjsonCutter({ startOffset: byteStart, startLine: Number(line), onRecord });
      expect(cut(body, slice, [1, 1], byteStart)).toEqual(whole.slice(index));
    }
  });

  test('takes a byte-order mark only if it is whole', () => {
    const broken = Buffer.from([0xef, 0xbb, 0x0a, 0xef, 0xbb, 0xbf]);
    expect(cut(broken, ndjson, [1, 1, 1])).toEqual([
      { byteStart: 0, byteEnd: 2, line: 1 },
      { byteStart: 3, byteEnd: 6, line: 2 },
    ]);
    expect(cut(Buffer.from([0x31, 0xbb, 0xbf]), ndjson, [1, 1, 1])).toHaveLength(1);
  });
});

describe('JSON cutters', () => {
  test('find the same elements in an array and in a slice of it without brackets, for any chunking', () => {
    fc.assert(
      fc.property(mark, jsonElements, fc.nat(), chunkSizes, (start, elements, choice, sizes) => {
        const body = Buffer.from(`${start} [${elements.map((parts) => parts.join('')).join(',')}] `);
        const whole = cut(body, json, sizes);
        expect(textsOf(body, whole)).toEqual(elements.map(([, element]) => element.trim()));
        fc.pre(whole.length > 0);
        const from = choice % whole.length;
        const startOffset = whole[from]!.byteStart;
        const inside = body.subarray(0, body.lastIndexOf(']'));
        expect(cut(inside, jsonElementsFrom(startOffset), sizes, startOffset)).toEqual(whole.slice(from));
      }),
      { numRuns: 3000 },
    );
  });

  test('find the one record of a body that is an object', () => {
    const body = Buffer.from(' {"a":[{"b":"}\\""}]} ');
    const found = [{ byteStart: 1, byteEnd: body.length - 1, line: null }];
    expect(cut(body, json)).toEqual(found);
    expect(cut(body.subarray(0, -1), jsonElementsFrom(1), [], 1)).toEqual(found);
  });

  test('refuse a body that is not JSON with the byte position', () => {
    expect(() => cut(Buffer.from('[{"a":1},'), json)).toThrow('the document ends too early at byte 9');
  });
});
