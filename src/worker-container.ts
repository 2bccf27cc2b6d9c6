import type { Config } from './config.ts';
import { countRecords, makeEssentials, readAnchoring, readCheckpointSigning } from './container.ts';
import { makeSuggestionsWork, makeTypeRegistryLoader } from '#domains/items/index.ts';
import { makeLedgerWork } from '#domains/ledger/index.ts';
import { makeMaintenanceWork, makeReceptionWork } from '#domains/reception/index.ts';

/** As long as a statement may take: longer than transactions that write events do, and clocks differ. */
const eventsSettleMs = 60_000;

/** Makes everything of a worker process but its queues, which `workers/` chooses from. */
export function makeWorker(config: Config, databaseUrl: string) {
  const essentials = makeEssentials(config, databaseUrl, 'worker');
  const { database, bell, logger, metrics } = essentials;
  const loadTypes = makeTypeRegistryLoader(database, Date.now);
  const reception = makeReceptionWork({
    database,
    bell,
    logger,
    loadTypes,
    ingestionConcurrency: config.INGESTION_CONCURRENCY,
    deduplicationConcurrency: config.DEDUPLICATION_CONCURRENCY,
    identifiersPerItemMax: config.IDENTIFIERS_PER_ITEM_MAX,
    observeRecords: (verdicts) => countRecords(metrics, verdicts),
  });
  return {
    ...essentials,
    reception,
    maintenance: makeMaintenanceWork({ database, bodyRetentionDays: config.BODY_RETENTION_DAYS }),
    ledger: makeLedgerWork({
      pool: database.pool,
      signing: readCheckpointSigning(config),
      anchoring: readAnchoring(config),
    }),
    suggestions: makeSuggestionsWork({ database, loadTypes, nowMs: Date.now, settleMs: eventsSettleMs }),
    async close() {
      await reception.close();
      await essentials.close();
    },
  };
}

export type WorkerContainer = ReturnType<typeof makeWorker>;
