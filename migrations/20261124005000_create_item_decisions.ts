import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    set local lock_timeout = '5s';

    -- A case: everything of one contested component, until a person decides it.
    create table conflicts (
      conflict_id uuid constraint conflicts_pkey primary key,
      status text not null default 'open' constraint conflicts_status_check check (status in ('open', 'resolved', 'joined')),
      joined_into uuid,
      opened_at timestamptz not null default now(),
      resolved_at timestamptz,
      resolved_by text,
      action text constraint conflicts_action_check check (action in ('merge', 'attach', 'separate', 'reject', 'withdrawn')),
      reason text,
      item_numbers bigint[] not null default '{}',
      target_item bigint,
      -- What contradicted what when a person decided, by entry.
      contradictions json,
      constraint conflicts_resolution_check check ((status = 'resolved') = (resolved_at is not null and action is not null))
    );
    create table conflict_entries (
      entry_id uuid constraint conflict_entries_pkey primary key,
      conflict_id uuid not null
    );
    create index conflict_entries_conflict_idx on conflict_entries (conflict_id);
    -- Who may see a case: those whose records wait in it and those who contributed to its items.
    create table conflict_participants (
      workspace_id uuid not null,
      conflict_id uuid not null,
      constraint conflict_participants_pkey primary key (workspace_id, conflict_id)
    );
    create index conflict_participants_conflict_idx on conflict_participants (conflict_id);
    -- What belongs to open cases: what touches it later belongs to the same case.
    create table contested_claims (
      identifier_type text collate "C" not null,
      value text collate "C" not null,
      conflict_id uuid not null,
      constraint contested_claims_pkey primary key (identifier_type, value)
    );
    create index contested_claims_conflict_idx on contested_claims (conflict_id);
    create table contested_items (
      item_number bigint constraint contested_items_pkey primary key,
      conflict_id uuid not null
    );
    create index contested_items_conflict_idx on contested_items (conflict_id);
    -- What was decided about records with the same identifiers, so that they do not ask again.
    create table remembered_decisions (
      workspace_id uuid not null,
      evidence_hash bytea not null,
      action text not null constraint remembered_decisions_action_check check (action in ('attach', 'reject')),
      item_number bigint,
      conflict_id uuid not null,
      constraint remembered_decisions_pkey primary key (workspace_id, evidence_hash)
    );

    -- Pairs of items that a person keeps apart for good.
    create table item_separations (
      lower_item bigint not null,
      higher_item bigint not null,
      workspace_id uuid not null,
      decided_by text not null,
      reason text,
      decided_at timestamptz not null default now(),
      constraint item_separations_pkey primary key (lower_item, higher_item),
      constraint item_separations_order_check check (lower_item < higher_item)
    );
    create index item_separations_higher_idx on item_separations (higher_item);

    -- Canonical identifiers that a workspace added to an item of others: for that workspace they lead to the item, for
    -- nobody else.
    create table workspace_claims (
      workspace_id uuid not null,
      identifier_type text collate "C" not null,
      value text collate "C" not null,
      item_number bigint not null,
      entry_id uuid not null,
      constraint workspace_claims_pkey primary key (workspace_id, identifier_type, value)
    );
    create index workspace_claims_item_idx on workspace_claims (item_number);
    create index workspace_claims_value_idx on workspace_claims (identifier_type, value);

    -- Identifiers of an entry that a person gave to another item than the rest of it.
    create table entry_divisions (
      entry_id uuid not null,
      item_number bigint not null,
      claims json not null,
      constraint entry_divisions_pkey primary key (entry_id, item_number)
    );
    create index entry_divisions_item_idx on entry_divisions (item_number);

    create table item_relationships (
      relationship_id uuid constraint item_relationships_pkey primary key,
      workspace_id uuid not null,
      primary_item bigint not null,
      related_item bigint not null,
      relationship_type text not null constraint item_relationships_type_check
        check (relationship_type in ('duplicate', 'derived', 'related')),
      origin text not null constraint item_relationships_origin_check check (origin in ('declared', 'split')),
      quantity numeric constraint item_relationships_quantity_check check (quantity > 0),
      unit text,
      created_by text not null,
      created_at timestamptz not null default now(),
      constraint item_relationships_pair_key unique (workspace_id, primary_item, related_item, relationship_type)
    );
    create index item_relationships_primary_idx on item_relationships (primary_item);
    create index item_relationships_related_idx on item_relationships (related_item);

    -- When a person last said that all that the item is made of is one thing.
    alter table items add column vouched_at timestamptz;
    alter table item_merges add column decided_by text, add column reason text, add column strategy text, add column overrides json,
      add column undone_at timestamptz, add column undone_by text;
    -- Events about a case belong to no item: who sees the case may not know the item.
    alter table events alter column item_number drop not null, add column withdrawn_at timestamptz;
    alter table entries add column withdrawn_at timestamptz, add column withdrawn_by text, add column withdrawal_reason text;
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    delete from events where item_number is null;
    alter table events alter column item_number set not null, drop column withdrawn_at;
    alter table entries drop column withdrawn_at, drop column withdrawn_by, drop column withdrawal_reason;
    alter table items drop column vouched_at;
    alter table item_merges drop column decided_by, drop column reason, drop column strategy, drop column overrides, drop column undone_at,
      drop column undone_by;
    drop table item_relationships; drop table entry_divisions; drop table workspace_claims; drop table item_separations;
    drop table remembered_decisions; drop table contested_items; drop table contested_claims; drop table conflict_participants;
    drop table conflict_entries; drop table conflicts;
  `);
}
