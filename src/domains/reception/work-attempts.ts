import os from 'node:os';
import type pg from 'pg';
import type { Database } from '#platform/database.ts';
import { isDataError, isTransientConflict } from '#platform/errors.ts';
import type { Logger } from '#platform/logger.ts';
import { ContentionError } from '#domains/items/index.ts';
import { deleteAttempts, findAttempts, insertAttempts, postponeChunks, type AttemptRow } from './work.store.ts';

/** How this process names itself beside its tries. */
export const workerName = `${os.hostname()}:${process.pid}`;
/** After this many tries that ended in a crash or an error, work goes on record by record. */
export const wholeTriesMax = 3;
const retryDelaysMs = [200, 500, 1000, 2000, 5000, 15_000, 60_000];

/**
 * Chooses what to try now and counts the try, committed before the work. All is tried together, but what was tried in vain
 * several times goes alone: its neighbours shall neither fail with it nor be counted as tried.
 */
export async function countTry<Chunk extends ChunkKey>(
  client: pg.ClientBase,
  attemptPool: pg.Pool,
  chunks: readonly Chunk[],
): Promise<{ /** The tries before this one. */ tries: AttemptRow[]; tried: readonly Chunk[] }> {
  const tries = await findAttempts(
    client,
    chunks.map((chunk) => chunk.receipt_id),
    chunks.map((chunk) => chunk.chunk_number),
  );
  const troubled = chunks.find((chunk) => triesOf(tries, chunk) >= wholeTriesMax);
  const tried = troubled ? [troubled] : chunks;
  await insertAttempts(
    attemptPool,
    tried.map((chunk) => ({
      receipt_id: chunk.receipt_id,
      chunk_number: chunk.chunk_number,
      attempt: triesOf(tries, chunk) + 1,
      position: null,
    })),
    workerName,
  );
  return { tries, tried };
}

interface ChunkKey {
  readonly receipt_id: string;
  readonly chunk_number: number;
}

function isOf(row: AttemptRow, { receipt_id, chunk_number }: ChunkKey): boolean {
  return row.receipt_id === receipt_id && row.chunk_number === chunk_number;
}

/** How often a chunk was tried before. */
export function triesOf(tries: readonly AttemptRow[], chunk: ChunkKey): number {
  return tries.reduce((most, row) => (isOf(row, chunk) ? Math.max(most, row.attempt) : most), 0);
}

/**
 * Puts off what failed. A conflict with other transactions is over soon and speaks against no record, so its try does not
 * count; anything else waits longer at each try.
 */
export async function postponeAfter(
  error: unknown,
  chunks: readonly ChunkKey[],
  tries: readonly AttemptRow[],
  database: Database,
  logger: Logger,
): Promise<void> {
  const most = Math.max(...chunks.map((chunk) => triesOf(tries, chunk)));
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
        chunks.map((chunk) => ({ ...chunk, attempt: triesOf(tries, chunk) + 1 })),
      );
  } catch (postponeError) {
    logger.debug({ err: postponeError }, 'chunks stay due');
  }
}
