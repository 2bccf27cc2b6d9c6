import { describe, expect, test } from 'vitest';

import { CSV_HEADER_LIMIT_BYTES, readCsvHeader } from './csv-header.ts';

function read(text: string): ReturnType<typeof readCsvHeader> {
  return readCsvHeader(Buffer.from(text), 'utf-8');
}

describe('readCsvHeader', () => {
  test.each([
    ['a,b;c,d\n1', ',', ['a', 'b;c', 'd']],
    ['peso (kg, vivo);lote\n1', ',', ['peso (kg', 'vivo);lote']],
    ['peso;lote, safra;uf\n1', ';', ['peso', 'lote, safra', 'uf']],
    ['a\tb\tc\n', '\t', ['a', 'b', 'c']],
    ['"x;y;z",b\n', ',', ['x;y;z', 'b']],
    ['only\n', ',', ['only']],
  ] as const)('takes the delimiter of %j from the header line', (text, delimiter, columns) => {
    expect(read(text)).toMatchObject({ ok: true, delimiter, columns });
  });

  test('says where the records begin, after a byte-order mark, blank lines and quoted line ends', () => {
    expect(read('\uFEFF \r\n\n"a\r\nb",c\r\n1,2')).toEqual({
      ok: true,
      delimiter: ',',
      columns: ['a\r\nb', 'c'],
      byteLength: 17,
      lines: 4,
    });
    expect(read('a,b')).toMatchObject({ byteLength: 3, lines: 1 });
    expect(read('a,b\r')).toMatchObject({ byteLength: 4, columns: ['a', 'b'] });
  });

  test('trims names, keeps them as written otherwise, and names the columns that have none', () => {
    expect(read(' Raça ,, "" ,\n')).toMatchObject({ ok: false, code: 'csv_header_malformed' });
    expect(read(' Raça ,,"",\n')).toMatchObject({ columns: ['Raça', 'column_2', 'column_3', 'column_4'] });
  });

  test('two names that differ by case, accents or blanks only are one name', () => {
    expect(read('observacao; Observação \n')).toMatchObject({ code: 'duplicate_column' });
    expect(read('raca;Raça\n')).toMatchObject({ code: 'duplicate_column', detail: 'two columns are named Raça' });
    expect(read('a, A\n')).toMatchObject({ code: 'duplicate_column' });
    expect(read(',column_1\n')).toMatchObject({ code: 'duplicate_column' });
  });

  test.each([
    ['', 'csv_header_missing'],
    ['\uFEFF\r\n \n', 'csv_header_missing'],
    ['a,"b\n1,2\n', 'csv_header_malformed'],
    ['a,b"c"\n', 'csv_header_malformed'],
    ['a\rb\rc\r1', 'csv_header_malformed'],
    ['a\u0000,b\n', 'csv_header_malformed'],
    ['x'.repeat(CSV_HEADER_LIMIT_BYTES), 'csv_header_malformed'],
  ])('refuses %j with %s', (text, code) => {
    expect(read(text)).toMatchObject({ ok: false, code });
  });

  test('reads Windows-1252 where that is declared, and refuses it where UTF-8 is', () => {
    const bytes = Buffer.from([0x72, 0x61, 0xe7, 0x61, 0x3b, 0x80, 0x0a]);
    expect(readCsvHeader(bytes, 'windows-1252')).toMatchObject({ ok: true, columns: ['raça', '€'] });
    expect(readCsvHeader(bytes, 'utf-8')).toMatchObject({ ok: false, code: 'invalid_utf8' });
  });
});
