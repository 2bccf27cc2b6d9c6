import { insertNotices } from '#domains/events/index.ts';
import { int4Array, textArray, timestamptzArray, uuidArray } from '#platform/binary-arrays.ts';
import type { Queryable } from '#platform/database.ts';

/** A delivery that this process took, with all that is needed to send it. */
export interface ClaimedDelivery {
  delivery_id: string;
  endpoint_id: string;
  message_id: string;
  claim: number;
  /** This one included. */
  attempts: number;
  url: string;
  headers: Readonly<Record<string, string>>;
  auth_type: 'none' | 'bearer' | 'api_key' | 'basic' | 'custom_header';
  auth_sealed: Buffer | null;
  auth_key_id: string | null;
  secret_sealed: Buffer;
  secret_key_id: string;
  previous_secret_sealed: Buffer | null;
  previous_secret_key_id: string | null;
  max_retries: number;
  retry_delay_seconds: number | null;
  /** Of an ordered endpoint: the item whose deliveries come one after the other. */
  lane: number | null;
  follows_gap: boolean;
  /** Null when it was erased. */
  body: string | null;
}

export interface ClaimLimits {
  readonly endpoints: number;
  /** Of all endpoints together. */
  readonly deliveries: number;
  /** After which another process may send, when this one is gone. */
  readonly leaseMs: number;
  /** Failures in a row after which an endpoint is tried by one delivery at a time. */
  readonly breakerFailures: number;
}

/** The tables grow and shrink faster than their statistics: whatever these say, a transaction looks up each row by its key. */
async function lookUpByKeys(queryable: Queryable): Promise<void> {
  await queryable.query(
    `select set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true)`,
  );
}

/**
 * Takes deliveries that are due, of the endpoints that were served longest ago, each with as many as it has free slots: one
 * that hangs keeps no other waiting.
 * @param queryable in a transaction.
 * @returns also the endpoints that were looked at, for `refreshDue`.
 */
export async function claimDeliveries(
  queryable: Queryable,
  limits: ClaimLimits,
): Promise<{ deliveries: ClaimedDelivery[]; endpointIds: string[] }> {
  await lookUpByKeys(queryable);
  const { rows } = await queryable.query<ClaimedDelivery & { looked_at: string }>({
    name: 'claim_webhook_deliveries',
    text: `with due as materialized (
             select state.endpoint_id, case when failures >= $3::int4 then 1 else concurrency end as slots
             from webhook_endpoint_state as state join webhook_endpoints using (endpoint_id)
             where next_due_at <= now() and is_active and (open_until is null or open_until <= now())
             order by last_served_at nulls first, state.endpoint_id limit $1::int4 for update of state skip locked
           ), taken as materialized (
             select free.delivery_id from due cross join lateral (
               select delivery_id from webhook_deliveries as deliveries
               where deliveries.endpoint_id = due.endpoint_id and state = 'queued' and next_attempt_at <= now()
               order by next_attempt_at
               limit greatest(0, slots - (select count(*) from webhook_deliveries as claimed
                                          where claimed.endpoint_id = due.endpoint_id and claimed.claimed_until > now()))
               for update skip locked
             ) as free
             limit $4::int4
           ), served as (
             update webhook_endpoint_state as state set last_served_at = clock_timestamp()
             from due where state.endpoint_id = due.endpoint_id
           ), claimed as (
           update webhook_deliveries as deliveries
           set claim = claim + 1, attempts = attempts + 1, claimed_until = now() + make_interval(secs => $2::float8 / 1000),
               next_attempt_at = now() + make_interval(secs => $2::float8 / 1000)
           from taken, webhook_endpoints as endpoints, webhook_messages as messages
           where deliveries.delivery_id = taken.delivery_id and endpoints.endpoint_id = deliveries.endpoint_id and messages.message_id = deliveries.message_id
           returning deliveries.delivery_id, deliveries.endpoint_id, deliveries.message_id, claim, attempts, url, headers, auth_type, auth_sealed, auth_key_id,
                     secret_sealed, secret_key_id,
                     case when previous_secret_until > now() then previous_secret_sealed end as previous_secret_sealed, previous_secret_key_id,
                     max_retries, retry_delay_seconds, lane, follows_gap, case when payload = 'thin' then thin_body else body end as body
           )
           select due.endpoint_id as looked_at, claimed.* from due left join claimed on claimed.endpoint_id = due.endpoint_id`,
    values: [limits.endpoints, limits.leaseMs, limits.breakerFailures, limits.deliveries],
  });
  return {
    deliveries: rows.filter((row) => row.delivery_id !== null),
    endpointIds: [...new Set(rows.map((row) => row.looked_at))],
  };
}

/** Notes when the next delivery of each of these endpoints is due, claimed ones at the end of their lease. */
export async function refreshDue(queryable: Queryable, endpointIds: readonly string[]): Promise<void> {
  await queryable.query({
    name: 'refresh_webhook_due',
    text: `update webhook_endpoint_state as state set next_due_at = (
             select next_attempt_at from webhook_deliveries as deliveries
             where deliveries.endpoint_id = state.endpoint_id and state = 'queued' order by next_attempt_at limit 1)
           where endpoint_id = any($1::uuid[])`,
    values: [endpointIds],
  });
}

/** The endpoints that a claim would look at. */
export async function findDueEndpoints(queryable: Queryable, limit: number): Promise<string[]> {
  const { rows } = await queryable.query<{ endpoint_id: string }>({
    name: 'find_due_webhook_endpoints',
    text: `select state.endpoint_id from webhook_endpoint_state as state join webhook_endpoints using (endpoint_id)
           where next_due_at <= now() and is_active and (open_until is null or open_until <= now())
           order by last_served_at nulls first limit $1::int4`,
    values: [limit],
  });
  return rows.map((row) => row.endpoint_id);
}

/** What an attempt met. */
export interface AttemptResult {
  readonly startedAtMs: number;
  readonly tookMs: number;
  readonly requestHeaders: Readonly<Record<string, string>>;
  readonly status: number | null;
  readonly responseHeaders: Readonly<Record<string, string>> | null;
  readonly responseBody: string | null;
  /** In words that tell nothing of the inside; null for an answer of 2xx. */
  readonly error: string | null;
}

/** What becomes of a delivery and its endpoint by an attempt. */
export interface AttemptConclusion {
  readonly state: 'queued' | 'delivered' | 'failed';
  /** Until the next attempt; null for none. */
  readonly delaySeconds: number | null;
  /** Whether the endpoint is the one to blame: nothing was sent to it, or it answered that it cannot now. */
  readonly isUnhealthy: boolean;
  /** Why the endpoint is switched off with that; null when it is not. */
  readonly disabledReason: string | null;
}

export interface BreakerLimits {
  readonly breakerFailures: number;
  readonly firstOpenSeconds: number;
  readonly lastOpenSeconds: number;
  /** An endpoint that failed so often in a row, and for so long, is switched off. */
  readonly disableFailures: number;
  readonly disableHours: number;
}

/** Tells the other endpoints of a workspace that one was switched off. */
const webhookDisabled = insertNotices({
  type: 'webhook_disabled',
  source: 'disabled',
  data: `json_build_object('webhook_id', endpoint_id, 'name', name, 'url', url, 'reason', disabled_reason)`,
  thinData: `json_build_object('webhook_id', endpoint_id)`,
});

/** An attempt that came to its end. */
export interface FinishedAttempt {
  readonly delivery: Pick<ClaimedDelivery, 'delivery_id' | 'endpoint_id' | 'claim' | 'attempts'>;
  readonly result: AttemptResult;
  readonly conclusion: AttemptConclusion;
}

/**
 * Keeps attempts, and what becomes of their deliveries and endpoints.
 * @param queryable in a transaction.
 * @returns the ids of the deliveries that were still this process's; of others only the attempt is kept.
 */
export async function finishAttempts(
  queryable: Queryable,
  finished: readonly FinishedAttempt[],
  limits: BreakerLimits,
): Promise<ReadonlySet<string>> {
  await lookUpByKeys(queryable);
  const { rows } = await queryable.query<{ delivery_id: string }>({
    name: 'finish_webhook_attempts',
    text: `with results as materialized (
             select * from unnest($1::uuid[], $2::uuid[], $3::int4[], $4::int4[], $5::timestamptz[], $6::int4[], $7::text[], $8::int4[],
                                  $9::text[], $10::text[], $11::text[], $12::text[], $13::float8[], $14::bool[], $15::text[]) with ordinality
               as results (delivery_id, endpoint_id, claim, attempt, started_at, took_ms, request_headers, status,
                           response_headers, response_body, error, state, delay_seconds, is_unhealthy, disabled_reason, place)
           ), held as materialized (
             -- in one order for all, so that nobody waits for who waits for him
             select endpoint_id from webhook_endpoint_state where endpoint_id in (select endpoint_id from results) order by endpoint_id for update
           ), kept as (
             insert into webhook_attempts (delivery_id, attempt, started_at, took_ms, request_headers, status, response_headers, response_body, error)
             select delivery_id, attempt, started_at, took_ms, request_headers::json, status, response_headers::json, response_body, error from results
             on conflict do nothing
           ), finished as (
             update webhook_deliveries as deliveries
             set state = results.state, claimed_until = null, last_status = results.status, last_error = results.error,
                 next_attempt_at = now() + make_interval(secs => coalesce(delay_seconds, 0)),
                 delivered_at = case when results.state = 'delivered' then now() end
             from results
             where deliveries.delivery_id = results.delivery_id and deliveries.claim = results.claim and deliveries.state = 'queued'
             returning results.*
           ), totals as (
             select endpoint_id, max(place) filter (where not is_unhealthy) as last_good, max(disabled_reason) as disabled_reason,
                    bool_or(finished.state = 'delivered') as has_delivered, bool_or(finished.state <> 'delivered') as has_failed,
                    min(coalesce(delay_seconds, 0)) as delay_seconds
             from finished group by endpoint_id
           ), counted as (
             select totals.*, (select count(*) from finished
                               where finished.endpoint_id = totals.endpoint_id and is_unhealthy and place > coalesce(last_good, 0))::int4 as bad
             from totals
           ), noted as (
             update webhook_endpoint_state as state
             set failures = bad + case when last_good is null then failures else 0 end,
                 first_failure_at = case when bad > 0 then case when last_good is null then coalesce(first_failure_at, now()) else now() end end,
                 open_until = case when bad > 0 and bad + case when last_good is null then failures else 0 end >= $16::int4
                   then now() + make_interval(secs => least($17::float8 * 2 ^ least(bad + case when last_good is null then failures else 0 end - $16::int4, 20), $18::float8)) end,
                 last_success_at = case when has_delivered then now() else last_success_at end,
                 last_failure_at = case when has_failed then now() else last_failure_at end,
                 next_due_at = least(next_due_at, now() + make_interval(secs => delay_seconds))
             from counted join held using (endpoint_id) where state.endpoint_id = counted.endpoint_id
             returning state.endpoint_id, failures, first_failure_at, counted.disabled_reason
           ), disabled as (
             update webhook_endpoints as endpoints
             set is_active = false, updated_at = now(),
                 disabled_reason = coalesce(noted.disabled_reason, 'it failed ' || failures || ' times in a row since ' || to_char(first_failure_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI') || ' UTC')
             from noted
             where endpoints.endpoint_id = noted.endpoint_id and is_active
               and (noted.disabled_reason is not null or failures >= $19::int4 and first_failure_at <= now() - make_interval(hours => $20::int4))
             returning workspace_id, endpoints.endpoint_id, name, url, endpoints.disabled_reason
           ), told as (${webhookDisabled})
           select delivery_id from finished`,
    values: [
      uuidArray(finished.map(({ delivery }) => delivery.delivery_id)),
      uuidArray(finished.map(({ delivery }) => delivery.endpoint_id)),
      int4Array(finished.map(({ delivery }) => delivery.claim)),
      int4Array(finished.map(({ delivery }) => delivery.attempts)),
      timestamptzArray(finished.map(({ result }) => result.startedAtMs * 1000)),
      int4Array(finished.map(({ result }) => result.tookMs)),
      textArray(finished.map(({ result }) => JSON.stringify(result.requestHeaders))),
      int4Array(finished.map(({ result }) => result.status)),
      textArray(finished.map(({ result }) => result.responseHeaders && JSON.stringify(result.responseHeaders))),
      textArray(finished.map(({ result }) => result.responseBody)),
      textArray(finished.map(({ result }) => result.error)),
      textArray(finished.map(({ conclusion }) => conclusion.state)),
      finished.map(({ conclusion }) => conclusion.delaySeconds),
      finished.map(({ conclusion }) => conclusion.isUnhealthy),
      textArray(finished.map(({ conclusion }) => conclusion.disabledReason)),
      limits.breakerFailures,
      limits.firstOpenSeconds,
      limits.lastOpenSeconds,
      limits.disableFailures,
      limits.disableHours,
    ],
  });
  return new Set(rows.map((row) => row.delivery_id));
}

/**
 * Queues the next delivery of a lane, when nothing of it is under way. In the transaction that ended the one before, which
 * holds the endpoint.
 */
export async function unblockLane(
  queryable: Queryable,
  endpointId: string,
  lane: number,
  followsGap: boolean,
): Promise<void> {
  await queryable.query({
    name: 'unblock_webhook_lane',
    text: `with next as (
             update webhook_deliveries set state = 'queued', next_attempt_at = now(), follows_gap = follows_gap or $3
             where delivery_id = (
                 select delivery_id from webhook_deliveries
                 where endpoint_id = $1 and lane = $2 and state = 'blocked' order by position limit 1)
               and not exists (select from webhook_deliveries where endpoint_id = $1 and lane = $2 and state = 'queued')
             returning 1
           )
           update webhook_endpoint_state set next_due_at = least(next_due_at, now())
           where endpoint_id = $1 and exists (select from next)`,
    values: [endpointId, lane, followsGap],
  });
}
