import canonicalize from 'canonicalize';

/**
 * The canonical JSON text (RFC 8785, JCS) of a JSON value, for hashing and for comparing values.
 *
 * Throws for what has no canonical form: `undefined`, functions, symbols and big integers, NaN and the infinities,
 * strings with lone surrogates, circular structures.
 */
export function canonicalJson(value: unknown): string {
  // For these JSON.stringify already writes what RFC 8785 3.2.2 asks for, save that it lets pass what cannot be written.
  const isString = typeof value === 'string' && value.isWellFormed();
  const isNumber = typeof value === 'number' && Number.isFinite(value);
  if (isString || isNumber || typeof value === 'boolean' || value === null) return JSON.stringify(value);
  const text = canonicalize(value);
  if (text === undefined) throw new TypeError(`a value of type ${typeof value} has no canonical JSON form`);
  return text;
}
