import { hash } from 'node:crypto';

/**
 * The hash tree of RFC 9162, section 2.1 (which is that of RFC 6962): what a log of any size commits to, and proofs about it.
 * Sizes and indexes are safe integers.
 */
export const hashBytes = 32;

/** Leaves from `begin` to before `end`. */
export type LeafRange = readonly [begin: number, end: number];

/** A complete subtree: 2^level leaves, of which the first is `index * 2^level`. */
export interface Subtree {
  readonly level: number;
  readonly index: number;
}

const leafPrefix = Buffer.of(0);
const nodePrefix = Buffer.of(1);

/** SHA-256 of bytes. */
export function sha256(bytes: Uint8Array | string): Buffer {
  return hash('sha256', bytes, 'buffer');
}

/** The hash of a leaf whose entry has these bytes. */
export function leafHash(entry: Uint8Array): Buffer {
  return sha256(Buffer.concat([leafPrefix, entry]));
}

/** The hash of a node over two others. */
export function nodeHash(left: Uint8Array, right: Uint8Array): Buffer {
  return sha256(Buffer.concat([nodePrefix, left, right]));
}

/** The root over hashes of 2^k nodes of one level, which stand one behind the other. */
export function rootOfPerfect(hashes: Buffer): Buffer {
  let level = hashes;
  while (level.length > hashBytes) {
    const above = Buffer.allocUnsafe(level.length / 2);
    for (let at = 0; at < level.length; at += 2 * hashBytes) {
      const pair = [level.subarray(at, at + hashBytes), level.subarray(at + hashBytes, at + 2 * hashBytes)] as const;
      nodeHash(...pair).copy(above, at / 2);
    }
    level = above;
  }
  return level;
}

/** The root of an empty tree. */
export const emptyRoot: Buffer = sha256('');

/** The largest power of two below a number of leaves, by which RFC 9162 splits them. */
function splitOf(leaves: number): number {
  let power = 1;
  while (power * 2 < leaves) power *= 2;
  return power;
}

/** The complete subtrees that make up a range which is a tree or the right part of one, from left to right. */
export function subtreesOf([begin, end]: LeafRange): Subtree[] {
  const found: Subtree[] = [];
  for (let at = begin; at < end;) {
    let [size, level] = [1, 0];
    while (at % (size * 2) === 0 && at + size * 2 <= end) {
      size *= 2;
      level += 1;
    }
    found.push({ level, index: at / size });
    at += size;
  }
  return found;
}

/** The hash over a range from those of its subtrees. */
export function rootOfSubtrees(hashes: readonly Buffer[]): Buffer {
  return hashes.length === 0 ? emptyRoot : hashes.reduceRight((right, left) => nodeHash(left, right));
}

/** The hash over a range of leaves, whose hashes stand one behind the other from the first leaf on. */
export function rootOfRange(leaves: Buffer, range: LeafRange): Buffer {
  return rootOfSubtrees(
    subtreesOf(range).map(({ level, index }) => {
      const bytes = 2 ** level * hashBytes;
      return rootOfPerfect(leaves.subarray(index * bytes, (index + 1) * bytes));
    }),
  );
}

/** Where a sibling stands: 0 on the left, 1 on the right. */
export type SiblingPosition = 0 | 1;

/** The root that a path leads to which says itself on which side each sibling stands. */
export function rootFromSiblings(
  leaf: Buffer,
  path: readonly { readonly hash: Uint8Array; readonly position: SiblingPosition }[],
): Buffer {
  return path.reduce(
    (node, { hash: sibling, position }) => (position === 1 ? nodeHash(node, sibling) : nodeHash(sibling, node)),
    leaf,
  );
}

/** The ranges whose hashes prove that the leaf `index` is in the tree of `size` leaves, from the leaf to the root. */
export function inclusionRanges(index: number, size: number): LeafRange[] {
  const ranges: LeafRange[] = [];
  let [begin, end] = [0, size];
  while (end - begin > 1) {
    const middle = begin + splitOf(end - begin);
    if (index < middle) {
      ranges.push([middle, end]);
      end = middle;
    } else {
      ranges.push([begin, middle]);
      begin = middle;
    }
  }
  return ranges.toReversed();
}

/** The ranges whose hashes prove that the tree of `from` leaves is the beginning of the one of `to` (0 < from <= to). */
export function consistencyRanges(from: number, to: number): LeafRange[] {
  const ranges: LeafRange[] = [];
  let [begin, end, isWhole] = [0, to, true];
  while (end !== from) {
    const middle = begin + splitOf(end - begin);
    if (from <= middle) {
      ranges.push([middle, end]);
      end = middle;
    } else {
      ranges.push([begin, middle]);
      begin = middle;
      isWhole = false;
    }
  }
  if (!isWhole) ranges.push([begin, end]);
  return ranges.toReversed();
}

/** The root that an inclusion proof leads to (RFC 9162, 2.1.3.2); undefined when the proof has not the length it must have. */
export function rootFromInclusion(
  leaf: Uint8Array,
  index: number,
  size: number,
  proof: readonly Uint8Array[],
): Buffer | undefined {
  if (!(index >= 0 && index < size)) return undefined;
  let [node, last] = [index, size - 1];
  let root: Buffer = Buffer.from(leaf);
  for (const sibling of proof) {
    if (last === 0) return undefined;
    if (node % 2 === 1 || node === last) {
      root = nodeHash(sibling, root);
      while (node % 2 === 0 && node !== 0) [node, last] = [node / 2, Math.floor(last / 2)];
    } else root = nodeHash(root, sibling);
    [node, last] = [Math.floor(node / 2), Math.floor(last / 2)];
  }
  return last === 0 ? root : undefined;
}

/** Whether a proof shows that the tree of `from` leaves is the beginning of the one of `to` (RFC 9162, 2.1.4.2). */
export function isConsistent(
  from: { readonly size: number; readonly root: Uint8Array },
  to: { readonly size: number; readonly root: Uint8Array },
  proof: readonly Uint8Array[],
): boolean {
  if (from.size > to.size) return false;
  if (from.size === to.size) return proof.length === 0 && Buffer.from(from.root).equals(to.root);
  if (from.size === 0) return proof.length === 0 && Buffer.from(from.root).equals(emptyRoot);
  let [node, last] = [from.size - 1, to.size - 1];
  while (node % 2 === 1) [node, last] = [Math.floor(node / 2), Math.floor(last / 2)];
  // A tree of 2^k leaves is a node of the larger one itself, which the proof leaves out.
  const [first, ...rest] = node === 0 ? [from.root, ...proof] : proof;
  if (first === undefined) return false;
  let [older, newer]: [Buffer, Buffer] = [Buffer.from(first), Buffer.from(first)];
  for (const hashed of rest) {
    if (last === 0) return false;
    if (node % 2 === 1 || node === last) {
      older = nodeHash(hashed, older);
      newer = nodeHash(hashed, newer);
      while (node % 2 === 0 && node !== 0) [node, last] = [node / 2, Math.floor(last / 2)];
    } else newer = nodeHash(newer, hashed);
    [node, last] = [Math.floor(node / 2), Math.floor(last / 2)];
  }
  return last === 0 && older.equals(from.root) && newer.equals(to.root);
}
