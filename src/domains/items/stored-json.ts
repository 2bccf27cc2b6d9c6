import type { JudgedIdentifier } from './judge-record.ts';

const quotedNamesMax = 10_000;
const quotedNames = new Map<string, string>();

/** The JSON text of a field's name. The names of fields are few and come again with each record, so they are kept. */
export function quoteName(name: string): string {
  let quoted = quotedNames.get(name);
  if (quoted === undefined) {
    quoted = JSON.stringify(name);
    if (quotedNames.size >= quotedNamesMax) quotedNames.clear();
    quotedNames.set(name, quoted);
  }
  return quoted;
}

/** The members of the array that stands for an identifier in stored JSON: what it was sent as, what it is taken for. */
export function identifierMembers({ typeName, raw, claimType, value, isCanonical }: JudgedIdentifier): string {
  return `${quoteName(typeName)},${JSON.stringify(raw)},${quoteName(claimType)},${JSON.stringify(value)},${isCanonical ? 1 : 0}`;
}
