import { foldName } from '#domains/items/index.ts';
import type { BodyCharset } from '../body-format.ts';
import { decodeRecord } from './charset.ts';
import { parseCsvRecords } from './csv-values.ts';
import { type CsvDelimiter, makeCsvCutter } from './csv.ts';

/** Why a CSV body has no usable header; each refuses the whole body. */
export type CsvHeaderFaultCode = 'csv_header_missing' | 'csv_header_malformed' | 'duplicate_column' | 'invalid_utf8';

/** What the header of a CSV body says; see {@link readCsvHeader}. */
export type CsvHeader =
  | {
      ok: true;
      delimiter: CsvDelimiter;
      /** One name for each column, trimmed, otherwise as written; `column_<n>`, n from 1, where the name is empty. */
      columns: string[];
      /** The bytes up to the first record, byte-order mark, blank lines before and line end included. */
      byteLength: number;
      /** The physical lines in these bytes; the first record starts on the line after. */
      lines: number;
    }
  | { ok: false; code: CsvHeaderFaultCode; detail: string };

/** The header must be complete within this many bytes. */
export const CSV_HEADER_LIMIT_BYTES = 64 * 1024;

/**
 * Reads the header of a CSV body (RFC 4180, quotes allowed). `firstBytes` is the whole body, or at least its first
 * {@link CSV_HEADER_LIMIT_BYTES} bytes. The delimiter is the comma, semicolon or tab that is most frequent outside
 * quotes in the header; the comma if there is none. Blank lines before the header are skipped.
 */
export function readCsvHeader(firstBytes: Buffer, charset: BodyCharset): CsvHeader {
  const start = skipBlankLines(firstBytes, BYTE_ORDER_MARK.equals(firstBytes.subarray(0, 3)) ? 3 : 0);
  if (start === firstBytes.length) return refuse('csv_header_missing', 'the body has no header line');
  const end = endOfHeader(firstBytes, start);
  if (end === undefined) {
    return refuse('csv_header_malformed', `the header is not complete within ${CSV_HEADER_LIMIT_BYTES} bytes`);
  }
  const delimiter = mostFrequentDelimiter(firstBytes.subarray(start, end));
  const header = firstBytes.subarray(start, end);
  const fault = findShapeFault(header, delimiter);
  if (fault !== undefined) return refuse('csv_header_malformed', fault);
  const text = decodeRecord(header, 0, header.length, charset);
  if (text === undefined) return refuse('invalid_utf8', 'the header is not UTF-8');
  const columns = nameColumns(text, delimiter);
  const duplicate = findDuplicate(columns);
  if (duplicate !== undefined) return refuse('duplicate_column', `two columns are named ${duplicate}`);
  return { ok: true, delimiter, columns, byteLength: end, lines: countLines(firstBytes.subarray(0, end)) };
}

const BYTE_ORDER_MARK = Buffer.from([0xef, 0xbb, 0xbf]);
const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;
const QUOTE = 0x22;
const DELIMITERS = [',', ';', '\t'] as const satisfies readonly CsvDelimiter[];

function refuse(code: CsvHeaderFaultCode, detail: string): CsvHeader {
  return { ok: false, code, detail };
}

function skipBlankLines(bytes: Buffer, from: number): number {
  let lineStart = from;
  for (let index = from; index < bytes.length; index += 1) {
    const byte = bytes[index];
    if (byte === LINE_FEED) lineStart = index + 1;
    else if (byte !== 0x20 && byte !== 0x09 && byte !== CARRIAGE_RETURN) return lineStart;
  }
  return bytes.length;
}

/** The offset after the first line end outside quotes, or the end of a body that has none; undefined if too far. */
function endOfHeader(bytes: Buffer, start: number): number | undefined {
  const limit = Math.min(bytes.length, CSV_HEADER_LIMIT_BYTES);
  let quoted = false;
  for (let index = start; index < limit; index += 1) {
    if (bytes[index] === QUOTE) quoted = !quoted;
    else if (bytes[index] === LINE_FEED && !quoted) return index + 1;
  }
  return limit < CSV_HEADER_LIMIT_BYTES ? limit : undefined;
}

function mostFrequentDelimiter(header: Buffer): CsvDelimiter {
  const counts = new Map<number, number>();
  let quoted = false;
  for (const byte of header) {
    if (byte === QUOTE) quoted = !quoted;
    else if (!quoted) counts.set(byte, (counts.get(byte) ?? 0) + 1);
  }
  const frequency = (delimiter: CsvDelimiter): number => counts.get(delimiter.charCodeAt(0)) ?? 0;
  // The sort is stable: the comma wins where the counts are equal.
  return DELIMITERS.toSorted((one, other) => frequency(other) - frequency(one))[0]!;
}

function findShapeFault(header: Buffer, delimiter: CsvDelimiter): string | undefined {
  let records = 0;
  let stray = false;
  const cutter = makeCsvCutter({
    delimiter,
    startOffset: 0,
    startLine: 1,
    onRecord: () => (records += 1),
    onBadRecord: () => (stray = true),
  });
  cutter.push(header);
  cutter.finish();
  if (stray || records !== 1) return 'the header has a quote that is stray or not closed';
  if (header.includes(0)) return 'the header holds the character U+0000: is the body UTF-16?';
  const loneReturn = header.findIndex((byte, index) => byte === CARRIAGE_RETURN && header[index + 1] !== LINE_FEED);
  if (loneReturn >= 0 && loneReturn < header.length - 1) return 'lines must end with \\n or \\r\\n, not with \\r alone';
  return undefined;
}

function nameColumns(header: string, delimiter: CsvDelimiter): string[] {
  const names = parseCsvRecords([header.replace(/\r?\n?$/u, '')], delimiter)[0] ?? [];
  return names.map((name, index) => name.trim() || `column_${index + 1}`);
}

function findDuplicate(columns: readonly string[]): string | undefined {
  const seen = new Set<string>();
  return columns.find((column) => {
    const folded = foldName(column);
    if (seen.has(folded)) return true;
    seen.add(folded);
    return false;
  });
}

function countLines(bytes: Buffer): number {
  let lines = 0;
  for (const byte of bytes) if (byte === LINE_FEED) lines += 1;
  return bytes.at(-1) === LINE_FEED ? lines : lines + 1;
}
