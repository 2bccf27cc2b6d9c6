import type { Database } from '#platform/database.ts';
import type { ItemsService } from '#domains/items/index.ts';
import type { StorageService } from '#domains/storage/index.ts';
import { countAnchors, findCoveringTransactions, type CoveringTransaction } from './anchors.store.ts';
import { listVersionEntries } from './log.store.ts';

interface AdapterReportOptions {
  database: Database;
  items: ItemsService;
  storage: StorageService;
}

export type AdapterReport = ReturnType<typeof makeAdapterReport>;

/** What one answer tells of at most. */
const versionsMax = 100;
const stroopsPerLumen = 10_000_000;
const bytesPerGigabyte = 1_000_000_000;

const statusOf: Readonly<Record<CoveringTransaction['state'], 'pending' | 'submitted' | 'confirmed' | 'failed'>> = {
  signed: 'pending',
  submitted: 'submitted',
  confirmed: 'confirmed',
  failed: 'failed',
  expired: 'failed',
  unknown: 'failed',
};

/** Tells where items stand outside of this installation, and what that cost. */
export function makeAdapterReport({ database: { pool }, items, storage }: AdapterReportOptions) {
  return {
    /** @throws Problem not_found */
    async anchorsOf(workspaceId: string, idOrDfid: string) {
      const { itemNumbers } = await items.membersOf(workspaceId, idOrDfid);
      const indexes = await listVersionEntries(pool, workspaceId, itemNumbers, versionsMax);
      const transactions = await findCoveringTransactions(pool, indexes);
      const { storage_history: places, state } = await storage.history(workspaceId, idOrDfid, { limit: versionsMax });
      return {
        blockchain_anchors: transactions.map(({ hash, state: each, ledger }) => ({
          chain_type: 'stellar',
          transaction_hash: hash,
          ledger_number: ledger,
          confirmations: null,
          status: statusOf[each],
        })),
        storage_refs: places.flatMap((place) =>
          place.state === 'removed'
            ? []
            : {
                storage_type: place.adapter === 'local' ? 'local' : 'ipfs',
                content_id: place.cid,
                gateway_url: place.gateway_url,
                version: place.version,
                is_pinned: place.state === 'stored',
                status: place.state,
              },
        ),
        state: transactions.length === 0 ? `Nothing of the item is anchored on a public ledger. ${state}` : state,
      };
    },

    async statistics() {
      const [anchors, batches] = await Promise.all([countAnchors(pool), storage.countBatches()]);
      const stellar = outcomesOf(anchors.confirmed, anchors.failed);
      const ipfs = outcomesOf(batches.stored, batches.failed);
      const jobs = outcomesOf(stellar.success + ipfs.success, stellar.failed + ipfs.failed);
      return {
        jobs: { completed: jobs.success, failed: jobs.failed, total: jobs.total, success_rate: jobs.success_rate },
        queue: { depth: anchors.open + batches.open, active_workers: batches.active_connections },
        adapters: { stellar, ipfs },
        costs: {
          stellar_xlm: Number(anchors.charged_stroops) / stroopsPerLumen,
          stellar_usd: 0,
          ipfs_storage_bytes: batches.stored_bytes,
          ipfs_storage_gb: batches.stored_bytes / bytesPerGigabyte,
        },
        rate_limits: { rejections: batches.turned_away },
      };
    },
  };
}

function outcomesOf(success: number, failed: number) {
  const total = success + failed;
  return { success, failed, total, success_rate: total === 0 ? 1 : success / total };
}
