import { uuidArray, int4Array } from '#platform/binary-arrays.ts';
import type { Queryable } from '#platform/database.ts';
import { positionOfEntry, receiptIdOfEntry } from '#platform/ids.ts';
import type { ResettledEntry } from '#domains/items/index.ts';
import { settleReceipts } from './receipts.store.ts';

const counters = ['completed', 'rejected', 'conflicted', 'created', 'enriched'] as const;

/**
 * Lets the counters of receipts follow entries that changed their state after their chunk was worked. When a receipt was
 * settled stays as it is; how it ended follows. Locks the receipts, so it comes after all else in a transaction.
 */
export async function recountEntries(client: Queryable, entries: readonly ResettledEntry[]): Promise<void> {
  if (entries.length === 0) return;
  const receiptIds = [...new Set(entries.map(({ entryId }) => receiptIdOfEntry(entryId)))].toSorted();
  // Whoever settles one of them meanwhile waits, and then finds it settled with the new counts.
  await client.query({
    name: 'lock_recounted_receipts',
    text: 'select 1 from receipts where receipt_id = any($1::uuid[]) order by receipt_id for no key update',
    values: [uuidArray(receiptIds)],
  });
  const changeOf = (counter: string) =>
    int4Array(entries.map(({ from, to }) => countsAs(to, counter) - countsAs(from, counter)));
  // An entry that was tried again after a failure is counted by the chunk that it got for itself, the last one.
  await client.query({
    name: 'recount_chunks',
    text: `update receipt_chunks as chunks
           set ${counters.map((counter) => `${counter} = chunks.${counter} + sums.${counter}`).join(', ')}
           from (
             select changed.receipt_id, counting.chunk_number,
                    ${counters.map((counter) => `sum(changed.${counter})::int4 as ${counter}`).join(', ')}
             from unnest($1::uuid[], $2::int4[], $3::int4[], $4::int4[], $5::int4[], $6::int4[], $7::int4[])
               as changed (receipt_id, position, ${counters.join(', ')})
             cross join lateral (
               select chunk_number from receipt_chunks
               where receipt_chunks.receipt_id = changed.receipt_id
                 and changed.position between first_position and first_position + entry_count - 1
               order by chunk_number desc limit 1
             ) as counting
             group by changed.receipt_id, counting.chunk_number
           ) as sums
           where chunks.receipt_id = sums.receipt_id and chunks.chunk_number = sums.chunk_number`,
    values: [
      uuidArray(entries.map(({ entryId }) => receiptIdOfEntry(entryId))),
      int4Array(entries.map(({ entryId }) => positionOfEntry(entryId))),
      ...counters.map(changeOf),
    ],
  });
  await settleReceipts(client, receiptIds);
  await client.query({
    name: 'recount_receipts',
    text: `update receipts set outcome = sums.outcome
           from (
             select receipt_id, case when sum(rejected + failed + conflicted) > 0 then 'completed_with_errors' else 'completed' end as outcome
             from receipt_chunks where receipt_id = any($1::uuid[]) group by receipt_id
           ) as sums
           where receipts.receipt_id = sums.receipt_id and receipts.finished_at is not null and receipts.outcome <> sums.outcome`,
    values: [uuidArray(receiptIds)],
  });
}

function countsAs({ status, outcome }: ResettledEntry['to'], counter: string): number {
  return status === counter || outcome === counter ? 1 : 0;
}
