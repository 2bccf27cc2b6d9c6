import { invalidRequestAt } from '#platform/errors.ts';
import type { SealedBytes } from '#platform/key-encryption.ts';
import { isCredentialHeader, redacted } from '../sending/redaction.ts';
import { faultOfHeaderName, isHeaderValue } from '../sending/webhook-headers.ts';
import type { SealedHeaders } from './endpoints.store.ts';

/**
 * The headers that an endpoint is to have.
 * @param known credentials that it has: one that is sent back as it is shown stays.
 * @throws Problem invalid_request for those that an endpoint cannot set.
 */
export function readHeaders(
  headers: Readonly<Record<string, string>>,
  known: Readonly<Record<string, string>>,
): Record<string, string> {
  const names = new Set<string>();
  return Object.fromEntries(
    Object.entries(headers).map(([given, value]) => {
      const name = given.toLowerCase();
      const pointer = `/headers/${given.replaceAll('~', '~0').replaceAll('/', '~1')}`;
      requireHeaderName(name, pointer);
      if (names.has(name)) throw invalidRequestAt(pointer, 'this header is there twice');
      names.add(name);
      if (!isHeaderValue(value)) throw invalidRequestAt(pointer, 'a header holds printable characters of ASCII');
      if (value !== redacted || !isCredentialHeader(name)) return [name, value];
      if (known[name] === undefined) throw invalidRequestAt(pointer, 'there is no credential that could stay');
      return [name, known[name]];
    }),
  );
}

/** @throws Problem invalid_request for a name that an endpoint cannot set. */
export function requireHeaderName(name: string, pointer: string): void {
  const fault = faultOfHeaderName(name);
  if (fault !== undefined) throw invalidRequestAt(pointer, fault);
}

/** Parts headers into what is shown of them and what is sealed. */
export function sealHeaders(
  headers: Readonly<Record<string, string>>,
  seal: (bytes: Buffer) => SealedBytes,
): SealedHeaders {
  const credentials = Object.entries(headers).filter(([name]) => isCredentialHeader(name));
  return {
    shown: shownHeaders(headers),
    credentials: credentials.length === 0 ? null : seal(Buffer.from(JSON.stringify(Object.fromEntries(credentials)))),
  };
}

/** The headers of an endpoint as they are shown. */
export function shownHeaders(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name, isCredentialHeader(name) ? redacted : value]),
  );
}
