import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    -- checkpoints that are to stand on a public ledger, or do
    create table log_anchors (
      anchor_id uuid constraint log_anchors_pkey primary key,
      size bigint not null,
      root bytea not null,
      -- the signed note; the SHA-256 of its text is what is anchored
      note text not null,
      network_passphrase text not null,
      created_at timestamptz not null default now(),
      -- all null until one transaction is applied
      confirmed_attempt integer,
      ledger bigint,
      closed_at timestamptz,
      constraint log_anchors_size_key unique (network_passphrase, size)
    );

    -- transactions, each committed here before it is sent for the first time
    create table log_anchor_attempts (
      anchor_id uuid not null,
      attempt integer not null,
      source text not null,
      network_passphrase text not null,
      envelope_xdr text not null,
      hash text not null,
      sequence bigint not null,
      fee_stroops bigint not null,
      -- seconds since the Unix epoch, by the clock of the ledger
      built_at_seconds bigint not null,
      max_time_seconds bigint not null,
      state text not null constraint log_anchor_attempts_state_check
        check (state in ('signed', 'submitted', 'confirmed', 'failed', 'expired', 'unknown')),
      sends integer not null default 0,
      -- what the network said last
      answer text,
      due_at timestamptz not null default now(),
      constraint log_anchor_attempts_pkey primary key (anchor_id, attempt)
    );
    -- one transaction of an account is on its way at a time
    create unique index log_anchor_attempts_open_key on log_anchor_attempts (network_passphrase, source)
      where state in ('signed', 'submitted');

    -- why nothing is anchored, in words
    alter table log_state add column anchor_refusal text, add column anchor_due_at timestamptz not null default now();
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('alter table log_state drop column anchor_refusal; drop table log_anchor_attempts, log_anchors;');
}
