import type { KeyEncryption } from '#platform/key-encryption.ts';
import type { ClaimedDelivery } from '../deliveries/attempts.store.ts';
import { signatureHeaders } from './signature.ts';

/** Headers that an endpoint cannot set, since the transport or the signature do. */
const ownHeaders =
  /^(?:host|content-length|content-type|transfer-encoding|connection|keep-alive|upgrade|te|trailer|expect|user-agent|accept-encoding|webhook-.*|proxy-.*)$/;

/** How a request tells who sends it, beside its signature. */
export type EndpointAuth =
  | { readonly type: 'none' }
  | { readonly type: 'bearer'; readonly token: string }
  | { readonly type: 'api_key'; readonly key: string }
  | { readonly type: 'basic'; readonly username: string; readonly password: string }
  | { readonly type: 'custom_header'; readonly name: string; readonly value: string };

/** Why a header cannot be set by an endpoint; undefined if it can. */
export function faultOfHeader(name: string, value: string): string | undefined {
  if (!/^[!#$%&'*+.^_`|~0-9a-z-]{1,100}$/.test(name)) return 'this is no name of a header, in lower case';
  if (ownHeaders.test(name)) return 'this header is set by us';
  return /^[\t\x20-\x7e]{0,1000}$/.test(value)
    ? undefined
    : 'a header holds at most 1,000 printable characters of ASCII';
}

/** The header by which a request authenticates itself. */
export function authHeader(auth: EndpointAuth): readonly [name: string, value: string] | undefined {
  switch (auth.type) {
    case 'none':
      return undefined;
    case 'bearer':
      return ['authorization', `Bearer ${auth.token}`];
    case 'api_key':
      return ['x-api-key', auth.key];
    case 'basic':
      return ['authorization', `Basic ${Buffer.from(`${auth.username}:${auth.password}`).toString('base64')}`];
    case 'custom_header':
      return [auth.name, auth.value];
  }
}

interface HeaderOptions {
  readonly body: string;
  /** Of this attempt, since the Unix epoch. */
  readonly seconds: number;
  readonly version: string;
  readonly keys: KeyEncryption | undefined;
}

/** All headers of an attempt, and those that are not kept; undefined when a secret cannot be opened. */
export function headersOf(delivery: ClaimedDelivery, { body, seconds, version, keys }: HeaderOptions) {
  const open = (bytes: Buffer | null, keyId: string | null) =>
    bytes === null || keyId === null ? undefined : keys?.open({ bytes, keyId });
  const secret = open(delivery.secret_sealed, delivery.secret_key_id);
  const previous = open(delivery.previous_secret_sealed, delivery.previous_secret_key_id);
  const sealedAuth = open(delivery.auth_sealed, delivery.auth_key_id);
  if (!secret || (delivery.auth_type !== 'none' && !sealedAuth)) return undefined;
  const auth = sealedAuth && authHeader(JSON.parse(sealedAuth.toString('utf8')) as EndpointAuth);
  const headers = {
    ...delivery.headers,
    ...(auth ? { [auth[0]]: auth[1] } : {}),
    'content-type': 'application/json',
    ...(delivery.follows_gap ? { 'webhook-follows-gap': 'true' } : {}),
    'user-agent': `DeFarm-Engines/${version}`,
    ...signatureHeaders({ id: delivery.message_id, seconds, body }, previous ? [secret, previous] : [secret]),
  };
  // What an endpoint named itself may be a secret as well as not: only what is ours is kept.
  const secretHeaders = new Set([...Object.keys(delivery.headers), ...(auth ? [auth[0]] : [])]);
  return { headers, secretHeaders };
}
