import type { StoredContributionState } from '../contribution-state.ts';
import { foldName } from '../fold-name.ts';
import { readDate, readNumber } from '../quality/quality-rules.ts';
import type { TypeRegistry } from '../type-registry.ts';
import { nameKeysOf, trigramSimilarity, trigramsOf } from './name-similarity.ts';

/** One thing that speaks for or against two items being one. */
export interface LikenessReason {
  readonly kind: 'name' | 'identifier' | 'date' | 'weight';
  /** The field, or the type of the identifier. */
  readonly field: string;
  /** 0 to 1. */
  readonly similarity: number;
  /** In words. */
  readonly detail: string;
  /** Of the item with the lower number, and of the other. */
  readonly values: readonly [unknown, unknown];
}

export interface Likeness {
  /** 0 to 1. */
  readonly score: number;
  readonly reasons: readonly LikenessReason[];
}

interface NamedText {
  readonly field: string;
  readonly text: string;
  readonly trigrams: ReadonlySet<string>;
}

/** What of a workspace's knowledge of an item is compared with that of others. */
export interface ItemProfile {
  readonly names: readonly NamedText[];
  readonly weights: ReadonlyMap<string, number>;
  /** Days, in microseconds of their first moment. */
  readonly dates: ReadonlyMap<string, number>;
  /** Identifiers of the item that identify nothing: `[type, value]`. */
  readonly contextual: readonly (readonly [type: string, value: string])[];
  /** Identifying identifiers of which an item has one at most. */
  readonly identifying: ReadonlyMap<string, string>;
}

const nameFields = new Set([
  'nome',
  'name',
  'apelido',
  'nickname',
  'nome_animal',
  'nome_do_animal',
  'animal_name',
  'descricao',
  'description',
]);
const textMax = 200;
const namesMax = 4;
const contextualMax = 40;
const dayMicros = 86_400_000_000;

/** Reads from what a workspace knows of an item what is compared. */
export function profileOf(state: StoredContributionState, types: TypeRegistry): ItemProfile {
  const names: NamedText[] = [];
  const weights = new Map<string, number>();
  const dates = new Map<string, number>();
  for (const [name, [value]] of Object.entries(state.fields)) {
    const field = foldName(name).replaceAll(/[ .-]/g, '_');
    if (nameFields.has(field) && typeof value === 'string' && names.length < namesMax) {
      const text = value.slice(0, textMax);
      names.push({ field: name, text, trigrams: trigramsOf(text) });
    }
    const isWeight = field.startsWith('peso') || field.startsWith('weight');
    const weight = isWeight ? readNumber(value) : undefined;
    if (weight !== undefined && weight > 0) weights.set(field, weight);
    const date = readDate(value);
    if (date) dates.set(field, date.firstMicros);
  }
  const identifying = new Map<string, string>();
  const contextual: [string, string][] = [];
  for (const [, , type, value, isCanonical] of state.identifiers) {
    if (isCanonical === 1 && types.singleClaimTypes.has(type)) identifying.set(type, value);
    const isOfItem = (types.find(type)?.subject ?? 'item') === 'item';
    if (isCanonical === 0 && isOfItem && contextual.length < contextualMax) contextual.push([type, value]);
  }
  return { names, weights, dates, contextual, identifying };
}

/** The keys under which items with names like these are found. */
export function keysOf({ names }: ItemProfile): string[] {
  return [...new Set(names.flatMap(({ text }) => nameKeysOf(text)))];
}

/**
 * How likely it is that two items are one, as far as their values tell: each thing that speaks for it takes a share of the
 * doubt that the others leave. Undefined when they cannot be one, since each has an identifying identifier of one type and
 * these differ.
 */
export function compareProfiles(a: ItemProfile, b: ItemProfile): Likeness | undefined {
  for (const [type, value] of a.identifying) if ((b.identifying.get(type) ?? value) !== value) return undefined;
  const found = [...compareNames(a, b), ...compareContextual(a, b), ...compareDates(a, b), ...compareWeights(a, b)];
  let doubt = 1;
  for (const { evidence } of found) doubt *= 1 - Math.max(evidence, 0);
  let score = 1 - doubt;
  for (const { evidence } of found) if (evidence < 0) score *= 1 + evidence;
  return { score, reasons: found.map(({ reason }) => reason) };
}

interface Finding {
  /** The share of the doubt that it takes; negative: the share of the score. */
  readonly evidence: number;
  readonly reason: LikenessReason;
}

const nameSimilarityMin = 0.4;

function compareNames(a: ItemProfile, b: ItemProfile): Finding[] {
  let best: Finding | undefined;
  for (const ours of a.names) {
    for (const theirs of b.names) {
      const similarity = trigramSimilarity(ours.trigrams, theirs.trigrams);
      if (similarity < nameSimilarityMin || similarity <= (best?.reason.similarity ?? 0)) continue;
      const percent = Math.round(similarity * 100);
      const detail = `the names "${ours.text}" and "${theirs.text}" are ${percent} % alike`;
      const values = [ours.text, theirs.text] as const;
      best = {
        evidence: 0.85 * similarity ** 1.5,
        reason: { kind: 'name', field: ours.field, similarity, detail, values },
      };
    }
  }
  return best ? [best] : [];
}

/** An ear tag is worth more than a lot, which is made to be shared. */
const evidenceOfType = (type: string) => (type === 'brinco' ? 0.6 : 0.35);

function compareContextual(a: ItemProfile, b: ItemProfile): Finding[] {
  const theirs = new Set(b.contextual.map(([type, value]) => `${type}\u0000${value}`));
  return a.contextual
    .filter(([type, value]) => theirs.has(`${type}\u0000${value}`))
    .map(([type, value]) => ({
      evidence: evidenceOfType(type),
      reason: {
        kind: 'identifier',
        field: type,
        similarity: 1,
        detail: `both have ${type} ${value}`,
        values: [value, value],
      },
    }));
}

const nearDays = 3;
const farDays = 30;

function compareDates(a: ItemProfile, b: ItemProfile): Finding[] {
  const found: Finding[] = [];
  for (const [field, ours] of a.dates) {
    const theirs = b.dates.get(field);
    if (theirs === undefined) continue;
    const days = Math.round(Math.abs(ours - theirs) / dayMicros);
    const isBirth = field.includes('nasc') || field.includes('birth');
    const weight = isBirth ? 0.3 : 0.15;
    const evidence = days === 0 ? weight : days <= nearDays ? weight / 2 : isBirth && days > farDays ? -0.6 : 0;
    if (evidence === 0) continue;
    const text = (micros: number) => new Date(micros / 1000).toISOString().slice(0, 10);
    const detail = days === 0 ? `${field} is the same day` : `${field} is ${days} days apart`;
    const similarity = Math.max(0, 1 - days / farDays);
    found.push({
      evidence,
      reason: { kind: 'date', field, similarity, detail, values: [text(ours), text(theirs)] },
    });
  }
  return found;
}

const weightDifferenceMax = 0.1;

function compareWeights(a: ItemProfile, b: ItemProfile): Finding[] {
  const found: Finding[] = [];
  for (const [field, ours] of a.weights) {
    // Of the same field only: another name may stand for another unit.
    const theirs = b.weights.get(field);
    if (theirs === undefined) continue;
    const difference = Math.abs(ours - theirs) / Math.max(ours, theirs);
    if (difference > weightDifferenceMax) continue;
    const detail = `${field} differs by ${(difference * 100).toFixed(1)} %`;
    found.push({
      evidence: 0.15 * (1 - difference / weightDifferenceMax),
      reason: { kind: 'weight', field, similarity: 1 - difference, detail, values: [ours, theirs] },
    });
  }
  return found;
}
