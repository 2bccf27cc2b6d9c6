import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create index webhook_messages_pending_idx on webhook_messages (workspace_id, position) where fanned_until is not null;
    drop index webhook_messages_fan_out_idx;
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    create index webhook_messages_fan_out_idx on webhook_messages (position) where fanned_until is not null;
    drop index webhook_messages_pending_idx;
  `);
}
