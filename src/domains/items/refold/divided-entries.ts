import { claimsOfRecord } from '../stored-record.ts';
import { partOfEntry, type Division, type Evidence } from './refold-evidence.ts';
import type { EvidenceEntry, RefoldedItem } from './refold-plan.ts';

/** A planned item with the number that it goes by. */
export interface NumberedItem extends RefoldedItem {
  readonly root: number;
  readonly isNew: boolean;
}

/** Items with the parts of entries that belong to them, and what is to be written of these parts. */
export interface DividedItems {
  readonly evidence: Evidence;
  readonly items: readonly NumberedItem[];
  /** Divisions that do not hold any longer. */
  readonly gone: readonly Division[];
  readonly written: readonly Division[];
}

/**
 * Lets identifiers stay behind when the rest of their entry leaves; they are evidence of their own from then on. What was
 * divided before goes where its identifiers go.
 * @param leaving the item that identifiers come from, and the one that they leave for.
 */
export function divideEntries(
  evidence: Evidence,
  leaving: { readonly from: number; readonly to: number } | undefined,
  items: readonly NumberedItem[],
): DividedItems {
  const rows = new Map(evidence.rows);
  const divided = leaving ? keepBehind(rows, leaving, items) : items;
  const now = divisionsOf(divided, rows);
  const placeOf = ({ entryId, itemNumber }: Division) => `${entryId} ${itemNumber}`;
  const placesNow = new Set(now.map(placeOf));
  const entriesHere = new Set(divided.flatMap(({ entries }) => entries.map(({ entryId }) => entryId)));
  const placesHere = new Set(divided.flatMap(({ itemNumbers }) => itemNumbers));
  const isHere = ({ itemNumber }: Division) => placesHere.has(itemNumber);
  return {
    evidence: { ...evidence, rows, divisions: [...evidence.divisions.filter((each) => !isHere(each)), ...now] },
    items: divided,
    // What was withdrawn is part of nothing any longer; where it was divided is history.
    gone: evidence.divisions.filter(
      (each) => isHere(each) && entriesHere.has(each.entryId) && !placesNow.has(placeOf(each)),
    ),
    written: now,
  };
}

function keepBehind(
  rows: Map<EvidenceEntry, NonNullable<ReturnType<Evidence['rows']['get']>>>,
  { from, to }: { from: number; to: number },
  items: readonly NumberedItem[],
): NumberedItem[] {
  const target = items.find(({ root }) => root === to)!;
  const source = items.find(({ itemNumbers }) => itemNumbers.includes(from))!;
  const staying: EvidenceEntry[] = [];
  for (const entry of target.entries) {
    for (const node of entry.keys.filter((each) => !entry.isDivision && source.keys.has(each))) {
      const [part, row] = partOfEntry(entry, rows.get(entry)!, node, homeOfNode(source, node));
      rows.set(part, row);
      staying.push(part);
    }
  }
  return items.map((item) => (item === source ? { ...item, entries: [...item.entries, ...staying] } : item));
}

/** The one of all that an item consists of whose entries name a node first, so that the node stays there in an unmerge. */
function homeOfNode(item: NumberedItem, node: string): number {
  const naming = item.entries.find(({ keys }) => keys.includes(node));
  return naming ? homeIn(item, naming) : item.root;
}

/** The parts of entries that are with another item than the rest, each place once. */
function divisionsOf(items: readonly NumberedItem[], rows: Evidence['rows']): Division[] {
  const wholeAt = new Map<string, number>();
  for (const item of items) {
    for (const entry of item.entries) if (!entry.isDivision) wholeAt.set(entry.entryId, homeIn(item, entry));
  }
  const places = new Map<string, { entryId: string; itemNumber: number; keys: Set<string> }>();
  for (const item of items) {
    for (const part of item.entries) {
      const itemNumber = homeIn(item, part);
      if (!part.isDivision || wholeAt.get(part.entryId) === itemNumber) continue;
      const place = `${part.entryId} ${itemNumber}`;
      const keys = claimsOfRecord(rows.get(part)!.record);
      const known = places.get(place);
      if (known) for (const key of keys) known.keys.add(key);
      else places.set(place, { entryId: part.entryId, itemNumber, keys: new Set(keys) });
    }
  }
  return [...places.values()].map((place) => ({ ...place, keys: [...place.keys] }));
}

/** The item that an entry is kept with: the one that it was sent for or given to, as long as that is part of the item. */
function homeIn({ itemNumbers, root }: NumberedItem, { home }: EvidenceEntry): number {
  return home !== undefined && itemNumbers.includes(home) ? home : root;
}
