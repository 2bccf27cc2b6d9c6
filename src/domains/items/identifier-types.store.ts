import type { Knex } from '#platform/database.ts';
import type { FingerprintRule, IdentifierType } from './identifier-types.ts';

interface TypeRow {
  name: string;
  aliases: string[];
  subject: IdentifierType['subject'];
  is_canonical: boolean;
  cardinality: IdentifierType['cardinality'];
  value_chains: IdentifierType['valueChains'];
  normaliser: IdentifierType['normaliser'];
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
  const rows = await knex('identifier_types')
    .where({ is_active: true })
    .orderBy('name')
    .select<TypeRow[]>('name', 'aliases', 'subject', 'is_canonical', 'cardinality', 'value_chains', 'normaliser');
  return rows.map(({ is_canonical: isCanonical, value_chains: valueChains, ...row }) => ({
    ...row,
    isCanonical,
    valueChains,
  }));
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
