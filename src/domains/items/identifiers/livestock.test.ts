import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { normaliseSisbov, normaliseTransponder } from './livestock.ts';
import { accepted } from './result.ts';

const twelveDigits = fc.string({ unit: fc.constantFrom(...Array.from('0123456789')), minLength: 12, maxLength: 12 });

describe('normaliseSisbov', () => {
  it.each([
    ['105500000000001', 'sisbov', '105500000000001'],
    ['BR500000000001', 'sisbov', '105500000000001'],
    ['br 5000.0000-0001', 'sisbov', '105500000000001'],
    ['105/5000 0000\u00a00001', 'sisbov', '105500000000001'],
    ['BR105500000000', 'sisbov', '105105500000000'],
    ['076000000000123', 'official_transponder', '076000000000123'],
    ['900 000 000 000 001', 'chip', '900000000000001'],
    ['998000000000001', 'chip', '998000000000001'],
  ])('reads %j as %s %s', (raw, claimType, value) => {
    expect(normaliseSisbov(raw)).toEqual(accepted(claimType, value));
  });

  it.each([
    ['the test code', '999000000000001'],
    ['a foreign country', '032000000000001'],
    ['no country', '000000000000001'],
    ['BR and 11 digits', 'BR50000000001'],
    ['BR and 13 digits', 'BR5000000000012'],
    ['BR and 15 digits', 'BR105500000000001'],
    ['14 digits', '10550000000001'],
    ['16 digits', '1055000000000012'],
    ['letters', '10550000000000A'],
    ['another separator', '105_500000000001'],
    ['full-width digits', 'BR５００００００００００１'],
    ['only separators', '.-/'],
  ])('refuses %s', (_, raw) => {
    expect(normaliseSisbov(raw)).toMatchObject({ ok: false, code: 'invalid_identifier' });
  });

  it('reads BR and 105 before the same twelve digits as one number', () => {
    fc.assert(
      fc.property(twelveDigits, (digits) => {
        expect(normaliseSisbov(`BR${digits}`)).toEqual(normaliseSisbov(`105${digits}`));
      }),
    );
  });
});

describe('normaliseTransponder', () => {
  it.each([
    ['076 0000 0000 0123', 'official_transponder', '076000000000123'],
    ['001000000000001', 'chip', '001000000000001'],
    ['032-000000000001', 'chip', '032000000000001'],
    ['899000000000001', 'chip', '899000000000001'],
    ['982.000.000.000.001', 'chip', '982000000000001'],
  ])('reads %j as %s %s', (raw, claimType, value) => {
    expect(normaliseTransponder(raw)).toEqual(accepted(claimType, value));
  });

  it.each(['000000000000001', '999000000000001', '98200000000001', '9820000000000012', 'BR500000000001', ''])(
    'refuses %j',
    (raw) => {
      expect(normaliseTransponder(raw)).toMatchObject({ ok: false, code: 'invalid_identifier' });
    },
  );
});

it('a number of the Brazilian country code or of a manufacturer is one, sent as SISBOV or as chip', () => {
  const prefix = fc.oneof(fc.constant('076'), fc.integer({ min: 900, max: 998 }).map(String));
  fc.assert(
    fc.property(prefix, twelveDigits, (code, digits) => {
      expect(normaliseSisbov(code + digits)).toEqual(normaliseTransponder(code + digits));
    }),
  );
});
