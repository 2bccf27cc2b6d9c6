import type { Knex } from 'knex';

/** Keeps what a long state says of the end of its item beside it too, where `canonical_claims` stands. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    set local lock_timeout = '5s';

    alter table contributions add column life json;

    create or replace function keep_canonical_claims() returns trigger language plpgsql as $$
      begin
        if octet_length(new.state::text) > 1000 then
          new.canonical_claims := canonical_claims_of(new.state);
          new.life := new.state -> 'life';
        else
          new.canonical_claims := null;
          new.life := null;
        end if;
        return new;
      end
    $$;
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    create or replace function keep_canonical_claims() returns trigger language plpgsql as $$
      begin
        new.canonical_claims := case when octet_length(new.state::text) > 1000 then canonical_claims_of(new.state) end;
        return new;
      end
    $$;
    alter table contributions drop column life;
  `);
}
