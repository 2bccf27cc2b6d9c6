import type { Knex } from '#platform/database.ts';
import type { FingerprintRule } from './identifier-types.ts';

interface RuleRow {
  name: string;
  version: number;
  value_chains: FingerprintRule['valueChains'];
  identifier_types: string[];
  period: FingerprintRule['period'];
  is_active: boolean;
}

/** A version of a rule and whether it is in force. */
export interface ListedFingerprintRule extends FingerprintRule {
  isActive: boolean;
}

/** The rules that are in force, by name. */
export async function readFingerprintRules(knex: Knex): Promise<FingerprintRule[]> {
  const rules = await listFingerprintRules(knex);
  return rules.flatMap(({ isActive, ...rule }) => (isActive ? rule : []));
}

/** All versions of all rules, by name, the newest first. */
export async function listFingerprintRules(knex: Knex): Promise<ListedFingerprintRule[]> {
  const rows = await knex('fingerprint_rules')
    .orderBy('name')
    .orderBy('version', 'desc')
    .select<RuleRow[]>('name', 'version', 'value_chains', 'identifier_types', 'period', 'is_active');
  return rows.map(({ name, version, period, ...row }) => ({
    name,
    version,
    valueChains: row.value_chains,
    identifierTypes: row.identifier_types,
    period,
    isActive: row.is_active,
  }));
}

/** Lets one transaction at a time change the rules. Readers do not wait. */
export async function lockFingerprintRules(transaction: Knex): Promise<void> {
  await transaction.raw('lock table fingerprint_rules in share row exclusive mode');
}

/** Puts a version of a rule in force, and all others of that name out of force. */
export async function insertFingerprintRule(transaction: Knex, rule: FingerprintRule): Promise<void> {
  const { name, version, valueChains, identifierTypes, period } = rule;
  await transaction('fingerprint_rules').where({ name }).update({ is_active: false });
  await transaction('fingerprint_rules').insert({
    name,
    version,
    value_chains: valueChains,
    identifier_types: identifierTypes,
    period,
  });
}
