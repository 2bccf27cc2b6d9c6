import { z } from 'zod';
import { pageQuery } from '#platform/page.ts';

export const timelineEntrySchema = z
  .object({
    sequence: z.number().int().meta({ description: 'From 1, in the order in which it was noted' }),
    dfid: z.string(),
    cid: z.string().meta({ description: 'The address of a content of the item' }),
    transaction_hash: z.string(),
    blockchain_timestamp: z.iso.datetime().meta({ description: 'When the ledger closed' }),
    ledger: z.number().int(),
    network: z.string().meta({ description: 'testnet, mainnet or custom' }),
    source: z.enum(['anchor', 'contract']).meta({
      description: 'anchor: a checkpoint of the log that covers it; contract: an event that a contract gave off',
    }),
    created_at: z.iso.datetime(),
  })
  .meta({ id: 'TimelineEntry' });

export const timelineQuery = z.object({
  limit: pageQuery.limit,
  cursor: pageQuery.cursor,
});

export const timelineSchema = z
  .object({
    dfid: z.string(),
    total_entries: z.number().int(),
    timeline: z.array(timelineEntrySchema),
    next_cursor: z.string().nullable(),
  })
  .meta({ id: 'Timeline' });

export const indexingProgressSchema = z
  .object({
    network: z.string(),
    log: z
      .object({ anchored_entries: z.number().int() })
      .nullable()
      .meta({ description: 'Entries of the log whose contents are in timelines' }),
    contracts: z.array(
      z.object({
        contract: z.string(),
        next_ledger: z.number().int().meta({ description: 'All ledgers before it were read, but for the gaps' }),
        latest_ledger: z.number().int().nullable(),
        ignored_events: z
          .number()
          .int()
          .meta({ description: 'That name no item of this installation, or are of another kind' }),
        state: z.string().meta({ description: 'How reading goes, in words' }),
      }),
    ),
    gaps: z.array(
      z.object({
        contract: z.string(),
        from_ledger: z.number().int(),
        to_ledger: z.number().int(),
        found_at: z.iso.datetime(),
      }),
    ),
  })
  .meta({ id: 'IndexingProgress' });
