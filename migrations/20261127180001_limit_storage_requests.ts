import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    -- for each service with a limit of requests, the time at which all requests so far are paid for
    create table storage_request_limits (
      service text constraint storage_request_limits_pkey primary key,
      paid_at timestamptz not null
    );
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('drop table storage_request_limits');
}
