import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    -- in a row: each pause of an endpoint that fails is twice as long as the one before
    alter table webhook_endpoint_state add column pauses integer not null default 0;
    -- those of one statement come one after the other
    alter table webhook_deliveries alter column created_at set default clock_timestamp();
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    alter table webhook_deliveries alter column created_at set default now();
    alter table webhook_endpoint_state drop column pauses;
  `);
}
