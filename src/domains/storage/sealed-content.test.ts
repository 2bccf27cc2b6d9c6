import fc from 'fast-check';
import { expect, test } from 'vitest';
import { openContent, sealContent } from './sealed-content.ts';

test('sealed content is opened by its key and by no other, and not when a bit of it was changed', async () => {
  await fc.assert(
    fc.asyncProperty(fc.json(), fc.nat(), async (text, at) => {
      const content = Buffer.from(text);
      const { bytes, key } = await sealContent(content);

      expect(JSON.parse((await openContent({ bytes, key })).toString())).toEqual(JSON.parse(text));
      const otherKey = Buffer.from(key);
      otherKey[at % 32]! ^= 1 << (at % 8);
      await expect(openContent({ bytes, key: otherKey })).rejects.toThrow('decryption');
      const parts = bytes.toString().split('.');
      const ciphertext = Buffer.from(parts[3]!, 'base64url');
      ciphertext[at % ciphertext.length]! ^= 1 << (at % 8);
      const changed = Buffer.from(parts.with(3, ciphertext.toString('base64url')).join('.'));
      await expect(openContent({ bytes: changed, key })).rejects.toThrow('decryption');
    }),
    { numRuns: 100 },
  );
});

test('the same content is sealed to other bytes each time', async () => {
  const content = Buffer.from('{"a":1}');
  const [one, other] = [await sealContent(content), await sealContent(content)];
  expect(one.bytes).not.toEqual(other.bytes);
  expect(one.key).not.toEqual(other.key);
});

test('the size of sealed content tells one of few sizes', async () => {
  const sizeOf = async (length: number) => (await sealContent(Buffer.alloc(length, 'x'))).bytes.length;
  expect(await sizeOf(1)).toBe(await sizeOf(256));
  expect(await sizeOf(1000)).toBe(await sizeOf(1020));
  const sizes = new Set(await Promise.all(Array.from({ length: 500 }, (_, at) => sizeOf(1000 + at * 20))));
  expect(sizes.size).toBeLessThan(80);
});
