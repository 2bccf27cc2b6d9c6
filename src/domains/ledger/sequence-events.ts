import { randomBytes } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type pg from 'pg';
import { withTransaction } from '#platform/database.ts';
import { entryOf, seedBytes } from './entry-commitment.ts';
import { leafHash } from './log-tree.ts';
import { TileBuilder } from './log-tiles.ts';
import {
  growLog,
  insertLogEntries,
  insertTiles,
  lockLog,
  takeFeed,
  type LoggedEventRow,
  type NewLogEntry,
} from './log.store.ts';
import { commitToEvent } from './logged-event.ts';

/** What one transaction takes in: so many steps, each of so many events and bytes of payload at most. */
export interface SequencingLimits {
  readonly steps: number;
  readonly rows: number;
  readonly bytes: number;
}

/**
 * Makes the next entries of the log, of events that are committed, in one transaction: each event once, without a gap, by one
 * process at a time. What an entry costs does not depend on how many there are.
 * @param pool pipelining connections: Postgres reads the next events and writes the last entries while this process hashes.
 * @returns how many entries were made, and whether there are more to make; undefined when another process is at it.
 */
export function sequenceEvents(
  pool: pg.Pool,
  limits: SequencingLimits,
): Promise<{ entries: number; hasMore: boolean } | undefined> {
  return withTransaction(pool, async (client) => {
    const before = await lockLog(client);
    if (before === undefined) return undefined;
    const tiles = await TileBuilder.at(client, before);
    const writes: Promise<unknown>[] = [];
    let size = before;
    const take = () => {
      const taking = takeFeed(client, limits);
      // A failure is thrown where it is awaited, which may be later than it happens.
      taking.catch(() => {});
      return taking;
    };
    let taking = take();
    let hasMore = true;
    for (let step = 1; hasMore && step <= limits.steps; step += 1) {
      const taken = await taking;
      hasMore = taken.hasMore;
      if (hasMore && step < limits.steps) taking = take();
      // What was asked for leaves this process only when it has nothing else to do.
      await nextTurn();
      const entries = entriesOf(taken.events, size);
      const leaves = entries.map(({ commitment }) => leafHash(entryOf(commitment)));
      const written = Promise.all([insertLogEntries(client, entries), insertTiles(client, tiles.append(leaves))]);
      written.catch(() => {});
      writes.push(written);
      size += entries.length;
    }
    await Promise.all(writes);
    if (size > before) await growLog(client, before, size);
    return { entries: size - before, hasMore };
  });
}

function entriesOf(events: readonly LoggedEventRow[], size: number): NewLogEntry[] {
  const seeds = randomBytes(seedBytes * events.length);
  return events.map((event, at) => {
    const seed = seeds.subarray(at * seedBytes, (at + 1) * seedBytes);
    return { index: size + at, event, commitment: commitToEvent(event, seed), seed };
  });
}
