import { describe, expect, it } from 'vitest';
import { isCountryCode } from './country.ts';
import { parseValueChain, valueChains } from './value-chain.ts';

describe('parseValueChain', () => {
  it('knows nine chains, in any case', () => {
    expect(valueChains).toHaveLength(9);
    for (const chain of valueChains) {
      expect([chain, chain.toLowerCase(), ` ${chain} `].map(parseValueChain)).toEqual([chain, chain, chain]);
    }
  });

  it.each([
    ['bovino', 'BEEF'],
    ['Aves', 'POULTRY'],
    ['suino', 'PORK'],
    ['Suíno', 'PORK'],
    ['SOJA', 'SOY'],
    ['milho', 'CORN'],
    ['algodão', 'COTTON'],
    ['algodao', 'COTTON'],
    ['café', 'COFFEE'],
    ['leite', 'MILK'],
    ['generic', 'GENERIC'],
  ])('maps the Portuguese name %s to %s', (name, chain) => {
    expect(parseValueChain(name)).toBe(chain);
  });

  it.each(['', 'FISH', 'BE EF', 'BEEF\u0000', 'BEEF\n', 'ＢＥＥＦ', '__proto__', 'constructor', 'B'.repeat(10_000)])(
    'knows nothing else: %j',
    (text) => {
      expect(parseValueChain(text)).toBeUndefined();
    },
  );
});

describe('isCountryCode', () => {
  const pairs = Array.from({ length: 26 * 26 }, (_, index) =>
    String.fromCharCode(65 + Math.floor(index / 26), 65 + (index % 26)),
  );

  it('holds the 249 assigned codes, each of which has a name in CLDR', () => {
    const names = new Intl.DisplayNames('en', { type: 'region', fallback: 'none' });
    const assigned = pairs.filter(isCountryCode);
    expect(assigned).toHaveLength(249);
    expect(assigned.filter((code) => names.of(code) === undefined)).toEqual([]);
  });

  it.each(['EU', 'UK', 'XK', 'AN', 'DD', 'SU', 'ZZ', 'QO', 'br', 'BRA', '', 'B', ' BR', 'BR '])(
    'does not hold %j',
    (text) => {
      expect(isCountryCode(text)).toBe(false);
    },
  );
});
