import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    alter table receipts add column default_circuit_id uuid;

    -- The circuit that a sender named for a record or an event. Few name one, so it has no column on the large tables.
    create table named_circuits (
      -- an entry or an event
      source_id uuid constraint named_circuits_pkey primary key,
      workspace_id uuid not null,
      circuit_id uuid not null
    );
    create index named_circuits_circuit_idx on named_circuits (workspace_id, circuit_id, source_id);
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('drop table named_circuits; alter table receipts drop column default_circuit_id');
}
