import { parse } from 'csv-parse/sync';

import type { CsvDelimiter } from './csv.ts';

/**
 * The fields of CSV records, as untrimmed strings: one row for each text, in the same order. The texts are well-formed
 * records as the CSV cutter finds them, decoded and without their line end; how many fields a row has is for the caller
 * to judge. Texts with quotes go through csv-parse in one call; without quotes RFC 4180 leaves nothing but to split.
 */
export function parseCsvRecords(texts: readonly string[], delimiter: CsvDelimiter): string[][] {
  const quoted = texts.filter((text) => text.includes('"'));
  const quotedRows = quoted.length === 0 ? [] : parseQuoted(quoted, delimiter);
  let next = 0;
  return texts.map((text) => (text.includes('"') ? quotedRows[next++]! : text.split(delimiter)));
}

function parseQuoted(texts: readonly string[], delimiter: CsvDelimiter): string[][] {
  const rows = parse(texts.join('\n'), { delimiter, record_delimiter: '\n', relax_column_count: true });
  if (rows.length !== texts.length) throw new Error('a text given as a CSV record is not one well-formed record');
  return rows;
}
