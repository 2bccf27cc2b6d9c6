import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { foldName } from './fold-name.ts';

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
