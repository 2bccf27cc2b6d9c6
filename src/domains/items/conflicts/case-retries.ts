import type pg from 'pg';
import { withTransaction } from '#platform/database.ts';
import { isTransientConflict } from '#platform/errors.ts';
import { absorbWaitingRecords } from '../absorb-records.ts';
import { ContentionError, unowned, type AbsorbContext } from '../absorption.ts';
import { insertClaims, lockItems, lockMerging, releaseClaims, sortClaims } from '../deduplication.store.ts';
import type { IncomingRecord, Verdict } from '../item-rows.ts';
import type { JudgedRecord } from '../judge-record.ts';
import type { RecountedEntry } from '../refold/refold-request.ts';
import {
  claimsOfRecord,
  endedOfRecord,
  eventsOfRecord,
  fieldsOfRecord,
  identifiersOfRecord,
  lifeOfStored,
} from '../stored-record.ts';
import type { TypeRegistry } from '../type-registry.ts';
import { regroupCases } from './conflict-cases.ts';
import { findCasesTouching, findOwnersOfKeys, findWorkspaceLinks } from './conflicts.store.ts';
import {
  advanceRetry,
  claimRetry,
  deleteRetry,
  findEntriesToRetry,
  leaveOpenCases,
  postponeRetry,
  type DueRetry,
  type WaitingEntryRow,
} from './case-retries.store.ts';

export interface CaseRetriesOptions {
  /** Connections like those of a worker. */
  pool: pg.Pool;
  takeNumbers(count: number): Promise<number[]>;
  loadTypes(): Promise<TypeRegistry>;
  /** A record that would give an item more distinct identifying identifiers waits for a person. */
  identifiersMax: number;
  /** Told, inside the transaction, which entries changed their state after their receipt was worked on. */
  recount(client: pg.ClientBase, entries: readonly RecountedEntry[]): Promise<void>;
}

/** So many waiting entries are tried in one transaction, and can be right together. */
const entriesAtOnce = 500;
const triesMax = 5;
/** How long a retry is put off that others are in the way of, or that the database refuses. */
const postponedMs = 5000;

/** Makes what tries waiting records again after an entry ended identifiers, or a person decided about items, that they contest. */
export function makeCaseRetries({ pool, recount, takeNumbers, loadTypes, identifiersMax }: CaseRetriesOptions) {
  /** One retry in one transaction; false when none is due. */
  const retryNext = async (types: TypeRegistry, onClaim: (retry: DueRetry) => void): Promise<boolean> =>
    withTransaction(pool, async (client) => {
      const retry = await claimRetry(client);
      if (!retry) return false;
      onClaim(retry);
      const { workspaceId, mayLinkItems } = retry;
      await retryEntries(client, { workspaceId, mayLinkItems, identifiersMax, types, takeNumbers }, retry, recount);
      return true;
    });

  return {
    /**
     * Works on what is due until nothing is. What fails is put off, and its failure thrown after the others had their turn.
     */
    async retryDue(): Promise<void> {
      const failures: unknown[] = [];
      for (let tries = 1; ; tries += 1) {
        let claimed: DueRetry | undefined;
        try {
          if (!(await retryNext(await loadTypes(), (retry) => (claimed = retry)))) break;
          tries = 0;
        } catch (error) {
          const isInTheWay = error instanceof ContentionError || isTransientConflict(error);
          if (!claimed || (isInTheWay && tries < triesMax)) {
            if (!isInTheWay) throw error;
            continue;
          }
          await postponeRetry(pool, claimed.retryId, postponedMs);
          if (!isInTheWay) failures.push(error);
          tries = 0;
        }
      }
      if (failures.length > 0) throw failures[0];
    },
  };
}

async function retryEntries(
  client: pg.ClientBase,
  context: AbsorbContext,
  { retryId, keys, triedUpTo, nowMicros }: DueRetry,
  recount: CaseRetriesOptions['recount'],
): Promise<void> {
  const { workspaceId, mayLinkItems } = context;
  const links = [...(await findOwnersOfKeys(client, keys)), ...(await findWorkspaceLinks(client, keys, []))];
  const itemNumbers = links.map(({ itemNumber }) => itemNumber);
  const cases = await findCasesTouching(client, keys, itemNumbers);
  const conflictIds = [...new Set(cases.map(({ conflictId }) => conflictId))];
  const scope = { isTogether: mayLinkItems, afterEntryId: triedUpTo, limit: entriesAtOnce };
  const rows = await findEntriesToRetry(client, workspaceId, conflictIds, scope);
  const waiting = rows.map((row) => waitingRecordOf(row, nowMicros)).toSorted(byArrival);
  const resettled = await absorbWaiting(client, context, waiting);
  if (resettled.length > 0) {
    const named = waiting.flatMap(({ record }) => record.claims);
    await regroupCases(client, itemNumbers, [...new Set(named)]);
    await leaveOpenCases(
      client,
      resettled.map(({ entryId }) => entryId),
    );
    await recount(client, resettled);
  }
  if (rows.length === entriesAtOnce) await advanceRetry(client, retryId, rows.at(-1)!.entry_id);
  else await deleteRetry(client, retryId);
}

/** Absorbs what waits of a workspace, and with it what waits of others if all of it together is free of contradiction. */
async function absorbWaiting(
  client: pg.ClientBase,
  context: AbsorbContext,
  waiting: readonly WaitingRecord[],
): Promise<RecountedEntry[]> {
  const own = waiting.filter((each) => each.workspaceId === context.workspaceId);
  if (own.length < waiting.length) {
    await reserveTogether(client, waiting);
    await client.query('savepoint together');
    const together = await absorbTogether(client, context, waiting);
    if (together) return together;
    await client.query('rollback to savepoint together');
  }
  const { verdicts, written } = await absorbWaitingRecords(client, context, own);
  await written;
  return resettledEntries(own, verdicts);
}

/** Takes all locks in their order, since the workspaces come one after the other and each would take its own. */
async function reserveTogether(client: pg.ClientBase, waiting: readonly WaitingRecord[]): Promise<void> {
  const keys = sortClaims(new Set(waiting.flatMap(({ record }) => record.claims)));
  const claims = keys.map((key) => ({ key, itemNumber: unowned, entryId: waiting[0]!.incoming.entryId }));
  const owned = new Set(await insertClaims(client, claims));
  // What a transaction claimed and let go of stays out of reach of others until it ends.
  await releaseClaims(
    client,
    keys.filter((key) => !owned.has(key)),
  );
  const readOwners = async () => {
    const links = [...(await findOwnersOfKeys(client, keys)), ...(await findWorkspaceLinks(client, keys, []))];
    return [...new Set(links.map(({ itemNumber }) => itemNumber))].toSorted((a, b) => a - b);
  };
  const owners = await readOwners();
  await lockMerging(client);
  await lockItems(client, owners, true);
  if (String(await readOwners()) !== String(owners)) throw new ContentionError();
}

/** Supposes that all is true that waiting records tell of ends: they must all turn out to be free of contradiction then. */
async function absorbTogether(
  client: pg.ClientBase,
  context: AbsorbContext,
  waiting: readonly WaitingRecord[],
): Promise<RecountedEntry[] | undefined> {
  const supposedEnds = new Set(waiting.flatMap(({ record }) => record.ended.map(({ key }) => key)));
  const resettled: RecountedEntry[] = [];
  for (const [workspaceId, records] of Map.groupBy(waiting, (each) => each.workspaceId)) {
    const { verdicts, written } = await absorbWaitingRecords(
      client,
      { ...context, workspaceId, supposedEnds },
      records,
    );
    await written;
    const isUntrue = records.some(({ record }, at) => record.ended.length > 0 && verdicts[at]!.status !== 'completed');
    if (isUntrue) return undefined;
    resettled.push(...resettledEntries(records, verdicts));
  }
  return resettled;
}

function resettledEntries(records: readonly WaitingRecord[], verdicts: readonly Verdict[]): RecountedEntry[] {
  return records.flatMap(({ incoming }, at) =>
    verdicts[at]!.status === 'conflicted' ? [] : [resettledEntry(incoming.entryId, verdicts[at]!)],
  );
}

function resettledEntry(entryId: string, to: Verdict): RecountedEntry {
  return { entryId, from: { status: 'conflicted', outcome: 'conflict' }, to };
}

interface WaitingRecord {
  readonly workspaceId: string;
  readonly incoming: IncomingRecord;
  readonly record: JudgedRecord;
}

function byArrival({ incoming: a }: WaitingRecord, { incoming: b }: WaitingRecord): number {
  return a.receivedSequence - b.receivedSequence || (a.entryId < b.entryId ? -1 : 1);
}

/** A waiting entry as the record that it was. What comes of it happens now; its place in the order is the one it had. */
function waitingRecordOf(row: WaitingEntryRow, nowMicros: number): WaitingRecord {
  const { record: stored } = row;
  const waiting = stored.waiting!;
  const record: JudgedRecord = {
    identifiers: identifiersOfRecord(stored),
    claims: claimsOfRecord(stored),
    valueChain: waiting.value_chain,
    country: waiting.country,
    year: waiting.year,
    occurredAtMicros: row.effective_at_micros,
    fields: fieldsOfRecord(stored),
    events: eventsOfRecord(waiting.events),
    ended: endedOfRecord(stored),
    life: lifeOfStored(stored),
    // Kept when the record came.
    circuitId: null,
  };
  const incoming: IncomingRecord = {
    entryId: row.entry_id,
    receivedSequence: row.received_sequence,
    receivedAtMicros: nowMicros,
    line: row.line,
    byteStart: row.byte_start,
    byteLength: row.byte_length,
    judgement: { ok: true, value: record },
  };
  return { workspaceId: row.workspace_id, incoming, record };
}
