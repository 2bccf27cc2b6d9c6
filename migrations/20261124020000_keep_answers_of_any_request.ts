import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  // Not validated: rows from before all name a receipt, and a full table need not be read for that.
  await knex.raw(`
    alter table idempotency_keys alter column receipt_id drop not null;
    alter table idempotency_keys add constraint idempotency_keys_effect_check
      check (receipt_id is not null or answer is not null) not valid;
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    alter table idempotency_keys drop constraint idempotency_keys_effect_check;
    delete from idempotency_keys where receipt_id is null;
    alter table idempotency_keys alter column receipt_id set not null;
  `);
}
