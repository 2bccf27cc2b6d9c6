import { splitClaimKey } from './judge-record.ts';

/** What deduplication looks at in a record: the keys that may identify its item. */
export interface PlannedRecord {
  readonly claims: readonly string[];
}

/** What must be known of an item that exists, read while its row is locked. */
export interface KnownItem {
  readonly itemNumber: number;
  /** Its values of the claim types of which an item has one at most. */
  readonly singleClaims: ReadonlyMap<string, string>;
  /** True when only the submitting workspace contributed to it so far. */
  readonly isOursAlone: boolean;
}

/** One thing that a record claims and that cannot be true together with another. */
export interface Contradiction {
  readonly claimType: string;
  /** The values that exclude each other; empty when the link itself is not allowed. */
  readonly values: readonly string[];
  /** The items that exist and would be joined. */
  readonly itemNumbers: readonly number[];
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
}

export interface ResolutionPlan {
  readonly items: readonly PlannedItem[];
  readonly conflicts: ReadonlyMap<number, readonly Contradiction[]>;
}

interface PlanOptions {
  /** The item that owns a key, if one does. */
  ownerOf(key: string): KnownItem | undefined;
  readonly singleClaimTypes: ReadonlySet<string>;
  /** An administrator lets this workspace join items that others contributed to. */
  readonly mayLinkItems: boolean;
}

interface Component extends PlannedItem {
  readonly singleClaims: Map<string, string>;
  isOursAlone: boolean;
  mergedInto: Component | undefined;
}

/**
 * Decides which records speak of the same item, one record after the other: a record joins everything that it shares a
 * key with, if the union is free of contradiction and the workspace may link it; else it waits as a conflict and owns
 * nothing. Consistent records end in the same partition in any order.
 */
export function planResolution(records: readonly PlannedRecord[], options: PlanOptions): ResolutionPlan {
  const byKey = new Map<string, Component>();
  const byItem = new Map<number, Component>();
  const conflicts = new Map<number, Contradiction[]>();
  const components: Component[] = [];

  const componentOf = (key: string): Component | undefined => {
    const planned = byKey.get(key);
    if (planned) return findRoot(planned);
    const item = options.ownerOf(key);
    if (!item) return undefined;
    const known = byItem.get(item.itemNumber);
    if (known) return findRoot(known);
    const component = startComponent(item);
    byItem.set(item.itemNumber, component);
    components.push(component);
    return component;
  };

  records.forEach((record, index) => {
    const touched = touchedBy(record, componentOf);
    const singleClaims = singleClaimsOf(record, options.singleClaimTypes);
    const contradictions = isSurelyConsistent(singleClaims, touched)
      ? []
      : findContradictions(singleClaims, touched, options);
    if (contradictions.length > 0) {
      conflicts.set(index, contradictions);
      return;
    }
    const [first, ...others] = touched;
    const target = first ?? startComponent(undefined);
    if (!first) components.push(target);
    if (others.length > 0) joinAll(target, others, index);
    target.records.push(index);
    for (const key of record.claims) byKey.set(key, target);
    for (const [claimType, value] of singleClaims) target.singleClaims.set(claimType, value);
  });
  return { items: components.filter((component) => !component.mergedInto && component.records.length > 0), conflicts };
}

function startComponent(item: KnownItem | undefined): Component {
  return {
    itemNumbers: item ? [item.itemNumber] : [],
    records: [],
    joins: [],
    singleClaims: new Map(item?.singleClaims),
    isOursAlone: item?.isOursAlone ?? true,
    mergedInto: undefined,
  };
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
  for (const [type, value] of other.singleClaims) target.singleClaims.set(type, value);
  target.isOursAlone &&= other.isOursAlone;
}

/** The different components that own keys of a record; most records touch none. */
function touchedBy(record: PlannedRecord, componentOf: (key: string) => Component | undefined): readonly Component[] {
  let touched: Set<Component> | undefined;
  for (const key of record.claims) {
    const component = componentOf(key);
    if (component) (touched ??= new Set()).add(component);
  }
  return touched ? [...touched] : [];
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

/** The quick answer for what nearly all records are: new, or of one known thing, and in agreement with it. */
function isSurelyConsistent(singleClaims: readonly SingleClaim[], touched: readonly Component[]): boolean {
  if (touched.length > 1) return false;
  const known = touched[0]?.singleClaims;
  return singleClaims.every(([claimType, value], at) => {
    for (let before = 0; before < at; before += 1) if (singleClaims[before]![0] === claimType) return false;
    return (known?.get(claimType) ?? value) === value;
  });
}

function findContradictions(
  singleClaims: readonly SingleClaim[],
  touched: readonly Component[],
  options: PlanOptions,
): Contradiction[] {
  const valuesByType = new Map<string, Set<string>>();
  const collect = (type: string, value: string) => {
    const values = valuesByType.get(type);
    if (values) values.add(value);
    else valuesByType.set(type, new Set([value]));
  };
  for (const [type, value] of singleClaims) collect(type, value);
  const itemNumbers: number[] = [];
  let isOursAlone = true;
  for (const component of touched) {
    for (const [type, value] of component.singleClaims) collect(type, value);
    itemNumbers.push(...component.itemNumbers);
    isOursAlone &&= component.isOursAlone;
  }
  itemNumbers.sort((a, b) => a - b);
  const contradictions: Contradiction[] = [];
  for (const [claimType, values] of valuesByType) {
    if (values.size > 1)
      contradictions.push({ claimType, values: [...values].toSorted(), itemNumbers, isOurs: isOursAlone });
  }
  if (contradictions.length === 0 && itemNumbers.length > 1 && !isOursAlone && !options.mayLinkItems) {
    contradictions.push({ claimType: '', values: [], itemNumbers, isOurs: false });
  }
  return contradictions;
}

/** Records that share keys, directly or through others, as lists of indexes: nothing decided in one touches another. */
export function groupBySharedKeys(
  records: readonly PlannedRecord[],
  extraKey: (key: string) => number | undefined,
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
      const owner = extraKey(key);
      if (owner !== undefined) unite(owner, index);
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
