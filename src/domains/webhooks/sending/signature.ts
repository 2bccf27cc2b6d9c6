import {
  createHmac,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  randomBytes,
  sign,
  type KeyObject,
} from 'node:crypto';

/**
 * Signatures of Standard Webhooks 1.0 (https://www.standardwebhooks.com): `v1`, HMAC-SHA256 with a secret of both sides, and
 * `v1a`, Ed25519 with a key that is ours alone.
 */
const secretPrefix = 'whsec_';
const publicKeyPrefix = 'whpk_';
const secretBytes = { least: 24, most: 64, made: 32 } as const;
/** An Ed25519 public key ends its SubjectPublicKeyInfo (RFC 8410, 4). */
const publicKeyBytes = 32;

/** Makes a secret. */
export function makeSecret(): string {
  return showSecret(randomBytes(secretBytes.made));
}

/** A secret in the notation of Standard Webhooks. */
export function showSecret(bytes: Buffer): string {
  return `${secretPrefix}${bytes.toString('base64')}`;
}

/** The bytes of a secret, `whsec_` and 24 to 64 bytes in base64; undefined for text that is none. */
export function readSecret(text: string): Buffer | undefined {
  if (!text.startsWith(secretPrefix)) return undefined;
  const encoded = text.slice(secretPrefix.length);
  const bytes = Buffer.from(encoded, 'base64');
  const isWhole = bytes.toString('base64') === encoded;
  return isWhole && bytes.length >= secretBytes.least && bytes.length <= secretBytes.most ? bytes : undefined;
}

/** Makes a key that signs by Ed25519, as PKCS #8. */
export function makePrivateKey(): Buffer {
  return generateKeyPairSync('ed25519').privateKey.export({ format: 'der', type: 'pkcs8' });
}

/** The 32 bytes by which signatures of a key are checked. */
export function publicKeyOf(privateKey: Buffer): Buffer {
  return createPublicKey(readPrivateKey(privateKey)).export({ format: 'der', type: 'spki' }).subarray(-publicKeyBytes);
}

/** A public key in the notation of Standard Webhooks. */
export function showPublicKey(bytes: Buffer): string {
  return `${publicKeyPrefix}${bytes.toString('base64')}`;
}

/** A private key that signs, from PKCS #8. */
export function readPrivateKey(bytes: Buffer): KeyObject {
  return createPrivateKey({ key: bytes, format: 'der', type: 'pkcs8' });
}

export interface SigningKeys {
  /** More than one while one takes the place of another. */
  readonly secrets: readonly KeyObject[];
  readonly privateKeys: readonly KeyObject[];
}

/** The value of `webhook-signature` for a body. */
export function signatureOf(
  { id, seconds, body }: { id: string; seconds: number; body: string },
  { secrets, privateKeys }: SigningKeys,
): string {
  const signed = `${id}.${seconds}.${body}`;
  return [
    ...secrets.map((secret) => `v1,${createHmac('sha256', secret).update(signed).digest('base64')}`),
    ...privateKeys.map((key) => `v1a,${sign(null, Buffer.from(signed), key).toString('base64')}`),
  ].join(' ');
}
