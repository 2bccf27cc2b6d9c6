import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    -- the keys that signed the log, each from some size on
    create table log_keys (
      verifier_key text constraint log_keys_pkey primary key,
      from_size bigint not null,
      -- what the key before it and this one signed when it took over, with its entry of the log; null for the first
      statement text,
      index bigint,
      seed bytea
    );
    -- an entry about a key is of nobody and of no item
    alter table log_entries alter column workspace_id drop not null, alter column item_number drop not null;
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('drop table log_keys');
}
