import { int4Array, uuidArray } from '#platform/binary-arrays.ts';
import type { Queryable } from '#platform/database.ts';
import { positionOfEntry, receiptIdOfEntry } from '#platform/ids.ts';
import type { RecountedEntry } from '#domains/items/index.ts';
import { countVerdicts } from './verdict-counts.ts';

const counters = ['completed', 'rejected', 'failed', 'conflicted', 'created', 'enriched'] as const;

/**
 * Brings the counts of receipts in line with entries that ended otherwise than their chunk did. When the receipt was finished stays
 * as it was. The caller changes nothing else after it, since receipts come last in the order of locks.
 */
export async function recountEntries(queryable: Queryable, entries: readonly RecountedEntry[]): Promise<void> {
  if (entries.length === 0) return;
  const changes = entries.map(({ entryId, from, to }) => {
    const [before, after] = [countVerdicts([from]), countVerdicts([to])];
    return {
      receiptId: receiptIdOfEntry(entryId),
      position: positionOfEntry(entryId),
      delta: counters.map((counter) => after[counter] - before[counter]),
    };
  });
  const receiptIds = uuidArray([...new Set(changes.map(({ receiptId }) => receiptId))]);
  await queryable.query({
    name: 'lock_recounted_receipts',
    text: 'select 1 from receipts where receipt_id = any($1::uuid[]) order by receipt_id for no key update',
    values: [receiptIds],
  });
  await queryable.query({
    name: 'recount_chunks',
    text: `update receipt_chunks as chunks
           set ${counters.map((counter) => `${counter} = chunks.${counter} + changed.${counter}`).join(', ')}
           from (
             select changes.receipt_id, counting.chunk_number,
                    ${counters.map((counter) => `sum(changes.${counter})::int4 as ${counter}`).join(', ')}
             from unnest($1::uuid[], $2::int4[], ${counters.map((_counter, at) => `$${at + 3}::int4[]`).join(', ')})
               as changes (receipt_id, position, ${counters.join(', ')})
             -- An entry that was tried again has a chunk of its own, which counts it instead of the first.
             cross join lateral (
               select chunk_number from receipt_chunks
               where receipt_chunks.receipt_id = changes.receipt_id
                 and changes.position between first_position and first_position + entry_count - 1
               order by chunk_number desc limit 1
             ) as counting
             group by changes.receipt_id, counting.chunk_number
           ) as changed
           where chunks.receipt_id = changed.receipt_id and chunks.chunk_number = changed.chunk_number`,
    values: [
      uuidArray(changes.map(({ receiptId }) => receiptId)),
      int4Array(changes.map(({ position }) => position)),
      ...counters.map((_counter, at) => int4Array(changes.map(({ delta }) => delta[at]!))),
    ],
  });
  await queryable.query({
    name: 'recount_receipts',
    text: `update receipts set outcome = recounted.outcome
           from (
             select receipt_id, case when sum(rejected + failed + conflicted) = 0 then 'completed' else 'completed_with_errors' end as outcome
             from receipt_chunks where receipt_id = any($1::uuid[]) group by receipt_id
           ) as recounted
           where receipts.receipt_id = recounted.receipt_id and receipts.outcome in ('completed', 'completed_with_errors')
             and receipts.outcome <> recounted.outcome`,
    values: [receiptIds],
  });
}
