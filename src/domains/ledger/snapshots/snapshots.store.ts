import { uuidArray } from '#platform/binary-arrays.ts';
import type { Knex, Queryable } from '#platform/database.ts';
import { countMatching, cutPage, type Page, type PagePosition } from '#platform/page.ts';

export interface SnapshotRow {
  snapshot_id: string;
  snapshot_type: string;
  resource_type: string;
  resource_id: string | null;
  item_number: number | null;
  circuit_id: string | null;
  snapshot_name: string;
  description: string | null;
  /** Canonical JSON. */
  snapshot_data: string;
  checksum: Buffer;
  metadata: unknown;
  created_by: string;
  created_at: Date;
  expires_at: Date | null;
  archived_at: Date | null;
}

const columns = `snapshot_id, snapshot_type, resource_type, resource_id, item_number, circuit_id, snapshot_name, description,
  snapshot_data::text as snapshot_data, checksum, metadata, created_by, created_at, expires_at, archived_at`;
const isKept = '(expires_at is null or expires_at > now())';

export type NewSnapshot = Omit<SnapshotRow, 'created_at' | 'archived_at' | 'expires_at'> & {
  workspaceId: string;
  expires_at: string | null;
};

/** Keeps a snapshot. */
export async function insertSnapshot(queryable: Queryable, row: NewSnapshot): Promise<void> {
  await queryable.query({
    name: 'insert_snapshot',
    text: `insert into snapshots (snapshot_id, workspace_id, snapshot_type, resource_type, resource_id, item_number, circuit_id,
                                  snapshot_name, description, snapshot_data, checksum, metadata, created_by, expires_at)
           values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
    values: [
      row.snapshot_id,
      row.workspaceId,
      row.snapshot_type,
      row.resource_type,
      row.resource_id,
      row.item_number,
      row.circuit_id,
      row.snapshot_name,
      row.description,
      row.snapshot_data,
      row.checksum,
      row.metadata === null ? null : JSON.stringify(row.metadata),
      row.created_by,
      row.expires_at,
    ],
  });
}

/** A snapshot of a workspace that is not over. */
export async function findSnapshot(
  queryable: Queryable,
  workspaceId: string,
  snapshotId: string,
): Promise<SnapshotRow | undefined> {
  const { rows } = await queryable.query<SnapshotRow>({
    name: 'find_snapshot',
    text: `select ${columns} from snapshots where workspace_id = $1 and snapshot_id = $2 and ${isKept}`,
    values: [workspaceId, snapshotId],
  });
  return rows[0];
}

export interface SnapshotFilter {
  readonly workspaceId: string;
  readonly isArchived: boolean | undefined;
  /** Columns with the value that they must have. */
  readonly equal: Readonly<Record<string, string | undefined>>;
}

/** The snapshots of a workspace, the newest first. */
export async function listSnapshots(
  knex: Knex,
  { workspaceId, isArchived, equal }: SnapshotFilter,
  position: PagePosition,
): Promise<Omit<Page<SnapshotRow>, 'nextPosition'>> {
  const matching = knex('snapshots').where('workspace_id', workspaceId).whereRaw(isKept);
  for (const [column, value] of Object.entries(equal)) if (value !== undefined) void matching.andWhere(column, value);
  if (isArchived !== undefined) void matching.andWhereRaw(`archived_at is ${isArchived ? 'not ' : ''}null`);
  const total = await countMatching(knex, matching);
  const rows = await cutPage(matching.select<SnapshotRow[]>(knex.raw(columns)), 'snapshot_id', 'desc', position);
  return { rows, total };
}

/** Archives a snapshot; one that is archived stays as it is. */
export async function archiveSnapshot(queryable: Queryable, workspaceId: string, snapshotId: string): Promise<void> {
  await queryable.query({
    name: 'archive_snapshot',
    text: `update snapshots set archived_at = coalesce(archived_at, now()) where workspace_id = $1 and snapshot_id = $2`,
    values: [workspaceId, snapshotId],
  });
}

/** Statement that deletes snapshots, by a query for their ids, with all that was made from them. */
const deleting = (ids: string) => `
  with gone as (delete from snapshots where snapshot_id in (${ids}) returning snapshot_id),
       compared as (delete from snapshot_comparisons where snapshot_a_id in (select snapshot_id from gone) or snapshot_b_id in (select snapshot_id from gone)),
       restored as (delete from snapshot_restorations where snapshot_id in (select snapshot_id from gone) or pre_restore_snapshot_id in (select snapshot_id from gone))
  select snapshot_id from gone`;

/** Deletes snapshots of a workspace with what was made from them; gives how many there were. */
export async function deleteSnapshots(
  queryable: Queryable,
  workspaceId: string,
  snapshotIds: readonly string[],
): Promise<number> {
  const { rowCount } = await queryable.query({
    name: 'delete_snapshots',
    text: deleting('select snapshot_id from snapshots where workspace_id = $1 and snapshot_id = any($2::uuid[])'),
    values: [workspaceId, uuidArray(snapshotIds)],
  });
  return rowCount ?? 0;
}

/** Deletes snapshots whose time is over, so many at most; gives how many. */
export async function deleteExpiredSnapshots(queryable: Queryable, limit: number): Promise<number> {
  const { rowCount } = await queryable.query({
    name: 'delete_expired_snapshots',
    text: deleting('select snapshot_id from snapshots where expires_at <= now() limit $1::int4'),
    values: [limit],
  });
  return rowCount ?? 0;
}

export interface ComparisonRow {
  comparison_id: string;
  snapshot_a_id: string;
  snapshot_b_id: string;
  comparison_type: string;
  diff_data: unknown;
  summary: unknown;
  created_at: Date;
}

/** Keeps a comparison. */
export async function insertComparison(
  queryable: Queryable,
  row: Omit<ComparisonRow, 'created_at'> & { workspaceId: string },
): Promise<void> {
  await queryable.query({
    name: 'insert_snapshot_comparison',
    text: `insert into snapshot_comparisons (comparison_id, workspace_id, snapshot_a_id, snapshot_b_id, comparison_type, diff_data, summary)
           values ($1, $2, $3, $4, $5, $6, $7)`,
    values: [
      row.comparison_id,
      row.workspaceId,
      row.snapshot_a_id,
      row.snapshot_b_id,
      row.comparison_type,
      JSON.stringify(row.diff_data),
      JSON.stringify(row.summary),
    ],
  });
}

/** A comparison of a workspace. */
export async function findComparison(
  queryable: Queryable,
  workspaceId: string,
  comparisonId: string,
): Promise<ComparisonRow | undefined> {
  const { rows } = await queryable.query<ComparisonRow>({
    name: 'find_snapshot_comparison',
    text: `select comparison_id, snapshot_a_id, snapshot_b_id, comparison_type, diff_data, summary, created_at
           from snapshot_comparisons where workspace_id = $1 and comparison_id = $2`,
    values: [workspaceId, comparisonId],
  });
  return rows[0];
}

export interface RestorationRow {
  restoration_id: string;
  snapshot_id: string;
  pre_restore_snapshot_id: string;
  target_resource_id: string;
  restoration_type: string;
  restore_metadata: unknown;
  restored_by: string;
  created_at: Date;
}

/** Keeps a restoration. */
export async function insertRestoration(
  queryable: Queryable,
  row: Omit<RestorationRow, 'created_at'> & { workspaceId: string },
): Promise<void> {
  await queryable.query({
    name: 'insert_snapshot_restoration',
    text: `insert into snapshot_restorations (restoration_id, workspace_id, snapshot_id, pre_restore_snapshot_id, target_resource_id,
                                              restoration_type, restore_metadata, restored_by)
           values ($1, $2, $3, $4, $5, $6, $7, $8)`,
    values: [
      row.restoration_id,
      row.workspaceId,
      row.snapshot_id,
      row.pre_restore_snapshot_id,
      row.target_resource_id,
      row.restoration_type,
      row.restore_metadata === null ? null : JSON.stringify(row.restore_metadata),
      row.restored_by,
    ],
  });
}

/** A restoration of a workspace. */
export async function findRestoration(
  queryable: Queryable,
  workspaceId: string,
  restorationId: string,
): Promise<RestorationRow | undefined> {
  const { rows } = await queryable.query<RestorationRow>({
    name: 'find_snapshot_restoration',
    text: `select restoration_id, snapshot_id, pre_restore_snapshot_id, target_resource_id, restoration_type, restore_metadata, restored_by, created_at
           from snapshot_restorations where workspace_id = $1 and restoration_id = $2`,
    values: [workspaceId, restorationId],
  });
  return rows[0];
}
