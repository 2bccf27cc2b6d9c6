import { compareEntryOrder, type EntryOrder } from './contribution-state.ts';
import { claimKey } from './judge-record.ts';
import type { ItemEntryRow, OwnDivisionRow } from './items.store.ts';
import type { Override } from './refold/refold-contents.ts';

/** An entry, or with null for its ids a person who chose a value when items were merged. */
interface Source {
  entry_id: string | null;
  receipt_id: string | null;
  received_at: string;
  effective_at: string;
}

interface IdentifierProvenance {
  identifier_type: string;
  value: string;
  is_canonical: boolean;
  sources: Source[];
}

interface FieldProvenance {
  field: string;
  value: unknown;
  source: Source;
  /** Values that later ones overwrote, newest first. */
  overwritten: { value: unknown; source: Source }[];
}

/** Entries as far as they belong to the items: without identifiers given to others, with those given to these. */
export function divideEntries(
  entries: readonly ItemEntryRow[],
  itemNumbers: readonly number[],
  divisions: readonly OwnDivisionRow[],
): ItemEntryRow[] {
  const [here, elsewhere] = [
    divisions.filter((division) => itemNumbers.includes(division.division_item)),
    divisions.filter((division) => !itemNumbers.includes(division.division_item)),
  ];
  const whole = entries.map((entry) => {
    const gone = elsewhere.filter((division) => division.entry_id === entry.entry_id);
    return gone.length === 0 ? entry : withIdentifiers(entry, (key) => !gone.some((each) => keysOf(each).has(key)));
  });
  const known = new Set(entries.map((entry) => entry.entry_id));
  const parts = here
    .filter((division) => !known.has(division.entry_id))
    .map((division) => {
      const keys = keysOf(division);
      const part = withIdentifiers(division, (key) => keys.has(key));
      return { ...part, record: { ...part.record, fields: {} } };
    });
  return [...whole, ...parts];
}

function keysOf({ claims }: OwnDivisionRow): ReadonlySet<string> {
  return new Set(claims.map(([claimType, value]) => claimKey(claimType, value)));
}

function withIdentifiers(entry: ItemEntryRow, isKept: (key: string) => boolean): ItemEntryRow {
  const identifiers = entry.record.identifiers.filter(([, , claimType, value]) => isKept(claimKey(claimType, value)));
  return { ...entry, record: { ...entry.record, identifiers } };
}

/** Where each identifier and each value of an item came from, told from its entries and what merges by hand chose. */
export function foldProvenance(
  entries: readonly ItemEntryRow[],
  overrides: readonly Override[],
): {
  identifiers: IdentifierProvenance[];
  fields: FieldProvenance[];
} {
  const identifiers = new Map<string, IdentifierProvenance>();
  const values = new Map<string, { value: unknown; source: Source }[]>();
  const pieces = [...entries.map(pieceOfEntry), ...overrides.map(pieceOfOverride)];
  for (const { source, record } of pieces.toSorted((a, b) => compareEntryOrder(a.order, b.order))) {
    for (const [typeName, raw, claimType, value, isCanonical] of record.identifiers) {
      const key = claimKey(claimType, value);
      const known = identifiers.get(key);
      if (known) {
        // A record may name an identifier twice, as when it tells of a new tag.
        if (known.sources.at(-1) !== source) known.sources.push(source);
        known.is_canonical ||= isCanonical === 1;
      } else
        identifiers.set(key, {
          identifier_type: typeName,
          value: raw,
          is_canonical: isCanonical === 1,
          sources: [source],
        });
    }
    for (const [field, value] of Object.entries(record.fields)) {
      const known = values.get(field);
      if (known) known.push({ value, source });
      else values.set(field, [{ value, source }]);
    }
  }
  const fields = [...values].map(([field, all]): FieldProvenance => {
    const [current, ...overwritten] = all.toReversed();
    return { field, value: current!.value, source: current!.source, overwritten };
  });
  return { identifiers: [...identifiers.values()], fields };
}

interface Piece {
  readonly order: EntryOrder;
  readonly source: Source;
  readonly record: ItemEntryRow['record'];
}

function pieceOfEntry(entry: ItemEntryRow): Piece {
  return {
    order: {
      entryId: entry.entry_id,
      effectiveAtMicros: entry.effective_at_micros,
      receivedSequence: entry.received_sequence,
    },
    source: {
      entry_id: entry.entry_id,
      receipt_id: entry.receipt_id,
      received_at: entry.received_at.toISOString(),
      effective_at: entry.effective_at.toISOString(),
    },
    record: entry.record,
  };
}

function pieceOfOverride({ mergeId, atMicros, values }: Override): Piece {
  const at = new Date(atMicros / 1000).toISOString();
  return {
    order: { entryId: mergeId, effectiveAtMicros: atMicros, receivedSequence: 0 },
    source: { entry_id: null, receipt_id: null, received_at: at, effective_at: at },
    record: { identifiers: [], fields: { ...values } },
  };
}
