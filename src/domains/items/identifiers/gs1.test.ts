import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { normaliseGtin, normaliseSgtin } from './gs1.ts';
import { accepted } from './result.ts';

/** The check digit by the table of weights for a 14-digit number, in another way than the code under test. */
function withCheckDigit(body: string): string {
  const total = Array.from(body.padStart(13, '0')).reduce(
    (sum, digit, index) => sum + Number(digit) * (index % 2 ? 1 : 3),
    0,
  );
  return body + String((1000 - total) % 10);
}

function digits(length: number) {
  return fc
    .string({ unit: fc.constantFrom(...Array.from('0123456789')), minLength: length, maxLength: length })
    .filter((text) => /[1-9]/.test(text));
}

const anyGtin = fc.constantFrom(7, 11, 12, 13).chain(digits).map(withCheckDigit);
const set82 = Array.from('!"%&\'()*+,-./0123456789:;<=>?ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz');
const anySerial = fc
  .string({ unit: fc.constantFrom(...set82), minLength: 1, maxLength: 20 })
  .filter((serial) => !/\(\d{2,4}\)/.test(serial));

function escapedFor(serial: string, characters: RegExp): string {
  return serial.replace(characters, (one) => `%${one.charCodeAt(0).toString(16).padStart(2, '0')}`);
}

describe('normaliseGtin', () => {
  it.each([
    ['96385074', '00000096385074'],
    ['614141123452', '00614141123452'],
    ['4006381333931', '04006381333931'],
    ['10614141123459', '10614141123459'],
    ['(01)10614141123459', '10614141123459'],
    [' 4006381333931 ', '04006381333931'],
  ])('reads %j as %s', (raw, value) => {
    expect(normaliseGtin('gtin', raw)).toEqual(accepted('gtin', value));
  });

  it.each([
    ['wrong_check_digit', '4006381333932'],
    ['wrong_check_digit', '(01)10614141123458'],
    ['invalid_identifier', '400638133393'.slice(0, 11)],
    ['invalid_identifier', '963850745'],
    ['invalid_identifier', '(01)4006381333931'],
    ['invalid_identifier', '4006381-333931'],
    ['invalid_identifier', '00000000'],
    ['invalid_identifier', '４００６３８１３３３９３１'],
  ])('refuses as %s: %s', (code, raw) => {
    expect(normaliseGtin('gtin', raw)).toMatchObject({ ok: false, code });
  });

  it('takes every number with the right check digit, of any length the same as filled with zeros', () => {
    fc.assert(
      fc.property(anyGtin, (gtin) => {
        expect(normaliseGtin('gtin', gtin)).toEqual(accepted('gtin', gtin.padStart(14, '0')));
      }),
    );
  });

  it('refuses any change of one digit', () => {
    fc.assert(
      fc.property(anyGtin, fc.nat(13), fc.integer({ min: 1, max: 9 }), (gtin, at, by) => {
        const position = at % gtin.length;
        const changed = gtin.slice(0, position) + ((Number(gtin[position]) + by) % 10) + gtin.slice(position + 1);
        expect(normaliseGtin('gtin', changed).ok).toBe(false);
      }),
    );
  });
});

describe('normaliseSgtin', () => {
  const value = '(01)80614141123458(21)6789';

  it.each([
    value,
    '0180614141123458216789',
    'urn:epc:id:sgtin:0614141.812345.6789',
    'URN:EPC:id:sgtin:0614141.812345.6789',
    'urn:epc:id:sgtin:0614141.812345.%36789',
    'https://id.gs1.org/01/80614141123458/21/6789',
    'http://example.com/some/path/01/80614141123458/21/6789',
    'HTTPS://example.com:8443/01/80614141123458/22/2A/10/LOT%201/21/6789?17=271231#top',
    ` ${value} `,
  ])('reads %s as one and the same key', (raw) => {
    expect(normaliseSgtin('sgtin', raw)).toEqual(accepted('sgtin', value));
  });

  it.each([
    ['urn:epc:id:sgtin:0614141.112345.a%2Fb%25%22', '(01)10614141123459(21)a/b%"'],
    ['https://example.com/01/10614141123459/21/a%2Fb%3F', '(01)10614141123459(21)a/b?'],
    ['https://example.com/01/4006381333931/21/1', '(01)04006381333931(21)1'],
    ['https://example.com/01/10614141123459/21/2/01/80614141123458/21/6789', value],
    ['(01)10614141123459(21)(a)', '(01)10614141123459(21)(a)'],
    ['urn:epc:id:sgtin:061414112345.1.A', '(01)10614141123459(21)A'],
  ])('reads %s as %s', (raw, expected) => {
    expect(normaliseSgtin('sgtin', raw)).toEqual(accepted('sgtin', expected));
  });

  it.each([
    ['a GTIN alone', '(01)80614141123458'],
    ['no serial', '(01)80614141123458(21)'],
    ['a serial of 21 characters', `(01)80614141123458(21)${'a'.repeat(21)}`],
    ['a character outside of set 82', '(01)80614141123458(21)a#b'],
    ['a blank in the serial', '(01)80614141123458(21)a b'],
    ['an accent in the serial', '(01)80614141123458(21)é'],
    ['another element after the serial', '(01)80614141123458(21)6789(10)LOT'],
    ['the same in an EPC URI', 'urn:epc:id:sgtin:0614141.812345.6789(10)LOT'],
    ['a short GTIN in brackets', '(01)4006381333931(21)1'],
    ['a GTIN of zeros', '(01)00000000000000(21)1'],
    ['an EPC with 12 digits', 'urn:epc:id:sgtin:0614141.12345.1'],
    ['an EPC with 14 digits', 'urn:epc:id:sgtin:0614141.1123456.1'],
    ['an EPC company of 5 digits', 'urn:epc:id:sgtin:06141.11123456.1'],
    ['an EPC pattern', 'urn:epc:idpat:sgtin:0614141.112345.*'],
    ['an EPC with an unescaped slash', 'urn:epc:id:sgtin:0614141.112345.a/b'],
    ['a broken escape', 'urn:epc:id:sgtin:0614141.112345.a%2'],
    ['an escaped control character', 'urn:epc:id:sgtin:0614141.112345.a%00'],
    ['an escape outside of ASCII', 'https://example.com/01/80614141123458/21/%C3%A9'],
    ['a link without serial', 'https://example.com/01/80614141123458'],
    ['a link with the serial in its query', 'https://example.com/01/80614141123458?21=6789'],
    ['a link that goes on', 'https://example.com/01/80614141123458/21/6789/'],
    ['a link of another scheme', 'ftp://example.com/01/80614141123458/21/6789'],
    ['a link without host', 'https:///01/80614141123458/21/6789'],
  ])('refuses %s', (_, raw) => {
    expect(normaliseSgtin('sgtin', raw)).toMatchObject({ ok: false, code: 'invalid_identifier' });
  });

  it.each(['(01)80614141123459(21)6789', '0180614141123459216789', 'https://example.com/01/80614141123459/21/6789'])(
    'refuses the wrong check digit of %s',
    (raw) => {
      expect(normaliseSgtin('sgtin', raw)).toMatchObject({ ok: false, code: 'wrong_check_digit' });
    },
  );

  it('gives one value for all forms of a key, and for that value again', () => {
    fc.assert(
      fc.property(digits(13), fc.integer({ min: 6, max: 12 }), anySerial, (body, companyLength, serial) => {
        const gtin = withCheckDigit(body);
        const company = body.slice(1, 1 + companyLength);
        const itemReference = body.charAt(0) + body.slice(1 + companyLength);
        const expected = accepted('sgtin', `(01)${gtin}(21)${serial}`);
        for (const raw of [
          `(01)${gtin}(21)${serial}`,
          `01${gtin}21${serial}`,
          `urn:epc:id:sgtin:${company}.${itemReference}.${escapedFor(serial, /["%&/<>?]/g)}`,
          `https://example.com/any/01/${gtin}/21/${escapedFor(serial, /["%/<>?]/g)}`,
          `https://example.com/01/${gtin}/21/${escapedFor(serial, /./g)}?linkType=all`,
        ]) {
          expect(normaliseSgtin('sgtin', raw)).toEqual(expected);
        }
      }),
    );
  });
});
