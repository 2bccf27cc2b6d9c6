import type pg from 'pg';
import { findListeningWorkspaces, insertMessages } from '#domains/events/index.ts';
import { withTransaction } from '#platform/database.ts';
import { findProvenVersionsBetween, holdSeeds } from '../log.store.ts';
import { makeProver } from '../prove-entries.ts';
import {
  findAnchoredSize,
  lockLogProgress,
  summarizeNewVersions,
  writeLogProgress,
} from '../timeline/timeline.store.ts';
import { anchoredMessage, anchoredMessageType } from './anchored-message.ts';

/** Proofs of one step, at some 3 KiB each. */
const messagesMax = 200;

/**
 * Tells workspaces that the next versions of their items are anchored, with the proofs: each version once, in the order of the
 * log. Proofs are built before the transaction, and thrown away if another process was faster.
 * @param entriesMax of the log in one step.
 * @returns whether there are more; undefined when another process is at it.
 */
export async function tellAnchored(
  pool: pg.Pool,
  network: string,
  entriesMax: number,
): Promise<{ hasMore: boolean } | undefined> {
  const begin = await withTransaction(pool, (client) => lockLogProgress(client, network, 'webhooks'));
  if (begin === undefined) return undefined;
  const size = await findAnchoredSize(pool, network, begin);
  if (size === undefined) return { hasMore: false };
  const range = { begin, end: Math.min(begin + entriesMax, size) };
  const workspaceIds = await findListeningWorkspaces(pool, anchoredMessageType.name);
  const rows = workspaceIds.length === 0 ? [] : await findVersions(pool, workspaceIds, range);
  const { readTree, prove } = makeProver(pool);
  const proofs = rows.length === 0 ? [] : await prove(rows, await readTree());
  const end = rows.length === messagesMax ? rows.at(-1)!.index + 1 : range.end;
  const isOurs = await withTransaction(pool, async (client) => {
    if ((await lockLogProgress(client, network, 'webhooks')) !== begin) return false;
    const erased = await holdSeeds(
      client,
      rows.map(({ index }) => index),
    );
    const messages = rows.flatMap((row, at) => (erased.has(row.index) ? [] : [anchoredMessage(row, proofs[at]!)]));
    await insertMessages(client, messages, true);
    await writeLogProgress(client, network, 'webhooks', end);
    return true;
  });
  return isOurs ? { hasMore: true } : undefined;
}

async function findVersions(pool: pg.Pool, workspaceIds: readonly string[], range: { begin: number; end: number }) {
  await summarizeNewVersions(pool);
  return findProvenVersionsBetween(pool, workspaceIds, range, messagesMax);
}
