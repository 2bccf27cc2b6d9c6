import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  await knex.raw('create index receipts_kept_bodies_idx on receipts (finished_at) where body_erased_at is null');
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('drop index receipts_kept_bodies_idx');
}
