import { describe, expect, test } from 'vitest';
import { normaliseCropSeason } from './crop-season.ts';
import { accepted } from './result.ts';

describe('normaliseCropSeason', () => {
  test.each(['2024/2025', '2024/25', '24/25', ' 24 / 25 ', '2024-2025', '24-25'])('reads %s as one season', (raw) => {
    expect(normaliseCropSeason('safra', raw)).toEqual(accepted('safra', '2024/2025'));
  });

  test.each([
    ['2024', '2024'],
    ['2024/26', '2024/26'],
    ['25/24', '25/24'],
    ['safrinha 2025', 'SAFRINHA 2025'],
    ['2024/2025/1', '2024/2025/1'],
  ])('keeps %s as the name that it is', (raw, value) => {
    expect(normaliseCropSeason('safra', raw)).toEqual(accepted('safra', value));
  });
});
