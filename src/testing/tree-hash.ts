import { emptyRoot, nodeHash } from '#domains/ledger/log-tree.ts';

/** The root over hashes of leaves, MTH of RFC 9162, 2.1.1, as it is written there: what the product finds in other ways. */
export function treeHash(leaves: readonly Buffer[]): Buffer {
  if (leaves.length === 0) return emptyRoot;
  if (leaves.length === 1) return leaves[0]!;
  let split = 1;
  while (split * 2 < leaves.length) split *= 2;
  return nodeHash(treeHash(leaves.slice(0, split)), treeHash(leaves.slice(split)));
}
