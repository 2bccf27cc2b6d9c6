import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openDatabase, type Database } from '#platform/database.ts';
import { createTestDatabase, type TestDatabase } from '../../testing/database.ts';
import { readTypesOfNewInstallation } from '../../testing/identifier-types.ts';
import { foldName } from './fold-name.ts';
import { makeTypeRegistry, makeTypeRegistryLoader } from './type-registry.ts';
import { valueChains } from './value-chain.ts';

const { types, fingerprintRules, registry } = await readTypesOfNewInstallation();

describe('the types of a new installation', () => {
  it('name each type once', () => {
    expect(() => makeTypeRegistry(types, fingerprintRules)).not.toThrow();
    for (const { name, aliases } of types) {
      expect([name, ...aliases].map(foldName)).toEqual([name, ...aliases]);
    }
  });

  it('let no value chain split a canonical identifier', () => {
    for (const type of types) {
      expect([type.name, type.canonicalChains]).toEqual([
        type.name,
        type.scope === 'global' ? valueChains.toSorted() : [],
      ]);
    }
  });

  it('let few types alone identify an item, each with one value at a time', () => {
    const identifying = types.filter(({ subject, scope }) => subject === 'item' && scope === 'global');
    expect(identifying.map(({ name, cardinality }) => [name, cardinality])).toEqual([
      ['chip', 'one'],
      ['gs1', 'one'],
      ['lgtin', 'one'],
      ['official_transponder', 'one'],
      ['sgtin', 'one'],
      ['sisbov', 'one'],
      ['sscc', 'one'],
    ]);
  });

  it('have no fingerprint rule for cattle', () => {
    expect(fingerprintRules.flatMap((rule) => rule.valueChains)).toEqual(['SOY', 'CORN', 'POULTRY']);
  });

  it('make fingerprints out of contextual item types', () => {
    for (const rule of fingerprintRules) {
      for (const name of rule.identifierTypes) {
        expect(registry.find(name)).toMatchObject({ name, subject: 'item', scope: 'workspace', cardinality: 'one' });
      }
    }
  });
});

describe('makeTypeRegistry', () => {
  it.each([
    ['SISBOV', 'sisbov'],
    [' RFID ', 'chip'],
    ['Brinco_Eletrônico', 'chip'],
    ['brinco', 'brinco'],
    ['Talhão', 'talhao'],
    ['poultry_house', 'granja'],
  ])('finds %j as %s', (name, found) => {
    expect(registry.find(name)?.name).toBe(found);
  });

  it.each(['', 'sisbov\u0000', '\tsisbov', 'sis bov', '__proto__', 'toString', 'x'.repeat(100_000)])(
    'does not know %j',
    (name) => {
      expect(registry.find(name)).toBeUndefined();
    },
  );

  it('refuses a table in which two types share a name', () => {
    const [first, second] = types;
    if (!first || !second) throw new Error('there are at least two types');
    expect(() => makeTypeRegistry([first, { ...second, aliases: [first.name.toUpperCase()] }], [])).toThrow(first.name);
  });
});

describe('makeTypeRegistryLoader', () => {
  let testDatabase: TestDatabase;
  let database: Database;
  beforeAll(async () => {
    testDatabase = await createTestDatabase();
    database = openDatabase({ url: testDatabase.url, poolSize: 1, applicationName: 'test' });
  });
  afterAll(async () => {
    await database.close();
    await testDatabase.drop();
  });

  it('asks the database once in two seconds, and knows of a change after them', async () => {
    let nowMs = 0;
    const load = makeTypeRegistryLoader(database, () => nowMs);
    const before = await load();
    await database.knex('identifier_types').insert({
      name: 'ico_mark',
      subject: 'item',
      cardinality: 'one',
      normaliser: 'free_text',
    });
    nowMs = 2000;
    expect(await load()).toBe(before);
    nowMs = 2001;
    expect((await load()).find('ICO_Mark')).toMatchObject({ scope: 'workspace', canonicalChains: [] });
  });

  it('keeps the registry as long as nothing changes', async () => {
    let nowMs = 0;
    const load = makeTypeRegistryLoader(database, () => nowMs);
    const before = await load();
    nowMs = 60_000;
    expect(await load()).toBe(before);
  });

  it('asks again at once when the database did not answer', async () => {
    const load = makeTypeRegistryLoader(database, () => 0);
    await database.pool.query('alter table fingerprint_rules rename to away');
    await expect(load()).rejects.toThrow('fingerprint_rules');
    await database.pool.query('alter table away rename to fingerprint_rules');
    expect((await load()).find('sisbov')).toBeDefined();
  });
});
