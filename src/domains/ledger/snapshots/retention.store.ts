import type { Queryable } from '#platform/database.ts';

export interface RetentionPolicyRow {
  policy_id: string;
  circuit_id: string | null;
  snapshot_type: string;
  resource_type: string | null;
  retention_days: number;
  max_snapshots: number | null;
  auto_archive: boolean;
  is_active: boolean;
  created_at: Date;
}

const columns =
  'policy_id, circuit_id, snapshot_type, resource_type, retention_days, max_snapshots, auto_archive, is_active, created_at';

/** Keeps a policy; false when there is one for the same snapshots, which stays as it is. */
export async function insertPolicy(
  queryable: Queryable,
  row: Omit<RetentionPolicyRow, 'created_at'> & { workspaceId: string },
): Promise<boolean> {
  const { rowCount } = await queryable.query({
    name: 'insert_retention_policy',
    text: `insert into snapshot_retention_policies
             (policy_id, workspace_id, circuit_id, snapshot_type, resource_type, retention_days, max_snapshots, auto_archive, is_active)
           values ($1, $2, $3, $4, $5, $6, $7, $8, $9) on conflict do nothing`,
    values: [
      row.policy_id,
      row.workspaceId,
      row.circuit_id,
      row.snapshot_type,
      row.resource_type,
      row.retention_days,
      row.max_snapshots,
      row.auto_archive,
      row.is_active,
    ],
  });
  return rowCount === 1;
}

/** The policy of a workspace for certain snapshots. */
export async function findPolicyFor(
  queryable: Queryable,
  workspaceId: string,
  key: Pick<RetentionPolicyRow, 'circuit_id' | 'snapshot_type' | 'resource_type'>,
): Promise<RetentionPolicyRow | undefined> {
  const { rows } = await queryable.query<RetentionPolicyRow>({
    name: 'find_retention_policy_for',
    text: `select ${columns} from snapshot_retention_policies
           where workspace_id = $1 and circuit_id is not distinct from $2 and snapshot_type = $3 and resource_type is not distinct from $4`,
    values: [workspaceId, key.circuit_id, key.snapshot_type, key.resource_type],
  });
  return rows[0];
}

/** The policies of a workspace for a circuit, or for none. */
export async function listPolicies(
  queryable: Queryable,
  workspaceId: string,
  circuitId: string | null,
): Promise<RetentionPolicyRow[]> {
  const { rows } = await queryable.query<RetentionPolicyRow>({
    name: 'list_retention_policies',
    text: `select ${columns} from snapshot_retention_policies
           where workspace_id = $1 and circuit_id is not distinct from $2 order by policy_id`,
    values: [workspaceId, circuitId],
  });
  return rows;
}

/** Whether a workspace has this policy. */
export async function hasPolicy(queryable: Queryable, workspaceId: string, policyId: string): Promise<boolean> {
  const { rowCount } = await queryable.query({
    name: 'has_retention_policy',
    text: 'select from snapshot_retention_policies where workspace_id = $1 and policy_id = $2',
    values: [workspaceId, policyId],
  });
  return rowCount === 1;
}

/**
 * Archives or deletes the oldest snapshots that a policy lets nobody keep any longer.
 * @param which one policy, or all that are active.
 * @returns how many, `limit` at most.
 */
export async function applyPolicies(
  queryable: Queryable,
  which: { readonly policyId: string } | 'active',
  limit: number,
): Promise<number> {
  const { rows } = await queryable.query<{ affected: number }>({
    name: which === 'active' ? 'apply_active_retention_policies' : 'apply_retention_policy',
    text: `with ranked as (
             select snapshots.snapshot_id, policies.auto_archive, snapshots.archived_at,
                    snapshots.created_at < now() - make_interval(days => policies.retention_days) as is_old,
                    row_number() over (partition by policy_id, snapshots.resource_type, resource_id order by snapshots.snapshot_id desc) > max_snapshots as is_beyond
             from snapshot_retention_policies as policies
             join snapshots on snapshots.workspace_id = policies.workspace_id and snapshots.snapshot_type = policies.snapshot_type
               and (policies.circuit_id is null or snapshots.circuit_id = policies.circuit_id)
               and (policies.resource_type is null or snapshots.resource_type = policies.resource_type)
             where ${which === 'active' ? 'is_active' : 'policy_id = $2'} and not (policies.auto_archive and archived_at is not null)
           ), due as (
             select snapshot_id, bool_and(auto_archive) as only_archives from ranked
             where is_old or is_beyond group by snapshot_id order by snapshot_id limit $1::int4
           ), archived as (
             update snapshots set archived_at = now() from due
             where only_archives and snapshots.snapshot_id = due.snapshot_id returning snapshots.snapshot_id
           ), gone as (
             delete from snapshots using due where not only_archives and snapshots.snapshot_id = due.snapshot_id returning snapshots.snapshot_id
           ), compared as (
             delete from snapshot_comparisons where snapshot_a_id in (select snapshot_id from gone) or snapshot_b_id in (select snapshot_id from gone)
           ), restored as (
             delete from snapshot_restorations where snapshot_id in (select snapshot_id from gone) or pre_restore_snapshot_id in (select snapshot_id from gone)
           )
           select (select count(*) from archived) + (select count(*) from gone) as affected`,
    values: which === 'active' ? [limit] : [limit, which.policyId],
  });
  return rows[0]!.affected;
}
