import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create table identifier_types (
      name text constraint identifier_types_pkey primary key,
      aliases text[] not null default '{}',
      subject text not null constraint identifier_types_subject_check
        check (subject in ('item', 'party', 'place', 'class', 'document')),
      is_canonical boolean not null,
      cardinality text not null constraint identifier_types_cardinality_check check (cardinality in ('one', 'many')),
      value_chains text[] not null,
      normaliser text not null,
      is_active boolean not null default true
    );
    create table fingerprint_rules (
      name text not null,
      version integer not null,
      value_chains text[] not null,
      identifier_types text[] not null,
      period text not null constraint fingerprint_rules_period_check check (period in ('year', 'cycle')),
      is_active boolean not null default true,
      constraint fingerprint_rules_pkey primary key (name, version)
    );

    -- The number of an item is the number in its DFID and, spelled as a UUID, its id. Gaps are fine, repeats impossible.
    create sequence item_numbers;
    create table items (
      item_number bigint constraint items_pkey primary key,
      value_chain text not null,
      country text not null,
      year smallint not null,
      merged_into bigint,
      created_at timestamptz not null default now()
    );
    create index items_merged_into_idx on items (merged_into) where merged_into is not null;

    -- What decides identity: a claim is owned by one item, whoever sent it.
    create table identifier_claims (
      identifier_type text collate "C" not null,
      value text collate "C" not null,
      item_number bigint not null,
      entry_id uuid not null,
      constraint identifier_claims_pkey primary key (identifier_type, value)
    );
    create index identifier_claims_item_idx on identifier_claims (item_number);

    -- What can be searched but identifies nothing: parties, places, classes, documents, contextual and unknown types.
    create table identifier_mentions (
      workspace_id uuid not null,
      identifier_type text collate "C" not null,
      value text collate "C" not null,
      item_number bigint not null,
      constraint identifier_mentions_pkey primary key (workspace_id, identifier_type, value, item_number)
    );

    -- What one workspace knows of one item: the fold over its entries, kept current. Entries are the truth it is made from.
    create table contributions (
      item_number bigint not null,
      workspace_id uuid not null,
      status text not null default 'active',
      version integer not null default 1,
      state json not null,
      registered_at timestamptz not null default now(),
      updated_at timestamptz not null default now(),
      constraint contributions_pkey primary key (item_number, workspace_id)
    ) with (fillfactor = 90);
    create index contributions_workspace_idx on contributions (workspace_id, item_number);

    create type entry_status as enum ('completed', 'rejected', 'failed', 'conflicted');
    create type entry_outcome as enum ('created', 'enriched', 'duplicate', 'conflict');
    create table entries (
      -- the receipt's id plus position + 1: one key finds an entry, its receipt and all entries of a receipt in order
      entry_id uuid constraint entries_pkey primary key,
      workspace_id uuid not null,
      item_number bigint,
      received_sequence bigint not null,
      effective_at timestamptz not null,
      line integer,
      byte_start integer not null,
      byte_length integer not null,
      status entry_status not null,
      outcome entry_outcome,
      record json,
      error json
    );
    create index entries_item_idx on entries (item_number);

    create table item_merges (
      merge_id uuid constraint item_merges_pkey primary key,
      survivor bigint not null,
      loser bigint not null,
      workspace_id uuid not null,
      entry_id uuid,
      -- exactly what moved, so that the link can be taken back
      moved_claims json not null,
      moved_items bigint[] not null,
      merged_at timestamptz not null default now()
    );
    create index item_merges_survivor_idx on item_merges (survivor);
    create index item_merges_loser_idx on item_merges (loser);
    create index item_merges_entry_idx on item_merges (entry_id) where entry_id is not null;
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    drop table item_merges; drop table entries; drop type entry_outcome; drop type entry_status; drop table contributions;
    drop table identifier_mentions; drop table identifier_claims; drop table items; drop sequence item_numbers;
    drop table fingerprint_rules; drop table identifier_types;
  `);
}
