import type pg from 'pg';
import { withTransaction } from '#platform/database.ts';
import type { QueueWork } from '#platform/queue/definition.ts';
import { cutReceipts } from './cut-receipts.ts';
import {
  deduplicationQueue,
  ingestionQueue,
  nameSome,
  receiptsPerClaim,
  smallReceiptBytes,
  type IngestionJob,
} from './reception.jobs.ts';
import { countTry } from './work-attempts.ts';
import {
  claimUncutReceipts,
  firstWorkspace,
  cuttingChunkNumber,
  findOverdueReceipts,
  markCut,
  type UncutReceipt,
} from './work.store.ts';
import type { ReceptionWorkOptions } from './work-options.ts';

/** After this many tries, a receipt that cannot even be cut is given up. */
const cuttingTriesMax = 6;

/** Makes the work behind the queue `ingestion`. */
export function makeIngestion(options: ReceptionWorkOptions, attemptPool: pg.Pool): QueueWork<IngestionJob> {
  const { database, bell, loadTypes, logger } = options;
  let cursor = firstWorkspace;

  const cutNext = async () => {
    const types = await loadTypes();
    const cut = await withTransaction(database.pool, async (client) => {
      const receipts = await claimUncutReceipts(client, cursor, smallReceiptBytes, receiptsPerClaim);
      if (receipts.length === 0) return undefined;
      cursor = receipts[0]!.workspace_id;
      const cuttings = receipts.map((receipt) => ({ ...receipt, chunk_number: cuttingChunkNumber }));
      const tried = await countTry(attemptPool, cuttings);
      const hopeless = tried.filter(({ tries }) => tries >= cuttingTriesMax);
      const workable = tried.filter((cutting) => !hopeless.includes(cutting));
      await giveUpCutting(client, hopeless);
      return { receipts: workable, ...(await cutReceipts(client, workable, types)) };
    });
    if (!cut) return undefined;
    const requestIds = new Map(cut.receipts.map((receipt) => [receipt.receipt_id, receipt.request_id]));
    await bell.ring(
      deduplicationQueue,
      cut.chunks.map(({ receiptId, chunkNumber }) => ({
        receipt_id: receiptId,
        chunk_number: chunkNumber,
        ...(requestIds.get(receiptId) ? { request_id: requestIds.get(receiptId)! } : {}),
      })),
    );
    return cut;
  };

  return {
    queue: ingestionQueue,
    concurrency: options.ingestionConcurrency,
    async process(data) {
      const cut = await cutNext();
      const entries = cut?.results.reduce((sum, result) => sum + result.entryTotal, 0) ?? 0;
      return {
        rang: data.receipt_ids.length,
        receipts: cut?.receipts.length ?? 0,
        request_ids: nameSome(cut?.receipts.flatMap((receipt) => receipt.request_id ?? []) ?? []),
        chunks: cut?.chunks.length ?? 0,
        entries,
      };
    },
    async findOverdue(limit) {
      const overdue = await findOverdueReceipts(database.pool, limit);
      return overdue.map(({ receipt_id, request_id }) => ({
        receipt_ids: [receipt_id],
        ...(request_id === null ? {} : { request_ids: [request_id] }),
      }));
    },
    async workDirectly() {
      const cut = await cutNext();
      if (cut) logger.debug({ receipts: cut.receipts.length, chunks: cut.chunks.length }, 'cut without a job');
      return cut !== undefined;
    },
  };
}

async function giveUpCutting(client: pg.ClientBase, receipts: readonly UncutReceipt[]): Promise<void> {
  if (receipts.length === 0) return;
  const failure = {
    code: 'processing_failed',
    detail: `the body could not be split into records in ${cuttingTriesMax} tries`,
  };
  await markCut(
    client,
    receipts.map((receipt) => ({
      receiptId: receipt.receipt_id,
      entryTotal: 0,
      csvLayout: null,
      unclassifiedFields: null,
      failure,
    })),
  );
}
