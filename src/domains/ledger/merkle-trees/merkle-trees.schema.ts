import { z } from 'zod';
import { pageQuery } from '#platform/page.ts';
import { jsonObject } from '#domains/items/index.ts';

const treeTypes = ['snapshot', 'circuit', 'Audit_batch', 'event_batch', 'item_batch'] as const;
const resourceTypes = ['snapshot', 'circuit', 'Audit', 'event', 'item', 'mixed'] as const;

/** One of some words, written in any case, as it is in the list. */
function wordOf<const Words extends readonly string[]>(words: Words) {
  return z
    .string()
    .transform((text) => words.find((word) => word.toLowerCase() === text.toLowerCase()) ?? text)
    .pipe(z.enum(words));
}

const leavesMax = 10_000;
const pathMax = 64;
const hash = z
  .string()
  .regex(/^[0-9a-fA-F]{64}$/)
  .transform((text) => text.toLowerCase())
  .meta({ override: { type: 'string', pattern: '^[0-9a-f]{64}$' } });
const anyJson = z.unknown();

const treeMembers = {
  resource_id: z.uuid().nullish(),
  circuit_id: z.uuid().nullish(),
  snapshot_id: z.uuid().nullish(),
};

/** The body of POST /api/merkle-trees. */
export const createTreeBody = z
  .strictObject({
    tree_type: wordOf(treeTypes),
    resource_type: wordOf(resourceTypes),
    leaf_data: z
      .array(anyJson)
      .min(1)
      .max(leavesMax)
      .meta({ description: 'Any JSON; equal values in another notation are the same leaf' }),
    metadata: jsonObject.nullish().meta({ override: { type: 'object' } }),
    ...treeMembers,
  })
  .meta({ id: 'CreateMerkleTreeRequest' });

export const merkleTreeSchema = z
  .object({
    id: z.uuid(),
    tree_type: z.enum(treeTypes),
    resource_type: z.enum(resourceTypes),
    resource_id: z.uuid().nullable(),
    circuit_id: z.uuid().nullable(),
    snapshot_id: z.uuid().nullable(),
    root_hash: z.string(),
    height: z.number().int(),
    leaf_count: z.number().int(),
    hash_algorithm: z.literal('SHA256-RFC6962'),
    metadata: z.unknown(),
    created_at: z.iso.datetime(),
    updated_at: z.iso.datetime(),
  })
  .meta({ id: 'MerkleTreeResponse' });

export const merkleTreeListQuery = z.object({
  ...pageQuery,
  tree_type: wordOf(treeTypes).optional(),
  resource_type: wordOf(resourceTypes).optional(),
  resource_id: z.uuid().optional(),
  circuit_id: z.uuid().optional(),
  snapshot_id: z.uuid().optional(),
});

export const merkleTreeListSchema = z
  .object({
    trees: z.array(merkleTreeSchema),
    count: z.number().int(),
    total: z.number().int(),
    total_is_lower_bound: z.boolean().optional(),
    next_cursor: z.string().nullable(),
  })
  .meta({ id: 'ListMerkleTreesResponse' });

export const generateProofBody = z
  .strictObject({ leaf_data: anyJson.refine((value) => value !== undefined, 'the leaf that the proof is of') })
  .meta({ id: 'GenerateProofRequest' });

export const merkleProofSchema = z
  .object({
    id: z.uuid(),
    tree_id: z.uuid(),
    leaf_hash: z.string(),
    leaf_data: z.unknown(),
    proof_path: z.array(z.string()).meta({ description: 'Hashes of siblings, from the leaf to the root' }),
    proof_positions: z
      .array(z.number().int())
      .meta({ description: 'Where each sibling stands: 0 on the left, 1 on the right' }),
    root_hash: z.string(),
    is_valid: z.boolean(),
    verified_at: z.iso.datetime().nullable(),
    created_at: z.iso.datetime(),
  })
  .meta({ id: 'ProofResponse' });

export const verifyProofBody = z
  .strictObject({
    leaf_hash: hash,
    proof_path: z.array(hash).max(pathMax),
    proof_positions: z.array(z.number().int().min(0).max(1)).max(pathMax),
    expected_root: hash,
  })
  .refine(({ proof_path: path, proof_positions: positions }) => path.length === positions.length, {
    path: ['proof_positions'],
    error: 'there is a position for each hash of the path',
  })
  .meta({ id: 'VerifyProofRequest' });

export const verificationSchema = z
  .object({ is_valid: z.boolean(), computed_root: z.string(), expected_root: z.string() })
  .meta({ id: 'VerificationResponse' });

export const verificationListQuery = z.object({ limit: z.coerce.number().int().min(1).max(1000).default(50) });

export const verificationListSchema = z
  .object({
    verifications: z.array(
      z.object({
        id: z.uuid(),
        tree_id: z.uuid(),
        proof_id: z.uuid().nullable(),
        verification_type: z.string(),
        leaf_hash: z.string(),
        expected_root: z.string(),
        actual_root: z.string(),
        is_valid: z.boolean(),
        error_message: z.string().nullable(),
        verified_by: z.uuid().nullable(),
        verification_time_ms: z.number().int(),
        created_at: z.iso.datetime(),
      }),
    ),
    count: z.number().int(),
  })
  .meta({ id: 'VerificationHistoryResponse' });
