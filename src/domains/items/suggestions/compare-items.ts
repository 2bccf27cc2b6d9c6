import type { Queryable } from '#platform/database.ts';
import type { TypeRegistry } from '../type-registry.ts';
import { compareProfiles, keysOf, profileOf, type ItemProfile } from './likeness.ts';
import { findCandidates, findStates, type Suggestion } from './suggestions.store.ts';

/** An item that is compared with the others of its workspace. */
export interface ComparedItem {
  readonly itemNumber: number;
  readonly profile: ItemProfile;
}

/** So many items are compared together: what their candidates are may be held in memory. */
const itemsAtOnce = 25;

/**
 * The pairs that items make with others of their workspace that share something rare with them, each once, the likeliest
 * first; those that cannot be one are left out. Everything that is read is the workspace's own.
 */
export async function compareWithOthers(
  queryable: Queryable,
  workspaceId: string,
  items: readonly ComparedItem[],
  types: TypeRegistry,
): Promise<Suggestion[]> {
  const pairs = new Map<string, Suggestion>();
  for (let from = 0; from < items.length; from += itemsAtOnce)
    await addPairs(pairs, queryable, workspaceId, items.slice(from, from + itemsAtOnce), types);
  return [...pairs.values()].toSorted((a, b) => b.score - a.score || a.lowerItem - b.lowerItem);
}

async function addPairs(
  pairs: Map<string, Suggestion>,
  queryable: Queryable,
  workspaceId: string,
  items: readonly ComparedItem[],
  types: TypeRegistry,
): Promise<void> {
  const probes = items.map(({ itemNumber, profile }) => ({
    itemNumber,
    keys: keysOf(profile),
    contextual: profile.contextual,
  }));
  const candidates = await findCandidates(queryable, workspaceId, probes);
  const profiles = new Map(items.map(({ itemNumber, profile }) => [itemNumber, profile]));
  const unknown = new Set(candidates.map(({ candidate }) => candidate).filter((number) => !profiles.has(number)));
  for (const { item_number: itemNumber, state } of await findStates(queryable, workspaceId, [...unknown]))
    profiles.set(itemNumber, profileOf(state, types));
  for (const { item_number: itemNumber, candidate } of candidates) {
    const [lowerItem, higherItem] = itemNumber < candidate ? [itemNumber, candidate] : [candidate, itemNumber];
    const id = pairId(lowerItem, higherItem);
    const [lower, higher] = [profiles.get(lowerItem), profiles.get(higherItem)];
    if (pairs.has(id) || !lower || !higher) continue;
    const likeness = compareProfiles(lower, higher);
    if (!likeness) continue;
    const score = Math.round(likeness.score * 1000);
    pairs.set(id, { lowerItem, higherItem, score, reasons: likeness.reasons });
  }
}

/** The id of a pair of items, whether it is suggested or not. */
export function pairId(lowerItem: number, higherItem: number): string {
  return `${lowerItem}-${higherItem}`;
}

/** The numbers in the id of a pair; undefined for any other text. */
export function parsePairId(id: string): { lowerItem: number; higherItem: number } | undefined {
  const match = /^(\d{1,15})-(\d{1,15})$/.exec(id);
  if (!match) return undefined;
  const [lowerItem, higherItem] = [Number(match[1]), Number(match[2])];
  return lowerItem < higherItem ? { lowerItem, higherItem } : undefined;
}
