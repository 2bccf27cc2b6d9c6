import { describe, expect, test } from 'vitest';

import { decodeRecord } from './charset.ts';
import { parseCsvRecords } from './csv-values.ts';

describe('parseCsvRecords', () => {
  test('gives untrimmed fields, one row for each text, quoted or not', () => {
    expect(parseCsvRecords(['a; b ;', '"c";"d;""e"""', '""', 'f', '"g\r\nh"', 'i\rj;'], ';')).toEqual([
      ['a', ' b ', ''],
      ['c', 'd;"e"'],
      [''],
      ['f'],
      ['g\r\nh'],
      ['i\rj', ''],
    ]);
    expect(parseCsvRecords([], ',')).toEqual([]);
  });

  test('keeps what looks like a number, a date or nothing as the text it is', () => {
    expect(parseCsvRecords(['1,0555E+14\t007\tnull\t2025-01-02'], '\t')).toEqual([
      ['1,0555E+14', '007', 'null', '2025-01-02'],
    ]);
  });

  test('throws for a text that is not one record', () => {
    expect(() => parseCsvRecords(['"a"\n"b"'], ',')).toThrow('not one well-formed record');
  });
});

describe('decodeRecord', () => {
  test('gives the text of a byte range, and undefined where it is not UTF-8', () => {
    const bytes = Buffer.from('x\uFEFFé€y');
    expect(decodeRecord(bytes, 1, bytes.length - 1, 'utf-8')).toBe('\uFEFFé€');
    expect(decodeRecord(bytes, 0, bytes.length - 2, 'utf-8')).toBeUndefined();
  });

  test('reads the bytes 0x80 to 0x9F as Windows-1252, not as ISO 8859-1', () => {
    expect(decodeRecord(Buffer.from([0x80, 0x93, 0xe3, 0x9f]), 0, 4, 'windows-1252')).toBe('€“ãŸ');
  });
});
