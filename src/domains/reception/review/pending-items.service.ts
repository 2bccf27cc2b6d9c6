import type { Database } from '#platform/database.ts';
import { Problem } from '#platform/errors.ts';
import { isUuid, positionOfEntry, receiptIdOfEntry } from '#platform/ids.ts';
import {
  makeItemNumberSource,
  makeQualityRulesCache,
  type ItemsService,
  type TypeRegistry,
} from '#domains/items/index.ts';
import { positionText, readPosition } from './pending-items.schema.ts';
import {
  codesOfReason,
  priorityNames,
  reasonOfCode,
  severityOf,
  suggestActions,
  type PendingReason,
} from './pending-reasons.ts';
import {
  countTries,
  findEntry,
  findReceiptsOfEntries,
  listDecisions,
  listPending,
  readBodyRanges,
  type DecisionRow,
  type PendingRow,
  type ReceiptOfEntries,
} from './pending-items.store.ts';
import { makePendingItemResolver, type Decision } from './resolve-pending-item.ts';

interface PendingItemsServiceOptions {
  database: Database;
  /** A pool with the session of workers; see `makePendingItemResolver`. */
  resolutionDatabase: Database;
  items: ItemsService;
  identifiersPerItemMax: number;
  loadTypes(): Promise<TypeRegistry>;
}

type PageRequest = { limit: number; offset: number; cursor?: string | undefined };

/** Bytes of each record that a list shows, and that the answer about one record shows. */
const shownBytesMax = { list: 4096, single: 1_048_576 };

export type PendingItemsService = ReturnType<typeof makePendingItemsService>;

/** Shows the records of a workspace that could not become items, and lets people decide about them. */
export function makePendingItemsService({
  database,
  resolutionDatabase,
  items,
  identifiersPerItemMax,
  loadTypes,
}: PendingItemsServiceOptions) {
  const { pool } = database;
  const resolve = makePendingItemResolver({
    resolutionDatabase,
    identifiersPerItemMax,
    loadTypes,
    loadQualityRules: makeQualityRulesCache(),
    takeNumbers: makeItemNumberSource(pool),
  });

  const show = async (rows: readonly PendingRow[], bytesMax: number) => {
    const entryIds = rows.map((row) => row.entry_id);
    const receipts = await findReceiptsOfEntries(pool, entryIds.map(receiptIdOfEntry));
    const tries = await countTries(pool, entryIds);
    const texts = await readBodyRanges(
      pool,
      rows.map(({ entry_id, byte_start: start, byte_length: length }) => ({
        receiptId: receiptIdOfEntry(entry_id),
        start,
        end: start + Math.min(length, bytesMax),
      })),
    );
    const entries = await items.describeEntries(rows);
    return rows.map((row, at) => {
      const receipt = receipts.get(receiptIdOfEntry(row.entry_id))!;
      return {
        ...showEntry(row),
        ...showRecord(row, receipt, texts[at]!, bytesMax),
        retry_count: tries.get(row.entry_id) ?? 0,
        outcome: row.outcome,
        dfid: entries[at]!.dfid,
        created_at: receipt.received_at.toISOString(),
      };
    });
  };

  const get = async (workspaceId: string, entryId: string) => {
    const row = isUuid(entryId) ? await findEntry(pool, workspaceId, entryId) : undefined;
    const decisions = row ? await listDecisions(pool, [entryId]) : [];
    const isOfThisList = row?.status === 'rejected' || row?.status === 'failed' || decisions.length > 0;
    if (!row || !isOfThisList) throw notFound();
    const [shown] = await show([row], shownBytesMax.single);
    return { ...shown!, decisions: decisions.map(showDecision) };
  };

  return {
    async list(
      filter: { workspaceId: string; reason: PendingReason | undefined; priorityMin: number },
      page: PageRequest,
    ) {
      const { workspaceId, reason, priorityMin } = filter;
      const after = readPosition(page.cursor);
      const codes = reason === undefined ? undefined : codesOfReason(reason);
      const position = { limit: page.limit, offset: after ? 0 : page.offset, after };
      const { rows, total } = await listPending(pool, { workspaceId, codes, priorityMin }, position);
      const last = rows.length === page.limit ? rows.at(-1) : undefined;
      const nextPosition =
        last && positionText({ rank: last.rank, code: last.error?.code ?? '', entryId: last.entry_id });
      return { rows: await show(rows, shownBytesMax.list), total, nextPosition };
    },

    get,

    /** Carries out a decision and tells what became of the record. */
    async resolve(workspaceId: string, entryId: string, decision: Decision, decidedBy: string) {
      if (!isUuid(entryId)) throw notFound();
      await resolve(workspaceId, entryId, decision, decidedBy);
      return get(workspaceId, entryId);
    },
  };
}

function notFound(): Problem {
  return new Problem('not_found', 'there is no record with this id that waits in your workspace');
}

function showEntry(row: PendingRow) {
  const { entry_id: id, line, status, error, dismissed_at: dismissedAt } = row;
  const place = { id, receipt_id: receiptIdOfEntry(id), position: positionOfEntry(id), line };
  if (status === 'completed' || status === 'conflicted' || !error)
    return {
      ...place,
      status: status === 'conflicted' ? ('conflicted' as const) : ('completed' as const),
      reason: null,
      severity: null,
      priority: null,
      priority_level: null,
      error: error && { code: error.code, detail: error.detail, pointer: error.pointer },
      suggested_actions: [],
    };
  const priority = -row.rank;
  return {
    ...place,
    status: dismissedAt ? ('dismissed' as const) : ('pending' as const),
    reason: reasonOfCode(error.code),
    severity: severityOf(error.severity),
    priority: priorityNames[priority - 1]!,
    priority_level: priority,
    error: { code: error.code, detail: error.detail, pointer: error.pointer },
    suggested_actions: dismissedAt ? [] : suggestActions(error.code),
  };
}

function showRecord(row: PendingRow, receipt: ReceiptOfEntries, bytes: Buffer, bytesMax: number) {
  const isCutShort = row.byte_length > bytesMax;
  // What is cut short may end within a character, which is left out.
  const text = new TextDecoder(receipt.charset, { ignoreBOM: true }).decode(bytes, { stream: isCutShort });
  const isErased = receipt.body_erased_at !== null;
  return {
    record: isErased ? null : text,
    record_status: isErased ? ('erased' as const) : isCutShort ? ('cut_short' as const) : ('complete' as const),
    format: receipt.format,
    columns: receipt.csv_layout?.columns ?? null,
  };
}

function showDecision(row: DecisionRow) {
  const { action, result, reason, new_identifiers, new_enriched_data, decided_by, decided_at } = row;
  return {
    action,
    result,
    reason,
    new_identifiers,
    new_enriched_data,
    decided_by,
    decided_at: decided_at.toISOString(),
  };
}
