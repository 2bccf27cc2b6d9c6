import type { Knex } from 'knex';

// Built beside the traffic, which no transaction allows.
export const config = { transaction: false };

// The order of the list of pending items: priority (negated, so that all columns ascend), kind of fault, age.
// A code that is not named here has the priority Normal.
const rank = `(-least(4, case error ->> 'code'
    when 'no_identifying_identifier' then 3
    when 'quality_rule' then case error ->> 'severity' when 'Critical' then 4 when 'High' then 3 when 'Medium' then 2 else 1 end
    when 'processing_failed' then 1 when 'unprocessable_record' then 1 when 'record_not_found' then 1
    else 2 end + coalesce((error ->> 'raised')::int4, 0)))`;

export async function up(knex: Knex): Promise<void> {
  // One that was begun and not finished is there, and of no use.
  await knex.raw('drop index concurrently if exists entries_pending_idx');
  await knex.raw(
    `create index concurrently entries_pending_idx on entries (workspace_id, ${rank}, ((error ->> 'code') collate "C"), entry_id)
     where status in ('rejected', 'failed') and dismissed_at is null`,
  );
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('drop index concurrently if exists entries_pending_idx');
}
