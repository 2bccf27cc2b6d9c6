import type { Knex } from 'knex';

/** Indexes on tables in use are built beside the work on them. */
export const config = { transaction: false };

export async function up(knex: Knex): Promise<void> {
  await knex.raw(
    'create index concurrently if not exists remembered_decisions_item_idx on remembered_decisions (item_number) where item_number is not null',
  );
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('drop index concurrently if exists remembered_decisions_item_idx');
}
