import type pg from 'pg';
import { insertEvents, type NewEvent } from '#domains/events/index.ts';
import { makeId } from '#platform/ids.ts';
import type { ContributionState, EntryOrder } from './contribution-state.ts';
import {
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
import type { JudgedRecord } from './judge-record.ts';
import type { Contradiction, PlannedItem, ResolutionPlan } from './resolution-plan.ts';
import { identifierMembers, quoteName } from './stored-json.ts';
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
      const hasNewContent = state.apply(order, good.record);
      const hasNewEvents = this.#addSubmittedEvents(good, order, target);
      const isJoining = item.joins.some((join) => join.record === index);
      const outcome = isFirst ? 'created' : hasNewContent || hasNewEvents || isJoining ? 'enriched' : 'duplicate';
      isFirst = false;
      this.#verdicts[good.index] = { status: 'completed', outcome };
      this.entries.push(completedEntry(good, order, itemNumber, outcome));
      this.#addMentions(good.record, itemNumber);
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

  addConflicts(records: readonly GoodRecord[], plan: ResolutionPlan): void {
    for (const [index, contradictions] of plan.conflicts) {
      const good = records[index]!;
      this.#verdicts[good.index] = { status: 'conflicted', outcome: 'conflict' };
      this.entries.push(conflictedEntry(good, contradictions));
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

  /** Sends all rows but the mentions, one statement for each table. */
  write(client: pg.ClientBase): Promise<unknown>[] {
    return [
      insertItems(client, this.items),
      insertEntries(client, this.#workspaceId, this.entries),
      insertEvents(client, this.events),
      insertContributions(client, this.#newContributions),
      upsertContributions(
        client,
        this.contributions.toSorted((a, b) => a.itemNumber - b.itemNumber),
      ),
    ];
  }

  /** True when the record brings an event that the item does not have. */
  #addSubmittedEvents({ record, incoming }: GoodRecord, order: EntryOrder, target: ItemTarget): boolean {
    let hasNew = false;
    for (const event of record.events) {
      const knownAs = event.eventKey && knownEventOf(target.itemNumber, event.eventKey);
      if (knownAs && target.knownEventKeys.has(knownAs)) continue;
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
    return hasNew;
  }

  #addMentions({ identifiers }: JudgedRecord, itemNumber: number): void {
    for (const { isCanonical, claimType, value } of identifiers) {
      if (!isCanonical) this.mentions.push({ identifierType: claimType, value, itemNumber });
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

/** The record as it entered the fold: what an unmerge, a correction or a provenance is made from. */
export function recordJson({ identifiers, fields }: Pick<JudgedRecord, 'identifiers' | 'fields'>): string {
  let identifiersText = '';
  for (const identifier of identifiers) {
    identifiersText += `${identifiersText === '' ? '' : ','}[${identifierMembers(identifier)}]`;
  }
  let fieldsText = '';
  for (const field of fields) fieldsText += `${fieldsText === '' ? '' : ','}${quoteName(field[0])}:${field[1]}`;
  return `{"identifiers":[${identifiersText}],"fields":{${fieldsText}}}`;
}

function completedEntry(
  { incoming, record }: GoodRecord,
  order: EntryOrder,
  itemNumber: number,
  outcome: EntryOutcome,
): NewEntry {
  return {
    ...placeOf(incoming),
    itemNumber,
    effectiveAtMicros: order.effectiveAtMicros,
    status: 'completed',
    outcome,
    record: recordJson(record),
    error: null,
  };
}

function conflictedEntry(good: GoodRecord, contradictions: readonly Contradiction[]): NewEntry {
  const { detail, pointer } = describeContradictions(good.record, contradictions);
  return {
    ...placeOf(good.incoming),
    itemNumber: null,
    effectiveAtMicros: orderOf(good).effectiveAtMicros,
    status: 'conflicted',
    outcome: 'conflict',
    record: recordJson(good.record),
    error: JSON.stringify({
      code: 'identifier_conflict',
      detail,
      pointer,
      contradictions,
    }),
  };
}

/** What the sender may read: neither values nor types that only others sent. */
function describeContradictions({ identifiers }: JudgedRecord, contradictions: readonly Contradiction[]) {
  if (contradictions.some(({ claimType }) => claimType === ''))
    return {
      detail: 'the record would join items to which others contributed; an administrator has to allow that',
      pointer: '',
    };
  if (contradictions.some(({ isOurs }) => !isOurs))
    return { detail: 'the identifiers of this record contradict what others sent of the same item', pointer: '' };
  const types = contradictions.map(({ claimType }) => claimType);
  return {
    detail: `an item has one ${types.join(', one ')} only, and the identifiers of this record name another`,
    pointer: (identifiers.find(({ claimType }) => types.includes(claimType)) ?? identifiers[0])?.pointer ?? '',
  };
}
