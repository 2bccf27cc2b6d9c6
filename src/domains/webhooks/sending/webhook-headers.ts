import { createSecretKey } from 'node:crypto';
import type { KeyEncryption } from '#platform/key-encryption.ts';
import type { LeasedEndpoint } from '../deliveries/queue.store.ts';
import { authHeader, credentialsOf, type EndpointAuth } from './endpoint-auth.ts';
import { isCredentialHeader, makeRedaction, redacted } from './redaction.ts';
import { readPrivateKey, signatureOf } from './signature.ts';

/** Headers that an endpoint cannot set, since the transport or the signature do. */
const ownHeaders =
  /^(?:host|content-.*|date|via|transfer-encoding|connection|keep-alive|upgrade|te|trailer|expect|user-agent|accept-encoding|webhook-.*|proxy-.*)$/;

/** Why an endpoint cannot set a header with this name; undefined if it can. */
export function faultOfHeaderName(name: string): string | undefined {
  if (!/^[!#$%&'*+.^_`|~0-9a-z-]+$/.test(name)) return 'this is no name of a header, in lower case';
  return ownHeaders.test(name) ? 'this header is set by us' : undefined;
}

/** Whether text can be the value of a header. */
export function isHeaderValue(text: string): boolean {
  return /^[\t\x20-\x7e]*$/.test(text);
}

/** What of an endpoint is in its headers. */
export type SigningEndpoint = Pick<
  LeasedEndpoint,
  | 'headers'
  | 'header_credentials_sealed'
  | 'header_credentials_key_id'
  | 'auth_type'
  | 'auth_sealed'
  | 'auth_key_id'
  | 'secret_sealed'
  | 'secret_key_id'
  | 'private_key_sealed'
  | 'private_key_id'
  | 'previous_secret_sealed'
  | 'previous_secret_key_id'
  | 'previous_private_key_sealed'
  | 'previous_private_key_id'
>;

/** Makes the headers of attempts to one endpoint. */
export interface HeaderMaker {
  /**
   * @param seconds of this attempt, since the Unix epoch.
   * @returns what is sent, and what of it is kept, as JSON: what an endpoint named itself may be a secret as well as not.
   */
  make(message: { id: string; body: string; seconds: number; followsGap: boolean }): {
    headers: Record<string, string>;
    kept: string;
  };
  /** Leaves our credentials out of an answer. */
  redact(text: string): string;
}

/** Opens the secrets of an endpoint once for many attempts; undefined when one cannot be opened. */
export function makeHeaderMaker(
  endpoint: SigningEndpoint,
  { version, keys }: { version: string; keys: KeyEncryption | undefined },
): HeaderMaker | undefined {
  const open = (bytes: Buffer | null, keyId: string | null) =>
    bytes === null || keyId === null ? undefined : keys?.open({ bytes, keyId });
  const credentials = openHeaderCredentials(endpoint, keys);
  const secret = open(endpoint.secret_sealed, endpoint.secret_key_id);
  const privateKey = open(endpoint.private_key_sealed, endpoint.private_key_id);
  const sealedAuth = open(endpoint.auth_sealed, endpoint.auth_key_id);
  if (
    !secret ||
    !credentials ||
    (endpoint.auth_type !== 'none' && !sealedAuth) ||
    (endpoint.private_key_sealed && !privateKey)
  )
    return undefined;
  const signing = {
    secrets: [secret, open(endpoint.previous_secret_sealed, endpoint.previous_secret_key_id)]
      .filter(isThere)
      .map((bytes) => createSecretKey(bytes)),
    privateKeys: [privateKey, open(endpoint.previous_private_key_sealed, endpoint.previous_private_key_id)]
      .filter(isThere)
      .map(readPrivateKey),
  };
  const auth: EndpointAuth = sealedAuth ? (JSON.parse(sealedAuth.toString('utf8')) as EndpointAuth) : { type: 'none' };
  const authenticating = authHeader(auth);
  const named = {
    ...withoutCredentials(endpoint.headers),
    ...credentials,
    ...(authenticating ? { [authenticating[0]]: authenticating[1] } : {}),
  };
  const fixed = { ...named, 'content-type': 'application/json', 'user-agent': `DeFarm-Engines/${version}` };
  const shown = Object.entries(fixed).map(([name, value]) => [name, name in named ? redacted : value]);
  const shownText = JSON.stringify(Object.fromEntries(shown)).slice(0, -1);
  return {
    make({ id, body, seconds, followsGap }) {
      const own = {
        ...(followsGap ? { 'webhook-follows-gap': 'true' } : undefined),
        'webhook-id': id,
        'webhook-timestamp': String(seconds),
        'webhook-signature': signatureOf({ id, seconds, body }, signing),
      };
      return { headers: { ...fixed, ...own }, kept: `${shownText},${JSON.stringify(own).slice(1)}` };
    },
    redact: makeRedaction([...credentialsOf(auth), ...Object.values(credentials)]),
  };
}

/** Headers whose name does not say that they carry a credential. */
export function withoutCredentials(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !isCredentialHeader(name)));
}

/**
 * The headers of an endpoint that carry credentials; undefined when they cannot be opened. What is sealed stands where [redacted]
 * is shown: any other value was written unsealed, and counts.
 */
export function openHeaderCredentials(
  endpoint: Pick<SigningEndpoint, 'headers' | 'header_credentials_sealed' | 'header_credentials_key_id'>,
  keys: KeyEncryption | undefined,
): Readonly<Record<string, string>> | undefined {
  const named = Object.entries(endpoint.headers).filter(([name]) => isCredentialHeader(name));
  if (named.every(([, value]) => value !== redacted)) return Object.fromEntries(named);
  const { header_credentials_sealed: bytes, header_credentials_key_id: keyId } = endpoint;
  const opened = bytes === null || keyId === null ? undefined : keys?.open({ bytes, keyId });
  if (!opened) return undefined;
  const sealed = JSON.parse(opened.toString('utf8')) as Record<string, string>;
  return Object.fromEntries(named.map(([name, value]) => [name, value === redacted ? (sealed[name] ?? value) : value]));
}

function isThere<Value>(value: Value | undefined): value is Value {
  return value !== undefined;
}
