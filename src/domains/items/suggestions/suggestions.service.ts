import type { Database } from '#platform/database.ts';
import { Problem } from '#platform/errors.ts';
import { formatDfid } from '../dfid.ts';
import { itemIdOf, itemNumberOfId } from '../item-id.ts';
import type { ItemsService } from '../items.service.ts';
import { findDfidParts } from '../items.store.ts';
import type { TypeRegistry } from '../type-registry.ts';
import { compareWithOthers, pairId, parsePairId } from './compare-items.ts';
import type { LikenessReason } from './likeness.ts';
import { profileOf } from './likeness.ts';
import { positionText, readPosition } from './suggestions.schema.ts';
import {
  dismissPair,
  findDismissedPartners,
  findStates,
  listSuggestions,
  askForSuggestions,
} from './suggestions.store.ts';

interface SuggestionsServiceOptions {
  database: Database;
  items: ItemsService;
  loadTypes(): Promise<TypeRegistry>;
}

interface FoundPair {
  readonly lowerItem: number;
  readonly higherItem: number;
  readonly score: number;
  readonly reasons: readonly LikenessReason[];
}

type PageRequest = { limit: number; offset: number; cursor?: string | undefined };

const shownOfItemMax = 50;

export type SuggestionsService = ReturnType<typeof makeSuggestionsService>;

/** Tells which items of a workspace may be one, and never joins them. */
export function makeSuggestionsService({ database, items, loadTypes }: SuggestionsServiceOptions) {
  const { pool, knex } = database;

  const show = async (pairs: readonly FoundPair[]) => {
    const parts = await findDfidParts(
      knex,
      pairs.flatMap(({ lowerItem, higherItem }) => [lowerItem, higherItem]),
    );
    const showOne = (itemNumber: number) => {
      const { value_chain: valueChain, country, year } = parts.get(itemNumber)!;
      return { id: itemIdOf(itemNumber), dfid: formatDfid({ valueChain, country, year, sequence: itemNumber }) };
    };
    return pairs.map(({ lowerItem, higherItem, score, reasons }) => ({
      id: pairId(lowerItem, higherItem),
      score: score / 1000,
      items: [showOne(lowerItem), showOne(higherItem)],
      reasons,
    }));
  };

  return {
    /** The pairs of a workspace that were found in the background, the likeliest first. */
    async list(filter: { workspaceId: string; minScore: number }, page: PageRequest) {
      const after = readPosition(page.cursor);
      const { isComplete } = await askForSuggestions(pool, filter.workspaceId);
      const { rows, total } = await listSuggestions(
        pool,
        { workspaceId: filter.workspaceId, scoreMin: Math.ceil(filter.minScore * 1000) },
        { limit: page.limit, offset: after ? 0 : page.offset, after },
      );
      const pairs = rows.map((row) => ({
        lowerItem: row.lower_item,
        higherItem: row.higher_item,
        score: row.score,
        reasons: row.reasons,
      }));
      const last = pairs.length === page.limit ? pairs.at(-1) : undefined;
      return { page: { rows: await show(pairs), total, nextPosition: last && positionText(last) }, isComplete };
    },

    /** The items that one item may be, compared now. */
    async listOfItem(workspaceId: string, idOrDfid: string, minScore: number) {
      const { item } = await items.get(workspaceId, idOrDfid);
      const { isComplete } = await askForSuggestions(pool, workspaceId);
      const itemNumber = itemNumberOfId(item.id)!;
      const types = await loadTypes();
      const [own] = await findStates(pool, workspaceId, [itemNumber]);
      // What was merged or archived is nothing that another item could be.
      const found = own
        ? await compareWithOthers(pool, workspaceId, [{ itemNumber, profile: profileOf(own.state, types) }], types)
        : [];
      const partnerOf = (pair: FoundPair) => (pair.lowerItem === itemNumber ? pair.higherItem : pair.lowerItem);
      const dismissed = await findDismissedPartners(pool, workspaceId, itemNumber, found.map(partnerOf));
      const standing = found.filter((pair) => pair.score >= minScore * 1000 && !dismissed.has(partnerOf(pair)));
      const rows = await show(standing.slice(0, shownOfItemMax));
      return { page: { rows, total: standing.length, nextPosition: undefined }, isComplete };
    },

    /** Takes a pair out of all lists for good. */
    async dismiss(workspaceId: string, id: string, decision: { reason: string | null; dismissedBy: string }) {
      const pair = parsePairId(id);
      const dismissal = pair && (await dismissPair(pool, workspaceId, pair, decision));
      if (!dismissal) throw new Problem('not_found', 'your workspace knows no two items with these numbers');
      return { id, dismissed_at: dismissal.dismissed_at.toISOString(), reason: dismissal.reason };
    },
  };
}
