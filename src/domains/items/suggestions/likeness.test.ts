import { describe, expect, test } from 'vitest';
import { seedTypes } from '../../../testing/deduplication.ts';
import type { StoredContributionState } from '../contribution-state.ts';
import { compareProfiles, profileOf } from './likeness.ts';
import { nameKeysOf, trigramSimilarity, trigramsOf } from './name-similarity.ts';

type Identifiers = StoredContributionState['identifiers'];

function profile(fields: Record<string, unknown>, identifiers: [string, string][] = []) {
  const stored: Identifiers = identifiers.map(([type, value]) => {
    const isCanonical = seedTypes.find(type)?.scope === 'global' ? 1 : 0;
    return [type, value, type, value, isCanonical, 0];
  });
  const entries = Object.entries(fields).map(([name, value]) => [name, [value, 0, 0]]);
  return profileOf({ entries: [], identifiers: stored, fields: Object.fromEntries(entries) }, seedTypes);
}

function likeness(a: Parameters<typeof profile>, b: Parameters<typeof profile>) {
  return compareProfiles(profile(...a), profile(...b));
}

const scoreOf = (...pair: Parameters<typeof likeness>) => likeness(...pair)?.score;

describe('the similarity of names', () => {
  // The figures are those of pg_trgm 1.6: select similarity(a, b).
  test.each([
    ['word', 'two words', 0.363_636],
    ['mimosa', 'mimoza', 0.4],
    ['estrela do sul', 'ESTRELA SUL', 1],
    ['São João', 'sao joao', 1],
    ['boi estrela', 'estrela boi', 1],
    ['', 'x', 0],
    ['???', '???', 0],
  ])('of %j and %j is that of pg_trgm on folded text without empty words', (a, b, similarity) => {
    expect(trigramSimilarity(trigramsOf(a), trigramsOf(b))).toBeCloseTo(similarity, 5);
  });

  test('shows in shared keys, which are as many at most for a name of any length', () => {
    const shared = (a: string, b: string) => nameKeysOf(a).filter((key) => nameKeysOf(b).includes(key)).length;

    expect(shared('Estrela do Sul', 'sul estrela')).toBe(nameKeysOf('Estrela Sul').length);
    expect(shared('Imperatriz Leopoldina', 'Imperatris Leopoldina')).toBeGreaterThan(0);
    expect(shared('Imperatriz Leopoldina', 'Trovão Azul')).toBe(0);
    expect(nameKeysOf('x y z '.repeat(10_000)).length).toBeLessThanOrEqual(31);
    expect(nameKeysOf(' .-')).toEqual([]);
  });
});

describe('the likeness of two items', () => {
  const birth = { data_nasc: '2024-03-01' };

  test('is greater the more speaks for it, and never 1', () => {
    const name = scoreOf([{ nome: 'Mimosa Serrana' }], [{ nome: 'Mimosa Serranna' }])!;
    const nameAndBirth = scoreOf([{ nome: 'Mimosa Serrana', ...birth }], [{ nome: 'Mimosa Serranna', ...birth }])!;
    const all = scoreOf(
      [{ nome: 'Mimosa Serrana', ...birth, peso: 450 }, [['brinco', 'A12']]],
      [{ nome: 'Mimosa Serranna', ...birth, peso: 451 }, [['brinco', 'A12']]],
    )!;

    expect(name).toBeGreaterThan(0.4);
    expect(nameAndBirth).toBeGreaterThan(name);
    expect(all).toBeGreaterThan(nameAndBirth);
    expect(all).toBeLessThan(1);
  });

  test('is the same the other way round', () => {
    const a: Parameters<typeof profile> = [{ nome: 'Mimosa', peso: 450, ...birth }, [['brinco', 'A12']]];
    const b: Parameters<typeof profile> = [{ name: 'Mimoza', peso: 440, ...birth }, [['brinco', 'A12']]];

    expect(scoreOf(a, b)).toBeCloseTo(scoreOf(b, a)!, 10);
  });

  test('does not exist where identifying identifiers of one type contradict each other', () => {
    const tag: [string, string] = ['brinco', 'A12'];

    expect(likeness([{}, [['sisbov', 'BR1'], tag]], [{}, [['sisbov', 'BR2'], tag]])).toBeUndefined();
    expect(scoreOf([{}, [['sisbov', 'BR1'], tag]], [{}, [['chip', '982'], tag]])).toBeGreaterThan(0.5);
  });

  test('owes nothing to owners, places and documents that both name', () => {
    const shared: [string, string][] = [
      ['cpf', '1'],
      ['car', '2'],
      ['gta', '3'],
      ['gtin', '4'],
    ];

    expect(likeness([{}, shared], [{}, shared])).toEqual({ score: 0, reasons: [] });
  });

  test('compares weights of the same field only, and within a tenth', () => {
    expect(scoreOf([{ peso_kg: 450 }], [{ peso_arroba: 450 }])).toBe(0);
    expect(scoreOf([{ peso: 450 }], [{ peso: 600 }])).toBe(0);
    expect(likeness([{ peso: '450,5' }], [{ peso: 450 }])!.reasons).toMatchObject([
      { kind: 'weight', field: 'peso', values: [450.5, 450] },
    ]);
  });

  test('shrinks where births lie far apart, and says so', () => {
    const near = scoreOf([{ nome: 'Mimosa', ...birth }], [{ nome: 'Mimosa', data_nasc: '2024-03-03' }])!;
    const far = likeness([{ nome: 'Mimosa', ...birth }], [{ nome: 'Mimosa', data_nasc: '2021-01-01' }])!;

    expect(far.score).toBeLessThan(0.5);
    expect(near).toBeGreaterThan(0.8);
    expect(far.reasons.map(({ detail }) => detail)).toEqual([
      'the names "Mimosa" and "Mimosa" are 100 % alike',
      'data_nasc is 1155 days apart',
    ]);
  });
});
