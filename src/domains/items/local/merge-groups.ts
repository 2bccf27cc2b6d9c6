import { Problem } from '#platform/errors.ts';
import { makeId } from '#platform/ids.ts';
import type { Queryable } from '#platform/database.ts';
import { foldGroup, type LocalContent, type LocalFold, type MergeStrategy } from './local-item-fold.ts';
import {
  findGroupContents,
  findMemberIds,
  insertDecisions,
  lockGroups,
  moveBelow,
  takeOut,
  updateFolds,
  type MemberRow,
} from './local-item-merges.store.ts';
import { deleteLocalIdentifiers, insertLocalIdentifiers, takeSequence } from './local-items.store.ts';
import { GroupMovedError } from './until-unmoved.ts';

/** What one group may hold: it is folded in memory, in the time of one request. */
const groupMembersMax = 1000;
const groupBytesMax = 4_194_304;
const groupDepthMax = 32;

/** Who decides, for which workspace. */
export interface Decider {
  readonly workspaceId: string;
  readonly credentialId: string;
}

/** Which local items are to be merged into which. */
export interface MergeOrder {
  readonly masterId: string;
  /** In the order in which their values are taken in. */
  readonly memberIds: readonly string[];
}

/** Why an order cannot be carried out as things stand; undefined when it can. */
export function findMergeFault(order: MergeOrder, rows: readonly MemberRow[]): Problem | undefined {
  const { masterId, memberIds } = order;
  const byId = new Map(rows.map((row) => [row.local_id, row]));
  for (const localId of [masterId, ...memberIds]) {
    const row = byId.get(localId);
    if (!row) return new Problem('not_found', `your workspace has no local item ${localId}`);
    if (row.merged_into !== null)
      return new Problem('local_item_merged', `local item ${localId} is merged into ${row.merged_into}`);
    if (row.is_tokenized) return new Problem('local_item_tokenized', `local item ${localId} has its DFID`);
  }
  if (memberIds.includes(masterId))
    return new Problem('local_master_among_merged', 'master_lid stands among merge_lids too');
  const roots = new Set([masterId, ...memberIds]);
  const group = rows.filter((row) => roots.has(rootOf(row)));
  const bytes = group.reduce((sum, row) => sum + row.content_bytes, 0);
  const heights = measureHeights(group);
  const height = Math.max(heights.get(masterId)!, ...memberIds.map((localId) => heights.get(localId)! + 1));
  if (group.length <= groupMembersMax && bytes <= groupBytesMax && height <= groupDepthMax) return undefined;
  return new Problem(
    'local_group_too_large',
    `merged local items are at most ${groupMembersMax}, with ${groupBytesMax} bytes and ${groupDepthMax} merges on top of each other`,
  );
}

function rootOf(row: MemberRow): string {
  return row.merged_into ?? row.local_id;
}

/** How many merges lie on top of each other below each member. */
function measureHeights(rows: readonly MemberRow[]): Map<string, number> {
  const heights = new Map(rows.map((row) => [row.local_id, 0]));
  const parents = new Map(rows.map((row) => [row.local_id, row.parent_id]));
  for (const { local_id: leaf } of rows) {
    let height = 0;
    for (let at = parents.get(leaf); at != null; at = parents.get(at)) {
      height += 1;
      // Whatever lies above was counted from here before.
      if (heights.get(at)! >= height) break;
      heights.set(at, height);
    }
  }
  return heights;
}

/**
 * Merges groups of local items in a transaction: locks them all, carries out what can be, and says for each order what
 * prevented it. The orders have no local item in common.
 * @throws GroupMovedError
 */
export async function mergeGroups(
  client: Queryable,
  { workspaceId, credentialId }: Decider,
  orders: readonly MergeOrder[],
  strategy: MergeStrategy,
): Promise<(Problem | undefined)[]> {
  const rows = await lockUnmoved(
    client,
    workspaceId,
    orders.flatMap((order) => [order.masterId, ...order.memberIds]),
  );
  const faults = orders.map((order) => findMergeFault(order, rowsOf(order, rows)));
  const possible = orders.filter((_order, at) => faults[at] === undefined);
  const memberIds = possible.flatMap((order) => order.memberIds);
  if (memberIds.length === 0) return faults;
  const places = (await takeSequence(client, memberIds.length)).values();
  const merges = possible.flatMap(({ masterId, memberIds: members }) =>
    members.map((localId) => ({ localId, masterId, strategy, order: places.next().value! })),
  );
  await moveBelow(client, workspaceId, merges);
  const decisions = possible.flatMap(({ masterId, memberIds: members }) => {
    const decisionId = makeId();
    return members.map((localId) => ({ decisionId, kind: 'merge' as const, masterId, localId, strategy }));
  });
  await insertDecisions(client, workspaceId, credentialId, decisions);
  await deleteLocalIdentifiers(client, workspaceId, memberIds);
  await refold(
    client,
    workspaceId,
    possible.map((order) => order.masterId),
  );
  return faults;
}

function rowsOf({ masterId, memberIds }: MergeOrder, rows: ReadonlyMap<string, readonly MemberRow[]>): MemberRow[] {
  return [...new Set([masterId, ...memberIds])].flatMap((localId) => rows.get(localId) ?? []);
}

/** Locks whole groups. What was read under the locks is what is there: nothing joined the groups meanwhile. */
async function lockUnmoved(
  client: Queryable,
  workspaceId: string,
  localIds: readonly string[],
): Promise<Map<string, MemberRow[]>> {
  const rows = await lockGroups(client, workspaceId, localIds);
  const locked = new Set(rows.map((row) => row.local_id));
  const members = await findMemberIds(client, workspaceId, localIds);
  if (!members.every((localId) => locked.has(localId))) throw new GroupMovedError();
  // A member that was named itself belongs to a group that was not asked for; what is said of it is found under its own id.
  const named = new Set(localIds);
  return Map.groupBy(rows, (row) => (named.has(row.local_id) ? row.local_id : rootOf(row)));
}

/**
 * Takes a local item out of its group in a transaction, with what was merged into it before; both sides become what they
 * would be if it had never been there.
 * @param rootId the root of its group when it was looked at.
 * @throws GroupMovedError when it is in another group now.
 * @throws Problem local_item_tokenized
 */
export async function unmergeItem(
  client: Queryable,
  { workspaceId, credentialId }: Decider,
  localId: string,
  rootId: string,
): Promise<void> {
  const rows = [...(await lockUnmoved(client, workspaceId, [rootId])).values()].flat();
  const item = rows.find((row) => row.local_id === localId);
  if (item?.merged_into !== rootId || item.parent_id === null) throw new GroupMovedError();
  if (rows.some((row) => row.is_tokenized))
    throw new Problem('local_item_tokenized', `local item ${rootId} has its DFID, with all that is merged into it`);
  await takeOut(client, workspaceId, localId, findBelow(localId, rows));
  const decision = { decisionId: makeId(), kind: 'unmerge' as const, masterId: item.parent_id, localId };
  await insertDecisions(client, workspaceId, credentialId, [{ ...decision, strategy: item.merge_strategy! }]);
  await refold(client, workspaceId, [rootId, localId]);
}

/** All that hangs below an item, at whatever depth. */
function findBelow(localId: string, rows: readonly MemberRow[]): string[] {
  const children = Map.groupBy(rows, (row) => row.parent_id);
  const below: string[] = [];
  for (let level = [localId]; level.length > 0;) {
    level = level.flatMap((parent) => (children.get(parent) ?? []).map((row) => row.local_id));
    below.push(...level);
  }
  return below;
}

/** Computes anew what roots know from what they and their members brought, and by which identifiers they are found. */
async function refold(client: Queryable, workspaceId: string, rootIds: readonly string[]): Promise<void> {
  const rows = await findGroupContents(client, workspaceId, rootIds);
  const groups = [...Map.groupBy(rows, rootOf)].map(([rootId, group]) => ({
    rootId,
    isAlone: group.length === 1,
    valueChain: group.find((row) => row.local_id === rootId)!.value_chain,
    fold: foldGroup(
      rootId,
      group.map((row) => ({
        localId: row.local_id,
        content: row.content,
        merge:
          row.parent_id === null
            ? null
            : { parentId: row.parent_id, strategy: row.merge_strategy!, order: row.merge_order! },
      })),
    ),
  }));
  await updateFolds(
    client,
    workspaceId,
    groups.map(({ rootId, isAlone, fold }) => ({ localId: rootId, folded: isAlone ? null : JSON.stringify(fold) })),
  );
  await deleteLocalIdentifiers(client, workspaceId, rootIds);
  await insertLocalIdentifiers(
    client,
    workspaceId,
    groups.flatMap(({ rootId, valueChain, fold }) =>
      identifyingOf(fold).map((identifier) => ({ ...identifier, localId: rootId, valueChain })),
    ),
  );
}

/** The identifiers of a content by which duplicates are found: those that identify an item in all workspaces. */
export function identifyingOf(content: LocalContent | LocalFold): { identifierType: string; value: string }[] {
  return content.identifiers
    .filter(([, , , , isCanonical]) => isCanonical === 1)
    .map(([, , identifierType, value]) => ({ identifierType, value }));
}
