import { int4Array, textArray, timestamptzArray, uuidArray } from '#platform/binary-arrays.ts';
import type { Queryable } from '#platform/database.ts';
import { lookUpByKeys, unblockLanes, type DueDelivery } from './queue.store.ts';
import { tellDeliveryFailed, tellWebhookDisabled, tellWebhookFailing } from './webhook-messages.ts';

/** What an attempt met. */
export interface AttemptResult {
  readonly startedAtMs: number;
  readonly tookMs: number;
  /** As JSON. */
  readonly requestHeaders: string;
  readonly status: number | null;
  /** As JSON. */
  readonly responseHeaders: string | null;
  readonly responseBody: string | null;
  /** In words that tell nothing of the inside; null for an answer of 2xx. */
  readonly error: string | null;
}

/**
 * What becomes of a delivery and its endpoint by an attempt. The endpoint failed when a request was made and not answered with
 * 2xx: what could not be sent says nothing of it. `disabledReason` switches it off.
 */
export type AttemptConclusion =
  | { readonly state: 'delivered' }
  | { readonly state: 'queued'; readonly delaySeconds: number; readonly hasEndpointFailed: boolean }
  | { readonly state: 'failed'; readonly hasEndpointFailed: boolean; readonly disabledReason: string | null };

export interface BreakerLimits {
  readonly breakerFailures: number;
  readonly firstOpenSeconds: number;
  readonly lastOpenSeconds: number;
  /** An endpoint that failed so often in a row, and for so long, is switched off. */
  readonly disableFailures: number;
  readonly disableHours: number;
  /** How far on the way there its workspace is told so. */
  readonly warnedPercents: readonly number[];
}

/** An attempt that came to its end. */
export interface FinishedAttempt {
  readonly delivery: Pick<DueDelivery, 'delivery_id' | 'endpoint_id' | 'attempts' | 'lane'>;
  readonly result: AttemptResult;
  readonly conclusion: AttemptConclusion;
}

/** What became of an attempt that was kept. */
export interface KeptAttempt {
  readonly deliveryId: string;
  /** Whether nothing is to be sent to its endpoint now, since it failed too often or is gone. */
  readonly isStopped: boolean;
}

/**
 * Keeps attempts, and what becomes of their deliveries and endpoints.
 * @param queryable in a transaction.
 * @returns those whose delivery was still this process's; another one came first with the others.
 */
export async function finishAttempts(
  queryable: Queryable,
  finished: readonly FinishedAttempt[],
  limits: BreakerLimits,
): Promise<KeptAttempt[]> {
  lookUpByKeys(queryable);
  const { rows } = await queryable.query<{ delivery_id: string; is_stopped: boolean }>({
    name: 'finish_webhook_attempts',
    text: `with results as materialized (
             select * from unnest($1::uuid[], $2::uuid[], $3::int4[], $4::timestamptz[], $5::int4[], $6::text[], $7::int4[],
                                  $8::text[], $9::text[], $10::text[], $11::text[], $12::float8[], $13::bool[], $14::text[], $15::bool[]) with ordinality
               as results (delivery_id, endpoint_id, attempt, started_at, took_ms, request_headers, status,
                           response_headers, response_body, error, state, delay_seconds, has_endpoint_failed, disabled_reason, has_lane, place)
           ), held as materialized (
             -- in one order for all and before what is queued, so that nobody waits for who waits for him; an endpoint of which nothing
             -- new is known is left alone
             select endpoint_id, failures, first_failure_at, warned_percent, pauses from webhook_endpoint_state as state
             where endpoint_id in (select endpoint_id from results)
               and (failures > 0 or last_success_at is null or last_success_at < now() - interval '1 second'
                    or exists (select from results where results.endpoint_id = state.endpoint_id and (state <> 'delivered' or has_lane)))
             order by endpoint_id for update
           ), ended as (
             delete from webhook_queue as queue using results
             where queue.delivery_id = results.delivery_id and queue.attempts = results.attempt - 1 and results.state <> 'queued'
               and (select count(*) from held) >= 0
             returning results.*
           ), put_off as (
             update webhook_queue as queue set attempts = results.attempt, next_attempt_at = now() + make_interval(secs => delay_seconds)
             from results
             where queue.delivery_id = results.delivery_id and queue.attempts = results.attempt - 1 and results.state = 'queued'
               and (select count(*) from held) >= 0
             returning results.*
           ), finished as materialized (
             select * from ended union all select * from put_off
           ), kept as (
             insert into webhook_attempts (delivery_id, attempt, started_at, took_ms, request_headers, status, response_headers, response_body, error)
             select delivery_id, attempt, started_at, took_ms, request_headers::json, status, response_headers::json, response_body, error
             from finished order by place
           ), shown as (
             update webhook_deliveries as deliveries
             set attempts = finished.attempt, last_status = finished.status, last_error = finished.error,
                 delivered_at = case when finished.state = 'delivered' then now() end,
                 failed_at = case when finished.state = 'failed' then now() end
             from finished where deliveries.delivery_id = finished.delivery_id
             returning deliveries.message_id, finished.*
           ), given_up as (
             select workspace_id, endpoint_id, delivery_id, message_id, message_type, attempt, error
             from shown join webhook_messages using (message_id)
             where state = 'failed' and message_type not like 'webhook\\_%'
           ), told_of_failure as (${tellDeliveryFailed('given_up')}
           ), totals as (
             select endpoint_id, max(place) filter (where state = 'delivered') as last_good, max(disabled_reason) as disabled_reason,
                    bool_or(state = 'delivered') as has_delivered, bool_or(state <> 'delivered') as has_failed,
                    min(delay_seconds) as delay_seconds
             from finished group by endpoint_id
           ), counted as (
             select totals.*, (select count(*) from finished
                               where finished.endpoint_id = totals.endpoint_id and has_endpoint_failed and place > coalesce(last_good, 0))::int4 as bad
             from totals
           ), outlook as (
             -- what could neither be sent nor failed at the endpoint leaves it as it is
             select counted.endpoint_id, disabled_reason, has_delivered, has_failed, delay_seconds, bad, bad = 0 and last_good is null as is_unchanged,
                    bad + case when last_good is null then failures else 0 end as failures,
                    case when last_good is null then coalesce(first_failure_at, case when bad > 0 then now() end)
                         when bad > 0 then now() end as first_failure_at,
                    case when last_good is null then warned_percent else 0 end as warned_before,
                    case when last_good is null then pauses else 0 end as pauses_before
             from counted join held using (endpoint_id)
           ), stepped as (
             select outlook.*, (
               select coalesce(max(step), 0) from unnest($21::int4[]) as step
               where step <= 100 * least(failures / $19::float8, extract(epoch from now() - first_failure_at) / 3600 / $20::float8)) as warned_percent
             from outlook
           ), noted as (
             update webhook_endpoint_state as state
             set failures = stepped.failures, first_failure_at = stepped.first_failure_at,
                 -- those that were under way when it was put off say nothing new
                 open_until = case when is_unchanged or is_open and bad > 0 and open_until > now() then open_until
                   when is_open and bad > 0 then now() + make_interval(secs => least($17::float8 * 2 ^ least(pauses_before, 20), $18::float8)) end,
                 pauses = case when is_unchanged or is_open and bad > 0 and open_until > now() then pauses
                   when is_open and bad > 0 then pauses_before + 1 else 0 end,
                 last_success_at = case when has_delivered then now() else last_success_at end,
                 last_failure_at = case when has_failed then now() else last_failure_at end,
                 next_due_at = least(next_due_at, now() + make_interval(secs => delay_seconds)),
                 warned_percent = greatest(warned_before, stepped.warned_percent)
             from (select *, failures >= $16::int4 as is_open from stepped) as stepped where state.endpoint_id = stepped.endpoint_id
             returning state.endpoint_id, state.failures, state.first_failure_at, open_until, disabled_reason, state.warned_percent, warned_before
           ), disabled as (
             update webhook_endpoints as endpoints
             set is_active = false, switched_at = now(), updated_at = now(),
                 disabled_reason = coalesce(noted.disabled_reason, 'it failed ' || failures || ' times in a row since ' || to_char(first_failure_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI') || ' UTC')
             from noted
             where endpoints.endpoint_id = noted.endpoint_id and is_active
               and (noted.disabled_reason is not null or failures >= $19 and first_failure_at <= now() - make_interval(secs => $20 * 3600))
             returning workspace_id, endpoints.endpoint_id, name, url, endpoints.disabled_reason
           ), told as (${tellWebhookDisabled('disabled')}
           ), warned as (
             select workspace_id, endpoint_id, name, url, noted.warned_percent, failures, first_failure_at
             from noted join webhook_endpoints using (endpoint_id)
             where noted.warned_percent > warned_before and is_active and not exists (select from disabled where disabled.endpoint_id = noted.endpoint_id)
           ), told_before as (${tellWebhookFailing('warned')})
           select delivery_id, exists (select from noted where noted.endpoint_id = finished.endpoint_id and open_until > now())
                               or exists (select from disabled where disabled.endpoint_id = finished.endpoint_id) as is_stopped
           from finished`,
    values: [
      uuidArray(finished.map(({ delivery }) => delivery.delivery_id)),
      uuidArray(finished.map(({ delivery }) => delivery.endpoint_id)),
      int4Array(finished.map(({ delivery }) => delivery.attempts + 1)),
      timestamptzArray(finished.map(({ result }) => Math.round(result.startedAtMs * 1000))),
      int4Array(finished.map(({ result }) => result.tookMs)),
      textArray(finished.map(({ result }) => result.requestHeaders)),
      int4Array(finished.map(({ result }) => result.status)),
      textArray(finished.map(({ result }) => result.responseHeaders)),
      textArray(finished.map(({ result }) => result.responseBody)),
      textArray(finished.map(({ result }) => result.error)),
      textArray(finished.map(({ conclusion }) => conclusion.state)),
      finished.map(({ conclusion }) => (conclusion.state === 'queued' ? conclusion.delaySeconds : null)),
      finished.map(({ conclusion }) => conclusion.state !== 'delivered' && conclusion.hasEndpointFailed),
      textArray(finished.map(({ conclusion }) => (conclusion.state === 'failed' ? conclusion.disabledReason : null))),
      finished.map(({ delivery }) => delivery.lane !== null),
      limits.breakerFailures,
      limits.firstOpenSeconds,
      limits.lastOpenSeconds,
      limits.disableFailures,
      limits.disableHours,
      limits.warnedPercents,
    ],
  });
  const kept = new Set(rows.map((row) => row.delivery_id));
  const lanes = finished.flatMap(({ delivery, conclusion: { state } }) =>
    delivery.lane !== null && state !== 'queued' && kept.has(delivery.delivery_id)
      ? [{ endpointId: delivery.endpoint_id, lane: delivery.lane, leavesGap: state === 'failed' }]
      : [],
  );
  if (lanes.length > 0) await unblockLanes(queryable, lanes);
  return rows.map((row) => ({ deliveryId: row.delivery_id, isStopped: row.is_stopped }));
}
