import { z } from 'zod';

const wholeNumber = z.number().int();

/** The answer to GET /api/adapter/items/{item_id}/anchors. */
export const itemAnchorsSchema = z
  .object({
    blockchain_anchors: z.array(
      z.object({
        chain_type: z.string(),
        transaction_hash: z.string(),
        ledger_number: wholeNumber.nullable(),
        confirmations: wholeNumber.nullable(),
        status: z.enum(['pending', 'submitted', 'confirmed', 'failed']),
      }),
    ),
    storage_refs: z.array(
      z.object({
        storage_type: z.string(),
        content_id: z.string(),
        gateway_url: z.string().nullable(),
        version: wholeNumber.nullable(),
        is_pinned: z.boolean().nullable(),
        status: z.enum(['queued', 'stored', 'failed']),
      }),
    ),
    state: z.string().meta({ description: 'What is proven and stored, in words' }),
  })
  .meta({ id: 'AdapterAnchorsResponse' });

const outcomes = z.object({ success: wholeNumber, failed: wholeNumber, total: wholeNumber, success_rate: z.number() });

/** The answer to GET /api/admin/adapter/stats. */
export const adapterStatisticsSchema = z
  .object({
    jobs: z.object({ completed: wholeNumber, failed: wholeNumber, total: wholeNumber, success_rate: z.number() }),
    queue: z.object({
      depth: wholeNumber,
      active_workers: wholeNumber.meta({ description: 'Connections of workers to the database that are at work' }),
    }),
    adapters: z.object({ stellar: outcomes, ipfs: outcomes }),
    costs: z.object({
      stellar_xlm: z.number(),
      stellar_usd: z.number().meta({ description: 'Always 0: no exchange rate is known here' }),
      ipfs_storage_bytes: wholeNumber,
      ipfs_storage_gb: z.number(),
    }),
    rate_limits: z.object({
      rejections: wholeNumber.meta({ description: 'Batches that wait because a service turned them away for now' }),
    }),
  })
  .meta({ id: 'AdapterStatsResponse' });
