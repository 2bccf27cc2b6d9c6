import { uuidArray } from '#platform/binary-arrays.ts';
import type { Queryable } from '#platform/database.ts';
import { enqueueDeliveries, isWanted, queuedAs } from './queue.store.ts';

/** A delivery as it is shown, with its last attempt. */
export interface ShownDeliveryRow {
  delivery_id: string;
  endpoint_id: string;
  message_id: string;
  message_type: string;
  state: 'queued' | 'delivered' | 'failed';
  attempts: number;
  /** Null for none, and for one that waits for another one of its item. */
  next_attempt_at: Date | null;
  last_status: number | null;
  last_error: string | null;
  created_at: Date;
  delivered_at: Date | null;
  /** Its first 16 KiB. */
  body: string | null;
  is_cut: boolean;
  request_headers: unknown;
  response_headers: unknown;
  response_body: string | null;
}

const conditionOfState = {
  queued: 'delivered_at is null and failed_at is null',
  delivered: 'delivered_at is not null',
  failed: 'failed_at is not null',
} as const;

/** Deliveries of an endpoint, the newest first. */
export async function listDeliveries(
  queryable: Queryable,
  endpointId: string,
  page: {
    before: string | undefined;
    deliveryId: string | undefined;
    state: keyof typeof conditionOfState | undefined;
    limit: number;
  },
): Promise<ShownDeliveryRow[]> {
  const { rows } = await queryable.query<ShownDeliveryRow>({
    name: `list_webhook_deliveries_${page.state ?? 'all'}`,
    text: `select deliveries.delivery_id, deliveries.endpoint_id, deliveries.message_id, message_type,
                  case when delivered_at is not null then 'delivered' when failed_at is not null then 'failed' else 'queued' end as state,
                  deliveries.attempts, case when not is_blocked then greatest(next_attempt_at, deliveries.created_at, open_until) end as next_attempt_at, last_status, last_error,
                  deliveries.created_at, delivered_at, left(case when deliveries.is_thin then thin_body else body end, 16384) as body,
                  coalesce(length(case when deliveries.is_thin then thin_body else body end) > 16384, false) as is_cut,
                  request_headers, response_headers, response_body
           from webhook_deliveries as deliveries
           join webhook_endpoints using (endpoint_id) join webhook_endpoint_state using (endpoint_id) join webhook_messages using (message_id)
           left join webhook_queue as queue on queue.delivery_id = deliveries.delivery_id
           left join webhook_attempts on webhook_attempts.delivery_id = deliveries.delivery_id and webhook_attempts.attempt = deliveries.attempts
           where deliveries.endpoint_id = $1 and ($2::uuid is null or deliveries.delivery_id = $2)
             and ${page.state ? conditionOfState[page.state] : 'true'}
             and ($3::uuid is null or (deliveries.created_at, deliveries.delivery_id) < (
               select created_at, delivery_id from webhook_deliveries where delivery_id = $3))
           order by deliveries.created_at desc, deliveries.delivery_id desc limit $4::int4`,
    values: [endpointId, page.deliveryId ?? null, page.before ?? null, page.limit],
  });
  return rows;
}

export interface AttemptRow {
  attempt: number;
  started_at: Date;
  took_ms: number;
  request_headers: unknown;
  status: number | null;
  response_headers: unknown;
  response_body: string | null;
  error: string | null;
}

/** All attempts of a delivery, the first one first. */
export async function listAttempts(queryable: Queryable, deliveryId: string): Promise<AttemptRow[]> {
  const { rows } = await queryable.query<AttemptRow>({
    name: 'list_webhook_attempts',
    text: `select attempt, started_at, took_ms, request_headers, status, response_headers, response_body, error
           from webhook_attempts where delivery_id = $1 order by attempt`,
    values: [deliveryId],
  });
  return rows;
}

/**
 * What ends each statement below: deliveries are due at once, whatever the endpoint did before. One that a person asked for comes
 * before all that waits, so that it is the one by which an endpoint is tried.
 */
const queueNow = (source: string, isFirst: boolean) => `to_queue as (${queuedAs(source)}
           ), queued as (${enqueueDeliveries('to_queue', isFirst)}
           ), due as (
             update webhook_endpoint_state set next_due_at = least(next_due_at, now()), open_until = null
             where endpoint_id = $1 and exists (select from to_queue)
           )`;

/**
 * Queues deliveries of an endpoint that failed for good, the newest first, or one of them whatever became of it, with all
 * their tries before them again. In a transaction that holds the endpoint.
 * @returns how many.
 */
export async function requeueDeliveries(
  queryable: Queryable,
  endpointId: string,
  which: { readonly deliveryId: string } | { readonly failedLimit: number },
): Promise<number> {
  const isOne = 'deliveryId' in which;
  const { rows } = await queryable.query<{ requeued: number }>({
    name: isOne ? 'requeue_webhook_delivery' : 'requeue_failed_webhook_deliveries',
    text: `with chosen as (
             select delivery_id from webhook_deliveries
             where endpoint_id = $1 and ${isOne ? 'delivery_id = $2' : `failed_at is not null order by created_at desc limit $2::int4`}
           ), again as (
             update webhook_deliveries as deliveries set delivered_at = null, failed_at = null
             from chosen where deliveries.delivery_id = chosen.delivery_id
             returning deliveries.delivery_id, deliveries.endpoint_id, deliveries.message_id, deliveries.is_thin, deliveries.attempts
           ), ${queueNow('again', isOne)}
           select count(*) as requeued from again`,
    values: [endpointId, isOne ? which.deliveryId : which.failedLimit],
  });
  return rows[0]!.requeued;
}

/**
 * Makes the delivery of a message to an endpoint and queues it, or queues the one that is there again. In a transaction that
 * holds the endpoint.
 * @returns the id of the delivery.
 */
export async function replayMessage(queryable: Queryable, endpointId: string, messageId: string): Promise<string> {
  const { rows } = await queryable.query<{ delivery_id: string }>({
    name: 'replay_webhook_message',
    text: `with made as (
             insert into webhook_deliveries as deliveries (endpoint_id, message_id, is_thin)
             select endpoint_id, $2::uuid, payload = 'thin' from webhook_endpoints where endpoint_id = $1
             on conflict (message_id, endpoint_id) do update set delivered_at = null, failed_at = null
             returning delivery_id, endpoint_id, message_id, is_thin, attempts
           ), ${queueNow('made', true)}
           select delivery_id from made`,
    values: [endpointId, messageId],
  });
  return rows[0]!.delivery_id;
}

/** Messages of a time that an endpoint wants and was not told of, since it was switched off or came later; the oldest first. */
export async function findUntoldMessages(
  queryable: Queryable,
  endpointId: string,
  { since, until, limit }: { since: Date; until: Date; limit: number },
): Promise<string[]> {
  const { rows } = await queryable.query<{ message_id: string }>({
    name: 'find_untold_webhook_messages',
    text: `select message_id from webhook_endpoints as endpoints
           join webhook_messages as messages on messages.workspace_id = endpoints.workspace_id
           where endpoint_id = $1 and messages.created_at >= $2 and messages.created_at <= $3 and messages.fanned_until is null
             and ${isWanted('messages')}
             and not exists (select from webhook_deliveries as told where told.message_id = messages.message_id and told.endpoint_id = $1)
           order by messages.position limit $4::int4`,
    values: [endpointId, since, until, limit],
  });
  return rows.map((row) => row.message_id);
}

/**
 * Queues again what of a time failed for good, `limit` at most and the oldest first, and makes the deliveries of messages that
 * were not told. In a transaction that holds the endpoint.
 */
export async function recoverDeliveries(
  queryable: Queryable,
  endpointId: string,
  { since, until, limit, untold }: { since: Date; until: Date; limit: number; untold: readonly string[] },
): Promise<{ requeued: number; made: number }> {
  const { rows } = await queryable.query<{ requeued: number; made: number }>({
    name: 'recover_webhook_deliveries',
    text: `with failed as (
             select delivery_id from webhook_deliveries
             where endpoint_id = $1 and failed_at is not null and created_at >= $2 and created_at <= $3
             order by created_at limit $4::int4
           ), again as (
             update webhook_deliveries as deliveries set failed_at = null
             from failed where deliveries.delivery_id = failed.delivery_id
             returning deliveries.delivery_id, deliveries.endpoint_id, deliveries.message_id, deliveries.is_thin, deliveries.attempts
           ), made as (
             insert into webhook_deliveries (endpoint_id, message_id, is_thin)
             select endpoint_id, message_id, payload = 'thin'
             from unnest($5::uuid[]) with ordinality as untold (message_id, place) join webhook_messages using (message_id)
             join webhook_endpoints on endpoint_id = $1 order by place
             on conflict do nothing returning delivery_id, endpoint_id, message_id, is_thin, attempts
           ), both_of_them as (
             select * from again union all select * from made
           ), ${queueNow('both_of_them', false)}
           select (select count(*) from again) as requeued, (select count(*) from made) as made`,
    values: [endpointId, since, until, limit, uuidArray(untold)],
  });
  return rows[0]!;
}

export interface EndpointStatistics {
  total: number;
  delivered: number;
  failed: number;
  queued: number;
  average_ms: number | null;
  last_success_at: Date | null;
  last_failure_at: Date | null;
  failures: number;
  open_until: Date | null;
}

/** What became of the deliveries of an endpoint so far. */
export async function countDeliveries(queryable: Queryable, endpointId: string): Promise<EndpointStatistics> {
  const { rows } = await queryable.query<EndpointStatistics>({
    name: 'count_webhook_deliveries',
    text: `select count(*) as total, count(delivered_at) as delivered, count(failed_at) as failed,
                  count(*) filter (where delivered_at is null and failed_at is null) as queued,
                  (select round(avg(took_ms))::int4 from (
                     select delivery_id from webhook_deliveries where endpoint_id = $1 order by created_at desc limit 1000) as last
                   join webhook_attempts using (delivery_id)) as average_ms,
                  (select last_success_at from webhook_endpoint_state where endpoint_id = $1),
                  (select last_failure_at from webhook_endpoint_state where endpoint_id = $1),
                  (select failures from webhook_endpoint_state where endpoint_id = $1),
                  (select open_until from webhook_endpoint_state where endpoint_id = $1)
           from webhook_deliveries as deliveries where endpoint_id = $1`,
    values: [endpointId],
  });
  return rows[0]!;
}

/**
 * Forgets messages that are older than so many days and that no webhook which is switched on is still to be told of. In a
 * transaction of its own.
 */
export async function forgetMessages(queryable: Queryable, days: number, limit: number): Promise<number> {
  const isForgotten = `created_at < now() - make_interval(days => $1::int4) and fanned_until is null and not exists (
               select from webhook_deliveries as waiting join webhook_endpoints using (endpoint_id)
               where waiting.message_id = messages.message_id and delivered_at is null and failed_at is null and is_active)`;
  const { rows: old } = await queryable.query<{ message_id: string }>({
    name: 'find_old_webhook_messages',
    text: `select message_id from webhook_messages as messages where ${isForgotten} order by created_at limit $2::int4`,
    values: [days, limit],
  });
  const messageIds = uuidArray(old.map((row) => row.message_id));
  // Nobody queues one of their deliveries meanwhile, or something behind it.
  await queryable.query({
    name: 'hold_webhook_endpoints_of_messages',
    text: `select from webhook_endpoint_state
           where endpoint_id in (select endpoint_id from webhook_deliveries where message_id = any($1::uuid[]))
           order by endpoint_id for update`,
    values: [messageIds],
  });
  const { rows } = await queryable.query<{ forgotten: number }>({
    name: 'forget_webhook_messages',
    text: `with old as materialized (
             select message_id from webhook_messages as messages where message_id = any($2::uuid[]) and ${isForgotten}
           ), sent as (
             delete from webhook_deliveries using old where webhook_deliveries.message_id = old.message_id returning delivery_id
           ), queued as (
             delete from webhook_queue using sent where webhook_queue.delivery_id = sent.delivery_id
             returning webhook_queue.endpoint_id, lane, is_blocked
           ), freed as (
             -- the first of an item that stays is let through when the one before it is forgotten
             update webhook_queue set is_blocked = false, follows_gap = true
             where delivery_id in (
               select distinct on (waiting.endpoint_id, waiting.lane) waiting.delivery_id
               from queued join webhook_queue as waiting on waiting.endpoint_id = queued.endpoint_id and waiting.lane = queued.lane
               where not queued.is_blocked and waiting.is_blocked and waiting.message_id not in (select message_id from old)
               order by waiting.endpoint_id, waiting.lane, waiting.position)
           ), tried as (
             delete from webhook_attempts using sent where webhook_attempts.delivery_id = sent.delivery_id
           ), forgotten as (
             delete from webhook_messages using old where webhook_messages.message_id = old.message_id returning 1
           )
           select count(*) as forgotten from forgotten`,
    values: [days, messageIds],
  });
  return rows[0]!.forgotten;
}
