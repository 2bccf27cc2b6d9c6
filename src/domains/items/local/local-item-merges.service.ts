import { withTransaction, type Database, type Queryable } from '#platform/database.ts';
import { Problem } from '#platform/errors.ts';
import { decodeCursor, encodeCursor } from '#platform/page.ts';
import type { TypeRegistry } from '../type-registry.ts';
import type { ValueChain } from '../value-chain.ts';
import {
  findConflictingFields,
  findConflictingIdentifiers,
  groupDuplicates,
  type DuplicateGroup,
  type SharedIdentifier,
} from './duplicate-groups.ts';
import type { LocalContent, MergeStrategy } from './local-item-fold.ts';
import {
  findAge,
  findGroups,
  findIdentifiersOf,
  findSharedIdentifiers,
  readContents,
} from './local-item-merges.store.ts';
import { findLink, findLocalItems } from './local-items.store.ts';
import {
  findMergeFault,
  identifyingOf,
  mergeGroups,
  unmergeItem,
  type Decider,
  type MergeOrder,
} from './merge-groups.ts';
import { showLocalItem, statusOf } from './show-local-item.ts';
import { untilUnmoved } from './until-unmoved.ts';

interface LocalItemMergesServiceOptions {
  database: Database;
  loadTypes(): Promise<TypeRegistry>;
}

/** What one look at duplicates takes in: pairs of a local item and an identifier that others have too. */
const sharedMax = { values: 10_000, rows: 20_000 };
const comparedBytesMax = 16_777_216;
/** Items and bytes that one transaction of `organize` merges. */
const organizedAtOnce = { items: 500, bytes: 4_194_304 };
/** Items that one request merges. */
const organizedMax = 5000;

/** What `organize` is asked for. */
export interface OrganizeRequest {
  readonly action: 'deduplicate' | 'merge_all';
  readonly isDryRun: boolean;
  readonly strategy: MergeStrategy;
  readonly valueChain: ValueChain | undefined;
}

interface SkippedGroup {
  readonly local_ids: readonly string[];
  readonly reason: string;
  readonly detail: string;
}

export type LocalItemMergesService = ReturnType<typeof makeLocalItemMergesService>;

/** Finds local items that were collected of the same thing, merges them, and takes them apart again. */
export function makeLocalItemMergesService({ database, loadTypes }: LocalItemMergesServiceOptions) {
  const { pool } = database;

  const merge = (decider: Decider, orders: readonly MergeOrder[], strategy: MergeStrategy) =>
    untilUnmoved(() => withTransaction(pool, (client) => mergeGroups(client, decider, orders, strategy)));

  const show = async (workspaceId: string, localIds: readonly string[]) => {
    const rows = await findLocalItems(pool, workspaceId, localIds);
    return localIds.map((localId) => rows.get(localId)!);
  };

  /** The groups that can be merged as things stand, and why the others cannot. */
  const plan = async (workspaceId: string, groups: readonly DuplicateGroup[], action: OrganizeRequest['action']) => {
    const localIds = groups.flatMap((group) => group.localIds);
    const contradicting =
      action === 'deduplicate'
        ? await findContradicting(pool, workspaceId, groups, (await loadTypes()).singleClaimTypes)
        : new Set();
    const rows = Map.groupBy(await findGroups(pool, workspaceId, localIds), (row) => row.merged_into ?? row.local_id);
    const orders: (MergeOrder & { bytes: number })[] = [];
    const skipped: SkippedGroup[] = [];
    for (const group of groups) {
      const [masterId, ...memberIds] = group.localIds;
      const members = group.localIds.flatMap((localId) => rows.get(localId) ?? []);
      const fault = contradicting.has(group)
        ? new Problem('identifier_conflict', 'its identifiers contradict each other; merge_all merges it nevertheless')
        : findMergeFault({ masterId: masterId!, memberIds }, members);
      if (fault) skipped.push(skippedGroup(group.localIds, fault));
      else
        orders.push({
          masterId: masterId!,
          memberIds,
          bytes: members.reduce((sum, row) => sum + row.content_bytes, 0),
        });
    }
    return { orders, skipped };
  };

  return {
    /** A page of groups of local items that share identifiers, and what they disagree about. */
    async findDuplicates(
      workspaceId: string,
      { namespace, limit, cursor }: { namespace?: ValueChain | undefined; limit: number; cursor?: string | undefined },
    ) {
      const after = decodeCursor(cursor, 'uuid');
      const { shared, isComplete } = await findSharedIdentifiers(pool, workspaceId, namespace, sharedMax);
      const groups = groupDuplicates(shared);
      const rest = after === undefined ? groups : await groupsAfter(pool, workspaceId, groups, shared, after);
      const { shown, isLast } = await describeGroups(
        pool,
        workspaceId,
        rest.slice(0, limit),
        (await loadTypes()).singleClaimTypes,
      );
      const items = groups.reduce((sum, group) => sum + group.localIds.length, 0);
      const hasMore = !isLast || rest.length > limit;
      return {
        groups: shown,
        summary: {
          total_groups: groups.length,
          total_items: items,
          total_duplicates: items - groups.length,
          is_complete: isComplete,
        },
        count: shown.length,
        next_cursor: hasMore ? encodeCursor(shown.at(-1)!.suggested_master) : null,
      };
    },

    /** @throws Problem not_found, local_item_merged, local_item_tokenized, local_master_among_merged, local_group_too_large */
    async merge(decider: Decider, masterId: string, memberIds: readonly string[], strategy: MergeStrategy) {
      const members = [...new Set(memberIds)];
      const [fault] = await merge(decider, [{ masterId, memberIds: members }], strategy);
      if (fault) throw fault;
      const [master] = await show(decider.workspaceId, [masterId]);
      return {
        master_lid: masterId,
        merged_lids: members,
        merge_strategy: strategy,
        status: statusOf(master!),
        master: showLocalItem(master!),
      };
    },

    /** @throws Problem not_found, local_item_not_merged, local_item_tokenized */
    async unmerge(decider: Decider, localId: string) {
      const masterId = await untilUnmoved(async () => {
        const link = await findLink(pool, decider.workspaceId, localId);
        if (!link) throw new Problem('not_found', `your workspace has no local item ${localId}`);
        const rootId = link.merged_into;
        if (rootId === null) throw new Problem('local_item_not_merged', `local item ${localId} is not merged`);
        await withTransaction(pool, (client) => unmergeItem(client, decider, localId, rootId));
        return rootId;
      });
      const [unmerged, master] = await show(decider.workspaceId, [localId, masterId]);
      return {
        local_id: localId,
        status: statusOf(unmerged!),
        master_lid: masterId,
        unmerged: showLocalItem(unmerged!),
        master: showLocalItem(master!),
      };
    },

    /** Merges each group of duplicates into its oldest, some groups in each transaction, or says what it would do. */
    async organize(decider: Decider, { action, isDryRun, strategy, valueChain }: OrganizeRequest) {
      const { workspaceId } = decider;
      const { shared, isComplete } = await findSharedIdentifiers(pool, workspaceId, valueChain, sharedMax);
      const groups = groupDuplicates(shared);
      const { orders: possible, skipped } = await plan(workspaceId, groups, action);
      const orders = takeOrders(possible);
      const merged: MergeOrder[] = [];
      for (const batch of isDryRun ? [orders] : splitOrders(orders)) {
        const faults = isDryRun ? [] : await merge(decider, batch, strategy);
        for (const [at, order] of batch.entries()) {
          const fault = faults[at];
          if (fault) skipped.push(skippedGroup([order.masterId, ...order.memberIds], fault));
          else merged.push(order);
        }
      }
      return {
        action,
        dry_run: isDryRun,
        merge_strategy: strategy,
        groups_found: groups.length,
        groups_merged: merged.length,
        items_merged: merged.reduce((sum, order) => sum + order.memberIds.length, 0),
        merges: merged.map(({ masterId, memberIds }) => ({ master_lid: masterId, merged_lids: memberIds })),
        skipped,
        is_complete: isComplete && orders.length === possible.length,
      };
    },
  };
}

function skippedGroup(localIds: readonly string[], fault: Problem): SkippedGroup {
  return { local_ids: localIds, reason: fault.code, detail: fault.message };
}

/** The groups whose members have several identifiers of a type of which one thing has one. */
async function findContradicting(
  queryable: Queryable,
  workspaceId: string,
  groups: readonly DuplicateGroup[],
  singleTypes: ReadonlySet<string>,
): Promise<Set<unknown>> {
  const rows = await findIdentifiersOf(
    queryable,
    workspaceId,
    groups.flatMap((group) => group.localIds),
  );
  const byItem = Map.groupBy(rows, (row) => row.local_id);
  const isContradicting = ({ localIds }: DuplicateGroup) => {
    const named = localIds.flatMap((localId) =>
      (byItem.get(localId) ?? []).map((row) => ({ localId, identifierType: row.identifier_type, value: row.value })),
    );
    return findConflictingIdentifiers(named, singleTypes).length > 0;
  };
  return new Set(groups.filter(isContradicting));
}

/** The groups whose oldest member is younger than the one that a page ended with. */
async function groupsAfter(
  queryable: Queryable,
  workspaceId: string,
  groups: readonly DuplicateGroup[],
  shared: readonly SharedIdentifier[],
  after: string,
): Promise<readonly DuplicateGroup[]> {
  const last = await findAge(queryable, workspaceId, after);
  if (!last) return [];
  const ages = new Map(shared.map((item) => [item.localId, item]));
  return groups.filter(({ localIds }) => {
    const { collectedAtMicros, sequence } = ages.get(localIds[0]!)!;
    return (collectedAtMicros - last.collected_at_micros || sequence - last.sequence) > 0;
  });
}

/** Groups with what their members disagree about: as many as can be read at once, but one at least. */
async function describeGroups(
  queryable: Queryable,
  workspaceId: string,
  groups: readonly DuplicateGroup[],
  singleTypes: ReadonlySet<string>,
) {
  const rows = await readContents(
    queryable,
    workspaceId,
    groups.flatMap((group) => group.localIds),
    comparedBytesMax,
  );
  const contents = new Map<string, LocalContent>(rows.map((row) => [row.local_id, row.content]));
  const isRead = ({ localIds }: DuplicateGroup) => localIds.every((localId) => contents.has(localId));
  const firstUnread = groups.findIndex((group) => !isRead(group));
  const readable = firstUnread === -1 ? groups : groups.slice(0, Math.max(firstUnread, 1));
  const shown = readable.map((group) => {
    const members = group.localIds.flatMap((localId) => {
      const content = contents.get(localId);
      return content ? [{ localId, content }] : [];
    });
    const identifiers = members.flatMap(({ localId, content }) =>
      identifyingOf(content).map((identifier) => ({ ...identifier, localId })),
    );
    return {
      suggested_master: group.localIds[0]!,
      local_ids: group.localIds,
      shared_identifiers: group.sharedIdentifiers.map(({ identifierType, value, localIds }) => ({
        identifier_type: identifierType,
        value,
        local_ids: localIds,
      })),
      conflicting_fields: findConflictingFields(members),
      conflicting_identifiers: findConflictingIdentifiers(identifiers, singleTypes),
      is_complete: isRead(group),
    };
  });
  return { shown, isLast: readable.length === groups.length };
}

/** As many orders as one request carries out. */
function takeOrders<Order extends MergeOrder>(orders: readonly Order[]): readonly Order[] {
  let items = 0;
  const end = orders.findIndex((order) => (items += order.memberIds.length + 1) > organizedMax);
  return end === -1 ? orders : orders.slice(0, end);
}

/** Orders in portions that one transaction can carry out. */
function splitOrders(orders: readonly (MergeOrder & { bytes: number })[]): MergeOrder[][] {
  const batches: MergeOrder[][] = [];
  let items = Number.POSITIVE_INFINITY;
  let bytes = 0;
  for (const order of orders) {
    items += order.memberIds.length + 1;
    bytes += order.bytes;
    if (items > organizedAtOnce.items || bytes > organizedAtOnce.bytes) {
      batches.push([]);
      items = order.memberIds.length + 1;
      bytes = order.bytes;
    }
    batches.at(-1)!.push(order);
  }
  return batches;
}
