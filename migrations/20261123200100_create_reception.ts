import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create sequence received_sequence;
    create table receipts (
      receipt_id uuid constraint receipts_pkey primary key,
      workspace_id uuid not null,
      -- the order of arrival as the database saw it; clocks of web processes and ids never decide
      received_sequence bigint not null default nextval('received_sequence'),
      received_at timestamptz not null default now(),
      hash bytea not null,
      size_bytes integer not null,
      content_type text not null,
      format text not null constraint receipts_format_check check (format in ('json', 'ndjson', 'csv')),
      charset text not null constraint receipts_charset_check check (charset in ('utf-8', 'windows-1252')),
      default_value_chain text,
      default_country text,
      default_year smallint,
      request_id text,
      next_attempt_at timestamptz not null default now(),
      cut_at timestamptz,
      entry_total integer,
      csv_layout json,
      unclassified_fields text[],
      failure json,
      finished_at timestamptz,
      outcome text constraint receipts_outcome_check check (outcome in ('completed', 'completed_with_errors', 'failed')),
      body_erased_at timestamptz
    );
    create index receipts_workspace_idx on receipts (workspace_id, received_sequence);
    create index receipts_uncut_idx on receipts (workspace_id, received_sequence) where cut_at is null;
    create index receipts_unfinished_idx on receipts (received_sequence) where finished_at is null;

    -- The bytes as sent, in parts of 1 MiB, so that nobody has to hold a whole body.
    create table receipt_bodies (
      receipt_id uuid not null,
      part integer not null,
      bytes bytea not null,
      constraint receipt_bodies_pkey primary key (receipt_id, part)
    );
    alter table receipt_bodies alter column bytes set storage external;

    create table idempotency_keys (
      workspace_id uuid not null,
      operation text not null,
      key text not null,
      fingerprint bytea not null,
      receipt_id uuid not null,
      answer json,
      expires_at timestamptz not null,
      constraint idempotency_keys_pkey primary key (workspace_id, operation, key)
    );
    create index idempotency_keys_expires_at_idx on idempotency_keys (expires_at);

    -- The unit of work: a byte range of one body. Status lives here and never on the records.
    create table receipt_chunks (
      receipt_id uuid not null,
      chunk_number integer not null,
      workspace_id uuid not null,
      received_sequence bigint not null,
      -- 0: small receipts, served first; 1: bulk
      lane smallint not null,
      byte_start integer not null,
      byte_length integer not null,
      first_position integer not null,
      first_line integer,
      entry_count integer not null,
      is_done boolean not null default false,
      next_attempt_at timestamptz not null default now(),
      completed integer not null default 0,
      rejected integer not null default 0,
      failed integer not null default 0,
      conflicted integer not null default 0,
      created integer not null default 0,
      enriched integer not null default 0,
      constraint receipt_chunks_pkey primary key (receipt_id, chunk_number)
    );
    create index receipt_chunks_due_idx on receipt_chunks (lane, workspace_id, received_sequence, chunk_number) where not is_done;

    -- One row per try, committed before the work: rows beyond the finished tries are crashes.
    create table work_attempts (
      receipt_id uuid not null,
      -- -1: cutting the receipt
      chunk_number integer not null,
      attempt integer not null,
      -- set when a chunk is worked record by record: the record that was being tried
      position integer,
      worker text not null,
      started_at timestamptz not null default now()
    );
    create index work_attempts_chunk_idx on work_attempts (receipt_id, chunk_number);

    create table maintenance_tasks (
      task text constraint maintenance_tasks_pkey primary key,
      next_run_at timestamptz not null default now(),
      last_run_at timestamptz,
      last_result json
    );
    insert into maintenance_tasks (task) values ('retention');
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    drop table maintenance_tasks; drop table work_attempts; drop table receipt_chunks; drop table idempotency_keys; drop table receipt_bodies;
    drop table receipts; drop sequence received_sequence;
  `);
}
