import type { ContentTransaction } from '#domains/storage/index.ts';
import type { Queryable } from '#platform/database.ts';
import { uuidArray } from '#platform/binary-arrays.ts';
import { makeId } from '#platform/ids.ts';
import { dfidOfRow } from '../logged-version.ts';

/** Which contracts are told of contents. */
export interface CalledContracts {
  readonly network: string;
  readonly ipcmContract: string;
  /** The function that tells them: one keeps the address in the contract, the other only gives off an event. */
  readonly ipcmFunction: 'update' | 'emit_update_event';
  /** Mints one token for each item; undefined for none. */
  readonly nftContract: string | undefined;
}

/** Batches become visible after the time at which they were stored; those of so long ago are looked at again. */
const overlapMinutes = 10;
const lookAgainSeconds = 10;

/** Whether contents that were stored meanwhile are to be looked for. */
export async function areCallsDue(queryable: Queryable, network: string): Promise<boolean> {
  const { rows } = await queryable.query<{ is_due: boolean }>({
    name: 'are_contract_calls_due',
    text: 'select not exists (select from contract_call_progress where network = $1 and due_at > now()) as is_due',
    values: [network],
  });
  return rows[0]!.is_due;
}

/**
 * Queues the calls for public contents that were stored since the last time: a mint for an item that had none, and then the
 * address. Each once, whatever is looked at again.
 * @returns how many were queued.
 */
export async function queueCalls(queryable: Queryable, contracts: CalledContracts): Promise<number> {
  const { network, ipcmContract, ipcmFunction, nftContract } = contracts;
  const { rows } = await queryable.query<{ content_id: string; item_number: number }>({
    name: 'find_contents_to_call',
    text: `with progress as (
             insert into contract_call_progress as known (network, stored_until, due_at)
             values ($1, now(), now() + make_interval(secs => $5::float8))
             on conflict (network) do update set stored_until = now(), due_at = excluded.due_at
             returning (select stored_until from contract_call_progress where network = $1) as before
           )
           select content_id, item_number from storage_batches
           join storage_history using (batch_id) join storage_contents using (content_id)
           where storage_batches.state = 'stored' and storage_history.state = 'stored' and kind = 'public'
             and storage_batches.stored_at > coalesce((select before from progress) - make_interval(mins => $4::int4), '-infinity')
             and not exists (
               select from contract_calls as calls
               where calls.content_id = storage_contents.content_id and calls.network = $1 and calls.contract = $2 and calls.function = $3)
           order by content_id`,
    values: [network, ipcmContract, ipcmFunction, overlapMinutes, lookAgainSeconds],
  });
  if (rows.length === 0) return 0;
  const calls = rows.flatMap((row) => [
    ...(nftContract === undefined ? [] : [{ ...row, contract: nftContract, function: 'mint' }]),
    { ...row, contract: ipcmContract, function: ipcmFunction },
  ]);
  const { rowCount } = await queryable.query({
    name: 'insert_contract_calls',
    text: `insert into contract_calls (call_id, network, contract, function, item_number, content_id)
           select call_id, $1, contract, function, item_number, content_id
           from unnest($2::uuid[], $3::text[], $4::text[], $5::int8[], $6::uuid[]) as called (call_id, contract, function, item_number, content_id)
           on conflict do nothing`,
    values: [
      network,
      uuidArray(calls.map(() => makeId())),
      calls.map((call) => call.contract),
      calls.map((call) => call.function),
      calls.map((call) => call.item_number),
      uuidArray(calls.map((call) => call.content_id)),
    ],
  });
  return rowCount ?? 0;
}

/** A call that is to be made. */
export interface OpenCall {
  readonly callId: string;
  readonly contract: string;
  readonly function: 'update' | 'emit_update_event' | 'mint';
  readonly itemNumber: number;
  readonly dfid: string;
  readonly valueChain: string;
  readonly cid: string;
  /** Transactions for it so far, and what the last of them bid for its operation. */
  readonly attempts: number;
  readonly lastFeeStroops: number | null;
}

/** The oldest call of a network that is due; calls about one item are made one after the other. */
export async function findOpenCall(queryable: Queryable, network: string): Promise<OpenCall | undefined> {
  const { rows } = await queryable.query<
    Parameters<typeof dfidOfRow>[0] & {
      call_id: string;
      contract: string;
      function: OpenCall['function'];
      cid: string;
      attempts: number;
      last_fee_stroops: number | null;
    }
  >({
    name: 'find_open_call',
    text: `select calls.call_id, contract, function, calls.item_number, value_chain, country, year, cid, tried.attempts, tried.last_fee_stroops
           from contract_calls as calls
           join items using (item_number) join storage_contents using (content_id)
           cross join lateral (
             select count(*)::int4 as attempts, (array_agg(fee_stroops order by attempt desc))[1] as last_fee_stroops
             from log_anchor_attempts where anchor_id = calls.call_id
           ) as tried
           where calls.network = $1 and calls.state = 'open' and due_at <= now()
           order by calls.call_id limit 1`,
    values: [network],
  });
  const [row] = rows;
  return (
    row && {
      callId: row.call_id,
      contract: row.contract,
      function: row.function,
      itemNumber: row.item_number,
      dfid: dfidOfRow(row),
      valueChain: row.value_chain,
      cid: row.cid,
      attempts: row.attempts,
      lastFeeStroops: row.last_fee_stroops,
    }
  );
}

/** A contract that refused a call so often is not asked any more. */
const refusalsMax = 5;
const refusedMinutes = 10;

/** Notes that a contract refuses a call: it is tried again later, and given up in the end. */
export async function refuseCall(queryable: Queryable, callId: string, fault: string): Promise<void> {
  await queryable.query({
    name: 'refuse_contract_call',
    text: `update contract_calls
           set refusals = refusals + 1, fault = $2, due_at = now() + make_interval(mins => $4::int4),
               state = case when refusals + 1 >= $3::int4 then 'failed' else state end
           where call_id = $1 and state = 'open'`,
    values: [callId, fault, refusalsMax, refusedMinutes],
  });
}

/** The calls for contents, each with the transaction that made it, or is to. */
export async function findCallsOfContents(
  queryable: Queryable,
  contentIds: readonly string[],
): Promise<ReadonlyMap<string, readonly ContentTransaction[]>> {
  const { rows } = await queryable.query<ContentTransaction & { content_id: string }>({
    name: 'find_calls_of_contents',
    text: `select content_id, function, calls.state, contract, attempts.hash as transaction_hash, ledger
           from contract_calls as calls
           left join lateral (
             select hash from log_anchor_attempts where anchor_id = calls.call_id
             order by attempt = confirmed_attempt desc nulls last, attempt desc limit 1
           ) as attempts on true
           where content_id = any($1::uuid[]) order by call_id`,
    values: [uuidArray(contentIds)],
  });
  return Map.groupBy(rows, (row) => row.content_id);
}
