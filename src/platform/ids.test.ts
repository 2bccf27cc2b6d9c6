import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { entryIdAt, isUuid, makeId, makeReceiptId, positionOfEntry, receiptEntriesMax } from './ids.ts';

describe('ids', () => {
  it('are UUIDs of version 7 that grow with each call', () => {
    const ids = Array.from({ length: 5000 }, makeId);

    expect(ids.every((id) => isUuid(id) && id[14] === '7')).toBe(true);
    expect(ids).toEqual(ids.toSorted());
    expect(new Set(ids).size).toBe(ids.length);
  });

  it('of receipts differ although their last 24 bits are free for entries', () => {
    const ids = Array.from({ length: 20_000 }, makeReceiptId);

    expect(ids.every((id) => isUuid(id) && id.endsWith('000000'))).toBe(true);
    expect(new Set(ids).size).toBe(ids.length);
  });

  it('of entries give back their position, sort in its order and never equal their receipt', () => {
    const receiptId = makeReceiptId();
    fc.assert(
      fc.property(fc.integer({ min: 0, max: receiptEntriesMax - 2 }), (position) => {
        const id = entryIdAt(receiptId, position);

        expect(positionOfEntry(id)).toBe(position);
        expect(id < entryIdAt(receiptId, position + 1)).toBe(true);
        expect(id).not.toBe(receiptId);
      }),
    );
  });
});
