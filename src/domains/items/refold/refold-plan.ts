import type { EntryOrder } from '../contribution-state.ts';
import { compareEntryOrder } from '../contribution-state.ts';
import { positionOfEntry } from '#platform/ids.ts';

/** An entry as evidence for what belongs together. */
export interface EvidenceEntry {
  readonly entryId: string;
  readonly order: EntryOrder;
  /** The item that it was sent for; undefined for an entry that waits. */
  readonly home: number | undefined;
  /** True for the entry that the item of its home began with. */
  readonly isCreation: boolean;
  /** True for one identifier that a person keeps here while the rest of its entry is elsewhere. */
  readonly isDivision: boolean;
  /** True when a person gave it to the item of its home whatever it names. */
  readonly isPlaced: boolean;
  /** What ties it to other entries. */
  readonly keys: readonly string[];
  /** Keys whose validity it ends. */
  readonly ended: readonly string[];
}

/** One item that was made part of another. */
export interface EvidenceMerge {
  readonly survivor: number;
  readonly loser: number;
  /** The entry that showed that the two are one; null when a person said so. */
  readonly entryId: string | null;
}

/** What a person wants to be believed from now on. */
export interface RefoldDecisions {
  /** Merges that do not hold any longer. */
  readonly undone: readonly EvidenceMerge[];
  /** Items that are one because a person says so, the one that stays first. */
  readonly united: readonly (readonly [survivor: number, loser: number])[];
  /** Entries that count no longer. */
  readonly withdrawn: ReadonlySet<string>;
  /** Items that waiting entries are given to. */
  readonly placed: ReadonlyMap<string, number>;
  /** Keys that leave for a new item, with the content of the entries that name them. */
  readonly leaving:
    | { readonly keys: ReadonlySet<string>; readonly from: number; readonly itemNumber: number }
    | undefined;
  /** Entries whose word about the end of identifiers does not count, since they wait themselves. */
  readonly unheard: ReadonlySet<string>;
  /** What may not be valid at once, where something does not count any longer. */
  readonly exclusion?: Exclusion | undefined;
}

/** Keys of which an item has one of each type at a time, unless a person said otherwise. */
export interface Exclusion {
  /** Entries that stay whatever they contradict. */
  readonly accepted: ReadonlySet<string>;
  /** The type of such a key. */
  typeOf(key: string): string | undefined;
}

export interface RefoldEvidence {
  /** All items involved, those that became others included. */
  readonly items: readonly number[];
  readonly merges: readonly EvidenceMerge[];
  /** Pairs of items that stay apart. */
  readonly separations: readonly (readonly [one: number, other: number])[];
  readonly entries: readonly EvidenceEntry[];
}

/** One item as the evidence has it now. */
export interface RefoldedItem {
  /** All items that it is; empty for one that has no number yet. */
  readonly itemNumbers: readonly number[];
  readonly entries: readonly EvidenceEntry[];
  /** What identifies it, each with the first entry that says so. */
  readonly keys: ReadonlyMap<string, string>;
  /** The entries that showed that two of its items are one. */
  readonly joins: readonly { entryId: string; itemNumbers: readonly number[] }[];
}

/** An entry that cannot be part of what it names. */
export interface ContestedEvidence {
  readonly entry: EvidenceEntry;
  readonly itemNumbers: readonly number[];
  /** Keys of one type that would be valid at once; none where the entry names things which stay apart. */
  readonly excluding: readonly string[];
}

export interface RefoldPlan {
  readonly items: readonly RefoldedItem[];
  readonly conflicted: readonly ContestedEvidence[];
}

interface Component {
  itemNumbers: Set<number>;
  entries: EvidenceEntry[];
  keys: Map<string, string>;
  joins: { entryId: string; itemNumbers: readonly number[] }[];
  /** Whether a person said that it is several items. */
  isUnited: boolean;
  mergedInto: Component | undefined;
}

/**
 * Says which entries make up which item, from the entries and from what persons decided, as if nothing had ever been
 * believed otherwise. What an item began with comes first, then what persons gave to it, then what was sent for items that
 * became others, then the rest as it arrived; last come the entries whose link does not hold any longer.
 */
export function planRefold(evidence: RefoldEvidence, decisions: RefoldDecisions): RefoldPlan {
  const planner = new RefoldPlanner(evidence, decisions);
  planner.unite();
  for (const entry of inPlanningOrder(evidence, decisions)) planner.place(entry);
  return planner.plan();
}

function inPlanningOrder({ entries, merges }: RefoldEvidence, { undone, withdrawn }: RefoldDecisions): EvidenceEntry[] {
  const counting = entries.filter(({ entryId }) => !withdrawn.has(entryId));
  const linkers = new Set(undone.flatMap(({ entryId }) => entryId ?? []));
  const first = firstEntries(counting);
  const losers = new Set(merges.map(({ loser }) => loser));
  const rankOf = (entry: EvidenceEntry): number => {
    if (linkers.has(entry.entryId)) return 4;
    if (first.has(entry)) return 0;
    if (entry.isDivision || entry.isPlaced) return 1;
    return entry.home !== undefined && losers.has(entry.home) ? 2 : 3;
  };
  return counting.toSorted((a, b) => rankOf(a) - rankOf(b) || compareArrival(a.order, b.order));
}

function compareArrival(a: EntryOrder, b: EntryOrder): number {
  return (
    a.receivedSequence - b.receivedSequence ||
    positionOfEntry(a.entryId) - positionOfEntry(b.entryId) ||
    compareEntryOrder(a, b)
  );
}

/** The entry that each item began with, or the first that is left of it. */
function firstEntries(entries: readonly EvidenceEntry[]): Set<EvidenceEntry> {
  const first = new Map<number, EvidenceEntry>();
  for (const entry of entries.toSorted((a, b) => compareArrival(a.order, b.order))) {
    if (entry.home === undefined || entry.isDivision) continue;
    if (entry.isCreation || !first.has(entry.home)) first.set(entry.home, entry);
  }
  return new Set(first.values());
}

class RefoldPlanner {
  readonly #evidence: RefoldEvidence;
  readonly #decisions: RefoldDecisions;
  readonly #byItem = new Map<number, Component>();
  readonly #byKey = new Map<string, Component>();
  readonly #components: Component[] = [];
  readonly #separatedFrom = new Map<number, Set<number>>();
  /** What is left first of each item. */
  readonly #first: ReadonlySet<EvidenceEntry>;
  readonly #conflicted: ContestedEvidence[] = [];
  /** Keys that are not valid any longer. */
  readonly #ended: ReadonlySet<string>;
  /** The items for which entries were sent that name a key, and that nobody placed. */
  readonly #homesNaming = new Map<string, Set<number | undefined>>();

  constructor(evidence: RefoldEvidence, decisions: RefoldDecisions) {
    this.#evidence = evidence;
    this.#decisions = decisions;
    const { leaving, withdrawn } = decisions;
    const counting = evidence.entries.filter(({ entryId }) => !withdrawn.has(entryId));
    this.#first = firstEntries(counting);
    const { unheard } = decisions;
    this.#ended = new Set(counting.flatMap(({ entryId, ended }) => (unheard.has(entryId) ? [] : ended)));
    for (const { home, isPlaced, keys } of counting) {
      for (const key of isPlaced ? [] : keys)
        this.#homesNaming.set(key, (this.#homesNaming.get(key) ?? new Set()).add(home));
    }
    for (const itemNumber of evidence.items) this.#byItem.set(itemNumber, this.#start([itemNumber]));
    for (const [one, other] of evidence.separations) {
      this.#separate(one, other);
      this.#separate(other, one);
    }
    if (!leaving) return;
    const target = this.#start([leaving.itemNumber]);
    this.#byItem.set(leaving.itemNumber, target);
    for (const key of leaving.keys) this.#byKey.set(key, target);
    const source = this.#byItem.get(leaving.from)!;
    for (const key of evidence.entries.flatMap((entry) => entry.keys)) {
      if (!leaving.keys.has(key)) this.#byKey.set(key, source);
    }
  }

  /** Joins the items that are one whatever the entries say. */
  unite(): void {
    const { undone, united, withdrawn } = this.#decisions;
    const isUndone = (merge: EvidenceMerge) =>
      undone.some(({ survivor, loser }) => survivor === merge.survivor && loser === merge.loser);
    for (const merge of this.#evidence.merges) {
      if (isUndone(merge)) continue;
      // Without the entries or links that do not count any longer the others show again what is one.
      if (withdrawn.size + undone.length > 0 && merge.entryId !== null) continue;
      this.#unite(merge.survivor, merge.loser, merge.entryId === null);
    }
    for (const [survivor, loser] of united) this.#unite(survivor, loser, true);
  }

  place(entry: EvidenceEntry): void {
    const target = this.#givenTarget(entry);
    if (target) {
      this.#add(entry, target);
      return;
    }
    const touched = this.#touchedBy(entry);
    const excluding = this.#findExcluding(entry, touched);
    if (excluding.length > 0 || this.#areSeparated(touched)) {
      const itemNumbers = touched.flatMap(({ itemNumbers: numbers }) => [...numbers]);
      this.#conflicted.push({ entry, itemNumbers, excluding });
      return;
    }
    const [first, ...others] = touched;
    // What a person keeps apart from its entry is tied to its item by nothing but that.
    const component = first ?? (entry.isDivision ? this.#itemComponent(entry.home!) : this.#start([]));
    const joined = touched.flatMap(({ itemNumbers }) => [...itemNumbers].slice(0, 1));
    for (const other of others) this.#join(component, other);
    if (joined.length > 1) component.joins.push({ entryId: entry.entryId, itemNumbers: joined });
    this.#add(entry, component);
  }

  plan(): RefoldPlan {
    // What others name turned out to be nobody's.
    const placed = this.#components.flatMap(({ entries }) => entries.filter(({ isPlaced }) => isPlaced));
    for (const entry of placed) this.#own(entry, this.#itemComponent(entry.home!), (key) => !this.#byKey.has(key));
    const roots = this.#components.filter(({ mergedInto }) => !mergedInto);
    return {
      items: roots
        .filter(({ itemNumbers, entries }) => itemNumbers.size + entries.length > 0)
        .map((component) => ({ ...component, itemNumbers: [...component.itemNumbers].toSorted((a, b) => a - b) })),
      conflicted: this.#conflicted,
    };
  }

  /** The component that an entry belongs to whatever it names. */
  #givenTarget(entry: EvidenceEntry): Component | undefined {
    const { leaving, placed } = this.#decisions;
    const given = placed.get(entry.entryId);
    if (given !== undefined) return this.#itemComponent(given);
    if (leaving && entry.keys.some((key) => leaving.keys.has(key))) return this.#itemComponent(leaving.itemNumber);
    // An edit by hand names nothing; it stays with the item that it was made to.
    const stays = entry.isPlaced || entry.keys.length === 0;
    return stays && entry.home !== undefined ? this.#itemComponent(entry.home) : undefined;
  }

  #add(entry: EvidenceEntry, component: Component): void {
    component.entries.push(entry);
    this.#own(entry, component, entry.isPlaced ? (key) => !this.#isNamedElsewhere(key, entry.home) : () => true);
  }

  /** Whether the key belongs to another item by what was sent for that one; an entry that is placed does not take it away. */
  #isNamedElsewhere(key: string, home: number | undefined): boolean {
    const homes = this.#homesNaming.get(key);
    return homes !== undefined && (homes.size > 1 || !homes.has(home));
  }

  #own(entry: EvidenceEntry, component: Component, isOwn: (key: string) => boolean): void {
    for (const key of entry.keys.filter(isOwn)) {
      const owner = findRoot(this.#byKey.get(key) ?? component);
      this.#byKey.set(key, owner);
      if (!owner.keys.has(key)) owner.keys.set(key, entry.entryId);
    }
  }

  #touchedBy(entry: EvidenceEntry): Component[] {
    const touched = new Set(entry.keys.flatMap((key) => this.#byKey.get(key) ?? []).map(findRoot));
    // What an item began with, or what is left of it first, is that item, also when another one names the same.
    if (entry.home !== undefined && (entry.isCreation || this.#first.has(entry)))
      touched.add(this.#itemComponent(entry.home));
    return [...touched];
  }

  #itemComponent(itemNumber: number): Component {
    return findRoot(this.#byItem.get(itemNumber)!);
  }

  #start(itemNumbers: readonly number[]): Component {
    const component: Component = {
      itemNumbers: new Set(itemNumbers),
      entries: [],
      keys: new Map(),
      joins: [],
      isUnited: false,
      mergedInto: undefined,
    };
    this.#components.push(component);
    return component;
  }

  #unite(survivor: number, loser: number, isDecided: boolean): void {
    const target = this.#itemComponent(survivor);
    this.#join(target, this.#itemComponent(loser));
    target.isUnited ||= isDecided;
  }

  #join(target: Component, other: Component): void {
    if (target === other) return;
    other.mergedInto = target;
    target.isUnited ||= other.isUnited;
    for (const itemNumber of other.itemNumbers) target.itemNumbers.add(itemNumber);
    for (const entry of other.entries) target.entries.push(entry);
    for (const join of other.joins) target.joins.push(join);
    for (const [key, entryId] of other.keys) if (!target.keys.has(key)) target.keys.set(key, entryId);
  }

  #separate(one: number, other: number): void {
    const known = this.#separatedFrom.get(one);
    if (known) known.add(other);
    else this.#separatedFrom.set(one, new Set([other]));
  }

  /** Keys of one type which exclude each other, unless one side has them all, or is several items, since a person said so. */
  #findExcluding(entry: EvidenceEntry, touched: readonly Component[]): string[] {
    const { exclusion } = this.#decisions;
    if (!exclusion || entry.isDivision || exclusion.accepted.has(entry.entryId)) return [];
    if (touched.some(({ isUnited }) => isUnited)) return [];
    const told = [...entry.keys.map((key) => [key]), ...touched.map(({ keys }) => [...keys.keys()])];
    const sides = told.map((keys) =>
      Map.groupBy(
        keys.filter((key) => !this.#ended.has(key) && exclusion.typeOf(key) !== undefined),
        (key) => exclusion.typeOf(key)!,
      ),
    );
    for (const type of new Set(sides.flatMap((side) => [...side.keys()]))) {
      const ofType = sides.map((side) => new Set(side.get(type)));
      const union = new Set(ofType.flatMap((keys) => [...keys]));
      if (union.size > 1 && !ofType.some((keys) => keys.size === union.size)) return [...union].toSorted();
    }
    return [];
  }

  #areSeparated(touched: readonly Component[]): boolean {
    return touched.some((one) =>
      touched.some(
        (other) =>
          one !== other &&
          [...one.itemNumbers].some((number) =>
            [...other.itemNumbers].some((apart) => this.#separatedFrom.get(number)?.has(apart)),
          ),
      ),
    );
  }
}

function findRoot(component: Component): Component {
  let root = component;
  while (root.mergedInto) root = root.mergedInto;
  return root;
}
