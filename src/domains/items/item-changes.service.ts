import type pg from 'pg';
import { findKnownEvents, insertEvents } from '#domains/events/index.ts';
import { withTransaction, type Database } from '#platform/database.ts';
import { Problem, type ProblemCode } from '#platform/errors.ts';
import { keepIdempotencyKey, type IdempotencyClaim, type KeptAnswer } from '#platform/idempotency.store.ts';
import { makeId } from '#platform/ids.ts';
import { canonicalJson } from '#platform/json/canonical.ts';
import { ContributionState } from './contribution-state.ts';
import { findMergedItems, upsertContributions } from './deduplication.store.ts';
import { holdItem, type ItemChange } from './hold-item.ts';
import { advanceContribution, readEventOfItem, type OwnItemRow } from './item-changes.store.ts';
import type { ChangeableStatus } from './items.schema.ts';
import { showEvent } from './items.service.ts';
import { identifierReplaced } from './identifier-replacement.ts';
import { judgeEvents, type JudgedEvent } from './judge-record.ts';
import { findCircuitsOfSources, insertNamedCircuits } from './named-circuits.store.ts';
import { endsItem } from './record-times.ts';
import { lifeOfStored } from './stored-record.ts';
import type { RecordFault, SubmittedEvent } from './submitted-record.ts';
import type { TypeRegistry } from './type-registry.ts';

interface ItemChangesOptions {
  database: Database;
  loadTypes(): Promise<TypeRegistry>;
}

/** What one record may hold at most, with all its events. */
const payloadBytesMax = 1_048_576;

export type ItemChanges = ReturnType<typeof makeItemChanges>;

/** Changes what one workspace says of an item, each change in one transaction that holds the item. */
export function makeItemChanges({ database, loadTypes }: ItemChangesOptions) {
  const { pool } = database;

  /** Sets a status and tells it in an event; a status that is there already changes nothing. */
  const setStatus = (change: ItemChange, status: ChangeableStatus, eventType: string): Promise<void> =>
    withTransaction(pool, async (client) => {
      const item = await holdItem(client, change);
      if (item.status === status) return;
      await advanceContribution(client, change.workspaceId, item.item_number, status);
      const payload = JSON.stringify({ from: item.status, to: status, by: change.changedBy });
      await insertEvents(client, [
        {
          workspaceId: change.workspaceId,
          eventId: makeId(),
          itemNumber: item.item_number,
          eventType,
          entryId: null,
          occurredAtMicros: item.now_micros,
          visibility: 'private',
          payload,
          eventKey: null,
        },
      ]);
    });

  return {
    /** @throws Problem of `holdItem`. */
    changeStatus: (change: ItemChange, status: ChangeableStatus) => setStatus(change, status, 'item_status_changed'),

    /** @throws Problem of `holdItem`. */
    archive: (change: ItemChange) => setStatus(change, 'archived', 'item_archived'),

    /**
     * Keeps an event of an item: 201, or 200 with the event that is there when its key, or without one its type, time and
     * payload, say that it is the same.
     * @throws Problem of `holdItem`, or with the code of the fault of the event.
     */
    async recordEvent(
      change: ItemChange,
      { circuitId, ...event }: SubmittedEvent & { circuitId: string | null },
      idempotency: IdempotencyClaim | undefined,
    ): Promise<KeptAnswer> {
      const types = await loadTypes();
      return withTransaction(pool, async (client) => {
        const item = await holdItem(client, change);
        const judged = judgeEvent(event, change.workspaceId, item, types);
        const known = await findSameEvent(client, change.workspaceId, item.item_number, judged);
        const eventId = known ?? (await writeEvent(client, change.workspaceId, item, judged, event.pointer));
        if (circuitId !== null && known === undefined)
          await insertNamedCircuits(client, change.workspaceId, [{ sourceId: eventId, circuitId }]);
        const row = await readEventOfItem(client, change.workspaceId, eventId);
        const circuits = await findCircuitsOfSources(client, change.workspaceId, [eventId, row.entry_id ?? eventId]);
        const namedCircuit = circuits.get(eventId) ?? circuits.get(row.entry_id ?? eventId);
        const body = { ...showEvent(row, row, namedCircuit), is_duplicate: known !== undefined };
        const answer = known
          ? { status: 200, body }
          : { status: 201, headers: { location: `/api/events/${eventId}` }, body };
        await keepIdempotencyKey(client, idempotency, { answer });
        return answer;
      });
    },
  };
}

function judgeEvent(
  event: SubmittedEvent,
  workspaceId: string,
  { now_micros: nowMicros }: OwnItemRow,
  types: TypeRegistry,
): JudgedEvent {
  if (event.eventType === identifierReplaced) {
    const detail = 'a record tells which identifiers took the place of others: send it to /api/receipts';
    throw refusedEvent('invalid_member', `${event.pointer}/event_type`, detail);
  }
  const defaults = { valueChain: null, country: null, year: null };
  const judgement = judgeEvents([event], null, { workspaceId, defaults, types, nowMicros });
  if (!judgement.ok) throw faulty(judgement.fault);
  const [judged] = judgement.value;
  if (Buffer.byteLength(judged!.payload) <= payloadBytesMax) return judged!;
  const detail = `a payload has at most ${payloadBytesMax} bytes`;
  throw faulty({ code: 'record_too_large', detail, pointer: '/payload' });
}

function faulty(fault: RecordFault): Problem {
  return new Problem(fault.code, fault.detail, { errors: [fault] });
}

/** The event that is the same, of the item or of those merged into it: events stay with the item they were sent for. */
async function findSameEvent(
  client: pg.ClientBase,
  workspaceId: string,
  itemNumber: number,
  { eventKey }: JudgedEvent,
): Promise<string | undefined> {
  if (eventKey === null) return undefined;
  const members = await findMergedItems(client, [itemNumber]);
  const itemNumbers = [itemNumber, ...members.map((member) => member.item_number)];
  const [known] = await findKnownEvents(client, workspaceId, itemNumbers, [eventKey]);
  return known?.event_id;
}

async function writeEvent(
  client: pg.ClientBase,
  workspaceId: string,
  item: OwnItemRow,
  { occurredAtMicros, ...event }: JudgedEvent,
  pointer: string,
): Promise<string> {
  const { item_number: itemNumber, now_micros: nowMicros } = item;
  const eventId = makeId();
  await insertEvents(client, [
    { ...event, workspaceId, eventId, itemNumber, entryId: null, occurredAtMicros: occurredAtMicros ?? nowMicros },
  ]);
  if (endsItem(event.eventType)) await endItem(client, workspaceId, item, occurredAtMicros ?? nowMicros, pointer);
  else {
    requireBeforeEnd(item, occurredAtMicros, pointer);
    await advanceContribution(client, workspaceId, itemNumber, null);
  }
  return eventId;
}

/** A record of something later than the end of its item waits for a person; an event that a person tells is refused. */
function requireBeforeEnd({ state }: OwnItemRow, occurredAtMicros: number | null, pointer: string): void {
  const { endedAtMicros } = lifeOfStored(state);
  if (occurredAtMicros === null || endedAtMicros === null || occurredAtMicros <= endedAtMicros) return;
  throw refusedEvent('invalid_request', `${pointer}/occurred_at`, 'the item ended before this');
}

/** Notes the end of an item as if a record had told it. */
async function endItem(
  client: pg.ClientBase,
  workspaceId: string,
  { item_number: itemNumber, state: stored }: OwnItemRow,
  endedAtMicros: number,
  pointer: string,
): Promise<void> {
  const { latestMicros, endedAtMicros: endedBefore } = lifeOfStored(stored);
  if (
    (latestMicros !== null && latestMicros > endedAtMicros) ||
    (endedBefore !== null && endedBefore < endedAtMicros)
  ) {
    const detail = 'the item ended before, or something later than this end is known of it';
    throw refusedEvent('invalid_request', `${pointer}/occurred_at`, detail);
  }
  const state = ContributionState.fromStored(stored, canonicalJson);
  const order = { entryId: '', effectiveAtMicros: endedAtMicros, receivedSequence: 0 };
  state.apply(order, { identifiers: [], fields: [], life: { endedAtMicros, latestMicros: endedAtMicros } });
  await upsertContributions(client, [{ itemNumber, workspaceId, state: state.toJson(), isNewVersion: true }]);
}

function refusedEvent(code: ProblemCode, pointer: string, detail: string): Problem {
  return new Problem(code, detail, { errors: [{ pointer, code, detail }] });
}
