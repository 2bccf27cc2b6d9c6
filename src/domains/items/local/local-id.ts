/**
 * Reads a local id (LID): a UUID in any case, or `LID-` and a UUID, as older clients spell it. Returns the plain UUID in
 * lower case; undefined for anything else.
 */
export function parseLocalId(text: string): string | undefined {
  return /^(?:lid-)?([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})$/i.exec(text)?.[1]?.toLowerCase();
}
