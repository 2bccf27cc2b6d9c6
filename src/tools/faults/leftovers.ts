import { setTimeout as delay } from 'node:timers/promises';
import type { Cluster } from './cluster.ts';
import type { Differences } from './differences.ts';

const receiptOfEntry = `(left(entry_id::text, 30) || '000000')::uuid`;
const positionOfEntry = `(('x' || right(entry_id::text, 6))::bit(24)::int4 - 1)`;

/** Rows that must not be there once all is settled: each query finds some, by what they are. */
const orphanQueries: Readonly<Record<string, string>> = {
  'a body without its receipt':
    'select receipt_id::text as row from receipt_bodies where not exists (select from receipts where receipts.receipt_id = receipt_bodies.receipt_id)',
  'a chunk without its receipt':
    'select receipt_id::text as row from receipt_chunks where not exists (select from receipts where receipts.receipt_id = receipt_chunks.receipt_id)',
  'an idempotency key without its receipt':
    'select key as row from idempotency_keys where receipt_id is not null and not exists (select from receipts where receipts.receipt_id = idempotency_keys.receipt_id)',
  'an attempt at what does not exist': `select receipt_id || ' ' || chunk_number as row from work_attempts
     where not exists (select from receipts where receipts.receipt_id = work_attempts.receipt_id)
        or chunk_number >= 0 and not exists (select from receipt_chunks
           where receipt_chunks.receipt_id = work_attempts.receipt_id and receipt_chunks.chunk_number = work_attempts.chunk_number)`,
  'an entry outside all chunks': `select entry_id::text as row from entries
     where not exists (select from receipt_chunks where receipt_id = ${receiptOfEntry}
                       and ${positionOfEntry} between first_position and first_position + entry_count - 1)`,
  'an entry of an item that does not exist':
    'select entry_id::text as row from entries where item_number is not null and not exists (select from items where items.item_number = entries.item_number)',
  'an item without an entry':
    'select item_number::text as row from items where not exists (select from entries where entries.item_number = items.item_number)',
  'an item that leads to a merged one':
    'select item_number::text as row from items where merged_into is not null and not exists (select from items as survivors where survivors.item_number = items.merged_into and survivors.merged_into is null)',
  'a claim of an item that is none any more':
    'select identifier_type || value as row from identifier_claims where not exists (select from items where items.item_number = identifier_claims.item_number and merged_into is null)',
  'a claim of an entry that did not make it': `select identifier_type || value as row from identifier_claims where not exists (select from entries where entries.entry_id = identifier_claims.entry_id and status = 'completed')`,
  'a mention of an item that does not exist':
    'select identifier_type || value as row from identifier_mentions where not exists (select from items where items.item_number = identifier_mentions.item_number)',
  'a contribution without an entry': `select item_number || ' ' || workspace_id as row
     from contributions join items as own using (item_number)
     where not exists (select from items as members join entries on entries.item_number = members.item_number
                       where entries.workspace_id = contributions.workspace_id
                         and coalesce(members.merged_into, members.item_number) = coalesce(own.merged_into, own.item_number))`,
  'a contribution to an item that does not exist':
    'select item_number::text as row from contributions where not exists (select from items where items.item_number = contributions.item_number)',
  'an event of an item or entry that does not exist': `select event_id::text as row from events
     where item_number is not null and not exists (select from items where items.item_number = events.item_number)
        or entry_id is not null and not exists (select from entries where entries.entry_id = events.entry_id)`,
  'an event that is not in the log': `select event_id::text as row from events
     where item_number is not null and withdrawn_at is null and not exists (select from log_entries
       where log_entries.event_id = events.event_id and log_entries.workspace_id = events.workspace_id)`,
  'a gap in the log':
    'select index::text as row from (select index, row_number() over (order by index) - 1 as place from log_entries) as placed where index <> place',
  'a log of another size than its entries':
    'select size::text as row from log_state where size <> (select count(*) from log_entries)',
  'a merge of what does not exist': `select merge_id::text as row from item_merges
     where not exists (select from items where item_number = survivor) or not exists (select from items where item_number = loser)
        or not exists (select from entries where entries.entry_id = item_merges.entry_id)`,
  'a receipt that is not settled':
    'select receipt_id::text as row from receipts where finished_at is null or cut_at is null',
  'a chunk that is not done': `select receipt_id || ' ' || chunk_number as row from receipt_chunks where not is_done`,
  'a chunk whose counts do not add up': `select receipt_id || ' ' || chunk_number as row from receipt_chunks
     where completed + rejected + failed + conflicted <> entry_count`,
};

/** Notes every row without its other half, and all that is still pending. */
export async function findLeftovers(cluster: Cluster, differences: Differences): Promise<void> {
  await untilLogged(cluster);
  for (const [what, query] of Object.entries(orphanQueries)) {
    const rows = await cluster.query<{ row: string }>(`${query} limit 1000`);
    if (rows.length > 0) differences.add(`there is ${what}: ${rows[0]!.row} (${rows.length} of them)`);
  }
}

const loggedWithinMs = 60_000;

/** The log takes events in after the receipts that brought them are settled. */
async function untilLogged(cluster: Cluster): Promise<void> {
  const deadline = Date.now() + loggedWithinMs;
  while (Date.now() < deadline) {
    const [row] = await cluster.query<{ waiting: number }>('select count(*)::int4 as waiting from event_feed');
    if (row!.waiting === 0) return;
    await delay(100);
  }
}

/** Transactions that meet at an item may send each other back; each time costs a try that no fault explains. */
const contentionTriesMax = 3;

/**
 * Notes work that was tried more often than the scenario explains: once, once more for each disturbance, and a little for
 * contention.
 * @param disturbances how often the scenario may have interrupted one piece of work.
 * @returns the most tries at one piece of work.
 */
export async function compareAttempts(
  cluster: Cluster,
  disturbances: number,
  differences: Differences,
): Promise<number> {
  const allowed = 1 + disturbances + contentionTriesMax;
  const rows = await cluster.query<{ receipt_id: string; chunk_number: number; tries: number }>(
    'select receipt_id, chunk_number, max(attempt)::int4 as tries from work_attempts group by 1, 2 order by 3 desc',
  );
  const [worst] = rows;
  const tooMany = rows.filter(({ tries }) => tries > allowed).length;
  if (worst && tooMany > 0)
    differences.add(
      `${tooMany} pieces of work were tried more than ${allowed} times; ${worst.receipt_id} ${worst.chunk_number} ${worst.tries} times`,
    );
  return worst?.tries ?? 0;
}

/** Deadlocks since the database was made, or since Postgres last recovered from a crash. */
export async function countDeadlocks(cluster: Cluster): Promise<number> {
  const [row] = await cluster.query<{ deadlocks: number }>(
    'select deadlocks::int4 from pg_stat_database where datname = current_database()',
  );
  return row!.deadlocks;
}
