import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    set local lock_timeout = '5s';
    -- The transaction of the version that an event belongs to, where that is not the one which wrote it: later, since the
    -- event moved to its item then, or -infinity for an event that belongs to no version.
    alter table events add column versioned_at timestamptz;
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('alter table events drop column versioned_at;');
}
