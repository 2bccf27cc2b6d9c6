import { holdsPartyNumber, type VersionContent } from '#domains/items/index.ts';
import { canonicalJson } from '#platform/json/canonical.ts';
import type { ScopeSettings } from './scope-settings.ts';

/** The item and the version that a content is of. */
export interface VersionName {
  readonly dfid: string;
  readonly version: number;
}

/** Says of types of identifiers, as they are named in records, whether they name a person or a company. */
export type IsPartyType = (typeName: string) => boolean;

/**
 * What all may read of a version, as JCS (RFC 8785): its name always, so that no two have the same address, and what its
 * scope declared public. Numbers of persons and companies never leave, wherever they stand: a value that holds one is left
 * out whole.
 */
export function publicContent(
  { dfid, version }: VersionName,
  content: VersionContent,
  settings: Pick<ScopeSettings, 'publicFields' | 'publicIdentifierTypes'>,
  isPartyType: IsPartyType,
): Buffer {
  const parties = content.identifiers
    .filter((identifier) => isPartyType(identifier.normalized_type))
    .flatMap(({ value, normalized_value: normalized }) => [comparable(value), comparable(normalized)])
    .filter((text) => text.length >= partyValueMin);
  const isSafe = (value: unknown) => !holdsPersonal(value, parties);
  const fields = new Set(settings.publicFields);
  const types = new Set(settings.publicIdentifierTypes);
  return Buffer.from(
    canonicalJson({
      dfid,
      identifiers: content.identifiers
        .filter(({ normalized_type: type }) => types.has(type) && !isPartyType(type))
        .map(({ normalized_type: type, normalized_value: value }) => ({ identifier_type: type, value }))
        .filter(isSafe),
      metadata: Object.fromEntries(
        Object.entries(content.metadata).filter(([name, value]) => fields.has(name) && isSafe(value)),
      ),
      version,
    }),
  );
}

/** Everything that is known of a version. */
export function wholeContent({ dfid, version }: VersionName, content: VersionContent): Buffer {
  return Buffer.from(canonicalJson({ ...content, dfid, version }));
}

/** Shorter values stand in other texts by chance. */
const partyValueMin = 5;

/** A text without what writers of numbers put in or leave out. */
function comparable(text: string): string {
  return text
    .normalize('NFKC')
    .toLowerCase()
    .replace(/[^\p{L}\p{N}]/gu, '');
}

/** Whether a value, or anything in it, holds the number of a party: one of the item's own, or what looks like one. */
function holdsPersonal(value: unknown, parties: readonly string[]): boolean {
  if (typeof value === 'string' || typeof value === 'number') {
    const text = String(value);
    if (holdsPartyNumber(text)) return true;
    const plain = parties.length === 0 ? '' : comparable(text);
    return parties.some((party) => plain.includes(party));
  }
  if (Array.isArray(value)) return value.some((each) => holdsPersonal(each, parties));
  if (typeof value === 'object' && value !== null)
    return Object.entries(value).some(([name, each]) => holdsPersonal(name, parties) || holdsPersonal(each, parties));
  return false;
}
