import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    -- states of things that workspaces keep as they were at some time
    create table snapshots (
      snapshot_id uuid constraint snapshots_pkey primary key,
      workspace_id uuid not null,
      snapshot_type text not null,
      resource_type text not null,
      resource_id uuid,
      -- the item that it is of; null for everything else
      item_number bigint,
      circuit_id uuid,
      snapshot_name text not null,
      description text,
      -- canonical JSON (RFC 8785), whose BLAKE3 hash the checksum is
      snapshot_data json not null,
      checksum bytea not null,
      metadata json,
      created_by uuid not null,
      created_at timestamptz not null default now(),
      expires_at timestamptz,
      archived_at timestamptz
    );
    create index snapshots_workspace_idx on snapshots (workspace_id, snapshot_id);
    create index snapshots_item_idx on snapshots (workspace_id, item_number) where item_number is not null;
    create index snapshots_expiry_idx on snapshots (expires_at) where expires_at is not null;

    create table snapshot_comparisons (
      comparison_id uuid constraint snapshot_comparisons_pkey primary key,
      workspace_id uuid not null,
      snapshot_a_id uuid not null,
      snapshot_b_id uuid not null,
      comparison_type text not null,
      diff_data json not null,
      summary json not null,
      created_at timestamptz not null default now()
    );
    create index snapshot_comparisons_a_idx on snapshot_comparisons (snapshot_a_id);
    create index snapshot_comparisons_b_idx on snapshot_comparisons (snapshot_b_id);

    create table snapshot_restorations (
      restoration_id uuid constraint snapshot_restorations_pkey primary key,
      workspace_id uuid not null,
      snapshot_id uuid not null,
      pre_restore_snapshot_id uuid not null,
      target_resource_id uuid not null,
      restoration_type text not null,
      restore_metadata json,
      restored_by uuid not null,
      created_at timestamptz not null default now()
    );
    create index snapshot_restorations_snapshot_idx on snapshot_restorations (snapshot_id);

    create table snapshot_retention_policies (
      policy_id uuid constraint snapshot_retention_policies_pkey primary key,
      workspace_id uuid not null,
      circuit_id uuid,
      snapshot_type text not null,
      resource_type text,
      retention_days integer not null,
      max_snapshots integer,
      auto_archive boolean not null,
      is_active boolean not null,
      created_at timestamptz not null default now(),
      constraint snapshot_retention_policies_key unique nulls not distinct (workspace_id, circuit_id, snapshot_type, resource_type)
    );
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('drop table snapshot_retention_policies, snapshot_restorations, snapshot_comparisons, snapshots');
}
