import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { accepted } from './result.ts';
import { normaliseStateRegistration } from './state-registrations.ts';

/** Examples of the rules SINTEGRA publishes, and registrations that companies publish themselves. */
const known = [
  'AC 0100482300112 0100826700108 0102190200165',
  'AL 240000048 245008403 241065550',
  'AM 049009761 041502728 042933684',
  'AP 030123459 030071009 030170011 030190290',
  'BA 12345663 61234557 100000306 000478696',
  'CE 060000015 068632592 063873770',
  'DF 0730000100109 0765644303076 0824761500136',
  'ES 999999990 000002976 082376123',
  'GO 109876547 102773807 103450599',
  'MA 120000385 126001049 121498298',
  'MG 0623079040081 5030582370015 2615950220092',
  'MS 282909575 283242809 283370645',
  'MT 00130000019 00131441582 00133337413',
  'PA 159999995 750000023 151774323',
  'PB 060000015 169993515 161435947',
  'PE 032141840 025009907 18100100000049 18171203059328 18171001920081',
  'PI 012345679 194155722 169609154',
  'PR 1234567850 0990224188 4100161414',
  'RJ 91018039 92001024 78890169',
  'RN 200400401 2000400400 203009363',
  'RO 00000000625213 00000000255637 00000001656554',
  'RR 240066281 240017556 240151303',
  'RS 2243658792 9000000802 0240130111',
  'SC 251040852 252085442 255830696',
  'SE 271234563 270779957 271126973',
  'SP 110042490114 310035324119 692015742119',
  'TO 290887780 299990176 29010227836',
].flatMap((line) => {
  const [state = '', ...numbers] = line.split(' ');
  return numbers.map((number) => [state, number] as const);
});
const separator = fc.constantFrom('', ' ', '-', '/', ': ', '.', '\u00a0');
// The newer numbers of the Federal District have no published check digit.
const checked = known.filter(([, number]) => !number.startsWith('08'));

describe('normaliseStateRegistration', () => {
  it.each(known)('takes %s %s with its state and without', (state, number) => {
    expect(normaliseStateRegistration('ie', `${state} ${number}`)).toEqual(accepted('ie', `${state}-${number}`));
    expect(normaliseStateRegistration('ie', number)).toEqual(accepted('ie', number));
  });

  it.each([
    ['SP 110.042.490.114', 'SP-110042490114'],
    ['110042490114/SP', 'SP-110042490114'],
    ['sp:110042490114', 'SP-110042490114'],
    ['P-01100424.3/002', 'SP-P011004243002'],
    ['SP P-01100424.3/002', 'SP-P011004243002'],
    ['SPP011004243002', 'SP-P011004243002'],
    ['MT 13.000.001-9', 'MT-00130000019'],
    ['13.000.001-9', '130000019'],
    ['110.042.490.114', '110042490114'],
    ['062.307904/0081', '0623079040081'],
  ])('reads %s as %s', (raw, value) => {
    expect(normaliseStateRegistration('ie', raw)).toEqual(accepted('ie', value));
  });

  it('gives one value however state and number are parted, and the same value again', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...known),
        separator,
        separator,
        fc.boolean(),
        (registration, first, second, isAfter) => {
          const [state, number] = registration;
          const masked = number.slice(0, 3) + first + number.slice(3);
          const raw = isAfter ? `${masked}${second}${state}` : `${state.toLowerCase()}${second}${masked}`;
          const value = `${state}-${number}`;
          expect(normaliseStateRegistration('ie', raw)).toEqual(accepted('ie', value));
          expect(normaliseStateRegistration('ie', value)).toEqual(accepted('ie', value));
        },
      ),
    );
  });

  it.each(checked)('refuses %s %s with any other last digit', (state, number) => {
    for (let by = 1; by <= 9; by += 1) {
      const changed = number.slice(0, -1) + ((Number(number.at(-1)) + by) % 10);
      expect(normaliseStateRegistration('ie', `${state}-${changed}`)).toMatchObject({ code: 'wrong_check_digit' });
    }
  });

  it.each([
    'SP 109876547',
    'RJ 110042490114',
    '110042490115',
    'SP-110042490115',
    'SP P-01100424.4/002',
    'RJ P011004243002',
  ])('refuses the check digits of %s', (raw) => {
    expect(normaliseStateRegistration('ie', raw)).toMatchObject({ ok: false, code: 'wrong_check_digit' });
  });

  it.each([
    'ISENTO',
    'isento',
    'SP ISENTO',
    '1234567',
    '123456789012345',
    '000000000',
    '11004249011A',
    '..--//',
    'XX 110042490114',
    'SP 110042490114 SP',
    'ſp 110042490114',
    '１１００４２４９０１１４',
    '110042490\u0000114',
    '\u202e110042490114',
    "1'; DROP TABLE items; --",
    '<b>110042490114</b>',
    '-'.repeat(10_000),
    '1'.repeat(10_000),
  ])('refuses %s', (raw) => {
    expect(normaliseStateRegistration('ie', raw)).toMatchObject({ ok: false, code: 'invalid_identifier' });
  });

  it('never throws', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 300 }), (raw) => {
        expect(() => normaliseStateRegistration('ie', raw)).not.toThrow();
      }),
    );
  });
});
