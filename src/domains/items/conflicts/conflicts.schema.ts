import { z } from 'zod';
import { anyCase, listSchema, pageQuery } from '#platform/page.ts';
import { ignoredMembers } from '../items.schema.ts';

const identifierSchema = z.object({ identifier_type: z.string(), value: z.string() });

const contradictionSchema = z.object({
  reason: z.enum(['values', 'strangers', 'separated', 'size', 'ended']),
  identifier_type: z.string().nullable(),
  values: z.array(z.string()).meta({ description: 'Only what your workspace sent itself' }),
  sentence: z.string(),
});

const conflictMembers = {
  conflict_id: z.uuid(),
  status: z.enum(['open', 'resolved']),
  opened_at: z.iso.datetime(),
  items: z.array(z.object({ item_id: z.uuid(), dfid: z.string() })),
  waiting_entries: z.number().int(),
  other_participants: z.number().int(),
  can_resolve: z.boolean().meta({ description: 'False when others take part, so that an administrator decides' }),
  resolution: z
    .object({
      action: z.string(),
      dfid: z.string().nullable().meta({ description: 'The item that stayed, or that the records went to' }),
      reason: z.string().nullable(),
      resolved_at: z.iso.datetime(),
      resolved_by: z.string().nullable(),
    })
    .nullable(),
};

export const conflictSchema = z.object(conflictMembers).meta({ id: 'Conflict' });

export const conflictDetailsSchema = z
  .object({
    ...conflictMembers,
    summary: z.string(),
    contradictions: z.array(contradictionSchema),
    evidence: z.object({
      entries: z.array(
        z.object({
          entry_id: z.uuid(),
          receipt_id: z.uuid(),
          received_at: z.iso.datetime(),
          participant: z.string(),
          status: z.string(),
          identifiers: z.array(identifierSchema),
          names_items: z
            .array(z.string())
            .meta({ description: 'DFIDs of contested items that these identifiers belong to' }),
        }),
      ),
      is_complete: z.boolean().meta({ description: 'False when only the first 1,000 entries are shown' }),
      items: z.array(
        z.object({
          dfid: z.string(),
          identifiers: z.array(
            identifierSchema.extend({
              entry_id: z.uuid().nullable(),
              participant: z.string(),
            }),
          ),
        }),
      ),
    }),
    actions: z.array(z.string()),
  })
  .meta({ id: 'ConflictDetails' });

export const conflictListSchema = listSchema('conflicts', conflictSchema);

export const conflictListQuery = z.object({
  ...pageQuery,
  status: anyCase(z.enum(['open', 'resolved'])).optional(),
  dfid: z.string().max(100).optional(),
  identifier_type: z.string().max(100).optional(),
  value: z.string().max(300).optional(),
});

export const resolveConflictBody = z
  .strictObject({
    action: anyCase(z.enum(['merge', 'attach', 'separate', 'reject'])),
    dfid: z.string().max(100).nullish(),
    reason: z.string().trim().min(1).max(2000),
    ...ignoredMembers,
  })
  .meta({ id: 'ResolveConflictRequest' });
