import type { Verdict } from '#domains/items/index.ts';
import type { ChunkCounts } from './work.store.ts';

/** How many records of a chunk ended in which way. */
export function countVerdicts(verdicts: readonly Verdict[]): ChunkCounts {
  const counts: ChunkCounts = { completed: 0, rejected: 0, failed: 0, conflicted: 0, created: 0, enriched: 0 };
  for (const { status, outcome } of verdicts) {
    counts[status] += 1;
    if (outcome === 'created' || outcome === 'enriched') counts[outcome] += 1;
  }
  return counts;
}
