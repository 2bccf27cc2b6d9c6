import { describe, expect, it } from 'vitest';
import { readTypesOfNewInstallation } from '../../testing/identifier-types.ts';
import { foldName } from './fold-name.ts';
import { makeTypeRegistry } from './type-registry.ts';
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
    for (const type of types.filter(({ isCanonical }) => isCanonical)) {
      expect(type.valueChains).toEqual(valueChains);
    }
  });

  it('let three types alone identify an item, each with one value at a time', () => {
    const identifying = types.filter(({ subject, isCanonical }) => subject === 'item' && isCanonical);
    expect(identifying.map(({ name, cardinality }) => [name, cardinality])).toEqual([
      ['chip', 'one'],
      ['sgtin', 'one'],
      ['sisbov', 'one'],
    ]);
  });

  it('have no fingerprint rule for cattle', () => {
    expect(fingerprintRules.flatMap((rule) => rule.valueChains)).toEqual(['SOY', 'CORN', 'POULTRY']);
  });

  it('make fingerprints out of contextual item types that are in use in the chain', () => {
    for (const rule of fingerprintRules) {
      for (const name of rule.identifierTypes) {
        const type = registry.find(name);
        expect(type).toMatchObject({ name, subject: 'item', isCanonical: false, cardinality: 'one' });
        expect(type?.valueChains).toEqual(expect.arrayContaining([...rule.valueChains]));
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
