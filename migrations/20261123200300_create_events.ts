import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create table events (
      workspace_id uuid not null,
      event_id uuid not null,
      item_number bigint not null,
      event_type text not null,
      entry_id uuid,
      occurred_at timestamptz not null,
      visibility text not null constraint events_visibility_check
        check (visibility in ('public', 'private', 'circuit_only', 'direct')),
      payload json not null,
      -- what makes a submitted event the same event when it is sent again; null for events of the system
      event_key bytea,
      created_at timestamptz not null default now(),
      constraint events_pkey primary key (workspace_id, event_id)
    );
    create index events_item_idx on events (item_number);
    create unique index events_submitted_key on events (item_number, workspace_id, event_key) where event_key is not null;
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('drop table events;');
}
