import type pg from 'pg';
import { withTransaction, type Database } from '#platform/database.ts';
import { isLockTimeout, isTransientConflict, Problem } from '#platform/errors.ts';
import { makeId, positionOfEntry, receiptIdOfEntry } from '#platform/ids.ts';
import {
  ContentionError,
  readJsonRecord,
  refuse,
  type AbsorbContext,
  type IncomingRecord,
  type JudgedRecord,
  type Judgement,
  type QualityRulesCache,
  type SubmittedRecord,
  type TypeRegistry,
  type Verdict,
} from '#domains/items/index.ts';
import { absorbOrBisect } from '../careful-absorption.ts';
import { recountEntries } from '../recount-entries.ts';
import { smallLane } from '../cut-receipts.ts';
import { judgingContextOf, makeJudge, readFirstRecord, recordBytesMax } from '../read-chunk.ts';
import { readBodyRange } from '../receipts.store.ts';
import { findReceiptContexts, type ReceiptContext } from '../work.store.ts';
import { findEntry, listDecisions, type PendingRow } from './pending-items.store.ts';
import {
  deleteEntry,
  dismissEntry,
  insertDecision,
  lockReceipt,
  raisePriority,
  type LockedReceipt,
} from './resolution.store.ts';

/** What somebody decides about a record that waits. */
export interface Decision {
  readonly action: 'approve' | 'reject' | 'modify';
  /** With `modify`: instead of those that the record has; undefined leaves them. */
  readonly newIdentifiers?: unknown;
  readonly newEnrichedData?: unknown;
  readonly reason: string | null;
}

interface ResolverOptions {
  /** A pool with the session of workers, which deduplication needs, and never the one that the numbers come from. */
  /** A record that would give an item more distinct identifying identifiers waits for a person. */
  identifiersPerItemMax: number;
  resolutionDatabase: Database;
  loadTypes(): Promise<TypeRegistry>;
  loadQualityRules: QualityRulesCache;
  takeNumbers: AbsorbContext['takeNumbers'];
}

/** An entry that waits, under the lock of its receipt. */
interface WaitingEntry {
  readonly row: PendingRow;
  readonly receiptId: string;
  readonly receipt: LockedReceipt;
}

const triesMax = 6;
const raisedMax = 3;

/** Makes the act that ends the waiting of a record, or tells that it has to go on. */
export function makePendingItemResolver({ resolutionDatabase, ...options }: ResolverOptions) {
  const resolveOnce = (workspaceId: string, entryId: string, decision: Decision, decidedBy: string) =>
    withTransaction(resolutionDatabase.pool, async (client) => {
      await client.query(`set local lock_timeout = '2s'`);
      const waiting = await lockWaitingEntry(client, workspaceId, entryId);
      const result =
        decision.action === 'reject'
          ? await dismiss(client, entryId)
          : await absorbAgain(client, workspaceId, waiting, decision, options);
      await insertDecision(client, {
        decisionId: makeId(),
        workspaceId,
        entryId,
        action: decision.action,
        result,
        reason: decision.reason,
        newIdentifiers: decision.newIdentifiers,
        newEnrichedData: decision.newEnrichedData,
        decidedBy,
      });
    });

  /**
   * Carries out a decision, exactly once: a retry of the receipt or another decision at the same time goes before or after.
   * @throws Problem not_found, not_pending, body_erased, or overloaded when others were in the way for too long.
   */
  return async (workspaceId: string, entryId: string, decision: Decision, decidedBy: string): Promise<void> => {
    for (let tries = 1; ; tries += 1) {
      try {
        return await resolveOnce(workspaceId, entryId, decision, decidedBy);
      } catch (error) {
        if (!(error instanceof ContentionError) && !isTransientConflict(error)) throw error;
        // Whoever waited for a lock for two seconds has waited long enough.
        if (tries < triesMax && !isLockTimeout(error)) continue;
        throw new Problem('overloaded', 'other records of the same item are being worked on; try again', {
          headers: { 'retry-after': '1' },
          cause: error,
        });
      }
    }
  };
}

async function lockWaitingEntry(client: pg.ClientBase, workspaceId: string, entryId: string): Promise<WaitingEntry> {
  const receiptId = receiptIdOfEntry(entryId);
  const receipt = await lockReceipt(client, workspaceId, receiptId);
  const position = positionOfEntry(entryId);
  if (!receipt || position < 0 || position >= (receipt.entry_total ?? 0))
    throw new Problem('not_found', 'there is no record with this id in your workspace');
  const row = await findEntry(client, workspaceId, entryId);
  if (!row) throw new Problem('not_pending', 'the record is being worked on');
  if (row.dismissed_at) throw new Problem('not_pending', 'the record was dismissed');
  if (row.status !== 'rejected' && row.status !== 'failed')
    throw new Problem('not_pending', `the record is ${row.status}`);
  return { row, receiptId, receipt };
}

async function dismiss(client: pg.ClientBase, entryId: string): Promise<'dismissed'> {
  await dismissEntry(client, entryId);
  return 'dismissed';
}

/** Judges and absorbs a record again, as workers do, in place of its entry as it stands. */
async function absorbAgain(
  client: pg.ClientBase,
  workspaceId: string,
  { row, receiptId, receipt }: WaitingEntry,
  decision: Decision,
  { loadTypes, loadQualityRules, takeNumbers, identifiersPerItemMax }: Omit<ResolverOptions, 'resolutionDatabase'>,
): Promise<'completed' | 'conflicted' | 'still_pending'> {
  const types = await loadTypes();
  const receiptContext = (await findReceiptContexts(client, [receiptId])).get(receiptId)!;
  const submitted = await readRecord(client, { workspaceId, row, receiptId, receipt, receiptContext, types }, decision);
  // Whoever approves a record says that it is good although a rule holds it.
  const qualityRules =
    decision.action === 'approve'
      ? []
      : await loadQualityRules(client, workspaceId, receiptContext.quality_rules_version);
  const judge = makeJudge(receiptContext, judgingContextOf(workspaceId, receiptContext, types), qualityRules);
  const judgement: Judgement<JudgedRecord> = submitted.ok ? judge(submitted.value) : submitted;

  await deleteEntry(client, row.entry_id);
  const verdict = await absorbOne(
    client,
    {
      workspaceId,
      mayLinkItems: receiptContext.may_link_items,
      identifiersMax: identifiersPerItemMax,
      types,
      takeNumbers,
    },
    {
      entryId: row.entry_id,
      receivedSequence: receipt.received_sequence,
      receivedAtMicros: receiptContext.received_at_micros,
      line: row.line,
      byteStart: row.byte_start,
      byteLength: row.byte_length,
      judgement,
    },
  );
  await recountEntries(client, [{ entryId: row.entry_id, from: row, to: verdict }]);
  if (verdict.status === 'completed' || verdict.status === 'conflicted') return verdict.status;
  const raised = (row.error?.raised ?? 0) + (decision.action === 'approve' ? 1 : 0);
  if (raised > 0) await raisePriority(client, row.entry_id, Math.min(raised, raisedMax));
  return 'still_pending';
}

async function absorbOne(client: pg.ClientBase, context: AbsorbContext, record: IncomingRecord): Promise<Verdict> {
  const verdicts = await absorbOrBisect(client, context, [record]);
  return verdicts[0]!;
}

interface RecordSource {
  readonly workspaceId: string;
  readonly row: PendingRow;
  readonly receiptId: string;
  readonly receipt: LockedReceipt;
  readonly receiptContext: ReceiptContext;
  readonly types: TypeRegistry;
}

/** The record as it was sent, with what this and earlier decisions put in place of its parts. */
async function readRecord(
  client: pg.ClientBase,
  source: RecordSource,
  decision: Decision,
): Promise<Judgement<SubmittedRecord>> {
  const earlier = await listDecisions(client, [source.row.entry_id]);
  const identifiers =
    decision.newIdentifiers ?? earlier.findLast((each) => each.new_identifiers !== null)?.new_identifiers;
  const data =
    decision.newEnrichedData ?? earlier.findLast((each) => each.new_enriched_data !== null)?.new_enriched_data;
  if (identifiers === undefined && source.receipt.is_erased)
    throw new Problem(
      'body_erased',
      'the record was erased after its retention time; give identifiers with modify, or reject',
    );
  const original = await readOriginal(client, source);
  // Without identifiers of its own, a record of which nothing can be read has nothing to stand on.
  if (identifiers === undefined && (data === undefined || !original.ok)) return original;
  const replacement = readJsonRecord({ identifiers, metadata: data });
  if (!replacement.ok) return replacement;
  const base = original.ok ? original.value : { identifiers: [], fields: [], events: [] };
  return {
    ok: true,
    value: {
      ...base,
      ...(identifiers === undefined ? {} : { identifiers: replacement.value.identifiers }),
      ...(data === undefined ? {} : { fields: replacement.value.fields, fieldsMember: 'metadata' }),
    },
  };
}

async function readOriginal(client: pg.ClientBase, source: RecordSource): Promise<Judgement<SubmittedRecord>> {
  const { row, receiptId, receipt, receiptContext, types } = source;
  if (receipt.is_erased) return refuse('record_not_found', '', 'the record was erased after its retention time');
  if (row.byte_length > recordBytesMax)
    return refuse('record_too_large', '', `a record has at most ${recordBytesMax} bytes`);
  const end = row.byte_start + row.byte_length;
  const bytes = await readBodyRange(client, receiptId, row.byte_start, end);
  const chunk = {
    receipt_id: receiptId,
    chunk_number: 0,
    workspace_id: source.workspaceId,
    received_sequence: receipt.received_sequence,
    lane: smallLane,
    byte_start: row.byte_start,
    byte_length: row.byte_length,
    first_position: positionOfEntry(row.entry_id),
    first_line: row.line,
    entry_count: 1,
    tries: 0,
  };
  return readFirstRecord(chunk, receiptContext, bytes, types);
}
