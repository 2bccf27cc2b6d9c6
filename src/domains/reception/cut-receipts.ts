import type { Queryable } from '#platform/database.ts';
import type { TypeRegistry } from '#domains/items/index.ts';
import { classifyColumns, findSharedField, sharedFieldDetail, type CsvLayout } from './csv-records.ts';
import { makeCsvCutter } from './formats/csv.ts';
import { readCsvHeader } from './formats/csv-header.ts';
import type { RecordCutter } from './formats/cutter.ts';
import { makeJsonCutter } from './formats/json.ts';
import { makeNdjsonCutter } from './formats/ndjson.ts';
import { bodyPartBytes, readBodyRange, readSmallBodies } from './receipts.store.ts';
import { insertChunks, markCut, type CutResult, type NewChunk, type UncutReceipt } from './work.store.ts';

/** Records and bytes of a chunk at most; one larger record is a chunk of its own. */
export const chunkEntriesMax = 500;
const chunkBytesMax = 1_048_576;
/** A line of a CSV takes a dozen bytes at least, so a full body of real records stays below this. */
const entriesMax = 1_000_000;
/** Receipts up to this size are served before bulk. */
const smallLaneEntriesMax = 100;

export const smallLane = 0;
export const bulkLane = 1;

/** Collects neighbouring records into chunks. */
class ChunkCollector {
  readonly chunks: Omit<NewChunk, 'receiptId' | 'workspaceId' | 'receivedSequence' | 'lane'>[] = [];
  entryTotal = 0;
  #start = 0;
  #end = 0;
  #count = 0;
  #firstLine: number | null = null;
  /** Whether a chunk holds all bytes up to the next record: how a line ends may only show behind it. */
  readonly #reachesNext: boolean;

  constructor(reachesNext: boolean) {
    this.#reachesNext = reachesNext;
  }

  add(start: number, end: number, line: number | null): void {
    if (this.entryTotal === entriesMax) throw new RangeError(`a receipt holds at most ${entriesMax} records`);
    if (this.#count === chunkEntriesMax || (this.#count > 0 && end - this.#start > chunkBytesMax))
      this.#close(this.#reachesNext ? start : this.#end);
    if (this.#count === 0) {
      this.#start = start;
      this.#firstLine = line;
    }
    this.#end = end;
    this.#count += 1;
    this.entryTotal += 1;
  }

  finish(bodyBytes: number): void {
    if (this.#count > 0) this.#close(this.#reachesNext ? bodyBytes : this.#end);
  }

  #close(end: number): void {
    this.chunks.push({
      chunkNumber: this.chunks.length,
      byteStart: this.#start,
      byteLength: end - this.#start,
      firstPosition: this.entryTotal - this.#count,
      firstLine: this.#firstLine,
      entryCount: this.#count,
    });
    this.#count = 0;
  }
}

export interface CutReceipts {
  readonly chunks: readonly NewChunk[];
  readonly results: readonly CutResult[];
}

/** Finds the records of receipts, part by part, and writes their chunk rows in the caller's transaction. */
export async function cutReceipts(
  client: Queryable,
  receipts: readonly UncutReceipt[],
  types: TypeRegistry,
): Promise<CutReceipts> {
  const chunks: NewChunk[] = [];
  const results: CutResult[] = [];
  const small = receipts.filter((receipt) => receipt.size_bytes <= bodyPartBytes);
  const bodies = await readSmallBodies(
    client,
    small.map((receipt) => receipt.receipt_id),
  );
  for (const receipt of receipts) {
    const whole = bodies.get(receipt.receipt_id);
    const { collector, ...result } = await cutReceipt(
      receipt,
      (start, end) => whole?.subarray(start, end) ?? readBodyRange(client, receipt.receipt_id, start, end),
      types,
    );
    const lane = collector.entryTotal <= smallLaneEntriesMax ? smallLane : bulkLane;
    const { receipt_id: receiptId, workspace_id: workspaceId, received_sequence: receivedSequence } = receipt;
    if (!result.failure)
      for (const chunk of collector.chunks) chunks.push({ receiptId, workspaceId, receivedSequence, lane, ...chunk });
    results.push({ receiptId, entryTotal: result.failure ? 0 : collector.entryTotal, ...result });
  }
  await insertChunks(client, chunks);
  await markCut(client, results);
  return { chunks, results };
}

/** What a body is, for cutting it. */
type CuttableBody = Pick<UncutReceipt, 'format' | 'charset' | 'size_bytes'>;

/** Finds the records of one body, which is read part by part. */
export async function cutReceipt(
  receipt: CuttableBody,
  readBytes: (start: number, end: number) => Buffer | Promise<Buffer>,
  types: TypeRegistry,
) {
  const collector = new ChunkCollector(receipt.format !== 'json');
  const result: Pick<CutResult, 'csvLayout' | 'unclassifiedFields' | 'failure'> = {
    csvLayout: null,
    unclassifiedFields: null,
    failure: null,
  };
  const first = await readBytes(0, Math.min(bodyPartBytes, receipt.size_bytes));
  let layout: CsvLayout | undefined;
  let unclassifiedFields: readonly string[] | null = null;
  if (receipt.format === 'csv') {
    const header = readCsvHeader(first, receipt.charset);
    if (!header.ok) return { ...result, failure: { code: 'invalid_csv_header', detail: header.detail }, collector };
    const classified = classifyColumns(header.columns, types);
    const shared = findSharedField(header.columns, classified);
    // Reception asked the same, but the table of types may have changed since.
    if (shared) {
      const failure = { code: 'invalid_csv_header', detail: sharedFieldDetail(shared) };
      return { ...result, failure, collector };
    }
    unclassifiedFields = classified.unclassifiedFields;
    layout = {
      delimiter: header.delimiter,
      columns: header.columns,
      headerBytes: header.byteLength,
      headerLines: header.lines,
    };
  }
  try {
    const cutter = cutterFor(receipt, layout, collector);
    cutter.push(layout ? first.subarray(layout.headerBytes) : first);
    for (let start = first.length; start < receipt.size_bytes; start += bodyPartBytes) {
      cutter.push(await readBytes(start, Math.min(start + bodyPartBytes, receipt.size_bytes)));
    }
    cutter.finish();
    collector.finish(receipt.size_bytes);
  } catch (error) {
    // Reception refuses what cannot be split; only the number of records is left to find out here.
    if (!(error instanceof RangeError)) throw error;
    return { ...result, failure: { code: 'invalid_request', detail: error.message }, collector };
  }
  return { ...result, csvLayout: layout ?? null, unclassifiedFields, collector };
}

function cutterFor(receipt: CuttableBody, layout: CsvLayout | undefined, collector: ChunkCollector): RecordCutter {
  const onRecord = (start: number, end: number, line: number | null) => collector.add(start, end, line);
  if (layout) {
    return makeCsvCutter({
      delimiter: layout.delimiter,
      startOffset: layout.headerBytes,
      startLine: 1 + layout.headerLines,
      onRecord,
      onBadRecord: onRecord,
    });
  }
  if (receipt.format === 'ndjson') return makeNdjsonCutter({ onRecord });
  return makeJsonCutter({ onRecord: (start, end) => onRecord(start, end, null) });
}
