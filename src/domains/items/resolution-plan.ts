import { groupByShared } from '#platform/group-by-shared.ts';
import { claimKey, splitClaimKey, type EndedIdentifier } from './judge-record.ts';
import { joinLives, unknownLife, type LifeTimes } from './record-times.ts';

/** What deduplication looks at in a record: the keys that may identify its item, and what it says of their validity. */
export interface PlannedRecord {
  readonly claims: readonly string[];
  /** Those of the claims whose validity it ends. */
  readonly ended?: readonly EndedIdentifier[];
  readonly life?: LifeTimes;
}

/** What one workspace named of an item to which several contributed. */
export interface Contributor {
  readonly keys: ReadonlySet<string>;
  /** True for the submitting workspace. */
  readonly isOurs: boolean;
  /** An administrator lets its word about what belongs together count for all. */
  readonly isTrusted: boolean;
  /** True when nobody else contributed, so that its word about the end of the item counts for whoever comes later. */
  readonly isAlone?: boolean;
  readonly life?: LifeTimes;
}

/** What must be known of an item that exists, read while its row is locked. */
export interface KnownItem {
  readonly itemNumber: number;
  /** Its values of the claim types of which an item has one at most; several only where a person said so. */
  readonly singleClaims: ReadonlyMap<string, ReadonlySet<string>>;
  /** Keys that lead to it and are not on it any longer: they exclude no others. */
  readonly ended?: ReadonlySet<string>;
  /** What the submitting workspace knows of its life. */
  readonly life?: LifeTimes;
  readonly claimCount: number;
  /** Empty when only the submitting workspace contributed to it so far. */
  readonly contributors: readonly Contributor[];
  /** Items that a person keeps apart from this one. */
  readonly separatedFrom: ReadonlySet<number>;
}

export type ContradictionReason = 'values' | 'ended' | 'strangers' | 'separated' | 'size';

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
  /** Its place among all joins: records may be placed in another order than theirs. */
  readonly turn: number;
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
  /** Those of them that a remembered decision led here, each with the case that it was made about. */
  readonly attached: Map<number, string>;
  /** What was joined, in the order of the joins. */
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
  /** The case that it was made about. */
  readonly conflictId: string;
}

export interface PlanOptions {
  /** The items that own a key: for all, and for the submitting workspace alone. */
  ownersOf(key: string): readonly KnownItem[];
  readonly singleClaimTypes: ReadonlySet<string>;
  /** An administrator lets this workspace join items that others contributed to. */
  readonly mayLinkItems: boolean;
  /** A thing with more identifiers than this is more likely a chain of mistakes, and a person looks at it. */
  readonly identifiersMax: number;
  /** Keys that count as ended whatever these records and items tell. */
  readonly supposedEnds?: ReadonlySet<string>;
  decisionOn?(record: number): RememberedDecision | undefined;
  /** A known item by its number, for records that a decision leads to it. */
  knownItem?(itemNumber: number): KnownItem | undefined;
}

/** Mutable while planning; callers see it as `PlannedItem`. */
interface Component extends PlannedItem {
  readonly singleClaims: Map<string, Set<string>>;
  readonly ended: Set<string>;
  life: LifeTimes;
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
 * nothing. A record that ends the validity of an identifier may take a contradiction away, so what waits is looked at
 * again. Consistent records end in the same partition in any order.
 */
export function planResolution(records: readonly PlannedRecord[], options: PlanOptions): ResolutionPlan {
  const planner = new Planner(options);
  records.forEach((record, index) => planner.place(record, index));
  if (records.some(({ ended = [] }) => ended.length > 0)) planner.reconsider();
  return planner.plan();
}

interface WaitingRecord {
  readonly record: PlannedRecord;
  readonly contradictions: readonly Contradiction[];
  readonly touched: readonly Component[];
}

class Planner {
  readonly #options: PlanOptions;
  readonly #byKey = new Map<string, Component>();
  readonly #byItem = new Map<number, Component>();
  readonly #components: Component[] = [];
  readonly #conflicts = new Map<number, WaitingRecord>();
  readonly #rejected: number[] = [];
  #turns = 0;

  constructor(options: PlanOptions) {
    this.#options = options;
  }

  place(record: PlannedRecord, index: number): void {
    const touched = this.#touchedBy(record);
    const singleClaims = singleClaimsOf(record, this.#options.singleClaimTypes);
    const isSure = isSurelyConsistent(record, singleClaims, touched, this.#options);
    const contradictions = isSure ? [] : this.#findContradictions([record], touched);
    if (contradictions.length > 0) this.#followDecision(record, index, contradictions, touched);
    else this.#join(record, index, singleClaims, touched);
  }

  /** Places what waits and is free of contradiction by now, be it that several records are only together. */
  reconsider(): void {
    while (this.#placeAgain() || this.#placeTogether());
    for (const component of this.#components) component.records.sort((a, b) => a - b);
  }

  #placeAgain(): boolean {
    const waiting = [...this.#conflicts];
    for (const [index, { record }] of waiting) {
      this.#conflicts.delete(index);
      this.place(record, index);
    }
    return this.#conflicts.size > 0 && this.#conflicts.size < waiting.length;
  }

  /** Places records that hang together, if they contradict neither each other nor what they touch. */
  #placeTogether(): boolean {
    const waiting = [...this.#conflicts];
    const numberOf = new Map(this.#components.map((component, at) => [component, at]));
    const groups = groupBySharedKeys(
      waiting.map(([index, { record }]) => ({ index, record, claims: record.claims })),
      (key) => this.#touchedBy({ claims: [key] }).map((component) => numberOf.get(component)!),
    );
    let hasPlaced = false;
    for (const group of groups) {
      if (group.length === 1) continue;
      const records = group.map(({ record }) => record);
      const touched = this.#touchedBy({ claims: records.flatMap(({ claims }) => claims) });
      if (this.#findContradictions(records, touched).length > 0) continue;
      for (const { index, record } of group) {
        const singleClaims = singleClaimsOf(record, this.#options.singleClaimTypes);
        this.#conflicts.delete(index);
        this.#join(record, index, singleClaims, this.#touchedBy(record));
      }
      hasPlaced = true;
    }
    return hasPlaced;
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
    if (others.length > 0) joinAll(target, others, index, (this.#turns += 1));
    target.isGuarded = target.contributors.length > 0 && !this.#options.mayLinkItems;
    if (target.contributors.length > 0) addOurKeys(target.contributors, record.claims);
    for (const key of record.claims) {
      if (this.#isFree(key)) target.claimCount += 1;
      this.#byKey.set(key, target);
    }
    addSingleClaims(target.singleClaims, singleClaims);
    for (const { key } of record.ended ?? []) target.ended.add(key);
    target.life = joinLives(target.life, record.life ?? unknownLife);
    target.records.push(index);
  }

  #followDecision(
    record: PlannedRecord,
    index: number,
    contradictions: readonly Contradiction[],
    touched: readonly Component[],
  ): void {
    // Who decided about identifiers did not decide what becomes of them.
    const decision = endsNothing(record) ? this.#options.decisionOn?.(index) : undefined;
    const item = decision?.itemNumber == null ? undefined : this.#options.knownItem?.(decision.itemNumber);
    if (decision?.itemNumber === null) this.#rejected.push(index);
    else if (item) this.#attach(record, index, this.#componentOf(item), decision!.conflictId);
    else this.#conflicts.set(index, { record, contradictions, touched });
  }

  /** Puts a record where a person put its like before; what other items own stays theirs. */
  #attach(record: PlannedRecord, index: number, target: Component, conflictId: string): void {
    const free = record.claims.filter((key) => this.#isFree(key));
    for (const key of free) this.#byKey.set(key, target);
    addSingleClaims(target.singleClaims, singleClaimsOf({ claims: free }, this.#options.singleClaimTypes));
    target.claimCount += free.length;
    target.life = joinLives(target.life, record.life ?? unknownLife);
    target.isGuarded = target.contributors.length > 0 && !this.#options.mayLinkItems;
    target.attached.set(index, conflictId);
    target.records.push(index);
  }

  /** What contradicts if these records and all that they touch are one item. */
  #findContradictions(records: readonly PlannedRecord[], touched: readonly Component[]): Contradiction[] {
    const { identifiersMax, mayLinkItems, singleClaimTypes, supposedEnds = nothing } = this.#options;
    const isOurs = touched.every(({ contributors }) => contributors.length === 0);
    const singleClaims = records.flatMap((record) => singleClaimsOf(record, singleClaimTypes));
    const contradictions = contradictingValues(
      singleClaims,
      touched,
      endedAmong(records, touched).union(supposedEnds),
    ).map(([claimType, values]): Contradiction => ({ reason: 'values', claimType, values, isOurs }));
    const add = (reason: ContradictionReason) => contradictions.push({ reason, claimType: '', values: [], isOurs });
    if (areSeparated(touched)) add('separated');
    if (outlivesItsEnd(records, touched, mayLinkItems)) add('ended');
    const claimCount = touched.reduce((sum, component) => sum + component.claimCount, 0);
    const added = new Set(records.flatMap(({ claims }) => claims.filter((key) => this.#isFree(key)))).size;
    if (claimCount + added > identifiersMax) add('size');
    if (!isOurs && !mayLinkItems && contradictions.length === 0) {
      const contributors = touched.flatMap((component) => component.contributors);
      const [record, ...others] = records;
      const mayJoin = touched.length === 1 && others.length === 0 && isVouchedFor(record!, contributors);
      if (!mayJoin || !endsNothing(record!, touched[0]!.ended)) add('strangers');
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
    attached: new Map(),
    joins: [],
    singleClaims,
    ended: new Set(item?.ended),
    life: item?.life ?? unknownLife,
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

function joinAll(target: Component, others: readonly Component[], record: number, turn: number): void {
  const lowest = [target, ...others].flatMap(({ itemNumbers }) => itemNumbers.slice(0, 1)).toSorted((a, b) => a - b);
  for (const other of others) join(target, other);
  target.joins.push({ record, turn, survivor: lowest[0], losers: lowest.slice(1) });
  target.joins.sort((a, b) => a.turn - b.turn);
}

function join(target: Component, other: Component): void {
  other.mergedInto = target;
  target.joins.push(...other.joins);
  target.itemNumbers.push(...other.itemNumbers);
  target.itemNumbers.sort((a, b) => a - b);
  for (const [record, conflictId] of other.attached) target.attached.set(record, conflictId);
  for (const record of other.records) target.records.push(record);
  target.records.sort((a, b) => a - b);
  for (const [claimType, values] of other.singleClaims) {
    for (const value of values) addSingleClaims(target.singleClaims, [[claimType, value]]);
  }
  for (const key of other.ended) target.ended.add(key);
  target.life = joinLives(target.life, other.life);
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
  if (!endsNothing(record) || (only && record.life?.latestMicros != null && outlivesItsEnd([record], touched, false)))
    return false;
  if (record.claims.length + (only?.claimCount ?? 0) > identifiersMax) return false;
  return singleClaims.every(([claimType, value], at) => {
    for (let before = 0; before < at; before += 1) if (singleClaims[before]![0] === claimType) return false;
    return only?.singleClaims.get(claimType)?.has(value) ?? true;
  });
}

/** Types of which the union would have values valid at once that nobody said belong together. */
function contradictingValues(
  singleClaims: readonly SingleClaim[],
  touched: readonly Component[],
  ended: ReadonlySet<string>,
): [claimType: string, values: string[]][] {
  const valid = singleClaims.filter(([claimType, value]) => ended.size === 0 || !ended.has(claimKey(claimType, value)));
  const sides = [
    ...touched.map((component) => withoutEnded(component.singleClaims, ended)),
    ...valid.map((claim) => sideOf(claim)),
  ];
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

function withoutEnded(
  singleClaims: ReadonlyMap<string, ReadonlySet<string>>,
  ended: ReadonlySet<string>,
): ReadonlyMap<string, ReadonlySet<string>> {
  if (ended.size === 0) return singleClaims;
  const valid = new Map<string, ReadonlySet<string>>();
  for (const [claimType, values] of singleClaims) {
    const left = [...values].filter((value) => !ended.has(claimKey(claimType, value)));
    if (left.length > 0) valid.set(claimType, new Set(left));
  }
  return valid;
}

function endedAmong(records: readonly PlannedRecord[], touched: readonly Component[]): Set<string> {
  const ended = new Set(records.flatMap((record) => (record.ended ?? []).map(({ key }) => key)));
  for (const component of touched) for (const key of component.ended) ended.add(key);
  return ended;
}

/** True for a record that ends no identifier, or none but those that are ended before. */
function endsNothing({ ended = [] }: PlannedRecord, before: ReadonlySet<string> = nothing): boolean {
  return ended.every(({ key }) => before.has(key));
}

const nothing: ReadonlySet<string> = new Set();

/**
 * Whether one of the things to be joined ended before something that another tells of. An end counts for the workspace
 * that says it, and for all others if an administrator trusts that workspace or nobody else contributed to the item.
 */
function outlivesItsEnd(
  records: readonly PlannedRecord[],
  touched: readonly Component[],
  mayLinkItems: boolean,
): boolean {
  const sides = [
    ...touched.map((component) => heardLife(component, mayLinkItems)),
    ...records.map(({ life = unknownLife }) => life),
  ];
  return sides.some(({ endedAtMicros }, at) =>
    sides.some(
      ({ latestMicros }, other) =>
        other !== at && endedAtMicros !== null && latestMicros !== null && latestMicros > endedAtMicros,
    ),
  );
}

/** What the submitting workspace has to heed of the life of a thing: what it said itself, and what counts for all. */
function heardLife({ life, contributors }: Component, mayLinkItems: boolean): LifeTimes {
  if (contributors.length === 0) return life;
  const hasJoined = contributors.some(({ isOurs }) => isOurs);
  return contributors.reduce((heard, { life: told = unknownLife, isOurs, isTrusted, isAlone = false }) => {
    if (isOurs) return heard;
    const endsForAll = isTrusted || (isAlone && !hasJoined);
    return joinLives(heard, {
      endedAtMicros: endsForAll ? told.endedAtMicros : null,
      latestMicros: mayLinkItems ? told.latestMicros : null,
    });
  }, life);
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

/** Records that share keys or owners of keys, directly or through others: nothing decided in one group touches another. */
export function groupBySharedKeys<Record extends PlannedRecord>(
  records: readonly Record[],
  ownersOf: (key: string) => readonly number[],
): Record[][] {
  return groupByShared(records, ({ claims }) => {
    // Two keys of one item bind the records that name them as one key does.
    const owners = claims.flatMap(ownersOf);
    return owners.length === 0 ? claims : [...claims, ...owners];
  });
}
