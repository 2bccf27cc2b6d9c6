import type { IncomingHttpHeaders } from 'node:http';
import { Problem } from '#platform/errors.ts';

/** The entity tag (RFC 9110, 8.8.3) of what has a version. */
export function entityTagOf(version: number | string): string {
  return `"${version}"`;
}

const tagsPattern = /^\s*(?:W\/)?"[\u0021\u0023-\u007e]*"(?:\s*,\s*(?:W\/)?"[\u0021\u0023-\u007e]*")*\s*$/;

/**
 * Lets a change pass whose `If-Match` names the current tag, or `*`, or that has none. A tag counts in its weak form too:
 * proxies that compress weaken the tags of answers, and theirs must still serve for edits.
 * @throws Problem precondition_failed for other tags, invalid_header for what is no list of tags (RFC 9110, 13.1.1).
 */
export function checkIfMatch(headers: IncomingHttpHeaders, currentTag: string): void {
  const header = headers['if-match'];
  if (header === undefined || header.trim() === '*') return;
  if (!tagsPattern.test(header)) {
    const detail = 'If-Match is * or a list of entity tags in double quotes, as ETag gives them';
    throw new Problem('invalid_header', detail, { errors: [{ pointer: 'If-Match', code: 'invalid_header', detail }] });
  }
  const tags = [...header.matchAll(/"[^"]*"/g)].map(([tag]) => tag);
  if (tags.includes(currentTag)) return;
  throw new Problem('precondition_failed', `the current ETag is ${currentTag}; read again before you change`, {
    headers: { etag: currentTag },
  });
}
