import { positionOfEntry } from '#platform/ids.ts';
import { claimKey, type JudgedIdentifier } from './judge-record.ts';
import { joinLives, unknownLife, type LifeTimes } from './record-times.ts';
import { identifierMembers, quoteName } from './stored-json.ts';
import { lifeMember, lifeOfStored, type StoredLife } from './stored-record.ts';

/** Where an entry stands in time: by what it says, then by arrival. Never by the clock of a web process or by an id. */
export interface EntryOrder {
  readonly entryId: string;
  /** `occurred_at` if the record has one, else the time of reception. */
  readonly effectiveAtMicros: number;
  readonly receivedSequence: number;
}

/** What one entry brings to an item. */
export interface EntryContent {
  readonly identifiers: readonly JudgedIdentifier[];
  readonly fields: readonly (readonly [name: string, value: string])[];
  readonly life?: LifeTimes;
}

/** Negative when `a` comes before `b`. */
export function compareEntryOrder(a: EntryOrder, b: EntryOrder): number {
  return (
    a.effectiveAtMicros - b.effectiveAtMicros ||
    a.receivedSequence - b.receivedSequence ||
    positionOfEntry(a.entryId) - positionOfEntry(b.entryId)
  );
}

interface FieldState {
  value: string;
  /** The greatest entry that has the field; its value is the field's value. */
  latest: EntryOrder;
  /** The smallest entry that has the field: whatever comes before it brings something new. */
  earliest: EntryOrder;
}

interface IdentifierState {
  identifier: JudgedIdentifier;
  /** The smallest entry that named it. */
  entry: EntryOrder;
}

/** `[entry id, effective time in microseconds, received sequence]` */
type StoredOrder = [string, number, number];
/** `[type as sent, value as sent, claim type, normal value, is canonical, index of its entry]` */
type StoredIdentifier = [string, string, string, string, 0 | 1, number];

/** The JSON that `contributions.state` holds. Fields are `[value, index of the latest entry, index of the earliest]`. */
export interface StoredContributionState {
  entries: StoredOrder[];
  identifiers: StoredIdentifier[];
  fields: Record<string, [unknown, number, number]>;
  /** What the entries together say of the life of the item; absent when they say nothing. */
  life?: StoredLife;
}

/** A value at a place in time. */
export interface OrderedValue {
  readonly order: EntryOrder;
  readonly value: string;
}

/** Values that each field had, from the entries themselves: at least the one right before each entry to come. */
export type FieldHistory = ReadonlyMap<string, readonly OrderedValue[]>;

/** Comparing so few identifiers with each other is cheaper than a map of them. */
const comparedIdentifiersMax = 8;

/**
 * What one workspace knows of one item: the fold over its entries in their order, whatever the order in which they came.
 * It grows with the number of distinct fields and identifiers, not with the number of entries.
 */
export class ContributionState {
  /** The first entry of a new item. Most stay the only one, so they are not folded before another one comes. */
  #only: { readonly order: EntryOrder; readonly content: EntryContent } | undefined;
  #folded: Folded | undefined;
  #history: FieldHistory = new Map();

  static fromStored(stored: StoredContributionState, canonicalJson: (value: unknown) => string): ContributionState {
    const state = new ContributionState();
    const folded = state.#fold();
    const orders = stored.entries.map(([entryId, effectiveAtMicros, receivedSequence]): EntryOrder => ({
      entryId,
      effectiveAtMicros,
      receivedSequence,
    }));
    for (const [typeName, raw, claimType, value, isCanonical, entry] of stored.identifiers) {
      const identifier = { typeName, raw, claimType, value, isCanonical: isCanonical === 1, pointer: '' };
      folded.identifiers.set(identifierKey(identifier), { identifier, entry: orders[entry]! });
    }
    for (const [name, [value, latest, earliest]] of Object.entries(stored.fields)) {
      folded.fields.set(name, { value: canonicalJson(value), latest: orders[latest]!, earliest: orders[earliest]! });
    }
    folded.life = lifeOfStored(stored);
    return state;
  }

  /**
   * Fields of an entry that comes between the first and the last that have them. What the entry changes can only be told
   * with the values that they had in between, which the fold does not hold; then `useHistory` must come first.
   */
  fieldsBetween(order: EntryOrder, content: EntryContent): readonly { name: string; earliest: EntryOrder }[] {
    const { fields } = this.#fold();
    const between: { name: string; earliest: EntryOrder }[] = [];
    for (const [name] of content.fields) {
      const field = fields.get(name);
      if (!field || compareEntryOrder(order, field.latest) > 0 || compareEntryOrder(order, field.earliest) < 0)
        continue;
      between.push({ name, earliest: field.earliest });
    }
    return between;
  }

  useHistory(history: FieldHistory): void {
    this.#history = new Map(
      [...history].map(([name, values]) => [name, values.toSorted((a, b) => compareEntryOrder(a.order, b.order))]),
    );
  }

  /** Whether an entry named this identifier before, and none as one that identifies the item. */
  hasMentioned(identifier: JudgedIdentifier): boolean {
    if (!this.#only && !this.#folded) return false;
    return this.#fold().identifiers.get(identifierKey(identifier))?.identifier.isCanonical === false;
  }

  /** Takes an entry in. True when it changed something: a new identifier, or a value that differs at its place in time. */
  apply(order: EntryOrder, content: EntryContent): boolean {
    if (!this.#only && !this.#folded && content.identifiers.length <= comparedIdentifiersMax) {
      this.#only = { order, content };
      return content.identifiers.length > 0 || content.fields.length > 0;
    }
    return applyEntry(this.#fold(), this.#history, order, content);
  }

  #fold(): Folded {
    if (this.#folded) return this.#folded;
    this.#folded = { fields: new Map(), identifiers: new Map(), passed: new Map(), life: unknownLife };
    if (this.#only) applyEntry(this.#folded, this.#history, this.#only.order, this.#only.content);
    this.#only = undefined;
    return this.#folded;
  }

  /** Joins what another item's contribution of the same workspace knows, when two items turn out to be one. */
  mergeFrom(other: ContributionState): void {
    const folded = this.#fold();
    const { identifiers, fields } = folded;
    const others = other.#fold();
    folded.life = joinLives(folded.life, others.life);
    for (const [key, theirs] of others.identifiers) {
      const ours = identifiers.get(key);
      identifiers.set(key, ours ? joinIdentifiers(ours, theirs) : theirs);
    }
    for (const [name, theirs] of others.fields) {
      const ours = fields.get(name);
      if (!ours) {
        fields.set(name, { ...theirs });
        continue;
      }
      if (compareEntryOrder(theirs.latest, ours.latest) > 0) {
        ours.latest = theirs.latest;
        ours.value = theirs.value;
      }
      if (compareEntryOrder(theirs.earliest, ours.earliest) < 0) ours.earliest = theirs.earliest;
    }
  }

  /** The JSON text to store. Values are already canonical JSON, so they are put in as they are. */
  toJson(): string {
    if (this.#only) return jsonOfOnlyEntry(this.#only.order, this.#only.content);
    const { identifiers, fields, life } = this.#fold();
    const indexes = new Map<string, number>();
    const entryTexts: string[] = [];
    const indexOf = (order: EntryOrder): number => {
      const known = indexes.get(order.entryId);
      if (known !== undefined) return known;
      indexes.set(order.entryId, entryTexts.length);
      return entryTexts.push(orderJson(order)) - 1;
    };
    const identifierTexts: string[] = [];
    for (const { identifier, entry } of identifiers.values()) {
      identifierTexts.push(`[${identifierMembers(identifier)},${indexOf(entry)}]`);
    }
    const fieldTexts: string[] = [];
    for (const [name, { value, latest, earliest }] of fields) {
      fieldTexts.push(`${quoteName(name)}:[${value},${indexOf(latest)},${indexOf(earliest)}]`);
    }
    return stateJson(entryTexts.join(','), identifierTexts.join(','), fieldTexts.join(','), life);
  }
}

interface Folded {
  readonly fields: Map<string, FieldState>;
  readonly identifiers: Map<string, IdentifierState>;
  /** Values that are not the latest of their field, as far as this process met them: later entries may come right after. */
  readonly passed: Map<string, OrderedValue[]>;
  life: LifeTimes;
}

function applyEntry(folded: Folded, history: FieldHistory, order: EntryOrder, content: EntryContent): boolean {
  let changed = false;
  if (content.life) folded.life = joinLives(folded.life, content.life);
  for (const identifier of content.identifiers) changed = applyIdentifier(folded, order, identifier) || changed;
  for (const field of content.fields) changed = applyField(folded, history, order, field[0], field[1]) || changed;
  return changed;
}

function applyIdentifier({ identifiers }: Folded, order: EntryOrder, identifier: JudgedIdentifier): boolean {
  const key = identifierKey(identifier);
  const known = identifiers.get(key);
  const joined = known ? joinIdentifiers(known, { identifier, entry: order }) : { identifier, entry: order };
  if (joined !== known) identifiers.set(key, joined);
  return joined.identifier.isCanonical !== known?.identifier.isCanonical;
}

/** What the smaller entry called it; canonical if one of them is, since it may be contextual in the chain of the other. */
function joinIdentifiers(a: IdentifierState, b: IdentifierState): IdentifierState {
  const first = compareEntryOrder(b.entry, a.entry) < 0 ? b : a;
  const isCanonical = a.identifier.isCanonical || b.identifier.isCanonical;
  return first.identifier.isCanonical === isCanonical
    ? first
    : { identifier: { ...first.identifier, isCanonical }, entry: first.entry };
}

function applyField(folded: Folded, history: FieldHistory, order: EntryOrder, name: string, value: string): boolean {
  const field = folded.fields.get(name);
  if (!field) {
    folded.fields.set(name, { value, latest: order, earliest: order });
    return true;
  }
  const before = valueBefore(folded, history, order, name, field);
  if (compareEntryOrder(order, field.latest) > 0) {
    pass(folded, name, { order: field.latest, value: field.value });
    field.value = value;
    field.latest = order;
  } else pass(folded, name, { order, value });
  if (compareEntryOrder(order, field.earliest) < 0) field.earliest = order;
  return before !== value;
}

function pass({ passed }: Folded, name: string, value: OrderedValue): void {
  const values = passed.get(name);
  if (values) values.push(value);
  else passed.set(name, [value]);
}

function valueBefore(
  { passed }: Folded,
  history: FieldHistory,
  order: EntryOrder,
  name: string,
  field: FieldState,
): string | undefined {
  if (compareEntryOrder(order, field.earliest) < 0) return undefined;
  if (compareEntryOrder(order, field.latest) > 0) return field.value;
  let before = lastBefore(history.get(name) ?? [], order);
  for (const candidate of passed.get(name) ?? []) {
    const isBefore = compareEntryOrder(candidate.order, order) < 0;
    if (isBefore && (!before || compareEntryOrder(candidate.order, before.order) > 0)) before = candidate;
  }
  return before?.value;
}

/** The last of some values, which stand in their order, that comes before `order`. */
export function lastBefore(values: readonly OrderedValue[], order: EntryOrder): OrderedValue | undefined {
  let low = 0;
  let high = values.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (compareEntryOrder(values[middle]!.order, order) < 0) low = middle + 1;
    else high = middle;
  }
  return values[low - 1];
}

function identifierKey({ claimType, value }: JudgedIdentifier): string {
  return claimKey(claimType, value);
}

/** The text that the fold of one entry has, without a fold. */
function jsonOfOnlyEntry(order: EntryOrder, { identifiers, fields, life = unknownLife }: EntryContent): string {
  let identifiersText = '';
  for (let at = 0; at < identifiers.length; at += 1) {
    const identifier = identifiers[at]!;
    if (isNamedBefore(identifiers, at, identifier)) continue;
    identifiersText += `${identifiersText === '' ? '' : ','}[${identifierMembers(identifier)},0]`;
  }
  let fieldsText = '';
  for (const field of fields) fieldsText += `${fieldsText === '' ? '' : ','}${quoteName(field[0])}:[${field[1]},0,0]`;
  return stateJson(identifiersText + fieldsText === '' ? '' : orderJson(order), identifiersText, fieldsText, life);
}

function isNamedBefore(identifiers: readonly JudgedIdentifier[], at: number, { claimType, value }: JudgedIdentifier) {
  for (let before = 0; before < at; before += 1) {
    const other = identifiers[before]!;
    if (other.claimType === claimType && other.value === value) return true;
  }
  return false;
}

function orderJson({ entryId, effectiveAtMicros, receivedSequence }: EntryOrder): string {
  return `["${entryId}",${effectiveAtMicros},${receivedSequence}]`;
}

function stateJson(entries: string, identifiers: string, fields: string, life: LifeTimes): string {
  return `{"entries":[${entries}],"identifiers":[${identifiers}],"fields":{${fields}}${lifeMember(life)}}`;
}
