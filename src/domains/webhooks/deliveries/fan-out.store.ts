import { uuidArray } from '#platform/binary-arrays.ts';
import type { Queryable } from '#platform/database.ts';
import type { ValueChain } from '#domains/items/index.ts';
import { enqueueDeliveries, isWanted, queuedAs } from './queue.store.ts';

/** Takes the lane for this transaction; false when another one has it. */
export async function lockLane(queryable: Queryable): Promise<boolean> {
  const { rowCount } = await queryable.query({
    name: 'lock_webhook_lane',
    text: 'select from webhook_lane for update skip locked',
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

interface PageLimits {
  readonly messagesMax: number;
  /** About so many, of all messages together. */
  readonly deliveriesMax: number;
}

/** The next endpoints of the oldest messages that have not all their deliveries: those that were there, and on, when it happened. */
const page = `pending as materialized (
             select message_id, position, workspace_id, message_type, created_at, fanned_until,
                    case when exists (select from webhook_endpoints as endpoints where endpoints.workspace_id = messages.workspace_id and filter_path is not null)
                      then webhook_message_content(body) end as content
             from webhook_messages as messages
             where fanned_until is not null and ($3::uuid[] is null or message_id = any($3)) order by position limit $1::int4
           ), share as (
             select greatest(1, $2::int4 / greatest(1, count(*)::int4)) as each from pending
           ), wanted as materialized (
             select message_id, position, endpoint_id, is_wanted, is_thin, row_number() over (partition by message_id order by endpoint_id desc) = 1 as is_last
             from pending cross join lateral (
               select endpoint_id, payload = 'thin' as is_thin,
                      date_trunc('milliseconds', endpoints.created_at) <= pending.created_at
                        -- as it is now, or the other way round when it was switched since
                        and is_active = (date_trunc('milliseconds', switched_at) <= pending.created_at)
                        and ${isWanted('pending', 'content')} as is_wanted
               from webhook_endpoints as endpoints
               where endpoints.workspace_id = pending.workspace_id and endpoint_id > fanned_until
               order by endpoint_id limit (select each from share)
             ) as endpoints
           )`;

/**
 * Holds the endpoints for which `insertDeliveries` makes deliveries next, in the one order in which all hold them: nobody says
 * meanwhile that they have nothing to send, or that an item of theirs is free.
 */
export async function holdWantedEndpoints(queryable: Queryable, limits: PageLimits): Promise<HeldPage> {
  const { rows } = await queryable.query<{ message_ids: string[]; endpoint_ids: string[] }>({
    name: 'hold_wanted_webhook_endpoints',
    text: `with ${page}, held as (
             select endpoint_id from webhook_endpoint_state where endpoint_id in (select endpoint_id from wanted where is_wanted)
             order by endpoint_id for update
           )
           select array(select message_id from pending) as message_ids, array(select endpoint_id from held) as endpoint_ids`,
    values: [limits.messagesMax, limits.deliveriesMax, null],
  });
  return { messageIds: rows[0]!.message_ids, endpointIds: rows[0]!.endpoint_ids };
}

/** Messages whose next endpoints are held, and these. */
interface HeldPage {
  readonly messageIds: readonly string[];
  readonly endpointIds: readonly string[];
}

/**
 * Makes the next deliveries of the oldest messages that have not all. For an ordered endpoint one of each item is let through,
 * and those behind it wait. In the transaction that holds them.
 */
export async function insertDeliveries(
  queryable: Queryable,
  limits: PageLimits,
  held: HeldPage,
): Promise<{ messages: number; done: number; deliveries: number }> {
  const { rows } = await queryable.query<{ messages: number; done: number; deliveries: number }>({
    name: 'insert_webhook_deliveries',
    text: `with ${page}, reached as (
             select message_id, (select endpoint_id from wanted where wanted.message_id = pending.message_id and is_last) as last_endpoint,
                    (select count(*) from wanted where wanted.message_id = pending.message_id) as looked_at
             from pending
           ), moved as (
             update webhook_messages set fanned_until = case when looked_at = (select each from share) then last_endpoint end
             from reached where webhook_messages.message_id = reached.message_id
             returning fanned_until is null as is_done
           ), made as (
             insert into webhook_deliveries (endpoint_id, message_id, is_thin)
             select endpoint_id, message_id, is_thin from wanted where is_wanted and endpoint_id = any($4::uuid[]) order by position, endpoint_id
             on conflict do nothing returning delivery_id, endpoint_id, message_id, is_thin, attempts
           ), to_queue as (${queuedAs('made')}
           ), queued as (${enqueueDeliveries('to_queue')}
           ), due as (
             update webhook_endpoint_state as state set next_due_at = least(next_due_at, now())
             where state.endpoint_id in (select endpoint_id from made)
           )
           select (select count(*) from moved) as messages, (select count(*) from moved where is_done) as done,
                  (select count(*) from made) as deliveries`,
    values: [limits.messagesMax, limits.deliveriesMax, uuidArray(held.messageIds), uuidArray(held.endpointIds)],
  });
  return rows[0]!;
}
