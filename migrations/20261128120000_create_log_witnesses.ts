import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    -- who is asked to sign checkpoints besides the log itself
    create table log_witnesses (
      verifier_key text constraint log_witnesses_pkey primary key,
      -- of the last checkpoint that it signed, or that it says it did
      size bigint not null default 0,
      due_at timestamptz not null default now(),
      -- why the last one was not signed, in words
      refusal text
    );
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('drop table log_witnesses');
}
