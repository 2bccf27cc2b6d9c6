import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    -- workspaces that ever had an endpoint: what is told of others is not handed on
    create table webhook_workspaces (
      workspace_id uuid constraint webhook_workspaces_pkey primary key
    );

    -- the change port: events that are committed and that no message was made of yet
    create table webhook_feed (
      position bigint generated always as identity constraint webhook_feed_pkey primary key,
      workspace_id uuid not null,
      event_id uuid not null
    );

    -- the one row that who makes messages holds
    create table webhook_lane (
      is_only boolean constraint webhook_lane_pkey primary key default true constraint webhook_lane_is_only_check check (is_only)
    );
    insert into webhook_lane default values;

    create table webhook_endpoints (
      endpoint_id uuid constraint webhook_endpoints_pkey primary key,
      workspace_id uuid not null,
      circuit_id uuid,
      name text not null,
      url text not null,
      -- types of events; empty for all
      event_types text[] not null,
      headers json not null,
      auth_type text not null constraint webhook_endpoints_auth_type_check
        check (auth_type in ('none', 'bearer', 'api_key', 'basic', 'custom_header')),
      -- what authenticates us, and the secrets that sign; each sealed, with the name of the key that opens it
      auth_sealed bytea,
      auth_key_id text,
      secret_sealed bytea not null,
      secret_key_id text not null,
      previous_secret_sealed bytea,
      previous_secret_key_id text,
      previous_secret_until timestamptz,
      payload text not null constraint webhook_endpoints_payload_check check (payload in ('full', 'thin')),
      concurrency integer not null,
      -- whether events of one item come one after the other
      is_ordered boolean not null,
      max_retries integer not null,
      -- null for the schedule of the installation
      retry_delay_seconds integer,
      is_active boolean not null,
      -- why it was switched off, in words; null when a person did
      disabled_reason text,
      created_by uuid not null,
      created_at timestamptz not null default now(),
      updated_at timestamptz not null default now()
    );
    create index webhook_endpoints_workspace_idx on webhook_endpoints (workspace_id, endpoint_id);

    -- how it goes with endpoints: the claim starts from here, not from deliveries
    create table webhook_endpoint_state (
      endpoint_id uuid constraint webhook_endpoint_state_pkey primary key,
      next_due_at timestamptz,
      last_served_at timestamptz,
      -- attempts that failed since the last that did not, and when the first of them was
      failures integer not null default 0,
      first_failure_at timestamptz,
      -- nothing is sent before, and then one at a time until one succeeds
      open_until timestamptz,
      last_success_at timestamptz,
      last_failure_at timestamptz
    );
    create index webhook_endpoint_state_due_idx on webhook_endpoint_state (next_due_at) where next_due_at is not null;

    -- what is told to endpoints; the id is that of the event, and the webhook-id of all its deliveries
    create table webhook_messages (
      message_id uuid constraint webhook_messages_pkey primary key,
      position bigint generated always as identity,
      workspace_id uuid not null,
      message_type text not null,
      item_number bigint,
      -- for endpoints that want the full payload, and for those that want the thin one; null when it was erased
      body text,
      thin_body text not null,
      created_at timestamptz not null default now(),
      -- deliveries are made for endpoints up to this one; null when they are made for all
      fanned_until uuid default '00000000-0000-0000-0000-000000000000'
    );
    create index webhook_messages_age_idx on webhook_messages (created_at);
    create index webhook_messages_workspace_idx on webhook_messages (workspace_id, created_at);
    create index webhook_messages_fan_out_idx on webhook_messages (position) where fanned_until is not null;

    create table webhook_deliveries (
      delivery_id uuid constraint webhook_deliveries_pkey primary key default gen_random_uuid(),
      endpoint_id uuid not null,
      message_id uuid not null,
      state text not null default 'queued' constraint webhook_deliveries_state_check check (state in ('queued', 'blocked', 'delivered', 'failed')),
      -- of an ordered endpoint: the item, and the place of the message; one is queued, those behind it are blocked
      lane bigint,
      position bigint not null,
      -- whether the one before it in its lane failed for good
      follows_gap boolean not null default false,
      attempts integer not null default 0,
      next_attempt_at timestamptz not null default now(),
      -- a process is at it until then; what an earlier claim finds out counts no more
      claimed_until timestamptz,
      claim integer not null default 0,
      last_status integer,
      last_error text,
      created_at timestamptz not null default now(),
      delivered_at timestamptz,
      constraint webhook_deliveries_message_key unique (message_id, endpoint_id)
    );
    create index webhook_deliveries_due_idx on webhook_deliveries (endpoint_id, next_attempt_at) where state = 'queued';
    create index webhook_deliveries_lane_idx on webhook_deliveries (endpoint_id, lane, position) where lane is not null and state in ('queued', 'blocked');
    create index webhook_deliveries_claimed_idx on webhook_deliveries (endpoint_id) where claimed_until is not null;
    create index webhook_deliveries_listed_idx on webhook_deliveries (endpoint_id, created_at, delivery_id);

    create table webhook_attempts (
      delivery_id uuid not null,
      attempt integer not null,
      started_at timestamptz not null,
      took_ms integer not null,
      request_headers json not null,
      status integer,
      response_headers json,
      response_body text,
      error text,
      constraint webhook_attempts_pkey primary key (delivery_id, attempt)
    );
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    drop table webhook_attempts, webhook_deliveries, webhook_messages, webhook_endpoint_state, webhook_endpoints, webhook_lane,
      webhook_feed, webhook_workspaces`);
}
