import { parseJson } from '#platform/json/parse-json.ts';
import type { StoredContributionState } from './contribution-state.ts';

/** What a version of an item was to one workspace. */
export interface VersionContent {
  readonly identifiers: readonly VersionIdentifier[];
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly status: string;
}

/** An identifier as it was sent, and as the engine compares it. */
export interface VersionIdentifier {
  readonly identifier_type: string;
  readonly value: string;
  readonly is_canonical: boolean;
  readonly normalized_type: string;
  readonly normalized_value: string;
}

/** What identifies an item, as the API shows it. */
export function showIdentifiers(state: StoredContributionState): VersionIdentifier[] {
  return state.identifiers.map(([typeName, raw, claimType, value, isCanonical]) => ({
    identifier_type: typeName,
    value: raw,
    is_canonical: isCanonical === 1,
    normalized_type: claimType,
    normalized_value: value,
  }));
}

/** The fields of an item, as the API shows them. */
export function showMetadata(state: StoredContributionState): Record<string, unknown> {
  return Object.fromEntries(Object.entries(state.fields).map(([name, [value]]) => [name, value]));
}

/** What a workspace knows of an item, from `contributions.status` and the text of `contributions.state`. */
export function contentOfContribution(status: string, stateText: string): VersionContent {
  const state = parseJson(stateText) as StoredContributionState;
  return { identifiers: showIdentifiers(state), metadata: showMetadata(state), status };
}
