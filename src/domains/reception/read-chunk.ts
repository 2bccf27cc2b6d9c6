import { setImmediate } from 'node:timers/promises';
import { entryIdAt } from '#platform/ids.ts';
import { parseInteroperableJson } from '#platform/json/interoperable-json.ts';
import {
  judgeRecord,
  readJsonRecord,
  refuse,
  type IncomingRecord,
  type JudgedRecord,
  type Judgement,
  type JudgingContext,
  type TypeRegistry,
  type ValueChain,
} from '#domains/items/index.ts';
import { classifyColumns, readCsvRecord, type CsvColumns, type CsvLayout } from './csv-records.ts';
import { decodeRecord } from './formats/charset.ts';
import { makeCsvCutter } from './formats/csv.ts';
import { parseCsvRecords } from './formats/csv-values.ts';
import type { BadRecordCode } from './formats/cutter.ts';
import { makeJsonElementsCutter } from './formats/json.ts';
import { makeNdjsonCutter } from './formats/ndjson.ts';
import type { DueChunk, ReceiptContext } from './work.store.ts';

/** One record is read into memory as a whole, with everything that it is made of. */
export const recordBytesMax = 1_048_576;

interface Cut {
  readonly start: number;
  readonly end: number;
  readonly line: number | null;
  readonly badCode?: RefusalOfCut;
}

type RefusalOfCut = BadRecordCode | 'record_not_found' | 'record_too_large';

const refusalDetails: Readonly<Record<RefusalOfCut, string>> = {
  csv_stray_quote: 'a quote may stand only around a whole field, and doubled inside one (RFC 4180, 2)',
  record_too_large: `a record has at most ${recordBytesMax} bytes`,
  record_not_found: 'the record could not be found again where it was counted',
  csv_unterminated_quote: 'the quoted field that opens on this line does not end within 100 lines and 64 KiB',
};

/** Records that are judged without letting anything else run: about two milliseconds. */
const judgedAtOnce = 64;

/**
 * Reads the records of a chunk from its bytes and judges each: a bad record costs only itself. Pauses now and then, so
 * that the transactions of other chunks, for which others may wait, go on meanwhile.
 * @param bytes the chunk's slice of the body.
 */
export async function readChunk(
  chunk: DueChunk,
  receipt: ReceiptContext,
  bytes: Buffer,
  types: TypeRegistry,
): Promise<IncomingRecord[]> {
  const context: JudgingContext = {
    workspaceId: chunk.workspace_id,
    defaults: {
      valueChain: receipt.default_value_chain as ValueChain | null,
      country: receipt.default_country,
      year: receipt.default_year,
    },
    types,
    nowMicros: receipt.received_at_micros,
  };
  const cuts = asCounted(cutChunk(chunk, receipt, bytes), chunk);
  const judge = receipt.csv_layout
    ? makeCsvJudge(bytes, chunk, receipt, receipt.csv_layout, context)
    : (some: readonly Cut[]) => some.map((cut) => judgeJson(cut, bytes, chunk, context));
  const records: IncomingRecord[] = [];
  for (let from = 0; from < cuts.length; from += judgedAtOnce) {
    if (from > 0) await setImmediate();
    const some = cuts.slice(from, from + judgedAtOnce);
    for (const [at, judgement] of judge(some).entries()) {
      const cut = some[at]!;
      records.push({
        entryId: entryIdAt(chunk.receipt_id, chunk.first_position + from + at),
        receivedSequence: chunk.received_sequence,
        receivedAtMicros: receipt.received_at_micros,
        line: cut.line,
        byteStart: cut.start,
        byteLength: cut.end - cut.start,
        judgement,
      });
    }
  }
  return records;
}

/**
 * As many records as ingestion counted, whatever is found now: each position of a receipt gets exactly one entry, or the
 * receipt would never settle.
 */
function asCounted(
  cuts: readonly Cut[],
  { entry_count: count, byte_start: start, byte_length: length }: DueChunk,
): Cut[] {
  const missing = { start: start + length, end: start + length, line: null, badCode: 'record_not_found' } as const;
  return Array.from({ length: count }, (_none, at) => cuts[at] ?? missing);
}

function cutChunk(chunk: DueChunk, receipt: ReceiptContext, bytes: Buffer): Cut[] {
  const cuts: Cut[] = [];
  const options = {
    startOffset: chunk.byte_start,
    startLine: chunk.first_line ?? 1,
    onRecord: (start: number, end: number, line: number | null) => void cuts.push({ start, end, line }),
    onBadRecord: (start: number, end: number, line: number, badCode: BadRecordCode) =>
      void cuts.push({ start, end, line, badCode }),
  };
  const cutter =
    receipt.format === 'ndjson'
      ? makeNdjsonCutter(options)
      : receipt.format === 'json'
        ? makeJsonElementsCutter(options)
        : makeCsvCutter({ ...options, delimiter: receipt.csv_layout!.delimiter });
  cutter.push(bytes);
  cutter.finish();
  return cuts;
}

function judgeJson(cut: Cut, bytes: Buffer, chunk: DueChunk, context: JudgingContext): Judgement<JudgedRecord> {
  const badCode = cut.end - cut.start > recordBytesMax ? 'record_too_large' : cut.badCode;
  if (badCode) return refuse(badCode, '', refusalDetails[badCode]);
  const parsed = parseInteroperableJson(bytes, cut.start - chunk.byte_start, cut.end - chunk.byte_start);
  if (!parsed.ok) return parsed;
  const submitted = readJsonRecord(parsed.value);
  return submitted.ok ? judgeRecord(submitted.value, context) : submitted;
}

function makeCsvJudge(
  bytes: Buffer,
  chunk: DueChunk,
  receipt: ReceiptContext,
  layout: CsvLayout,
  context: JudgingContext,
): (cuts: readonly Cut[]) => Judgement<JudgedRecord>[] {
  const columns = classifyColumns(layout.columns, context.types);
  const decode = (cut: Cut) =>
    decodeRecord(bytes, cut.start - chunk.byte_start, cut.end - chunk.byte_start, receipt.charset);
  return (cuts) => {
    const texts = cuts.map((cut) => (cut.badCode ? undefined : decode(cut)));
    const rows = parseCsvRecords(
      texts.filter((text) => text !== undefined),
      layout.delimiter,
    ).values();
    return cuts.map(({ badCode }, at) => {
      if (badCode) return refuse(badCode, '', refusalDetails[badCode]);
      if (texts[at] === undefined) return refuse('invalid_utf8', '', 'the line is not UTF-8');
      return judgeCsvRow(rows.next().value!, columns, context);
    });
  };
}

function judgeCsvRow(row: readonly string[], columns: CsvColumns, context: JudgingContext): Judgement<JudgedRecord> {
  const expected = columns.roles.length;
  if (row.length !== expected) {
    return refuse('csv_column_count', '', `the header has ${expected} columns, this line ${row.length}`);
  }
  const withNull = row.findIndex((value) => value.includes('\u0000'));
  if (withNull !== -1) return refuse('null_character', columns.pointers[withNull]!, 'the value holds U+0000');
  return judgeRecord(readCsvRecord(row, columns), context);
}
