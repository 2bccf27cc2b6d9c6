/** How an entry came to its item. */
export const waysToItem = [
  'first_record',
  'same_identifier',
  'same_set',
  'linked_items',
  'edited_by_hand',
  'placed_by_person',
  'divided',
] as const;
export type WayToItem = (typeof waysToItem)[number];

export interface NamedValue {
  identifier_type: string;
  value: string;
}

/** What an entry has in common with an earlier one, or with what another participant sent. */
export interface SharedIdentifier extends NamedValue {
  with: 'you' | 'another participant';
  /** The earlier entry of the asking workspace. */
  with_entry_id: string | null;
}

export interface SharedSet {
  rule: string;
  identifiers: NamedValue[];
  with_entry_id: string;
}

/** What a person decided, as far as the asking workspace may know. */
export interface ShownDecision {
  /** The credential of somebody of the asking workspace, or `otherDecider`. */
  decided_by: string;
  decided_at: string;
  reason: string | null;
  conflict_id: string | null;
}

export interface ExplainedEntry {
  entry_id: string;
  receipt_id: string;
  received_at: string;
  dfid: string;
  how: WayToItem;
  shared_identifiers: SharedIdentifier[];
  shared_sets: SharedSet[];
  linked_dfids: string[];
  decision: ShownDecision | null;
  withdrawn_at: string | null;
  sentence: string;
}
