import { createBLAKE3 } from 'hash-wasm';

/** Takes bytes piece by piece and gives their BLAKE3 hash once, at the end. */
export interface Blake3Stream {
  /** Adds the next piece. */
  update(chunk: Uint8Array): void;
  /** The hash of all pieces as 64 lower-case hex digits; the stream is used up by it. */
  digestHex(): string;
}

// One instance serves every whole-value hash: each call runs from init to digest without giving up the thread.
const wholeValueHasher = await createBLAKE3();

/** The 256-bit BLAKE3 hash of bytes, or of a text in UTF-8, as 64 lower-case hex digits. */
export function blake3Hex(data: Uint8Array | string): string {
  return wholeValueHasher.init().update(data).digest('hex');
}

/** Starts a BLAKE3 hash over a stream; every stream has an instance of its own, so that streams may interleave. */
export async function createBlake3Stream(): Promise<Blake3Stream> {
  const hasher = await createBLAKE3();
  hasher.init();
  return {
    update: (chunk) => {
      hasher.update(chunk);
    },
    digestHex: () => hasher.digest('hex'),
  };
}
