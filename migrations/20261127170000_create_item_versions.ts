import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    -- what versions of items were to workspaces when the log took them in
    create table item_versions (
      item_number bigint not null,
      workspace_id uuid not null,
      version integer not null,
      -- its entry of the log
      index bigint not null,
      recorded_at timestamptz not null,
      -- JSON as it was committed to; null when it was erased
      content text,
      constraint item_versions_pkey primary key (item_number, workspace_id, version)
    );
    -- an entry is about an event or about a version
    alter table log_entries alter column event_id drop not null;
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('drop table item_versions');
}
