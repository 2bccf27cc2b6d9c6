import type { Queryable } from '#platform/database.ts';
import { entryOf } from '../entry-commitment.ts';
import { hashBytes, leafHash, sha256 } from '../log-tree.ts';
import { pageAfter, pageLeaves, rootAtPage, rootOfPage, firstPageOf } from './grow-item-trees.ts';
import { findEventEntries, listPages, readTreesSize, type TreeKey, type TreePage } from './item-trees.store.ts';

const entriesAtOnce = 20_000;
const pagesAtOnce = 500;

/**
 * Computes the trees of items again: their pages lead to their roots, and together they have the leaves that the log has of
 * events, each once.
 * @param queryable holds `item_tree_state`, so that nobody grows them meanwhile.
 * @param tell told what does not fit.
 */
export async function checkItemTrees(queryable: Queryable, tell: (detail: string) => void): Promise<void> {
  const size = await readTreesSize(queryable);
  const [expected, found] = [new LeafSet(), new LeafSet()];
  for (let begin = 0; begin < size; begin += entriesAtOnce)
    for (const { commitment, ...key } of await findEventEntries(
      queryable,
      begin,
      Math.min(begin + entriesAtOnce, size),
    ))
      expected.add(key, leafHash(entryOf(commitment)));
  let last: TreePage | undefined;
  for (let hasMore = true; hasMore;) {
    const pages = await listPages(queryable, last, pagesAtOnce);
    for (const page of pages) {
      if (!isRightAfter(last, page)) tell(`page ${page.page} of the tree of item ${page.item_number} is wrong`);
      for (let at = 0; at < page.leaves.length; at += hashBytes)
        found.add(page, page.leaves.subarray(at, at + hashBytes));
      last = page;
    }
    hasMore = pages.length === pagesAtOnce;
  }
  if (!expected.equals(found)) tell('the trees of items do not have the leaves of the log');
}

/** Whether a page is what its leaves, and the page before it, make of it. */
function isRightAfter(last: TreePage | undefined, page: TreePage): boolean {
  const isSameTree = last?.workspace_id === page.workspace_id && last.item_number === page.item_number;
  const leaves = page.leaves.length / hashBytes;
  if (leaves < 1 || leaves > pageLeaves || !Number.isInteger(leaves)) return false;
  if (isSameTree && last.leaves.length !== pageLeaves * hashBytes) return false;
  const expected = isSameTree ? pageAfter(last) : firstPageOf(page);
  return (
    page.page === expected.page &&
    page.subtrees_before.equals(expected.subtrees_before) &&
    page.page_root.equals(rootOfPage(page.leaves)) &&
    page.root.equals(rootAtPage(page, leaves))
  );
}

/** Tells whether two ways to the same leaves met the same ones, in any order, without remembering them. */
class LeafSet {
  readonly #sum = Buffer.alloc(hashBytes);
  #count = 0;

  add({ workspace_id: workspaceId, item_number: itemNumber }: TreeKey, leaf: Buffer): void {
    const hash = sha256(Buffer.concat([Buffer.from(`${workspaceId} ${itemNumber} `), leaf]));
    for (let at = 0; at < hashBytes; at += 1) this.#sum[at]! ^= hash[at]!;
    this.#count += 1;
  }

  equals(other: LeafSet): boolean {
    return this.#count === other.#count && this.#sum.equals(other.#sum);
  }
}
