import type { Knex } from 'knex';

const addedTypes = [
  // What Brazilian transponder numbers are compared under, since they are sent as SISBOV numbers too.
  { name: 'official_transponder', subject: 'item', cardinality: 'one', normaliser: 'transponder' },
  { name: 'sscc', subject: 'item', cardinality: 'one', normaliser: 'sscc' },
  // A GTIN names a class; with a lot it names one batch, which an item can be.
  { name: 'lgtin', subject: 'item', cardinality: 'one', normaliser: 'lgtin' },
  { name: 'gln', subject: 'place', cardinality: 'many', normaliser: 'gln' },
  // Any key in any form: what the value identifies is decided by the type of the key that is found in it.
  { name: 'gs1', subject: 'item', cardinality: 'one', normaliser: 'gs1' },
];

export async function up(knex: Knex): Promise<void> {
  await knex.raw(
    `update identifier_types set aliases = array_remove(aliases, 'official_transponder') where name = 'chip'`,
  );
  await knex('identifier_types').insert(addedTypes);
  await knex.raw(
    `insert into canonical_identifiers (canonical_identifier_id, value_chain, identifier_type)
     select gen_random_uuid(), chains.value_chain, types.name
     from unnest(?::text[]) as types (name)
     cross join unnest(array['BEEF', 'POULTRY', 'PORK', 'SOY', 'CORN', 'COTTON', 'COFFEE', 'MILK', 'GENERIC']) as chains (value_chain)`,
    [addedTypes.map(({ name }) => name)],
  );
}

export async function down(knex: Knex): Promise<void> {
  const names = addedTypes.map(({ name }) => name);
  await knex('canonical_identifiers').whereIn('identifier_type', names).delete();
  await knex('identifier_types').whereIn('name', names).delete();
  await knex.raw(
    `update identifier_types set aliases = array_append(aliases, 'official_transponder') where name = 'chip'`,
  );
}
