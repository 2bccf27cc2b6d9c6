import type { Knex } from '#platform/database.ts';
import type { IdentifierType } from './identifier-types.ts';

interface TypeRow {
  name: string;
  aliases: string[];
  subject: IdentifierType['subject'];
  cardinality: IdentifierType['cardinality'];
  normaliser: IdentifierType['normaliser'];
  is_active: boolean;
  canonical_chains: IdentifierType['canonicalChains'];
  scope: IdentifierType['scope'];
}

/** A type and whether it is in force. */
export interface ListedIdentifierType extends IdentifierType {
  isActive: boolean;
}

/** The types that are in force, by name. */
export async function readIdentifierTypes(knex: Knex): Promise<IdentifierType[]> {
  const types = await listIdentifierTypes(knex);
  return types.flatMap(({ isActive, ...type }) => (isActive ? type : []));
}

/** All types, by name. */
export async function listIdentifierTypes(knex: Knex): Promise<ListedIdentifierType[]> {
  const rows = await knex('identifier_types as types')
    .leftJoin('canonical_identifiers as pairs', 'pairs.identifier_type', 'types.name')
    .groupBy('types.name')
    .orderBy('types.name')
    .select<TypeRow[]>(
      'types.name',
      'types.aliases',
      'types.subject',
      'types.cardinality',
      'types.normaliser',
      'types.is_active',
      knex.raw(
        `coalesce(array_agg(pairs.value_chain order by pairs.value_chain) filter (where pairs.is_active), '{}') as canonical_chains`,
      ),
      knex.raw(`case when count(pairs.value_chain) > 0 then 'global' else 'workspace' end as scope`),
    );
  return rows.map(({ canonical_chains: canonicalChains, is_active: isActive, ...row }) => ({
    ...row,
    canonicalChains,
    isActive,
  }));
}
