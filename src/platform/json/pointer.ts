/**
 * Writes an RFC 6901 JSON Pointer from its unescaped segments (member names and array indexes), `''` for the whole
 * document: `jsonPointer('identifiers', 0, 'a/b')` is `/identifiers/0/a~1b`.
 */
export function jsonPointer(...segments: readonly (string | number)[]): string {
  let pointer = '';
  for (const segment of segments) {
    pointer += typeof segment === 'number' ? `/${segment}` : `/${escapeSegment(segment)}`;
  }
  return pointer;
}

function escapeSegment(segment: string): string {
  // `~` first, or the tilde of a fresh `~1` would be escaped again.
  return segment.replaceAll('~', '~0').replaceAll('/', '~1');
}
