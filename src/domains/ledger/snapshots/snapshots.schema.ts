import { z } from 'zod';
import { ignoredMembers, jsonObject } from '#domains/items/index.ts';
import { pageQuery } from '#platform/page.ts';

const word = z.string().min(1).max(100);
const listedMax = 100;

const snapshotMembers = {
  snapshot_type: word.meta({ description: 'Such as full, incremental or manual; retention policies go by it' }),
  resource_type: word.meta({ description: 'What it is of: `item`, or anything else' }),
};
const anyJson = z.unknown();

export const createSnapshotBody = z
  .strictObject({
    ...snapshotMembers,
    snapshot_name: z.string().min(1).max(300),
    resource_id: z
      .string()
      .max(100)
      .nullish()
      .meta({ description: 'The id or DFID of an item, a UUID for anything else' }),
    snapshot_data: anyJson.optional().meta({
      description: 'The state to keep. Left out or null for an item, it is what your workspace knows of it now.',
    }),
    circuit_id: z.uuid().nullish(),
    description: z.string().max(2000).nullish(),
    metadata: jsonObject.nullish().meta({ override: { type: 'object' } }),
    expires_at: z.iso.datetime({ offset: true }).nullish(),
    created_by: ignoredMembers.created_by,
  })
  .meta({ id: 'CreateSnapshotRequest' });

export const snapshotSchema = z
  .object({
    id: z.uuid(),
    ...snapshotMembers,
    resource_id: z.uuid().nullable(),
    circuit_id: z.uuid().nullable(),
    snapshot_name: z.string(),
    description: z.string().nullable(),
    snapshot_data: anyJson,
    checksum: z
      .string()
      .meta({ description: 'BLAKE3 over the canonical JSON (RFC 8785) of snapshot_data, hexadecimal' }),
    metadata: anyJson,
    created_by: z.uuid(),
    created_at: z.iso.datetime(),
    expires_at: z.iso.datetime().nullable(),
    is_archived: z.boolean(),
    archived_at: z.iso.datetime().nullable(),
  })
  .meta({ id: 'SnapshotResponse' });

export const snapshotListQuery = z.object({
  limit: z.coerce.number().int().min(1).max(listedMax).default(50),
  offset: pageQuery.offset,
  cursor: pageQuery.cursor,
  resource_type: word.optional(),
  resource_id: z.uuid().optional(),
  circuit_id: z.uuid().optional(),
  snapshot_type: word.optional(),
  created_by: z.uuid().optional(),
  is_archived: z
    .enum(['true', 'false'])
    .optional()
    .meta({ description: 'Only those that are archived, or only the others; both without it' }),
});

export const snapshotListSchema = z.object({
  snapshots: z.array(snapshotSchema),
  count: z.number().int(),
  total: z.number().int(),
  total_is_lower_bound: z.literal(true).optional(),
  next_cursor: z.string().nullable(),
});

const comparisonTypes = ['forward', 'backward', 'merge_conflict', 'validation'] as const;

export const createComparisonBody = z
  .strictObject({ snapshot_b_id: z.uuid(), comparison_type: z.enum(comparisonTypes) })
  .meta({ id: 'CreateComparisonRequest' });

const differenceSchema = z.object({ path: z.string(), old: anyJson.optional(), new: anyJson.optional() });

export const comparisonSchema = z
  .object({
    id: z.uuid(),
    snapshot_a_id: z.uuid(),
    snapshot_b_id: z.uuid(),
    comparison_type: z.enum(comparisonTypes),
    diff_data: z
      .object({
        added: z.array(differenceSchema),
        removed: z.array(differenceSchema),
        modified: z.array(differenceSchema),
      })
      .meta({ description: 'By JSON pointers (RFC 6901); a merge_conflict has only what both have and differently' }),
    summary: z.object({
      added: z.number().int(),
      removed: z.number().int(),
      modified: z.number().int(),
      checksums_match: z.boolean().meta({ description: 'Both are what they were when they were made' }),
    }),
    created_at: z.iso.datetime(),
  })
  .meta({ id: 'ComparisonResponse' });

const restorationTypes = ['full', 'partial', 'merge', 'rollback'] as const;

export const createRestorationBody = z
  .strictObject({
    restoration_type: z.enum(restorationTypes).meta({
      description:
        'full and rollback: all fields as they were, later ones become null; merge: only fields that the item lacks; partial: only those that restore_metadata.fields names',
    }),
    restore_metadata: z
      .looseObject({ fields: z.array(z.string().max(500)).max(1000).optional() })
      .nullish()
      .meta({ override: { type: 'object' } }),
    target_resource_id: z.string().max(100).nullish().meta({ description: 'The item of the snapshot, if it is given' }),
    restored_by: ignoredMembers.restored_by,
    pre_restore_snapshot_id: z.unknown().optional().meta({ description: 'Ignored: one is always made' }),
  })
  .meta({ id: 'CreateRestorationRequest' });

export const restorationSchema = z
  .object({
    id: z.uuid(),
    snapshot_id: z.uuid(),
    pre_restore_snapshot_id: z.uuid().meta({ description: 'The item as it was right before' }),
    target_resource_id: z.uuid(),
    restoration_type: z.enum(restorationTypes),
    restore_metadata: anyJson,
    restored_by: z.uuid(),
    status: z.literal('completed').meta({ description: 'It is kept with what it changes, or not at all' }),
    error_message: z.null(),
    created_at: z.iso.datetime(),
    completed_at: z.iso.datetime(),
  })
  .meta({ id: 'RestorationResponse' });

export const updateRestorationBody = z
  .strictObject({ status: z.string().max(100), error_message: z.string().max(2000).nullish() })
  .meta({ id: 'UpdateRestorationStatusRequest' });

const daysMax = 36_500;

export const createRetentionPolicyBody = z
  .strictObject({
    circuit_id: z.uuid().nullish(),
    snapshot_type: word,
    resource_type: word.nullish(),
    retention_days: z.number().int().min(1).max(daysMax),
    max_snapshots: z.number().int().min(1).max(1_000_000).nullish().meta({ description: 'Of each thing' }),
    auto_archive: z
      .boolean()
      .meta({ description: 'Archive what is older, or beyond the number, and do not delete it' }),
    is_active: z.boolean().default(true),
  })
  .meta({ id: 'CreateRetentionPolicyRequest' });

export const retentionPolicySchema = z
  .object({
    id: z.uuid(),
    circuit_id: z.uuid().nullable(),
    snapshot_type: z.string(),
    resource_type: z.string().nullable(),
    retention_days: z.number().int(),
    max_snapshots: z.number().int().nullable(),
    auto_archive: z.boolean(),
    is_active: z.boolean(),
    created_at: z.iso.datetime(),
    updated_at: z.iso.datetime(),
  })
  .meta({ id: 'RetentionPolicyResponse' });

export const retentionPolicyQuery = z.object({
  circuit_id: z.uuid().optional().meta({ description: 'Without it, those that go for no circuit' }),
});

export const appliedRetentionSchema = z
  .object({ policy_id: z.uuid(), snapshots_affected: z.number().int() })
  .meta({ id: 'ApplyRetentionResponse' });
