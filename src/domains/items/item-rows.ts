import type pg from 'pg';
import { insertEvents, type NewEvent } from '#domains/events/index.ts';
import { makeId } from '#platform/ids.ts';
import type { ContributionState, EntryOrder } from './contribution-state.ts';
import {
  dismissEntries,
  insertContributions,
  insertEntries,
  insertItems,
  upsertContributions,
  type EntryOutcome,
  type EntryStatus,
  type NewEntry,
  type NewItem,
  type NewMention,
  type WrittenContribution,
} from './deduplication.store.ts';
import type { JudgedEvent, JudgedRecord } from './judge-record.ts';
import type { Contradiction, PlannedItem, ResolutionPlan } from './resolution-plan.ts';
import { completedRecordJson, waitingRecordJson } from './stored-record.ts';
import type { Judgement, RecordFault } from './submitted-record.ts';

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

/** A record that may become part of an item. */
export interface GoodRecord {
  readonly incoming: IncomingRecord;
  /** Its place among the records that are absorbed together. */
  readonly index: number;
  readonly record: JudgedRecord;
  readonly claims: readonly string[];
  readonly ended: JudgedRecord['ended'];
  readonly life: JudgedRecord['life'];
}

/** What became of a record. */
export interface Verdict {
  status: EntryStatus;
  outcome: EntryOutcome | null;
}

/** What the rows of an item are made from, beside its plan. */
export interface ItemTarget {
  readonly itemNumber: number;
  readonly isNew: boolean;
  /** What the workspace knows of the item; the records are folded into it. */
  readonly state: ContributionState;
  /** Submitted events that the item has (`knownEventOf`); those of the records are added. */
  readonly knownEventKeys: Set<string>;
}

/** The rows that come of planned records, gathered so that each table gets one statement. */
export class ItemRows {
  readonly items: NewItem[] = [];
  readonly entries: NewEntry[] = [];
  readonly events: NewEvent[] = [];
  readonly mentions: NewMention[] = [];
  /** Of items that exist. */
  readonly contributions: WrittenContribution[] = [];
  readonly #newContributions: WrittenContribution[] = [];
  readonly #dismissed: string[] = [];
  readonly #workspaceId: string;
  readonly #verdicts: Verdict[];

  /** @param verdicts by `GoodRecord.index`; filled as rows are added. */
  constructor(workspaceId: string, verdicts: Verdict[]) {
    this.#workspaceId = workspaceId;
    this.#verdicts = verdicts;
  }

  /** Folds the records of an item into its state and adds all rows that come of them. */
  addItem(records: readonly GoodRecord[], item: PlannedItem, target: ItemTarget): void {
    const { itemNumber, isNew, state } = target;
    let isNewVersion = false;
    let isFirst = isNew;
    for (const index of item.records) {
      const good = records[index]!;
      const order = orderOf(good);
      // Before the fold takes the record in: what it knows is found by a mention already.
      this.#addMentions(good.record, target);
      const hasNewContent = state.apply(order, good.record);
      const { hasNew: hasNewEvents, repeated } = this.#addSubmittedEvents(good, order, target);
      const isJoining = item.joins.some((join) => join.record === index);
      const outcome = isFirst ? 'created' : hasNewContent || hasNewEvents || isJoining ? 'enriched' : 'duplicate';
      isFirst = false;
      this.#verdicts[good.index] = { status: 'completed', outcome };
      const record = completedRecordJson(good.record, repeated, item.attached.get(index));
      this.entries.push(completedEntry(good, order, itemNumber, outcome, record));
      if (outcome === 'duplicate') continue;
      isNewVersion = true;
      this.addSystemEvent(itemNumber, good, outcome === 'created' ? 'item_created' : 'item_enriched', '{}');
    }
    const contribution = { itemNumber, workspaceId: this.#workspaceId, state: state.toJson(), isNewVersion };
    if (!isNew) {
      this.contributions.push(contribution);
      return;
    }
    const { valueChain, country, year } = records[item.records[0]!]!.record;
    this.items.push({ itemNumber, valueChain, country, year });
    this.#newContributions.push(contribution);
  }

  addConflicts(records: readonly GoodRecord[], plan: ResolutionPlan, numberOf: (item: PlannedItem) => number): void {
    for (const [index, conflict] of plan.conflicts) {
      const good = records[index]!;
      this.#verdicts[good.index] = { status: 'conflicted', outcome: 'conflict' };
      this.entries.push(conflictedEntry(good, conflict.contradictions, conflict.contested.map(numberOf)));
    }
    for (const index of plan.rejected) {
      const good = records[index]!;
      this.#verdicts[good.index] = { status: 'rejected', outcome: null };
      this.entries.push(rejectedByDecisionEntry(good));
      this.#dismissed.push(good.incoming.entryId);
    }
  }

  /** @param payload JSON text */
  addSystemEvent(
    itemNumber: number,
    { incoming }: GoodRecord,
    eventType: string,
    payload: string,
    workspaceId = this.#workspaceId,
  ): void {
    this.events.push({
      workspaceId,
      eventId: makeId(),
      itemNumber,
      eventType,
      // The entries of one workspace are nothing that another may see.
      entryId: workspaceId === this.#workspaceId ? incoming.entryId : null,
      occurredAtMicros: incoming.receivedAtMicros,
      visibility: 'private',
      payload,
      eventKey: null,
    });
  }

  /** Forgets the mentions of items that are not created after all. */
  dropMentions(itemNumbers: ReadonlySet<number>): void {
    const kept = this.mentions.filter((mention) => !itemNumbers.has(mention.itemNumber));
    this.mentions.length = 0;
    for (const mention of kept) this.mentions.push(mention);
  }

  /** Sends all rows but the mentions, one statement for each table; entries only if they are new. */
  write(client: pg.ClientBase, areEntriesNew: boolean): Promise<unknown>[] {
    return [
      insertItems(client, this.items),
      ...(areEntriesNew
        ? [insertEntries(client, this.#workspaceId, this.entries), dismissEntries(client, this.#dismissed)]
        : []),
      insertEvents(client, this.events),
      insertContributions(client, this.#newContributions),
      upsertContributions(
        client,
        this.contributions.toSorted((a, b) => a.itemNumber - b.itemNumber),
      ),
    ];
  }

  /** Whether the record brings an event that the item does not have, and those that it has. */
  #addSubmittedEvents({ record, incoming }: GoodRecord, order: EntryOrder, target: ItemTarget) {
    let hasNew = false;
    const repeated: JudgedEvent[] = [];
    for (const event of record.events) {
      const knownAs = event.eventKey && knownEventOf(target.itemNumber, event.eventKey);
      if (knownAs && target.knownEventKeys.has(knownAs)) {
        repeated.push(event);
        continue;
      }
      if (knownAs) target.knownEventKeys.add(knownAs);
      hasNew = true;
      this.events.push({
        workspaceId: this.#workspaceId,
        eventId: makeId(),
        itemNumber: target.itemNumber,
        eventType: event.eventType,
        entryId: incoming.entryId,
        occurredAtMicros: event.occurredAtMicros ?? order.effectiveAtMicros,
        visibility: event.visibility,
        payload: event.payload,
        eventKey: event.eventKey,
      });
    }
    return { hasNew, repeated };
  }

  #addMentions({ identifiers }: JudgedRecord, { itemNumber, state }: ItemTarget): void {
    for (const identifier of identifiers) {
      if (identifier.isCanonical || state.hasMentioned(identifier)) continue;
      this.mentions.push({ identifierType: identifier.claimType, value: identifier.value, itemNumber });
    }
  }
}

/** Where a record stands among the entries of its item. */
export function orderOf({ incoming, record }: GoodRecord): EntryOrder {
  return {
    entryId: incoming.entryId,
    effectiveAtMicros: record.occurredAtMicros ?? incoming.receivedAtMicros,
    receivedSequence: incoming.receivedSequence,
  };
}

/** A submitted event as it is looked for among those that an item has. */
export function knownEventOf(itemNumber: number, eventKey: Buffer): string {
  return `${itemNumber}:${eventKey.toString('hex')}`;
}

/** The entry of a record that was refused. */
export function refusedEntry(incoming: IncomingRecord, fault: RecordFault): NewEntry {
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

function completedEntry(
  { incoming }: GoodRecord,
  order: EntryOrder,
  itemNumber: number,
  outcome: EntryOutcome,
  record: string,
): NewEntry {
  return {
    ...placeOf(incoming),
    itemNumber,
    effectiveAtMicros: order.effectiveAtMicros,
    status: 'completed',
    outcome,
    record,
    error: null,
  };
}

function conflictedEntry(
  good: GoodRecord,
  contradictions: readonly Contradiction[],
  contested: readonly number[],
): NewEntry {
  const { detail, pointer } = describeContradictions(good.record, contradictions);
  return {
    ...placeOf(good.incoming),
    itemNumber: null,
    effectiveAtMicros: orderOf(good).effectiveAtMicros,
    status: 'conflicted',
    outcome: 'conflict',
    record: waitingRecordJson(good.record),
    error: JSON.stringify({ code: 'identifier_conflict', detail, pointer, contradictions, contested }),
  };
}

function rejectedByDecisionEntry(good: GoodRecord): NewEntry {
  return {
    ...placeOf(good.incoming),
    itemNumber: null,
    effectiveAtMicros: orderOf(good).effectiveAtMicros,
    status: 'rejected',
    outcome: null,
    record: waitingRecordJson(good.record),
    error: JSON.stringify({
      code: 'rejected_by_decision',
      detail: 'a record with the same identifiers contradicted what is known, and a person rejected it',
      pointer: '',
    }),
  };
}

const contradictionDetails: Readonly<Record<Exclude<Contradiction['reason'], 'values'>, string>> = {
  strangers: 'the record would join what others contributed to; an administrator has to allow that',
  separated: 'the record names two items that a person keeps apart',
  ended: 'the record tells of something later than the end of its item',
  size: 'with this record an item would have more identifiers than one thing is likely to have',
};

/** What the sender may read: neither values nor types that only others sent. */
export function describeContradictions(
  { identifiers }: Pick<JudgedRecord, 'identifiers'>,
  contradictions: readonly Contradiction[],
) {
  if (contradictions.some(({ reason, isOurs }) => reason === 'ended' && !isOurs))
    return { detail: 'the record contradicts what others sent of the same item', pointer: '' };
  const [other] = contradictions.flatMap(({ reason }) => (reason === 'values' ? [] : [reason]));
  if (contradictions.some(({ reason, isOurs }) => reason === 'values' && !isOurs))
    return { detail: 'the identifiers of this record contradict what others sent of the same item', pointer: '' };
  const types = contradictions.flatMap(({ reason, claimType }) => (reason === 'values' ? [claimType] : []));
  if (other && types.length === 0) return { detail: contradictionDetails[other], pointer: '' };
  return {
    detail: `an item has one ${types.join(', one ')} only, and the identifiers of this record name another`,
    pointer: (identifiers.find(({ claimType }) => types.includes(claimType)) ?? identifiers[0])?.pointer ?? '',
  };
}
