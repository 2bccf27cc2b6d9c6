import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    -- the leaves of the log that are about events of one item, for each workspace, 256 to a page
    create table item_tree_pages (
      workspace_id uuid not null,
      item_number bigint not null,
      page integer not null,
      leaves bytea not null,
      -- over the leaves of this page
      page_root bytea not null,
      -- of the complete subtrees that the pages before make up, from left to right
      subtrees_before bytea not null,
      -- over all leaves to the end of this page
      root bytea not null,
      updated_at timestamptz not null default now(),
      constraint item_tree_pages_pkey primary key (workspace_id, item_number, page)
    );

    -- how many entries of the log the trees have taken in; the one row that who grows them holds
    create table item_tree_state (
      is_only boolean constraint item_tree_state_pkey primary key default true constraint item_tree_state_is_only_check check (is_only),
      size bigint not null
    );
    insert into item_tree_state (size) values (0);
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('drop table item_tree_state, item_tree_pages');
}
