import type { Knex, Queryable } from '#platform/database.ts';
import { countMatching, cutPage, type Page, type PagePosition } from '#platform/page.ts';

export interface MerkleTreeRow {
  tree_id: string;
  tree_type: string;
  resource_type: string;
  resource_id: string | null;
  circuit_id: string | null;
  snapshot_id: string | null;
  metadata: unknown;
  root: Buffer;
  /** 32 bytes for each leaf, but in lists. */
  leaves: Buffer;
  leaf_count: number;
  created_at: Date;
}

const listedColumns = `tree_id, tree_type, resource_type, resource_id, circuit_id, snapshot_id, metadata, root,
  (octet_length(leaves) / 32) as leaf_count, created_at`;

export type NewMerkleTree = Omit<MerkleTreeRow, 'leaf_count' | 'created_at'> & { workspaceId: string };

/** Keeps a tree. */
export async function insertTree(queryable: Queryable, tree: NewMerkleTree): Promise<void> {
  await queryable.query({
    name: 'insert_merkle_tree',
    text: `insert into merkle_trees (tree_id, workspace_id, tree_type, resource_type, resource_id, circuit_id, snapshot_id, metadata, root, leaves)
           values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
    values: [
      tree.tree_id,
      tree.workspaceId,
      tree.tree_type,
      tree.resource_type,
      tree.resource_id,
      tree.circuit_id,
      tree.snapshot_id,
      tree.metadata === null ? null : JSON.stringify(tree.metadata),
      tree.root,
      tree.leaves,
    ],
  });
}

/** A tree of a workspace with its leaves. */
export async function findTree(
  queryable: Queryable,
  workspaceId: string,
  treeId: string,
): Promise<MerkleTreeRow | undefined> {
  const { rows } = await queryable.query<MerkleTreeRow>({
    name: 'find_merkle_tree',
    text: `select ${listedColumns}, leaves from merkle_trees where workspace_id = $1 and tree_id = $2`,
    values: [workspaceId, treeId],
  });
  return rows[0];
}

export interface TreeFilter {
  readonly workspaceId: string;
  readonly tree_type?: string | undefined;
  readonly resource_type?: string | undefined;
  readonly resource_id?: string | undefined;
  readonly circuit_id?: string | undefined;
  readonly snapshot_id?: string | undefined;
}

/** The trees of a workspace, the newest first. */
export async function listTrees(
  knex: Knex,
  { workspaceId, ...filter }: TreeFilter,
  position: PagePosition,
): Promise<Omit<Page<Omit<MerkleTreeRow, 'leaves'>>, 'nextPosition'>> {
  const matching = knex('merkle_trees').where('workspace_id', workspaceId);
  for (const [column, value] of Object.entries(filter)) if (value !== undefined) void matching.andWhere(column, value);
  const total = await countMatching(knex, matching);
  const listed = matching.select<Omit<MerkleTreeRow, 'leaves'>[]>(knex.raw(listedColumns));
  return { rows: await cutPage(listed, 'tree_id', 'desc', position), total };
}

/** Deletes a tree with what was verified of it; false when there is none. */
export async function deleteTree(queryable: Queryable, workspaceId: string, treeId: string): Promise<boolean> {
  const { rowCount } = await queryable.query({
    name: 'delete_merkle_tree',
    text: `with deleted as (delete from merkle_trees where workspace_id = $1 and tree_id = $2 returning tree_id),
                forgotten as (delete from merkle_verifications using deleted where merkle_verifications.tree_id = deleted.tree_id)
           select tree_id from deleted`,
    values: [workspaceId, treeId],
  });
  return rowCount === 1;
}

export interface VerificationRow {
  verification_id: string;
  tree_id: string;
  verification_type: 'tree' | 'proof';
  leaf_hash: Buffer | null;
  expected_root: Buffer;
  actual_root: Buffer;
  is_valid: boolean;
  verified_by: string | null;
  took_ms: number;
  created_at: Date;
}

/** Keeps what was found of a tree or a proof. */
export async function insertVerification(
  queryable: Queryable,
  row: Omit<VerificationRow, 'created_at'>,
): Promise<void> {
  await queryable.query({
    name: 'insert_merkle_verification',
    text: `insert into merkle_verifications (verification_id, tree_id, verification_type, leaf_hash, expected_root, actual_root, is_valid, verified_by, took_ms)
           values ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
    values: [
      row.verification_id,
      row.tree_id,
      row.verification_type,
      row.leaf_hash,
      row.expected_root,
      row.actual_root,
      row.is_valid,
      row.verified_by,
      row.took_ms,
    ],
  });
}

/** What was found of a tree, the newest first. */
export async function listVerifications(
  queryable: Queryable,
  treeId: string,
  limit: number,
): Promise<VerificationRow[]> {
  const { rows } = await queryable.query<VerificationRow>({
    name: 'list_merkle_verifications',
    text: `select * from merkle_verifications where tree_id = $1 order by verification_id desc limit $2::int4`,
    values: [treeId, limit],
  });
  return rows;
}
