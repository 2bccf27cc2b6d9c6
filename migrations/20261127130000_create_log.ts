import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    -- the change port: events that are committed and that the log has not taken in yet
    create table event_feed (
      position bigint generated always as identity constraint event_feed_pkey primary key,
      workspace_id uuid not null,
      event_id uuid not null,
      item_number bigint not null
    );

    -- the one row that who sequences holds
    create table log_state (
      is_only boolean constraint log_state_pkey primary key default true constraint log_state_is_only_check check (is_only),
      size bigint not null,
      -- why nothing is signed, in words; null when all is well
      refusal text
    );
    insert into log_state (size) values (0);

    create table log_entries (
      index bigint constraint log_entries_pkey primary key,
      workspace_id uuid not null,
      event_id uuid not null,
      -- the item as it was told then
      item_number bigint not null,
      commitment bytea not null,
      -- null when it was erased: then nobody can tell what was committed to
      seed bytea
    );
    create unique index log_entries_event_key on log_entries (event_id, workspace_id);

    -- 256 hashes of one level of the tree (C2SP tlog-tiles), and the root over them
    create table log_tiles (
      level smallint not null,
      number bigint not null,
      hashes bytea not null,
      root bytea not null,
      constraint log_tiles_pkey primary key (level, number)
    );

    create table log_checkpoints (
      size bigint constraint log_checkpoints_pkey primary key,
      root bytea not null,
      -- the signed note
      note text not null,
      signed_at timestamptz not null default now()
    );

    insert into event_feed (workspace_id, event_id, item_number)
      select workspace_id, event_id, item_number from events where item_number is not null order by event_id;
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('drop table log_checkpoints, log_tiles, log_entries, log_state, event_feed;');
}
