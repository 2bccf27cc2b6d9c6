import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    -- true where items that are one have the same submitted event more than once: it counts where it came first
    alter table events add column is_repeated boolean not null default false;
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('alter table events drop column is_repeated;');
}
