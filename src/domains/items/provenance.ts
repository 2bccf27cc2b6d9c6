import { compareEntryOrder } from './contribution-state.ts';
import { claimKey } from './judge-record.ts';
import type { ItemEntryRow } from './items.store.ts';

interface Source {
  entry_id: string;
  receipt_id: string;
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

/** Where each identifier and each value of an item came from, told from its entries. */
export function foldProvenance(entries: readonly ItemEntryRow[]): {
  identifiers: IdentifierProvenance[];
  fields: FieldProvenance[];
} {
  const identifiers = new Map<string, IdentifierProvenance>();
  const values = new Map<string, { value: unknown; source: Source }[]>();
  for (const entry of inTimeOrder(entries)) {
    const source = sourceOf(entry);
    for (const [typeName, raw, claimType, value, isCanonical] of entry.record.identifiers) {
      const key = claimKey(claimType, value);
      const known = identifiers.get(key);
      if (known) {
        known.sources.push(source);
        known.is_canonical ||= isCanonical === 1;
      } else
        identifiers.set(key, {
          identifier_type: typeName,
          value: raw,
          is_canonical: isCanonical === 1,
          sources: [source],
        });
    }
    for (const [field, value] of Object.entries(entry.record.fields)) {
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

function inTimeOrder(entries: readonly ItemEntryRow[]): ItemEntryRow[] {
  const orderOf = (entry: ItemEntryRow) => ({
    entryId: entry.entry_id,
    effectiveAtMicros: entry.effective_at_micros,
    receivedSequence: entry.received_sequence,
  });
  return entries.toSorted((a, b) => compareEntryOrder(orderOf(a), orderOf(b)));
}

function sourceOf(entry: ItemEntryRow): Source {
  return {
    entry_id: entry.entry_id,
    receipt_id: entry.receipt_id,
    received_at: entry.received_at.toISOString(),
    effective_at: entry.effective_at.toISOString(),
  };
}
