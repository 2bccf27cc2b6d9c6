import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    -- The order in which local items arrived and were merged.
    create sequence local_item_sequence;

    -- Records that were collected without knowing which item they are about. They claim no identity before they are pushed.
    create table local_items (
      workspace_id uuid not null,
      local_id uuid not null,
      sequence bigint not null,
      value_chain text not null,
      country text not null,
      year smallint not null,
      occurred_at timestamptz,
      created_by uuid not null,
      created_at timestamptz not null default now(),
      updated_at timestamptz not null default now(),
      -- what was sent, never changed: whatever is merged can be folded again, or taken apart
      content json not null,
      content_bytes integer not null,
      content_hash bytea not null,
      -- the fold over the item and what was merged into it; null where nothing was
      folded json,
      folded_bytes integer,
      -- merges form a tree: the item it was merged into, how, and in which place among those merged there
      parent_id uuid,
      merge_strategy text constraint local_items_merge_strategy_check
        check (merge_strategy in ('append', 'keep_first', 'overwrite')),
      merge_order bigint,
      -- the root of the tree
      merged_into uuid,
      item_number bigint,
      tokenized_at timestamptz,
      constraint local_items_pkey primary key (workspace_id, local_id),
      constraint local_items_merge_check check (num_nulls(parent_id, merge_strategy, merge_order, merged_into) in (0, 4)),
      constraint local_items_other_check check (local_id not in (parent_id, merged_into)),
      constraint local_items_root_check check (merged_into is null or (folded is null and item_number is null)),
      constraint local_items_folded_check check ((folded is null) = (folded_bytes is null)),
      constraint local_items_tokenized_check check ((item_number is null) = (tokenized_at is null))
    );
    create unique index local_items_sequence_idx on local_items (workspace_id, sequence);
    create index local_items_local_only_idx on local_items (workspace_id, sequence)
      where merged_into is null and item_number is null;
    create index local_items_merged_into_idx on local_items (workspace_id, merged_into) where merged_into is not null;

    -- By which identifiers duplicates are found: those that identify an item everywhere, of items neither merged nor tokenised.
    create table local_item_identifiers (
      workspace_id uuid not null,
      identifier_type text collate "C" not null,
      value text collate "C" not null,
      local_id uuid not null,
      value_chain text not null,
      constraint local_item_identifiers_pkey primary key (workspace_id, identifier_type, value, local_id)
        include (value_chain)
    );
    create index local_item_identifiers_item_idx on local_item_identifiers (workspace_id, local_id);

    -- Who merged what and took it apart again; one row per item that was moved.
    create table local_item_decisions (
      decision_id uuid not null,
      local_id uuid not null,
      workspace_id uuid not null,
      kind text not null constraint local_item_decisions_kind_check check (kind in ('merge', 'unmerge')),
      master_id uuid not null,
      merge_strategy text not null,
      decided_by uuid not null,
      decided_at timestamptz not null default now(),
      constraint local_item_decisions_pkey primary key (decision_id, local_id)
    );
    create index local_item_decisions_local_idx on local_item_decisions (workspace_id, local_id, decision_id);
    create index local_item_decisions_master_idx on local_item_decisions (workspace_id, master_id, decision_id);
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    drop table local_item_decisions; drop table local_item_identifiers; drop table local_items;
    drop sequence local_item_sequence;
  `);
}
