import pg from 'pg';
import { surviveLostConnections } from '#platform/database.ts';
import type { QueueWork } from '#platform/queue/definition.ts';
import { makeDeduplication } from './deduplication-work.ts';
import { makeIngestion } from './ingestion-work.ts';
import type { DeduplicationJob, IngestionJob } from './reception.jobs.ts';
import type { ReceptionWorkOptions } from './work-options.ts';

/** Makes the work behind the queues `ingestion` and `deduplication`. */
export function makeReceptionWork(options: ReceptionWorkOptions): {
  ingestion: QueueWork<IngestionJob>;
  deduplication: QueueWork<DeduplicationJob>;
  close(): Promise<void>;
} {
  // Attempts are counted while a transaction waits for them, so their connections must never be those of transactions.
  const attemptPool = new pg.Pool({ ...options.database.pool.options, max: 2, application_name: 'defarm-attempts' });
  surviveLostConnections(attemptPool);
  return {
    ingestion: makeIngestion(options, attemptPool),
    deduplication: makeDeduplication(options, attemptPool),
    close: () => attemptPool.end(),
  };
}
