import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { blake3Hex, createBlake3Stream } from './blake3.ts';

/** The official test vectors hash the bytes 0, 1, …, 250, 0, 1, … of a given length. */
function vectorInput(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => index % 251);
}

describe('blake3Hex', () => {
  it.each([
    [0, 'af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262'],
    [1, '2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213'],
    [1024, '42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7'],
  ])('agrees with the official vector of %i bytes', (length, expected) => {
    expect(blake3Hex(vectorInput(length))).toBe(expected);
  });

  it('hashes a text as its UTF-8 bytes', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (text) => {
        expect(blake3Hex(text)).toBe(blake3Hex(Buffer.from(text, 'utf8')));
      }),
    );
  });
});

describe('createBlake3Stream', () => {
  it('gives the hash of the whole for any cut into pieces', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 3000 }), { maxLength: 6 }), async (pieces) => {
        const stream = await createBlake3Stream();
        for (const piece of pieces) stream.update(piece);
        expect(stream.digestHex()).toBe(blake3Hex(Buffer.concat(pieces)));
      }),
    );
  });

  it('keeps streams and whole-value hashes apart when they interleave', async () => {
    const [first, second] = await Promise.all([createBlake3Stream(), createBlake3Stream()]);
    first.update(Buffer.from('farm'));
    second.update(Buffer.from('field'));
    const whole = blake3Hex('barn');
    first.update(Buffer.from('yard'));
    expect([first.digestHex(), second.digestHex(), whole]).toEqual(['farmyard', 'field', 'barn'].map(blake3Hex));
  });
});
