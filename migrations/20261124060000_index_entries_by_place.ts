import type { Knex } from 'knex';

// Built beside the traffic, which no transaction allows.
export const config = { transaction: false };

/** Finds what comes right before a place in the order of what one workspace sent for an item; its prefix finds all of an item. */
export async function up(knex: Knex): Promise<void> {
  // A build that was cut short leaves an index that is never used.
  await knex.raw('drop index concurrently if exists entries_place_idx');
  await knex.raw(
    'create index concurrently entries_place_idx on entries (item_number, workspace_id, effective_at, received_sequence, entry_id)',
  );
  await knex.raw('drop index concurrently if exists entries_item_idx');
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('drop index concurrently if exists entries_item_idx');
  await knex.raw('create index concurrently entries_item_idx on entries (item_number)');
  await knex.raw('drop index concurrently if exists entries_place_idx');
}
