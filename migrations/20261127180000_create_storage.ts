import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create table storage_settings (
      scope_kind text not null constraint storage_settings_scope_kind_check check (scope_kind in ('workspace')),
      scope_id uuid not null,
      is_enabled boolean not null,
      -- null: the adapter of the installation
      adapter text,
      public_fields text[] not null,
      public_identifier_types text[] not null,
      stores_encrypted boolean not null,
      updated_at timestamptz not null default now(),
      -- contents after this one are still to be brought to the adapter that is in force now; null when none are
      moved_until uuid,
      constraint storage_settings_pkey primary key (scope_kind, scope_id)
    );
    create index storage_settings_moving_idx on storage_settings (scope_id) where moved_until is not null;

    -- what of versions of items leaves the database, byte for byte
    create table storage_contents (
      content_id uuid constraint storage_contents_pkey primary key,
      workspace_id uuid not null,
      item_number bigint not null,
      version integer not null,
      kind text not null constraint storage_contents_kind_check check (kind in ('public', 'encrypted')),
      cid text not null,
      size_bytes integer not null,
      -- null when it was erased
      bytes bytea,
      -- of encrypted content: its key, sealed, and the name of the key that opens it
      sealed_key bytea,
      key_id text,
      created_at timestamptz not null default now(),
      constraint storage_contents_version_key unique (item_number, workspace_id, version, kind)
    );
    create index storage_contents_cid_idx on storage_contents (cid);
    create index storage_contents_workspace_idx on storage_contents (workspace_id, content_id);
    create index storage_contents_key_idx on storage_contents (key_id) where key_id is not null;

    -- one row for each place where a content is, was or is to be
    create table storage_history (
      content_id uuid not null,
      adapter text not null,
      batch_id uuid,
      state text not null default 'queued' constraint storage_history_state_check
        check (state in ('queued', 'stored', 'failed', 'removed')),
      is_primary boolean not null default false,
      queued_at timestamptz not null default now(),
      stored_at timestamptz,
      constraint storage_history_pkey primary key (content_id, adapter)
    );
    create index storage_history_queued_idx on storage_history (adapter, content_id) where batch_id is null and state = 'queued';
    create index storage_history_batch_idx on storage_history (batch_id);

    -- contents that are stored together, as a directory; its members do not change
    create table storage_batches (
      batch_id uuid constraint storage_batches_pkey primary key,
      adapter text not null,
      root text not null,
      size_bytes integer not null,
      contents integer not null,
      state text not null default 'packed' constraint storage_batches_state_check
        check (state in ('packed', 'stored', 'failed', 'removing', 'removed')),
      attempts integer not null default 0,
      next_attempt_at timestamptz not null default now(),
      -- who claimed it last; what an earlier claim finds out counts no more
      claim integer not null default 0,
      -- what the service calls it
      reference text,
      -- what went wrong last
      fault text,
      -- the status with which a service refused it, 429 also for limits that we keep ourselves
      fault_status smallint,
      packed_at timestamptz not null default now(),
      stored_at timestamptz,
      check_due_at timestamptz
    );
    create index storage_batches_due_idx on storage_batches (next_attempt_at) where state in ('packed', 'removing');
    create index storage_batches_check_idx on storage_batches (check_due_at) where state = 'stored';
    create index storage_batches_root_idx on storage_batches (root);

    create table storage_state (
      is_only boolean constraint storage_state_pkey primary key default true constraint storage_state_is_only_check check (is_only),
      -- the folder of the local adapter, by the id in it
      local_folder uuid,
      -- the adapter of the installation when workers last started
      adapter text,
      -- why nothing is stored, in words; null when all is well
      refusal text
    );
    insert into storage_state default values;
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('drop table storage_state, storage_batches, storage_history, storage_contents, storage_settings');
}
