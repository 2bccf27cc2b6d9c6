import type { Knex } from 'knex';

/**
 * Keeps the canonical identifiers of a long state beside it, so that what a stranger knows of an item need not be read to
 * tell what the stranger named. A short state is read as quickly as they are. A trigger does it, since the version before
 * writes states too during a deployment; rows from before get theirs with their next state.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    set local lock_timeout = '5s';

    alter table contributions add column canonical_claims json;

    -- [[claim type, value], …] in one order
    create function canonical_claims_of(state json) returns json language sql immutable parallel safe as $$
      select coalesce(json_agg(json_build_array(claim_type, value) order by claim_type, value), '[]')
      from (select (identifier ->> 2) collate "C" as claim_type, (identifier ->> 3) collate "C" as value
            from json_array_elements(state -> 'identifiers') as identifier where identifier ->> 4 = '1') as claims
    $$;

    create function keep_canonical_claims() returns trigger language plpgsql as $$
      begin
        new.canonical_claims := case when octet_length(new.state::text) > 1000 then canonical_claims_of(new.state) end;
        return new;
      end
    $$;
    create trigger contributions_long_state before insert or update of state on contributions
      for each row when (octet_length(new.state::text) > 1000) execute function keep_canonical_claims();
    create trigger contributions_shortened_state before update of state on contributions
      for each row when (octet_length(new.state::text) <= 1000 and old.canonical_claims is not null)
      execute function keep_canonical_claims();
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    drop trigger contributions_shortened_state on contributions;
    drop trigger contributions_long_state on contributions;
    drop function keep_canonical_claims;
    drop function canonical_claims_of;
    alter table contributions drop column canonical_claims;
  `);
}
