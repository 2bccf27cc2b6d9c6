import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  // What the ledger took for a transaction that it applied, which is at most what it bid.
  await knex.raw('alter table log_anchor_attempts add column charged_stroops bigint');
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('alter table log_anchor_attempts drop column charged_stroops');
}
