import type pg from 'pg';
import type { QueueWork } from '#platform/queue/definition.ts';
import { anchoringQueue } from './anchoring.jobs.ts';
import { findCheckpoint, hasFeed, readLogState } from './log.store.ts';
import { sequenceEvents } from './sequence-events.ts';
import { signCheckpoint, type CheckpointSigning } from './sign-checkpoint.ts';

export interface LedgerWorkOptions {
  pool: pg.Pool;
  /** Undefined without a signing key: then entries are made, and nothing is signed. */
  signing: CheckpointSigning | undefined;
}

/** Events taken in by one transaction, which lasts a fraction of a second. */
const eventsAtOnce = 5000;
/** Transactions of one job; the next job goes on. */
const stepsMax = 20;

/** Makes the work behind the queue `anchoring`: one lane, which any worker process may take over at any moment. */
export function makeLedgerWork({ pool, signing }: LedgerWorkOptions): QueueWork<object> {
  const work = async () => {
    let [entries, steps] = [0, 0];
    for (let hasMore = true; hasMore && steps < stepsMax; steps += 1) {
      const step = await sequenceEvents(pool, eventsAtOnce);
      entries += step?.entries ?? 0;
      hasMore = step?.hasMore ?? false;
    }
    const signedSize = signing && (await signCheckpoint(pool, signing));
    return { entries, signed_size: signedSize ?? null };
  };

  const isSigned = async () => {
    if (!signing) return true;
    const { size, refusal } = await readLogState(pool);
    return refusal !== null || (await findCheckpoint(pool))?.size === size;
  };

  return {
    queue: anchoringQueue,
    concurrency: 1,
    process: work,
    findOverdue: async () => ((await hasFeed(pool)) || !(await isSigned()) ? [{}] : []),
    workDirectly: async () => (await work()).entries > 0,
  };
}
