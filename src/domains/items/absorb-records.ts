import type pg from 'pg';
import { discardEvents } from '#domains/events/index.ts';
import { Absorption, ContentionError, type AbsorbContext } from './absorption.ts';
import { resolveBoundRecords } from './bound-records.ts';
import { ContributionState } from './contribution-state.ts';
import {
  discardNewItems,
  findClaimOwners,
  insertClaims,
  insertEntries,
  insertMentions,
  sortClaims,
  type NewClaim,
  type NewEntry,
} from './deduplication.store.ts';
import { refusedEntry, type GoodRecord, type IncomingRecord, type ItemRows, type Verdict } from './item-rows.ts';
import { groupBySharedKeys, planResolution } from './resolution-plan.ts';

/** What became of records, and the writes that are still on their way. */
export interface Absorbed {
  /** The verdict on each record, in their order. */
  readonly verdicts: readonly Verdict[];
  /** Settles when the last rows are written. The transaction may go on before; it must not succeed unless this does. */
  readonly written: Promise<unknown>;
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
    if (judgement.ok) good.push({ incoming, index, record: judgement.value, claims: judgement.value.claims });
    else refused.push(refusedEntry(incoming, judgement.fault));
  });
  const absorption = new Absorption(client, context, verdicts);
  absorption.writes.add(insertEntries(client, context.workspaceId, refused));
  try {
    if (good.length > 0) await absorbGoodRecords(absorption, good);
  } catch (error) {
    // A statement that fails makes all after it fail as well; what went wrong is told by the first.
    await absorption.writes.all();
    throw error;
  }
  return { verdicts, written: absorption.writes.all() };
}

async function absorbGoodRecords(absorption: Absorption, good: readonly GoodRecord[]): Promise<void> {
  const { client, context, owners, writes } = absorption;
  const keys = [...new Set(good.flatMap((record) => record.claims))];
  for (const [key, owner] of await findClaimOwners(client, keys)) owners.set(key, owner);
  const groups = groupBySharedKeys(good, (key) => owners.get(key)).map((group) => group.map((index) => good[index]!));
  const isBound = (group: readonly GoodRecord[]) => group.some(({ claims }) => claims.some((key) => owners.has(key)));
  const { fresh = [], bound = [] } = Object.groupBy(groups, (group) => (isBound(group) ? 'bound' : 'fresh'));

  const written = await writeNewItems(absorption, inOrder(fresh.flat()));
  const lost = await claim(absorption, [...written.claims, ...claimsToAdd(bound, owners)]);
  // Another transaction was faster with a claim of these, so what was written for them is wrong.
  const contested = lost ? fresh.filter(isBound) : [];
  if (contested.length > 0) discard(absorption, contested.flat(), written.rows);

  const { mentions } = written.rows;
  if (bound.length + contested.length > 0) {
    const rows = await resolveBoundRecords(absorption, inOrder([...bound, ...contested].flat()));
    for (const mention of rows.mentions) mentions.push(mention);
  }
  writes.add(insertMentions(client, context.workspaceId, mentions));
}

/** Plans records of which nobody has heard and writes their items, before anything is claimed. */
async function writeNewItems(
  absorption: Absorption,
  fresh: readonly GoodRecord[],
): Promise<{ claims: NewClaim[]; rows: ItemRows }> {
  const { client, context, writes } = absorption;
  const plan = planResolution(fresh, { ownerOf: () => undefined, ...absorption.planOptions });
  const numbers = await context.takeNumbers(plan.items.length);
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
  rows.addConflicts(fresh, plan);
  writes.add(...rows.write(client));
  return { claims, rows };
}

/** What records that touch existing items claim beside what these items have. */
function claimsToAdd(bound: readonly (readonly GoodRecord[])[], owners: ReadonlyMap<string, number>): NewClaim[] {
  const claims: NewClaim[] = [];
  for (const group of bound) {
    const itemNumber = Math.min(...group.flatMap((record) => record.claims.flatMap((key) => owners.get(key) ?? [])));
    for (const record of group) addClaims(claims, record, itemNumber);
  }
  return claims.filter(({ key }) => !owners.has(key));
}

function addClaims(claims: NewClaim[], { incoming, claims: keys }: GoodRecord, itemNumber: number): void {
  for (const key of keys) claims.push({ key, itemNumber, entryId: incoming.entryId });
}

/**
 * Claims keys, each for the first that asks for it. True when other transactions were faster with some of them; then
 * `owners` knows them afterwards.
 */
async function claim({ client, owners, held }: Absorption, claims: readonly NewClaim[]): Promise<boolean> {
  for (const each of claims) if (!held.has(each.key)) held.set(each.key, each);
  const lost = await insertClaims(
    client,
    sortClaims(held.keys()).map((key) => held.get(key)!),
  );
  if (lost.length === 0) return false;
  const winners = await findClaimOwners(client, lost);
  for (const key of lost) {
    const winner = winners.get(key);
    // Released by its winner a moment ago, so that nobody holds it.
    if (winner === undefined) throw new ContentionError();
    held.delete(key);
    owners.set(key, winner);
  }
  return true;
}

/** Takes back what was written for records as new items. */
function discard({ client, context, writes }: Absorption, records: readonly GoodRecord[], written: ItemRows): void {
  const entryIds = new Set(records.map(({ incoming }) => incoming.entryId));
  const numbers = new Set(
    written.entries.flatMap((entry) => (entryIds.has(entry.entryId) ? (entry.itemNumber ?? []) : [])),
  );
  const eventIds = written.events.filter((event) => numbers.has(event.itemNumber)).map((event) => event.eventId);
  written.dropMentions(numbers);
  writes.add(
    discardNewItems(client, [...numbers], [...entryIds]),
    discardEvents(client, context.workspaceId, eventIds),
  );
}

function inOrder(records: readonly GoodRecord[]): GoodRecord[] {
  return records.toSorted((a, b) => a.index - b.index);
}
