import { byteaArray, int4Array, int8Array, textArray, timestamptzArray, uuidArray } from '#platform/binary-arrays.ts';
import type { Queryable } from '#platform/database.ts';
import { countedAtMost, type Page } from '#platform/page.ts';
import type { ValueChain } from '../value-chain.ts';
import type { LocalContent, LocalFold, MergeStrategy } from './local-item-fold.ts';

export interface NewLocalItem {
  readonly localId: string;
  readonly sequence: number;
  readonly valueChain: ValueChain;
  readonly country: string;
  readonly year: number;
  readonly occurredAtMicros: number | null;
  /** JSON text of `LocalContent`. */
  readonly content: string;
  readonly contentBytes: number;
  readonly contentHash: Buffer;
}

/** A local item as it is shown: what it knows, and the item behind it, if there is one. */
export interface LocalItemRow {
  local_id: string;
  sequence: number;
  value_chain: ValueChain;
  country: string;
  year: number;
  occurred_at: Date | null;
  created_at: Date;
  updated_at: Date;
  merged_into: string | null;
  is_tokenized: boolean;
  content: LocalContent | LocalFold;
  /** The item that it, or the one that it is merged into, became; the survivor when that was merged too. */
  dfid_number: number | null;
  dfid_value_chain: ValueChain | null;
  dfid_country: string | null;
  dfid_year: number | null;
}

/** Takes numbers that say what came first: for items that arrive, and for the places of merges. */
export async function takeSequence(queryable: Queryable, count: number): Promise<number[]> {
  const { rows } = await queryable.query<{ number: number }>(
    `select nextval('local_item_sequence') as number from generate_series(1, $1::int4)`,
    [count],
  );
  return rows.map(({ number }) => number).toSorted((a, b) => a - b);
}

/** Keeps the items whose local id the workspace has not used, and returns their ids. Sorted, so that no two wait for each other. */
export async function insertLocalItems(
  queryable: Queryable,
  workspaceId: string,
  createdBy: string,
  items: readonly NewLocalItem[],
): Promise<Set<string>> {
  const { rows } = await queryable.query<{ local_id: string }>(
    `insert into local_items (workspace_id, local_id, sequence, value_chain, country, year, occurred_at, created_by,
                              content, content_bytes, content_hash)
     select $1, local_id, sequence, value_chain, country, year, occurred_at, $2, content::json, content_bytes, content_hash
     from unnest($3::uuid[], $4::int8[], $5::text[], $6::text[], $7::int4[], $8::timestamptz[], $9::text[], $10::int4[], $11::bytea[])
       as new (local_id, sequence, value_chain, country, year, occurred_at, content, content_bytes, content_hash)
     order by local_id
     on conflict (workspace_id, local_id) do nothing
     returning local_id`,
    [
      workspaceId,
      createdBy,
      uuidArray(items.map((item) => item.localId)),
      int8Array(items.map((item) => item.sequence)),
      textArray(items.map((item) => item.valueChain)),
      textArray(items.map((item) => item.country)),
      int4Array(items.map((item) => item.year)),
      timestamptzArray(items.map((item) => item.occurredAtMicros)),
      textArray(items.map((item) => item.content)),
      int4Array(items.map((item) => item.contentBytes)),
      byteaArray(items.map((item) => item.contentHash)),
    ],
  );
  return new Set(rows.map((row) => row.local_id));
}

export interface NewLocalIdentifier {
  readonly identifierType: string;
  readonly value: string;
  readonly localId: string;
  readonly valueChain: string;
}

/** By these identifiers duplicates of the items will be found. */
export async function insertLocalIdentifiers(
  queryable: Queryable,
  workspaceId: string,
  identifiers: readonly NewLocalIdentifier[],
): Promise<void> {
  if (identifiers.length === 0) return;
  await queryable.query(
    `insert into local_item_identifiers (workspace_id, identifier_type, value, local_id, value_chain)
     select distinct $1::uuid, identifier_type, value, local_id, value_chain
     from unnest($2::text[], $3::text[], $4::uuid[], $5::text[]) as new (identifier_type, value, local_id, value_chain)`,
    [
      workspaceId,
      textArray(identifiers.map((identifier) => identifier.identifierType)),
      textArray(identifiers.map((identifier) => identifier.value)),
      uuidArray(identifiers.map((identifier) => identifier.localId)),
      textArray(identifiers.map((identifier) => identifier.valueChain)),
    ],
  );
}

/** Items that are merged or tokenised are no duplicates of anything. */
export async function deleteLocalIdentifiers(
  queryable: Queryable,
  workspaceId: string,
  localIds: readonly string[],
): Promise<void> {
  await queryable.query('delete from local_item_identifiers where workspace_id = $1 and local_id = any($2::uuid[])', [
    workspaceId,
    localIds,
  ]);
}

export interface KnownLocalItemRow {
  local_id: string;
  content_hash: Buffer;
  merged_into: string | null;
  is_tokenized: boolean;
}

/** What is needed to tell whether items that are known were sent again. */
export async function findKnownLocalItems(
  queryable: Queryable,
  workspaceId: string,
  localIds: readonly string[],
): Promise<Map<string, KnownLocalItemRow>> {
  if (localIds.length === 0) return new Map();
  const { rows } = await queryable.query<KnownLocalItemRow>(
    `select local_id, content_hash, merged_into, item_number is not null as is_tokenized
     from local_items where workspace_id = $1 and local_id = any($2::uuid[])`,
    [workspaceId, localIds],
  );
  return new Map(rows.map((row) => [row.local_id, row]));
}

const shownColumns = `l.local_id, l.sequence, l.value_chain, l.country, l.year, l.occurred_at, l.created_at, l.updated_at,
  l.merged_into, l.item_number is not null as is_tokenized, coalesce(l.folded, l.content) as content,
  item.item_number as dfid_number, item.value_chain as dfid_value_chain, item.country as dfid_country, item.year as dfid_year`;
const shownJoins = `left join local_items master on master.workspace_id = l.workspace_id and master.local_id = l.merged_into
  left join items linked on linked.item_number = coalesce(l.item_number, master.item_number)
  left join items item on item.item_number = coalesce(linked.merged_into, linked.item_number)`;

/** Local items of a workspace, in no order. */
export async function findLocalItems(
  queryable: Queryable,
  workspaceId: string,
  localIds: readonly string[],
): Promise<Map<string, LocalItemRow>> {
  const { rows } = await queryable.query<LocalItemRow>(
    `select ${shownColumns} from local_items l ${shownJoins}
     where l.workspace_id = $1 and l.local_id = any($2::uuid[])`,
    [workspaceId, localIds],
  );
  return new Map(rows.map((row) => [row.local_id, row]));
}

/** Which local items are asked for. */
export type LocalItemStatus = 'local_only' | 'tokenized' | 'merged';

const statusConditions: Readonly<Record<LocalItemStatus, string>> = {
  local_only: 'merged_into is null and item_number is null',
  tokenized: 'item_number is not null',
  merged: 'merged_into is not null',
};

/** The local items of a workspace, newest first: as many of a page as `bytesMax` allows, but one at least. */
export async function listLocalItems(
  queryable: Queryable,
  filter: { workspaceId: string; status: LocalItemStatus | undefined },
  page: { limit: number; offset: number; after: string | undefined; bytesMax: number },
): Promise<Page<LocalItemRow>> {
  const condition = filter.status === undefined ? 'true' : statusConditions[filter.status];
  const counted = await queryable.query<{ total: number }>(
    `select count(*) as total from (
       select 1 from local_items where workspace_id = $1 and ${condition} limit ${countedAtMost + 1}) as counted`,
    [filter.workspaceId],
  );
  const { rows } = await queryable.query<LocalItemRow & { found: number }>(
    `with found as (
       select local_id, sequence, coalesce(folded_bytes, content_bytes) as size_bytes from local_items
       where workspace_id = $1 and ${condition} and ($2::int8 is null or sequence < $2)
       order by sequence desc limit $3 offset $4),
     measured as (
       select local_id, sum(size_bytes) over (order by sequence desc) - size_bytes as bytes_before, count(*) over () as found
       from found)
     select ${shownColumns}, measured.found from measured
     join local_items l on l.workspace_id = $1 and l.local_id = measured.local_id ${shownJoins}
     where measured.bytes_before < $5 order by l.sequence desc`,
    [filter.workspaceId, page.after ?? null, page.limit, page.after === undefined ? page.offset : 0, page.bytesMax],
  );
  const last = rows.at(-1);
  const isLastPage = last === undefined || (last.found < page.limit && rows.length === last.found);
  return { rows, total: counted.rows[0]!.total, nextPosition: isLastPage ? undefined : String(last.sequence) };
}

export interface DecisionRow {
  decision_id: string;
  kind: 'merge' | 'unmerge';
  master_id: string;
  local_id: string;
  merge_strategy: MergeStrategy;
  decided_by: string;
  decided_at: Date;
}

/** The newest decisions that moved a local item, or others into it or out of it. */
export async function listDecisions(
  queryable: Queryable,
  workspaceId: string,
  localId: string,
  limit: number,
): Promise<DecisionRow[]> {
  const { rows } = await queryable.query<DecisionRow>(
    `select decision_id, kind, master_id, local_id, merge_strategy, decided_by, decided_at from local_item_decisions
     where workspace_id = $1 and (local_id = $2 or master_id = $2) order by decision_id desc, local_id limit $3`,
    [workspaceId, localId, limit],
  );
  return rows;
}

/**
 * Notes that a local item became an item. True when it did now; false when nothing was changed, because it is not there,
 * merged, or tokenised already.
 */
export async function setItemNumber(
  queryable: Queryable,
  workspaceId: string,
  localId: string,
  itemNumber: number,
): Promise<boolean> {
  const { rowCount } = await queryable.query(
    `update local_items set item_number = $3, tokenized_at = now(), updated_at = now()
     where workspace_id = $1 and local_id = $2 and merged_into is null and item_number is null`,
    [workspaceId, localId, itemNumber],
  );
  return rowCount === 1;
}

/** The item that a local item became, and the one it is merged into. */
export async function findLink(
  queryable: Queryable,
  workspaceId: string,
  localId: string,
): Promise<{ item_number: number | null; merged_into: string | null } | undefined> {
  const { rows } = await queryable.query<{ item_number: number | null; merged_into: string | null }>(
    'select item_number, merged_into from local_items where workspace_id = $1 and local_id = $2',
    [workspaceId, localId],
  );
  return rows[0];
}
