import { CID } from 'multiformats/cid';
import type pg from 'pg';
import { insertMessages } from '#domains/events/index.ts';
import { withTransaction } from '#platform/database.ts';
import { makeId } from '#platform/ids.ts';
import type { KeyEncryption } from '#platform/key-encryption.ts';
import type { Logger } from '#platform/logger.ts';
import type { QueueWork } from '#platform/queue/definition.ts';
import { StorageFault, type StorageAdapter } from './adapters/adapter.ts';
import {
  claimBatch,
  claimCheck,
  findBatchContents,
  findNextDue,
  findOrphans,
  findPackableAdapter,
  insertBatch,
  isRootNeeded,
  markChecked,
  markFault,
  markRemoved,
  markStored,
  releaseBatches,
  takeQueuedContents,
  type BatchRow,
} from './batches.store.ts';
import { carOf, directoryDag, type Dag } from './content-address.ts';
import { findKeysSealedOtherwise, writeSealedKeys } from './contents.store.ts';
import type { AdapterName } from './scope-settings.ts';
import { storageQueue } from './storage.jobs.ts';
import { moveNextContents, writeDefaultAdapter } from './storage-settings.store.ts';
import { storedMessage } from './stored-message.ts';

interface StorageWorkOptions {
  pool: pg.Pool;
  logger: Logger;
  /** Seals the keys of encrypted contents; undefined without a key. */
  keys: KeyEncryption | undefined;
  /** What this installation can store to. */
  adapters: readonly StorageAdapter[];
  /** What scopes without an adapter of their own use; null for nothing. */
  defaultAdapter: AdapterName | null;
  limits: StorageLimits;
}

export interface StorageLimits {
  /** Contents of one batch at most. */
  readonly itemsMax: number;
  /** A batch is packed when its first content waited so long, however few there are. */
  readonly ageMaxMs: number;
  /** A stored batch is looked for again after so long. */
  readonly checkAfterMs: number;
}

/** A worker holds a batch several times while it is stored. Far below what Pinata takes in one upload (94,371,840 bytes). */
const batchBytesMax = 16_777_216;
/** Longer than any call of an adapter may take. */
const leaseMs = 300_000;
const movedAtOnce = 1000;
const resealedAtOnce = 500;
const firstRetryMs = 5000;
const lastRetryMs = 3_600_000;

/** Makes the work behind the queue `storage`, of which any number of workers may do a part. */
export function makeStorageWork({
  pool,
  logger,
  keys,
  adapters,
  defaultAdapter,
  limits,
}: StorageWorkOptions): QueueWork<object> {
  const byName = new Map(adapters.map((adapter) => [adapter.name, adapter]));
  const names = [...byName.keys()];
  let isNew = true;
  // Without a key nothing is sealed, and nothing can be sealed anew.
  let isResealed = keys === undefined;

  /** Keeps which contents come together, so that whoever stores them later stores the same bytes. */
  const pack = async (): Promise<object | undefined> => {
    const adapter = await findPackableAdapter(pool, names, limits);
    if (adapter === undefined) return undefined;
    return withTransaction(pool, async (client) => {
      const contents = await takeQueuedContents(client, adapter, {
        itemsMax: limits.itemsMax,
        bytesMax: batchBytesMax,
      });
      if (contents.length === 0) return { packed: 0 };
      const dag = await batchDag(contents);
      const batch = { batchId: makeId(), adapter, root: dag.root.toString(), sizeBytes: sizeOf(dag) };
      await insertBatch(client, { ...batch, contentIds: contents.map((content) => content.content_id) });
      return { packed: contents.length, batch_id: batch.batchId, root: batch.root };
    });
  };

  /** Stores or removes the next batch that is due. */
  const attemptNext = async (): Promise<object | undefined> => {
    const batch = await claimBatch(pool, names, leaseMs);
    if (!batch) return undefined;
    try {
      return await (batch.state === 'packed' ? storeBatch(batch) : removeBatch(batch));
    } catch (error) {
      if (!(error instanceof StorageFault)) throw error;
      const retryAfterMs = error.isFinal ? null : Math.max(error.retryAfterMs ?? 0, backoffMs(batch.attempts));
      await markFault(pool, batch, { fault: error.message, status: error.status ?? null, retryAfterMs });
      const told = { batch_id: batch.batch_id, adapter: batch.adapter, root: batch.root, fault: error.message };
      if (error.isFinal) logger.error(told, 'contents cannot be stored');
      else logger.warn(told, 'contents could not be stored yet');
      return { fault: error.message, batch_id: batch.batch_id };
    }
  };

  const storeBatch = async (batch: BatchRow): Promise<object> => {
    const contents = await findBatchContents(pool, batch.batch_id);
    const whole = contents.filter((content): content is typeof content & { bytes: Buffer } => content.bytes !== null);
    if (whole.length < contents.length) {
      await releaseBatches(pool, [batch.batch_id], 0);
      return { released: batch.batch_id };
    }
    const dag = await batchDag(whole);
    if (dag.root.toString() !== batch.root)
      throw new StorageFault('its contents do not lead to its root any more', { isFinal: true });
    const adapter = byName.get(batch.adapter)!;
    const { root, reference } = await adapter.store(dag, await carOf(dag), `defarm-${batch.batch_id}`);
    // Whoever stored something else made a mistake that the next attempt would not mend.
    if (root !== batch.root)
      throw new StorageFault(`${batch.adapter} stored ${root.slice(0, 100)}, which is something else`, {
        isFinal: true,
      });
    const isCounted = await withTransaction(pool, async (client) => {
      const stored = await markStored(client, batch, { reference, checkAfterMs: limits.checkAfterMs });
      await insertMessages(
        client,
        (stored ?? []).map((content) => storedMessage(content, batch.adapter)),
        true,
      );
      return stored !== undefined;
    });
    return { stored: batch.root, adapter: batch.adapter, is_counted: isCounted };
  };

  const removeBatch = async (batch: BatchRow): Promise<object> => {
    const orphans = (await findOrphans(pool, batch.batch_id)).map((cid) => CID.parse(cid));
    if (!(await isRootNeeded(pool, batch)))
      await byName.get(batch.adapter)!.remove(batch.root, batch.reference, orphans);
    await markRemoved(pool, batch);
    return { removed: batch.root, adapter: batch.adapter };
  };

  const checkNext = async (): Promise<object | undefined> => {
    const batch = await claimCheck(pool, names, leaseMs);
    if (!batch) return undefined;
    try {
      const isThere = await byName.get(batch.adapter)!.has(batch.root, batch.reference);
      const fault = isThere ? null : 'it was not there any more';
      await markChecked(pool, batch, { isThere, fault, checkAfterMs: limits.checkAfterMs });
      if (!isThere)
        logger.error({ batch_id: batch.batch_id, root: batch.root }, 'stored contents are gone, and stored again');
      return { checked: batch.root, is_there: isThere };
    } catch (error) {
      if (!(error instanceof StorageFault)) throw error;
      const checkAfterMs = Math.max(error.retryAfterMs ?? 0, firstRetryMs * 12);
      await markChecked(pool, batch, { isThere: true, fault: error.message, checkAfterMs });
      return { fault: error.message, batch_id: batch.batch_id };
    }
  };

  /** Seals keys anew that another key sealed, as far as that one is here. */
  const resealNext = async (): Promise<object | undefined> => {
    if (isResealed || !keys) return undefined;
    const found = await findKeysSealedOtherwise(pool, keys.keyId, resealedAtOnce);
    const opened = found.flatMap((row) => {
      const key = keys.open({ keyId: row.key_id, bytes: row.sealed_key });
      return key ? { contentId: row.content_id, sealed: keys.seal(key) } : [];
    });
    isResealed = opened.length === 0;
    if (found.length > 0 && isResealed)
      logger.error(
        { key_ids: [...new Set(found.map((row) => row.key_id))] },
        'contents were encrypted under keys that are not here',
      );
    if (isResealed) return undefined;
    await writeSealedKeys(pool, opened);
    return { resealed: opened.length };
  };

  const moveNext = async (): Promise<object | undefined> => {
    const moved = await moveNextContents(pool, defaultAdapter, movedAtOnce);
    return moved === undefined ? undefined : { moved };
  };

  const work = async (): Promise<object | undefined> => {
    if (isNew) {
      await writeDefaultAdapter(pool, defaultAdapter);
      if (defaultAdapter !== null && !byName.has(defaultAdapter))
        logger.error(
          { adapter: defaultAdapter },
          'STORAGE_ADAPTER names an adapter that is not set up, so contents wait',
        );
      isNew = false;
    }
    return (await resealNext()) ?? (await moveNext()) ?? (await pack()) ?? (await attemptNext()) ?? (await checkNext());
  };

  return {
    queue: storageQueue,
    concurrency: 2,
    process: async () => (await work()) ?? { idle: true },
    findOverdue: async () => ((await isDue()) ? [{}] : []),
    workDirectly: async () => (await work()) !== undefined,
  };

  async function isDue(): Promise<boolean> {
    if (isNew || !isResealed || (await findPackableAdapter(pool, names, limits)) !== undefined) return true;
    const due = await findNextDue(pool, names);
    return due.isMoving || due.isDue;
  }
}

/** The directory of a batch. Its files are named by their CIDs, which tell nothing that their contents do not. */
export async function batchDag(contents: readonly { cid: string; bytes: Buffer }[]): Promise<Dag> {
  const files = new Map(contents.map(({ cid, bytes }) => [fileName(cid), bytes]));
  return directoryDag([...files].map(([name, bytes]) => ({ name, bytes })));
}

/** The name of a content in the directory of its batch. */
export function fileName(cid: string): string {
  return `${cid}.json`;
}

function sizeOf({ blocks }: Dag): number {
  return blocks.reduce((bytes, block) => bytes + block.bytes.length, 0);
}

/** Doubled after each attempt, and never the same for all that failed together. */
function backoffMs(attempts: number): number {
  const longest = Math.min(lastRetryMs, firstRetryMs * 2 ** Math.min(attempts - 1, 20));
  return longest * (0.5 + Math.random() / 2);
}
