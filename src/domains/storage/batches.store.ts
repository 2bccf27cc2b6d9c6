import { textArray, uuidArray } from '#platform/binary-arrays.ts';
import type { ValueChain } from '#domains/items/index.ts';
import type { Queryable } from '#platform/database.ts';
import type { AdapterName } from './scope-settings.ts';

/** A content that waits for a batch. */
export interface QueuedContent {
  content_id: string;
  cid: string;
  bytes: Buffer;
}

/**
 * The adapter with contents that make a batch: as many as one may hold, or one that waited long enough. Undefined when none has.
 */
export async function findPackableAdapter(
  queryable: Queryable,
  adapters: readonly AdapterName[],
  { itemsMax, ageMaxMs }: { itemsMax: number; ageMaxMs: number },
): Promise<AdapterName | undefined> {
  const { rows } = await queryable.query<{ adapter: AdapterName }>({
    name: 'find_packable_adapter',
    text: `select adapter from unnest($1::text[]) as adapters (adapter)
           cross join lateral (
             select count(*) as waiting, min(queued_at) as since
             from (select queued_at from storage_history
                   where storage_history.adapter = adapters.adapter and batch_id is null and state = 'queued'
                   order by content_id limit $2::int4) as oldest
           ) as queued
           where waiting >= $2::int4 or since <= now() - $3::float8 * interval '1 millisecond'
           order by since limit 1`,
    values: [textArray(adapters), itemsMax, ageMaxMs],
  });
  return rows[0]?.adapter;
}

/** Takes the oldest contents that wait for an adapter; those that were erased meanwhile are marked so and left out. */
export async function takeQueuedContents(
  queryable: Queryable,
  adapter: AdapterName,
  { itemsMax, bytesMax }: { itemsMax: number; bytesMax: number },
): Promise<QueuedContent[]> {
  const { rows } = await queryable.query<QueuedContent & { is_erased: boolean }>({
    name: 'take_queued_contents',
    text: `with queued as (
             select content_id from storage_history where adapter = $1 and batch_id is null and state = 'queued'
             order by content_id limit $2::int4 for update skip locked
           ), sized as (
             select content_id, cid, bytes, sum(coalesce(octet_length(bytes), 0)) over (order by content_id) - coalesce(octet_length(bytes), 0) as bytes_before
             from queued join storage_contents using (content_id)
           ), erased as (
             update storage_history set state = 'removed' from sized
             where storage_history.content_id = sized.content_id and storage_history.adapter = $1 and sized.bytes is null
           )
           select content_id, cid, bytes from sized where bytes is not null and bytes_before < $3 order by content_id`,
    values: [adapter, itemsMax, bytesMax],
  });
  return rows;
}

/** Keeps which contents a batch has, before any of it leaves. */
export async function insertBatch(
  queryable: Queryable,
  batch: {
    readonly batchId: string;
    readonly adapter: AdapterName;
    readonly root: string;
    readonly sizeBytes: number;
    readonly contentIds: readonly string[];
  },
): Promise<void> {
  await queryable.query({
    name: 'insert_storage_batch',
    text: `with batch as (
             insert into storage_batches (batch_id, adapter, root, size_bytes, contents) values ($1, $2, $3, $4, $5)
           )
           update storage_history set batch_id = $1
           from unnest($6::uuid[]) as members (content_id)
           where storage_history.content_id = members.content_id and storage_history.adapter = $2`,
    values: [
      batch.batchId,
      batch.adapter,
      batch.root,
      batch.sizeBytes,
      batch.contentIds.length,
      uuidArray(batch.contentIds),
    ],
  });
}

export interface BatchRow {
  batch_id: string;
  adapter: AdapterName;
  root: string;
  attempts: number;
  claim: number;
  reference: string | null;
}

const batchColumns = 'batch_id, adapter, root, attempts, claim, reference';

/**
 * Claims a batch that is due: nobody else tries it before the lease is over, and what this claim finds out counts only as
 * long as no other one was made.
 */
export async function claimBatch(
  queryable: Queryable,
  adapters: readonly AdapterName[],
  leaseMs: number,
): Promise<(BatchRow & { state: 'packed' | 'removing' }) | undefined> {
  const { rows } = await queryable.query<BatchRow & { state: 'packed' | 'removing' }>({
    name: 'claim_storage_batch',
    text: `update storage_batches
           set claim = claim + 1, attempts = attempts + 1, next_attempt_at = now() + $2::float8 * interval '1 millisecond'
           where batch_id = (
             select batch_id from storage_batches
             where state in ('packed', 'removing') and next_attempt_at <= now() and adapter = any($1::text[])
             order by next_attempt_at limit 1 for update skip locked
           )
           returning ${batchColumns}, state`,
    values: [textArray(adapters), leaseMs],
  });
  return rows[0];
}

/** The contents of a batch, in the order in which it was packed; those that were erased have no bytes. */
export async function findBatchContents(
  queryable: Queryable,
  batchId: string,
): Promise<{ content_id: string; cid: string; bytes: Buffer | null }[]> {
  const { rows } = await queryable.query<{ content_id: string; cid: string; bytes: Buffer | null }>({
    name: 'find_batch_contents',
    text: `select content_id, cid, bytes from storage_history join storage_contents using (content_id)
           where batch_id = $1 order by content_id`,
    values: [batchId],
  });
  return rows;
}

/** A content that was stored, of a workspace that has endpoints. */
export interface StoredContentRow {
  workspace_id: string;
  item_number: number;
  value_chain: ValueChain;
  country: string;
  year: number;
  version: number;
  kind: 'public' | 'encrypted';
  cid: string;
}

/**
 * A batch is where it was to be.
 * @returns its contents that came there now, for those who want to be told; undefined when another claim was made meanwhile.
 */
export async function markStored(
  queryable: Queryable,
  { batch_id: batchId, claim }: Pick<BatchRow, 'batch_id' | 'claim'>,
  { reference, checkAfterMs }: { reference: string | null; checkAfterMs: number },
): Promise<StoredContentRow[] | undefined> {
  const { rows } = await queryable.query<StoredContentRow | { workspace_id: null }>({
    name: 'mark_batch_stored',
    text: `with stored as (
             update storage_batches
             set state = 'stored', reference = $3, fault = null, fault_status = null, stored_at = coalesce(stored_at, now()),
                 check_due_at = now() + $4::float8 * interval '1 millisecond'
             where batch_id = $1 and claim = $2 and state = 'packed'
             returning batch_id
           ), members as (
             update storage_history set state = 'stored', stored_at = coalesce(storage_history.stored_at, now())
             from stored where storage_history.batch_id = stored.batch_id and state = 'queued'
             returning content_id
           ), told as (
             select contents.workspace_id, contents.item_number, value_chain, country, year, version, kind, cid, content_id
             from members join storage_contents as contents using (content_id)
             join webhook_workspaces using (workspace_id) join items using (item_number)
           )
           select told.workspace_id, item_number, value_chain, country, year, version, kind, cid
           from stored left join told on true order by content_id`,
    values: [batchId, claim, reference, checkAfterMs],
  });
  if (rows.length === 0) return undefined;
  return rows.flatMap((row) => (row.workspace_id === null ? [] : [row]));
}

/** An attempt failed; the next one is made after a while, or none if it cannot succeed. */
export async function markFault(
  queryable: Queryable,
  { batch_id: batchId, claim }: Pick<BatchRow, 'batch_id' | 'claim'>,
  { fault, status, retryAfterMs }: { fault: string; status: number | null; retryAfterMs: number | null },
): Promise<void> {
  await queryable.query({
    name: 'mark_batch_fault',
    text: `with failed as (
             update storage_batches
             set fault = $3, fault_status = $5, state = case when $4::float8 is null then 'failed' else state end,
                 next_attempt_at = now() + coalesce($4::float8, 0) * interval '1 millisecond'
             where batch_id = $1 and claim = $2 and state in ('packed', 'removing')
             returning batch_id, state
           )
           update storage_history set state = 'failed' from failed
           where failed.state = 'failed' and storage_history.batch_id = failed.batch_id and storage_history.state = 'queued'`,
    values: [batchId, claim, fault, retryAfterMs, status],
  });
}

/**
 * Gives up batches of which contents were erased: the other contents are queued for another one, and what is stored of them
 * is to be removed after a while, in which the others should have their new place.
 */
export async function releaseBatches(
  queryable: Queryable,
  batchIds: readonly string[],
  removeAfterMs: number,
): Promise<void> {
  await queryable.query({
    name: 'release_storage_batches',
    text: `with released as (
             update storage_batches
             set state = 'removing', claim = claim + 1, attempts = 0, check_due_at = null,
                 next_attempt_at = now() + $2::float8 * interval '1 millisecond'
             where batch_id = any($1::uuid[]) and state in ('packed', 'stored', 'failed') returning batch_id
           )
           update storage_history
           set state = case when bytes is null then 'removed' else 'queued' end,
               batch_id = case when bytes is null then storage_history.batch_id end
           from released, storage_contents
           where storage_history.batch_id = released.batch_id and storage_contents.content_id = storage_history.content_id`,
    values: [uuidArray(batchIds), removeAfterMs],
  });
}

/** The addresses of erased contents of a batch that no other content has. */
export async function findOrphans(queryable: Queryable, batchId: string): Promise<string[]> {
  const { rows } = await queryable.query<{ cid: string }>({
    name: 'find_storage_orphans',
    text: `select distinct cid from storage_history join storage_contents using (content_id)
           where batch_id = $1 and bytes is null
             and not exists (select from storage_contents as others where others.cid = storage_contents.cid and others.bytes is not null)`,
    values: [batchId],
  });
  return rows.map(({ cid }) => cid);
}

/** Whether another batch is the same directory, with contents that are needed. */
export async function isRootNeeded(
  queryable: Queryable,
  { root, adapter, batch_id: batchId }: BatchRow,
): Promise<boolean> {
  const { rows } = await queryable.query<{ is_needed: boolean }>({
    name: 'is_storage_root_needed',
    text: `select exists (
             select from storage_batches where root = $1 and adapter = $2 and batch_id <> $3 and state in ('packed', 'stored')
           ) as is_needed`,
    values: [root, adapter, batchId],
  });
  return rows[0]!.is_needed;
}

/** What a released batch stored is removed. */
export async function markRemoved(
  queryable: Queryable,
  { batch_id: batchId, claim }: Pick<BatchRow, 'batch_id' | 'claim'>,
): Promise<void> {
  await queryable.query({
    name: 'mark_batch_removed',
    text: `update storage_batches set state = 'removed', fault = null where batch_id = $1 and claim = $2 and state = 'removing'`,
    values: [batchId, claim],
  });
}

/** Claims a stored batch whose check is due. */
export async function claimCheck(
  queryable: Queryable,
  adapters: readonly AdapterName[],
  leaseMs: number,
): Promise<BatchRow | undefined> {
  const { rows } = await queryable.query<BatchRow>({
    name: 'claim_storage_check',
    text: `update storage_batches set claim = claim + 1, check_due_at = now() + $2::float8 * interval '1 millisecond'
           where batch_id = (
             select batch_id from storage_batches
             where state = 'stored' and check_due_at <= now() and adapter = any($1::text[])
             order by check_due_at limit 1 for update skip locked
           )
           returning ${batchColumns}`,
    values: [textArray(adapters), leaseMs],
  });
  return rows[0];
}

/** What a check found: a batch that is not there any more is stored again. */
export async function markChecked(
  queryable: Queryable,
  { batch_id: batchId, claim }: Pick<BatchRow, 'batch_id' | 'claim'>,
  { isThere, fault, checkAfterMs }: { isThere: boolean; fault: string | null; checkAfterMs: number },
): Promise<void> {
  await queryable.query({
    name: 'mark_batch_checked',
    text: `with checked as (
             update storage_batches
             set check_due_at = now() + $5::float8 * interval '1 millisecond', fault = $4,
                 state = case when $3 then 'stored' else 'packed' end,
                 next_attempt_at = case when $3 then next_attempt_at else now() end,
                 attempts = case when $3 then attempts else 0 end
             where batch_id = $1 and claim = $2 and state = 'stored'
             returning batch_id
           )
           update storage_history set state = 'queued' from checked
           where not $3 and storage_history.batch_id = checked.batch_id and state = 'stored'`,
    values: [batchId, claim, isThere, fault, checkAfterMs],
  });
}

/** The batches with this root, and whether it is stored anywhere. */
export async function findBatchByRoot(queryable: Queryable, root: string): Promise<string | undefined> {
  const { rows } = await queryable.query<{ batch_id: string }>({
    name: 'find_batch_by_root',
    text: `select batch_id from storage_batches where root = $1 and state in ('packed', 'stored') limit 1`,
    values: [root],
  });
  return rows[0]?.batch_id;
}

/** What a worker would do next: pack, store or check. */
export async function findNextDue(
  queryable: Queryable,
  adapters: readonly AdapterName[],
): Promise<{ isMoving: boolean; isDue: boolean }> {
  const { rows } = await queryable.query<{ is_moving: boolean; is_due: boolean }>({
    name: 'find_storage_due',
    text: `select exists (select from storage_settings where moved_until is not null) as is_moving,
                  exists (select from storage_batches where adapter = any($1::text[]) and
                          ((state in ('packed', 'removing') and next_attempt_at <= now()) or (state = 'stored' and check_due_at <= now()))) as is_due`,
    values: [textArray(adapters)],
  });
  return { isMoving: rows[0]!.is_moving, isDue: rows[0]!.is_due };
}
