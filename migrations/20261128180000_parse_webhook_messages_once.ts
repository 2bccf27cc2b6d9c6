import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    -- null for a body that is no JSON for Postgres, such as one with half a surrogate pair
    create function webhook_message_content(body text) returns jsonb language plpgsql immutable parallel safe as $$
    begin
      return body::jsonb;
    exception when data_exception then
      return null;
    end $$;

    -- the same as for a body, for one that is read once for many filters
    create function webhook_message_matches(content jsonb, filter jsonpath) returns boolean language sql immutable parallel safe
      return coalesce(jsonb_path_match(content, filter, silent => true), false);

    create index webhook_endpoints_filtered_idx on webhook_endpoints (workspace_id) where filter_path is not null;
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    drop index webhook_endpoints_filtered_idx;
    drop function webhook_message_matches(jsonb, jsonpath), webhook_message_content;
  `);
}
