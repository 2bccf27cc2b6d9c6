import type pg from 'pg';
import { withTransaction } from '#platform/database.ts';
import { makeReceiptId } from '#platform/ids.ts';
import {
  listMergesOfEntries,
  readAllEntries,
  untilFree,
  type EntryRow,
  type IncomingRecord,
  type ItemsService,
  type ShownEntry,
} from '#domains/items/index.ts';
import type { BodyKind } from './body-format.ts';
import type { IngestionSummary } from './bulk-ingestion.schema.ts';
import { absorbOrBisect } from './careful-absorption.ts';
import { cutReceipt } from './cut-receipts.ts';
import { readBrought, type BroughtRow } from './ingestion-summary.store.ts';
import { readChunk } from './read-chunk.ts';
import { startSubmission } from './settled-receipts.store.ts';
import type { SubmissionDefaults } from './submission.ts';
import type { SubmissionOptions } from './submit-record.ts';
import { countVerdicts } from './verdict-counts.ts';
import type { DueChunk, ReceiptContext } from './work.store.ts';

interface PreviewedBody {
  readonly workspaceId: string;
  readonly kind: BodyKind;
  readonly defaults: SubmissionDefaults;
  readonly bytes: Buffer;
}

/** What would become of the first records of a body. */
export interface BulkPreview {
  readonly previewed: number;
  readonly isCut: boolean;
  readonly summary: IngestionSummary;
  readonly entries: readonly Omit<ShownEntry, 'entry_id'>[];
  /** Why the body cannot be split into records, when it cannot. */
  readonly failure: string | null;
}

/** Records that are tried at most: others wait for what the try holds, until it is rolled back. */
const previewedMax = 1000;

/** Tells what would become of records by doing it, in a transaction that is rolled back. */
export function makeBulkPreview(options: SubmissionOptions & { items: ItemsService }) {
  const { submissionPool, takeItemNumbers, identifiersPerItemMax, loadTypes, loadQualityRules, items } = options;

  return async ({ workspaceId, kind, defaults, bytes }: PreviewedBody): Promise<BulkPreview> => {
    const types = await loadTypes();
    const receiptId = makeReceiptId();
    const cut = await cutReceipt(
      { ...kind, size_bytes: bytes.length },
      (start, end) => bytes.subarray(start, end),
      types,
    );
    const chunks = cut.failure ? [] : firstChunks(cut.collector.chunks);

    const tryRecords = async (client: pg.ClientBase) => {
      const start = await startSubmission(client, workspaceId);
      const receipt: ReceiptContext = {
        receipt_id: receiptId,
        received_at_micros: start.received_at_micros,
        format: kind.format,
        charset: kind.charset,
        csv_layout: cut.csvLayout,
        default_value_chain: defaults.valueChain,
        default_country: defaults.country,
        default_year: defaults.year,
        default_circuit_id: defaults.circuitId,
        may_link_items: start.may_link_items,
        quality_rules_version: start.quality_rules_version,
        request_id: null,
      };
      const rules = await loadQualityRules(client, workspaceId, start.quality_rules_version);
      const records: IncomingRecord[] = [];
      for (const chunk of chunks) {
        const slice = bytes.subarray(chunk.byteStart, chunk.byteStart + chunk.byteLength);
        const due = dueChunk(chunk, { receiptId, workspaceId, receivedSequence: start.received_sequence });
        for (const record of await readChunk(due, receipt, slice, types, rules)) records.push(record);
      }
      const context = {
        workspaceId,
        mayLinkItems: start.may_link_items,
        identifiersMax: identifiersPerItemMax,
        types,
        takeNumbers: takeItemNumbers,
      };
      if (records.length > 0) await absorbOrBisect(client, context, records);
      const rows = await readAllEntries(client, receiptId);
      const merges = await listMergesOfEntries(
        client,
        rows.map((row) => row.entry_id),
      );
      return { rows, merges, brought: await readBrought(client, receiptId) };
    };

    const { rows, merges, brought } = await untilFree(() => withTransaction(submissionPool, tryRecords, 'rollback'));
    const shown = await items.describeEntries(rows, merges);
    return {
      previewed: rows.length,
      isCut: rows.length < cut.collector.entryTotal,
      summary: summaryOf(rows, cut.collector.entryTotal, brought, cut.unclassifiedFields ?? []),
      entries: shown.map(({ entry_id: _id, ...entry }) => entry),
      failure: cut.failure?.detail ?? null,
    };
  };
}

type CutChunk = Awaited<ReturnType<typeof cutReceipt>>['collector']['chunks'][number];

function firstChunks(chunks: readonly CutChunk[]): CutChunk[] {
  return chunks.filter(({ firstPosition, entryCount }) => firstPosition + entryCount <= previewedMax);
}

function dueChunk(
  chunk: CutChunk,
  place: { receiptId: string; workspaceId: string; receivedSequence: number },
): DueChunk {
  return {
    receipt_id: place.receiptId,
    chunk_number: chunk.chunkNumber,
    workspace_id: place.workspaceId,
    received_sequence: place.receivedSequence,
    lane: 0,
    byte_start: chunk.byteStart,
    byte_length: chunk.byteLength,
    first_position: chunk.firstPosition,
    first_line: chunk.firstLine,
    entry_count: chunk.entryCount,
    tries: 0,
  };
}

function summaryOf(
  rows: readonly EntryRow[],
  total: number,
  brought: BroughtRow,
  unclassifiedFields: readonly string[],
): IngestionSummary {
  const { completed, created, enriched } = countVerdicts(rows);
  return {
    rows_total: total,
    rows_processed: completed,
    rows_failed: rows.length - completed,
    items_created: created,
    items_updated: enriched,
    ...brought,
    unclassified_fields: [...unclassifiedFields],
  };
}
