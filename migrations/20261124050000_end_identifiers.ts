import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    set local lock_timeout = '5s';

    -- From when an identifier is not on its item any longer, and the entry that says so; it still leads there.
    alter table identifier_claims add column ended_at timestamptz, add column ended_by uuid,
      add constraint identifier_claims_end_check check ((ended_at is null) = (ended_by is null)) not valid;
    alter table workspace_claims add column ended_at timestamptz, add column ended_by uuid,
      add constraint workspace_claims_end_check check ((ended_at is null) = (ended_by is null)) not valid;

    -- Waiting entries of a workspace to be tried again, since an entry ended identifiers that their cases contest.
    create table case_retries (
      retry_id uuid constraint case_retries_pkey primary key,
      entry_id uuid not null,
      workspace_id uuid not null,
      -- how far the waiting entries are tried, in the order of their ids
      tried_up_to uuid not null default '00000000-0000-0000-0000-000000000000',
      due_at timestamptz not null default now()
    );
    create index case_retries_due_idx on case_retries (due_at);
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    drop table case_retries;
    alter table workspace_claims drop column ended_at, drop column ended_by;
    alter table identifier_claims drop column ended_at, drop column ended_by;
  `);
}
