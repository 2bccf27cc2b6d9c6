import { z } from 'zod';
import { pageQuery } from '#platform/page.ts';
import { identifierSchema } from '../items.schema.ts';
import { waysToItem } from './explained-entry.ts';

const time = z.iso.datetime();
const sentence = z.string().meta({ description: 'The same in plain English' });
const namedValue = z.object({ identifier_type: z.string(), value: z.string() });
const decidedBy = z.string().meta({
  description: 'A key or user of your workspace, or "an administrator or another participant"',
});
const dfidOfOther = z
  .string()
  .nullable()
  .meta({ description: 'Null for an item that your workspace has no part in and did not decide about' });

const explainedEntrySchema = z
  .object({
    entry_id: z.uuid(),
    receipt_id: z.uuid(),
    received_at: time,
    dfid: z.string().meta({ description: 'The item that it was sent for' }),
    how: z.enum(waysToItem).meta({ description: 'How it came to the item' }),
    shared_identifiers: z.array(
      namedValue.extend({ with: z.enum(['you', 'another participant']), with_entry_id: z.uuid().nullable() }),
    ),
    shared_sets: z.array(z.object({ rule: z.string(), identifiers: z.array(namedValue), with_entry_id: z.uuid() })),
    linked_dfids: z.array(z.string()).meta({ description: 'The items that it showed to be one' }),
    decision: z
      .object({
        decided_by: decidedBy,
        decided_at: time,
        reason: z.string().nullable(),
        conflict_id: z.uuid().nullable(),
      })
      .nullable(),
    withdrawn_at: time.nullable(),
    sentence,
  })
  .meta({ id: 'ExplainedEntry' });

const explainedMergeSchema = z
  .object({
    survivor_dfid: dfidOfOther,
    merged_dfid: dfidOfOther,
    by: z.enum(['record', 'person']),
    decided_by: decidedBy.nullable(),
    entry_id: z.uuid().nullable().meta({ description: 'The entry of your workspace that joined the two' }),
    strategy: z.string().nullable(),
    reason: z.string().nullable(),
    merged_at: time,
    undone_at: time.nullable(),
    undone_by: decidedBy.nullable(),
    sentence,
  })
  .meta({ id: 'ExplainedMerge' });

export const explanationSchema = z
  .object({
    dfid: z.string(),
    asked_dfid: z.string().meta({ description: 'Another one than dfid when the item that was asked for was merged' }),
    is_merged: z.boolean(),
    summary: z.string(),
    entries: z.array(explainedEntrySchema).meta({ description: 'Of your workspace, in the order of arrival' }),
    merges: z.array(explainedMergeSchema),
    undone_merges: z.array(explainedMergeSchema),
    separations: z.array(
      z.object({
        dfid: dfidOfOther,
        decided_by: decidedBy,
        decided_at: time,
        reason: z.string().nullable(),
        sentence,
      }),
    ),
    ended_identifiers: z
      .array(namedValue.extend({ ended_at: time, entry_id: z.uuid(), sentence }))
      .meta({ description: 'Identifiers in whose place others came; they still lead to the item' }),
    withdrawn_entries: z.array(
      z.object({
        entry_id: z.uuid(),
        withdrawn_at: time,
        withdrawn_by: decidedBy,
        reason: z.string().nullable(),
        sentence,
      }),
    ),
    open_conflicts: z.array(z.object({ conflict_id: z.uuid(), opened_at: time, sentence })),
    other_participants: z.number().int(),
    is_complete: z.boolean().meta({ description: 'False when there is more than is shown; the oldest is shown' }),
  })
  .meta({ id: 'Explanation' });

const versionMembers = {
  version: z.number().int(),
  created_at: time.meta({ description: 'When the change began; versions that waited for others may be out of order' }),
  changes: z
    .array(
      z.object({
        event_type: z.string(),
        entry_id: z.uuid().optional(),
        by: z.string().optional(),
        reason: z.string().optional(),
      }),
    )
    .meta({ description: 'At most 100; changes_total says how many there are' }),
  changes_total: z.number().int(),
  fields_changed: z.array(z.string()).optional().meta({ description: 'Where it is known without reading entries' }),
};

export const versionListQuery = z.object({ limit: pageQuery.limit, cursor: pageQuery.cursor });

export const versionListSchema = z
  .object({
    dfid: z.string(),
    versions: z.array(z.object(versionMembers).meta({ id: 'ItemVersion' })),
    count: z.number().int(),
    total: z.number().int(),
    total_is_lower_bound: z.literal(true).optional(),
    next_cursor: z.string().nullable(),
  })
  .meta({ id: 'ItemVersions' });

export const versionSchema = z
  .object({
    dfid: z.string(),
    ...versionMembers,
    content: z
      .object({ metadata: z.record(z.string(), z.unknown()), identifiers: z.array(identifierSchema) })
      .nullable()
      .meta({ description: 'What your workspace knew then; null when that cannot be told exactly' }),
    content_missing_because: z.string().nullable(),
  })
  .meta({ id: 'ItemVersionDetails' });
