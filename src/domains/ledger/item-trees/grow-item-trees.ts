import type pg from 'pg';
import { withTransaction } from '#platform/database.ts';
import { entryOf } from '../entry-commitment.ts';
import { hashBytes, leafHash, nodeHash, rootOfRange, rootOfSubtrees } from '../log-tree.ts';
import { tileWidth } from '../log-tiles.ts';
import {
  findEventEntries,
  findLastPages,
  lockItemTrees,
  writePages,
  writeTreesSize,
  type TreeKey,
  type TreePage,
} from './item-trees.store.ts';

/** Leaves of one page, as many as a tile of the log has. */
export const pageLeaves = tileWidth;

/**
 * Takes the next entries of the log into the trees of their items, each once and in their order. What an entry costs depends
 * neither on the log nor on how many events its item has.
 * @param entriesMax of the log in one transaction.
 * @returns whether there are more; undefined when another process is at it.
 */
export function growItemTrees(pool: pg.Pool, entriesMax: number): Promise<{ hasMore: boolean } | undefined> {
  return withTransaction(pool, async (client) => {
    const state = await lockItemTrees(client);
    if (state === undefined) return undefined;
    const end = Math.min(state.taken + entriesMax, state.size);
    if (end === state.taken) return { hasMore: false };
    const leaves = new Map<string, TreeKey & { leaves: Buffer[] }>();
    for (const { commitment, ...key } of await findEventEntries(client, state.taken, end)) {
      const tree = leaves.get(nameOf(key)) ?? { ...key, leaves: [] };
      tree.leaves.push(leafHash(entryOf(commitment)));
      leaves.set(nameOf(key), tree);
    }
    const last = new Map((await findLastPages(client, [...leaves.values()])).map((page) => [nameOf(page), page]));
    const pages = [...leaves.values()].flatMap((tree) =>
      appendLeaves(last.get(nameOf(tree)) ?? firstPageOf(tree), tree.leaves),
    );
    await writePages(client, pages);
    await writeTreesSize(client, end);
    return { hasMore: end < state.size };
  });
}

const nameOf = (key: TreeKey) => `${key.workspace_id} ${key.item_number}`;

const empty = Buffer.alloc(0);

/** The first page of a tree, which has no leaf yet. */
export function firstPageOf({ workspace_id, item_number }: TreeKey): TreePage {
  return { workspace_id, item_number, page: 0, leaves: empty, page_root: empty, subtrees_before: empty, root: empty };
}

/** The pages of a tree that become others when leaves come behind its last one. */
function appendLeaves(last: TreePage, leaves: readonly Buffer[]): TreePage[] {
  const pages: TreePage[] = [];
  let page = last;
  for (let at = 0; at < leaves.length;) {
    const room = pageLeaves - page.leaves.length / hashBytes;
    if (room === 0) page = pageAfter(page);
    else {
      page = withLeaves(page, Buffer.concat([page.leaves, ...leaves.slice(at, at + room)]));
      pages.push(page);
      at += room;
    }
  }
  return pages;
}

function withLeaves(page: TreePage, leaves: Buffer): TreePage {
  const pageRoot = rootOfPage(leaves);
  return { ...page, leaves, page_root: pageRoot, root: rootOfSubtrees([...hashesOf(page.subtrees_before), pageRoot]) };
}

/** The root over the leaves of one page. */
export function rootOfPage(leaves: Buffer): Buffer {
  return rootOfRange(leaves, [0, leaves.length / hashBytes]);
}

/** The root that a tree had when this page had so many leaves. */
export function rootAtPage(page: TreePage, leaves: number): Buffer {
  return withLeaves(page, page.leaves.subarray(0, leaves * hashBytes)).root;
}

/** The page behind a full one, which has no leaf yet. */
export function pageAfter({ page, page_root: pageRoot, subtrees_before: before, ...key }: TreePage): TreePage {
  const subtrees = hashesOf(before);
  let subtree: Buffer = pageRoot;
  // As many complete subtrees of one size join as the number of pages before ends with binary ones.
  for (let number = page; number % 2 === 1; number = Math.floor(number / 2))
    subtree = nodeHash(subtrees.pop()!, subtree);
  return { ...firstPageOf(key), page: page + 1, subtrees_before: Buffer.concat([...subtrees, subtree]) };
}

function hashesOf(bytes: Buffer): Buffer[] {
  return Array.from({ length: bytes.length / hashBytes }, (_, at) =>
    bytes.subarray(at * hashBytes, (at + 1) * hashBytes),
  );
}
