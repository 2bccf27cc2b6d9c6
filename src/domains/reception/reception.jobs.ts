import { z } from 'zod';
import { defineQueue } from '#platform/queue/definition.ts';

/** Receipts up to this size are cut together with others of their workspace. */
export const smallReceiptBytes = 65_536;
/** So many small receipts are cut in one transaction, at most. */
export const receiptsPerClaim = 200;

/** One job per claim: a large receipt, or small ones of one workspace that were kept together. */
export const ingestionQueue = defineQueue({
  name: 'ingestion',
  description: 'Finds the records in the bodies of receipts and writes chunk rows.',
  schema: z.object({ receipt_ids: z.array(z.uuid()), request_ids: z.array(z.string()).optional() }),
});

/** One job per chunk. */
export const deduplicationQueue = defineQueue({
  name: 'deduplication',
  description: 'Judges the records of a chunk and makes them part of items.',
  schema: z.object({ receipt_id: z.uuid(), chunk_number: z.number().int(), request_id: z.string().optional() }),
});

/** Job data of the queues above. */
export type IngestionJob = z.output<typeof ingestionQueue.schema>;
export type DeduplicationJob = z.output<typeof deduplicationQueue.schema>;

/** A few of many request ids: what a job or a log line names. */
export function nameSome(requestIds: readonly string[]): string[] {
  return [...new Set(requestIds)].slice(0, 20);
}
