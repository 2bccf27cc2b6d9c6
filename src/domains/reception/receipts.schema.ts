import { z } from 'zod';
import { anyCase, listSchema, pageQuery } from '#platform/page.ts';

export const receiptStatus = z.enum(['received', 'processing', 'completed', 'completed_with_errors', 'failed']);
export type ReceiptStatus = z.output<typeof receiptStatus>;

const acknowledgement = {
  receipt_id: z.uuid(),
  status: receiptStatus,
  hash: z.string().meta({ description: 'BLAKE3 of the bytes as sent, 64 hex digits' }),
  size_bytes: z.number().int(),
  content_type: z.string(),
  received_at: z.iso.datetime(),
};

/** The answer to a submission. */
export const acknowledgementSchema = z.object(acknowledgement).meta({ id: 'ReceiptAcknowledgement' });

export const receiptSchema = z
  .object({
    ...acknowledgement,
    entries: z.object({
      total: z.number().int(),
      pending: z.number().int(),
      completed: z.number().int(),
      rejected: z.number().int(),
      failed: z.number().int(),
      conflicted: z.number().int(),
    }),
    items: z.object({ created: z.number().int(), updated: z.number().int() }),
    unclassified_fields: z.array(z.string()),
    error: z.object({ code: z.string(), detail: z.string() }).nullable(),
    finished_at: z.iso.datetime().nullable(),
  })
  .meta({ id: 'Receipt' });

export const entryStatus = z.enum(['pending', 'completed', 'rejected', 'failed', 'conflicted']);

export const entrySchema = z
  .object({
    entry_id: z.uuid(),
    position: z.number().int().meta({ description: 'From 0' }),
    line: z.number().int().nullable().meta({ description: 'Physical line where the record starts; null for JSON' }),
    status: entryStatus,
    outcome: z.enum(['created', 'enriched', 'duplicate', 'conflict']).nullable(),
    dfid: z.string().nullable(),
    merged_dfids: z.array(z.string()),
    error: z
      .object({
        code: z.string(),
        detail: z.string(),
        pointer: z.string(),
        dfids: z.array(z.string()).optional(),
        conflict_id: z.uuid().optional(),
      })
      .nullable(),
  })
  .meta({ id: 'Entry' });

export const verificationSchema = z.object({
  is_valid: z.boolean(),
  original_hash: z.string(),
  provided_hash: z.string(),
});
export const receiptListSchema = listSchema('receipts', receiptSchema);
export const entryListSchema = listSchema('entries', entrySchema);

/** Defaults for records that do not say it themselves. Values are judged by the service, so that aliases work. */
export const submissionQuery = z.object({
  value_chain: z.string().max(40).optional(),
  country: z.string().max(10).optional(),
  year: z.string().max(10).optional(),
  circuit_id: z.uuid().optional().meta({ description: 'For records that name no circuit' }),
});

export const receiptListQuery = z.object({
  ...pageQuery,
  status: anyCase(receiptStatus).optional(),
  received_after: z.iso.datetime({ offset: true }).optional(),
  received_before: z.iso.datetime({ offset: true }).optional(),
});

export const entryListQuery = z.object({ ...pageQuery, status: anyCase(entryStatus).optional() });
