import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { holdsPartyNumber } from './party-numbers.ts';

describe('the number of a person or a company is found', () => {
  test.each([
    '52998224725',
    '529.982.247-25',
    'João 529 982 247 25',
    'cpf:529982247-25;',
    '450 52998224725 17',
    '５２９９８２２４７２５',
    '11222333000181',
    '11.222.333/0001-81',
    'CNPJ 11 222 333 0001 81.',
    '12.ABC.345/01DE-35',
    '12abc34501de35',
    '"dono":"52998224725"',
  ])('in %j', (text) => {
    expect(holdsPartyNumber(text)).toBe(true);
  });

  test('wherever it stands between words', () => {
    const words = fc.stringMatching(/^[A-Za-z ,;:()]{0,40}$/);
    fc.assert(
      fc.property(words, words, (before, after) => {
        expect(holdsPartyNumber(`${before}529.982.247-25${after}`)).toBe(true);
      }),
    );
  });
});

test.each([
  '',
  'Nelore',
  '450',
  '52998224724',
  '529982247251',
  'BR105910000000001',
  '2025-03-14T09:26:53Z',
  '11222333000182',
])('no number of a person or a company is seen in %j', (text) => {
  expect(holdsPartyNumber(text)).toBe(false);
});
