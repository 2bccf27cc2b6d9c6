import type { Queryable } from '#platform/database.ts';

/** Seconds for which the oldest row of each stage has waited, 0 where none waits. Reads open rows only. */
export async function readOldestUnsettled(queryable: Queryable): Promise<Map<string, number>> {
  const { rows } = await queryable.query<{ stage: string; seconds: number }>(`
    select 'settlement' as stage, coalesce(extract(epoch from now() - (
      select received_at from receipts where finished_at is null order by received_sequence limit 1)), 0)::float8 as seconds
    union all
    select 'ingestion', coalesce(extract(epoch from now() - (
      select min(received_at) from receipts where cut_at is null)), 0)::float8
    union all
    select 'deduplication', coalesce(extract(epoch from now() - (
      select receipts.received_at from receipt_chunks join receipts using (receipt_id)
      where not is_done order by receipt_chunks.received_sequence limit 1)), 0)::float8`);
  return new Map(rows.map((row) => [row.stage, row.seconds]));
}
