import { openDatabase, withTransaction } from '#platform/database.ts';
import {
  absorbRecords,
  makeItemNumberSource,
  type AbsorbContext,
  type IncomingRecord,
  type TypeRegistry,
} from '#domains/items/index.ts';

/** Records of one transaction: as many as the product puts into one chunk. */
export const chunkRecords = 500;
/** Transactions that are in flight at the same time. */
export const transactionsInFlight = 8;

/** So often a transaction is tried again before the run is given up. */
const triesMax = 10;

/** What the resolver works with. */
export interface Resolver {
  /**
   * Absorbs records in order, 500 in a transaction, and tries transactions that fail again, as workers do.
   * @returns what was wrong with each transaction that failed.
   */
  absorb(records: readonly IncomingRecord[]): Promise<Error[]>;
  close(): Promise<void>;
}

/** Makes a resolver whose connections are those of a worker. */
export function makeResolver(url: string, workspaceId: string, types: TypeRegistry): Resolver {
  const settings = { url, applicationName: 'bench-resolver', isWorker: true };
  const database = openDatabase({ ...settings, poolSize: transactionsInFlight });
  const numbers = openDatabase({ ...settings, poolSize: 1 });
  const context: AbsorbContext = {
    workspaceId,
    mayLinkItems: false,
    identifiersMax: 100,
    types,
    takeNumbers: makeItemNumberSource(numbers.pool),
  };
  const absorbChunk = async (chunk: readonly IncomingRecord[], failures: Error[]) => {
    for (let tries = 1; ; tries += 1) {
      try {
        const absorbed = await withTransaction(database.pool, (client) => absorbRecords(client, context, chunk));
        await absorbed.written;
        return;
      } catch (error) {
        if (!(error instanceof Error) || tries === triesMax) throw error;
        failures.push(error);
      }
    }
  };
  return {
    async absorb(records) {
      const failures: Error[] = [];
      let next = 0;
      const work = async () => {
        while (next < records.length) {
          const from = next;
          next += chunkRecords;
          await absorbChunk(records.slice(from, from + chunkRecords), failures);
        }
      };
      await Promise.all(Array.from({ length: transactionsInFlight }, work));
      return failures;
    },
    async close() {
      await database.close();
      await numbers.close();
    },
  };
}
