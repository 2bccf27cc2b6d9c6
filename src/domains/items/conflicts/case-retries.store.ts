import { int8Array, textArray, uuidArray } from '#platform/binary-arrays.ts';
import type { Queryable } from '#platform/database.ts';
import { ContentionError } from '../absorption.ts';
import type { NewEntry } from '../deduplication.store.ts';
import { claimsOfRecord, type StoredRecord } from '../stored-record.ts';

/**
 * Notes that what waits in cases is to be tried again because of entries, once for each workspace of which something
 * waits. True when there is something.
 */
export async function insertRetries(
  queryable: Queryable,
  wanted: readonly { entryId: string; conflictId: string }[],
): Promise<boolean> {
  if (wanted.length === 0) return false;
  const { rowCount } = await queryable.query({
    name: 'insert_retries',
    text: `insert into case_retries (retry_id, entry_id, workspace_id)
           select gen_random_uuid(), wanted.entry_id, wanted.workspace_id
           from (
             select distinct ending.entry_id, entries.workspace_id
             from unnest($1::uuid[], $2::uuid[]) as ending (entry_id, conflict_id)
             join conflict_entries as parts on parts.conflict_id = ending.conflict_id
             join entries on entries.entry_id = parts.entry_id
             where parts.entry_id <> ending.entry_id and entries.status = 'conflicted'
           ) as wanted`,
    values: [uuidArray(wanted.map(({ entryId }) => entryId)), uuidArray(wanted.map(({ conflictId }) => conflictId))],
  });
  return (rowCount ?? 0) > 0;
}

/** Notes that what waits in open cases about items is to be tried again, since a person decides what these are. */
export async function insertRetriesAbout(queryable: Queryable, itemNumbers: readonly number[]): Promise<void> {
  await queryable.query({
    name: 'insert_retries_about',
    text: `insert into case_retries (retry_id, entry_id, workspace_id)
           select gen_random_uuid(), first.entry_id, first.workspace_id
           from (
             select distinct on (parts.conflict_id, waiting.workspace_id) waiting.entry_id, waiting.workspace_id
             from (select distinct conflict_id from contested_items where item_number = any($1::int8[])) as touched
             join conflict_entries as parts on parts.conflict_id = touched.conflict_id
             join entries as waiting on waiting.entry_id = parts.entry_id
             where waiting.status = 'conflicted'
             order by parts.conflict_id, waiting.workspace_id, waiting.entry_id
           ) as first`,
    values: [int8Array(itemNumbers)],
  });
}

/** Waiting entries of one workspace that are to be tried again. */
export interface DueRetry {
  readonly retryId: string;
  readonly workspaceId: string;
  readonly mayLinkItems: boolean;
  readonly triedUpTo: string;
  /** Keys by which the cases are found. */
  readonly keys: readonly string[];
  readonly nowMicros: number;
}

/** Locks the oldest retry that is due and that nobody works on; the lock ends with the transaction. */
export async function claimRetry(queryable: Queryable): Promise<DueRetry | undefined> {
  const { rows } = await queryable.query<{
    retry_id: string;
    workspace_id: string;
    may_link_items: boolean;
    tried_up_to: string;
    record: StoredRecord;
    now_micros: number;
  }>({
    name: 'claim_retry',
    text: `select retry_id, due.workspace_id, may_link_items, tried_up_to, record,
                  (extract(epoch from now()) * 1000000)::int8 as now_micros
           from (
             select retry_id, entry_id, workspace_id, tried_up_to from case_retries
             where due_at <= now() order by due_at limit 1 for update skip locked
           ) as due
           join entries on entries.entry_id = due.entry_id
           join workspaces on workspaces.workspace_id = due.workspace_id`,
  });
  const [row] = rows;
  return (
    row && {
      retryId: row.retry_id,
      workspaceId: row.workspace_id,
      mayLinkItems: row.may_link_items,
      triedUpTo: row.tried_up_to,
      keys: claimsOfRecord(row.record),
      nowMicros: row.now_micros,
    }
  );
}

export interface WaitingEntryRow {
  entry_id: string;
  workspace_id: string;
  effective_at_micros: number;
  received_sequence: number;
  line: number | null;
  byte_start: number;
  byte_length: number;
  record: StoredRecord;
}

/**
 * What waits of a workspace in cases, in the order of the entries; with `isTogether` also what waits of all others that
 * an administrator trusts.
 */
export async function findEntriesToRetry(
  queryable: Queryable,
  workspaceId: string,
  conflictIds: readonly string[],
  { isTogether, afterEntryId, limit }: { isTogether: boolean; afterEntryId: string; limit: number },
): Promise<WaitingEntryRow[]> {
  const { rows } = await queryable.query<WaitingEntryRow>({
    name: 'find_entries_to_retry',
    text: `select entries.entry_id, entries.workspace_id, (extract(epoch from effective_at) * 1000000)::int8 as effective_at_micros, received_sequence,
                  line, byte_start, byte_length, record
           from conflict_entries as parts join entries on entries.entry_id = parts.entry_id
           join workspaces on workspaces.workspace_id = entries.workspace_id
           where parts.conflict_id = any($1::uuid[]) and entries.status = 'conflicted' and parts.entry_id > $3
             and (entries.workspace_id = $2 or ($5 and workspaces.may_link_items))
           order by parts.entry_id limit $4`,
    values: [uuidArray(conflictIds), workspaceId, afterEntryId, limit, isTogether],
  });
  return rows;
}

/**
 * Writes what became of entries that waited; those that go on waiting stay as they are, and those
 * that a remembered decision rejects wait for nobody.
 * @throws ContentionError when one of them does not wait any longer.
 */
export async function finishRetriedEntries(queryable: Queryable, entries: readonly NewEntry[]): Promise<void> {
  const finished = entries.filter(({ status }) => status !== 'conflicted');
  if (finished.length === 0) return;
  const { rowCount } = await queryable.query({
    name: 'finish_retried_entries',
    text: `update entries set item_number = finished.item_number, status = finished.status::entry_status,
                              outcome = finished.outcome::entry_outcome, record = finished.record::json, error = finished.error::json,
                              dismissed_at = case finished.status when 'rejected' then now() end
           from unnest($1::uuid[], $2::int8[], $3::text[], $4::text[], $5::text[], $6::text[])
             as finished (entry_id, item_number, status, outcome, record, error)
           where entries.entry_id = finished.entry_id and entries.status = 'conflicted'`,
    values: [
      uuidArray(finished.map(({ entryId }) => entryId)),
      int8Array(finished.map(({ itemNumber }) => itemNumber)),
      textArray(finished.map(({ status }) => status)),
      textArray(finished.map(({ outcome }) => outcome)),
      textArray(finished.map(({ record }) => record)),
      textArray(finished.map(({ error }) => error)),
    ],
  });
  if (rowCount !== finished.length) throw new ContentionError();
}

/** Takes entries that do not wait any longer out of the cases that stay open. */
export async function leaveOpenCases(queryable: Queryable, entryIds: readonly string[]): Promise<void> {
  await queryable.query({
    name: 'leave_open_cases',
    text: `delete from conflict_entries as parts using conflicts
           where parts.entry_id = any($1::uuid[]) and conflicts.conflict_id = parts.conflict_id and conflicts.status = 'open'`,
    values: [uuidArray(entryIds)],
  });
}

/** Notes how far a retry got. */
export async function advanceRetry(queryable: Queryable, retryId: string, triedUpTo: string): Promise<void> {
  await queryable.query({
    name: 'advance_retry',
    text: 'update case_retries set tried_up_to = $2 where retry_id = $1',
    values: [retryId, triedUpTo],
  });
}

export async function deleteRetry(queryable: Queryable, retryId: string): Promise<void> {
  await queryable.query({
    name: 'delete_retry',
    text: 'delete from case_retries where retry_id = $1',
    values: [retryId],
  });
}

/** Puts off a retry that failed. */
export async function postponeRetry(queryable: Queryable, retryId: string, delayMs: number): Promise<void> {
  await queryable.query({
    name: 'postpone_retry',
    text: `update case_retries set due_at = now() + make_interval(secs => $2::float8 / 1000) where retry_id = $1`,
    values: [retryId, delayMs],
  });
}
