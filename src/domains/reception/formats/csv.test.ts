import { parse } from 'csv-parse/sync';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { parseCsvRecords } from './csv-values.ts';
import { type CsvDelimiter, makeCsvCutter } from './csv.ts';

interface Found {
  text: string;
  line: number | null;
  code?: string;
}

function cut(body: Buffer, delimiter: CsvDelimiter = ',', chunkSizes: readonly number[] = []): Found[] {
  const found: Found[] = [];
  const cutter = makeCsvCutter({
    delimiter,
    startOffset: 0,
    startLine: 1,
    onRecord: (start, end, line) => found.push({ text: body.toString('utf8', start, end), line }),
    onBadRecord: (start, end, line, code) => found.push({ text: body.toString('utf8', start, end), line, code }),
  });
  let offset = 0;
  for (const size of chunkSizes) {
    // A copy that is overwritten afterwards, as a stream's buffer may be.
    const chunk = Buffer.from(body.subarray(offset, offset + size));
    cutter.push(chunk);
    chunk.fill(0x22);
    offset += size;
  }
  cutter.push(body.subarray(offset));
  cutter.finish();
  return found;
}

function cutText(text: string): string[] {
  return cut(Buffer.from(text)).map(({ line, text: record, code }) => `${line} ${code ?? 'record'} ${record}`);
}

const delimiters = fc.constantFrom<CsvDelimiter>(',', ';', '\t');
const chunkSizes = fc.array(fc.nat({ max: 30 }), { maxLength: 20 });

/** A body of well-formed records together with the rows it was written from. */
const wellFormed = fc
  .record({
    delimiter: delimiters,
    lineEnd: fc.constantFrom('\n', '\r\n'),
    rows: fc.array(
      fc.array(
        fc.tuple(fc.string({ unit: fc.constantFrom(...Array.from('ab ,;\t"\r\né€')), maxLength: 6 }), fc.boolean()),
        {
          minLength: 2,
          maxLength: 4,
        },
      ),
      { maxLength: 8 },
    ),
    ended: fc.boolean(),
  })
  .map(({ delimiter, lineEnd, rows, ended }) => {
    const lines = rows.map((row) =>
      row
        .map(([field, quote]) => (quote || /[",;\t\r\n]/u.test(field) ? `"${field.replaceAll('"', '""')}"` : field))
        .join(delimiter),
    );
    const text = lines.join(lineEnd) + (ended ? lineEnd : '');
    return { delimiter, text, fields: rows.map((row) => row.map(([field]) => field)) };
  });

const hostile = fc.string({ unit: fc.constantFrom(...Array.from('a",\r\n\n""')), maxLength: 60 });

describe('CSV cutter', () => {
  test('finds in well-formed CSV the rows that were written and that csv-parse reads', () => {
    fc.assert(
      fc.property(wellFormed, chunkSizes, ({ delimiter, text, fields }, sizes) => {
        const found = cut(Buffer.from(text), delimiter, sizes);
        expect(found.filter(({ code }) => code !== undefined)).toEqual([]);
        const rows = parseCsvRecords(
          found.map((record) => record.text),
          delimiter,
        );
        expect(rows).toEqual(fields);
        expect(rows).toEqual(
          parse(text, {
            delimiter,
            record_delimiter: ['\r\n', '\n'],
            relax_column_count: true,
            skip_empty_lines: true,
          }),
        );
      }),
      { numRuns: 3000 },
    );
  });

  test('finds the same in any body for any chunking, and every line that is not blank is told of once', () => {
    fc.assert(
      fc.property(hostile, chunkSizes, (text, sizes) => {
        const body = Buffer.from(text);
        const whole = cut(body);
        expect(cut(body, ',', sizes)).toEqual(whole);
        expect(
          cut(
            body,
            ',',
            Array.from(body, () => 1),
          ),
        ).toEqual(whole);
        const told = whole.flatMap(({ text: record, line }) =>
          record.split('\n').map((_, index) => Number(line) + index),
        );
        const filled = text.split('\n').flatMap((line, index) => (/[^ \t\r]/u.test(line) ? [index + 1] : []));
        expect(new Set(told).size).toBe(told.length);
        expect(told).toEqual(expect.arrayContaining(filled));
      }),
      { numRuns: 5000 },
    );
  });

  test('finds in a slice from one record start to another what it finds there in the whole body', () => {
    fc.assert(
      fc.property(hostile, fc.nat(), fc.nat(), (text, one, other) => {
        const body = Buffer.from(text);
        const whole = cutPlaces(body, 0, 1, body.length);
        fc.pre(whole.length > 0);
        const from = one % whole.length;
        const to = from + (other % (whole.length - from + 1));
        const { start, line } = whole[from]!;
        const end = whole[to]?.start ?? body.length;
        expect(cutPlaces(body, start, line, end)).toEqual(whole.slice(from, to));
      }),
      { numRuns: 5000 },
    );
  });

  test('a line may end with \\n or \\r\\n, the last one with nothing, and a lone \\r is text', () => {
    expect(cutText('a,b\r\nc,d\n\n \t\r\ne\rf,g')).toEqual(['1 record a,b', '2 record c,d', '5 record e\rf,g']);
    expect(cutText('a,"b"\r')).toEqual(['1 record a,"b"']);
    expect(cutText('')).toEqual([]);
  });

  test('counts physical lines, those inside quotes too', () => {
    expect(cutText('a,"1\n2\r\n3"\nb,c')).toEqual(['1 record a,"1\n2\r\n3"', '4 record b,c']);
  });

  test('a stray quote rejects its physical line, and the other lines go on', () => {
    expect(cutText('a,b\nc"c,"d\n"e"e,f\n "g"\n"h"\r,i\nj,k')).toEqual([
      '1 record a,b',
      '2 csv_stray_quote c"c,"d',
      '3 csv_stray_quote "e"e,f',
      '4 csv_stray_quote  "g"',
      '5 csv_stray_quote "h"\r,i',
      '6 record j,k',
    ]);
  });

  test('an open quote rejects the line it stands on, and the lines it would have swallowed are read', () => {
    expect(cutText('a,"b\r\nc,d\ne,f')).toEqual(['1 csv_unterminated_quote a,"b', '2 record c,d', '3 record e,f']);
    expect(cutText('a,"b\nc,"d"\ne,f')).toEqual(['1 csv_unterminated_quote a,"b', '2 record c,"d"', '3 record e,f']);
    expect(cutText('a,"b')).toEqual(['1 csv_unterminated_quote a,"b']);
  });

  test('a quoted field may span 100 lines, not 101', () => {
    expect(cutText(`a,"${'\n'.repeat(99)}",b\nc`)).toHaveLength(2);
    const found = cutText(`a,"${'x\n'.repeat(100)}",b\nc`);
    expect(found.slice(0, 2)).toEqual(['1 csv_unterminated_quote a,"x', '2 record x']);
    expect(found.at(-1)).toBe('102 record c');
  });

  test('a quoted field must close within 64 KiB of its record, an unquoted one need not end', () => {
    const long = 'x'.repeat(64 * 1024);
    expect(cut(Buffer.from(`"${long.slice(2)}"\nb`)).map(({ code }) => code)).toEqual([undefined, undefined]);
    expect(cut(Buffer.from(`"${long}"\nb`)).map(({ code }) => code)).toEqual(['csv_unterminated_quote', undefined]);
    expect(cut(Buffer.from(`${long}${long}\nb`)).map(({ code }) => code)).toEqual([undefined, undefined]);
    expect(cut(Buffer.from(`"\n${long}",b\nc`)).map(({ code }) => code)).toEqual([
      'csv_unterminated_quote',
      'csv_stray_quote',
      undefined,
    ]);
  });

  const size = 16 * 1024 * 1024;
  test.each([
    ['quotes', Buffer.alloc(size, '"')],
    ['lines with a stray quote', Buffer.alloc(size, 'a"b\n')],
    ['lines of one quote', Buffer.alloc(size, '"\n')],
    ['an open quote every hundred lines', Buffer.alloc(size, `"aa\n${'b\n'.repeat(99)}`)],
    ['an open quote every hundred long lines', Buffer.alloc(size, `"aa\n${`${'b'.repeat(650)}\n`.repeat(99)}`)],
    ['an open quote every second line', Buffer.alloc(size, `"a\nb,""\n`)],
    ['line ends', Buffer.alloc(size, '\n')],
  ])('reads 16 MiB of %s in linear time', (_, body) => {
    const measure = (bytes: Buffer) => {
      const began = process.cpuUsage();
      let told = 0;
      const count = (): number => (told += 1);
      const cutter = makeCsvCutter({
        delimiter: ',',
        startOffset: 0,
        startLine: 1,
        onRecord: count,
        onBadRecord: count,
      });
      for (let offset = 0; offset < bytes.length; offset += 65_536)
        cutter.push(bytes.subarray(offset, offset + 65_536));
      cutter.finish();
      const { user, system } = process.cpuUsage(began);
      // The clock of a processor counts in ticks of some milliseconds.
      return { told, cpuMicros: Math.max(user + system, 10_000) };
    };
    measure(body.subarray(0, size / 16));

    const [part, whole] = [measure(body.subarray(0, size / 4)), measure(body)];

    // Four times the bytes; quadratic work would take sixteen times as long.
    expect(whole.cpuMicros / part.cpuMicros).toBeLessThan(10);
    expect(whole.told).toBeLessThanOrEqual(size / 2);
  });
});

interface Place {
  start: number;
  end: number;
  line: number;
  code: string;
}

function cutPlaces(body: Buffer, startOffset: number, startLine: number, bodyEnd: number): Place[] {
  const places: Place[] = [];
  const cutter = makeCsvCutter({
    delimiter: ',',
    startOffset,
    startLine,
    onRecord: (start, end, line) => places.push({ start, end, line: Number(line), code: 'record' }),
    onBadRecord: (start, end, line, code) => places.push({ start, end, line, code }),
  });
  cutter.push(body.subarray(startOffset, bodyEnd));
  cutter.finish();
  return places;
}
