import { int8Array } from '#platform/binary-arrays.ts';
import type { Queryable } from '#platform/database.ts';
import type { StoredContributionState } from './contribution-state.ts';

export interface ContributionRow {
  item_number: number;
  workspace_id: string;
  state: StoredContributionState;
}

/** Who contributed to items, with all that they know: as much as every contributor ever sent of them. */
export async function findContributions(
  queryable: Queryable,
  itemNumbers: readonly number[],
): Promise<ContributionRow[]> {
  if (itemNumbers.length === 0) return [];
  const { rows } = await queryable.query<ContributionRow>({
    name: 'find_contributions',
    text: 'select item_number, workspace_id, state from contributions where item_number = any($1::int8[])',
    values: [int8Array(itemNumbers)],
  });
  return rows;
}

/** What one workspace knows of items. */
export async function findOwnContributions(
  queryable: Queryable,
  workspaceId: string,
  itemNumbers: readonly number[],
): Promise<ContributionRow[]> {
  const { rows } = await queryable.query<ContributionRow>({
    name: 'find_own_contributions',
    text: `select item_number, workspace_id, state from contributions
           where item_number = any($1::int8[]) and workspace_id = $2`,
    values: [int8Array(itemNumbers), workspaceId],
  });
  return rows;
}

/** What other workspaces said of an item. Those that named the same are one row. */
export interface StrangersRow {
  item_number: number;
  /** Whether they may join what others contributed to. */
  is_trusted: boolean;
  /** Their canonical identifiers of the item. */
  claims: [claimType: string, value: string][];
  workspace_count: number;
  /** When the item ended, as the first of them says; null when none does. */
  ended_at_micros: number | null;
  /** The latest occurrence that one of them stated. */
  latest_micros: number | null;
}

/** What others than one workspace named of items, and how long they lived, without what else they know of them. */
export async function findStrangers(
  queryable: Queryable,
  workspaceId: string,
  itemNumbers: readonly number[],
): Promise<StrangersRow[]> {
  const { rows } = await queryable.query<StrangersRow>({
    name: 'find_strangers',
    text: `select item_number, is_trusted, claims::json as claims, count(*)::int4 as workspace_count,
                  min((life ->> 0)::int8) as ended_at_micros, max((life ->> 1)::int8) as latest_micros
           from (
             select contributions.item_number, workspaces.may_link_items as is_trusted,
                    coalesce(canonical_claims, canonical_claims_of(state))::text as claims,
                    case when canonical_claims is null then state -> 'life' else life end as life
             from contributions join workspaces on workspaces.workspace_id = contributions.workspace_id
             where contributions.item_number = any($1::int8[]) and contributions.workspace_id <> $2
           ) as named
           group by item_number, is_trusted, claims`,
    values: [int8Array(itemNumbers), workspaceId],
  });
  return rows;
}

/** The workspaces that contributed to items. */
export async function findContributorIds(
  queryable: Queryable,
  itemNumbers: readonly number[],
): Promise<{ item_number: number; workspace_id: string }[]> {
  if (itemNumbers.length === 0) return [];
  const { rows } = await queryable.query<{ item_number: number; workspace_id: string }>({
    name: 'find_contributor_ids',
    text: 'select item_number, workspace_id from contributions where item_number = any($1::int8[])',
    values: [int8Array(itemNumbers)],
  });
  return rows;
}
