import { z } from 'zod';
import { adapterNames } from './scope-settings.ts';

const storedContent = z
  .object({
    id: z.string().meta({ description: 'Names the content and the adapter' }),
    dfid: z.string(),
    version: z.number().int().meta({ description: 'Of the item' }),
    content: z.enum(['public', 'encrypted']),
    cid: z.string(),
    size_bytes: z.number().int(),
    adapter: z.enum(adapterNames),
    state: z.enum(['queued', 'stored', 'failed', 'removed']),
    root: z.string().nullable().meta({ description: 'The directory that it is stored in' }),
    path: z.string().nullable().meta({ description: 'Its path below /ipfs/' }),
    gateway_url: z.string().nullable(),
    is_primary: z.boolean(),
    transactions: z
      .array(
        z.object({
          function: z.string(),
          contract: z.string(),
          state: z.enum(['open', 'confirmed', 'failed']),
          transaction_hash: z.string().nullable(),
          ledger: z.number().int().nullable(),
        }),
      )
      .meta({ description: 'Calls of contracts that tell a public ledger of it' }),
    attempts: z.number().int(),
    next_attempt_at: z.iso.datetime().nullable(),
    error: z.string().nullable(),
    queued_at: z.iso.datetime(),
    stored_at: z.iso.datetime().nullable(),
  })
  .meta({ id: 'StoredContent' });

export const storageHistorySchema = z
  .object({
    dfid: z.string(),
    storage_history: z.array(storedContent),
    count: z.number().int(),
    next_cursor: z.string().nullable(),
    state: z.string().meta({ description: 'What is stored of the items of your workspace, in words' }),
  })
  .meta({ id: 'StorageHistory' });

export const storageHistoryQuery = z.object({
  limit: z.coerce.number().int().min(1).max(100).default(20),
  cursor: z.string().max(200).optional(),
});

export const migrateBody = z
  .strictObject({
    target_adapter_type: z.string().max(40),
    circuit_id: z.uuid().nullish(),
    user_id: z.unknown().optional().meta({ description: 'Ignored: credentials tell who asks' }),
  })
  .meta({ id: 'MigrateStorageRequest' });

export const migrateAnswer = z.object({ dfid: z.string(), target_adapter_type: z.string(), queued: z.number().int() });

export const primaryBody = z
  .strictObject({ storage_location: z.string().max(40).meta({ description: 'The adapter to look at first' }) })
  .meta({ id: 'PrimaryStorageRequest' });

export const primaryAnswer = z.object({ dfid: z.string(), storage_location: z.string() });

export const storageStatisticsSchema = z
  .object({
    adapters: z.array(
      z.object({
        adapter: z.enum(adapterNames),
        queued: z.number().int(),
        stored: z.number().int(),
        failed: z.number().int(),
        stored_bytes: z.number().int(),
      }),
    ),
  })
  .meta({ id: 'StorageStatistics' });
