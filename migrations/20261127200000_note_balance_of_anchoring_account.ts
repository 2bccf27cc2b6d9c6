import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  // The account that pays for anchors, and what it had when it was last looked at.
  await knex.raw('alter table log_state add column anchor_account text, add column anchor_balance_stroops bigint');
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('alter table log_state drop column anchor_account, drop column anchor_balance_stroops');
}
