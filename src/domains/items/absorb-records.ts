import type pg from 'pg';
import { insertEvents, discardEvents, findKnownEventKeys, type NewEvent } from '#domains/events/index.ts';
import { canonicalJson } from '#platform/json/canonical.ts';
import { makeId } from '#platform/ids.ts';
import { ContributionState, type EntryOrder } from './contribution-state.ts';
import {
  discardNewItems,
  findClaimOwners,
  findContributions,
  findHistory,
  findMergedItems,
  findSingleClaims,
  insertClaims,
  insertContributions,
  insertEntries,
  insertItems,
  insertMentions,
  lockItems,
  lockMerging,
  mergeItems,
  moveClaims,
  releaseClaims,
  sortClaims,
  upsertContributions,
  type ContributionRow,
  type EntryOutcome,
  type EntryStatus,
  type NewClaim,
  type NewEntry,
  type NewItem,
  type NewMention,
  type WrittenContribution,
} from './deduplication.store.ts';
import { claimKey, type JudgedRecord } from './judge-record.ts';
import {
  groupBySharedKeys,
  planResolution,
  type Contradiction,
  type KnownItem,
  type PlannedItem,
  type ResolutionPlan,
} from './resolution-plan.ts';
import type { Judgement, RecordFault } from './submitted-record.ts';
import type { TypeRegistry } from './type-registry.ts';

/** One record of a receipt with what was found of it. */
export interface IncomingRecord {
  readonly entryId: string;
  readonly receivedSequence: number;
  readonly receivedAtMicros: number;
  readonly line: number | null;
  readonly byteStart: number;
  readonly byteLength: number;
  readonly judgement: Judgement<JudgedRecord>;
}

/** What became of a record. */
export interface Verdict {
  status: EntryStatus;
  outcome: EntryOutcome | null;
}

export interface AbsorbContext {
  readonly workspaceId: string;
  readonly mayLinkItems: boolean;
  readonly types: TypeRegistry;
  /** Hands out numbers that no other item has or had. */
  takeNumbers(count: number): Promise<number[]>;
}

/** An item moved between the look at it and its lock; another try finds it at rest. */
export class ContentionError extends Error {
  constructor() {
    super('another transaction changed an item before it was locked');
    this.name = 'ContentionError';
  }
}

interface GoodRecord extends IncomingRecord {
  readonly index: number;
  readonly record: JudgedRecord;
  readonly claims: readonly string[];
}

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
  for (const [index, incoming] of records.entries()) {
    const { judgement } = incoming;
    if (judgement.ok) good.push({ ...incoming, index, record: judgement.value, claims: judgement.value.claims });
    else refused.push(refusedEntry(incoming, judgement.fault));
  }
  const writes = new PendingWrites();
  writes.add(insertEntries(client, context.workspaceId, refused));
  try {
    if (good.length > 0) await new Resolution(client, context, verdicts, writes).run(good);
  } catch (error) {
    // A statement that fails makes all after it fail as well; what went wrong is told by the first.
    await writes.all();
    throw error;
  }
  return { verdicts, written: writes.all() };
}

/** Statements that were sent and whose answers nobody needs before the end. */
class PendingWrites {
  readonly #writes: Promise<unknown>[] = [];

  add(...writes: Promise<unknown>[]): void {
    for (const write of writes) {
      // The failure is reported by all(); without a handler from the start it would end the process.
      write.catch(() => {});
      this.#writes.push(write);
    }
  }

  /** Fails with the first failure in the order of the statements: those after it only tell that one came before. */
  all(): Promise<unknown> {
    const waitForEach = async () => {
      for (const write of this.#writes) await write;
    };
    const all = waitForEach();
    all.catch(() => {});
    return all;
  }
}

function refusedEntry(incoming: IncomingRecord, fault: RecordFault): NewEntry {
  return {
    ...placeOf(incoming),
    itemNumber: null,
    effectiveAtMicros: incoming.receivedAtMicros,
    status: 'rejected',
    outcome: null,
    record: null,
    error: JSON.stringify(fault),
  };
}

function placeOf({ entryId, receivedSequence, line, byteStart, byteLength }: IncomingRecord) {
  return { entryId, receivedSequence, line, byteStart, byteLength };
}

/** Rows that wait to be written together. */
class PendingRows {
  readonly items: NewItem[] = [];
  readonly entries: NewEntry[] = [];
  readonly events: NewEvent[] = [];
  /** Of items that are new. */
  readonly newContributions: WrittenContribution[] = [];
  /** Of items that exist. */
  readonly contributions: WrittenContribution[] = [];

  write(client: pg.ClientBase, workspaceId: string): Promise<unknown>[] {
    return [
      insertItems(client, this.items),
      insertEntries(client, workspaceId, this.entries),
      insertEvents(client, this.events),
      insertContributions(client, this.newContributions),
      upsertContributions(
        client,
        this.contributions.toSorted((a, b) => a.itemNumber - b.itemNumber),
      ),
    ];
  }
}

/** One try at a set of records, between a savepoint and its release or roll-back. */
class Resolution {
  readonly #client: pg.ClientBase;
  readonly #context: AbsorbContext;
  readonly #verdicts: Verdict[];
  readonly #writes: PendingWrites;
  readonly #mentions: NewMention[] = [];
  /** Keys that this transaction claimed, as they stand in the database now. */
  readonly #held = new Map<string, NewClaim>();

  constructor(client: pg.ClientBase, context: AbsorbContext, verdicts: Verdict[], writes: PendingWrites) {
    this.#client = client;
    this.#context = context;
    this.#verdicts = verdicts;
    this.#writes = writes;
  }

  async run(good: readonly GoodRecord[]): Promise<void> {
    const keys = new Set(good.flatMap((record) => record.claims));
    const owners = await findClaimOwners(this.#client, [...keys]);
    const groups = groupBySharedKeys(good, (key) => owners.get(key)).map((group) => group.map((index) => good[index]!));
    const isKnown = (group: readonly GoodRecord[]) =>
      group.some((record) => record.claims.some((key) => owners.has(key)));
    const freshGroups = groups.filter((group) => !isKnown(group));
    const boundGroups = groups.filter(isKnown);

    const written = await this.#writeNewItems(inOrder(freshGroups.flat()));
    await this.#claim(boundGroups, written, owners);

    const contested = freshGroups.filter(isKnown);
    if (contested.length > 0) this.#discard(contested.flat(), written);
    boundGroups.push(...contested);
    if (boundGroups.length > 0) await this.#resolveBound(inOrder(boundGroups.flat()), owners);
    this.#writes.add(insertMentions(this.#client, this.#context.workspaceId, this.#mentions));
  }

  /** Plans records of which nobody has heard and writes their items, before anything is claimed. */
  async #writeNewItems(fresh: readonly GoodRecord[]): Promise<NewItemsWritten> {
    const rows = new PendingRows();
    const plan = planResolution(fresh, { ownerOf: () => undefined, ...this.#planOptions() });
    const numbers = await this.#context.takeNumbers(plan.items.length);
    const claims: NewClaim[] = [];
    for (const [at, item] of plan.items.entries()) {
      const itemNumber = numbers[at]!;
      this.#composeItem(rows, fresh, item, {
        itemNumber,
        isNew: true,
        state: new ContributionState(),
        knownEventKeys: new Set(),
      });
      const entryByKey = entryByClaim(item.records.map((index) => fresh[index]!));
      for (const [key, entryId] of entryByKey) claims.push({ key, itemNumber, entryId });
    }
    this.#composeConflicts(rows, fresh, plan);
    this.#writes.add(...rows.write(this.#client, this.#context.workspaceId));
    return { claims, entries: rows.entries, events: rows.events };
  }

  /** Claims what new items need and what bound records add; afterwards `owners` also knows who was faster. */
  async #claim(
    boundGroups: readonly (readonly GoodRecord[])[],
    written: NewItemsWritten,
    owners: Map<string, number>,
  ): Promise<void> {
    const claims = [...written.claims];
    for (const group of boundGroups) {
      const itemNumber = Math.min(...group.flatMap((record) => record.claims.flatMap((key) => owners.get(key) ?? [])));
      for (const [key, entryId] of entryByClaim(group)) {
        if (!owners.has(key)) claims.push({ key, itemNumber, entryId });
      }
    }
    const byKey = new Map(claims.map((claim) => [claim.key, claim]));
    const sorted = sortClaims(byKey.keys()).map((key) => byKey.get(key)!);
    for (const claim of sorted) this.#held.set(claim.key, claim);
    const lost = await insertClaims(this.#client, sorted);
    if (lost.length === 0) return;
    const winners = await findClaimOwners(this.#client, lost);
    for (const key of lost) {
      const winner = winners.get(key);
      // Released by its winner a moment ago, so that nobody holds it.
      if (winner === undefined) throw new ContentionError();
      this.#held.delete(key);
      owners.set(key, winner);
    }
  }

  /** Takes back the items of groups in which another transaction was faster. */
  #discard(records: readonly GoodRecord[], written: NewItemsWritten): void {
    const entryIds = new Set(records.map((record) => record.entryId));
    const numbers = new Set(
      written.entries.flatMap((entry) =>
        entryIds.has(entry.entryId) && entry.itemNumber !== null ? [entry.itemNumber] : [],
      ),
    );
    const eventIds = written.events.filter((event) => numbers.has(event.itemNumber)).map((event) => event.eventId);
    for (let at = this.#mentions.length - 1; at >= 0; at -= 1) {
      if (numbers.has(this.#mentions[at]!.itemNumber)) this.#mentions.splice(at, 1);
    }
    this.#writes.add(
      discardNewItems(this.#client, [...numbers], [...entryIds]),
      discardEvents(this.#client, this.#context.workspaceId, eventIds),
    );
  }

  /** Resolves records that touch items which exist, under the locks of these items. */
  async #resolveBound(bound: readonly GoodRecord[], owners: ReadonlyMap<string, number>): Promise<void> {
    const known = await this.#lockKnownItems(bound, owners);
    const plan = planResolution(bound, {
      ownerOf: (key) => {
        const owner = this.#held.has(key) ? undefined : owners.get(key);
        return owner === undefined ? undefined : known.items.get(owner);
      },
      ...this.#planOptions(),
    });
    const newItems = plan.items.filter((item) => item.itemNumbers.length === 0);
    const numbers = await this.#context.takeNumbers(newItems.length);
    const numberOf = new Map(newItems.map((item, at) => [item, numbers[at]!]));
    const desired = new Map<string, NewClaim>();
    for (const item of plan.items) {
      const itemNumber = item.itemNumbers[0] ?? numberOf.get(item)!;
      for (const [key, entryId] of entryByClaim(item.records.map((index) => bound[index]!))) {
        desired.set(key, { key, itemNumber, entryId });
      }
    }
    this.#settleClaims(bound, desired);

    const rows = new PendingRows();
    const states = await this.#openStates(plan, bound, known.contributionsOf);
    const knownEventKeys = await this.#findKnownEventKeys(plan, bound);
    for (const item of plan.items) {
      const itemNumber = item.itemNumbers[0] ?? numberOf.get(item)!;
      const isNew = item.itemNumbers.length === 0;
      this.#composeItem(rows, bound, item, { itemNumber, isNew, state: states.get(item)!, knownEventKeys });
    }
    this.#composeConflicts(rows, bound, plan);
    this.#mergeItems(plan, bound, known.contributionsOf, rows);
    this.#writes.add(...rows.write(this.#client, this.#context.workspaceId));
  }

  /** Locks the items that records name and reads them again, since they may have changed while it waited. */
  async #lockKnownItems(bound: readonly GoodRecord[], owners: ReadonlyMap<string, number>) {
    const knownKeys = [...new Set(bound.flatMap((record) => record.claims))].filter((key) => !this.#held.has(key));
    const itemNumbers = [...new Set(knownKeys.map((key) => owners.get(key)!))].toSorted((a, b) => a - b);
    const mayMerge = groupBySharedKeys(bound, (key) => (this.#held.has(key) ? undefined : owners.get(key))).some(
      (group) =>
        new Set(
          group.flatMap((index) =>
            bound[index]!.claims.flatMap((key) => (this.#held.has(key) ? [] : [owners.get(key)])),
          ),
        ).size > 1,
    );
    if (mayMerge) this.#writes.add(lockMerging(this.#client));
    const [locked, singleClaims, contributions, ownersNow] = await Promise.all([
      lockItems(this.#client, itemNumbers, mayMerge),
      findSingleClaims(this.#client, itemNumbers, this.#context.types.singleClaimTypes),
      findContributions(this.#client, itemNumbers),
      findClaimOwners(this.#client, knownKeys),
    ]);
    const lockedByNumber = new Map(locked.map((row) => [row.item_number, row]));
    const isUnmoved =
      itemNumbers.every((itemNumber) => lockedByNumber.get(itemNumber)?.merged_into === null) &&
      knownKeys.every((key) => ownersNow.get(key) === owners.get(key));
    if (!isUnmoved) throw new ContentionError();
    // Claims that this transaction took for an item are not facts yet: the plan decides whether they stay.
    const facts = singleClaims.filter((claim) => !this.#held.has(claimKey(claim.identifier_type, claim.value)));
    const factsOf = Map.groupBy(facts, (claim) => claim.item_number);
    const contributionsOf = Map.groupBy(contributions, (row) => row.item_number);
    const items = new Map<number, KnownItem>();
    for (const itemNumber of itemNumbers) {
      items.set(itemNumber, {
        itemNumber,
        singleClaims: new Map(factsOf.get(itemNumber)?.map((claim) => [claim.identifier_type, claim.value])),
        isOursAlone: (contributionsOf.get(itemNumber) ?? []).every(
          (row) => row.workspace_id === this.#context.workspaceId,
        ),
      });
    }
    return { items, contributionsOf };
  }

  /** Moves or releases the claims that the plan gives to another item or entry than they were taken for. */
  #settleClaims(bound: readonly GoodRecord[], desired: ReadonlyMap<string, NewClaim>): void {
    const moved: NewClaim[] = [];
    const released: string[] = [];
    for (const key of new Set(bound.flatMap((record) => record.claims))) {
      const current = this.#held.get(key);
      if (current === undefined) continue;
      const claim = desired.get(key);
      if (claim === undefined) released.push(key);
      else if (claim.itemNumber !== current.itemNumber || claim.entryId !== current.entryId) moved.push(claim);
    }
    this.#writes.add(moveClaims(this.#client, moved), releaseClaims(this.#client, released));
  }

  /** The state of each planned item before its new records, those of items that become one already joined. */
  async #openStates(plan: ResolutionPlan, bound: readonly GoodRecord[], contributionsOf: ContributionsOfItems) {
    const states = new Map<PlannedItem, ContributionState>();
    const needHistory: PlannedItem[] = [];
    for (const item of plan.items) {
      const state =
        joinedState(contributionsOf, item.itemNumbers, this.#context.workspaceId) ?? new ContributionState();
      states.set(item, state);
      if (item.records.some((index) => state.needsHistory(orderOf(bound[index]!), bound[index]!.record)))
        needHistory.push(item);
    }
    if (needHistory.length > 0) await this.#giveHistory(needHistory, states);
    return states;
  }

  async #giveHistory(
    items: readonly PlannedItem[],
    states: ReadonlyMap<PlannedItem, ContributionState>,
  ): Promise<void> {
    const itemNumbers = items.flatMap((item) => item.itemNumbers);
    const rows = Map.groupBy(
      await findHistory(this.#client, this.#context.workspaceId, itemNumbers),
      (row) => row.item_number,
    );
    for (const item of items) {
      const history = new Map<string, { order: EntryOrder; value: string }[]>();
      for (const row of item.itemNumbers.flatMap((itemNumber) => rows.get(itemNumber) ?? [])) {
        const order = {
          entryId: row.entry_id,
          effectiveAtMicros: row.effective_at_micros,
          receivedSequence: row.received_sequence,
        };
        for (const [name, value] of Object.entries(row.fields)) {
          const values = history.get(name) ?? [];
          if (values.length === 0) history.set(name, values);
          values.push({ order, value: canonicalJson(value) });
        }
      }
      states.get(item)!.useHistory(history);
    }
  }

  async #findKnownEventKeys(plan: ResolutionPlan, bound: readonly GoodRecord[]): Promise<Set<string>> {
    const keys = bound.flatMap((record) => record.record.events.flatMap((event) => event.eventKey ?? []));
    if (keys.length === 0) return new Set();
    const currentNumbers = new Map<number, number>();
    for (const { itemNumbers } of plan.items) {
      for (const itemNumber of itemNumbers) currentNumbers.set(itemNumber, itemNumbers[0]!);
    }
    // Events stay with the item that they were sent for when it becomes another.
    for (const member of await findMergedItems(this.#client, [...currentNumbers.keys()])) {
      currentNumbers.set(member.item_number, currentNumbers.get(member.merged_into)!);
    }
    const known = await findKnownEventKeys(this.#client, this.#context.workspaceId, [...currentNumbers.keys()], keys);
    return new Set(known.map((event) => knownEventOf(currentNumbers.get(event.item_number)!, event.event_key)));
  }

  #mergeItems(
    plan: ResolutionPlan,
    bound: readonly GoodRecord[],
    contributionsOf: ContributionsOfItems,
    rows: PendingRows,
  ): void {
    const { workspaceId } = this.#context;
    for (const { itemNumbers, joins } of plan.items) {
      const [current, ...merged] = itemNumbers;
      if (current === undefined || merged.length === 0) continue;
      const workspacesOf = (numbers: readonly number[]) =>
        numbers.flatMap((number) => contributionsOf.get(number) ?? []).map((row) => row.workspace_id);
      const participants = new Set([workspaceId, ...workspacesOf(itemNumbers)]);
      for (const { record, survivor, losers } of joins) {
        if (survivor === undefined || losers.length === 0) continue;
        const linking = bound[record]!;
        this.#writes.add(mergeItems(this.#client, { survivor, losers, workspaceId, entryId: linking.entryId }));
        for (const participant of participants) {
          rows.events.push({
            ...this.#systemEvent(current, linking, 'item_merged', { merged_items: losers.length }),
            workspaceId: participant,
            entryId: participant === workspaceId ? linking.entryId : null,
          });
        }
      }
      for (const other of new Set(workspacesOf(merged))) {
        if (other === workspaceId) continue;
        const state = joinedState(contributionsOf, itemNumbers, other)!.toJson();
        rows.contributions.push({ itemNumber: current, workspaceId: other, state, isNewVersion: true });
      }
    }
  }

  /** Folds the records of an item into its state and adds all rows that come of them. */
  #composeItem(
    rows: PendingRows,
    records: readonly GoodRecord[],
    item: PlannedItem,
    target: { itemNumber: number; isNew: boolean; state: ContributionState; knownEventKeys: Set<string> },
  ): void {
    const { itemNumber, isNew, state, knownEventKeys } = target;
    const { workspaceId } = this.#context;
    const joining = new Set(item.joins.map((join) => join.record));
    let isNewVersion = false;
    for (const [at, index] of item.records.entries()) {
      const incoming = records[index]!;
      const { record } = incoming;
      const order = orderOf(incoming);
      let hasChanged = state.apply(order, record) || joining.has(index);
      for (const event of record.events) {
        const knownAs = event.eventKey && knownEventOf(itemNumber, event.eventKey);
        if (knownAs && knownEventKeys.has(knownAs)) continue;
        if (knownAs) knownEventKeys.add(knownAs);
        hasChanged = true;
        rows.events.push({
          workspaceId,
          eventId: makeId(),
          itemNumber,
          eventType: event.eventType,
          entryId: incoming.entryId,
          occurredAtMicros: event.occurredAtMicros ?? order.effectiveAtMicros,
          visibility: event.visibility,
          payload: event.payload,
          eventKey: event.eventKey,
        });
      }
      const outcome = isNew && at === 0 ? 'created' : hasChanged ? 'enriched' : 'duplicate';
      isNewVersion ||= outcome !== 'duplicate';
      this.#verdicts[incoming.index] = { status: 'completed', outcome };
      rows.entries.push(completedEntry(incoming, itemNumber, outcome));
      if (outcome !== 'duplicate')
        rows.events.push(
          this.#systemEvent(itemNumber, incoming, outcome === 'created' ? 'item_created' : 'item_enriched', {}),
        );
      for (const identifier of record.identifiers) {
        if (!identifier.isCanonical)
          this.#mentions.push({ identifierType: identifier.claimType, value: identifier.value, itemNumber });
      }
    }
    const first = records[item.records[0]!]!.record;
    if (isNew) rows.items.push({ itemNumber, valueChain: first.valueChain, country: first.country, year: first.year });
    const contribution = { itemNumber, workspaceId, state: state.toJson(), isNewVersion };
    if (isNew) rows.newContributions.push(contribution);
    else rows.contributions.push(contribution);
  }

  #composeConflicts(rows: PendingRows, records: readonly GoodRecord[], plan: ResolutionPlan): void {
    for (const [index, contradictions] of plan.conflicts) {
      const incoming = records[index]!;
      this.#verdicts[incoming.index] = { status: 'conflicted', outcome: 'conflict' };
      rows.entries.push(conflictedEntry(incoming, contradictions));
    }
  }

  #systemEvent(itemNumber: number, incoming: GoodRecord, eventType: string, payload: object): NewEvent {
    return {
      workspaceId: this.#context.workspaceId,
      eventId: makeId(),
      itemNumber,
      eventType,
      entryId: incoming.entryId,
      occurredAtMicros: incoming.receivedAtMicros,
      visibility: 'private',
      payload: JSON.stringify(payload),
      eventKey: null,
    };
  }

  #planOptions() {
    return { singleClaimTypes: this.#context.types.singleClaimTypes, mayLinkItems: this.#context.mayLinkItems };
  }
}

type ContributionsOfItems = ReadonlyMap<number, readonly ContributionRow[]>;

interface NewItemsWritten {
  readonly claims: readonly NewClaim[];
  readonly entries: readonly NewEntry[];
  readonly events: readonly NewEvent[];
}

function inOrder(records: readonly GoodRecord[]): GoodRecord[] {
  return records.toSorted((a, b) => a.index - b.index);
}

function orderOf(incoming: GoodRecord): EntryOrder {
  return {
    entryId: incoming.entryId,
    effectiveAtMicros: incoming.record.occurredAtMicros ?? incoming.receivedAtMicros,
    receivedSequence: incoming.receivedSequence,
  };
}

/** A submitted event as it is looked for among those that an item has. */
function knownEventOf(itemNumber: number, eventKey: Buffer): string {
  return `${itemNumber}:${eventKey.toString('hex')}`;
}

/** The first entry that names each key. */
function entryByClaim(records: readonly GoodRecord[]): Map<string, string> {
  const entryByKey = new Map<string, string>();
  for (const { claims, entryId } of records) {
    for (const key of claims) if (!entryByKey.has(key)) entryByKey.set(key, entryId);
  }
  return entryByKey;
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

/** The record as it entered the fold: what an unmerge, a correction or a provenance is made from. */
function recordJson({ record }: GoodRecord): string {
  const identifiers = record.identifiers.map(({ typeName, raw, claimType, value, isCanonical }) => [
    typeName,
    raw,
    claimType,
    value,
    isCanonical ? 1 : 0,
  ]);
  const fields = record.fields.map(([name, value]) => `${JSON.stringify(name)}:${value}`);
  return `{"identifiers":${JSON.stringify(identifiers)},"fields":{${fields.join(',')}}}`;
}

function completedEntry(incoming: GoodRecord, itemNumber: number, outcome: EntryOutcome): NewEntry {
  return {
    ...placeOf(incoming),
    itemNumber,
    effectiveAtMicros: orderOf(incoming).effectiveAtMicros,
    status: 'completed',
    outcome,
    record: recordJson(incoming),
    error: null,
  };
}

function conflictedEntry(incoming: GoodRecord, contradictions: readonly Contradiction[]): NewEntry {
  const own = incoming.record.identifiers;
  const types = contradictions.map(({ claimType }) => claimType).filter((type) => type !== '');
  const named = own.find(({ claimType }) => types.includes(claimType));
  // Only what the sender itself sent may stand in the text: the other values can belong to another workspace.
  const detail =
    types.length > 0
      ? `an item has one ${types.join(', one ')} only, and the identifiers of this record name another`
      : 'the record would join items to which others contributed; an administrator has to allow that';
  return {
    ...placeOf(incoming),
    itemNumber: null,
    effectiveAtMicros: orderOf(incoming).effectiveAtMicros,
    status: 'conflicted',
    outcome: 'conflict',
    record: recordJson(incoming),
    error: JSON.stringify({
      code: 'identifier_conflict',
      detail,
      pointer: (named ?? own[0])?.pointer ?? '',
      contradictions,
    }),
  };
}
