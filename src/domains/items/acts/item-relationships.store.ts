import { int8Array, textArray, uuidArray } from '#platform/binary-arrays.ts';
import type { Queryable } from '#platform/database.ts';

export interface RelationshipRow {
  relationship_id: string;
  primary_item: number;
  related_item: number;
  relationship_type: 'duplicate' | 'derived' | 'related';
  origin: 'declared' | 'split' | 'merged';
  quantity: string | null;
  unit: string | null;
  created_at: Date;
}

export interface NewRelationship {
  readonly relationshipId: string;
  readonly primaryItem: number;
  readonly relatedItem: number;
  readonly quantity: string | null;
  readonly unit: string | null;
}

/** Writes what a workspace says of items; what it said of the same pair before is replaced. */
export async function writeRelationships(
  queryable: Queryable,
  common: { workspaceId: string; type: 'derived' | 'related'; origin: 'declared' | 'split'; by: string },
  relationships: readonly NewRelationship[],
): Promise<void> {
  await queryable.query({
    name: 'write_relationships',
    text: `insert into item_relationships as known (relationship_id, workspace_id, primary_item, related_item, relationship_type,
                                                    origin, quantity, unit, created_by)
           select relationship_id, $1, primary_item, related_item, $2, $3, quantity::numeric, unit, $4
           from unnest($5::uuid[], $6::int8[], $7::int8[], $8::text[], $9::text[])
             as new (relationship_id, primary_item, related_item, quantity, unit)
           on conflict (workspace_id, primary_item, related_item, relationship_type)
             do update set quantity = excluded.quantity, unit = excluded.unit`,
    values: [
      common.workspaceId,
      common.type,
      common.origin,
      common.by,
      uuidArray(relationships.map((each) => each.relationshipId)),
      int8Array(relationships.map((each) => each.primaryItem)),
      int8Array(relationships.map((each) => each.relatedItem)),
      textArray(relationships.map((each) => each.quantity)),
      textArray(relationships.map((each) => each.unit)),
    ],
  });
}

/** What a workspace can know of how items relate to others: what it declared, and merges of items that it knows. */
export async function findRelationships(
  queryable: Queryable,
  workspaceId: string,
  itemNumbers: readonly number[],
  limit: number,
): Promise<RelationshipRow[]> {
  const { rows } = await queryable.query<RelationshipRow>({
    name: 'find_relationships',
    text: `select relationship_id, primary_item, related_item, relationship_type, origin, quantity, unit, created_at
           from item_relationships
           where workspace_id = $1 and (primary_item = any($2::int8[]) or related_item = any($2::int8[]))
           union all
           select merge_id, survivor, loser, 'duplicate', 'merged', null, null, merged_at
           from item_merges
           where undone_at is null and (survivor = any($2::int8[]) or loser = any($2::int8[]))
             and (select count(*) from contributions
                  where contributions.workspace_id = $1 and contributions.item_number in (survivor, loser)) = 2
           order by created_at, relationship_id limit $3`,
    values: [workspaceId, int8Array(itemNumbers), limit],
  });
  return rows;
}

/** True when something that came out of one of `sources`, directly or through others, is one of `targets`. */
export async function isDerivedFrom(
  queryable: Queryable,
  workspaceId: string,
  sources: readonly number[],
  targets: readonly number[],
): Promise<boolean> {
  const { rows } = await queryable.query<{ is_derived: boolean }>({
    name: 'is_derived_from',
    text: `with recursive descendants as (
             select unnest($2::int8[]) as item_number
             union
             select related_item from item_relationships join descendants on primary_item = descendants.item_number
             where workspace_id = $1 and relationship_type = 'derived'
           )
           select exists (select 1 from descendants where item_number = any($3::int8[])) as is_derived`,
    values: [workspaceId, int8Array(sources), int8Array(targets)],
  });
  return rows[0]!.is_derived;
}

/** Lets one transaction at a time change how the items of a workspace relate; held to its end. */
export async function lockRelationships(queryable: Queryable, workspaceId: string): Promise<void> {
  await queryable.query({
    name: 'lock_relationships',
    text: `select pg_advisory_xact_lock(hashtextextended('item_relationships ' || $1::text, 0))`,
    values: [workspaceId],
  });
}

/** The item that another one was split off. */
export async function findSplitSource(queryable: Queryable, itemNumber: number): Promise<number | undefined> {
  const { rows } = await queryable.query<{ primary_item: number }>({
    name: 'find_split_source',
    text: `select primary_item from item_relationships where related_item = $1 and origin = 'split'`,
    values: [itemNumber],
  });
  return rows[0]?.primary_item;
}
