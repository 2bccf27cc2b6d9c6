import type { Knex } from 'knex';
import { seedFingerprintRules, seedIdentifierTypes } from '../src/domains/items/identifier-types.ts';

export async function up(knex: Knex): Promise<void> {
  await knex('identifier_types').insert(
    seedIdentifierTypes.map((type) => ({
      name: type.name,
      aliases: type.aliases,
      subject: type.subject,
      is_canonical: type.isCanonical,
      cardinality: type.cardinality,
      value_chains: type.valueChains,
      normaliser: type.normaliser,
    })),
  );
  await knex('fingerprint_rules').insert(
    seedFingerprintRules.map((rule) => ({
      name: rule.name,
      version: rule.version,
      value_chains: rule.valueChains,
      identifier_types: rule.identifierTypes,
      period: rule.period,
    })),
  );
}

export async function down(knex: Knex): Promise<void> {
  await knex('fingerprint_rules').delete();
  await knex('identifier_types').delete();
}
