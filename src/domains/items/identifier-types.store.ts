import type { Knex } from '#platform/database.ts';
import type { FingerprintRule, IdentifierType } from './identifier-types.ts';

interface TypeRow {
  name: string;
  aliases: string[];
  subject: IdentifierType['subject'];
  cardinality: IdentifierType['cardinality'];
  normaliser: IdentifierType['normaliser'];
  canonical_chains: IdentifierType['canonicalChains'];
  scope: IdentifierType['scope'];
}

interface RuleRow {
  name: string;
  version: number;
  value_chains: FingerprintRule['valueChains'];
  identifier_types: string[];
  period: FingerprintRule['period'];
}

/** The types that are in force, by name. */
export async function readIdentifierTypes(knex: Knex): Promise<IdentifierType[]> {
  const rows = await knex('identifier_types as types')
    .leftJoin('canonical_identifiers as pairs', 'pairs.identifier_type', 'types.name')
    .where('types.is_active', true)
    .groupBy('types.name')
    .orderBy('types.name')
    .select<TypeRow[]>(
      'types.name',
      'types.aliases',
      'types.subject',
      'types.cardinality',
      'types.normaliser',
      knex.raw(
        `coalesce(array_agg(pairs.value_chain order by pairs.value_chain) filter (where pairs.is_active), '{}') as canonical_chains`,
      ),
      knex.raw(`case when count(pairs.value_chain) > 0 then 'global' else 'workspace' end as scope`),
    );
  return rows.map(({ canonical_chains: canonicalChains, ...row }) => ({ ...row, canonicalChains }));
}

/** The rules that are in force, by name. */
export async function readFingerprintRules(knex: Knex): Promise<FingerprintRule[]> {
  const rows = await knex('fingerprint_rules')
    .where({ is_active: true })
    .orderBy('name')
    .select<RuleRow[]>('name', 'version', 'value_chains', 'identifier_types', 'period');
  return rows.map(({ value_chains: valueChains, identifier_types: identifierTypes, ...row }) => ({
    ...row,
    valueChains,
    identifierTypes,
  }));
}
