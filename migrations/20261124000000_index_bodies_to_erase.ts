import type { Knex } from 'knex';

// Built beside the traffic, which no transaction allows.
export const config = { transaction: false };

export async function up(knex: Knex): Promise<void> {
  await knex.raw(
    'create index concurrently if not exists receipts_kept_bodies_idx on receipts (finished_at) where body_erased_at is null',
  );
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('drop index concurrently if exists receipts_kept_bodies_idx');
}
