import { canonicalJson } from '#platform/json/canonical.ts';
import { jsonPointer } from '#platform/json/pointer.ts';

/** A place of a JSON value (RFC 6901) where two differ. */
export interface Difference {
  readonly path: string;
  readonly old?: unknown;
  readonly new?: unknown;
}

export interface Differences {
  readonly added: Difference[];
  readonly removed: Difference[];
  readonly modified: Difference[];
}

/** What was added, removed and changed from one JSON value to another, as deep in them as both are alike. */
export function compareJson(before: unknown, after: unknown): Differences {
  const found: Differences = { added: [], removed: [], modified: [] };
  compareAt([], before, after, found);
  return found;
}

function compareAt(place: readonly string[], before: unknown, after: unknown, found: Differences): void {
  if (canonicalJson(before) === canonicalJson(after)) return;
  const [a, b] = [membersOf(before), membersOf(after)];
  if (!a || !b || Array.isArray(before) !== Array.isArray(after)) {
    found.modified.push({ path: jsonPointer(...place), old: before, new: after });
    return;
  }
  for (const [name, value] of a) {
    if (b.has(name)) compareAt([...place, name], value, b.get(name), found);
    else found.removed.push({ path: jsonPointer(...place, name), old: value });
  }
  for (const [name, value] of b) if (!a.has(name)) found.added.push({ path: jsonPointer(...place, name), new: value });
}

function membersOf(value: unknown): Map<string, unknown> | undefined {
  return typeof value === 'object' && value !== null ? new Map(Object.entries(value)) : undefined;
}
