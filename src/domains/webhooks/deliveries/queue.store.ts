import { int4Array, int8Array, uuidArray } from '#platform/binary-arrays.ts';
import type { Queryable } from '#platform/database.ts';
import type { EndpointAuth } from '../sending/endpoint-auth.ts';

/**
 * The tables grow and shrink faster than their statistics: whatever these say, a transaction looks up each row by its key. And a
 * process that freezes in the middle holds up others for a few seconds only. Sent together with the next statement, which fails
 * with it.
 */
export function lookUpByKeys(queryable: Queryable): void {
  queryable
    .query(
      `select set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true),
              set_config('idle_in_transaction_session_timeout', '5000', true)`,
    )
    .catch(() => {});
}

/**
 * The statement that queues deliveries, for the statement that makes or finds them: on an ordered endpoint one of each item is
 * let through, and the others wait behind it. Those that are queued already are due now, with all their tries before them.
 * Whoever runs it holds their endpoints.
 * @param source with `delivery_id, endpoint_id, message_id, is_thin, lane, position, attempts`.
 * @param isFirst whether they come before all that waits.
 */
export function enqueueDeliveries(source: string, isFirst = false): string {
  return `insert into webhook_queue (delivery_id, endpoint_id, message_id, is_thin, lane, position, is_blocked, attempts, attempts_before, next_attempt_at)
    select delivery_id, endpoint_id, message_id, is_thin, lane, position,
           lane is not null and (
             row_number() over (partition by endpoint_id, lane order by position) > 1
             or exists (select from webhook_queue as before where before.endpoint_id = found.endpoint_id and before.lane = found.lane
                          and before.delivery_id <> found.delivery_id)),
           attempts, attempts, ${isFirst ? `'epoch'` : 'now()'}
    from ${source} as found
    on conflict (delivery_id) do update set next_attempt_at = least(webhook_queue.next_attempt_at, excluded.next_attempt_at), attempts_before = excluded.attempts`;
}

/** Deliveries as `enqueueDeliveries` takes them. @param source with `delivery_id, endpoint_id, message_id, is_thin, attempts`. */
export function queuedAs(source: string): string {
  return `select delivery_id, endpoint_id, message_id, is_thin, case when is_ordered then item_number end as lane, position, attempts
    from ${source} as made join webhook_endpoints using (endpoint_id) join webhook_messages using (message_id)`;
}

/**
 * The condition that an endpoint, of which a statement reads a row, wants messages of a type. What tells of webhooks themselves
 * comes only where it is named.
 * @param message the name of its row.
 */
export function wantsType(message: string): string {
  return `(event_types = '{}' and ${message}.message_type not like 'webhook\\_%' or ${message}.message_type = any(event_types))`;
}

/** The condition that an endpoint wants a message. */
export function isWanted(message: string): string {
  return `${wantsType(message)} and (filter_path is null or webhook_message_matches(${message}.body, filter_path))`;
}

/** How an endpoint is sent to, as it was when it was leased. */
export interface LeasedEndpoint {
  endpoint_id: string;
  workspace_id: string;
  url: string;
  /** With [redacted] for those that carry credentials. */
  headers: Readonly<Record<string, string>>;
  header_credentials_sealed: Buffer | null;
  header_credentials_key_id: string | null;
  auth_type: EndpointAuth['type'];
  auth_sealed: Buffer | null;
  auth_key_id: string | null;
  secret_sealed: Buffer;
  secret_key_id: string;
  private_key_sealed: Buffer | null;
  private_key_id: string | null;
  /** Of before, while they sign beside those that took their place. */
  previous_secret_sealed: Buffer | null;
  previous_secret_key_id: string | null;
  previous_private_key_sealed: Buffer | null;
  previous_private_key_id: string | null;
  max_retries: number;
  retry_delay_seconds: number | null;
  /** Requests at a time: one for an endpoint that failed too often. */
  slots: number;
  /** In a row. */
  failures: number;
  requests_per_minute: number | null;
  /** Milliseconds until the rate lets another request start. */
  next_start_in_ms: number;
  /** False when it was switched off or put off meanwhile. */
  may_send: boolean;
  /** The time of the database, by which all processes sign. */
  now_ms: number;
}

export interface LeaseOptions {
  /** The process that leases. */
  readonly holder: string;
  readonly leaseMs: number;
  /** Endpoints that it has already, of which it wants more; and those of them whose time begins again, which it holds. */
  readonly kept: readonly string[];
  readonly renewed: readonly string[];
  /** So many others at most. */
  readonly freshMax: number;
  /** Failures in a row after which an endpoint is tried by one delivery at a time. */
  readonly breakerFailures: number;
}

/** The columns of `webhook_endpoints` that `SigningEndpoint` has. */
export const signingColumns = `headers, header_credentials_sealed, header_credentials_key_id, auth_type, auth_sealed, auth_key_id, secret_sealed, secret_key_id, private_key_sealed, private_key_id,
                  case when previous_secret_until > now() then previous_secret_sealed end as previous_secret_sealed, previous_secret_key_id,
                  case when previous_secret_until > now() then previous_private_key_sealed end as previous_private_key_sealed, previous_private_key_id`;

const isDue = `next_due_at <= now() and (open_until is null or open_until <= now()) and (leased_until is null or leased_until <= now())`;

/** Workspaces that have something queued, a step for each of them and not for each endpoint. */
const queuedWorkspaces = `queued_workspaces as (
    (select workspace_id from webhook_endpoint_state where next_due_at is not null order by workspace_id limit 1)
    union all
    select (select state.workspace_id from webhook_endpoint_state as state
            where next_due_at is not null and state.workspace_id > queued_workspaces.workspace_id order by state.workspace_id limit 1)
    from queued_workspaces where workspace_id is not null
  )`;

/**
 * Gives endpoints that have something due to one process for a while, in turns of workspaces and of the endpoints of each,
 * those first that were served longest ago; and tells of those that it has. Waits for nobody.
 * @param queryable in a transaction.
 */
export async function leaseEndpoints(
  queryable: Queryable,
  { holder, leaseMs, kept, renewed, freshMax, breakerFailures }: LeaseOptions,
): Promise<LeasedEndpoint[]> {
  const { rows } = await queryable.query<LeasedEndpoint>({
    name: 'lease_webhook_endpoints',
    text: `with recursive ${queuedWorkspaces}, due as materialized (
             select endpoint_id, last_served_at, row_number() over (partition by queued_workspaces.workspace_id order by last_served_at nulls first) as turn
             from queued_workspaces cross join lateral (
               select endpoint_id, last_served_at from webhook_endpoint_state as state join webhook_endpoints using (endpoint_id)
               where state.workspace_id = queued_workspaces.workspace_id and ${isDue} and is_active
               order by last_served_at nulls first limit $5::int4
             ) as endpoints
           ), fresh as materialized (
             select state.endpoint_id from due join webhook_endpoint_state as state using (endpoint_id)
             where ${isDue}
             order by turn, due.last_served_at nulls first limit $5::int4 for update of state skip locked
           ), leased as (
             update webhook_endpoint_state as state
             set leased_until = now() + make_interval(secs => $2::float8 / 1000), lease_holder = $1, last_served_at = clock_timestamp()
             from fresh where state.endpoint_id = fresh.endpoint_id
             returning state.endpoint_id, failures, next_start_at, open_until
           ), renewed as (
             update webhook_endpoint_state as state set leased_until = now() + make_interval(secs => $2::float8 / 1000)
             where endpoint_id = any($3::uuid[]) and lease_holder = $1
           ), kept as (
             select endpoint_id, failures, next_start_at, open_until from webhook_endpoint_state
             where endpoint_id = any($6::uuid[]) and lease_holder = $1
           )
           select endpoints.endpoint_id, workspace_id, url, ${signingColumns},
                  max_retries, retry_delay_seconds, case when failures >= $4::int4 then 1 else concurrency end as slots, failures, requests_per_minute,
                  greatest(0, extract(epoch from next_start_at - now()) * 1000)::float8 as next_start_in_ms,
                  is_active and (open_until is null or open_until <= now()) as may_send,
                  (extract(epoch from clock_timestamp()) * 1000)::float8 as now_ms
           from (select * from leased union all select * from kept) as own
           join webhook_endpoints as endpoints using (endpoint_id)`,
    values: [holder, leaseMs, uuidArray(renewed), breakerFailures, freshMax, uuidArray(kept)],
  });
  return rows;
}

/** A delivery that is to be sent. */
export interface DueDelivery {
  delivery_id: string;
  endpoint_id: string;
  message_id: string;
  /** That were made, and those of them that were made before it was queued. */
  attempts: number;
  attempts_before: number;
  lane: number | null;
  follows_gap: boolean;
  /** Null when it was erased. */
  body: string | null;
  body_bytes: number;
}

/**
 * Deliveries that are due of leased endpoints, the oldest of each first. A body that several of them send comes from the database
 * once, and is one text in memory.
 * @param wanted how many of each endpoint at most.
 * @param bytesEach no more of an endpoint once their bodies are longer than this.
 */
export async function findDueDeliveries(
  queryable: Queryable,
  wanted: readonly { readonly endpointId: string; readonly limit: number }[],
  bytesEach: number,
): Promise<DueDelivery[]> {
  const { rows } = await queryable.query<DueDelivery & { is_thin: boolean; is_first: boolean }>({
    name: 'find_due_webhook_deliveries',
    text: `with due as materialized (
             select due.*, row_number() over (partition by message_id, is_thin) = 1 as is_first
             from unnest($1::uuid[], $2::int4[]) as wanted (endpoint_id, at_most)
             cross join lateral (
               select queue.*, sum(body_bytes) over (rows unbounded preceding) - body_bytes as bytes_before
               from (
                 select queue.*, coalesce(octet_length(case when is_thin then thin_body else body end), 0) as body_bytes
                 from (
                   select delivery_id, queue.endpoint_id, message_id, is_thin, attempts, attempts_before, lane, follows_gap, next_attempt_at, position
                   from webhook_queue as queue
                   where queue.endpoint_id = wanted.endpoint_id and not is_blocked and next_attempt_at <= now()
                   order by next_attempt_at, position limit wanted.at_most
                 ) as queue
                 join webhook_messages using (message_id)
               ) as queue
             ) as due
             where bytes_before <= $3::int8
           )
           select delivery_id, endpoint_id, message_id, is_thin, attempts, attempts_before, lane, follows_gap, is_first, body_bytes, body
           from due left join lateral (
             select case when is_thin then thin_body else messages.body end as body
             from webhook_messages as messages where messages.message_id = due.message_id and is_first
           ) as message on true
           order by endpoint_id, next_attempt_at, position`,
    values: [
      uuidArray(wanted.map(({ endpointId }) => endpointId)),
      int4Array(wanted.map(({ limit }) => limit)),
      bytesEach,
    ],
  });
  const keyOf = ({ message_id: id, is_thin: isThin }: { message_id: string; is_thin: boolean }) => `${id} ${isThin}`;
  const bodies = new Map(rows.filter((row) => row.is_first).map((row) => [keyOf(row), row.body]));
  for (const row of rows) row.body = bodies.get(keyOf(row)) ?? null;
  return rows;
}

/** Keeps when the rates of endpoints let the next request start, in milliseconds from now. */
export async function reserveStarts(
  queryable: Queryable,
  reserved: readonly { readonly endpointId: string; readonly nextStartInMs: number }[],
): Promise<void> {
  await queryable.query({
    name: 'reserve_webhook_starts',
    text: `update webhook_endpoint_state as state set next_start_at = now() + make_interval(secs => in_ms / 1000)
           from unnest($1::uuid[], $2::float8[]) as reserved (endpoint_id, in_ms) where state.endpoint_id = reserved.endpoint_id`,
    values: [
      uuidArray(reserved.map(({ endpointId }) => endpointId)),
      reserved.map(({ nextStartInMs }) => nextStartInMs),
    ],
  });
}

/** Holds endpoints for this transaction, in the one order in which all hold more than one. */
export async function holdEndpoints(queryable: Queryable, endpointIds: readonly string[]): Promise<void> {
  await queryable.query({
    name: 'hold_webhook_endpoints',
    text: 'select from webhook_endpoint_state where endpoint_id = any($1::uuid[]) order by endpoint_id for update',
    values: [uuidArray(endpointIds)],
  });
}

/** Holds those of endpoints that nobody else holds. */
export async function holdFreeEndpoints(queryable: Queryable, endpointIds: readonly string[]): Promise<string[]> {
  const { rows } = await queryable.query<{ endpoint_id: string }>({
    name: 'hold_free_webhook_endpoints',
    text: 'select endpoint_id from webhook_endpoint_state where endpoint_id = any($1::uuid[]) order by endpoint_id for update skip locked',
    values: [uuidArray(endpointIds)],
  });
  return rows.map((row) => row.endpoint_id);
}

/** Those of endpoints that a process has; those that were deleted are not. */
export async function findLeased(
  queryable: Queryable,
  holder: string,
  endpointIds: readonly string[],
): Promise<string[]> {
  const { rows } = await queryable.query<{ endpoint_id: string }>({
    name: 'find_leased_webhook_endpoints',
    text: 'select endpoint_id from webhook_endpoint_state where endpoint_id = any($1::uuid[]) and lease_holder = $2',
    values: [uuidArray(endpointIds), holder],
  });
  return rows.map((row) => row.endpoint_id);
}

/**
 * Gives endpoints back, and notes when the next delivery of each is due. In a transaction that holds them, so that no
 * delivery that is made meanwhile is overlooked.
 */
export async function releaseEndpoints(
  queryable: Queryable,
  holder: string,
  endpointIds: readonly string[],
): Promise<void> {
  await queryable.query({
    name: 'release_webhook_endpoints',
    text: `update webhook_endpoint_state as state
           set leased_until = null, lease_holder = null,
               next_due_at = (
                 select greatest(next_attempt_at, state.next_start_at) from webhook_queue as queue
                 where queue.endpoint_id = state.endpoint_id and not is_blocked order by next_attempt_at limit 1)
           where endpoint_id = any($1::uuid[]) and lease_holder = $2`,
    values: [uuidArray(endpointIds), holder],
  });
}

/** Whether a process that leases would find an endpoint. */
export async function hasDueEndpoints(queryable: Queryable): Promise<boolean> {
  const { rows } = await queryable.query<{ is_due: boolean }>({
    name: 'has_due_webhook_endpoints',
    text: `with recursive ${queuedWorkspaces}
           select exists (
             select from queued_workspaces cross join lateral (
               select from webhook_endpoint_state as state join webhook_endpoints using (endpoint_id)
               where state.workspace_id = queued_workspaces.workspace_id and ${isDue} and is_active limit 1
             ) as endpoints) as is_due`,
  });
  return rows[0]!.is_due;
}

/** An item whose delivery to an ordered endpoint came to its end. */
export interface EndedLane {
  readonly endpointId: string;
  readonly lane: number;
  /** Whether it was given up, which the next one says then. */
  readonly leavesGap: boolean;
}

/**
 * Lets the next delivery of items through, where nothing of theirs is under way. In the transaction that ended the ones
 * before, which holds the endpoints.
 */
export async function unblockLanes(queryable: Queryable, ended: readonly EndedLane[]): Promise<void> {
  await queryable.query({
    name: 'unblock_webhook_lanes',
    text: `with ended as (
             select endpoint_id, lane, bool_or(leaves_gap) as leaves_gap
             from unnest($1::uuid[], $2::int8[], $3::bool[]) as ended (endpoint_id, lane, leaves_gap) group by endpoint_id, lane
           ), next as (
             update webhook_queue as queue set is_blocked = false, next_attempt_at = now(), follows_gap = follows_gap or leaves_gap
             from ended cross join lateral (
               select delivery_id from webhook_queue as waiting
               where waiting.endpoint_id = ended.endpoint_id and waiting.lane = ended.lane and is_blocked order by position limit 1
             ) as first
             where queue.delivery_id = first.delivery_id and not exists (
               select from webhook_queue as other where other.endpoint_id = ended.endpoint_id and other.lane = ended.lane and not other.is_blocked)
             returning queue.endpoint_id
           )
           update webhook_endpoint_state set next_due_at = least(next_due_at, now()) where endpoint_id in (select endpoint_id from next)`,
    values: [
      uuidArray(ended.map(({ endpointId }) => endpointId)),
      int8Array(ended.map(({ lane }) => lane)),
      ended.map(({ leavesGap }) => leavesGap),
    ],
  });
}
