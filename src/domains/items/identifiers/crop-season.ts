import { normaliseFreeText } from './free-text.ts';
import type { NormalisationResult } from './result.ts';

const twoYears = /^(\d{2}|\d{4})\s*[/-]\s*(\d{2}|\d{4})$/;

/**
 * A crop season as Brazil names it, the years in which it begins and ends (Conab, Acompanhamento da Safra Brasileira):
 * `2024/2025`, also written 2024/25, 24/25 or with a dash. Any other name is compared as free text.
 */
export function normaliseCropSeason(claimType: string, raw: string): NormalisationResult {
  const [, from, to] = twoYears.exec(raw.trim()) ?? [];
  if (from === undefined || to === undefined) return normaliseFreeText(claimType, raw);
  const [first, last] = [yearOf(from), yearOf(to)];
  return normaliseFreeText(claimType, last === first + 1 ? `${first}/${last}` : raw);
}

function yearOf(digits: string): number {
  return digits.length === 2 ? 2000 + Number(digits) : Number(digits);
}
