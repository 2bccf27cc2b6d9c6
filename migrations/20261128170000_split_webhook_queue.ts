import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    -- ids that grow with time (UUIDv7, RFC 9562), so that what is made together lies together
    create function make_time_ordered_id() returns uuid language sql volatile parallel safe as $$
      select encode(
        set_bit(set_bit(
          overlay(uuid_send(gen_random_uuid()) placing substring(int8send((extract(epoch from clock_timestamp()) * 1000)::bigint) from 3) from 1 for 6),
          52, 1), 53, 1), 'hex')::uuid
    $$;

    -- deliveries that are to be sent: what changes with every attempt, apart from what is kept of them
    create table webhook_queue (
      delivery_id uuid constraint webhook_queue_pkey primary key,
      endpoint_id uuid not null,
      message_id uuid not null,
      -- of an ordered endpoint: the item, and the place of the message; one of a lane is not blocked, those behind it are
      lane bigint,
      position bigint not null,
      is_blocked boolean not null default false,
      -- whether the one before it in its lane failed for good
      follows_gap boolean not null default false,
      -- which body is sent, as the endpoint wanted it when the delivery was made
      is_thin boolean not null,
      -- that were made so far, and before it was queued
      attempts integer not null default 0,
      attempts_before integer not null default 0,
      next_attempt_at timestamptz not null default now()
    );
    insert into webhook_queue (delivery_id, endpoint_id, message_id, lane, position, is_blocked, follows_gap, is_thin, attempts, next_attempt_at)
    select delivery_id, endpoint_id, message_id, lane, position, state = 'blocked', follows_gap, payload = 'thin', attempts, next_attempt_at
    from webhook_deliveries join webhook_endpoints using (endpoint_id) where state in ('queued', 'blocked');
    create index webhook_queue_due_idx on webhook_queue (endpoint_id, next_attempt_at) where not is_blocked;
    create index webhook_queue_lane_idx on webhook_queue (endpoint_id, lane, position) where lane is not null;

    drop index webhook_deliveries_due_idx, webhook_deliveries_lane_idx, webhook_deliveries_claimed_idx;
    alter table webhook_deliveries add column failed_at timestamptz, add column is_thin boolean not null default false;
    update webhook_deliveries set is_thin = true from webhook_endpoints as endpoints
    where endpoints.endpoint_id = webhook_deliveries.endpoint_id and payload = 'thin';
    update webhook_deliveries set failed_at = created_at where state = 'failed';
    update webhook_deliveries set delivered_at = null where state <> 'delivered';
    alter table webhook_deliveries
      alter column delivery_id set default make_time_ordered_id(),
      alter column is_thin drop default,
      drop column state, drop column lane, drop column position, drop column follows_gap, drop column next_attempt_at, drop column claimed_until, drop column claim;
    -- room beside each row for what becomes of it, without a touch of the indexes
    alter table webhook_deliveries set (fillfactor = 70);
    create index webhook_deliveries_failed_idx on webhook_deliveries (endpoint_id, created_at) where failed_at is not null;

    create index webhook_messages_item_idx on webhook_messages (item_number) where message_type = 'item_anchored';
    create index webhook_messages_place_idx on webhook_messages (workspace_id, position);
    -- the item of an event when it happened: a merge may give the event to another one before a message is made of it
    alter table webhook_feed add column item_number bigint;
    update webhook_feed set item_number = events.item_number from events
    where events.workspace_id = webhook_feed.workspace_id and events.event_id = webhook_feed.event_id;
    -- what was anchored before is told to nobody
    insert into timeline_progress (network, subject, position)
    select network, 'webhooks', position from timeline_progress where subject = 'log';

    -- one process at a time sends to an endpoint
    alter table webhook_endpoint_state
      add column workspace_id uuid,
      add column leased_until timestamptz,
      add column lease_holder uuid,
      -- of an endpoint with a rate: nothing starts before
      add column next_start_at timestamptz,
      -- how far it was told that it will be switched off, in percent
      add column warned_percent integer not null default 0;
    update webhook_endpoint_state as state set workspace_id = endpoints.workspace_id
    from webhook_endpoints as endpoints where endpoints.endpoint_id = state.endpoint_id;
    delete from webhook_endpoint_state where workspace_id is null;
    alter table webhook_endpoint_state alter column workspace_id set not null;
    alter table webhook_endpoint_state set (fillfactor = 50);
    drop index webhook_endpoint_state_due_idx;
    create index webhook_endpoint_state_due_idx on webhook_endpoint_state (workspace_id, next_due_at) where next_due_at is not null;

    alter table webhook_endpoints
      -- null for as fast as it answers
      add column requests_per_minute integer,
      -- what its messages must be like, as it was written and as Postgres asks for it; null for all
      add column filter json,
      add column filter_path jsonpath,
      -- of Ed25519, in DER; the private one is sealed
      add column public_key bytea,
      add column private_key_sealed bytea,
      add column private_key_id text,
      add column previous_private_key_sealed bytea,
      add column previous_private_key_id text;

    -- whether a message is like that; text that is no JSON for Postgres, such as a lone surrogate, is like nothing
    create function webhook_message_matches(body text, filter jsonpath) returns boolean language plpgsql immutable parallel safe as $$
    begin
      return coalesce(jsonb_path_match(body::jsonb, filter, silent => true), false);
    exception when data_exception then
      return false;
    end $$;
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    drop function webhook_message_matches;
    alter table webhook_feed drop column item_number;
    drop index webhook_messages_item_idx, webhook_messages_place_idx;
    delete from timeline_progress where subject = 'webhooks';
    alter table webhook_endpoints drop column requests_per_minute, drop column filter, drop column filter_path, drop column public_key,
      drop column private_key_sealed, drop column private_key_id, drop column previous_private_key_sealed, drop column previous_private_key_id;
    drop index webhook_endpoint_state_due_idx;
    alter table webhook_endpoint_state drop column workspace_id, drop column leased_until, drop column lease_holder, drop column next_start_at, drop column warned_percent;
    create index webhook_endpoint_state_due_idx on webhook_endpoint_state (next_due_at) where next_due_at is not null;
    alter table webhook_deliveries
      add column state text not null default 'queued' constraint webhook_deliveries_state_check check (state in ('queued', 'blocked', 'delivered', 'failed')),
      add column lane bigint, add column position bigint, add column follows_gap boolean not null default false,
      add column next_attempt_at timestamptz not null default now(), add column claimed_until timestamptz, add column claim integer not null default 0,
      alter column delivery_id set default gen_random_uuid();
    update webhook_deliveries set state = case when failed_at is not null then 'failed' else 'delivered' end;
    update webhook_deliveries set position = messages.position from webhook_messages as messages where messages.message_id = webhook_deliveries.message_id;
    alter table webhook_deliveries alter column position set not null;
    update webhook_deliveries as deliveries
    set state = case when is_blocked then 'blocked' else 'queued' end, lane = queue.lane, follows_gap = queue.follows_gap, next_attempt_at = queue.next_attempt_at
    from webhook_queue as queue where queue.delivery_id = deliveries.delivery_id;
    alter table webhook_deliveries drop column failed_at, drop column is_thin;
    create index webhook_deliveries_due_idx on webhook_deliveries (endpoint_id, next_attempt_at) where state = 'queued';
    create index webhook_deliveries_lane_idx on webhook_deliveries (endpoint_id, lane, position) where lane is not null and state in ('queued', 'blocked');
    create index webhook_deliveries_claimed_idx on webhook_deliveries (endpoint_id) where claimed_until is not null;
    drop table webhook_queue;
    drop function make_time_ordered_id;
  `);
}
