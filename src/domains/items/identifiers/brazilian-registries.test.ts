import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  normaliseCar,
  normaliseCnpj,
  normaliseCpf,
  normaliseNirf,
  normaliseTransitPermit,
} from './brazilian-registries.ts';
import { accepted } from './result.ts';

const cpfWeights = [
  [10, 9, 8, 7, 6, 5, 4, 3, 2],
  [11, 10, 9, 8, 7, 6, 5, 4, 3, 2],
];
const cnpjWeights = [
  [5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2],
  [6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2],
];
const alphabet = '0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ';

/** The check digits by the written weights of the rule, in another way than the code under test. */
function withCheckDigits(body: string, weightRows: number[][]): string {
  let text = body;
  for (const weights of weightRows) {
    const total = weights.reduce((sum, weight, index) => sum + weight * alphabet.indexOf(text.charAt(index)), 0);
    text += String(((total * 10) % 11) % 10);
  }
  return text;
}

function changedAt(text: string, position: number, by: number): string {
  const changed = (Number(text.charAt(position)) + by) % 10;
  return text.slice(0, position) + changed + text.slice(position + 1);
}

function digits(length: number) {
  return fc
    .string({ unit: fc.constantFrom(...Array.from('0123456789')), minLength: length, maxLength: length })
    .filter((text) => new Set(text).size > 1);
}

const cnpjBody = fc.string({
  unit: fc.constantFrom(...Array.from('0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ')),
  minLength: 12,
  maxLength: 12,
});
const anyChange = fc.integer({ min: 1, max: 9 });

describe('normaliseCpf', () => {
  it.each(['52998224725', '529.982.247-25', ' 529.982.247-25 '])('reads %j as bare digits', (raw) => {
    expect(normaliseCpf('cpf', raw)).toEqual(accepted('cpf', '52998224725'));
  });

  it.each([
    ['wrong_check_digit', '529.982.247-24'],
    ['wrong_check_digit', '12345678901'],
    ['invalid_identifier', '111.111.111-11'],
    ['invalid_identifier', '00000000000'],
    ['invalid_identifier', '529982247-25'],
    ['invalid_identifier', '529.982.24725'],
    ['invalid_identifier', '529 982 247 25'],
    ['invalid_identifier', '52998224725x'],
    ['invalid_identifier', '5299822472'],
    ['invalid_identifier', '529982247255'],
    ['invalid_identifier', '５２９９８２２４７２５'],
  ])('refuses as %s: %s', (code, raw) => {
    expect(normaliseCpf('cpf', raw)).toMatchObject({ ok: false, code });
  });

  it('takes every number with right check digits', () => {
    fc.assert(
      fc.property(digits(9), (body) => {
        const cpf = withCheckDigits(body, cpfWeights);
        expect(normaliseCpf('cpf', cpf)).toEqual(accepted('cpf', cpf));
      }),
    );
  });

  it('refuses any change of one check digit, and of another digit wherever the official sum sees it', () => {
    fc.assert(
      fc.property(digits(9), fc.nat(10), anyChange, (body, position, by) => {
        const changed = changedAt(withCheckDigits(body, cpfWeights), position, by);
        const seen = position >= 9 || withCheckDigits(changed.slice(0, 9), cpfWeights) !== changed;
        fc.pre(seen);
        expect(normaliseCpf('cpf', changed).ok).toBe(false);
      }),
    );
  });
});

describe('normaliseCnpj', () => {
  it.each([
    ['12ABC34501DE35', '12ABC34501DE35'],
    ['12.ABC.345/01DE-35', '12ABC34501DE35'],
    ['12.abc.345/01de-35', '12ABC34501DE35'],
    ['00.000.000/0001-91', '00000000000191'],
    ['44038188000132', '44038188000132'],
  ])('reads %s as %s', (raw, value) => {
    expect(normaliseCnpj('cnpj', raw)).toEqual(accepted('cnpj', value));
  });

  it.each([
    ['wrong_check_digit', '12.ABC.345/01DE-36'],
    ['wrong_check_digit', '44.038.188/0001-23'],
    ['invalid_identifier', '00000000000000'],
    ['invalid_identifier', '12ABC34501DEA5'],
    ['invalid_identifier', '12.ABC.34501DE-35'],
    ['invalid_identifier', '12ABC34501DE3'],
    ['invalid_identifier', '12ÁBC34501DE35'],
    ['invalid_identifier', '12ABC34501DE35x'],
  ])('refuses as %s: %s', (code, raw) => {
    expect(normaliseCnpj('cnpj', raw)).toMatchObject({ ok: false, code });
  });

  it('takes every number with right check digits, letters among it or not', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          digits(12),
          cnpjBody.filter((body) => new Set(body).size > 1),
        ),
        (body) => {
          const cnpj = withCheckDigits(body, cnpjWeights);
          expect(normaliseCnpj('cnpj', cnpj.toLowerCase())).toEqual(accepted('cnpj', cnpj));
        },
      ),
    );
  });

  it('refuses any change of one check digit, and of another digit wherever the official sum sees it', () => {
    fc.assert(
      fc.property(digits(12), fc.nat(13), anyChange, (body, position, by) => {
        const changed = changedAt(withCheckDigits(body, cnpjWeights), position, by);
        const seen = position >= 12 || withCheckDigits(changed.slice(0, 12), cnpjWeights) !== changed;
        fc.pre(seen);
        expect(normaliseCnpj('cnpj', changed).ok).toBe(false);
      }),
    );
  });
});

describe('normaliseCar', () => {
  const bare = 'MT-5107040-DDF086A46B6E4F0E9C1A2B3C4D5E6F70';

  it.each([bare, bare.toLowerCase(), ` ${bare} `, 'MT-5107040-DDF0.86A4.6B6E.4F0E.9C1A.2B3C.4D5E.6F70'])(
    'reads %j without dots and in upper case',
    (raw) => {
      expect(normaliseCar('car', raw)).toEqual(accepted('car', bare));
    },
  );

  it('knows the IBGE number of each of the 27 states', () => {
    const hexDigits = '0123456789ABCDEF'.repeat(2);
    const states = [
      '11RO 12AC 13AM 14RR 15PA 16AP 17TO 21MA 22PI 23CE 24RN 25PB 26PE 27AL 28SE 29BA',
      '31MG 32ES 33RJ 35SP 41PR 42SC 43RS 50MS 51MT 52GO 53DF',
    ].flatMap((line) => line.split(' '));
    expect(states).toHaveLength(27);
    for (const state of states) {
      const raw = `${state.slice(2)}-${state.slice(0, 2)}00000-${hexDigits}`;
      expect(normaliseCar('car', raw)).toEqual(accepted('car', raw));
    }
  });

  it.each([
    ['a code of another state', bare.replace('MT', 'MS')],
    ['a state that does not exist', bare.replace('MT', 'BR')],
    ['six digits', bare.replace('5107040', '510704')],
    ['31 hex digits', bare.slice(0, -1)],
    ['33 hex digits', `${bare}0`],
    ['a letter beyond F', bare.replace('DDF0', 'DDG0')],
    ['dots in some places only', 'MT-5107040-DDF0.86A46B6E4F0E9C1A2B3C4D5E6F70'],
    ['no dashes', bare.replaceAll('-', '')],
  ])('refuses %s', (_, raw) => {
    expect(normaliseCar('car', raw)).toMatchObject({ ok: false, code: 'invalid_identifier' });
  });
});

describe('normaliseNirf', () => {
  it.each([
    ['0.000.001-9', '00000019'],
    ['9.999.999-4', '99999994'],
    ['1234567-9', '12345679'],
    ['A3N8Z4F-Y', 'A3N8Z4FY'],
    ['a3n8z4fy', 'A3N8Z4FY'],
    ['OOOOOOI-9', '00000019'],
  ])('reads %s as %s', (raw, value) => {
    expect(normaliseNirf('nirf', raw)).toEqual(accepted('nirf', value));
  });

  it.each(['1234567', '123456789', '1.234.5679', '1.234.56A-8', 'U234567-8', '12-345679', '1234567--9'])(
    'refuses %s',
    (raw) => {
      expect(normaliseNirf('nirf', raw)).toMatchObject({ ok: false, code: 'invalid_identifier' });
    },
  );

  it.each(['1.234.567-8', '00000018', 'A3N8Z4F-X', 'A3N8Z4F-Z'])('refuses the wrong check character of %s', (raw) => {
    expect(normaliseNirf('nirf', raw)).toMatchObject({ ok: false, code: 'wrong_check_digit' });
  });

  it('refuses every other last character of a CIB', () => {
    const others = Array.from('0123456789ABCDEFGHJKMNPQRSTVWXZ');
    fc.assert(
      fc.property(fc.constantFrom(...others), (last) => {
        expect(normaliseNirf('nirf', `A3N8Z4F-${last}`).ok).toBe(false);
      }),
    );
  });
});

describe('normaliseTransitPermit', () => {
  it.each([
    ['123456', '123456'],
    [' mt  e\u00a0123456 ', 'MT E 123456'],
    ['GO-K-0012', 'GO K 0012'],
    ['GO/K/0012', 'GO K 0012'],
    ['GOK0012', 'GO K 0012'],
    ['K 0012 GO', 'K 0012 GO'],
    ['XX-K-0012', 'XX-K-0012'],
    ['GO-K-00.12', 'GO-K-00.12'],
  ])('reads %j as %s', (raw, value) => {
    expect(normaliseTransitPermit('gta', raw)).toEqual(accepted('gta', value));
  });

  it.each(['MT E', '-', '１２３', 'nº 12'])('refuses %s', (raw) => {
    expect(normaliseTransitPermit('gta', raw)).toMatchObject({ ok: false, code: 'invalid_identifier' });
  });
});

describe('every normaliser of a Brazilian registry', () => {
  const all = [normaliseCpf, normaliseCnpj, normaliseCar, normaliseNirf, normaliseTransitPermit];

  it('never throws, and gives the same again for what it has taken', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 40 }), fc.constantFrom(...all), (raw, normalise) => {
        const result = normalise('type', raw);
        const again = result.ok ? normalise('type', result.value) : result;
        expect(again).toEqual(result);
      }),
    );
  });

  it.each([
    ['a control character', '529982247\u000025'],
    ['a mark of direction', '\u202e52998224725'],
    ['full-width digits', '５２９９８２２４７２５'],
    ['ten thousand letters', 'A'.repeat(10_000)],
    ['ten thousand dashes and an end that fits nothing', `${'-'.repeat(10_000)}!`],
    ['SQL', "1'; DROP TABLE items; --"],
    ['HTML', '<img src=x onerror=alert(1)>'],
    ['letters whose upper case is Latin', '12.ABC.345/01DE-35'.replace('A', 'ſ')],
    ['a ligature whose upper case is FF', 'MT-5107040-DDF086A46B6E4F0E9C1A2B3C4D5E6Fﬀ'],
    ['en dashes', 'MT–5107040–DDF086A46B6E4F0E9C1A2B3C4D5E6F70'],
  ])('refuses %s', (_, raw) => {
    for (const normalise of all) expect(normalise('type', raw).ok).toBe(false);
  });
});
