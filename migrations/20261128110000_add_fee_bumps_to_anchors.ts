import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    -- a fee bump (CAP-0015) around the transaction, kept before it is sent, as the transaction is
    alter table log_anchor_attempts
      add column bump_envelope_xdr text,
      add column bump_hash text,
      add column bump_fee_stroops bigint;
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(
    'alter table log_anchor_attempts drop column bump_envelope_xdr, drop column bump_hash, drop column bump_fee_stroops',
  );
}
