import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    -- when it was switched on or off last, or made: an event is told to those that were on when it happened
    alter table webhook_endpoints add column switched_at timestamptz;
    update webhook_endpoints set switched_at = case when is_active then created_at else updated_at end;
    alter table webhook_endpoints alter column switched_at set not null, alter column switched_at set default now();
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('alter table webhook_endpoints drop column switched_at');
}
