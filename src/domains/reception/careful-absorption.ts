import type pg from 'pg';
import { isDataError } from '#platform/errors.ts';
import { absorbRecords, type AbsorbContext, type IncomingRecord, type Verdict } from '#domains/items/index.ts';
import { workerName } from './work-attempts.ts';
import { findAttempts, insertAttempts, type AttemptRow, type DueChunk } from './work.store.ts';

/** One end of a worker may have any cause; the second one at the same record has this one. */
const deadlyTriesMin = 2;

/** Absorbs records; when the database cannot hold one of them, finds it by halving and rejects it alone. */
export async function absorbOrBisect(
  client: pg.ClientBase,
  context: AbsorbContext,
  records: readonly IncomingRecord[],
): Promise<readonly Verdict[]> {
  await client.query('savepoint absorption');
  try {
    const { verdicts, written } = await absorbRecords(client, context, records);
    await written;
    await client.query('release savepoint absorption');
    return verdicts;
  } catch (error) {
    if (!isDataError(error)) throw error;
    await client.query('rollback to savepoint absorption');
    const [first] = records;
    if (records.length === 1) {
      return absorbOrBisect(client, context, [
        refused(first!, 'unprocessable_record', 'the database cannot hold a value of this record'),
      ]);
    }
    const middle = records.length >> 1;
    const before = await absorbOrBisect(client, context, records.slice(0, middle));
    return [...before, ...(await absorbOrBisect(client, context, records.slice(middle)))];
  }
}

/**
 * The way of a chunk whose worker died several times: each record is noted before it is tried, so that the one that kills
 * the worker is known at the next try and fails alone.
 */
export async function absorbOneByOne(
  client: pg.ClientBase,
  context: AbsorbContext,
  chunk: DueChunk,
  records: readonly IncomingRecord[],
  attemptPool: pg.Pool,
): Promise<Verdict[]> {
  const attempt = chunk.tries + 1;
  const deadly = findDeadlyPositions(await findAttempts(client, chunk.receipt_id, chunk.chunk_number));
  const verdicts: Verdict[] = [];
  for (const [position, record] of records.entries()) {
    if (deadly.has(position)) {
      const failed = refused(
        record,
        'processing_failed',
        'the worker ended twice while it worked on this record alone',
      );
      await (
        await absorbRecords(client, context, [failed])
      ).written;
      await client.query(`update entries set status = 'failed' where entry_id = $1`, [record.entryId]);
      verdicts.push({ status: 'failed', outcome: null });
      continue;
    }
    await insertAttempts(
      attemptPool,
      [{ receipt_id: chunk.receipt_id, chunk_number: chunk.chunk_number, attempt, position }],
      workerName,
    );
    verdicts.push(...(await absorbOrBisect(client, context, [record])));
  }
  return verdicts;
}

/** The records that were the last to be tried in at least two tries that did not end. */
function findDeadlyPositions(tries: readonly AttemptRow[]): Set<number> {
  const lastByAttempt = new Map<number, number>();
  for (const { attempt, position } of tries) {
    if (position !== null) lastByAttempt.set(attempt, Math.max(position, lastByAttempt.get(attempt) ?? -1));
  }
  const last = [...lastByAttempt.values()];
  return new Set(last.filter((position) => last.filter((other) => other === position).length >= deadlyTriesMin));
}

function refused(
  record: IncomingRecord,
  code: 'unprocessable_record' | 'processing_failed',
  detail: string,
): IncomingRecord {
  return { ...record, judgement: { ok: false, fault: { code, detail, pointer: '' } } };
}
