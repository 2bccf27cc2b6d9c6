import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    -- trees that workspaces make over data of their own
    create table merkle_trees (
      tree_id uuid constraint merkle_trees_pkey primary key,
      workspace_id uuid not null,
      tree_type text not null,
      resource_type text not null,
      resource_id uuid,
      circuit_id uuid,
      snapshot_id uuid,
      metadata json,
      root bytea not null,
      -- the hashes of the leaves, one behind the other
      leaves bytea not null,
      created_at timestamptz not null default now()
    );
    create index merkle_trees_workspace_idx on merkle_trees (workspace_id, tree_id);

    create table merkle_verifications (
      verification_id uuid constraint merkle_verifications_pkey primary key,
      tree_id uuid not null,
      verification_type text not null,
      leaf_hash bytea,
      expected_root bytea not null,
      actual_root bytea not null,
      is_valid boolean not null,
      verified_by uuid,
      took_ms integer not null,
      created_at timestamptz not null default now()
    );
    create index merkle_verifications_tree_idx on merkle_verifications (tree_id, verification_id);
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('drop table merkle_verifications, merkle_trees');
}
