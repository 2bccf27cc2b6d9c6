import type { JudgedIdentifier } from './judge-record.ts';
import { positionOfEntry } from '#platform/ids.ts';

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
}

/** Values of one field in the order of their entries, from the entries themselves. */
export type FieldHistory = ReadonlyMap<string, readonly { order: EntryOrder; value: string }[]>;

/**
 * What one workspace knows of one item: the fold over its entries in their order, whatever the order in which they came.
 * It grows with the number of distinct fields and identifiers, not with the number of entries.
 */
export class ContributionState {
  readonly #fields = new Map<string, FieldState>();
  readonly #identifiers = new Map<string, IdentifierState>();
  /** The values that this process found stored and those that it applied, so that later entries of the same transaction see them. */
  readonly #applied = new Map<string, { order: EntryOrder; value: string }[]>();
  #history: FieldHistory = new Map();

  static fromStored(stored: StoredContributionState, canonicalJson: (value: unknown) => string): ContributionState {
    const state = new ContributionState();
    const orders = stored.entries.map(([entryId, effectiveAtMicros, receivedSequence]): EntryOrder => ({
      entryId,
      effectiveAtMicros,
      receivedSequence,
    }));
    for (const [typeName, raw, claimType, value, isCanonical, entry] of stored.identifiers) {
      const identifier = { typeName, raw, claimType, value, isCanonical: isCanonical === 1, pointer: '' };
      state.#identifiers.set(identifierKey(identifier), { identifier, entry: orders[entry]! });
    }
    for (const [name, [value, latest, earliest]] of Object.entries(stored.fields)) {
      state.#fields.set(name, { value: canonicalJson(value), latest: orders[latest]!, earliest: orders[earliest]! });
    }
    return state;
  }

  /**
   * True when what the entry changes can only be told with the values that fields had in between, which the fold does
   * not hold; then `useHistory` must come first.
   */
  needsHistory(order: EntryOrder, content: EntryContent): boolean {
    return content.fields.some(([name]) => {
      const field = this.#fields.get(name);
      return (
        field !== undefined &&
        compareEntryOrder(order, field.latest) < 0 &&
        compareEntryOrder(order, field.earliest) > 0
      );
    });
  }

  useHistory(history: FieldHistory): void {
    this.#history = history;
  }

  /** Takes an entry in. True when it changed something: a new identifier, or a value that differs at its place in time. */
  apply(order: EntryOrder, content: EntryContent): boolean {
    let changed = false;
    for (const identifier of content.identifiers) changed = this.#applyIdentifier(order, identifier) || changed;
    for (const [name, value] of content.fields) changed = this.#applyField(order, name, value) || changed;
    return changed;
  }

  #applyIdentifier(order: EntryOrder, identifier: JudgedIdentifier): boolean {
    const key = identifierKey(identifier);
    const known = this.#identifiers.get(key);
    if (!known || compareEntryOrder(order, known.entry) < 0) this.#identifiers.set(key, { identifier, entry: order });
    return !known;
  }

  #applyField(order: EntryOrder, name: string, value: string): boolean {
    const before = this.#valueBefore(order, name);
    const field = this.#fields.get(name);
    const applied = this.#applied.get(name);
    if (applied) applied.push({ order, value });
    // The stored value may soon be the latest no more, and a later entry of this transaction may come right after it.
    else this.#applied.set(name, [...(field ? [{ order: field.latest, value: field.value }] : []), { order, value }]);
    if (!field) {
      this.#fields.set(name, { value, latest: order, earliest: order });
      return true;
    }
    if (compareEntryOrder(order, field.latest) > 0) {
      field.value = value;
      field.latest = order;
    }
    if (compareEntryOrder(order, field.earliest) < 0) field.earliest = order;
    return before !== value;
  }

  #valueBefore(order: EntryOrder, name: string): string | undefined {
    const field = this.#fields.get(name);
    if (!field || compareEntryOrder(order, field.earliest) < 0) return undefined;
    if (compareEntryOrder(order, field.latest) > 0) return field.value;
    let before: { order: EntryOrder; value: string } | undefined;
    for (const candidate of [...(this.#history.get(name) ?? []), ...(this.#applied.get(name) ?? [])]) {
      const isBefore = compareEntryOrder(candidate.order, order) < 0;
      if (isBefore && (!before || compareEntryOrder(candidate.order, before.order) > 0)) before = candidate;
    }
    return before?.value;
  }

  /** Joins what another item's contribution of the same workspace knows, when two items turn out to be one. */
  mergeFrom(other: ContributionState): void {
    for (const [key, theirs] of other.#identifiers) {
      const ours = this.#identifiers.get(key);
      if (!ours || compareEntryOrder(theirs.entry, ours.entry) < 0) this.#identifiers.set(key, theirs);
    }
    for (const [name, theirs] of other.#fields) {
      const ours = this.#fields.get(name);
      if (!ours) {
        this.#fields.set(name, { ...theirs });
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
    const indexes = new Map<string, number>();
    const entries: string[] = [];
    const indexOf = (order: EntryOrder): number => {
      const known = indexes.get(order.entryId);
      if (known !== undefined) return known;
      indexes.set(order.entryId, entries.length);
      return entries.push(`["${order.entryId}",${order.effectiveAtMicros},${order.receivedSequence}]`) - 1;
    };
    const identifiers: string[] = [];
    for (const { identifier, entry } of this.#identifiers.values()) {
      const { typeName, raw, claimType, value, isCanonical } = identifier;
      identifiers.push(JSON.stringify([typeName, raw, claimType, value, isCanonical ? 1 : 0, indexOf(entry)]));
    }
    const fields: string[] = [];
    for (const [name, field] of this.#fields) {
      fields.push(`${JSON.stringify(name)}:[${field.value},${indexOf(field.latest)},${indexOf(field.earliest)}]`);
    }
    return `{"entries":[${entries.join(',')}],"identifiers":[${identifiers.join(',')}],"fields":{${fields.join(',')}}}`;
  }
}

function identifierKey({ claimType, value }: JudgedIdentifier): string {
  return `${claimType}\u0000${value}`;
}
