import { z } from 'zod';
import { anyCase } from '#platform/page.ts';
import { entrySchema, submissionQuery } from './receipts.schema.ts';

/** The form of POST /api/items/bulk. */
export const bulkForm = z
  .object({
    file: z.string().meta({
      override: { type: 'string', format: 'binary' },
      description: 'CSV, JSON or NDJSON, by the content type of the part or the name of the file',
    }),
    circuit_id: z.uuid().optional(),
  })
  .meta({ id: 'BulkForm' });

export const bulkQuery = submissionQuery.extend({
  dry_run: anyCase(z.enum(['true', 'false']))
    .optional()
    .meta({ description: 'true: tell what would happen, and store nothing' }),
});

const summarySchema = z
  .object({
    rows_total: z.number().int(),
    rows_processed: z.number().int(),
    rows_failed: z.number().int(),
    items_created: z.number().int(),
    items_updated: z.number().int(),
    events_created: z.number().int(),
    identifiers_resolved: z.record(z.string(), z.number().int()),
    unclassified_fields: z.array(z.string()),
  })
  .meta({ id: 'IngestionSummary' });
export type IngestionSummary = z.output<typeof summarySchema>;

export const ingestionReceiptSchema = z
  .object({
    receipt_id: z.uuid(),
    status: z.enum(['processing', 'completed', 'partial', 'failed']),
    processing_time_ms: z.number().int(),
    summary: summarySchema.meta({ description: 'While it is processing: what is known so far' }),
    error_message: z.string().nullable(),
  })
  .meta({ id: 'IngestionReceipt' });

export const ingestionPreviewSchema = z
  .object({
    status: z.literal('preview'),
    processing_time_ms: z.number().int(),
    previewed: z.number().int().meta({ description: 'Records that were tried, from the first on' }),
    is_cut: z.boolean().meta({ description: 'Whether the file has more records than were tried' }),
    summary: summarySchema.meta({ description: 'rows_total counts the file, the rest what was tried' }),
    entries: z.array(entrySchema.omit({ entry_id: true })),
    error_message: z.string().nullable(),
  })
  .meta({ id: 'IngestionPreview' });
