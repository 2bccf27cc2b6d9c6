import type { Queryable } from '#platform/database.ts';
import { entryIdAt, positionOfEntry, receiptEntriesMax } from '#platform/ids.ts';
import { smallLane } from './cut-receipts.ts';
import { insertChunks, type NewChunk } from './work.store.ts';
import type { DeduplicationJob } from './reception.jobs.ts';

interface FailedEntry {
  entry_id: string;
  line: number | null;
  byte_start: number;
  byte_length: number;
}

/**
 * Turns the failed entries of a receipt back into work: each gets a chunk row of its own, its entry goes, and the chunk
 * that counted it counts one less. The receipt is open again until they are settled. What somebody dismissed stays.
 */
export async function retryFailedEntries(
  client: Queryable,
  workspaceId: string,
  receiptId: string,
): Promise<{ entries: number; chunks: DeduplicationJob[] }> {
  const receipts = await client.query<{ received_sequence: number; is_erased: boolean }>(
    'select received_sequence, body_erased_at is not null as is_erased from receipts where receipt_id = $1 for no key update',
    [receiptId],
  );
  const [receipt] = receipts.rows;
  if (!receipt || receipt.is_erased) return { entries: 0, chunks: [] };
  const failed = await client.query<FailedEntry>(
    `delete from entries where entry_id between $1 and $2 and status = 'failed' and dismissed_at is null
     returning entry_id, line, byte_start, byte_length`,
    [entryIdAt(receiptId, 0), entryIdAt(receiptId, receiptEntriesMax - 1)],
  );
  if (failed.rows.length === 0) return { entries: 0, chunks: [] };
  const numbers = await client.query<{ next: number }>(
    'select coalesce(max(chunk_number), -1) + 1 as next from receipt_chunks where receipt_id = $1',
    [receiptId],
  );
  const first = numbers.rows[0]!.next;
  const chunks = failed.rows.map((entry, at): NewChunk => ({
    receiptId,
    chunkNumber: first + at,
    workspaceId,
    receivedSequence: receipt.received_sequence,
    lane: smallLane,
    byteStart: entry.byte_start,
    byteLength: entry.byte_length,
    firstPosition: positionOfEntry(entry.entry_id),
    firstLine: entry.line,
    entryCount: 1,
  }));
  await client.query(
    `update receipt_chunks set failed = failed - back.count
     from (select chunk_number, count(*)::int4 as count
           from unnest($2::int4[]) as back_position (position)
           cross join lateral (
             -- what was retried before has a chunk of its own beside the one that it came in, and that one counts it
             select chunk_number from receipt_chunks
             where receipt_id = $1 and is_done and position between first_position and first_position + entry_count - 1
             order by chunk_number desc limit 1
           ) as counting
           group by chunk_number) as back
     where receipt_chunks.receipt_id = $1 and receipt_chunks.chunk_number = back.chunk_number`,
    [receiptId, chunks.map((chunk) => chunk.firstPosition)],
  );
  await insertChunks(client, chunks);
  await client.query('update receipts set finished_at = null, outcome = null where receipt_id = $1', [receiptId]);
  return {
    entries: chunks.length,
    chunks: chunks.map((chunk) => ({ receipt_id: receiptId, chunk_number: chunk.chunkNumber })),
  };
}
