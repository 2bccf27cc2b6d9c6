import { randomFillSync } from 'node:crypto';
import { v7 } from 'uuid';

/** A time-ordered random id (UUIDv7, RFC 9562). */
export function makeId(): string {
  return v7();
}

/** Records one receipt may hold: what fits in the low 24 bits of its id, less one. */
export const receiptEntriesMax = 2 ** 24 - 1;

const hexBelow24Bits = 6;
const uuidPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const randomness = Buffer.alloc(16 * 256);
let randomnessUsed = randomness.length;

/**
 * The id of a receipt: a UUIDv7 whose low 24 bits are zero. The entries of the receipt fill them with their position plus
 * one, so that one primary key finds an entry, its receipt and all entries of a receipt in order. Fifty random bits beside
 * the millisecond remain to tell receipts apart.
 */
export function makeReceiptId(): string {
  if (randomnessUsed === randomness.length) {
    randomFillSync(randomness);
    randomnessUsed = 0;
  }
  const random = randomness.subarray(randomnessUsed, randomnessUsed + 16);
  randomnessUsed += 16;
  return v7({ random }).slice(0, -hexBelow24Bits) + '000000';
}

/** The id of the entry at `position` (from 0) of a receipt. */
export function entryIdAt(receiptId: string, position: number): string {
  return receiptId.slice(0, -hexBelow24Bits) + (position + 1).toString(16).padStart(hexBelow24Bits, '0');
}

/** The receipt that an entry belongs to. */
export function receiptOfEntry(entryId: string): string {
  return entryId.slice(0, -hexBelow24Bits) + '000000';
}

/** The position (from 0) of an entry in its receipt. */
export function positionOfEntry(entryId: string): number {
  return Number.parseInt(entryId.slice(-hexBelow24Bits), 16) - 1;
}

/** True for the 36-character lower-case text form of a UUID. */
export function isUuid(text: string): boolean {
  return uuidPattern.test(text);
}
