import { randomBytes } from 'node:crypto';
import { CompactEncrypt, compactDecrypt } from 'jose';

/** Content that only who has its key reads. */
export interface SealedContent {
  /** The bytes that are stored: a JWE in compact serialisation (RFC 7516). */
  readonly bytes: Buffer;
  /** 32 bytes, for this content alone. Who erases it erases the content, wherever its bytes are. */
  readonly key: Buffer;
}

const keyBytes = 32;
const smallestBytes = 256;

/**
 * Encrypts content with a key of its own (`alg: dir`, A256GCM). The size of what is sealed tells little: it is padded with
 * blanks, which JSON ignores.
 */
export async function sealContent(content: Buffer): Promise<SealedContent> {
  const key = randomBytes(keyBytes);
  const padded = Buffer.alloc(paddedSize(content.length), ' ');
  padded.set(content);
  const jwe = await new CompactEncrypt(padded)
    .setProtectedHeader({ alg: 'dir', enc: 'A256GCM', cty: 'application/json' })
    .encrypt(key);
  return { bytes: Buffer.from(jwe), key };
}

/** The content, with its padding. @throws Error for bytes that were changed, or another key. */
export async function openContent({ bytes, key }: SealedContent): Promise<Buffer> {
  const { plaintext } = await compactDecrypt(bytes.toString('latin1'), key);
  return Buffer.from(plaintext);
}

/**
 * The next size that tells no more of the length L than O(log log L) bits: Padmé of Nikitin et al., "Reducing Metadata
 * Leakage from Encrypted Files and Communication with PURBs", 2019, section 4.
 */
function paddedSize(size: number): number {
  if (size <= smallestBytes) return smallestBytes;
  const exponent = Math.floor(Math.log2(size));
  const keptBits = Math.floor(Math.log2(exponent)) + 1;
  const step = 2 ** (exponent - keptBits);
  return Math.ceil(size / step) * step;
}
