import { splitClaimKey } from './judge-record.ts';

/** What deduplication looks at in a record: the keys that may identify its item. */
export interface PlannedRecord {
  readonly claims: readonly string[];
}

/** What one workspace named of an item to which several contributed. */
export interface Contributor {
  readonly keys: ReadonlySet<string>;
  /** True for the submitting workspace. */
  readonly isOurs: boolean;
  /** An administrator lets its word about what belongs together count for all. */
  readonly isTrusted: boolean;
}

/** What must be known of an item that exists, read while its row is locked. */
export interface KnownItem {
  readonly itemNumber: number;
  /** Its values of the claim types of which an item has one at most; several only where a person said so. */
  readonly singleClaims: ReadonlyMap<string, ReadonlySet<string>>;
  readonly claimCount: number;
  /** Empty when only the submitting workspace contributed to it so far. */
  readonly contributors: readonly Contributor[];
  /** Items that a person keeps apart from this one. */
  readonly separatedFrom: ReadonlySet<number>;
}

export type ContradictionReason = 'values' | 'strangers' | 'separated' | 'size';

/** One thing that a record claims and that cannot be true together with another. */
export interface Contradiction {
  readonly reason: ContradictionReason;
  /** The type whose values exclude each other; empty for other reasons. */
  readonly claimType: string;
  readonly values: readonly string[];
  /** False when what contradicts may come from another workspace, which must not learn of it. */
  readonly isOurs: boolean;
}

/** A record that showed that what was taken for several things is one. */
interface Join {
  /** Index into the planned records. */
  readonly record: number;
  /** The lowest number of those joined; undefined when none of them existed before. */
  readonly survivor: number | undefined;
  /** The items that become the survivor through this record. */
  readonly losers: readonly number[];
}

/** Records that speak of one item. */
export interface PlannedItem {
  /** The items that exist and turn out to be this one, lowest number first; empty for a new item. */
  readonly itemNumbers: number[];
  /** Indexes into the planned records, in their order. */
  readonly records: number[];
  /** What was joined, in the order of the records. */
  readonly joins: Join[];
  /** True when the workspace may not add to what identifies the item, since others contributed to it. */
  readonly isGuarded: boolean;
}

/** A record that waits for a person. */
export interface PlannedConflict {
  readonly contradictions: readonly Contradiction[];
  /** What the record would join; items without records of this plan are among them. */
  readonly contested: readonly PlannedItem[];
}

export interface ResolutionPlan {
  readonly items: readonly PlannedItem[];
  readonly conflicts: ReadonlyMap<number, PlannedConflict>;
  /** Records that a person rejected before, when the same identifiers came. */
  readonly rejected: readonly number[];
}

/** What a person decided when the same identifiers came before. `itemNumber` null: the record is rejected. */
export interface RememberedDecision {
  readonly itemNumber: number | null;
}

export interface PlanOptions {
  /** The items that own a key: for all, and for the submitting workspace alone. */
  ownersOf(key: string): readonly KnownItem[];
  readonly singleClaimTypes: ReadonlySet<string>;
  /** An administrator lets this workspace join items that others contributed to. */
  readonly mayLinkItems: boolean;
  /** A thing with more identifiers than this is more likely a chain of mistakes, and a person looks at it. */
  readonly identifiersMax: number;
  decisionOn?(record: number): RememberedDecision | undefined;
  /** A known item by its number, for records that a decision leads to it. */
  knownItem?(itemNumber: number): KnownItem | undefined;
}

/** Mutable while planning; callers see it as `PlannedItem`. */
interface Component extends PlannedItem {
  readonly singleClaims: Map<string, Set<string>>;
  readonly separatedFrom: Set<number>;
  /** What others and we named of it; empty when it is ours alone. */
  contributors: Contributor[];
  claimCount: number;
  mergedInto: Component | undefined;
  isGuarded: boolean;
}

/**
 * Decides which records speak of the same item, one record after the other: a record joins everything that it shares a
 * key with, if the union is free of contradiction and the workspace may link it; else it waits as a conflict and owns
 * nothing. Consistent records end in the same partition in any order.
 */
export function planResolution(records: readonly PlannedRecord[], options: PlanOptions): ResolutionPlan {
  const planner = new Planner(options);
  records.forEach((record, index) => planner.place(record, index));
  return planner.plan();
}

class Planner {
  readonly #options: PlanOptions;
  readonly #byKey = new Map<string, Component>();
  readonly #byItem = new Map<number, Component>();
  readonly #components: Component[] = [];
  readonly #conflicts = new Map<number, { contradictions: readonly Contradiction[]; touched: readonly Component[] }>();
  readonly #rejected: number[] = [];

  constructor(options: PlanOptions) {
    this.#options = options;
  }

  place(record: PlannedRecord, index: number): void {
    const touched = this.#touchedBy(record);
    const singleClaims = singleClaimsOf(record, this.#options.singleClaimTypes);
    const isSure = isSurelyConsistent(record, singleClaims, touched, this.#options);
    const contradictions = isSure ? [] : this.#findContradictions(record, singleClaims, touched);
    if (contradictions.length > 0) this.#followDecision(record, index, contradictions, touched);
    else this.#join(record, index, singleClaims, touched);
  }

  plan(): ResolutionPlan {
    const rootsOf = (touched: readonly Component[]) => [...new Set(touched.map(findRoot))];
    return {
      items: this.#components.filter((component) => !component.mergedInto && component.records.length > 0),
      conflicts: new Map(
        [...this.#conflicts].map(([index, { contradictions, touched }]) => [
          index,
          { contradictions, contested: rootsOf(touched) },
        ]),
      ),
      rejected: this.#rejected,
    };
  }

  /** The different components that own keys of a record; most records touch none. */
  #touchedBy(record: PlannedRecord): readonly Component[] {
    let touched: Set<Component> | undefined;
    for (const key of record.claims) {
      const planned = this.#byKey.get(key);
      if (planned) (touched ??= new Set()).add(findRoot(planned));
      else for (const item of this.#options.ownersOf(key)) (touched ??= new Set()).add(this.#componentOf(item));
    }
    return touched ? [...touched] : [];
  }

  #componentOf(item: KnownItem): Component {
    const known = this.#byItem.get(item.itemNumber);
    if (known) return findRoot(known);
    const component = startComponent(item);
    this.#byItem.set(item.itemNumber, component);
    this.#components.push(component);
    return component;
  }

  #join(
    record: PlannedRecord,
    index: number,
    singleClaims: readonly SingleClaim[],
    touched: readonly Component[],
  ): void {
    const [first, ...others] = touched;
    const target = first ?? startComponent(undefined);
    if (!first) this.#components.push(target);
    if (others.length > 0) joinAll(target, others, index);
    target.isGuarded = target.contributors.length > 0 && !this.#options.mayLinkItems;
    if (target.contributors.length > 0) addOurKeys(target.contributors, record.claims);
    for (const key of record.claims) {
      if (this.#isFree(key)) target.claimCount += 1;
      this.#byKey.set(key, target);
    }
    addSingleClaims(target.singleClaims, singleClaims);
    target.records.push(index);
  }

  #followDecision(
    record: PlannedRecord,
    index: number,
    contradictions: readonly Contradiction[],
    touched: readonly Component[],
  ): void {
    const decision = this.#options.decisionOn?.(index);
    const item = decision?.itemNumber == null ? undefined : this.#options.knownItem?.(decision.itemNumber);
    if (decision?.itemNumber === null) this.#rejected.push(index);
    else if (item) this.#attach(record, index, this.#componentOf(item));
    else this.#conflicts.set(index, { contradictions, touched });
  }

  /** Puts a record where a person put its like before; what other items own stays theirs. */
  #attach(record: PlannedRecord, index: number, target: Component): void {
    const free = record.claims.filter((key) => this.#isFree(key));
    for (const key of free) this.#byKey.set(key, target);
    addSingleClaims(target.singleClaims, singleClaimsOf({ claims: free }, this.#options.singleClaimTypes));
    target.claimCount += free.length;
    target.isGuarded = target.contributors.length > 0 && !this.#options.mayLinkItems;
    target.records.push(index);
  }

  #findContradictions(
    record: PlannedRecord,
    singleClaims: readonly SingleClaim[],
    touched: readonly Component[],
  ): Contradiction[] {
    const isOurs = touched.every(({ contributors }) => contributors.length === 0);
    const contradictions = contradictingValues(singleClaims, touched).map(([claimType, values]): Contradiction => ({
      reason: 'values',
      claimType,
      values,
      isOurs,
    }));
    const add = (reason: ContradictionReason) => contradictions.push({ reason, claimType: '', values: [], isOurs });
    if (areSeparated(touched)) add('separated');
    const claimCount = touched.reduce((sum, component) => sum + component.claimCount, 0);
    const added = record.claims.filter((key) => this.#isFree(key)).length;
    if (claimCount + added > this.#options.identifiersMax) add('size');
    if (!isOurs && !this.#options.mayLinkItems && contradictions.length === 0) {
      const contributors = touched.flatMap((component) => component.contributors);
      if (touched.length > 1 || !isVouchedFor(record, contributors)) add('strangers');
    }
    return contradictions;
  }

  #isFree(key: string): boolean {
    return !this.#byKey.has(key) && this.#options.ownersOf(key).length === 0;
  }
}

function startComponent(item: KnownItem | undefined): Component {
  const singleClaims = new Map<string, Set<string>>();
  if (item) for (const [claimType, values] of item.singleClaims) singleClaims.set(claimType, new Set(values));
  return {
    itemNumbers: item ? [item.itemNumber] : [],
    records: [],
    joins: [],
    singleClaims,
    separatedFrom: new Set(item?.separatedFrom),
    contributors: item ? [...item.contributors] : [],
    claimCount: item?.claimCount ?? 0,
    mergedInto: undefined,
    isGuarded: false,
  };
}

/** Adds what a record of ours named of an item that others contributed to; one contributor holds all of it. */
function addOurKeys(contributors: Contributor[], claims: readonly string[]): void {
  const at = contributors.findIndex(({ isOurs }) => isOurs);
  const keys = new Set([...(contributors[at]?.keys ?? []), ...claims]);
  const ours = { keys, isOurs: true, isTrusted: false };
  if (at < 0) contributors.push(ours);
  else if (keys.size > contributors[at]!.keys.size) contributors[at] = ours;
}

function findRoot(component: Component): Component {
  let root = component;
  while (root.mergedInto) root = root.mergedInto;
  return root;
}

function joinAll(target: Component, others: readonly Component[], record: number): void {
  const lowest = [target, ...others].flatMap(({ itemNumbers }) => itemNumbers.slice(0, 1)).toSorted((a, b) => a - b);
  for (const other of others) join(target, other);
  target.joins.push({ record, survivor: lowest[0], losers: lowest.slice(1) });
  target.joins.sort((a, b) => a.record - b.record);
}

function join(target: Component, other: Component): void {
  other.mergedInto = target;
  target.joins.push(...other.joins);
  target.itemNumbers.push(...other.itemNumbers);
  target.itemNumbers.sort((a, b) => a - b);
  for (const record of other.records) target.records.push(record);
  target.records.sort((a, b) => a - b);
  for (const [claimType, values] of other.singleClaims) {
    for (const value of values) addSingleClaims(target.singleClaims, [[claimType, value]]);
  }
  for (const itemNumber of other.separatedFrom) target.separatedFrom.add(itemNumber);
  target.contributors.push(...other.contributors);
  target.claimCount += other.claimCount;
}

type SingleClaim = readonly [claimType: string, value: string];

function singleClaimsOf(record: PlannedRecord, singleClaimTypes: ReadonlySet<string>): readonly SingleClaim[] {
  const singleClaims: SingleClaim[] = [];
  for (const key of record.claims) {
    const claim = splitClaimKey(key);
    if (singleClaimTypes.has(claim[0])) singleClaims.push(claim);
  }
  return singleClaims;
}

function addSingleClaims(known: Map<string, Set<string>>, added: readonly SingleClaim[]): void {
  for (const [claimType, value] of added) {
    const values = known.get(claimType);
    if (values) values.add(value);
    else known.set(claimType, new Set([value]));
  }
}

/** The quick answer for what nearly all records are: new, or of one thing of ours, and in agreement with it. */
function isSurelyConsistent(
  record: PlannedRecord,
  singleClaims: readonly SingleClaim[],
  touched: readonly Component[],
  { identifiersMax }: PlanOptions,
): boolean {
  const [only] = touched;
  if (touched.length > 1 || (only && only.contributors.length > 0)) return false;
  if (record.claims.length + (only?.claimCount ?? 0) > identifiersMax) return false;
  return singleClaims.every(([claimType, value], at) => {
    for (let before = 0; before < at; before += 1) if (singleClaims[before]![0] === claimType) return false;
    return only?.singleClaims.get(claimType)?.has(value) ?? true;
  });
}

/** Types of which the union would have values that nobody said belong together. */
function contradictingValues(
  singleClaims: readonly SingleClaim[],
  touched: readonly Component[],
): [claimType: string, values: string[]][] {
  const sides = [...touched.map((component) => component.singleClaims), ...singleClaims.map((claim) => sideOf(claim))];
  const contradicting = new Map<string, Set<string>>();
  const united = new Map<string, ReadonlySet<string>>();
  for (const side of sides) {
    for (const [claimType, values] of side) {
      const known = united.get(claimType);
      if (!known || known.isSupersetOf(values)) {
        if (!known) united.set(claimType, values);
        continue;
      }
      if (!values.isSupersetOf(known)) contradicting.set(claimType, new Set([...known, ...values]));
      united.set(claimType, known.union(values));
    }
  }
  return [...contradicting.keys()].map((claimType) => [claimType, [...united.get(claimType)!].toSorted()]);
}

function sideOf([claimType, value]: SingleClaim): ReadonlyMap<string, ReadonlySet<string>> {
  return new Map([[claimType, new Set([value])]]);
}

function areSeparated(touched: readonly Component[]): boolean {
  return touched.some((one) =>
    touched.some((other) => one !== other && other.itemNumbers.some((number) => one.separatedFrom.has(number))),
  );
}

/**
 * Whether a record and what every other contributor named of the item hang together by identifiers that they share, by
 * what we said ourselves, or by what a trusted workspace said. If only a stranger said that they are one thing, the
 * stranger would decide what is ours.
 */
function isVouchedFor({ claims }: PlannedRecord, contributors: readonly Contributor[]): boolean {
  const reached = new Set(claims);
  let waiting = [...contributors];
  for (;;) {
    const touching = waiting.filter(({ keys }) => !keys.isDisjointFrom(reached));
    if (touching.length === 0) return waiting.length === 0;
    waiting = waiting.filter((contributor) => !touching.includes(contributor));
    for (const { keys, isOurs, isTrusted } of touching) {
      if (isOurs || isTrusted) for (const key of keys) reached.add(key);
    }
  }
}

/** Records that share keys, directly or through others, as lists of indexes: nothing decided in one touches another. */
export function groupBySharedKeys(
  records: readonly PlannedRecord[],
  ownersOf: (key: string) => readonly number[],
): number[][] {
  const parents = records.map((_record, index) => index);
  const rootOf = (index: number): number => {
    let root = index;
    while (parents[root] !== root) root = parents[root]!;
    for (let at = index; parents[at] !== root;) {
      const next = parents[at]!;
      parents[at] = root;
      at = next;
    }
    return root;
  };
  const firstByKey = new Map<string | number, number>();
  const unite = (key: string | number, index: number) => {
    const first = firstByKey.get(key);
    if (first === undefined) firstByKey.set(key, index);
    else parents[rootOf(index)] = rootOf(first);
  };
  records.forEach((record, index) => {
    for (const key of record.claims) {
      unite(key, index);
      // Two keys of one item bind the records that name them as one key does.
      for (const owner of ownersOf(key)) unite(owner, index);
    }
  });
  const groups = new Map<number, number[]>();
  for (let index = 0; index < records.length; index += 1) {
    const root = rootOf(index);
    const group = groups.get(root);
    if (group) group.push(index);
    else groups.set(root, [index]);
  }
  return [...groups.values()];
}
