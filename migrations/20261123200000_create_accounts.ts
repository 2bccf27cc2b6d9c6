import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create table workspaces (
      workspace_id uuid constraint workspaces_pkey primary key,
      name text not null,
      slug text not null constraint workspaces_slug_key unique,
      -- set by an administrator of the installation: records of this workspace may join items of others
      may_link_items boolean not null default false,
      created_at timestamptz not null default now()
    );
    create table users (
      user_id uuid constraint users_pkey primary key,
      workspace_id uuid not null constraint users_workspace_id_fkey references workspaces,
      email text not null,
      password_hash text not null,
      full_name text,
      is_administrator boolean not null default false,
      is_active boolean not null default true,
      created_at timestamptz not null default now()
    );
    create unique index users_email_key on users (lower(email));
    create table api_keys (
      api_key_id uuid constraint api_keys_pkey primary key,
      workspace_id uuid not null constraint api_keys_workspace_id_fkey references workspaces,
      name text not null,
      key_hash bytea not null constraint api_keys_key_hash_key unique,
      key_prefix text not null,
      scope text not null constraint api_keys_scope_check check (scope in ('read', 'write', 'admin')),
      created_at timestamptz not null default now(),
      last_used_at timestamptz,
      expires_at timestamptz,
      revoked_at timestamptz
    );
    create index api_keys_workspace_id_idx on api_keys (workspace_id);
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('drop table api_keys; drop table users; drop table workspaces;');
}
