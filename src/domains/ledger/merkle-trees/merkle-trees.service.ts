import type { z } from 'zod';
import type { Database } from '#platform/database.ts';
import { invalidRequestAt, Problem } from '#platform/errors.ts';
import { isUuid, makeId } from '#platform/ids.ts';
import { canonicalJson } from '#platform/json/canonical.ts';
import { decodeCursor } from '#platform/page.ts';
import type { Principal } from '#platform/route.ts';
import { hashBytes, inclusionRanges, leafHash, rootFromSiblings, rootOfRange } from '../log-tree.ts';
import type { createTreeBody, verifyProofBody } from './merkle-trees.schema.ts';
import {
  deleteTree,
  findTree,
  insertTree,
  insertVerification,
  listTrees,
  listVerifications,
  type MerkleTreeRow,
  type TreeFilter,
} from './merkle-trees.store.ts';

export type MerkleTreesService = ReturnType<typeof makeMerkleTreesService>;

/**
 * Trees of RFC 9162 that workspaces make over data of their own: a leaf is SHA-256(0x00 ‖ JCS(data)), a node
 * SHA-256(0x01 ‖ left ‖ right). What a leaf says is not kept, only its hash.
 */
export function makeMerkleTreesService({ database: { pool, knex } }: { database: Database }) {
  const find = async (workspaceId: string, id: string): Promise<MerkleTreeRow> => {
    const row = isUuid(id) ? await findTree(pool, workspaceId, id) : undefined;
    if (!row) throw new Problem('not_found', 'there is no tree with this id in your workspace');
    return row;
  };

  return {
    async create(workspaceId: string, body: z.output<typeof createTreeBody>) {
      const leaves = Buffer.concat(body.leaf_data.map((data, at) => leafOf(data, `/leaf_data/${at}`)));
      const treeId = makeId();
      await insertTree(pool, {
        workspaceId,
        tree_id: treeId,
        tree_type: body.tree_type,
        resource_type: body.resource_type,
        resource_id: body.resource_id ?? null,
        circuit_id: body.circuit_id ?? null,
        snapshot_id: body.snapshot_id ?? null,
        metadata: body.metadata ?? null,
        root: rootOf(leaves),
        leaves,
      });
      return showTree(await find(workspaceId, treeId));
    },

    async list(filter: TreeFilter, page: { limit: number; offset: number; cursor?: string | undefined }) {
      const found = await listTrees(knex, filter, { ...page, after: decodeCursor(page.cursor, 'uuid') });
      const last = found.rows.at(-1);
      return {
        rows: found.rows.map(showTree),
        total: found.total,
        nextPosition: found.rows.length === page.limit && last ? last.tree_id : undefined,
      };
    },

    get: async (workspaceId: string, id: string) => showTree(await find(workspaceId, id)),

    /** @throws Problem not_found */
    async remove(workspaceId: string, id: string): Promise<void> {
      const { tree_id: treeId } = await find(workspaceId, id);
      await deleteTree(pool, workspaceId, treeId);
    },

    /** The proof that data is a leaf of a tree. @throws Problem not_found, also when it is none. */
    async prove(workspaceId: string, id: string, data: unknown) {
      const tree = await find(workspaceId, id);
      const leaf = leafOf(data, '/leaf_data');
      const index = indexOf(tree.leaves, leaf);
      if (index === undefined) throw new Problem('not_found', 'the tree has no such leaf');
      const ranges = inclusionRanges(index, tree.leaf_count);
      const path = ranges.map((range) => rootOfRange(tree.leaves, range));
      const positions = ranges.map(([begin]) => (begin > index ? 1 : 0));
      const now = new Date().toISOString();
      return {
        id: makeId(),
        tree_id: tree.tree_id,
        leaf_hash: leaf.toString('hex'),
        leaf_data: data,
        proof_path: path.map((hash) => hash.toString('hex')),
        proof_positions: positions,
        root_hash: tree.root.toString('hex'),
        is_valid: rootFromSiblings(leaf, siblingsOf(path, positions)).equals(tree.root),
        verified_at: now,
        created_at: now,
      };
    },

    /** Computes the root again from the leaves. */
    async verifyTree({ workspaceId, credentialId }: Principal, id: string) {
      const startedAt = performance.now();
      const tree = await find(workspaceId, id);
      const computed = rootOf(tree.leaves);
      return conclude(tree, credentialId, startedAt, { type: 'tree', leaf: null, computed, expected: tree.root });
    },

    /** Whether a path leads from a leaf to the root that is expected, and that is the one of the tree. */
    async verifyProof({ workspaceId, credentialId }: Principal, id: string, body: z.output<typeof verifyProofBody>) {
      const startedAt = performance.now();
      const tree = await find(workspaceId, id);
      const leaf = Buffer.from(body.leaf_hash, 'hex');
      const path = body.proof_path.map((text) => Buffer.from(text, 'hex'));
      const computed = rootFromSiblings(leaf, siblingsOf(path, body.proof_positions));
      const expected = Buffer.from(body.expected_root, 'hex');
      return conclude(tree, credentialId, startedAt, { type: 'proof', leaf, computed, expected });
    },

    async verifications(workspaceId: string, id: string, limit: number) {
      const tree = await find(workspaceId, id);
      const rows = await listVerifications(pool, tree.tree_id, limit);
      const verifications = rows.map((row) => ({
        id: row.verification_id,
        tree_id: row.tree_id,
        proof_id: null,
        verification_type: row.verification_type,
        leaf_hash: row.leaf_hash?.toString('hex') ?? '',
        expected_root: row.expected_root.toString('hex'),
        actual_root: row.actual_root.toString('hex'),
        is_valid: row.is_valid,
        error_message: row.is_valid ? null : 'the root that was computed is another one',
        verified_by: row.verified_by,
        verification_time_ms: row.took_ms,
        created_at: row.created_at.toISOString(),
      }));
      return { verifications, count: verifications.length };
    },
  };

  async function conclude(
    tree: MerkleTreeRow,
    credentialId: string,
    startedAt: number,
    found: { type: 'tree' | 'proof'; leaf: Buffer | null; computed: Buffer; expected: Buffer },
  ) {
    const { computed, expected } = found;
    const isValid = computed.equals(expected) && expected.equals(tree.root);
    await insertVerification(pool, {
      verification_id: makeId(),
      tree_id: tree.tree_id,
      verification_type: found.type,
      leaf_hash: found.leaf,
      expected_root: expected,
      actual_root: computed,
      is_valid: isValid,
      verified_by: isUuid(credentialId) ? credentialId : null,
      took_ms: Math.round(performance.now() - startedAt),
    });
    return { is_valid: isValid, computed_root: computed.toString('hex'), expected_root: expected.toString('hex') };
  }
}

function leafOf(data: unknown, pointer: string): Buffer {
  try {
    return leafHash(Buffer.from(canonicalJson(data)));
  } catch {
    throw invalidRequestAt(pointer, 'this has no canonical form (RFC 8785)');
  }
}

function indexOf(leaves: Buffer, leaf: Buffer): number | undefined {
  for (let at = 0; at < leaves.length; at += hashBytes)
    if (leaves.subarray(at, at + hashBytes).equals(leaf)) return at / hashBytes;
  return undefined;
}

function rootOf(leaves: Buffer): Buffer {
  return rootOfRange(leaves, [0, leaves.length / hashBytes]);
}

function siblingsOf(path: readonly Buffer[], positions: readonly number[]) {
  return path.map((hash, at) => ({ hash, position: positions[at] === 1 ? (1 as const) : (0 as const) }));
}

function showTree(row: Omit<MerkleTreeRow, 'leaves'>) {
  const createdAt = row.created_at.toISOString();
  return {
    id: row.tree_id,
    tree_type: row.tree_type,
    resource_type: row.resource_type,
    resource_id: row.resource_id,
    circuit_id: row.circuit_id,
    snapshot_id: row.snapshot_id,
    root_hash: row.root.toString('hex'),
    height: Math.ceil(Math.log2(row.leaf_count)),
    leaf_count: row.leaf_count,
    hash_algorithm: 'SHA256-RFC6962',
    metadata: row.metadata,
    created_at: createdAt,
    updated_at: createdAt,
  };
}
