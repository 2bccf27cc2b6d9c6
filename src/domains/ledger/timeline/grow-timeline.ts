import type pg from 'pg';
import { withTransaction } from '#platform/database.ts';
import { findAnchoredSize, lockLogProgress, writeAnchoredContents, writeLogProgress } from './timeline.store.ts';

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
    const begin = await lockLogProgress(client, network, 'log');
    if (begin === undefined) return undefined;
    const size = await findAnchoredSize(client, network, begin);
    if (size === undefined) return { hasMore: false };
    const end = Math.min(begin + entriesMax, size);
    await writeAnchoredContents(client, network, { begin, end, size });
    await writeLogProgress(client, network, 'log', end);
    return { hasMore: true };
  });
}
