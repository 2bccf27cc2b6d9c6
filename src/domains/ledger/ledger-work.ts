import type pg from 'pg';
import type { StartContents } from '#domains/storage/index.ts';
import type { Logger } from '#platform/logger.ts';
import type { QueueWork } from '#platform/queue/definition.ts';
import { anchorNext, type Anchoring } from './anchor-checkpoints.ts';
import { alarmInWords, balanceOf } from './anchor-balance.ts';
import { anchoringQueue } from './anchoring.jobs.ts';
import { isAnchorDue, writeAnchorRefusal } from './anchors.store.ts';
import { growItemTrees } from './item-trees/grow-item-trees.ts';
import { areTreesBehind } from './item-trees/item-trees.store.ts';
import { askWitnesses, type Witness } from './witnesses/ask-witnesses.ts';
import { isWitnessDue } from './witnesses/witnesses.store.ts';
import { findCheckpoint, hasFeed, readLogState, writeRefusal } from './log.store.ts';
import { sequenceEvents } from './sequence-events.ts';
import { signCheckpoint, type CheckpointSigning } from './sign-checkpoint.ts';

interface LedgerWorkOptions {
  pool: pg.Pool;
  logger: Logger;
  /** Makes what of versions is stored outside of the database. */
  startContents: StartContents;
  /** Undefined without a signing key, a text for one that is none: then entries are made, and nothing is signed. */
  signing: CheckpointSigning | string | undefined;
  /** Asked for their signatures under what is signed. */
  witnesses: readonly Witness[];
  /** Undefined where checkpoints are not to be anchored; a text says why they cannot be. */
  anchoring: Anchoring | string | undefined;
}

/** One transaction lasts a second or two at most. */
export const sequencingLimits = { steps: 8, rows: 4000, bytes: 8_388_608 };
/** Entries of the log that one transaction takes into the trees of items. */
const treeEntriesMax = 20_000;
/** Transactions of one job; the next job goes on. */
const transactionsMax = 4;

/** Makes the work behind the queue `anchoring`: one lane, which any worker process may take over at any moment. */
export function makeLedgerWork({
  pool,
  logger,
  startContents,
  signing,
  witnesses,
  anchoring,
}: LedgerWorkOptions): QueueWork<object> {
  /** Until the settings of this process are told, which may not be those of the one before. */
  let isNew = true;
  let isAnchoring = false;
  let isAsking = false;
  const witnessKeys = witnesses.map(({ verifier }) => verifier.text);
  let lastAlarm: string | undefined;

  const work = async () => {
    let [entries, transactions] = [0, 0];
    for (let hasMore = true; hasMore && transactions < transactionsMax; transactions += 1) {
      const step = await sequenceEvents(pool, sequencingLimits, startContents);
      entries += step?.entries ?? 0;
      hasMore = step?.hasMore ?? false;
    }
    await growTrees();
    if (isNew) await saySettings();
    const signedSize = typeof signing === 'object' ? await signCheckpoint(pool, signing) : undefined;
    const cosigned = await askIfDue();
    const anchored = await anchorIfDue();
    return {
      entries,
      signed_size: signedSize ?? null,
      ...(cosigned === 0 ? {} : { cosigned }),
      ...(anchored === undefined ? {} : { anchored }),
    };
  };

  const growTrees = async () => {
    let hasMore = true;
    for (let transactions = 0; hasMore && transactions < transactionsMax; transactions += 1)
      hasMore = (await growItemTrees(pool, treeEntriesMax))?.hasMore ?? false;
  };

  const saySettings = async () => {
    isNew = false;
    if (typeof signing === 'string') await writeRefusal(pool, signing);
    await writeAnchorRefusal(pool, typeof anchoring === 'string' ? anchoring : null, 0);
  };

  /** As for the network of anchors, one job of this process asks. */
  const askIfDue = async () => {
    if (isAsking || !(await isWitnessDue(pool, witnessKeys))) return 0;
    isAsking = true;
    try {
      return await askWitnesses(pool, witnesses);
    } finally {
      isAsking = false;
    }
  };

  /** One job of this process asks the network, which may take long; the others go on with the log meanwhile. */
  const anchorIfDue = async () => {
    if (typeof anchoring !== 'object' || isAnchoring || !(await isAnchorDue(pool, anchoring))) return undefined;
    isAnchoring = true;
    try {
      const outcome = await anchorNext(pool, anchoring);
      await sayBalance(anchoring);
      return outcome;
    } finally {
      isAnchoring = false;
    }
  };

  /** Once for each alarm, and again when the process starts anew. */
  const sayBalance = async ({ maxFeeStroops }: Anchoring) => {
    const alarm = alarmInWords(balanceOf(await readLogState(pool), maxFeeStroops));
    if (alarm !== undefined && lastAlarm === undefined)
      logger.error({ alarm }, 'the account that anchors is running low');
    lastAlarm = alarm;
  };

  const isSigned = async () => {
    if (typeof signing !== 'object') return true;
    const { size, refusal } = await readLogState(pool);
    return refusal !== null || (await findCheckpoint(pool))?.size === size;
  };

  const isAskingDue = async () => !isAsking && (await isWitnessDue(pool, witnessKeys));

  const isAnchoringDue = async () =>
    typeof anchoring === 'object' && !isAnchoring && (await isAnchorDue(pool, anchoring));

  return {
    queue: anchoringQueue,
    concurrency: 2,
    process: work,
    findOverdue: async () =>
      isNew ||
      (await hasFeed(pool)) ||
      (await areTreesBehind(pool)) ||
      !(await isSigned()) ||
      (await isAskingDue()) ||
      (await isAnchoringDue())
        ? [{}]
        : [],
    workDirectly: async () => (await work()).entries > 0,
  };
}
