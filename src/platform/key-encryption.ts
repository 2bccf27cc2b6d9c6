import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';

/** Bytes that only who has the key reads, with the name of that key. */
export interface SealedBytes {
  readonly keyId: string;
  /** 12 bytes of nonce, the ciphertext, 16 bytes of tag (AES-256-GCM). */
  readonly bytes: Buffer;
}

/** Seals secrets that are kept in the database, with a key that is not. */
export interface KeyEncryption {
  /** The key that seals. */
  readonly keyId: string;
  seal(bytes: Uint8Array): SealedBytes;
  /** Undefined when the key with which they were sealed is not here, or when they were changed. */
  open(sealed: SealedBytes): Buffer | undefined;
}

const nonceBytes = 12;
const tagBytes = 16;

/**
 * @param keys of 32 bytes each; the first seals, all open.
 */
export function makeKeyEncryption(keys: readonly Buffer[]): KeyEncryption {
  const byId = new Map(keys.map((key) => [keyIdOf(key), key]));
  const [sealing] = keys;
  if (!sealing) throw new Error('without a key nothing can be sealed');
  const keyId = keyIdOf(sealing);
  return {
    keyId,
    seal(bytes) {
      const nonce = randomBytes(nonceBytes);
      const cipher = createCipheriv('aes-256-gcm', sealing, nonce);
      const sealed = Buffer.concat([nonce, cipher.update(bytes), cipher.final(), cipher.getAuthTag()]);
      return { keyId, bytes: sealed };
    },
    open(sealed) {
      const key = byId.get(sealed.keyId);
      if (!key) return undefined;
      if (sealed.bytes.length < nonceBytes + tagBytes) return undefined;
      const decipher = createDecipheriv('aes-256-gcm', key, sealed.bytes.subarray(0, nonceBytes));
      decipher.setAuthTag(sealed.bytes.subarray(-tagBytes));
      const opened = decipher.update(sealed.bytes.subarray(nonceBytes, -tagBytes));
      try {
        return Buffer.concat([opened, decipher.final()]);
      } catch {
        return undefined;
      }
    },
  };
}

function keyIdOf(key: Buffer): string {
  return createHash('sha256').update('defarm-key-id-v1\0').update(key).digest('hex').slice(0, 16);
}
