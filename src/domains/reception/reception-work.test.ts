import { hash } from 'node:crypto';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { openDatabase, withTransaction, type Database } from '#platform/database.ts';
import { makeReceiptId } from '#platform/ids.ts';
import type { Bell } from '#platform/queue/bell.ts';
import { createTestDatabase, type TestDatabase } from '../../testing/database.ts';
import {
  beginTransaction,
  createWorkspace,
  findBrokenRules,
  receiptOf,
  makeAbsorber,
  seedTypes,
  waitUntilBlocked,
  type TestWorkspace,
} from '../../testing/deduplication.ts';
import { bulkLane, smallLane } from './cut-receipts.ts';
import { insertReceipts } from './receipts.store.ts';
import { makeReceptionWork } from './reception-work.ts';
import { retryFailedEntries } from './retry-entries.ts';
import {
  claimChunks,
  cuttingChunkNumber,
  finishChunks,
  firstWorkspace,
  insertAttempts,
  insertChunks,
  markCut,
} from './work.store.ts';

const lanesFromTheStart = [
  { lane: bulkLane, cursor: firstWorkspace },
  { lane: smallLane, cursor: firstWorkspace },
] as const;

let testDatabase: TestDatabase;
/** For what the test does itself. */
let database: Database;
let stopWorkers: (() => Promise<void>)[] = [];

/** A worker process in all but the process, whose bell nobody hears. */
function startWorker() {
  const own = openDatabase({ url: testDatabase.url, poolSize: 3, applicationName: 'test-worker', isWorker: true });
  const bell: Bell = { ring: async () => false, countJobs: async () => undefined };
  const work = makeReceptionWork({
    database: own,
    bell,
    logger: pino({ level: 'silent' }),
    loadTypes: async () => seedTypes,
    ingestionConcurrency: 1,
    deduplicationConcurrency: 1,
    identifiersPerItemMax: 100,
  });
  stopWorkers.push(async () => {
    await work.close();
    await own.close();
  });
  return {
    ...work,
    /** Works until nothing is due. */
    async drain() {
      while (await work.ingestion.workDirectly());
      while (await work.deduplication.workDirectly());
    },
  };
}

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  database = openDatabase({ url: testDatabase.url, poolSize: 6, applicationName: 'test', isWorker: true });
});

beforeEach(async () => {
  await database.pool.query(
    `truncate items, identifier_claims, identifier_mentions, contributions, entries, item_merges, events, workspaces,
              receipts, receipt_bodies, receipt_chunks, work_attempts cascade`,
  );
});

afterEach(async () => {
  await Promise.all(stopWorkers.map((stop) => stop()));
  stopWorkers = [];
});

afterAll(async () => {
  await database.close();
  await testDatabase.drop();
});

const sisbov = (number: number) => ({ identifier_type: 'sisbov', value: `BR${String(number).padStart(12, '0')}` });
const animal = (number: number, metadata: object = {}) => ({ identifiers: [sisbov(number)], metadata });

async function query<Row extends object>(text: string, values: unknown[] = []): Promise<Row[]> {
  return (await database.pool.query<Row>(text, values)).rows;
}

/** Stores a receipt of NDJSON, as reception does. */
async function submit(workspace: TestWorkspace, records: readonly object[]): Promise<string> {
  const receiptId = makeReceiptId();
  const body = Buffer.from(records.map((record) => JSON.stringify(record)).join('\n'));
  await insertReceipts(database.pool, [
    {
      receiptId,
      workspaceId: workspace.id,
      hash: hash('sha256', body, 'buffer'),
      sizeBytes: body.length,
      contentType: 'application/x-ndjson',
      format: 'ndjson',
      charset: 'utf-8',
      valueChain: null,
      country: null,
      year: null,
      circuitId: null,
      requestId: receiptId,
      body,
      idempotency: null,
    },
  ]);
  return receiptId;
}

/** Stores a receipt that is cut already, one record to a chunk. */
async function submitCut(workspace: TestWorkspace, records: readonly object[], lane: number): Promise<string> {
  const receiptId = await submit(workspace, records);
  const [receipt] = await query<{ received_sequence: number }>(
    'select received_sequence from receipts where receipt_id = $1',
    [receiptId],
  );
  let byteStart = 0;
  const chunks = records.map((record, chunkNumber) => {
    const byteLength = Buffer.byteLength(JSON.stringify(record));
    const chunk = {
      receiptId,
      chunkNumber,
      workspaceId: workspace.id,
      receivedSequence: receipt!.received_sequence,
      lane,
      byteStart,
      byteLength,
      firstPosition: chunkNumber,
      firstLine: chunkNumber + 1,
      entryCount: 1,
    };
    byteStart += byteLength + 1;
    return chunk;
  });
  await insertChunks(database.pool, chunks);
  await markCut(database.pool, [
    { receiptId, entryTotal: records.length, csvLayout: null, unclassifiedFields: null, failure: null },
  ]);
  return receiptId;
}

const entriesOf = (receiptId: string) =>
  query<{ status: string; outcome: string | null; code: string | null }>(
    `select status, outcome, error ->> 'code' as code from entries
     where entry_id > $1::uuid and entry_id < $1::uuid_next order by entry_id`.replace(
      '$1::uuid_next',
      `(left($1::text, 30) || 'ffffff')::uuid`,
    ),
    [receiptId],
  );

const statusesOf = async (receiptId: string) => (await entriesOf(receiptId)).map((entry) => entry.status);

const undoneChunks = async () =>
  (await query<{ count: number }>('select count(*) as count from receipt_chunks where not is_done'))[0]!.count;

const makeAllDue = () =>
  query(`with chunks as (update receipt_chunks set next_attempt_at = now() - interval '2 seconds' where not is_done)
         update receipts set received_at = now() - interval '2 seconds', next_attempt_at = now() - interval '2 seconds' where cut_at is null`);

/** The settlement follows the commit that answers the worker. */
async function waitUntilSettled(receiptId: string): Promise<{ outcome: string }> {
  const deadline = Date.now() + 5000;
  for (;;) {
    const [row] = await query<{ outcome: string }>(
      'select outcome from receipts where receipt_id = $1 and finished_at is not null',
      [receiptId],
    );
    if (row) return row;
    if (Date.now() > deadline) throw new Error(`${receiptId} does not settle`);
  }
}

/** Tries of a chunk that ended with their worker; a position is the record that was being tried. */
async function addCrashes(receiptId: string, chunkNumber: number, positions: readonly (number | null)[]) {
  const attempts = positions.map((position, at) => ({
    receipt_id: receiptId,
    chunk_number: chunkNumber,
    attempt: at + 1,
    position,
  }));
  await insertAttempts(database.pool, attempts, 'a worker that is gone');
}

describe('a chunk', () => {
  test('that one worker holds is nothing due for another, and due again when the first lets go', async () => {
    const workspace = await createWorkspace(database);
    const receiptId = await submitCut(workspace, [animal(1)], bulkLane);
    const holder = await beginTransaction(database);
    await claimChunks(holder.client, lanesFromTheStart, { lane: smallLane, chunksMax: 1 });
    const worker = startWorker();

    expect(await worker.deduplication.workDirectly()).toBe(false);
    await holder.rollback();

    expect(await worker.deduplication.workDirectly()).toBe(true);
    expect(await statusesOf(receiptId)).toEqual(['completed']);
  });

  test('is worked once by workers that begin at the same time', async () => {
    const workspace = await createWorkspace(database);
    const receiptId = await submitCut(workspace, [animal(1)], bulkLane);
    const all = [startWorker(), startWorker(), startWorker()];

    const worked = await Promise.all(all.map((worker) => worker.deduplication.workDirectly()));

    expect(worked.filter(Boolean)).toHaveLength(1);
    expect(await statusesOf(receiptId)).toEqual(['completed']);
  });

  test('is worked once however often its job comes', async () => {
    const workspace = await createWorkspace(database);
    const receiptId = await submitCut(workspace, [animal(1)], bulkLane);
    const job = { receipt_id: receiptId, chunk_number: 0 };
    const [worker, other] = [startWorker(), startWorker()];

    const results = [
      await worker.deduplication.process(job),
      await worker.deduplication.process(job),
      await other.deduplication.process(job),
    ];

    expect(results).toMatchObject([
      { chunks: 1, completed: 1, created: 1 },
      { chunk: 'was worked under the permit of another job' },
      { chunk: 'nothing was due' },
    ]);
    expect(await statusesOf(receiptId)).toEqual(['completed']);
  });

  test('whose connection is cut in the middle leaves nothing behind and is worked again', async () => {
    const workspace = await createWorkspace(database);
    const receiptId = await submitCut(workspace, [animal(1)], bulkLane);
    const absorber = makeAbsorber(database);
    const blocker = await beginTransaction(database);
    await absorber.absorbWithin(blocker.client, workspace, receiptOf(animal(1)));
    const worker = startWorker();
    const attempt = worker.deduplication.workDirectly().then(
      () => 'worked',
      () => 'failed',
    );
    const pid = await findWaitingWorker();
    await waitUntilBlocked(database, pid);

    await query('select pg_terminate_backend($1)', [pid]);

    expect(await attempt).toBe('failed');
    await blocker.rollback();
    expect(await query('select * from items')).toEqual([]);
    expect(await query('select * from entries')).toEqual([]);
    await makeAllDue();
    expect(await worker.deduplication.workDirectly()).toBe(true);
    expect(await statusesOf(receiptId)).toEqual(['completed']);
    expect(await findBrokenRules(database)).toEqual([]);
    await absorber.close();
  });

  test('that only met another transaction is worked under the same permit, and the first try does not count', async () => {
    const workspace = await createWorkspace(database);
    const absorber = makeAbsorber(database);
    await absorber.absorb(workspace, receiptOf(animal(1), { identifiers: [chip(1)] }));
    const receiptId = await submitCut(workspace, [{ identifiers: [chip(1)], metadata: { weight: 1 } }], bulkLane);
    const merger = await beginTransaction(database);
    await absorber.absorbWithin(merger.client, workspace, receiptOf({ identifiers: [sisbov(1), chip(1)] }));
    const worker = startWorker();
    const attempt = worker.deduplication.workDirectly();
    await waitUntilBlocked(database, await findWaitingWorker());

    await merger.commit();

    expect(await attempt).toBe(true);
    expect(await entriesOf(receiptId)).toEqual([{ status: 'completed', outcome: 'enriched', code: null }]);
    expect(await query('select attempt from work_attempts')).toEqual([{ attempt: 1 }]);
    expect(await findBrokenRules(database)).toEqual([]);
    await absorber.close();
  });
});

const chip = (number: number) => ({ identifier_type: 'chip', value: `982${String(number).padStart(12, '0')}` });

async function findWaitingWorker(): Promise<number> {
  const deadline = Date.now() + 5000;
  for (;;) {
    const [row] = await query<{ pid: number }>(
      `select pid from pg_stat_activity where datname = current_database() and application_name = 'test-worker' and wait_event_type = 'Lock'`,
    );
    if (row) return row.pid;
    if (Date.now() > deadline) throw new Error('no worker waits for a lock');
  }
}

describe('a poison record', () => {
  beforeEach(async () => {
    // No record that passes judging is known to break the database, so the database is taught to break at one.
    await query(`create function refuse_poison() returns trigger language plpgsql as $$ begin
      if new.record::text like '%poison%' then raise exception 'poison' using errcode = '22000'; end if; return new; end $$`);
    await query('create trigger refuse_poison before insert on entries for each row execute function refuse_poison()');
  });

  afterEach(async () => {
    await query('drop function refuse_poison cascade');
  });

  test.each([[[2]], [[0, 1, 6]], [[0, 1, 2, 3, 4, 5, 6]]])(
    'is rejected alone with its reason, its neighbours are kept (positions %j)',
    async (poisoned) => {
      const workspace = await createWorkspace(database);
      const records = Array.from({ length: 7 }, (_, at) => animal(at, poisoned.includes(at) ? { word: 'poison' } : {}));
      const receiptId = await submit(workspace, records);

      await startWorker().drain();

      expect(await entriesOf(receiptId)).toEqual(
        records.map((_, at) =>
          poisoned.includes(at)
            ? { status: 'rejected', outcome: null, code: 'unprocessable_record' }
            : { status: 'completed', outcome: 'created', code: null },
        ),
      );
      expect(await waitUntilSettled(receiptId)).toEqual({ outcome: 'completed_with_errors' });
      expect(await findBrokenRules(database)).toEqual([]);
    },
  );

  test('among records that meet items which exist is rejected alone too', async () => {
    const workspace = await createWorkspace(database);
    const worker = startWorker();
    await submit(workspace, [animal(1), animal(2)]);
    await worker.drain();
    const receiptId = await submit(workspace, [animal(1, { weight: 1 }), animal(2, { word: 'poison' }), animal(3)]);

    await worker.drain();

    expect(await statusesOf(receiptId)).toEqual(['completed', 'rejected', 'completed']);
    expect(await findBrokenRules(database)).toEqual([]);
  });

  test('of one small receipt costs the receipts of the same batch nothing', async () => {
    const workspace = await createWorkspace(database);
    const receiptIds = [
      await submit(workspace, [animal(1)]),
      await submit(workspace, [animal(2, { word: 'poison' })]),
      await submit(workspace, [animal(3)]),
    ];

    await startWorker().drain();

    const statuses = await Promise.all(receiptIds.map(statusesOf));
    expect(statuses).toEqual([['completed'], ['rejected'], ['completed']]);
  });
});

describe('a record that ends its worker', () => {
  const threeCrashes = [null, null, null];

  test('fails alone once it was the last of two tries record by record, and others complete', async () => {
    const workspace = await createWorkspace(database);
    const receiptId = await submit(workspace, [animal(1), animal(2), animal(3)]);
    const worker = startWorker();
    await worker.ingestion.workDirectly();
    await addCrashes(receiptId, 0, [...threeCrashes, 1, 1]);

    await worker.drain();

    expect(await entriesOf(receiptId)).toEqual([
      { status: 'completed', outcome: 'created', code: null },
      { status: 'failed', outcome: null, code: 'processing_failed' },
      { status: 'completed', outcome: 'created', code: null },
    ]);
    expect(await waitUntilSettled(receiptId)).toEqual({ outcome: 'completed_with_errors' });
    expect(await findBrokenRules(database)).toEqual([]);
  });

  test.each([
    ['whole', threeCrashes],
    ['with another record as the last each time', [...threeCrashes, 0, 1, 2]],
  ])('is not suspected after tries that ended %s', async (_name, crashes) => {
    const workspace = await createWorkspace(database);
    const receiptId = await submit(workspace, [animal(1), animal(2), animal(3)]);
    const worker = startWorker();
    await worker.ingestion.workDirectly();
    await addCrashes(receiptId, 0, crashes);

    await worker.drain();

    expect(await statusesOf(receiptId)).toEqual(['completed', 'completed', 'completed']);
  });

  test('is worked again on request, and the receipt counts it anew', async () => {
    const workspace = await createWorkspace(database);
    const receiptId = await submit(workspace, [animal(1), animal(2), animal(3)]);
    const worker = startWorker();
    await worker.ingestion.workDirectly();
    await addCrashes(receiptId, 0, [...threeCrashes, 1, 1]);
    await worker.drain();
    await waitUntilSettled(receiptId);

    const retried = await withTransaction(database.pool, (client) =>
      retryFailedEntries(client, workspace.id, receiptId),
    );
    await worker.drain();

    expect(retried.entries).toBe(1);
    expect(await statusesOf(receiptId)).toEqual(['completed', 'completed', 'completed']);
    expect(await waitUntilSettled(receiptId)).toEqual({ outcome: 'completed' });
    const sums = await query('select sum(completed) as completed, sum(failed) as failed from receipt_chunks');
    expect(sums).toEqual([{ completed: 3, failed: 0 }]);
  });

  test('costs chunks that were claimed beside it no try', async () => {
    const workspace = await createWorkspace(database);
    const troubled = await submitCut(workspace, [animal(1)], smallLane);
    const innocent = await submitCut(workspace, [animal(2)], smallLane);
    await addCrashes(troubled, 0, threeCrashes);

    await startWorker().deduplication.workDirectly();

    expect(await statusesOf(troubled)).toEqual(['completed']);
    expect(await query('select * from work_attempts where receipt_id = $1', [innocent])).toEqual([]);
  });
});

describe('cutting', () => {
  test('of receipts whose workers ended together is tried for each alone, and none is given up for the others', async () => {
    const workspace = await createWorkspace(database);
    const receiptIds: string[] = [];
    for (let number = 1; number <= 8; number += 1) receiptIds.push(await submit(workspace, [animal(number)]));
    for (const receiptId of receiptIds) await addCrashes(receiptId, cuttingChunkNumber, [null, null, null]);

    await startWorker().drain();

    expect(await Promise.all(receiptIds.map(statusesOf))).toEqual(receiptIds.map(() => ['completed']));
  });

  test('is given up for a receipt that ended every worker, which fails with the reason', async () => {
    const workspace = await createWorkspace(database);
    const [deadly, innocent] = [await submit(workspace, [animal(1)]), await submit(workspace, [animal(2)])];
    await addCrashes(deadly, cuttingChunkNumber, [null, null, null, null, null, null]);

    await startWorker().drain();

    const [row] = await query(`select outcome, failure ->> 'code' as code from receipts where receipt_id = $1`, [
      deadly,
    ]);
    expect(row).toEqual({ outcome: 'failed', code: 'processing_failed' });
    expect(await statusesOf(innocent)).toEqual(['completed']);
  });
});

describe('the turn of workspaces', () => {
  const manyAnimals = (count: number, from: number) => Array.from({ length: count }, (_, at) => animal(from + at));

  test('comes to one with a single chunk while another has two hundred', async () => {
    const [busy, quiet] = [await createWorkspace(database), await createWorkspace(database)];
    await submitCut(busy, manyAnimals(200, 1000), bulkLane);
    const worker = startWorker();
    await worker.deduplication.workDirectly();
    const receiptId = await submitCut(quiet, [animal(1)], bulkLane);

    await worker.deduplication.workDirectly();
    await worker.deduplication.workDirectly();

    expect(await statusesOf(receiptId)).toEqual(['completed']);
  });

  test('begins with small receipts but comes to bulk within four claims', async () => {
    const bulk = await createWorkspace(database);
    const bulkReceipt = await submitCut(bulk, [animal(1)], bulkLane);
    for (let number = 2; number <= 8; number += 1) {
      await submitCut(await createWorkspace(database), [animal(number)], smallLane);
    }
    const worker = startWorker();

    await worker.deduplication.workDirectly();
    const afterOne = await statusesOf(bulkReceipt);
    for (let claim = 2; claim <= 4; claim += 1) await worker.deduplication.workDirectly();

    expect(afterOne).toEqual([]);
    expect(await statusesOf(bulkReceipt)).toEqual(['completed']);
  });

  test('comes to a workspace behind hundreds whose chunks are put off', async () => {
    const workspaces = await Promise.all(Array.from({ length: 260 }, () => createWorkspace(database)));
    const inTurn = workspaces.toSorted((a, b) => (a.id < b.id ? -1 : 1));
    for (const [at, workspace] of inTurn.entries()) await submitCut(workspace, [animal(at)], bulkLane);
    const last = inTurn.at(-1)!;
    await query(`update receipt_chunks set next_attempt_at = now() + interval '1 hour' where workspace_id <> $1`, [
      last.id,
    ]);
    const worker = startWorker();

    const worked = [await worker.deduplication.workDirectly(), await worker.deduplication.workDirectly()];

    expect(worked).toContain(true);
  });
});

describe('a receipt', () => {
  test('settles when its last chunks end together', async () => {
    const workspace = await createWorkspace(database);
    const [one, other] = [startWorker(), startWorker()];
    for (let round = 0; round < 10; round += 1) {
      const receiptId = await submitCut(workspace, [animal(2 * round), animal(2 * round + 1)], bulkLane);

      await Promise.all([one.deduplication.workDirectly(), other.deduplication.workDirectly()]);

      expect(await waitUntilSettled(receiptId)).toEqual({ outcome: 'completed' });
    }
  });

  test('whose settlement was missed is settled by the sweep, however many open ones stand before it', async () => {
    const workspace = await createWorkspace(database);
    for (let number = 0; number < 250; number += 1) await submitCut(workspace, [animal(number)], smallLane);
    const missed = await submitCut(workspace, [animal(999)], smallLane);
    const counts = { completed: 1, rejected: 0, failed: 0, conflicted: 0, created: 1, enriched: 0 };
    await finishChunks(database.pool, [{ receipt_id: missed, chunk_number: 0, ...counts }]);
    const worker = startWorker();

    await worker.deduplication.tidy!();
    await worker.deduplication.tidy!();

    expect(await waitUntilSettled(missed)).toEqual({ outcome: 'completed' });
    const open = await query<{ count: number }>('select count(*) as count from receipts where finished_at is null');
    expect(open).toEqual([{ count: 250 }]);
  });

  test('is found by the sweep and worked without any queue when every job was lost', async () => {
    const workspace = await createWorkspace(database);
    const receiptIds = [await submit(workspace, [animal(1), animal(2)]), await submit(workspace, [animal(3)])];
    const worker = startWorker();
    await makeAllDue();
    const overdueReceipts = await worker.ingestion.findOverdue(50);
    await worker.ingestion.workDirectly();
    await makeAllDue();
    const overdueChunks = await worker.deduplication.findOverdue(50);

    await worker.drain();

    expect(overdueReceipts.flatMap((job) => job.receipt_ids)).toEqual(receiptIds);
    expect(overdueChunks.map((job) => job.receipt_id).toSorted()).toEqual(receiptIds.toSorted());
    expect(await undoneChunks()).toBe(0);
    for (const receiptId of receiptIds) expect(await waitUntilSettled(receiptId)).toEqual({ outcome: 'completed' });
  });
});
