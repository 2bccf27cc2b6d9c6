import type { z } from 'zod';
import { itemNumberOf, type ItemsService } from '#domains/items/index.ts';
import type { Database } from '#platform/database.ts';
import { Problem } from '#platform/errors.ts';
import { isUuid } from '#platform/ids.ts';
import { decodeCursor, encodeCursor } from '#platform/page.ts';
import { entryOf } from '../entry-commitment.ts';
import {
  hashBytes,
  inclusionRanges,
  leafHash,
  rootFromSiblings,
  rootOfPerfect,
  rootOfRange,
  rootOfSubtrees,
  subtreesOf,
  type LeafRange,
  type SiblingPosition,
} from '../log-tree.ts';
import { findProvenEvent } from '../log.store.ts';
import { pageLeaves, rootAtPage } from './grow-item-trees.ts';
import type { syncCheckBody, verifyItemProofBody } from './item-trees.schema.ts';
import { findMemberTrees, findPages, findPagesAroundLeaf, listTreeItems, type MemberTree } from './item-trees.store.ts';

export type ItemTreesService = ReturnType<typeof makeItemTreesService>;

interface Sibling {
  readonly hash: Buffer;
  readonly position: SiblingPosition;
}

const localOnlyMax = 1000;
const largestNumber = Number.MAX_SAFE_INTEGER;

/**
 * Trees over the events of items, for the workspace that told them: their leaves are those of the log, in its order, so that
 * whoever has the proof of an event has its leaf. Events keep the item that they were told of; the root of an item that is
 * several is that of a tree whose leaves are replaced by the roots of theirs.
 */
export function makeItemTreesService({ database: { pool }, items }: { database: Database; items: ItemsService }) {
  /** Items by the numbers that were asked for, as far as something is logged of them for the workspace. */
  const findRoots = async (workspaceId: string, itemNumbers: readonly number[]) => {
    const trees = await findMemberTrees(pool, workspaceId, itemNumbers);
    const dfids = await items.dfidsOf([...new Set(trees.flatMap((tree) => [tree.current_number, tree.item_number]))]);
    return new Map(
      [...Map.groupBy(trees, (tree) => tree.asked_number)].map(([asked, members]) => [asked, showRoot(members, dfids)]),
    );
  };

  /** The last page of trees cannot tell whether a root was theirs; the page that the copy ended on can. */
  const findOlderRoots = async (
    workspaceId: string,
    copies: readonly { itemNumber: number; eventCount: number }[],
  ): Promise<Map<number, string>> => {
    const places = copies.map(({ itemNumber, eventCount }) => ({
      workspace_id: workspaceId,
      item_number: itemNumber,
      page: Math.floor((eventCount - 1) / pageLeaves),
    }));
    const pages = new Map((await findPages(pool, places)).map((page) => [page.item_number, page]));
    return new Map(
      copies.flatMap(({ itemNumber, eventCount }) => {
        const page = pages.get(itemNumber);
        if (!page) return [];
        return [[itemNumber, rootAtPage(page, eventCount - page.page * pageLeaves).toString('hex')] as const];
      }),
    );
  };

  return {
    /** @throws Problem not_found, also while nothing of the item is logged. */
    async root(workspaceId: string, idOrDfid: string) {
      const itemNumber = await items.ownNumberOf(workspaceId, idOrDfid);
      const root = (await findRoots(workspaceId, [itemNumber])).get(itemNumber);
      if (!root) throw new Problem('not_found', 'no event of this item is in the log yet');
      return root;
    },

    /** The roots of all items of a workspace, in the order of their numbers; what was merged stands with what it became. */
    async list(workspaceId: string, { limit, cursor }: { limit: number; cursor?: string | undefined }) {
      const after = Number(decodeCursor(cursor, 'number') ?? 0);
      const itemNumbers = await listTreeItems(pool, workspaceId, { after, until: largestNumber, limit });
      const roots = await findRoots(workspaceId, itemNumbers);
      const unique = new Map([...roots.values()].map((root) => [root.dfid, root]));
      return {
        items: [...unique.values()],
        next_cursor: itemNumbers.length === limit ? encodeCursor(String(itemNumbers.at(-1)!)) : null,
      };
    },

    /** The path from an event to the root of its item. @throws Problem not_found */
    async prove(workspaceId: string, idOrDfid: string, eventId: string) {
      const itemNumber = await items.ownNumberOf(workspaceId, idOrDfid);
      const event = isUuid(eventId) ? await findProvenEvent(pool, workspaceId, eventId) : undefined;
      const trees = await findMemberTrees(pool, workspaceId, [itemNumber]);
      const member = trees.findIndex((tree) => tree.item_number === event?.item_number);
      const leaf = event && leafHash(entryOf(event.commitment));
      const path = leaf && member >= 0 ? await pathOf(workspaceId, trees[member]!, leaf) : undefined;
      if (!leaf || !path) throw new Problem('not_found', 'the tree of this item has no such event');
      const roots = Buffer.concat(trees.map((tree) => tree.root));
      const siblings = [...path, ...siblingsIn(roots, member)];
      return {
        dfid: (await items.dfidsOf([trees[0]!.current_number])).get(trees[0]!.current_number)!,
        event_id: eventId.toLowerCase(),
        proof: {
          leaf_hash: leaf.toString('hex'),
          siblings: siblings.map(({ hash, position }) => ({
            hash: hash.toString('hex'),
            position: position === 1 ? ('Right' as const) : ('Left' as const),
          })),
          root: rootFromSiblings(leaf, siblings).toString('hex'),
        },
      };
    },

    /** Whether a path leads from its leaf to its root, and this is the one that is expected. */
    verify({ proof, expected_root: expected }: z.output<typeof verifyItemProofBody>) {
      const siblings = proof.siblings.map(({ hash, position }) => ({
        hash: Buffer.from(hash, 'hex'),
        position: position === 'Right' ? (1 as const) : (0 as const),
      }));
      const computed = rootFromSiblings(Buffer.from(proof.leaf_hash, 'hex'), siblings).toString('hex');
      if (computed !== proof.root) return { valid: false, message: 'The path leads to another root than it says.' };
      if (computed !== expected) return { valid: false, message: 'The path leads to another root than expected.' };
      return { valid: true, message: 'The path leads from the leaf to the expected root.' };
    },

    /** Compares what somebody has of items with what is here. */
    async syncCheck(workspaceId: string, { remote_items: remoteItems }: z.output<typeof syncCheckBody>) {
      const remote = remoteItems.map((item) => ({ ...item, itemNumber: itemNumberOf(item.dfid) }));
      const named = [...new Set(remote.flatMap(({ itemNumber }) => itemNumber ?? []))];
      const roots = await findRoots(workspaceId, named);
      const dfids = await items.dfidsOf([...roots.keys()]);
      const localOf = ({ dfid, itemNumber }: { dfid: string; itemNumber: number | undefined }) =>
        itemNumber !== undefined && dfids.get(itemNumber) === dfid ? roots.get(itemNumber) : undefined;
      const differing = remote.flatMap((item) => {
        const local = localOf(item);
        return local && local.merkle_root !== item.merkle_root ? [{ ...item, local }] : [];
      });
      const older = await findOlderRoots(
        workspaceId,
        differing.flatMap(({ itemNumber, event_count: eventCount, local }) =>
          eventCount !== undefined && eventCount < local.event_count && local.trees.length === 1
            ? [{ itemNumber: itemNumberOf(local.trees[0]!.dfid) ?? itemNumber!, eventCount }]
            : [],
        ),
      );
      const differingItems = differing.map((item) => ({
        dfid: item.dfid,
        local_root: item.local.merkle_root,
        remote_root: item.merkle_root,
        local_event_count: item.local.event_count,
        remote_event_count: item.event_count ?? null,
        state:
          older.get(itemNumberOf(item.local.trees[0]!.dfid)!) === item.merkle_root
            ? ('behind' as const)
            : ('differs' as const),
      }));
      const remoteOnly = remote.filter((item) => !localOf(item)).map(({ dfid }) => dfid);
      const localOnly = await findUnnamed(workspaceId, named, new Set([...roots.values()].map(({ dfid }) => dfid)));
      const inSync = differingItems.length + remoteOnly.length + localOnly.length === 0;
      return {
        in_sync: inSync,
        differing_items: differingItems,
        local_only: localOnly,
        remote_only: remoteOnly,
        message: inSync
          ? 'Both have the same.'
          : `${differingItems.length} differ, ${localOnly.length} are only here, ${remoteOnly.length} are only there.`,
      };
    },
  };

  /** Items between those that were named which were not. */
  async function findUnnamed(workspaceId: string, named: readonly number[], known: ReadonlySet<string>) {
    if (named.length === 0) return [];
    const range = { after: Math.min(...named) - 1, until: Math.max(...named), limit: named.length + localOnlyMax };
    const roots = await findRoots(workspaceId, await listTreeItems(pool, workspaceId, range));
    const dfids = new Set([...roots.values()].map(({ dfid }) => dfid));
    return [...dfids.difference(known)].slice(0, localOnlyMax);
  }

  /** From a leaf to the root of the tree that has it. */
  async function pathOf(workspaceId: string, tree: MemberTree, leaf: Buffer): Promise<Sibling[] | undefined> {
    const key = { workspace_id: workspaceId, item_number: tree.item_number };
    const pages = await findPagesAroundLeaf(pool, key, leaf);
    const page = pages.findIndex(({ leaves }) => leaves?.includes(leaf));
    const lastLeaves = pages.at(-1)?.leaves;
    if (page < 0 || !lastLeaves) return undefined;
    const index = page * pageLeaves + pages[page]!.leaves!.indexOf(leaf) / hashBytes;
    const size = (pages.length - 1) * pageLeaves + lastLeaves.length / hashBytes;
    return inclusionRanges(index, size).map((range) => ({
      hash: rootOverPages(range, pages),
      position: range[0] > index ? 1 : 0,
    }));
  }
}

/** The hash over a range of leaves, of which all but those in the page of the leaf and in the last page are whole pages. */
function rootOverPages(range: LeafRange, pages: readonly { page_root: Buffer; leaves: Buffer | null }[]): Buffer {
  return rootOfSubtrees(
    subtreesOf(range).map(({ level, index }) => {
      const leaves = 2 ** level;
      const page = Math.floor((index * leaves) / pageLeaves);
      if (leaves >= pageLeaves)
        return rootOfPerfect(
          Buffer.concat(pages.slice(page, page + leaves / pageLeaves).map((each) => each.page_root)),
        );
      const begin = index * leaves - page * pageLeaves;
      return rootOfRange(pages[page]!.leaves!, [begin, begin + leaves]);
    }),
  );
}

/** What proves one of several hashes in the tree over them. */
function siblingsIn(hashes: Buffer, index: number): Sibling[] {
  return inclusionRanges(index, hashes.length / hashBytes).map((range) => ({
    hash: rootOfRange(hashes, range),
    position: range[0] > index ? 1 : 0,
  }));
}

function showRoot(members: readonly MemberTree[], dfids: ReadonlyMap<number, string>) {
  const roots = Buffer.concat(members.map((tree) => tree.root));
  return {
    dfid: dfids.get(members[0]!.current_number)!,
    merkle_root: rootOfRange(roots, [0, members.length]).toString('hex'),
    event_count: members.reduce((sum, tree) => sum + tree.event_count, 0),
    trees: members.map((tree) => ({
      dfid: dfids.get(tree.item_number)!,
      merkle_root: tree.root.toString('hex'),
      event_count: tree.event_count,
    })),
    computed_at: new Date(Math.max(...members.map((tree) => tree.updated_at.getTime()))).toISOString(),
  };
}
