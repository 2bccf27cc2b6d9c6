import { findKnownEvents, markEventsRepeatedByMerge } from '#domains/events/index.ts';
import { canonicalJson } from '#platform/json/canonical.ts';
import { ContentionError, decisionOn, ownersOf, type Absorption } from './absorption.ts';
import { ContributionState } from './contribution-state.ts';
import {
  findContributions,
  findContributorIds,
  findOwnContributions,
  findStrangers,
  type ContributionRow,
  type StrangersRow,
} from './contributors.store.ts';
import {
  endClaims,
  findClaimsOfItems,
  findItemNames,
  findMergedItems,
  findSeparations,
  insertWorkspaceClaims,
  lockItems,
  lockMerging,
  mergeItems,
  moveClaims,
  releaseClaims,
  type ClaimEnd,
  type ItemClaim,
  type NewClaim,
} from './deduplication.store.ts';
import { recallFieldHistory } from './field-history.ts';
import { dfidOf } from './item-names.ts';
import { knownEventOf, orderOf, type GoodRecord, type ItemRows } from './item-rows.ts';
import { claimKey } from './judge-record.ts';
import {
  groupBySharedKeys,
  planResolution,
  type Contributor,
  type KnownItem,
  type PlannedItem,
  type RememberedDecision,
  type ResolutionPlan,
} from './resolution-plan.ts';
import { unknownLife } from './record-times.ts';
import { lifeOfStored } from './stored-record.ts';

type ContributionsOfItems = ReadonlyMap<number, readonly ContributionRow[]>;

/**
 * Resolves records that touch items which exist, under the locks of these items.
 * @throws ContentionError when an item moved before it was locked.
 */
export async function resolveBoundRecords(absorption: Absorption, bound: readonly GoodRecord[]): Promise<ItemRows> {
  const { client, context, held, privateOwners, writes } = absorption;
  const owned = ownersBefore(absorption, bound);
  const decisionAt = (index: number) => decisionOn(absorption, bound[index]!);
  const known = await lockKnownItems(absorption, bound, owned, decisionAt);
  const plan = planResolution(bound, {
    ownersOf: (key) => ownersOf(owned, key).map((itemNumber) => known.items.get(itemNumber)!),
    decisionOn: decisionAt,
    knownItem: (itemNumber) => known.items.get(itemNumber),
    ...absorption.planOptions,
  });
  const newItems = plan.items.filter((item) => item.itemNumbers.length === 0);
  const numbers = await context.takeNumbers(newItems.length);
  const numberOf = new Map(newItems.map((item, at) => [item, numbers[at]!]));
  const targetOf = (item: PlannedItem) => item.itemNumbers[0] ?? numberOf.get(item)!;
  const { shared, ownAlone } = claimsOfPlan(plan, bound, owned, targetOf);
  const { moved, released } = compareClaims(held, bound, shared);
  writes.add(moveClaims(client, moved), releaseClaims(client, released));
  writes.add(insertWorkspaceClaims(client, context.workspaceId, [...ownAlone.values()]));
  writes.add(endClaims(client, context.workspaceId, endsOfPlan(plan, bound)));
  for (const claim of moved) held.set(claim.key, claim);
  for (const key of released) held.delete(key);
  for (const { key, itemNumber } of ownAlone.values()) privateOwners.set(key, itemNumber);

  const [participantsOf, contributionsOf] = await findParticipants(absorption, plan);
  const states = await openStates(absorption, plan, bound, known.ownContributionsOf);
  const knownEventKeys = await findEventKeysOfItems(absorption, plan, bound);
  const rows = absorption.startRows();
  for (const item of plan.items) {
    const isNew = item.itemNumbers.length === 0;
    rows.addItem(bound, item, { itemNumber: targetOf(item), isNew, state: states.get(item)!, knownEventKeys });
  }
  rows.addConflicts(bound, plan, targetOf);
  absorption.addFindings(bound, plan, targetOf, participantsOf);
  await mergePlannedItems(absorption, plan, bound, contributionsOf, rows);
  absorption.write(rows);
  return rows;
}

type OwnersBefore = Pick<Absorption, 'owners' | 'privateOwners'>;

/** The owners of the records' claims that were there before this transaction. */
function ownersBefore({ owners, privateOwners, held }: Absorption, bound: readonly GoodRecord[]): OwnersBefore {
  const before: OwnersBefore = { owners: new Map(), privateOwners: new Map() };
  for (const { claims } of bound) {
    for (const key of claims) {
      const owner = owners.get(key);
      const privateOwner = privateOwners.get(key);
      if (owner !== undefined && !held.has(key)) before.owners.set(key, owner);
      if (privateOwner !== undefined) before.privateOwners.set(key, privateOwner);
    }
  }
  return before;
}

/** Locks the items that records name and reads them again, since they may have changed while it waited. */
async function lockKnownItems(
  { client, context, held, writes }: Absorption,
  bound: readonly GoodRecord[],
  owned: OwnersBefore,
  decisionAt: (index: number) => RememberedDecision | undefined,
) {
  const decided = bound.flatMap((_record, index) => decisionAt(index)?.itemNumber ?? []);
  const itemNumbers = [...new Set([...owned.owners.values(), ...owned.privateOwners.values(), ...decided])].toSorted(
    (a, b) => a - b,
  );
  const mayMerge = groupBySharedKeys(bound, (key) => ownersOf(owned, key)).some((group) => {
    const touched = new Set(group.flatMap(({ claims }) => claims.flatMap((key) => ownersOf(owned, key))));
    return touched.size > 1;
  });
  if (mayMerge) writes.add(lockMerging(client));
  const [locked, claims, ownContributions, strangers, separations] = await Promise.all([
    lockItems(client, itemNumbers, mayMerge),
    findClaimsOfItems(client, context.workspaceId, itemNumbers),
    findOwnContributions(client, context.workspaceId, itemNumbers),
    findStrangers(client, context.workspaceId, itemNumbers),
    mayMerge ? findSeparations(client, itemNumbers) : [],
  ]);
  const mergedInto = new Map(locked.map((row) => [row.item_number, row.merged_into]));
  const isUnmoved = itemNumbers.every((itemNumber) => mergedInto.get(itemNumber) === null) && areOwned(owned, claims);
  if (!isUnmoved) throw new ContentionError();
  // Claims that this transaction took for an item are not facts yet: the plan decides whether they stay.
  const facts = claims.filter(({ key }) => !held.has(key));
  const factsOf = Map.groupBy(facts, (claim) => claim.itemNumber);
  const ownContributionsOf = Map.groupBy(ownContributions, (row) => row.item_number);
  const strangersOf = Map.groupBy(strangers, (row) => row.item_number);
  const separatedFrom = separationsOf(separations);
  const vouched = new Set(locked.filter((row) => row.is_vouched).map((row) => row.item_number));
  const items = new Map<number, KnownItem>();
  for (const itemNumber of itemNumbers) {
    const ofItem = factsOf.get(itemNumber) ?? [];
    const own = ownContributionsOf.get(itemNumber) ?? [];
    const others = contributorsOf(strangersOf.get(itemNumber) ?? [], own);
    items.set(itemNumber, {
      itemNumber,
      singleClaims: groupSingleClaims(ofItem, context.types.singleClaimTypes),
      ended: endedKeysOf(ofItem),
      life: own[0] ? lifeOfStored(own[0].state) : unknownLife,
      claimCount: ofItem.length,
      contributors: others.length > 0 && vouched.has(itemNumber) ? [...others, vouching(ofItem)] : others,
      separatedFrom: separatedFrom.get(itemNumber) ?? new Set(),
    });
  }
  return { items, ownContributionsOf };
}

/** Whether all owners from before are among the claims that their items have now. A key has one owner of each kind. */
function areOwned({ owners, privateOwners }: OwnersBefore, claims: readonly ItemClaim[]): boolean {
  let owned = 0;
  for (const { key, itemNumber, isPrivate } of claims) {
    if ((isPrivate ? privateOwners : owners).get(key) === itemNumber) owned += 1;
  }
  return owned === owners.size + privateOwners.size;
}

function groupSingleClaims(
  claims: readonly ItemClaim[],
  singleClaimTypes: ReadonlySet<string>,
): Map<string, Set<string>> {
  const singleClaims = new Map<string, Set<string>>();
  for (const { claimType, value } of claims) {
    if (!singleClaimTypes.has(claimType)) continue;
    const values = singleClaims.get(claimType);
    if (values) values.add(value);
    else singleClaims.set(claimType, new Set([value]));
  }
  return singleClaims;
}

function endedKeysOf(claims: readonly ItemClaim[]): ReadonlySet<string> {
  return new Set(claims.flatMap(({ key, isEnded }) => (isEnded ? [key] : [])));
}

/** Who named what of an item; nobody when it is the workspace's alone, as most items are. */
function contributorsOf(strangers: readonly StrangersRow[], own: readonly ContributionRow[]): Contributor[] {
  if (strangers.length === 0) return [];
  const ours = own.map(({ state }): Contributor => ({
    keys: new Set(
      state.identifiers.flatMap(([, , claimType, value, isCanonical]) =>
        isCanonical === 1 ? [claimKey(claimType, value)] : [],
      ),
    ),
    isOurs: true,
    // Our own word counts for us, trusted or not.
    isTrusted: false,
  }));
  const isAlone = own.length === 0 && strangers.length === 1 && strangers[0]!.workspace_count === 1;
  const theirs = strangers.map(({ claims, is_trusted: isTrusted, ...life }): Contributor => ({
    keys: new Set(claims.map(([claimType, value]) => claimKey(claimType, value))),
    isOurs: false,
    isTrusted,
    isAlone,
    life: { endedAtMicros: life.ended_at_micros, latestMicros: life.latest_micros },
  }));
  return [...ours, ...theirs];
}

/** The word of a person that all identifiers of an item belong together. */
function vouching(claims: readonly ItemClaim[]): Contributor {
  const keys = new Set(claims.map(({ key }) => key));
  return { keys, isOurs: false, isTrusted: true };
}

function separationsOf(pairs: readonly { one: number; other: number }[]): Map<number, Set<number>> {
  const separated = new Map<number, Set<number>>();
  const separate = (one: number, other: number) => {
    const known = separated.get(one);
    if (known) known.add(other);
    else separated.set(one, new Set([other]));
  };
  for (const { one, other } of pairs) {
    separate(one, other);
    separate(other, one);
  }
  return separated;
}

/** The claims that the plan gives to items: for all, and for the workspace alone where others contributed. */
function claimsOfPlan(
  plan: ResolutionPlan,
  bound: readonly GoodRecord[],
  owned: OwnersBefore,
  targetOf: (item: PlannedItem) => number,
) {
  const shared = new Map<string, NewClaim>();
  const ownAlone = new Map<string, NewClaim>();
  for (const item of plan.items) {
    for (const index of item.records) {
      const { claims, incoming } = bound[index]!;
      for (const key of claims) {
        if (ownersOf(owned, key).length > 0) continue;
        const given = item.isGuarded ? ownAlone : shared;
        if (!given.has(key)) given.set(key, { key, itemNumber: targetOf(item), entryId: incoming.entryId });
      }
    }
  }
  return { shared, ownAlone };
}

/** What the plan lets records end: on items of others only what is ended before, so that there is nothing to write. */
function endsOfPlan(plan: ResolutionPlan, bound: readonly GoodRecord[]): ClaimEnd[] {
  return plan.items.flatMap(({ isGuarded, records }) =>
    isGuarded
      ? []
      : records.flatMap((index) =>
          bound[index]!.ended.map((end) => ({ ...end, entryId: bound[index]!.incoming.entryId })),
        ),
  );
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

/** The workspaces that contributed to contested items, and what all know of items that become one. */
async function findParticipants(
  { client }: Absorption,
  plan: ResolutionPlan,
): Promise<[participantsOf: (itemNumber: number) => readonly string[], contributionsOf: ContributionsOfItems]> {
  const contested = [...plan.conflicts.values()].flatMap((conflict) => conflict.contested);
  const merging = plan.items.filter(({ itemNumbers }) => itemNumbers.length > 1);
  const numbersOf = (items: readonly PlannedItem[]) => [...new Set(items.flatMap(({ itemNumbers }) => itemNumbers))];
  const [contributors, contributions] = await Promise.all([
    findContributorIds(client, numbersOf(contested)),
    findContributions(client, numbersOf(merging)),
  ]);
  const idsOf = Map.groupBy(contributors, (row) => row.item_number);
  return [
    (itemNumber) => (idsOf.get(itemNumber) ?? []).map((row) => row.workspace_id),
    Map.groupBy(contributions, (row) => row.item_number),
  ];
}

/** The state of each planned item before its new records, those of items that become one already joined. */
async function openStates(
  { client, context }: Absorption,
  plan: ResolutionPlan,
  bound: readonly GoodRecord[],
  contributionsOf: ContributionsOfItems,
): Promise<Map<PlannedItem, ContributionState>> {
  const states = new Map(
    plan.items.map((item): [PlannedItem, ContributionState] => [
      item,
      joinedState(contributionsOf, item.itemNumbers, context.workspaceId) ?? new ContributionState(),
    ]),
  );
  const recollections = [...states].map(([item, state]) => {
    const entries = item.records.map((index) => ({ order: orderOf(bound[index]!), content: bound[index]!.record }));
    return { state, itemNumbers: item.itemNumbers, entries };
  });
  await recallFieldHistory(client, context.workspaceId, recollections);
  return states;
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
async function mergePlannedItems(
  { client, context, findings, writes }: Absorption,
  plan: ResolutionPlan,
  bound: readonly GoodRecord[],
  contributionsOf: ContributionsOfItems,
  rows: ItemRows,
): Promise<void> {
  const { workspaceId } = context;
  const workspacesOf = (numbers: readonly number[]) =>
    numbers.flatMap((number) => contributionsOf.get(number) ?? []).map((row) => row.workspace_id);
  const merging = plan.items.filter(({ itemNumbers }) => itemNumbers.length > 1);
  if (merging.length === 0) return;
  const names = await findItemNames(
    client,
    merging.flatMap(({ itemNumbers }) => itemNumbers),
  );
  for (const { itemNumbers, joins } of merging) {
    const current = itemNumbers[0]!;
    const participants = new Set([workspaceId, ...workspacesOf(itemNumbers)]);
    findings.push({ entryId: undefined, keys: [], itemNumbers, participants: [...participants] });
    for (const { record, survivor, losers } of joins) {
      if (survivor === undefined || losers.length === 0) continue;
      const linking = bound[record]!;
      const { entryId } = linking.incoming;
      writes.add(
        markEventsRepeatedByMerge(client, survivor, losers),
        mergeItems(client, { survivor, losers, workspaceId, entryId }),
      );
      for (const participant of participants) {
        const known = losers.filter((loser) => workspacesOf([loser]).includes(participant));
        const mergedDfids = known.map((loser) => dfidOf(names.get(loser)!));
        const payload = JSON.stringify({ merged_items: losers.length, merged_dfids: mergedDfids });
        rows.addSystemEvent(current, linking, 'item_merged', payload, participant);
      }
    }
    for (const other of participants) {
      if (other === workspaceId) continue;
      const state = joinedState(contributionsOf, itemNumbers, other)!.toJson();
      rows.contributions.push({ itemNumber: current, workspaceId: other, state, isNewVersion: true });
    }
  }
}
