import type { Knex } from 'knex';

// Built beside the traffic, which no transaction allows.
export const config = { transaction: false };

const indexes = {
  conflict_participants_open_idx: 'conflict_participants (workspace_id, conflict_id) where is_open',
  conflict_participants_closed_idx: 'conflict_participants (workspace_id, conflict_id) where not is_open',
  conflicts_open_idx: `conflicts (conflict_id) where status = 'open'`,
  conflicts_resolved_idx: `conflicts (conflict_id) where status = 'resolved'`,
  conflicts_listed_idx: `conflicts (conflict_id) where status <> 'joined'`,
  conflicts_items_idx: 'conflicts using gin (item_numbers)',
};

export async function up(knex: Knex): Promise<void> {
  for (const [name, on] of Object.entries(indexes))
    await knex.raw(`create index concurrently if not exists ${name} on ${on}`);
}

export async function down(knex: Knex): Promise<void> {
  for (const name of Object.keys(indexes)) await knex.raw(`drop index concurrently if exists ${name}`);
}
