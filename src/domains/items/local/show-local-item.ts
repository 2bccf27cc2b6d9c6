import { formatDfid } from '../dfid.ts';
import type { DecisionRow, LocalItemRow } from './local-items.store.ts';

/** How far a local item is: `LocalOnly`, `Tokenized` when it became an item, `MergedInto(<local id>)`. */
export function statusOf(row: { merged_into: string | null; is_tokenized: boolean }): string {
  if (row.merged_into !== null) return `MergedInto(${row.merged_into})`;
  return row.is_tokenized ? 'Tokenized' : 'LocalOnly';
}

/** The DFID that a local item leads to, if it or the one that it is merged into became an item. */
export function dfidOf(row: LocalItemRow): string | null {
  if (row.dfid_number === null) return null;
  return formatDfid({
    valueChain: row.dfid_value_chain!,
    country: row.dfid_country!,
    year: row.dfid_year!,
    sequence: row.dfid_number,
  });
}

/** A local item as the API shows it; one that is merged shows what it brought itself. */
export function showLocalItem(row: LocalItemRow) {
  return {
    local_id: row.local_id,
    status: statusOf(row),
    merged_into: row.merged_into,
    dfid: dfidOf(row),
    value_chain: row.value_chain,
    country: row.country,
    year: row.year,
    occurred_at: row.occurred_at?.toISOString() ?? null,
    identifiers: row.content.identifiers.map(([type, raw, claimType, value, isCanonical]) => ({
      identifier_type: type,
      value: raw,
      is_canonical: isCanonical === 1,
      normalized_type: claimType,
      normalized_value: value,
    })),
    metadata: row.content.fields,
    sources: 'sources' in row.content ? row.content.sources : [row.local_id],
    created_at: row.created_at.toISOString(),
    updated_at: row.updated_at.toISOString(),
  };
}

export function showDecision(row: DecisionRow) {
  return {
    decision_id: row.decision_id,
    kind: row.kind,
    master_lid: row.master_id,
    merged_lid: row.local_id,
    merge_strategy: row.merge_strategy,
    decided_by: row.decided_by,
    decided_at: row.decided_at.toISOString(),
  };
}
