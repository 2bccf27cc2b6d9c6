import type pg from 'pg';
import type { QueueWork } from '#platform/queue/definition.ts';
import { anchorNext, type Anchoring } from './anchor-checkpoints.ts';
import { anchoringQueue } from './anchoring.jobs.ts';
import { isAnchorDue, writeAnchorRefusal } from './anchors.store.ts';
import { findCheckpoint, hasFeed, readLogState } from './log.store.ts';
import { sequenceEvents } from './sequence-events.ts';
import { signCheckpoint, type CheckpointSigning } from './sign-checkpoint.ts';

interface LedgerWorkOptions {
  pool: pg.Pool;
  /** Undefined without a signing key: then entries are made, and nothing is signed. */
  signing: CheckpointSigning | undefined;
  /** Undefined where checkpoints are not to be anchored; a text says why they cannot be. */
  anchoring: Anchoring | string | undefined;
}

/** One transaction lasts a second or two at most. */
export const sequencingLimits = { steps: 8, rows: 4000, bytes: 8_388_608 };
/** Transactions of one job; the next job goes on. */
const transactionsMax = 4;

/** Makes the work behind the queue `anchoring`: one lane, which any worker process may take over at any moment. */
export function makeLedgerWork({ pool, signing, anchoring }: LedgerWorkOptions): QueueWork<object> {
  const work = async () => {
    let [entries, transactions] = [0, 0];
    for (let hasMore = true; hasMore && transactions < transactionsMax; transactions += 1) {
      const step = await sequenceEvents(pool, sequencingLimits);
      entries += step?.entries ?? 0;
      hasMore = step?.hasMore ?? false;
    }
    const signedSize = signing && (await signCheckpoint(pool, signing));
    if (typeof anchoring !== 'object') await writeAnchorRefusal(pool, anchoring ?? null, 0);
    const anchored = typeof anchoring === 'object' ? await anchorNext(pool, anchoring) : undefined;
    return { entries, signed_size: signedSize ?? null, ...(anchored === undefined ? {} : { anchored }) };
  };

  const isSigned = async () => {
    if (!signing) return true;
    const { size, refusal } = await readLogState(pool);
    return refusal !== null || (await findCheckpoint(pool))?.size === size;
  };

  const isAnchoringDue = async () => typeof anchoring === 'object' && isAnchorDue(pool, anchoring);

  return {
    queue: anchoringQueue,
    concurrency: 1,
    process: work,
    findOverdue: async () => ((await hasFeed(pool)) || !(await isSigned()) || (await isAnchoringDue()) ? [{}] : []),
    workDirectly: async () => (await work()).entries > 0,
  };
}
