import { uuidArray } from '#platform/binary-arrays.ts';
import type { Queryable } from '#platform/database.ts';
import type { ValueChain } from '#domains/items/index.ts';
import { enqueueDeliveries, queuedAs, wantsType } from './queue.store.ts';

/**
 * Takes the lane for this transaction; false when another one has it.
 * @param statementTimeoutMs after which a statement of the transaction is cancelled, if not as in all others.
 */
export async function lockLane(queryable: Queryable, statementTimeoutMs: number | undefined): Promise<boolean> {
  const { rowCount } = await queryable.query({
    name: 'lock_webhook_lane',
    text: `select set_config('statement_timeout', coalesce($1, current_setting('statement_timeout')), true) from webhook_lane for update skip locked`,
    values: [statementTimeoutMs],
  });
  return rowCount === 1;
}

/** Whether messages or deliveries are still to be made. */
export async function isFanOutDue(queryable: Queryable): Promise<boolean> {
  const { rows } = await queryable.query<{ is_due: boolean }>({
    name: 'is_fan_out_due',
    text: `select exists (select from webhook_feed) or exists (select from webhook_messages where fanned_until is not null) as is_due`,
  });
  return rows[0]!.is_due;
}

/** An event that is to become a message. */
export interface FedEvent {
  workspace_id: string;
  event_id: string;
  event_type: string;
  item_number: number | null;
  occurred_at: Date;
  created_at: Date;
  visibility: string;
  payload: unknown;
  is_keyless: boolean;
  value_chain: ValueChain | null;
  country: string | null;
  year: number | null;
}

interface FeedLimits {
  readonly eventsMax: number;
  /** Of payloads; one event is taken however long it is. */
  readonly bytesMax: number;
}

/** Takes the oldest events of the feed; those that are no more, or were withdrawn, are left out. */
export async function takeFeed(
  queryable: Queryable,
  { eventsMax, bytesMax }: FeedLimits,
): Promise<{ events: FedEvent[]; hasMore: boolean }> {
  const { rows } = await queryable.query<FedEvent & { position: number; is_last: boolean }>({
    name: 'take_webhook_feed',
    text: `with oldest as materialized (
             select position, workspace_id, event_id, item_number from webhook_feed order by position limit $1::int4
           ), sized as materialized (
             select oldest.*, sum(coalesce(octet_length(payload::text), 0)) over (order by position) - coalesce(octet_length(payload::text), 0) as bytes_before,
                    row_number() over (order by position desc) = 1 as is_last
             from oldest left join events on events.workspace_id = oldest.workspace_id and events.event_id = oldest.event_id
           ), taken as (
             delete from webhook_feed using sized where webhook_feed.position = sized.position and bytes_before <= $2::int8
             returning sized.*
           )
           select taken.position, taken.workspace_id, taken.event_id, event_type, taken.item_number, occurred_at, events.created_at,
                  visibility, payload, event_key is null as is_keyless, value_chain, country, year, is_last
           from taken
           left join events on events.workspace_id = taken.workspace_id and events.event_id = taken.event_id and withdrawn_at is null
           left join items on items.item_number = taken.item_number
           order by taken.position`,
    values: [eventsMax, bytesMax],
  });
  return {
    events: rows.filter((row) => row.event_type !== null),
    hasMore: rows.length === eventsMax || rows.at(-1)?.is_last === false,
  };
}

/** An event of a workspace, as the feed gives it; undefined for none. */
export async function findEventToTell(
  queryable: Queryable,
  workspaceId: string,
  eventId: string,
): Promise<FedEvent | undefined> {
  const { rows } = await queryable.query<FedEvent>({
    name: 'find_event_to_tell',
    text: `select workspace_id, event_id, event_type, events.item_number, occurred_at, events.created_at, visibility, payload,
                  event_key is null as is_keyless, value_chain, country, year
           from events left join items on items.item_number = events.item_number
           where workspace_id = $1 and event_id = $2 and withdrawn_at is null`,
    values: [workspaceId, eventId],
  });
  return rows[0];
}

/** Workspaces that have messages without all their deliveries, behind one of them in the order of their ids. */
export async function findPendingWorkspaces(
  queryable: Queryable,
  after: string,
  workspacesMax: number,
): Promise<string[]> {
  const { rows } = await queryable.query<{ workspace_id: string }>({
    name: 'find_pending_webhook_workspaces',
    text: `with recursive pending as (
             (select workspace_id from webhook_messages where fanned_until is not null and workspace_id > $1 order by workspace_id limit 1)
             union all
             select (select messages.workspace_id from webhook_messages as messages
                     where fanned_until is not null and messages.workspace_id > pending.workspace_id order by messages.workspace_id limit 1)
             from pending where workspace_id is not null
           )
           select workspace_id from pending where workspace_id is not null limit $2::int4`,
    values: [after, workspacesMax],
  });
  return rows.map((row) => row.workspace_id);
}

export interface PageLimits {
  readonly workspaceIds: readonly string[];
  /** Of all workspaces together, as far as there is one for each. */
  readonly messagesMax: number;
  /** About so many, of all messages together. */
  readonly deliveriesMax: number;
  /** Whether everything passes, since the filter of one endpoint took too long for one message. */
  readonly ignoresFilters: boolean;
}

/** Deliveries that are to be made, and how far messages have got with them. */
export interface Page {
  message_ids: string[];
  endpoint_ids: string[];
  are_thin: boolean[];
  reached_ids: string[];
  /** The endpoint up to which deliveries of the message are made then; null for all. */
  reached_endpoints: (string | null)[];
  /** Whether a workspace may have more messages. */
  is_full: boolean;
}

/**
 * The next endpoints of the oldest messages of workspaces: those that were there when it happened, and that were on then or are
 * now. Holds those that want the message, in the one order in which all hold them: nobody says meanwhile that they have nothing
 * to send, or that an item of theirs is free.
 */
export async function holdPage(queryable: Queryable, limits: PageLimits): Promise<Page> {
  const { rows } = await queryable.query<Page>({
    name: 'hold_webhook_page',
    text: `with pending as materialized (
             select message_id, position, messages.workspace_id, message_type, created_at, fanned_until,
                    case when not $4::bool
                      and exists (select from webhook_endpoints as filtered where filtered.workspace_id = messages.workspace_id and filter_path is not null)
                      then webhook_message_content(body) end as content
             from unnest($1::uuid[]) as workspaces (workspace_id) cross join lateral (
               select * from webhook_messages as oldest
               where oldest.workspace_id = workspaces.workspace_id and fanned_until is not null
               order by position limit greatest(1, $2::int4 / cardinality($1::uuid[]))
             ) as messages
           ), share as (
             select greatest(1, $3::int4 / greatest(1, count(*)::int4)) as each from pending
           ), looked_at as materialized (
             select message_id, position, endpoint_id, is_thin, is_wanted
             from pending cross join lateral (
               select endpoint_id, payload = 'thin' as is_thin,
                      $4::bool or filter_path is null or webhook_message_matches(content, filter_path) as is_wanted
               from webhook_endpoints as endpoints
               where endpoints.workspace_id = pending.workspace_id and endpoint_id > fanned_until and ${wantsType('pending')}
                 and date_trunc('milliseconds', endpoints.created_at) <= pending.created_at
                 and (is_active or switched_at >= pending.created_at)
               order by endpoint_id limit (select each from share)
             ) as endpoints
           ), held as materialized (
             select endpoint_id from webhook_endpoint_state where endpoint_id in (select endpoint_id from looked_at where is_wanted)
             order by endpoint_id for update
           ), made as (
             select message_id, endpoint_id, is_thin
             -- in a column and not a condition, which would compare each with each
             from (select *, endpoint_id in (select endpoint_id from held) as is_held from looked_at where is_wanted) as wanted
             where is_held order by position, endpoint_id
           ), last as materialized (
             select message_id, count(*) as endpoints, (array_agg(endpoint_id order by endpoint_id desc))[1] as endpoint_id from looked_at group by message_id
           ), reached as (
             select message_id, case when endpoints = (select each from share) then endpoint_id end as endpoint_id from pending left join last using (message_id)
           )
           select array(select message_id from made) as message_ids, array(select endpoint_id from made) as endpoint_ids,
                  array(select is_thin from made) as are_thin,
                  array(select message_id from reached order by message_id) as reached_ids,
                  array(select endpoint_id from reached order by message_id) as reached_endpoints,
                  exists (select from pending group by workspace_id having count(*) = greatest(1, $2::int4 / cardinality($1::uuid[]))) as is_full`,
    values: [uuidArray(limits.workspaceIds), limits.messagesMax, limits.deliveriesMax, limits.ignoresFilters],
  });
  return rows[0]!;
}

/**
 * Makes the deliveries of a page. For an ordered endpoint one of each item is let through, and those behind it wait. In the
 * transaction that holds the endpoints.
 * @returns how many.
 */
export async function insertDeliveries(queryable: Queryable, page: Page): Promise<number> {
  const { rows } = await queryable.query<{ deliveries: number }>({
    name: 'insert_webhook_deliveries',
    text: `with moved as (
             update webhook_messages set fanned_until = reached.endpoint_id
             from unnest($1::uuid[], $2::uuid[]) as reached (message_id, endpoint_id) where webhook_messages.message_id = reached.message_id
           ), made as (
             insert into webhook_deliveries (endpoint_id, message_id, is_thin)
             select endpoint_id, message_id, is_thin
             from unnest($3::uuid[], $4::uuid[], $5::bool[]) with ordinality as page (endpoint_id, message_id, is_thin, place) order by place
             on conflict do nothing returning delivery_id, endpoint_id, message_id, is_thin, attempts
           ), to_queue as (${queuedAs('made')}
           ), queued as (${enqueueDeliveries('to_queue')}
           ), due as (
             update webhook_endpoint_state as state set next_due_at = least(next_due_at, now())
             where state.endpoint_id in (select endpoint_id from made)
           )
           select count(*) as deliveries from made`,
    values: [
      uuidArray(page.reached_ids),
      uuidArray(page.reached_endpoints),
      uuidArray(page.endpoint_ids),
      uuidArray(page.message_ids),
      page.are_thin,
    ],
  });
  return rows[0]!.deliveries;
}
