import type { Knex } from 'knex';

// Built beside the traffic, which no transaction allows.
export const config = { transaction: false };

export async function up(knex: Knex): Promise<void> {
  await knex.raw('create index concurrently if not exists events_item_time_idx on events (item_number, event_id)');
  await knex.raw('drop index concurrently if exists events_item_idx');
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('create index concurrently if not exists events_item_idx on events (item_number)');
  await knex.raw('drop index concurrently if exists events_item_time_idx');
}
