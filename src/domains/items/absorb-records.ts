import type pg from 'pg';
import { discardEvents, insertEvents, type NewEvent } from '#domains/events/index.ts';
import { makeId } from '#platform/ids.ts';
import { Absorption, ContentionError, decisionOn, ownersOf, unowned, type AbsorbContext } from './absorption.ts';
import { resolveBoundRecords } from './bound-records.ts';
import { recordFindings } from './conflicts/conflict-cases.ts';
import { finishRetriedEntries, insertRetries } from './conflicts/case-retries.store.ts';
import { findCasesTouching, findDecisions } from './conflicts/conflicts.store.ts';
import { ContributionState } from './contribution-state.ts';
import {
  discardNewItems,
  endClaims,
  findClaimOwners,
  findReservations,
  insertClaims,
  insertEntries,
  insertMentions,
  releaseClaims,
  sortClaims,
  type ClaimEnd,
  type NewClaim,
  type NewEntry,
} from './deduplication.store.ts';
import { evidenceHash } from './evidence.ts';
import { refusedEntry, type GoodRecord, type IncomingRecord, type ItemRows, type Verdict } from './item-rows.ts';
import { insertNamedCircuits } from './named-circuits.store.ts';
import { groupBySharedKeys, planResolution, type PlannedItem, type ResolutionPlan } from './resolution-plan.ts';

/** What became of records, and the writes that are still on their way. */
export interface Absorbed {
  /** The verdict on each record, in their order. */
  readonly verdicts: readonly Verdict[];
  /** Settles when the last rows are written. The transaction may go on before; it must not succeed unless this does. */
  readonly written: Promise<unknown>;
  /** True when records that waited may be free of contradiction now; `makeCaseRetries` tries them after the commit. */
  readonly hasRetries: boolean;
}

/**
 * Makes records of one workspace part of items, inside the caller's transaction: entries in their final state, new items,
 * claims, contributions, events and merges. What is written first are rows that nobody else can want; then come the
 * claims, in one global order and one statement; then the rows of items that exist, in the order of their numbers. So two
 * transactions never wait for each other in a circle. Others may wait from the claims to the commit, so statements are
 * sent without waiting for the ones before wherever their answers are not needed.
 * @param client a pipelining connection.
 * @throws ContentionError when an item moved before it was locked; then the transaction must be rolled back, if only to a
 *   savepoint, and may be tried again.
 */
export async function absorbRecords(
  client: pg.ClientBase,
  context: AbsorbContext,
  records: readonly IncomingRecord[],
): Promise<Absorbed> {
  const verdicts: Verdict[] = records.map(() => ({ status: 'rejected', outcome: null }));
  const refused: NewEntry[] = [];
  const good: GoodRecord[] = [];
  records.forEach((incoming, index) => {
    const { judgement } = incoming;
    if (judgement.ok) {
      const { claims, ended, life } = judgement.value;
      good.push({ incoming, index, record: judgement.value, claims, ended, life });
    } else refused.push(refusedEntry(incoming, judgement.fault));
  });
  const absorption = new Absorption(client, context, verdicts, records);
  absorption.writes.add(insertEntries(client, context.workspaceId, refused));
  const named = good.flatMap(({ incoming: { entryId: sourceId }, record: { circuitId } }) =>
    circuitId === null ? [] : { sourceId, circuitId },
  );
  absorption.writes.add(insertNamedCircuits(client, context.workspaceId, named));
  return absorb(absorption, good);
}

/**
 * Absorbs records of one workspace that waited as conflicts, as if they came now; their entries keep their places in the
 * order. Those that still contradict go on waiting.
 * @throws ContentionError as `absorbRecords`, and when one of the entries does not wait any longer.
 */
export async function absorbWaitingRecords(
  client: pg.ClientBase,
  context: AbsorbContext,
  waiting: readonly Pick<GoodRecord, 'incoming' | 'record'>[],
): Promise<Absorbed> {
  const verdicts: Verdict[] = waiting.map(() => ({ status: 'conflicted', outcome: 'conflict' }));
  const good = waiting.map(({ incoming, record }, index): GoodRecord => {
    const { claims, ended, life } = record;
    return { incoming, record, index, claims, ended, life };
  });
  const incoming = good.map((each) => each.incoming);
  return absorb(new Absorption(client, context, verdicts, incoming, true), good);
}

async function absorb(absorption: Absorption, good: readonly GoodRecord[]): Promise<Absorbed> {
  const { verdicts, writes } = absorption;
  let hasRetries = false;
  try {
    if (good.length > 0) hasRetries = await absorbGoodRecords(absorption, good);
  } catch (error) {
    // A statement that fails makes all after it fail as well; what went wrong is told by the first.
    await writes.all();
    throw error;
  }
  return { verdicts, written: writes.all(), hasRetries };
}

async function absorbGoodRecords(absorption: Absorption, good: readonly GoodRecord[]): Promise<boolean> {
  const { client, context, owners, privateOwners, writes } = absorption;
  const keys = [...new Set(good.flatMap((record) => record.claims))];
  const found = await findClaimOwners(client, context.workspaceId, keys);
  for (const [key, owner] of found.owners) owners.set(key, owner);
  for (const [key, owner] of found.privateOwners) privateOwners.set(key, owner);
  const groups = groupBySharedKeys(good, (key) => ownersOf(absorption, key));
  const isOwned = (key: string) => owners.has(key) || privateOwners.has(key);
  const isBound = (group: readonly GoodRecord[]) => group.some(({ claims }) => claims.some(isOwned));
  const { fresh = [], bound = [] } = Object.groupBy(groups, (group) => (isBound(group) ? 'bound' : 'fresh'));

  const written = await writeNewItems(absorption, inOrder(fresh.flat()), found.hasDecisions);
  // Few workspaces have any, and looking for them takes a hash of each record.
  const remembered = loadDecisions(absorption, found.hasDecisions ? bound.flat() : []);
  const hasLost = await claim(absorption, [...written.claims, ...claimsToAdd(absorption, bound)]);
  await remembered;
  // Another transaction was faster with a claim of these, so what was written for them is wrong.
  const contested = hasLost ? fresh.filter(isBound) : [];
  if (contested.length > 0) {
    discard(absorption, contested.flat(), written.rows);
    await loadDecisions(absorption, contested.flat());
  }
  const settled = fresh.filter((group) => !contested.includes(group)).flat();
  releaseUnused(absorption, settled);
  writes.add(endClaims(client, context.workspaceId, endsOf(absorption, settled)));

  const { mentions } = written.rows;
  if (bound.length + contested.length > 0) {
    const rows = await resolveBoundRecords(absorption, inOrder([...bound, ...contested].flat()));
    for (const mention of rows.mentions) mentions.push(mention);
  }
  writes.add(insertMentions(client, context.workspaceId, mentions));
  await openCases(absorption);
  writes.add(finishRetriedEntries(client, [...absorption.retriedEntries.values()]));
  return wantRetries(absorption, good);
}

/** What records of new items end. */
function endsOf({ verdicts }: Absorption, records: readonly GoodRecord[]): ClaimEnd[] {
  return records.flatMap(({ index, ended, incoming: { entryId } }) =>
    verdicts[index]!.status === 'completed' ? ended.map((end) => ({ ...end, entryId })) : [],
  );
}

/**
 * Notes which waiting records to try again, since these records ended identifiers that are contested. A record that waits
 * itself may be free of contradiction together with others.
 */
async function wantRetries(absorption: Absorption, good: readonly GoodRecord[]): Promise<boolean> {
  const { client, held, isRetry, owners, privateOwners, verdicts } = absorption;
  const ending = good.filter(
    ({ index, ended }) => ended.length > 0 && (verdicts[index]!.status === 'completed' || !isRetry),
  );
  if (ending.length === 0) return false;
  const itemsOf = (key: string) => [
    held.get(key)?.itemNumber ?? [],
    owners.get(key) ?? [],
    privateOwners.get(key) ?? [],
  ];
  const nodes = ending.map(({ claims }) => new Set([...claims, ...claims.flatMap(itemsOf).flat()]));
  const all = [...new Set(nodes.flatMap((each) => [...each]))];
  const touched = await findCasesTouching(
    client,
    all.filter((node) => typeof node === 'string'),
    all.filter((node) => typeof node === 'number'),
  );
  const wanted = ending.flatMap(({ incoming: { entryId } }, at) => {
    const cases = touched.filter(({ key, itemNumber }) => nodes[at]!.has(key ?? itemNumber!));
    return [...new Set(cases.map(({ conflictId }) => conflictId))].map((conflictId) => ({ entryId, conflictId }));
  });
  return insertRetries(client, wanted);
}

/** Plans records of which nobody has heard and writes their items, before anything is claimed. */
async function writeNewItems(
  absorption: Absorption,
  fresh: readonly GoodRecord[],
  hasDecisions: boolean,
): Promise<{ claims: NewClaim[]; rows: ItemRows }> {
  const { context } = absorption;
  const plan = await planNewItems(absorption, fresh, hasDecisions);
  const numbers = await context.takeNumbers(plan.items.length);
  const numberOf = new Map(plan.items.map((item, at) => [item, numbers[at]!]));
  const rows = absorption.startRows();
  const claims: NewClaim[] = [];
  plan.items.forEach((item, at) => {
    const itemNumber = numbers[at]!;
    rows.addItem(fresh, item, {
      itemNumber,
      isNew: true,
      state: new ContributionState(),
      knownEventKeys: new Set(),
    });
    for (const index of item.records) addClaims(claims, fresh[index]!, itemNumber);
  });
  const numberOfItem = (item: PlannedItem) => numberOf.get(item)!;
  rows.addConflicts(fresh, plan, numberOfItem);
  // Records that wait own nothing, but nobody may take their identifiers before the case is written.
  for (const index of plan.conflicts.keys()) addClaims(claims, fresh[index]!, unowned);
  absorption.addFindings(fresh, plan, numberOfItem, () => []);
  absorption.write(rows);
  return { claims, rows };
}

/** Records of which nobody has heard contradict only each other and themselves; a person may have rejected their like. */
async function planNewItems(
  absorption: Absorption,
  fresh: readonly GoodRecord[],
  hasDecisions: boolean,
): Promise<ResolutionPlan> {
  const options = { ownersOf: () => [], ...absorption.planOptions };
  const plan = planResolution(fresh, options);
  if (!hasDecisions || plan.conflicts.size === 0) return plan;
  await loadDecisions(
    absorption,
    [...plan.conflicts.keys()].map((index) => fresh[index]!),
  );
  return planResolution(fresh, { ...options, decisionOn: (index) => decisionOn(absorption, fresh[index]!) });
}

/** What records that touch existing items claim beside what these items have. */
function claimsToAdd(absorption: Absorption, bound: readonly (readonly GoodRecord[])[]): NewClaim[] {
  const claims: NewClaim[] = [];
  for (const group of bound) {
    const itemNumber = Math.min(
      ...group.flatMap((record) => record.claims.flatMap((key) => ownersOf(absorption, key))),
    );
    for (const record of group) addClaims(claims, record, itemNumber);
  }
  return claims.filter(({ key }) => ownersOf(absorption, key).length === 0);
}

function addClaims(claims: NewClaim[], { incoming, claims: keys }: GoodRecord, itemNumber: number): void {
  for (const key of keys) claims.push({ key, itemNumber, entryId: incoming.entryId });
}

/**
 * Claims keys, each for the first that asks for it. True when other transactions were faster with some of them; then the
 * owners are known afterwards.
 */
async function claim(absorption: Absorption, claims: readonly NewClaim[]): Promise<boolean> {
  const { client, context, owners, privateOwners, held, contestedKeys } = absorption;
  for (const each of claims) {
    const before = held.get(each.key);
    if (!before || before.itemNumber === unowned) held.set(each.key, each);
  }
  const sortedKeys = sortClaims(held.keys());
  const [lost, reservations] = await Promise.all([
    insertClaims(
      client,
      sortedKeys.map((key) => held.get(key)!),
    ),
    findReservations(client, context.workspaceId, sortedKeys),
  ]);
  for (const key of reservations.contested) contestedKeys.add(key);
  for (const [key, owner] of reservations.privateOwners) privateOwners.set(key, owner);
  if (lost.length === 0) return reservations.privateOwners.size > 0;
  const winners = await findClaimOwners(client, context.workspaceId, lost);
  for (const key of lost) {
    const winner = winners.owners.get(key);
    // Released by its winner a moment ago, so that nobody holds it.
    if (winner === undefined) throw new ContentionError();
    held.delete(key);
    owners.set(key, winner);
  }
  return true;
}

/** Lets go of claims that were only held for records that wait. */
function releaseUnused({ client, held, writes }: Absorption, records: readonly GoodRecord[]): void {
  const keys = new Set(records.flatMap((record) => record.claims));
  const unused = [...keys].filter((key) => held.get(key)?.itemNumber === unowned);
  for (const key of unused) held.delete(key);
  writes.add(releaseClaims(client, unused));
}

async function loadDecisions(
  { client, context, decisions }: Absorption,
  records: readonly GoodRecord[],
): Promise<void> {
  const hashes = records.map((record) => evidenceHash(record.claims));
  for (const row of await findDecisions(client, context.workspaceId, hashes)) {
    decisions.set(row.evidence_hash.toString('hex'), { itemNumber: row.item_number, conflictId: row.conflict_id });
  }
}

/** Puts what waits, and what touches open cases, into cases, and tells those who may see them. */
async function openCases(absorption: Absorption): Promise<void> {
  const { client, contestedKeys, findings, held, privateOwners, writes } = absorption;
  for (const key of contestedKeys) {
    const itemNumber = held.get(key)?.itemNumber ?? privateOwners.get(key);
    if (itemNumber !== undefined)
      findings.push({ entryId: undefined, keys: [key], itemNumbers: [itemNumber], participants: [] });
  }
  const opened = await recordFindings(client, findings);
  const events = opened.flatMap(({ conflictId, workspaceIds }) =>
    workspaceIds.map((workspaceId): NewEvent => ({
      workspaceId,
      eventId: makeId(),
      itemNumber: null,
      eventType: 'conflict_opened',
      entryId: null,
      occurredAtMicros: absorption.latestReceptionMicros,
      visibility: 'private',
      payload: JSON.stringify({ conflict_id: conflictId }),
      eventKey: null,
    })),
  );
  writes.add(insertEvents(client, events));
}

/** Takes back what was written for records as new items. */
function discard(absorption: Absorption, records: readonly GoodRecord[], written: ItemRows): void {
  const { client, context, writes } = absorption;
  const entryIds = new Set(records.map(({ incoming }) => incoming.entryId));
  const numbers = new Set(
    written.entries.flatMap((entry) => (entryIds.has(entry.entryId) ? (entry.itemNumber ?? []) : [])),
  );
  const eventIds = written.events.filter((event) => numbers.has(event.itemNumber!)).map((event) => event.eventId);
  written.dropMentions(numbers);
  absorption.dropFindings(entryIds);
  writes.add(
    discardNewItems(client, [...numbers], absorption.isRetry ? [] : [...entryIds]),
    discardEvents(client, context.workspaceId, eventIds),
  );
}

function inOrder(records: readonly GoodRecord[]): GoodRecord[] {
  return records.toSorted((a, b) => a.index - b.index);
}
