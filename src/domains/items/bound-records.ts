import { findKnownEvents } from '#domains/events/index.ts';
import { canonicalJson } from '#platform/json/canonical.ts';
import { ContentionError, type Absorption } from './absorption.ts';
import { ContributionState, type EntryOrder, type FieldHistory } from './contribution-state.ts';
import {
  findClaimOwners,
  findContributions,
  findHistory,
  findMergedItems,
  findSingleClaims,
  lockItems,
  lockMerging,
  mergeItems,
  moveClaims,
  releaseClaims,
  type ContributionRow,
  type HistoryRow,
  type NewClaim,
} from './deduplication.store.ts';
import { knownEventOf, orderOf, type GoodRecord, type ItemRows } from './item-rows.ts';
import { claimKey } from './judge-record.ts';
import {
  groupBySharedKeys,
  planResolution,
  type KnownItem,
  type PlannedItem,
  type ResolutionPlan,
} from './resolution-plan.ts';

type ContributionsOfItems = ReadonlyMap<number, readonly ContributionRow[]>;

/**
 * Resolves records that touch items which exist, under the locks of these items.
 * @throws ContentionError when an item moved before it was locked.
 */
export async function resolveBoundRecords(absorption: Absorption, bound: readonly GoodRecord[]): Promise<ItemRows> {
  const { client, context, held, writes } = absorption;
  const owners = ownersNotHeld(absorption, bound);
  const known = await lockKnownItems(absorption, bound, owners);
  const plan = planResolution(bound, {
    ownerOf: (key) => {
      const owner = owners.get(key);
      return owner === undefined ? undefined : known.items.get(owner);
    },
    ...absorption.planOptions,
  });
  const newItems = plan.items.filter((item) => item.itemNumbers.length === 0);
  const numbers = await context.takeNumbers(newItems.length);
  const numberOf = new Map(newItems.map((item, at) => [item, numbers[at]!]));
  const targetOf = (item: PlannedItem) => item.itemNumbers[0] ?? numberOf.get(item)!;
  const desired = new Map<string, NewClaim>();
  for (const item of plan.items) {
    for (const index of item.records) {
      const { claims, incoming } = bound[index]!;
      for (const key of claims) {
        if (!desired.has(key)) desired.set(key, { key, itemNumber: targetOf(item), entryId: incoming.entryId });
      }
    }
  }
  const { moved, released } = compareClaims(held, bound, desired);
  writes.add(moveClaims(client, moved), releaseClaims(client, released));

  const states = await openStates(absorption, plan, bound, known.contributionsOf);
  const knownEventKeys = await findEventKeysOfItems(absorption, plan, bound);
  const rows = absorption.startRows();
  for (const item of plan.items) {
    const isNew = item.itemNumbers.length === 0;
    rows.addItem(bound, item, { itemNumber: targetOf(item), isNew, state: states.get(item)!, knownEventKeys });
  }
  rows.addConflicts(bound, plan);
  mergePlannedItems(absorption, plan, bound, known.contributionsOf, rows);
  writes.add(...rows.write(client));
  return rows;
}

/** The owners of the records' claims that were there before this transaction. */
function ownersNotHeld({ owners, held }: Absorption, bound: readonly GoodRecord[]): Map<string, number> {
  const found = new Map<string, number>();
  for (const { claims } of bound) {
    for (const key of claims) if (!held.has(key)) found.set(key, owners.get(key)!);
  }
  return found;
}

/** Locks the items that records name and reads them again, since they may have changed while it waited. */
async function lockKnownItems(
  { client, context, held, writes }: Absorption,
  bound: readonly GoodRecord[],
  owners: ReadonlyMap<string, number>,
) {
  const keys = [...owners.keys()];
  const itemNumbers = [...new Set(owners.values())].toSorted((a, b) => a - b);
  const mayMerge = groupBySharedKeys(bound, (key) => owners.get(key)).some((group) => {
    const touched = new Set(group.flatMap((index) => bound[index]!.claims.flatMap((key) => owners.get(key) ?? [])));
    return touched.size > 1;
  });
  if (mayMerge) writes.add(lockMerging(client));
  const [locked, singleClaims, contributions, ownersNow] = await Promise.all([
    lockItems(client, itemNumbers, mayMerge),
    findSingleClaims(client, itemNumbers, context.types.singleClaimTypes),
    findContributions(client, itemNumbers),
    findClaimOwners(client, keys),
  ]);
  const mergedInto = new Map(locked.map((row) => [row.item_number, row.merged_into]));
  const isUnmoved =
    itemNumbers.every((itemNumber) => mergedInto.get(itemNumber) === null) &&
    keys.every((key) => ownersNow.get(key) === owners.get(key));
  if (!isUnmoved) throw new ContentionError();
  // Claims that this transaction took for an item are not facts yet: the plan decides whether they stay.
  const facts = singleClaims.filter((claim) => !held.has(claimKey(claim.identifier_type, claim.value)));
  const factsOf = Map.groupBy(facts, (claim) => claim.item_number);
  const contributionsOf = Map.groupBy(contributions, (row) => row.item_number);
  const items = new Map<number, KnownItem>();
  for (const itemNumber of itemNumbers) {
    items.set(itemNumber, {
      itemNumber,
      singleClaims: new Map(factsOf.get(itemNumber)?.map((claim) => [claim.identifier_type, claim.value])),
      isOursAlone: (contributionsOf.get(itemNumber) ?? []).every((row) => row.workspace_id === context.workspaceId),
    });
  }
  return { items, contributionsOf };
}

/** The held claims that the plan gives to another item or entry than they were taken for, and those that it gives to none. */
function compareClaims(
  held: ReadonlyMap<string, NewClaim>,
  bound: readonly GoodRecord[],
  desired: ReadonlyMap<string, NewClaim>,
): { moved: NewClaim[]; released: string[] } {
  const moved: NewClaim[] = [];
  const released: string[] = [];
  for (const key of new Set(bound.flatMap((record) => record.claims))) {
    const current = held.get(key);
    if (current === undefined) continue;
    const claim = desired.get(key);
    if (claim === undefined) released.push(key);
    else if (claim.itemNumber !== current.itemNumber || claim.entryId !== current.entryId) moved.push(claim);
  }
  return { moved, released };
}

/** The state of each planned item before its new records, those of items that become one already joined. */
async function openStates(
  { client, context }: Absorption,
  plan: ResolutionPlan,
  bound: readonly GoodRecord[],
  contributionsOf: ContributionsOfItems,
): Promise<Map<PlannedItem, ContributionState>> {
  const states = new Map<PlannedItem, ContributionState>();
  const needHistory: PlannedItem[] = [];
  for (const item of plan.items) {
    const state = joinedState(contributionsOf, item.itemNumbers, context.workspaceId) ?? new ContributionState();
    states.set(item, state);
    if (item.records.some((index) => state.needsHistory(orderOf(bound[index]!), bound[index]!.record)))
      needHistory.push(item);
  }
  if (needHistory.length === 0) return states;
  const numbers = needHistory.flatMap((item) => item.itemNumbers);
  const rowsOf = Map.groupBy(await findHistory(client, context.workspaceId, numbers), (row) => row.item_number);
  for (const item of needHistory) {
    states.get(item)!.useHistory(historyOf(item.itemNumbers.flatMap((itemNumber) => rowsOf.get(itemNumber) ?? [])));
  }
  return states;
}

/** What each field was, from the entries of an item. */
export function historyOf(rows: readonly HistoryRow[]): FieldHistory {
  const history = new Map<string, { order: EntryOrder; value: string }[]>();
  for (const row of rows) {
    const order = {
      entryId: row.entry_id,
      effectiveAtMicros: row.effective_at_micros,
      receivedSequence: row.received_sequence,
    };
    for (const [name, value] of Object.entries(row.fields)) {
      const values = history.get(name);
      const past = { order, value: canonicalJson(value) };
      if (values) values.push(past);
      else history.set(name, [past]);
    }
  }
  return history;
}

function joinedState(
  contributionsOf: ContributionsOfItems,
  itemNumbers: readonly number[],
  workspaceId: string,
): ContributionState | undefined {
  let joined: ContributionState | undefined;
  for (const row of itemNumbers.flatMap((itemNumber) => contributionsOf.get(itemNumber) ?? [])) {
    if (row.workspace_id !== workspaceId) continue;
    const state = ContributionState.fromStored(row.state, canonicalJson);
    if (joined) joined.mergeFrom(state);
    else joined = state;
  }
  return joined;
}

/** Submitted events that the planned items have, as `knownEventOf` spells them. */
async function findEventKeysOfItems(
  { client, context }: Absorption,
  plan: ResolutionPlan,
  bound: readonly GoodRecord[],
): Promise<Set<string>> {
  const keys = bound.flatMap((record) => record.record.events.flatMap((event) => event.eventKey ?? []));
  if (keys.length === 0) return new Set();
  const currentNumbers = new Map<number, number>();
  for (const { itemNumbers } of plan.items) {
    for (const itemNumber of itemNumbers) currentNumbers.set(itemNumber, itemNumbers[0]!);
  }
  // Events stay with the item that they were sent for when it becomes another.
  for (const member of await findMergedItems(client, [...currentNumbers.keys()])) {
    currentNumbers.set(member.item_number, currentNumbers.get(member.merged_into)!);
  }
  const known = await findKnownEvents(client, context.workspaceId, [...currentNumbers.keys()], keys);
  return new Set(known.map((event) => knownEventOf(currentNumbers.get(event.item_number)!, event.event_key)));
}

/** Merges the items that the plan joins, tells all who contributed to them, and joins what the others know. */
function mergePlannedItems(
  { client, context, writes }: Absorption,
  plan: ResolutionPlan,
  bound: readonly GoodRecord[],
  contributionsOf: ContributionsOfItems,
  rows: ItemRows,
): void {
  const { workspaceId } = context;
  const workspacesOf = (numbers: readonly number[]) =>
    numbers.flatMap((number) => contributionsOf.get(number) ?? []).map((row) => row.workspace_id);
  for (const { itemNumbers, joins } of plan.items) {
    const [current, ...merged] = itemNumbers;
    if (current === undefined || merged.length === 0) continue;
    const participants = new Set([workspaceId, ...workspacesOf(itemNumbers)]);
    for (const { record, survivor, losers } of joins) {
      if (survivor === undefined || losers.length === 0) continue;
      const linking = bound[record]!;
      const { entryId } = linking.incoming;
      writes.add(mergeItems(client, { survivor, losers, workspaceId, entryId }));
      const payload = JSON.stringify({ merged_items: losers.length });
      for (const participant of participants)
        rows.addSystemEvent(current, linking, 'item_merged', payload, participant);
    }
    for (const other of new Set(workspacesOf(merged))) {
      if (other === workspaceId) continue;
      const state = joinedState(contributionsOf, itemNumbers, other)!.toJson();
      rows.contributions.push({ itemNumber: current, workspaceId: other, state, isNewVersion: true });
    }
  }
}
