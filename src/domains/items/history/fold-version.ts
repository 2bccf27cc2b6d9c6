import { canonicalJson } from '#platform/json/canonical.ts';
import { parseJson } from '#platform/json/parse-json.ts';
import {
  compareEntryOrder,
  ContributionState,
  type EntryOrder,
  type StoredContributionState,
} from '../contribution-state.ts';
import { claimKey } from '../judge-record.ts';
import { fieldsOfRecord, identifiersOfRecord } from '../stored-record.ts';
import type { VersionedEntryRow } from './versions.store.ts';

/**
 * What a workspace knew of an item in a version: the fold of the entries that had come by then and were not withdrawn;
 * undefined when that cannot be told. Of an entry that changed nothing when it came nobody noted when that was, so the
 * version is told only if it is the same with and without it.
 */
export function foldVersion(
  entries: readonly VersionedEntryRow[],
  version: number,
): StoredContributionState | undefined {
  const counting = entries.filter(({ withdrawn }) => withdrawn === null || withdrawn > version);
  const { certain = [], uncertain = [] } = Object.groupBy(counting, ({ outcome }) =>
    outcome === 'duplicate' ? 'uncertain' : 'certain',
  );
  if (certain.some(({ arrived }) => arrived === null)) return undefined;
  const state = new ContributionState();
  const arrived = certain.filter((entry) => entry.arrived! <= version);
  for (const entry of arrived.toSorted((a, b) => compareEntryOrder(orderOf(a), orderOf(b))))
    state.apply(orderOf(entry), {
      identifiers: identifiersOfRecord(entry.record),
      fields: fieldsOfRecord(entry.record),
    });
  const stored = parseJson(state.toJson()) as StoredContributionState;
  const hasWithdrawn = counting.length < entries.length;
  return uncertain.some((entry) => mayDiffer(stored, entry, hasWithdrawn)) ? undefined : stored;
}

/** The names of fields that two versions do not have alike. */
export function changedFields(before: StoredContributionState, after: StoredContributionState): string[] {
  const textOf = ({ fields }: StoredContributionState, name: string) =>
    Object.hasOwn(fields, name) ? canonicalJson(fields[name]![0]) : undefined;
  return [...new Set([...Object.keys(before.fields), ...Object.keys(after.fields)])].filter(
    (name) => textOf(before, name) !== textOf(after, name),
  );
}

/**
 * Whether a fold would look different with an entry that changed nothing when it came. Such an entry is never the first to
 * name something, unless what had named it first was withdrawn.
 */
function mayDiffer(
  { entries, identifiers, fields }: StoredContributionState,
  entry: VersionedEntryRow,
  hasWithdrawn: boolean,
): boolean {
  const order = orderOf(entry);
  const orderAt = (index: number): EntryOrder => {
    const [entryId, effectiveAtMicros, receivedSequence] = entries[index]!;
    return { entryId, effectiveAtMicros, receivedSequence };
  };
  const differsIn = ([name, value]: [string, string]) => {
    if (!Object.hasOwn(fields, name)) return hasWithdrawn;
    const [known, latest] = fields[name]!;
    return compareEntryOrder(order, orderAt(latest)) > 0 && canonicalJson(known) !== value;
  };
  const known = new Map(identifiers.map((each) => [claimKey(each[2], each[3]), each]));
  return (
    fieldsOfRecord(entry.record).some(differsIn) ||
    identifiersOfRecord(entry.record).some(({ typeName, raw, claimType, value, isCanonical }) => {
      const each = known.get(claimKey(claimType, value));
      if (!each) return hasWithdrawn;
      if (isCanonical && each[4] === 0) return true;
      return compareEntryOrder(order, orderAt(each[5])) < 0 && (each[0] !== typeName || each[1] !== raw);
    })
  );
}

function orderOf(entry: VersionedEntryRow): EntryOrder {
  return {
    entryId: entry.entry_id,
    effectiveAtMicros: entry.effective_at_micros,
    receivedSequence: entry.received_sequence,
  };
}
