import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { foldName, makeTypeIndex, seedFingerprintRules, seedIdentifierTypes } from './identifier-types.ts';
import { valueChains } from './value-chain.ts';

describe('foldName', () => {
  it.each([
    ['SISBOV', 'sisbov'],
    ['  Código Ígual ', 'codigo igual'],
    ['\u00a0Talhão\u3000', 'talhao'],
    ['Talha\u0303o', 'talhao'],
    ['', ''],
    ['   ', ''],
  ])('folds case, accents and surrounding blanks: %j', (text, folded) => {
    expect(foldName(text)).toBe(folded);
  });

  it('keeps control characters and other widths, so that such a name matches none', () => {
    expect(foldName('\tlote')).toBe('\tlote');
    expect(foldName('lote\u0000')).toBe('lote\u0000');
    expect(foldName('ｌｏｔｅ')).toBe('ｌｏｔｅ');
  });

  it('keeps the vowel signs of scripts that write them as marks', () => {
    expect(foldName('कि')).not.toBe(foldName('कु'));
  });

  it('gives the same when folded again', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(foldName(foldName(text))).toBe(foldName(text));
      }),
    );
  });

  it('takes time in proportion to the length', () => {
    expect(foldName(`${' '.repeat(1_000_000)}é${' '.repeat(1_000_000)}é`)).toHaveLength(1_000_002);
  });
});

describe('the seeds', () => {
  it('name each type once', () => {
    expect(() => makeTypeIndex(seedIdentifierTypes)).not.toThrow();
    for (const { name, aliases } of seedIdentifierTypes) {
      expect([name, ...aliases].map(foldName)).toEqual([name, ...aliases]);
    }
  });

  it('let no value chain split a canonical identifier', () => {
    for (const type of seedIdentifierTypes.filter(({ isCanonical }) => isCanonical)) {
      expect(type.valueChains).toEqual(valueChains);
    }
  });

  it('let three types alone identify an item, each with one value at a time', () => {
    const identifying = seedIdentifierTypes.filter(({ subject, isCanonical }) => subject === 'item' && isCanonical);
    expect(identifying.map(({ name, cardinality }) => [name, cardinality])).toEqual([
      ['sisbov', 'one'],
      ['chip', 'one'],
      ['sgtin', 'one'],
    ]);
  });

  it('have no fingerprint rule for cattle', () => {
    expect(seedFingerprintRules.flatMap((rule) => rule.valueChains)).toEqual(['SOY', 'CORN', 'POULTRY']);
  });

  it('make fingerprints out of contextual item types that are in use in the chain', () => {
    const index = makeTypeIndex(seedIdentifierTypes);
    for (const rule of seedFingerprintRules) {
      for (const name of rule.identifierTypes) {
        const type = index.find(name);
        expect(type).toMatchObject({ name, subject: 'item', isCanonical: false, cardinality: 'one' });
        expect(type?.valueChains).toEqual(expect.arrayContaining([...rule.valueChains]));
      }
    }
  });
});

describe('makeTypeIndex', () => {
  const index = makeTypeIndex(seedIdentifierTypes);

  it.each([
    ['SISBOV', 'sisbov'],
    [' RFID ', 'chip'],
    ['Brinco_Eletrônico', 'chip'],
    ['brinco', 'brinco'],
    ['Talhão', 'talhao'],
    ['poultry_house', 'granja'],
  ])('finds %j as %s', (name, found) => {
    expect(index.find(name)?.name).toBe(found);
  });

  it.each(['', 'sisbov\u0000', '\tsisbov', 'sis bov', '__proto__', 'toString', 'x'.repeat(100_000)])(
    'does not know %j',
    (name) => {
      expect(index.find(name)).toBeUndefined();
    },
  );

  it('refuses a table in which two types share a name', () => {
    const [first, second] = seedIdentifierTypes;
    if (!first || !second) throw new Error('The seeds hold at least two types.');
    expect(() => makeTypeIndex([first, { ...second, aliases: [first.name.toUpperCase()] }])).toThrow(first.name);
  });
});
