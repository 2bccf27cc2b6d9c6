import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    -- Workspaces that asked for suggestions, and up to which of their events these are worked out.
    create table suggestion_states (
      workspace_id uuid constraint suggestion_states_pkey primary key,
      last_event_id uuid not null default '00000000-0000-0000-0000-000000000000',
      next_run_at timestamptz not null default now(),
      asked_at timestamptz not null default now(),
      worked_at timestamptz not null default now(),
      completed_at timestamptz
    );
    create index suggestion_states_next_run_idx on suggestion_states (next_run_at);

    -- Under which keys an item is found by a name like its own, and the same the other way round.
    create table suggestion_profiles (
      workspace_id uuid not null,
      item_number bigint not null,
      keys bigint[] not null,
      constraint suggestion_profiles_pkey primary key (workspace_id, item_number)
    );
    create table suggestion_keys (
      workspace_id uuid not null,
      key bigint not null,
      item_number bigint not null,
      constraint suggestion_keys_pkey primary key (workspace_id, key, item_number)
    );

    create table item_suggestions (
      workspace_id uuid not null,
      lower_item bigint not null,
      higher_item bigint not null,
      -- in thousandths
      score smallint not null,
      reasons json not null,
      suggested_at timestamptz not null default now(),
      constraint item_suggestions_pkey primary key (workspace_id, lower_item, higher_item)
    );
    create index item_suggestions_score_idx on item_suggestions (workspace_id, score, lower_item, higher_item);
    create index item_suggestions_higher_idx on item_suggestions (workspace_id, higher_item);

    create table suggestion_dismissals (
      workspace_id uuid not null,
      lower_item bigint not null,
      higher_item bigint not null,
      reason text,
      dismissed_by uuid not null,
      dismissed_at timestamptz not null default now(),
      constraint suggestion_dismissals_pkey primary key (workspace_id, lower_item, higher_item)
    );
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    drop table suggestion_dismissals; drop table item_suggestions; drop table suggestion_keys; drop table suggestion_profiles;
    drop table suggestion_states;
  `);
}
