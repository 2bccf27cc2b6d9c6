import type pg from 'pg';
import type { StartContents } from '#domains/storage/index.ts';
import type { Logger } from '#platform/logger.ts';
import type { QueueWork } from '#platform/queue/definition.ts';
import { anchorNext, type Anchoring } from './anchor-checkpoints.ts';
import { alarmInWords, balanceOf } from './anchor-balance.ts';
import { anchoringQueue } from './anchoring.jobs.ts';
import { isAnchorDue, writeAnchorRefusal } from './anchors.store.ts';
import { tellAnchored } from './anchored-messages/tell-anchored.ts';
import { growItemTrees } from './item-trees/grow-item-trees.ts';
import { areTreesBehind } from './item-trees/item-trees.store.ts';
import { followContract, type ContractFollowing } from './timeline/follow-contract.ts';
import { growTimeline } from './timeline/grow-timeline.ts';
import { isBehindAnchors, isContractDue } from './timeline/timeline.store.ts';
import { areCallsDue, queueCalls, type CalledContracts } from './contract-calls/contract-calls.store.ts';
import { withTransaction, type Queryable } from '#platform/database.ts';
import { askWitnesses, type Witness } from './witnesses/ask-witnesses.ts';
import { isWitnessDue } from './witnesses/witnesses.store.ts';
import { findCheckpoint, hasFeed, isFeedYoung, readLogState, writeRefusal } from './log.store.ts';
import { sequenceEvents } from './sequence-events.ts';
import { signCheckpoint, type CheckpointSigning } from './sign-checkpoint.ts';

interface LedgerWorkOptions {
  pool: pg.Pool;
  logger: Logger;
  /** Whether records wait, for which the log steps aside. */
  areRecordsWaiting(queryable: Queryable): Promise<boolean>;
  /** Makes what of versions is stored outside of the database. */
  startContents: StartContents;
  /** Undefined without a signing key, a text for one that is none: then entries are made, and nothing is signed. */
  signing: CheckpointSigning | string | undefined;
  /** Asked for their signatures under what is signed. */
  witnesses: readonly Witness[];
  /** Undefined where checkpoints are not to be anchored; a text says why they cannot be. */
  anchoring: Anchoring | string | undefined;
  /** A contract whose events tell of items, too; a text says why they cannot be read. */
  following: ContractFollowing | string | undefined;
  /** Contracts that are told of public contents; undefined where none are. */
  calling: CalledContracts | undefined;
}

/** One transaction lasts a second or two at most. */
export const sequencingLimits = { steps: 8, rows: 4000, bytes: 8_388_608 };
/** Entries of the log that one transaction takes into the trees of items, or into their timelines. */
const followedEntriesMax = 20_000;
/** While records wait, so long may an event wait for its entry: who sends them is told of them first. */
const stepAsideMs = 30_000;
/** Transactions of one job; the next job goes on. */
const transactionsMax = 4;

/** Makes the work behind the queue `anchoring`: one lane, which any worker process may take over at any moment. */
export function makeLedgerWork({
  pool,
  logger,
  areRecordsWaiting,
  startContents,
  signing,
  witnesses,
  anchoring,
  following,
  calling,
}: LedgerWorkOptions): QueueWork<object> {
  /** Until the settings of this process are told, which may not be those of the one before. */
  let isNew = true;
  let lastAlarm: string | undefined;
  const witnessKeys = witnesses.map(({ verifier }) => verifier.text);
  const network = typeof anchoring === 'object' ? anchoring.networkPassphrase : undefined;

  const witnessing = oneAtATime(
    () => isWitnessDue(pool, witnessKeys),
    () => askWitnesses(pool, witnesses),
  );
  const anchors = oneAtATime(
    async () => typeof anchoring === 'object' && (await isAnchorDue(pool, anchoring)),
    async () => {
      if (typeof anchoring !== 'object') return undefined;
      const outcome = await anchorNext(pool, anchoring);
      await sayBalance(anchoring);
      return outcome;
    },
  );
  const contract = oneAtATime(
    async () => typeof following === 'object' && (await isContractDue(pool, following)),
    async () => (typeof following === 'object' ? followContract(pool, following) : undefined),
  );

  const stepsAside = async () => (await isFeedYoung(pool, stepAsideMs)) && (await areRecordsWaiting(pool));

  const work = async () => {
    let entries = 0;
    await repeat(async () => {
      if (await stepsAside()) return undefined;
      const step = await sequenceEvents(pool, sequencingLimits, startContents);
      entries += step?.entries ?? 0;
      return step;
    });
    await repeat(() => growItemTrees(pool, followedEntriesMax));
    if (isNew) await saySettings();
    const signedSize = typeof signing === 'object' ? await signCheckpoint(pool, signing) : undefined;
    const cosigned = await witnessing.runIfDue();
    if (calling && (await areCallsDue(pool, calling.network)))
      await withTransaction(pool, (client) => queueCalls(client, calling));
    const anchored = await anchors.runIfDue();
    if (network !== undefined) {
      await repeat(() => growTimeline(pool, network, followedEntriesMax));
      await repeat(() => tellAnchored(pool, network, followedEntriesMax));
    }
    const told = await contract.runIfDue();
    return { entries, signed_size: signedSize ?? null, cosigned, anchored, contract_events: told };
  };

  const saySettings = async () => {
    isNew = false;
    if (typeof signing === 'string') await writeRefusal(pool, signing);
    await writeAnchorRefusal(pool, typeof anchoring === 'string' ? anchoring : null, 0);
    if (typeof following === 'string') logger.warn({ reason: following }, 'the events of the contract are not read');
  };

  /** Once for each alarm, and again when the process starts anew. */
  const sayBalance = async ({ maxFeeStroops }: Anchoring) => {
    const alarm = alarmInWords(balanceOf(await readLogState(pool), maxFeeStroops));
    if (alarm !== undefined && lastAlarm === undefined)
      logger.error({ alarm }, 'the account that anchors is running low');
    lastAlarm = alarm;
  };

  const isUnsigned = async () => {
    if (typeof signing !== 'object') return false;
    const { size, refusal } = await readLogState(pool);
    return refusal === null && (await findCheckpoint(pool))?.size !== size;
  };

  /** Whether any of what a job does is to be done; asked one after the other, the cheapest and most likely first. */
  const isDue = async () => {
    const reasons = [
      async () => (await hasFeed(pool)) && !(await stepsAside()),
      () => areTreesBehind(pool),
      isUnsigned,
      witnessing.isDue,
      anchors.isDue,
      async () => network !== undefined && (await isBehindAnchors(pool, network, 'log')),
      async () => network !== undefined && (await isBehindAnchors(pool, network, 'webhooks')),
      contract.isDue,
      async () => calling !== undefined && (await areCallsDue(pool, calling.network)),
    ];
    for (const isReason of reasons) if (await isReason()) return true;
    return isNew;
  };

  return {
    queue: anchoringQueue,
    concurrency: 2,
    process: work,
    findOverdue: async () => ((await isDue()) ? [{}] : []),
    workDirectly: async () => (await work()).entries > 0,
  };
}

/** Does steps until there are no more, or as many as one job may. */
async function repeat(step: () => Promise<{ hasMore: boolean } | undefined>): Promise<void> {
  for (let done = 0; done < transactionsMax; done += 1) if ((await step())?.hasMore !== true) return;
}

/** Something that asks others and may take long: one job of this process is at it, and the others go on with the log. */
function oneAtATime<Result>(isDue: () => Promise<boolean>, run: () => Promise<Result>) {
  let isRunning = false;
  return {
    isDue: async () => !isRunning && (await isDue()),
    async runIfDue(): Promise<Result | undefined> {
      if (isRunning) return undefined;
      isRunning = true;
      try {
        return (await isDue()) ? await run() : undefined;
      } finally {
        isRunning = false;
      }
    },
  };
}
