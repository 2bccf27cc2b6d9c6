import { randomBytes } from 'node:crypto';
import type pg from 'pg';
import { withTransaction } from '#platform/database.ts';
import { commitmentTo, entryOf, seedBytes } from './entry-commitment.ts';
import { leafHash } from './log-tree.ts';
import { appendLeaves } from './log-tiles.ts';
import { growLog, insertLogEntries, lockLog, takeFeed, type NewLogEntry } from './log.store.ts';
import { fieldsOfEvent } from './logged-event.ts';

/**
 * Makes the next entries of the log, of events that are committed, in one transaction: each event once, without a gap, by one
 * process at a time. What an entry costs does not depend on how many there are.
 * @returns how many entries were made, and whether there may be more to make; undefined when another process is at it.
 */
export function sequenceEvents(
  pool: pg.Pool,
  limit: number,
): Promise<{ entries: number; size: number; hasMore: boolean } | undefined> {
  return withTransaction(pool, async (client) => {
    const size = await lockLog(client);
    if (size === undefined) return undefined;
    const { taken, events } = await takeFeed(client, limit);
    if (events.length > 0) {
      const seeds = randomBytes(seedBytes * events.length);
      const entries = events.map((event, at): NewLogEntry => {
        const seed = seeds.subarray(at * seedBytes, (at + 1) * seedBytes);
        return { index: size + at, event, commitment: commitmentTo(fieldsOfEvent(event), seed), seed };
      });
      await insertLogEntries(client, entries);
      await appendLeaves(
        client,
        size,
        entries.map(({ commitment }) => leafHash(entryOf(commitment))),
      );
      await growLog(client, size, size + events.length);
    }
    return { entries: events.length, size: size + events.length, hasMore: taken === limit };
  });
}
