import type pg from 'pg';
import { isDatabaseAwayError, isDataError, isTransientConflict, Problem, sqlStateOf } from '#platform/errors.ts';
import { withTransaction } from '#platform/database.ts';
import {
  bodyPartBytes,
  insertBodyPart,
  insertReceipts,
  type NewReceipt,
  type StoredReceipt,
} from './receipts.store.ts';

interface ReceiptWriterOptions {
  pool: pg.Pool;
  /** Told which receipts were committed together. */
  onStored(receipts: readonly NewReceipt[]): void;
  observeGroup?(rows: number): void;
}

/** Keeps receipts. What resolves is committed; what rejects may have been kept, and may be sent again under its key. */
export interface ReceiptWriter {
  /** Keeps a receipt with a small body, together with those that wait at the same moment. Undefined: its key is taken. */
  keep(receipt: NewReceipt): Promise<StoredReceipt | undefined>;
  /** Keeps a receipt whose body follows in chunks, in a transaction of its own. */
  keepLarge(receipt: NewReceipt, chunks: readonly Buffer[]): Promise<StoredReceipt | undefined>;
  /** Resolves when nothing waits any more. */
  flush(): Promise<void>;
}

interface Waiting {
  readonly receipt: NewReceipt;
  resolve(stored: StoredReceipt | undefined): void;
  reject(error: unknown): void;
}

const groupRowsMax = 500;
const groupBytesMax = 4_194_304;
const groupsInFlightMax = 2;
/**
 * Groups are the cheaper the larger they are, so a second one starts beside one in flight only for so many rows, or when
 * that one takes unusually long.
 */
const overlapRowsMin = 100;
const overlapAfterMs = 20;
const waitingMax = 20_000;
const largeInFlightMax = 2;
const retryForMs = 4000;
const retryPauseMs = 100;
const retryAfter = { 'retry-after': '2' };

/** Group commit: whoever waits when a slot is free shares one statement and one flush of the log. */
export function makeReceiptWriter({ pool, onStored, observeGroup }: ReceiptWriterOptions): ReceiptWriter {
  const waiting: Waiting[] = [];
  let groupsInFlight = 0;
  let largeInFlight = 0;
  const largeWaiting: { resolve(): void; reject(error: unknown): void }[] = [];
  const idle: (() => void)[] = [];
  let isScheduled = false;
  let overlap: NodeJS.Timeout | undefined;

  const startGroups = () => {
    isScheduled = false;
    clearTimeout(overlap);
    overlap = undefined;
    while (waiting.length > 0 && groupsInFlight < groupsInFlightMax) {
      groupsInFlight += 1;
      void writeGroup(takeGroup(waiting)).finally(() => {
        groupsInFlight -= 1;
        startGroups();
        if (groupsInFlight === 0 && waiting.length === 0) for (const resolve of idle.splice(0)) resolve();
      });
    }
  };

  const writeGroup = async (group: readonly Waiting[]): Promise<void> => {
    try {
      const stored = await retryConnection(() =>
        insertReceipts(
          pool,
          group.map(({ receipt }) => receipt),
        ),
      );
      observeGroup?.(group.length);
      settleGroup(group, stored, onStored);
    } catch (error) {
      await rejectOrBisect(group, error);
    }
  };

  /** One row that the database cannot hold, or whose key another process holds, must not fail its neighbours. */
  const rejectOrBisect = async (group: readonly Waiting[], error: unknown): Promise<void> => {
    if (!(isDataError(error) || isTransientConflict(error)) || group.length === 1) {
      for (const { reject } of group) reject(isDataError(error) ? error : unavailable(error));
      if (isConnectionError(error)) refuseWaiting(error);
      return;
    }
    const middle = group.length >> 1;
    await writeGroup(group.slice(0, middle));
    await writeGroup(group.slice(middle));
  };

  /** Those who wait behind a write that found no database would find none either, only later, one after the other. */
  const refuseWaiting = (error: unknown) => {
    for (const { reject } of [...waiting.splice(0), ...largeWaiting.splice(0)]) reject(unavailable(error));
  };

  return {
    keep(receipt) {
      if (waiting.length >= waitingMax)
        return Promise.reject(new Problem('overloaded', 'too many receipts wait to be kept', { headers: retryAfter }));
      return new Promise((resolve, reject) => {
        waiting.push({ receipt, resolve, reject });
        if (isScheduled || groupsInFlight >= groupsInFlightMax) return;
        if (groupsInFlight > 0 && waiting.length < overlapRowsMin) {
          overlap ??= setTimeout(startGroups, overlapAfterMs);
          return;
        }
        isScheduled = true;
        setImmediate(startGroups);
      });
    },
    async keepLarge(receipt, chunks) {
      if (largeInFlight >= largeInFlightMax)
        await new Promise<void>((resolve, reject) => largeWaiting.push({ resolve, reject }));
      largeInFlight += 1;
      try {
        const [stored] = await retryConnection(() => writeLarge(pool, receipt, chunks));
        if (stored) onStored([receipt]);
        return stored;
      } catch (error) {
        if (isConnectionError(error)) refuseWaiting(error);
        throw isDataError(error) ? error : unavailable(error);
      } finally {
        largeInFlight -= 1;
        largeWaiting.shift()?.resolve();
      }
    },
    flush: () =>
      groupsInFlight === 0 && waiting.length === 0 ? Promise.resolve() : new Promise((resolve) => idle.push(resolve)),
  };
}

function takeGroup(waiting: Waiting[]): Waiting[] {
  let bytes = 0;
  let count = 0;
  while (count < waiting.length && count < groupRowsMax && (count === 0 || bytes < groupBytesMax)) {
    bytes += waiting[count]!.receipt.sizeBytes;
    count += 1;
  }
  return waiting.splice(0, count);
}

function settleGroup(
  group: readonly Waiting[],
  stored: readonly StoredReceipt[],
  onStored: (receipts: readonly NewReceipt[]) => void,
): void {
  const storedById = new Map(stored.map((row) => [row.receipt_id, row]));
  for (const { receipt, resolve } of group) resolve(storedById.get(receipt.receiptId));
  onStored(group.filter(({ receipt }) => storedById.has(receipt.receiptId)).map(({ receipt }) => receipt));
}

async function writeLarge(pool: pg.Pool, receipt: NewReceipt, chunks: readonly Buffer[]): Promise<StoredReceipt[]> {
  return withTransaction(pool, async (client) => {
    const stored = await insertReceipts(client, [receipt]);
    if (stored.length === 0) return stored;
    let part = 0;
    for (const bytes of inParts(chunks)) {
      await insertBodyPart(client, receipt.receiptId, part, bytes);
      part += 1;
    }
    return stored;
  });
}

/** The same bytes in pieces of exactly one part each, but for the last; at most one part is copied at a time. */
function* inParts(chunks: readonly Buffer[]): Generator<Buffer> {
  let gathered: Buffer[] = [];
  let gatheredBytes = 0;
  for (const chunk of chunks) {
    for (let start = 0; start < chunk.length;) {
      const piece = chunk.subarray(start, start + bodyPartBytes - gatheredBytes);
      gathered.push(piece);
      gatheredBytes += piece.length;
      start += piece.length;
      if (gatheredBytes < bodyPartBytes) continue;
      yield Buffer.concat(gathered);
      gathered = [];
      gatheredBytes = 0;
    }
  }
  if (gatheredBytes > 0) yield Buffer.concat(gathered);
}

/**
 * Repeats a write whose connection failed. The rows carry their ids from before the first try, so a commit whose answer
 * was lost is recognised and neither doubled nor taken for a failure.
 */
async function retryConnection<Result>(write: () => Promise<Result>): Promise<Result> {
  const until = Date.now() + retryForMs;
  for (;;) {
    try {
      return await write();
    } catch (error) {
      if (!isConnectionError(error) || Date.now() >= until) throw error;
      await new Promise((resolve) => setTimeout(resolve, retryPauseMs));
    }
  }
}

/** What Postgres says when it is away; and what has no SQLSTATE, which is an error of the socket or of the pool. */
function isConnectionError(error: unknown): boolean {
  return isDatabaseAwayError(error) || (sqlStateOf(error) === undefined && !(error instanceof Problem));
}

function unavailable(cause: unknown): Problem {
  return new Problem('unavailable', 'the receipt could not be kept; send it again', { headers: retryAfter, cause });
}
