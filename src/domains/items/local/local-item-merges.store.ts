import { int4Array, int8Array, textArray, uuidArray } from '#platform/binary-arrays.ts';
import type { Queryable } from '#platform/database.ts';
import type { SharedIdentifier } from './duplicate-groups.ts';
import type { LocalContent, LocalFold, MergeStrategy } from './local-item-fold.ts';

/** A member of a group, without its content. */
export interface MemberRow {
  local_id: string;
  parent_id: string | null;
  merged_into: string | null;
  is_tokenized: boolean;
  merge_strategy: MergeStrategy | null;
  merge_order: number | null;
  content_bytes: number;
}

const memberColumns = `local_id, parent_id, merged_into, item_number is not null as is_tokenized, merge_strategy, merge_order,
  content_bytes`;

/**
 * Locks items with all that is merged into them, in one statement and in the order of their ids, so that no two decisions
 * wait for each other. What was merged into them while this one waited is not among the rows: look with `findMemberIds`.
 */
export async function lockGroups(
  queryable: Queryable,
  workspaceId: string,
  localIds: readonly string[],
): Promise<MemberRow[]> {
  const { rows } = await queryable.query<MemberRow>(
    `select ${memberColumns} from local_items
     where workspace_id = $1 and (local_id = any($2::uuid[]) or merged_into = any($2::uuid[]))
     order by local_id for no key update`,
    [workspaceId, localIds],
  );
  return rows;
}

/** The same rows without locks, for looking ahead. */
export async function findGroups(
  queryable: Queryable,
  workspaceId: string,
  localIds: readonly string[],
): Promise<MemberRow[]> {
  const { rows } = await queryable.query<MemberRow>(
    `select ${memberColumns} from local_items
     where workspace_id = $1 and (local_id = any($2::uuid[]) or merged_into = any($2::uuid[]))`,
    [workspaceId, localIds],
  );
  return rows;
}

/** The ids of all that is merged into some items, as committed now. */
export async function findMemberIds(
  queryable: Queryable,
  workspaceId: string,
  localIds: readonly string[],
): Promise<string[]> {
  const { rows } = await queryable.query<{ local_id: string }>(
    'select local_id from local_items where workspace_id = $1 and merged_into = any($2::uuid[])',
    [workspaceId, localIds],
  );
  return rows.map((row) => row.local_id);
}

export interface NewMerge {
  readonly localId: string;
  readonly masterId: string;
  readonly strategy: MergeStrategy;
  readonly order: number;
}

/** Hangs roots below others, and lets what hangs below them point to the new roots. */
export async function moveBelow(queryable: Queryable, workspaceId: string, merges: readonly NewMerge[]): Promise<void> {
  const localIds = uuidArray(merges.map((merge) => merge.localId));
  const masterIds = uuidArray(merges.map((merge) => merge.masterId));
  await queryable.query(
    `update local_items set merged_into = moved.master_id, updated_at = now()
     from unnest($2::uuid[], $3::uuid[]) as moved (local_id, master_id)
     where workspace_id = $1 and merged_into = moved.local_id`,
    [workspaceId, localIds, masterIds],
  );
  await queryable.query(
    `update local_items set parent_id = moved.master_id, merged_into = moved.master_id, merge_strategy = moved.strategy,
       merge_order = moved.place, folded = null, folded_bytes = null, updated_at = now()
     from unnest($2::uuid[], $3::uuid[], $4::text[], $5::int8[]) as moved (local_id, master_id, strategy, place)
     where workspace_id = $1 and local_items.local_id = moved.local_id`,
    [
      workspaceId,
      localIds,
      masterIds,
      textArray(merges.map((merge) => merge.strategy)),
      int8Array(merges.map((merge) => merge.order)),
    ],
  );
}

/** Takes an item out of its group, with what hangs below it. */
export async function takeOut(
  queryable: Queryable,
  workspaceId: string,
  localId: string,
  belowIds: readonly string[],
): Promise<void> {
  await queryable.query(
    `update local_items set parent_id = null, merged_into = null, merge_strategy = null, merge_order = null, updated_at = now()
     where workspace_id = $1 and local_id = $2`,
    [workspaceId, localId],
  );
  await queryable.query(
    'update local_items set merged_into = $2, updated_at = now() where workspace_id = $1 and local_id = any($3::uuid[])',
    [workspaceId, localId, belowIds],
  );
}

export interface NewDecision {
  readonly decisionId: string;
  readonly kind: 'merge' | 'unmerge';
  readonly masterId: string;
  readonly localId: string;
  readonly strategy: MergeStrategy;
}

export async function insertDecisions(
  queryable: Queryable,
  workspaceId: string,
  decidedBy: string,
  decisions: readonly NewDecision[],
): Promise<void> {
  await queryable.query(
    // The time of the decision, not of the transaction, which may have waited for others that decided about the same items.
    `insert into local_item_decisions (workspace_id, decided_by, decided_at, decision_id, kind, master_id, local_id, merge_strategy)
     select $1, $2, clock_timestamp(), decision_id, kind, master_id, local_id, merge_strategy
     from unnest($3::uuid[], $4::text[], $5::uuid[], $6::uuid[], $7::text[])
       as new (decision_id, kind, master_id, local_id, merge_strategy)`,
    [
      workspaceId,
      decidedBy,
      uuidArray(decisions.map((decision) => decision.decisionId)),
      textArray(decisions.map((decision) => decision.kind)),
      uuidArray(decisions.map((decision) => decision.masterId)),
      uuidArray(decisions.map((decision) => decision.localId)),
      textArray(decisions.map((decision) => decision.strategy)),
    ],
  );
}

export interface MemberContentRow extends MemberRow {
  value_chain: string;
  content: LocalContent;
}

/** All that folds of groups are made from. */
export async function findGroupContents(
  queryable: Queryable,
  workspaceId: string,
  rootIds: readonly string[],
): Promise<MemberContentRow[]> {
  const { rows } = await queryable.query<MemberContentRow>(
    `select ${memberColumns}, value_chain, content from local_items
     where workspace_id = $1 and (local_id = any($2::uuid[]) or merged_into = any($2::uuid[]))`,
    [workspaceId, rootIds],
  );
  return rows;
}

/** Keeps the folds of groups; null for an item that is alone. */
export async function updateFolds(
  queryable: Queryable,
  workspaceId: string,
  folds: readonly { readonly localId: string; readonly folded: string | null }[],
): Promise<void> {
  await queryable.query(
    `update local_items set folded = new.folded::json, folded_bytes = new.folded_bytes, updated_at = now()
     from unnest($2::uuid[], $3::text[], $4::int4[]) as new (local_id, folded, folded_bytes)
     where workspace_id = $1 and local_items.local_id = new.local_id`,
    [
      workspaceId,
      uuidArray(folds.map((fold) => fold.localId)),
      textArray(folds.map((fold) => fold.folded)),
      int4Array(folds.map((fold) => (fold.folded === null ? null : Buffer.byteLength(fold.folded)))),
    ],
  );
}

/**
 * Identifiers that several local items have, which are neither merged nor tokenised, with those items. At most `values`
 * identifiers and `rows` pairs are looked at; what lies beyond shows when the first are organised.
 */
export async function findSharedIdentifiers(
  queryable: Queryable,
  workspaceId: string,
  valueChain: string | undefined,
  limits: { values: number; rows: number },
): Promise<{ shared: SharedIdentifier[]; isComplete: boolean }> {
  const { rows } = await queryable.query<{
    identifier_type: string;
    value: string;
    local_id: string;
    sequence: number;
    collected_at_micros: number;
    value_count: number;
  }>(
    `with shared as (
       select identifier_type, value, count(*) over () as value_count from (
         select identifier_type, value from local_item_identifiers
         where workspace_id = $1 and ($2::text is null or value_chain = $2)
         group by identifier_type, value having count(*) > 1
         order by identifier_type, value limit $3) as several)
     select having_it.identifier_type, having_it.value, having_it.local_id, l.sequence, shared.value_count,
       (extract(epoch from coalesce(l.occurred_at, l.created_at)) * 1000000)::int8 as collected_at_micros
     from shared
     join local_item_identifiers having_it on having_it.workspace_id = $1
       and having_it.identifier_type = shared.identifier_type and having_it.value = shared.value
       and ($2::text is null or having_it.value_chain = $2)
     join local_items l on l.workspace_id = $1 and l.local_id = having_it.local_id
     order by having_it.identifier_type, having_it.value, l.sequence limit $4`,
    [workspaceId, valueChain ?? null, limits.values, limits.rows],
  );
  return {
    shared: rows.map((row) => ({
      identifierType: row.identifier_type,
      value: row.value,
      localId: row.local_id,
      collectedAtMicros: row.collected_at_micros,
      sequence: row.sequence,
    })),
    isComplete: rows.length < limits.rows && (rows[0]?.value_count ?? 0) < limits.values,
  };
}

/** When a local item was collected, as duplicates are ordered. */
export async function findAge(
  queryable: Queryable,
  workspaceId: string,
  localId: string,
): Promise<{ sequence: number; collected_at_micros: number } | undefined> {
  const { rows } = await queryable.query<{ sequence: number; collected_at_micros: number }>(
    `select sequence, (extract(epoch from coalesce(occurred_at, created_at)) * 1000000)::int8 as collected_at_micros
     from local_items where workspace_id = $1 and local_id = $2`,
    [workspaceId, localId],
  );
  return rows[0];
}

/** The canonical identifiers of some local items that are neither merged nor tokenised. */
export async function findIdentifiersOf(
  queryable: Queryable,
  workspaceId: string,
  localIds: readonly string[],
): Promise<{ local_id: string; identifier_type: string; value: string }[]> {
  const { rows } = await queryable.query<{ local_id: string; identifier_type: string; value: string }>(
    `select local_id, identifier_type, value from local_item_identifiers
     where workspace_id = $1 and local_id = any($2::uuid[]) order by identifier_type, value, local_id`,
    [workspaceId, localIds],
  );
  return rows;
}

export interface GroupContentRow {
  local_id: string;
  content: LocalContent | LocalFold;
}

/** What local items know, in the order of the ids given, up to `bytesMax` but the first at least. */
export async function readContents(
  queryable: Queryable,
  workspaceId: string,
  localIds: readonly string[],
  bytesMax: number,
): Promise<GroupContentRow[]> {
  const { rows } = await queryable.query<GroupContentRow>(
    `with measured as (
       select l.local_id, place, sum(coalesce(folded_bytes, content_bytes)) over (order by place)
         - coalesce(folded_bytes, content_bytes) as bytes_before
       from unnest($2::uuid[]) with ordinality as wanted (local_id, place)
       join local_items l on l.workspace_id = $1 and l.local_id = wanted.local_id)
     select l.local_id, coalesce(l.folded, l.content) as content
     from measured join local_items l on l.workspace_id = $1 and l.local_id = measured.local_id
     where measured.bytes_before < $3 order by measured.place`,
    [workspaceId, localIds, bytesMax],
  );
  return rows;
}
