import { blake3Hex } from '#platform/blake3.ts';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatDfid, parseDfid } from './dfid.ts';
import { valueChains } from './value-chain.ts';

const parts = { valueChain: 'BEEF', country: 'BR', year: 2025, sequence: 123 } as const;

function withChecksum(text: string): string {
  return `${text}-${blake3Hex(text).slice(0, 6)}`;
}

describe('formatDfid', () => {
  it('writes chain, country, year, six digits and the first six hex digits of BLAKE3', () => {
    expect(formatDfid(parts)).toBe('DFID-BEEF-BR-2025-000123-cce1a7');
    expect(formatDfid(parts)).toBe(withChecksum('DFID-BEEF-BR-2025-000123'));
  });

  it.each([
    [999_999, '999999'],
    [1_000_000, '1000000'],
    [2n ** 63n - 1n, '9223372036854775807'],
  ])('grows beyond six digits: %s', (sequence, digits) => {
    expect(formatDfid({ ...parts, sequence })).toContain(`-2025-${digits}-`);
  });

  it.each([
    { sequence: 0 },
    { sequence: -1n },
    { sequence: 1.5 },
    { sequence: 2 ** 53 },
    { sequence: Number.NaN },
    { sequence: 2n ** 63n },
    { year: 1899 },
    { year: 2101 },
    { year: 2025.5 },
    { country: 'ZZ' },
    { country: 'br' },
  ])('throws rather than make a permanent text out of %o', (change) => {
    expect(() => formatDfid({ ...parts, ...change })).toThrow(RangeError);
  });
});

describe('parseDfid', () => {
  it('reads back whatever formatDfid writes', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...valueChains),
        fc.constantFrom('BR', 'AR', 'UY'),
        fc.integer({ min: 1900, max: 2100 }),
        fc.bigInt({ min: 1n, max: 2n ** 63n - 1n }),
        (valueChain, country, year, sequence) => {
          const text = formatDfid({ valueChain, country, year, sequence });
          const isSafe = sequence <= BigInt(Number.MAX_SAFE_INTEGER);
          expect(parseDfid(text)).toEqual({
            generation: 'current',
            valid: true,
            components: {
              value_chain: valueChain,
              country,
              year,
              sequence: isSafe ? Number(sequence) : String(sequence),
              checksum: text.slice(-6),
            },
          });
        },
      ),
    );
  });

  it('gives the sequence as a number while that is exact, else as its digits', () => {
    const last = formatDfid({ ...parts, sequence: Number.MAX_SAFE_INTEGER });
    const next = formatDfid({ ...parts, sequence: 2n ** 53n });
    expect(parseDfid(last).components).toMatchObject({ sequence: 9_007_199_254_740_991 });
    expect(parseDfid(next).components).toMatchObject({ sequence: '9007199254740992' });
  });

  it('shows the components of a text whose checksum is wrong, and calls it not valid', () => {
    expect(parseDfid('DFID-BEEF-BR-2025-000123-a3f2c1')).toEqual({
      generation: 'current',
      valid: false,
      components: { value_chain: 'BEEF', country: 'BR', year: 2025, sequence: 123, checksum: 'a3f2c1' },
    });
  });

  it('finds any change of one digit of the number', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 999_998 }),
        fc.nat(5),
        fc.integer({ min: 1, max: 9 }),
        (sequence, at, by) => {
          const text = formatDfid({ ...parts, sequence });
          const position = 'DFID-BEEF-BR-2025-'.length + at;
          const changed = (Number(text[position]) + by) % 10;
          expect(parseDfid(text.slice(0, position) + changed + text.slice(position + 1)).valid).toBe(false);
        },
      ),
    );
  });

  it('keeps a DFID valid whose country code has been withdrawn', () => {
    expect(parseDfid(withChecksum('DFID-SOY-AN-2009-000001')).valid).toBe(true);
  });

  it.each([
    ['20250928', '000001', '4C7C'],
    ['20250928', '000002', '4C7D'],
    ['20250928', '000004', '4C7F'],
    ['20240926', '000001', '2488'],
  ])('reads the first generation: %s %s %s', (date, sequence, checksum) => {
    expect(parseDfid(`DFID-${date}-${sequence}-${checksum}`)).toEqual({
      generation: 'legacy',
      valid: true,
      components: {
        year: Number(date.slice(0, 4)),
        month: Number(date.slice(4, 6)),
        day: Number(date.slice(6)),
        sequence: Number(sequence),
        checksum,
      },
    });
  });

  it('calls a wrong checksum of the first generation not valid', () => {
    expect(parseDfid('DFID-20250928-000001-4C7D')).toMatchObject({ generation: 'legacy', valid: false });
  });

  const current = formatDfid(parts);
  it.each([
    ['nothing', ''],
    ['lower case', current.toLowerCase()],
    ['an upper-case checksum', current.toUpperCase()],
    ['a blank before', ` ${current}`],
    ['a line feed after', `${current}\n`],
    ['full-width digits', current.replace('000123', '０００１２３')],
    ['Arabic-Indic digits', current.replace('2025', '٢٠٢٥')],
    ['a value chain that does not exist', withChecksum('DFID-FISH-BR-2025-000123')],
    ['a year before 1900', withChecksum('DFID-BEEF-BR-1899-000123')],
    ['the number zero', withChecksum('DFID-BEEF-BR-2025-000000')],
    ['a padded number of seven digits', withChecksum('DFID-BEEF-BR-2025-0000123')],
    ['five digits', withChecksum('DFID-BEEF-BR-2025-00123')],
    ['a number beyond 2^63−1', withChecksum('DFID-BEEF-BR-2025-9223372036854775808')],
    ['ten thousand characters', `DFID-BEEF-BR-2025-${'1'.repeat(10_000)}-a3f2c1`],
    ['a legacy day that does not exist', 'DFID-20250230-000001-4C7C'],
    ['a legacy number of seven digits', 'DFID-20250928-1000001-4C7C'],
    ['a lower-case legacy checksum', 'DFID-20250928-000001-4c7c'],
  ])('sees no DFID in %s', (_, text) => {
    expect(parseDfid(text)).toEqual({ generation: undefined, valid: false, components: undefined });
  });

  it('never throws', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 200 }), (text) => {
        expect(parseDfid(text).valid).toBe(false);
        expect(parseDfid(`DFID-${text}`).valid).toBe(false);
      }),
    );
  });
});
