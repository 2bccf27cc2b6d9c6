import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    -- Where a type is canonical: its values mean the same whoever sends them, and identify an item if that is its subject.
    create table canonical_identifiers (
      canonical_identifier_id uuid constraint canonical_identifiers_pkey primary key,
      value_chain text not null,
      identifier_type text not null constraint canonical_identifiers_type_fkey references identifier_types (name),
      is_active boolean not null default true,
      created_at timestamptz not null default now(),
      constraint canonical_identifiers_type_chain_key unique (identifier_type, value_chain)
    );
    insert into canonical_identifiers (canonical_identifier_id, value_chain, identifier_type)
      select gen_random_uuid(), chains.value_chain, types.name
      from identifier_types as types cross join unnest(types.value_chains) as chains (value_chain)
      where types.is_canonical;

    -- Only the version before reads these; for it, what is added from now on is contextual.
    alter table identifier_types alter column is_canonical set default false, alter column value_chains set default '{}';
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    alter table identifier_types alter column is_canonical drop default, alter column value_chains drop default;
    drop table canonical_identifiers;
  `);
}
