import fc from 'fast-check';
import { createHash, randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { canonicalJson } from '#platform/json/canonical.ts';
import { commitmentFrom, commitmentIn, commitmentTo, disclose, entryOf } from './entry-commitment.ts';

const sha = (...parts: (string | Uint8Array)[]) => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest();
};
const someFields = fc.dictionary(fc.string({ minLength: 1 }), fc.jsonValue(), {
  minKeys: 1,
  maxKeys: 8,
  noNullPrototype: true,
});

describe('a commitment', () => {
  test('is made as its formula says', () => {
    const seed = Buffer.alloc(32, 7);
    const salts = createHash('shake256', { outputLength: 96 }).update(seed).digest();
    const digests = [
      ['a', sha('defarm-field-v1\0', salts.subarray(32, 64), '["a",1]').toString('hex')],
      ['b', sha('defarm-field-v1\0', salts.subarray(64, 96), '["b",{"x":"é","y":[]}]').toString('hex')],
    ];
    const expected = sha('defarm-entry-v1\0', salts.subarray(0, 32), canonicalJson(Object.fromEntries(digests)));

    const commitment = commitmentTo({ b: { y: [], x: 'é' }, a: 1 }, seed);

    expect(commitment).toEqual(expected);
    expect(entryOf(commitment).toString()).toBe(`{"c":"${expected.toString('hex')}","v":1}`);
    expect(commitmentIn(entryOf(commitment))).toBe(expected.toString('hex'));
  });

  test('is found again from any selection of its fields, and the digests of the others', () => {
    fc.assert(
      fc.property(someFields, fc.func(fc.boolean()), (fields, isShown) => {
        const seed = randomBytes(32);
        const shown = disclose(fields, seed, (name) => isShown(name));
        expect(commitmentFrom(shown.fields, Buffer.from(shown.salt, 'hex'))).toBe(
          commitmentTo(fields, seed).toString('hex'),
        );
      }),
    );
  });

  test('is another one for another value, name, salt or seed', () => {
    const seed = randomBytes(32);
    const { fields, salt } = disclose({ weight: 450 }, seed);
    const good = commitmentTo({ weight: 450 }, seed).toString('hex');
    const shownSalt = Buffer.from(salt, 'hex');
    expect(commitmentFrom({ weight: { ...fields['weight'], value: 451 } as never }, shownSalt)).not.toBe(good);
    expect(commitmentFrom({ weights: fields['weight']! }, shownSalt)).not.toBe(good);
    expect(commitmentFrom(fields, randomBytes(32))).not.toBe(good);
    expect(commitmentTo({ weight: 450 }, randomBytes(32)).toString('hex')).not.toBe(good);
  });

  test('shows nothing of a field that is not shown', () => {
    const { fields } = disclose({ name: 'Fazenda São José', weight: 1 }, randomBytes(32), (name) => name === 'weight');
    expect(Object.keys(fields['name']!)).toEqual(['digest']);
    expect(JSON.stringify(fields)).not.toContain('Fazenda');
  });
});
