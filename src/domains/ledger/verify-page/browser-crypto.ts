import { ed25519 } from '@noble/curves/ed25519.js';
import { sha256 } from '@noble/hashes/sha2.js';
import { Buffer } from 'buffer';

/*
 * What the verifier needs of `node:crypto`, for browsers: the page is bundled with this in its place.
 */

const publicKeyHeaderBytes = 12;

/** As `hash` of node:crypto, for SHA-256. */
export function hash(_algorithm: string, data: Uint8Array | string, encoding: 'hex' | 'buffer'): string | Buffer {
  const digest = Buffer.from(sha256(typeof data === 'string' ? Buffer.from(data) : data));
  return encoding === 'hex' ? digest.toString('hex') : digest;
}

/** As `createPublicKey` of node:crypto, for Ed25519 keys in DER. */
export function createPublicKey({ key }: { key: Uint8Array }): { readonly bytes: Uint8Array } {
  return { bytes: key.slice(publicKeyHeaderBytes) };
}

/** As `verify` of node:crypto, for Ed25519. */
export function verify(
  _algorithm: null,
  data: Uint8Array,
  { bytes }: { readonly bytes: Uint8Array },
  signature: Uint8Array,
): boolean {
  try {
    return ed25519.verify(new Uint8Array(signature), new Uint8Array(data), new Uint8Array(bytes), { zip215: false });
  } catch {
    return false;
  }
}

function onlyOnServers(): never {
  throw new Error('a verifier signs nothing');
}

export const createHash = onlyOnServers;
export const createPrivateKey = onlyOnServers;
export const generateKeyPairSync = onlyOnServers;
export const sign = onlyOnServers;
