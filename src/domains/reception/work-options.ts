import type { Database } from '#platform/database.ts';
import type { Logger } from '#platform/logger.ts';
import type { Bell } from '#platform/queue/bell.ts';
import type { TypeRegistry, Verdict } from '#domains/items/index.ts';

/** What the work behind the queues of this domain is made from. */
export interface ReceptionWorkOptions {
  database: Database;
  bell: Bell;
  logger: Logger;
  loadTypes(): Promise<TypeRegistry>;
  ingestionConcurrency: number;
  deduplicationConcurrency: number;
  /** A record that would give an item more distinct identifying identifiers waits for a person. */
  identifiersPerItemMax: number;
  /** Told how many records a committed transaction settled. */
  observeRecords?(verdicts: readonly Verdict[]): void;
}
