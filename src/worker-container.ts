import type { Config } from './config.ts';
import { countRecords, makeEssentials } from './container.ts';
import { makeTypeRegistryLoader } from '#domains/items/index.ts';
import { makeMaintenanceWork, makeReceptionWork } from '#domains/reception/index.ts';

/** Makes everything of a worker process but its queues, which `workers/` chooses from. */
export function makeWorker(config: Config, databaseUrl: string) {
  const essentials = makeEssentials(config, databaseUrl, 'worker');
  const { database, bell, logger, metrics } = essentials;
  const reception = makeReceptionWork({
    database,
    bell,
    logger,
    loadTypes: makeTypeRegistryLoader(database, Date.now),
    ingestionConcurrency: config.INGESTION_CONCURRENCY,
    deduplicationConcurrency: config.DEDUPLICATION_CONCURRENCY,
    identifiersPerItemMax: config.IDENTIFIERS_PER_ITEM_MAX,
    observeRecords: (verdicts) => countRecords(metrics, verdicts),
  });
  return {
    ...essentials,
    reception,
    maintenance: makeMaintenanceWork({ database, bodyRetentionDays: config.BODY_RETENTION_DAYS }),
    async close() {
      await reception.close();
      await essentials.close();
    },
  };
}

export type WorkerContainer = ReturnType<typeof makeWorker>;
