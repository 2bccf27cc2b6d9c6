import { z } from 'zod';
import { pageQuery } from '#platform/page.ts';

const hash = z.string().regex(/^[0-9a-f]{64}$/, 'a hash is 64 lower-case hex digits');
const comparedItemsMax = 1000;
const pathMax = 128;

const treeMembers = {
  merkle_root: hash.meta({ description: 'SHA-256 over all events of the item (RFC 9162, 2.1), hexadecimal' }),
  event_count: z.number().int().meta({ description: 'Leaves of the tree' }),
};

export const itemRootSchema = z
  .object({
    dfid: z.string(),
    ...treeMembers,
    trees: z.array(z.object({ dfid: z.string(), ...treeMembers })).meta({
      description: 'One for each item that is one with this one, the smallest number first; the root is over theirs',
    }),
    computed_at: z.iso.datetime().meta({ description: 'When the last event came into it' }),
  })
  .meta({ id: 'ItemRoot' });

export const itemRootListQuery = z.object({ limit: pageQuery.limit, cursor: pageQuery.cursor });

export const itemRootListSchema = z
  .object({ items: z.array(itemRootSchema), next_cursor: z.string().nullable() })
  .meta({ id: 'ItemRootList' });

const proofSchema = z
  .object({
    leaf_hash: hash,
    siblings: z
      .array(z.object({ hash, position: z.enum(['Left', 'Right']) }))
      .max(pathMax)
      .meta({ description: 'From the leaf to the root, each with the side on which it stands' }),
    root: hash,
  })
  .meta({ id: 'ItemEventPath' });

export const itemEventProofSchema = z
  .object({ dfid: z.string(), event_id: z.uuid(), proof: proofSchema })
  .meta({ id: 'ItemEventProof' });

export const verifyItemProofBody = z
  .strictObject({ proof: proofSchema, expected_root: hash })
  .meta({ id: 'VerifyItemEventProof' });

export const verifyItemProofSchema = z.object({ valid: z.boolean(), message: z.string() });

export const syncCheckBody = z
  .strictObject({
    remote_items: z
      .array(
        z.strictObject({
          dfid: z.string().max(100),
          merkle_root: hash,
          event_count: z.number().int().min(1).optional().meta({
            description: 'How many events the copy has: tells whether it is only behind',
          }),
        }),
      )
      .min(1)
      .max(comparedItemsMax),
  })
  .meta({ id: 'SyncCheckRequest' });

export const syncCheckSchema = z
  .object({
    in_sync: z.boolean(),
    differing_items: z.array(
      z.object({
        dfid: z.string(),
        local_root: hash,
        remote_root: hash,
        local_event_count: z.number().int(),
        remote_event_count: z.number().int().nullable(),
        state: z.enum(['behind', 'differs']).meta({
          description: '`behind`: the copy is the beginning of what is here, and only lacks what came later',
        }),
      }),
    ),
    local_only: z.array(z.string()).meta({
      description: 'Items with events here between the first and the last that was named, at most 1,000 of them',
    }),
    remote_only: z.array(z.string()).meta({ description: 'Items of which nothing is logged here that you may see' }),
    message: z.string(),
  })
  .meta({ id: 'SyncCheckResponse' });
