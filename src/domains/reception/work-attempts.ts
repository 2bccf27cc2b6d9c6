import os from 'node:os';
import type pg from 'pg';
import type { Database } from '#platform/database.ts';
import { isDataError, isTransientConflict } from '#platform/errors.ts';
import type { Logger } from '#platform/logger.ts';
import { ContentionError } from '#domains/items/index.ts';
import { deleteAttempts, insertAttempts, postponeChunks } from './work.store.ts';

/** How this process names itself beside its tries. */
export const workerName = `${os.hostname()}:${process.pid}`;
/** After this many tries that ended in a crash or an error, work goes on record by record. */
export const wholeTriesMax = 3;
const retryDelaysMs = [200, 500, 1000, 2000, 5000, 15_000, 60_000];

interface TriedChunk {
  readonly receipt_id: string;
  readonly chunk_number: number;
  /** How often it was tried before. */
  readonly tries: number;
}

/**
 * Chooses what to try now and counts the try, committed before the work. All is tried together, but what was tried in vain
 * several times goes alone: its neighbours shall neither fail with it nor be counted as tried.
 */
export async function countTry<Chunk extends TriedChunk>(
  attemptPool: pg.Pool,
  chunks: readonly Chunk[],
): Promise<readonly Chunk[]> {
  const troubled = chunks.find(({ tries }) => tries >= wholeTriesMax);
  const tried = troubled ? [troubled] : chunks;
  await insertAttempts(
    attemptPool,
    tried.map(({ receipt_id, chunk_number, tries }) => ({
      receipt_id,
      chunk_number,
      attempt: tries + 1,
      position: null,
    })),
    workerName,
  );
  return tried;
}

/**
 * Puts off what failed. A conflict with other transactions is over soon and speaks against no record, so its try does not
 * count; anything else waits longer at each try.
 */
export async function postponeAfter(
  error: unknown,
  chunks: readonly TriedChunk[],
  database: Database,
  logger: Logger,
): Promise<void> {
  const most = Math.max(...chunks.map(({ tries }) => tries));
  const isPassing = error instanceof ContentionError || isTransientConflict(error);
  const isDueAtOnce = error instanceof ContentionError || (isDataError(error) && most === 0);
  const delayMs = isDueAtOnce
    ? 0
    : isPassing
      ? Math.random() * retryDelaysMs[0]!
      : retryDelaysMs[Math.min(most, retryDelaysMs.length - 1)]!;
  try {
    await postponeChunks(database.pool, chunks, delayMs);
    if (isPassing)
      await deleteAttempts(
        database.pool,
        chunks.map(({ receipt_id, chunk_number, tries }) => ({ receipt_id, chunk_number, attempt: tries + 1 })),
      );
  } catch (postponeError) {
    logger.debug({ err: postponeError }, 'chunks stay due');
  }
}
