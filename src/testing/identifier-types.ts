import { openDatabase } from '#platform/database.ts';
import { makeTypeRegistry, type TypeRegistry } from '#domains/items/index.ts';
import { readFingerprintRules } from '#domains/items/fingerprint-rules.store.ts';
import { readIdentifierTypes } from '#domains/items/identifier-types.store.ts';
import type { FingerprintRule, IdentifierType } from '#domains/items/identifier-types.ts';
import { createTestDatabase } from './database.ts';

interface TypesOfNewInstallation {
  readonly types: readonly IdentifierType[];
  readonly fingerprintRules: readonly FingerprintRule[];
  readonly registry: TypeRegistry;
}

/** The identifier types and rules that a new installation has, as its migrations made them. */
export async function readTypesOfNewInstallation(): Promise<TypesOfNewInstallation> {
  const testDatabase = await createTestDatabase();
  const database = openDatabase({ url: testDatabase.url, poolSize: 1, applicationName: 'test' });
  try {
    const types = await readIdentifierTypes(database.knex);
    const fingerprintRules = await readFingerprintRules(database.knex);
    return { types, fingerprintRules, registry: makeTypeRegistry(types, fingerprintRules) };
  } finally {
    await database.close();
    await testDatabase.drop();
  }
}
