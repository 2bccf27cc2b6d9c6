import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    -- of those headers whose name says that they carry a credential, sealed; "headers" has [redacted] in their place
    alter table webhook_endpoints add column header_credentials_sealed bytea, add column header_credentials_key_id text;
  `);
}

export async function down(knex: Knex): Promise<void> {
  // What is sealed would be lost.
  await knex.raw(`
    do $$ begin
      if exists (select from webhook_endpoints where header_credentials_sealed is not null) then
        raise exception 'credentials of webhooks are sealed; set the headers of these webhooks to none first';
      end if;
    end $$;
    alter table webhook_endpoints drop column header_credentials_sealed, drop column header_credentials_key_id;
  `);
}
