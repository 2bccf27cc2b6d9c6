import { randomFillSync } from 'node:crypto';
import { v7 } from 'uuid';

/** Records one receipt may hold: what fits in the low 24 bits of its id, less one. */
export const receiptEntriesMax = 2 ** 24 - 1;

const hexBelow24Bits = 6;
const uuidPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
/** Asking the system for randomness costs more than making an id, so it is asked for many ids at once. */
const randomness = Buffer.alloc(16 * 256);
let randomnessUsed = randomness.length;
let lastMs = 0;
let sequence = 0;

function takeRandomness(): Uint8Array {
  if (randomnessUsed === randomness.length) {
    randomFillSync(randomness);
    randomnessUsed = 0;
  }
  randomnessUsed += 16;
  return randomness.subarray(randomnessUsed - 16, randomnessUsed);
}

/** A random id (UUIDv7, RFC 9562) that grows with time, and within one process with each call. */
export function makeId(): string {
  const random = takeRandomness();
  const msecs = Date.now();
  // RFC 9562, 6.2, method 1: a counter in the bits after the millisecond, begun at random with room to grow.
  sequence = msecs > lastMs ? (random[0]! << 15) | (random[1]! << 7) : sequence + 1;
  lastMs = Math.max(msecs, lastMs);
  return v7({ random, msecs: lastMs, seq: sequence });
}

/**
 * The id of a receipt: a UUIDv7 whose low 24 bits are zero. The entries of the receipt fill them with their position plus
 * one, so that one primary key finds an entry, its receipt and all entries of a receipt in order. Fifty random bits beside
 * the millisecond remain to tell receipts apart.
 */
export function makeReceiptId(): string {
  return v7({ random: takeRandomness() }).slice(0, -hexBelow24Bits) + '000000';
}

/** The id of the entry at `position` (from 0) of a receipt. */
export function entryIdAt(receiptId: string, position: number): string {
  return receiptId.slice(0, -hexBelow24Bits) + (position + 1).toString(16).padStart(hexBelow24Bits, '0');
}

/** The position (from 0) of an entry in its receipt. */
export function positionOfEntry(entryId: string): number {
  return Number.parseInt(entryId.slice(-hexBelow24Bits), 16) - 1;
}

/** The receipt that an entry belongs to. */
export function receiptIdOfEntry(entryId: string): string {
  return entryId.slice(0, -hexBelow24Bits) + '000000';
}

/** True for the 36-character lower-case text form of a UUID. */
export function isUuid(text: string): boolean {
  return uuidPattern.test(text);
}
