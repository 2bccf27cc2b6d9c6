import { setImmediate } from 'node:timers/promises';
import { entryIdAt } from '#platform/ids.ts';
import { parseInteroperableJson } from '#platform/json/interoperable-json.ts';
import {
  findBrokenRule,
  judgeRecord,
  readJsonRecord,
  refuse,
  type IncomingRecord,
  type JudgedRecord,
  type Judgement,
  type JudgingContext,
  type QualityRule,
  type SubmittedRecord,
  type TypeRegistry,
  type ValueChain,
} from '#domains/items/index.ts';
import { classifyColumns, readCsvRecord, type CsvColumns, type CsvLayout } from './csv-records.ts';
import { csvPlaces, jsonPlaces } from './record-places.ts';
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
 * @param qualityRules of the workspace; a record that breaks one is refused as well.
 */
export async function readChunk(
  chunk: DueChunk,
  receipt: ReceiptContext,
  bytes: Buffer,
  types: TypeRegistry,
  qualityRules: readonly QualityRule[],
): Promise<IncomingRecord[]> {
  const context = judgingContextOf(chunk.workspace_id, receipt, types);
  const judge = makeJudge(receipt, context, qualityRules);
  const cuts = asCounted(cutChunk(chunk, receipt, bytes), chunk);
  const read = makeReader(chunk, receipt, bytes, types);
  const records: IncomingRecord[] = [];
  for (let from = 0; from < cuts.length; from += judgedAtOnce) {
    if (from > 0) await setImmediate();
    const some = cuts.slice(from, from + judgedAtOnce);
    for (const [at, submitted] of read(some).entries()) {
      const cut = some[at]!;
      records.push({
        entryId: entryIdAt(chunk.receipt_id, chunk.first_position + from + at),
        receivedSequence: chunk.received_sequence,
        receivedAtMicros: receipt.received_at_micros,
        line: cut.line,
        byteStart: cut.start,
        byteLength: cut.end - cut.start,
        judgement: submitted.ok ? judge(submitted.value) : submitted,
      });
    }
  }
  return records;
}

/** Reads the first record of a chunk as its sender wrote it, without judging it. */
export function readFirstRecord(
  chunk: DueChunk,
  receipt: ReceiptContext,
  bytes: Buffer,
  types: TypeRegistry,
): Judgement<SubmittedRecord> {
  return makeReader(chunk, receipt, bytes, types)(asCounted(cutChunk(chunk, receipt, bytes), chunk).slice(0, 1))[0]!;
}

/** What the records of a receipt are judged by. */
export function judgingContextOf(workspaceId: string, receipt: ReceiptContext, types: TypeRegistry): JudgingContext {
  return {
    workspaceId,
    defaults: {
      valueChain: receipt.default_value_chain as ValueChain | null,
      country: receipt.default_country,
      year: receipt.default_year,
      circuitId: receipt.default_circuit_id,
    },
    types,
    nowMicros: receipt.received_at_micros,
  };
}

/** Judges records of a receipt one by one: by the engine's own rules, then by those of the workspace. */
export function makeJudge(
  receipt: Pick<ReceiptContext, 'csv_layout'>,
  context: JudgingContext,
  qualityRules: readonly QualityRule[],
): (record: SubmittedRecord) => Judgement<JudgedRecord> {
  if (qualityRules.length === 0) return (record) => judgeRecord(record, context);
  const { types } = context;
  const columns = receipt.csv_layout && classifyColumns(receipt.csv_layout.columns, types);
  return (record) => {
    const judgement = judgeRecord(record, context);
    if (!judgement.ok) return judgement;
    const places = columns ? csvPlaces(columns) : jsonPlaces(record);
    const fault = findBrokenRule(judgement.value, qualityRules, types, places);
    return fault ? { ok: false, fault } : judgement;
  };
}

type Reader = (cuts: readonly Cut[]) => Judgement<SubmittedRecord>[];

function makeReader(chunk: DueChunk, receipt: ReceiptContext, bytes: Buffer, types: TypeRegistry): Reader {
  return receipt.csv_layout
    ? makeCsvReader(bytes, chunk, receipt, receipt.csv_layout, types)
    : (cuts) => cuts.map((cut) => readJson(cut, bytes, chunk));
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

function readJson(cut: Cut, bytes: Buffer, chunk: DueChunk): Judgement<SubmittedRecord> {
  const badCode = cut.end - cut.start > recordBytesMax ? 'record_too_large' : cut.badCode;
  if (badCode) return refuse(badCode, '', refusalDetails[badCode]);
  const parsed = parseInteroperableJson(bytes, cut.start - chunk.byte_start, cut.end - chunk.byte_start);
  return parsed.ok ? readJsonRecord(parsed.value) : parsed;
}

function makeCsvReader(
  bytes: Buffer,
  chunk: DueChunk,
  receipt: ReceiptContext,
  layout: CsvLayout,
  types: TypeRegistry,
): Reader {
  const columns = classifyColumns(layout.columns, types);
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
      return readCsvRow(rows.next().value!, columns);
    });
  };
}

function readCsvRow(row: readonly string[], columns: CsvColumns): Judgement<SubmittedRecord> {
  const expected = columns.roles.length;
  if (row.length !== expected) {
    return refuse('csv_column_count', '', `the header has ${expected} columns, this line ${row.length}`);
  }
  const withNull = row.findIndex((value) => value.includes('\u0000'));
  if (withNull !== -1) return refuse('null_character', columns.pointers[withNull]!, 'the value holds U+0000');
  return { ok: true, value: readCsvRecord(row, columns) };
}
