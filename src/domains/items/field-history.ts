import type { Queryable } from '#platform/database.ts';
import { canonicalJson } from '#platform/json/canonical.ts';
import {
  compareEntryOrder,
  lastBefore,
  type ContributionState,
  type EntryContent,
  type EntryOrder,
  type OrderedValue,
} from './contribution-state.ts';
import { findMergedItems } from './deduplication.store.ts';
import { findChosenValues, findPastEntries, type PastEntryRow, type Stretch } from './field-history.store.ts';

/** Each further look goes so many times as far back as the one before. */
const limitGrowth = 4;
/** What one statement reads at most, so that it ends in time. */
const entriesPerStatementMax = 65_536;

/** What a workspace knows of an item, and entries that are to be folded into it. */
export interface Recollection {
  readonly state: ContributionState;
  /** The item as it is now; several when they become one. */
  readonly itemNumbers: readonly number[];
  readonly entries: readonly { readonly order: EntryOrder; readonly content: EntryContent }[];
}

/**
 * Gives states the values that fields had right before entries which come out of their order in time, as far as the states
 * do not hold them. The caller holds the rows of the items.
 *
 * From the place of each entry it reads back, in the index, to the nearest entry that has the field: one entry for each
 * record when the fields are in every entry, all in one statement. What is in few entries is looked for further back,
 * four times as far with each statement. A reader stops where the next one began and leaves to it what it still seeks, so
 * that no entry is read twice. For k entries out of order the cost is thus O(min(d, n)) index steps and reads: d is the sum
 * of the distances to what is sought, at most four times overshot, and n the number of entries between the first and the
 * last that have the field. d is about k / p when a field is in the share p of the entries, whatever n is; only a field
 * that is absent from nearly all of them costs up to n, and that once for all k entries.
 */
export async function recallFieldHistory(
  queryable: Queryable,
  workspaceId: string,
  recollections: readonly Recollection[],
): Promise<void> {
  const unsure = recollections.flatMap((recollection) => {
    const places = placesToLookBack(recollection);
    return places.length === 0 ? [] : [{ recollection, places }];
  });
  if (unsure.length === 0) return;
  const roots = unsure.flatMap(({ recollection }) => recollection.itemNumbers);
  const members = await findMergedItems(queryable, roots);
  const losers = members.map((member) => member.item_number);
  const chosen = await findChosenValues(queryable, workspaceId, losers);
  const pasts = unsure.map(({ recollection, places }) => {
    const { itemNumbers } = recollection;
    const own = members.filter((member) => itemNumbers.includes(member.merged_into));
    const numbers = [...itemNumbers, ...own.map((member) => member.item_number)];
    const past = new Past(numbers, places);
    for (const row of chosen.filter(({ loser }) => numbers.includes(loser)))
      past.add({ entryId: row.merge_id, effectiveAtMicros: row.merged_at_micros, receivedSequence: 0 }, row.values);
    past.settle();
    return past;
  });
  await readBack(queryable, workspaceId, pasts);
  unsure.forEach(({ recollection }, at) => recollection.state.useHistory(pasts[at]!.values));
}

async function readBack(queryable: Queryable, workspaceId: string, pasts: readonly Past[]): Promise<void> {
  for (let limit = 1; ; limit *= limitGrowth) {
    const readers = pasts.flatMap((past) => past.findSeeking().map((reader) => ({ past, reader })));
    if (readers.length === 0) return;
    const fieldNames = new Set(readers.flatMap(({ reader }) => reader.sought.map(({ name }) => name)));
    limit = Math.max(1, Math.min(limit, Math.floor(entriesPerStatementMax / readers.length)));
    const stretches = readers.map(({ reader }) => stretchOf(reader));
    const rows = await findPastEntries(queryable, workspaceId, stretches, { fieldNames: [...fieldNames], limit });
    const rowsOf = Map.groupBy(rows, (row) => row.stretch);
    readers.forEach(({ past, reader }, at) => {
      reader.reached = stretches[at]!.from;
      for (const row of rowsOf.get(at + 1) ?? []) {
        if (row.fields) past.add(orderOfRow(row), row.fields);
        if (row.rank === limit) reader.reached = orderOfRow(row);
      }
    });
    for (const past of new Set(readers.map(({ past: touched }) => touched))) past.settle();
  }
}

/** A field whose value right before an entry is sought. */
interface Sought {
  readonly name: string;
  readonly order: EntryOrder;
  /** Nothing before this place can be that value. */
  floor: EntryOrder;
}

/** A place in time of an entry, and what has to be known of the past to tell what the entry changes. */
interface Place {
  readonly order: EntryOrder;
  readonly sought: readonly Readonly<Sought>[];
}

/** The places of entries that come between others which have their fields, in their order. */
function placesToLookBack({ state, entries }: Recollection): Place[] {
  const between = entries.flatMap(({ order, content }) => {
    const fields = state.fieldsBetween(order, content);
    return fields.length === 0 ? [] : [{ order, fields }];
  });
  // Where two entries of the same field come, what is right before the earlier one serves the later one as well.
  const lastWithField = new Map<string, EntryOrder>();
  return between
    .toSorted((a, b) => compareEntryOrder(a.order, b.order))
    .map(({ order, fields }) => {
      const sought = fields.map(({ name, earliest }) => {
        const floor = lastWithField.get(name) ?? earliest;
        lastWithField.set(name, order);
        return { name, order, floor };
      });
      return { order, sought };
    });
}

/** Reads the entries of one item back from one place. */
interface Reader {
  readonly itemNumber: number;
  readonly start: EntryOrder;
  /** All entries from here to the start were read. */
  reached: EntryOrder;
  sought: Sought[];
  /** The reader of the same item that started at the place before. */
  readonly next: Reader | undefined;
}

function stretchOf({ itemNumber, reached, sought, next }: Reader): Stretch {
  const lowest = sought.map(({ floor }) => floor).reduce((a, b) => (compareEntryOrder(a, b) < 0 ? a : b));
  return { itemNumber, before: reached, from: next ? laterOf(lowest, next.start) : lowest };
}

/** What was found so far of the past of an item and of those merged into it. */
class Past {
  readonly values = new Map<string, OrderedValue[]>();
  /** Of each member, those that started later first. */
  readonly #readers: Reader[] = [];

  constructor(itemNumbers: readonly number[], places: readonly Place[]) {
    for (const itemNumber of itemNumbers) {
      let next: Reader | undefined;
      const ofMember = places.map(({ order, sought }) => {
        const own = sought.map((each) => ({ ...each }));
        next = { itemNumber, start: order, reached: order, sought: own, next };
        return next;
      });
      this.#readers.push(...ofMember.toReversed());
    }
  }

  findSeeking(): Reader[] {
    return this.#readers.filter(({ sought }) => sought.length > 0);
  }

  add(order: EntryOrder, fields: Readonly<Record<string, unknown>>): void {
    for (const [name, value] of Object.entries(fields)) {
      const past = { order, value: canonicalJson(value) };
      const values = this.values.get(name);
      if (values) values.push(past);
      else this.values.set(name, [past]);
    }
  }

  /** Takes from the readers what is known by now; one that met the next leaves the rest to it. */
  settle(): void {
    for (const values of this.values.values()) values.sort((a, b) => compareEntryOrder(a.order, b.order));
    for (const reader of this.#readers) {
      const { reached, next } = reader;
      for (const each of reader.sought) {
        const found = lastBefore(this.values.get(each.name) ?? [], each.order);
        if (found) each.floor = laterOf(each.floor, found.order);
      }
      reader.sought = reader.sought.filter(({ floor }) => compareEntryOrder(floor, reached) < 0);
      if (!next || compareEntryOrder(reached, next.start) > 0) continue;
      next.sought.push(...reader.sought);
      reader.sought = [];
    }
  }
}

function laterOf(a: EntryOrder, b: EntryOrder): EntryOrder {
  return compareEntryOrder(a, b) < 0 ? b : a;
}

function orderOfRow(row: PastEntryRow): EntryOrder {
  return {
    entryId: row.entry_id,
    effectiveAtMicros: row.effective_at_micros,
    receivedSequence: row.received_sequence,
  };
}
