import { int8Array } from '#platform/binary-arrays.ts';
import type { Queryable } from '#platform/database.ts';
import type { AdapterName } from './scope-settings.ts';

/** Where a content of an item is, was or is to be. */
export interface HistoryRow {
  content_id: string;
  item_number: number;
  version: number;
  kind: 'public' | 'encrypted';
  cid: string;
  size_bytes: number;
  is_erased: boolean;
  adapter: AdapterName;
  state: 'queued' | 'stored' | 'failed' | 'removed';
  is_primary: boolean;
  queued_at: Date;
  stored_at: Date | null;
  root: string | null;
  attempts: number | null;
  next_attempt_at: Date | null;
  fault: string | null;
}

/** What is stored of items of a workspace, the newest contents first. */
export async function listHistory(
  queryable: Queryable,
  workspaceId: string,
  itemNumbers: readonly number[],
  page: { before: string | undefined; limit: number },
): Promise<HistoryRow[]> {
  const { rows } = await queryable.query<HistoryRow>({
    name: 'list_storage_history',
    text: `select contents.content_id, item_number, version, kind, cid, contents.size_bytes, bytes is null as is_erased,
                  history.adapter, history.state, is_primary, queued_at, history.stored_at, root, attempts,
                  case when batches.state = 'packed' then next_attempt_at end as next_attempt_at, fault
           from (
             select * from storage_contents where workspace_id = $2 and item_number = any($1::int8[])
               and content_id < coalesce($3::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
             order by content_id desc limit $4::int4
           ) as contents
           join storage_history as history using (content_id)
           left join storage_batches as batches using (batch_id)
           order by content_id desc, history.adapter`,
    values: [int8Array(itemNumbers), workspaceId, page.before ?? null, page.limit],
  });
  return rows;
}

/** Makes an adapter the place where an item is looked for first. False when nothing of it is stored there. */
export async function choosePrimary(
  queryable: Queryable,
  workspaceId: string,
  itemNumbers: readonly number[],
  adapter: AdapterName,
): Promise<boolean> {
  const { rows } = await queryable.query<{ is_there: boolean }>({
    name: 'choose_primary_storage',
    text: `with own as (
             select content_id from storage_contents where workspace_id = $2 and item_number = any($1::int8[])
           ), there as (
             select exists (select from own join storage_history using (content_id) where adapter = $3 and state = 'stored') as is_there
           ), chosen as (
             update storage_history set is_primary = (adapter = $3) from own, there
             where storage_history.content_id = own.content_id and is_there and is_primary <> (adapter = $3)
           )
           select is_there from there`,
    values: [int8Array(itemNumbers), workspaceId, adapter],
  });
  return rows[0]!.is_there;
}

/** Queues all contents of items for an adapter, as far as they are not there; gives how many. */
export async function queueForAdapter(
  queryable: Queryable,
  workspaceId: string,
  itemNumbers: readonly number[],
  adapter: AdapterName,
): Promise<number> {
  const { rowCount } = await queryable.query({
    name: 'queue_for_adapter',
    text: `insert into storage_history (content_id, adapter)
           select content_id, $3 from storage_contents
           where workspace_id = $2 and item_number = any($1::int8[]) and bytes is not null
           on conflict (content_id, adapter) do update set state = 'queued', batch_id = null, queued_at = now()
           where storage_history.state = 'failed'`,
    values: [int8Array(itemNumbers), workspaceId, adapter],
  });
  return rowCount ?? 0;
}

export interface AdapterCounts {
  adapter: AdapterName;
  queued: number;
  stored: number;
  failed: number;
  stored_bytes: number;
}

/** How much of a workspace is where; of all workspaces without one. */
export async function countStored(queryable: Queryable, workspaceId: string | undefined): Promise<AdapterCounts[]> {
  const { rows } = await queryable.query<AdapterCounts>({
    name: 'count_stored',
    text: `select adapter, count(*) filter (where state = 'queued') as queued, count(*) filter (where state = 'stored') as stored,
                  count(*) filter (where state = 'failed') as failed,
                  coalesce(sum(size_bytes) filter (where state = 'stored'), 0)::int8 as stored_bytes
           from storage_history join storage_contents using (content_id)
           where workspace_id = $1 or $1 is null
           group by adapter order by adapter`,
    values: [workspaceId ?? null],
  });
  return rows;
}

/** Batches by what became of them, in all. */
export interface BatchCounts {
  stored: number;
  failed: number;
  open: number;
  /** Those of the open ones that a service turned away because it was asked too often. */
  turned_away: number;
  stored_bytes: number;
  /** Of workers to the database. */
  active_connections: number;
}

export async function countBatches(queryable: Queryable): Promise<BatchCounts> {
  const { rows } = await queryable.query<BatchCounts>({
    name: 'count_storage_batches',
    text: `select count(*) filter (where state = 'stored') as stored, count(*) filter (where state = 'failed') as failed,
                  count(*) filter (where state in ('packed', 'removing')) as open,
                  count(*) filter (where state in ('packed', 'removing') and fault_status = 429) as turned_away,
                  (select count(*) from pg_stat_activity where application_name = 'defarm-worker' and state = 'active') as active_connections,
                  coalesce(sum(size_bytes) filter (where state = 'stored'), 0)::int8 as stored_bytes
           from storage_batches`,
  });
  return rows[0]!;
}
