import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { treeHash } from '../../testing/tree-hash.ts';
import {
  consistencyRanges,
  inclusionRanges,
  isConsistent,
  leafHash,
  rootFromInclusion,
  rootOfPerfect,
  rootOfSubtrees,
  subtreesOf,
  type LeafRange,
} from './log-tree.ts';

const leaves = Array.from({ length: 300 }, (_, at) => leafHash(Buffer.from(`entry ${at}`)));

/** The hash of a range as a server makes it, from complete subtrees. */
const rangeHash = (range: LeafRange) =>
  rootOfSubtrees(
    subtreesOf(range).map(({ level, index }) =>
      rootOfPerfect(Buffer.concat(leaves.slice(index * 2 ** level, (index + 1) * 2 ** level))),
    ),
  );

describe('the tree of RFC 9162', () => {
  // The roots of the test vectors of Certificate Transparency (transparency-dev/merkle, testonly).
  const inputs = ['', '00', '10', '2021', '3031', '40414243', '5051525354555657', '606162636465666768696a6b6c6d6e6f'];
  test.each([
    [0, 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'],
    [1, '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d'],
    [2, 'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125'],
    [3, 'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77'],
    [7, 'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c'],
    [8, '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328'],
  ])('has over %i known leaves the published root', (size, root) => {
    const hashes = inputs.slice(0, size).map((input) => leafHash(Buffer.from(input, 'hex')));
    expect(treeHash(hashes).toString('hex')).toBe(root);
  });

  test('is the same from complete subtrees as by its definition', () => {
    for (let size = 0; size <= leaves.length; size += 1)
      expect(rangeHash([0, size])).toEqual(treeHash(leaves.slice(0, size)));
  });

  test('proves each leaf of each size, and nothing else', () => {
    for (let size = 1; size <= 70; size += 1) {
      const root = treeHash(leaves.slice(0, size));
      for (let index = 0; index < size; index += 1) {
        const proof = inclusionRanges(index, size).map(rangeHash);
        expect(rootFromInclusion(leaves[index]!, index, size, proof)).toEqual(root);
        expect(rootFromInclusion(leaves[index]!, index, size, [...proof, root])).toBeUndefined();
        expect(rootFromInclusion(leaves[index]!, (index + 1) % size, size, proof)).not.toEqual(
          size === 1 ? null : root,
        );
      }
    }
  });

  test('proves that each size is the beginning of each larger one', () => {
    for (let to = 1; to <= 70; to += 1) {
      for (let from = 1; from <= to; from += 1) {
        const proof = consistencyRanges(from, to).map(rangeHash);
        const [older, newer] = [from, to].map((size) => ({ size, root: treeHash(leaves.slice(0, size)) }));
        expect(isConsistent(older!, newer!, proof)).toBe(true);
        expect(isConsistent({ size: from, root: leaves[299]! }, newer!, proof)).toBe(false);
        expect(isConsistent(older!, { size: to, root: leaves[299]! }, proof)).toBe(false);
      }
    }
  });

  test('is proved by no proof of which a bit was changed', () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 300 }), fc.nat(), fc.nat(), fc.nat(255), (size, index, at, bit) => {
        const leaf = index % size;
        const proof = inclusionRanges(leaf, size).map(rangeHash);
        const hashes = Buffer.concat(proof);
        hashes[at % hashes.length]! ^= 1 << (bit % 8);
        const changed = proof.map((_, place) => hashes.subarray(place * 32, place * 32 + 32));
        expect(rootFromInclusion(leaves[leaf]!, leaf, size, changed)).not.toEqual(treeHash(leaves.slice(0, size)));
      }),
    );
  });
});
