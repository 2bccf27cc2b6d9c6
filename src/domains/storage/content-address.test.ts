import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  addressOf,
  carOf,
  directoryDag,
  fileDag,
  isContentOf,
  linksOf,
  parseAddress,
  readCar,
} from './content-address.ts';

describe('the address of content', () => {
  // Of `ipfs block put` and `ipfs add --cid-version 1` for these bytes.
  test.each([
    ['', 'bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku'],
    ['hello world', 'bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e'],
  ])('of %j is the one that everybody computes', async (text, cid) => {
    expect((await addressOf(Buffer.from(text))).toString()).toBe(cid);
  });

  test('is that of the DAG that is stored, for content of any size', async () => {
    for (const size of [0, 1, 1_048_576, 1_048_577, 3_500_000]) {
      const bytes = randomBytes(size);
      const dag = await fileDag(bytes);
      expect(dag.root.toString()).toBe((await addressOf(bytes)).toString());
      for (const block of dag.blocks) expect(isContentOf(block.cid, block.bytes)).toBe(true);
      const leaves = dag.blocks.filter((block) => linksOf(block).length === 0);
      expect(leaves.reduce((sum, block) => sum + block.bytes.length, 0)).toBe(size);
    }
  });

  test('does not fit other bytes', async () => {
    const cid = await addressOf(Buffer.from('{"a":1}'));
    expect(isContentOf(cid, Buffer.from('{"a":2}'))).toBe(false);
  });

  test.each(['', 'nonsense', 'bafkrei', 'Qm', '../../etc/passwd', '\u0000'])('is not read from %j', (text) => {
    expect(parseAddress(text)).toBeUndefined();
  });
});

describe('the directory of a batch', () => {
  const files = fc.uniqueArray(
    fc.record({ name: fc.stringMatching(/^[a-z0-9]{1,60}$/), bytes: fc.uint8Array({ maxLength: 500 }) }),
    {
      minLength: 1,
      maxLength: 50,
      selector: ({ name }) => name,
    },
  );

  test('has the same root in whatever order its files come, and names each of them', async () => {
    await fc.assert(
      fc.asyncProperty(files, async (some) => {
        const dag = await directoryDag(some);
        const other = await directoryDag(some.toReversed());

        expect(other.root.toString()).toBe(dag.root.toString());
        const root = dag.blocks.find((block) => block.cid.equals(dag.root))!;
        expect(linksOf(root).map(({ name }) => name)).toEqual(some.map(({ name }) => name).toSorted());
        const addresses = await Promise.all(some.map(({ bytes }) => addressOf(bytes)));
        const linked = new Set(linksOf(root).map(({ cid }) => cid.toString()));
        expect(addresses.every((cid) => linked.has(cid.toString()))).toBe(true);
      }),
      { numRuns: 50 },
    );
  });

  test('is in a CAR that is the same bytes each time and holds all of it', async () => {
    const dag = await directoryDag([
      { name: 'a.json', bytes: Buffer.from('{}') },
      { name: 'b.json', bytes: randomBytes(2_000_000) },
    ]);
    const [one, again] = [await carOf(dag), await carOf(dag)];
    expect(one.equals(again)).toBe(true);
    const read = await readCar(one);
    expect(read.root.toString()).toBe(dag.root.toString());
    expect(read.blocks.map(({ cid }) => cid.toString())).toEqual(dag.blocks.map(({ cid }) => cid.toString()));
  });

  test('is sharded when it is large, so that no block of it is over 1 MiB', async () => {
    const dag = await directoryDag(
      Array.from({ length: 5000 }, (_, at) => ({
        name: `${at}.json`.padStart(64, 'x'),
        bytes: Buffer.from(`{"at":${at}}`),
      })),
    );
    expect(Math.max(...dag.blocks.map(({ bytes }) => bytes.length))).toBeLessThanOrEqual(1_048_576);
  });
});
