import { entryIdAt } from '#platform/ids.ts';
import { parseInteroperableJson } from '#platform/json/interoperable-json.ts';
import {
  judgeRecord,
  readJsonRecord,
  type IncomingRecord,
  type JudgedRecord,
  type Judgement,
  type JudgingContext,
  type TypeRegistry,
  type ValueChain,
} from '#domains/items/index.ts';
import { classifyColumns, readCsvRecord, type CsvLayout } from './csv-records.ts';
import { decodeRecord } from './formats/charset.ts';
import { makeCsvCutter } from './formats/csv.ts';
import { parseCsvRecords } from './formats/csv-values.ts';
import type { BadRecordCode } from './formats/cutter.ts';
import { makeJsonElementsCutter } from './formats/json.ts';
import { makeNdjsonCutter } from './formats/ndjson.ts';
import type { DueChunk, ReceiptContext } from './work.store.ts';

interface Cut {
  readonly start: number;
  readonly end: number;
  readonly line: number | null;
  readonly badCode?: BadRecordCode;
}

const badRecordDetails: Readonly<Record<BadRecordCode, string>> = {
  csv_stray_quote: 'a quote may stand only around a whole field, and doubled inside one (RFC 4180, 2)',
  csv_unterminated_quote: 'the quoted field that opens on this line does not end within 100 lines and 64 KiB',
};

/**
 * Reads the records of a chunk from its bytes and judges each: a bad record costs only itself.
 * @param bytes the chunk's slice of the body.
 */
export function readChunk(
  chunk: DueChunk,
  receipt: ReceiptContext,
  bytes: Buffer,
  types: TypeRegistry,
): IncomingRecord[] {
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
  const cuts = cutChunk(chunk, receipt, bytes);
  const judgements =
    receipt.format === 'csv'
      ? judgeCsvLines(cuts, bytes, chunk, receipt, receipt.csv_layout!, context)
      : cuts.map((cut) => judgeJson(cut, bytes, chunk, context));
  return cuts.map((cut, at) => ({
    entryId: entryIdAt(chunk.receipt_id, chunk.first_position + at),
    receivedSequence: chunk.received_sequence,
    receivedAtMicros: receipt.received_at_micros,
    line: cut.line,
    byteStart: cut.start,
    byteLength: cut.end - cut.start,
    judgement: judgements[at]!,
  }));
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
  const parsed = parseInteroperableJson(bytes, cut.start - chunk.byte_start, cut.end - chunk.byte_start);
  if (!parsed.ok) return parsed;
  const submitted = readJsonRecord(parsed.value);
  return submitted.ok ? judgeRecord(submitted.value, context) : submitted;
}

function judgeCsvLines(
  cuts: readonly Cut[],
  bytes: Buffer,
  chunk: DueChunk,
  receipt: ReceiptContext,
  layout: CsvLayout,
  context: JudgingContext,
): Judgement<JudgedRecord>[] {
  const columns = classifyColumns(layout.columns, context.types);
  const texts = cuts.map((cut) =>
    cut.badCode
      ? undefined
      : decodeRecord(bytes, cut.start - chunk.byte_start, cut.end - chunk.byte_start, receipt.charset),
  );
  const rows = parseCsvRecords(
    texts.filter((text) => text !== undefined),
    layout.delimiter,
  );
  let nextRow = 0;
  return cuts.map((cut, at) => {
    if (cut.badCode)
      return { ok: false, fault: { code: cut.badCode, detail: badRecordDetails[cut.badCode], pointer: '' } };
    if (texts[at] === undefined)
      return { ok: false, fault: { code: 'invalid_utf8', detail: 'the line is not UTF-8', pointer: '' } };
    const row = rows[nextRow]!;
    nextRow += 1;
    const expected = layout.columns.length;
    if (row.length !== expected) {
      const detail = `the header has ${expected} columns, this line ${row.length}`;
      return { ok: false, fault: { code: 'csv_column_count', detail, pointer: '' } };
    }
    if (row.some((value) => value.includes('\u0000'))) {
      return {
        ok: false,
        fault: {
          code: 'null_character',
          detail: 'a value holds U+0000',
          pointer: columns.pointers[row.findIndex((value) => value.includes('\u0000'))]!,
        },
      };
    }
    return judgeRecord(readCsvRecord(row, columns), context);
  });
}
