import type pg from 'pg';
import { withTransaction } from '#platform/database.ts';
import { findAnchoredSize, lockLogProgress, writeAnchoredContents } from './timeline.store.ts';

/**
 * Notes where the contents of the next versions that an anchored checkpoint covers stand, each under the smallest that does.
 * @param entriesMax of the log in one transaction.
 * @returns whether there are more; undefined when another process is at it.
 */
export function growTimeline(
  pool: pg.Pool,
  network: string,
  entriesMax: number,
): Promise<{ hasMore: boolean } | undefined> {
  return withTransaction(pool, async (client) => {
    const begin = await lockLogProgress(client, network);
    if (begin === undefined) return undefined;
    const size = await findAnchoredSize(client, network, begin);
    if (size === undefined) return { hasMore: false };
    await writeAnchoredContents(client, network, { begin, end: Math.min(begin + entriesMax, size), size });
    return { hasMore: true };
  });
}
