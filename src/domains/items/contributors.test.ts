import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import type pg from 'pg';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { openDatabase, type Database } from '#platform/database.ts';
import { createTestDatabase, type TestDatabase } from '../../testing/database.ts';
import {
  beginTransaction,
  createWorkspace,
  emptyIdentityTables,
  makeAbsorber,
  receiptOf,
  type Absorber,
  type TestWorkspace,
} from '../../testing/deduplication.ts';
import { findStrangers } from './contributors.store.ts';

let testDatabase: TestDatabase;
let database: Database;
let absorber: Absorber;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  database = openDatabase({ url: testDatabase.url, poolSize: 4, applicationName: 'test', isWorker: true });
  absorber = makeAbsorber(database);
});

beforeEach(() => emptyIdentityTables(database));

afterAll(async () => {
  await absorber.close();
  await database.close();
  await testDatabase.drop();
});

const sisbov = { identifier_type: 'sisbov', value: 'BR000000000001' };
const chip = (number: number) => ({ identifier_type: 'chip', value: `982${String(number).padStart(12, '0')}` });
const earTags = (count: number) =>
  Array.from({ length: count }, (_, tag) => ({ identifier_type: 'brinco', value: `tag ${tag}` }));
const textOf = (sizeBytes: number) => randomBytes(sizeBytes / 2).toString('hex');

async function query<Row extends object>(text: string, values: unknown[] = []): Promise<Row[]> {
  return (await database.pool.query<Row>(text, values)).rows;
}

/** What a connection and the server read while a workspace sends one more record of an item. */
async function measureRecord(workspace: TestWorkspace) {
  const { client, commit } = await beginTransaction(database);
  await absorber.absorbWithin(client, workspace, receiptOf({ identifiers: [sisbov], metadata: { weight: 0 } }));
  await client.query('select pg_stat_force_next_flush()');
  await client.query('commit');
  await client.query('begin');
  const readBlocks = async () => {
    const { rows } = await client.query<{ toast: number; table: number }>(
      `select toast_blks_read + toast_blks_hit as toast, heap_blks_read + heap_blks_hit as table
       from pg_statio_user_tables where relname = 'contributions'`,
    );
    return rows[0]!;
  };
  const bytesReceived = () =>
    (client as pg.PoolClient & { connection: { stream: Socket } }).connection.stream.bytesRead;
  const [blocksBefore, bytesBefore] = [await readBlocks(), bytesReceived()];
  await absorber.absorbWithin(client, workspace, receiptOf({ identifiers: [sisbov], metadata: { weight: 1 } }));
  const bytes = bytesReceived() - bytesBefore;
  await client.query('select pg_stat_force_next_flush()');
  await client.query('commit');
  await client.query('begin');
  const blocksAfter = await readBlocks();
  await commit();
  return { bytes, toast: blocksAfter.toast - blocksBefore.toast, table: blocksAfter.table - blocksBefore.table };
}

async function measureAmongStrangers(strangers: number, sizeBytes: number) {
  await emptyIdentityTables(database);
  const workspace = await createWorkspace(database);
  await absorber.absorb(workspace, receiptOf({ identifiers: [sisbov], metadata: { weight: 2 } }));
  for (let at = 0; at < strangers; at += 1) {
    const stranger = await createWorkspace(database);
    await absorber.absorb(
      stranger,
      receiptOf({ identifiers: [sisbov, ...earTags(5)], metadata: { note: textOf(sizeBytes) } }),
    );
  }
  return measureRecord(workspace);
}

test('what a chunk reads does not grow with what others know of its item, and hardly with how many they are', async () => {
  const few = await measureAmongStrangers(2, 2_000);
  const large = await measureAmongStrangers(2, 200_000);
  const many = await measureAmongStrangers(60, 20_000);

  // Numbers of entries and items may be a digit longer.
  expect(large.bytes).toBeLessThan(few.bytes + 10);
  expect(many.bytes).toBeLessThan(few.bytes + 10);
  expect([few.toast, large.toast, many.toast]).toEqual([0, 0, 0]);
  expect(large.table).toBeLessThanOrEqual(few.table + 1);
});

/** What is known of strangers, as a worker reads it. */
async function readStrangers(workspace: TestWorkspace) {
  const rows = await query<{ item_number: number }>('select item_number from items where merged_into is null');
  const strangers = await findStrangers(
    database.pool,
    workspace.id,
    rows.map((row) => row.item_number),
  );
  return strangers.map(({ is_trusted: isTrusted, claims }) => ({
    isTrusted,
    values: claims.map(([, value]) => value),
  }));
}

test('the canonical identifiers of others are the same, however long the rest of their state is and becomes', async () => {
  const [workspace, stranger] = [await createWorkspace(database), await createWorkspace(database)];
  const names = [sisbov, chip(7), chip(7), ...earTags(3)];
  const send = (note: string) => absorber.absorb(stranger, receiptOf({ identifiers: names, metadata: { note } }));
  const keptOf = async () =>
    (await query<{ canonical_claims: unknown }>('select canonical_claims from contributions'))[0]!.canonical_claims;
  const named = [{ isTrusted: false, values: [chip(7).value, '105000000000001'] }];

  await send('short');
  expect(await readStrangers(workspace)).toEqual(named);
  expect(await keptOf()).toBeNull();
  await send(textOf(4_000));
  expect(await readStrangers(workspace)).toEqual(named);
  expect(await keptOf()).not.toBeNull();
  await send('short again');
  expect(await readStrangers(workspace)).toEqual(named);
  expect(await keptOf()).toBeNull();
  // Rows of before have long states and nothing beside.
  await send(textOf(4_000));
  await query('update contributions set canonical_claims = null');
  expect(await readStrangers(workspace)).toEqual(named);
  await send(textOf(4_000));
  expect(await keptOf()).not.toBeNull();
});

test('the lives that others tell are the same, however long their states are and become', async () => {
  const [workspace, ...strangers] = await Promise.all([1, 2, 3].map(() => createWorkspace(database)));
  const send = (stranger: TestWorkspace, occurredAt: string, note: string) =>
    absorber.absorb(
      stranger,
      receiptOf({
        identifiers: [sisbov],
        metadata: { note },
        events: [{ event_type: 'death', occurred_at: occurredAt }],
      }),
    );
  const lifeOf = async () => {
    const rows = await query<{ item_number: number }>('select item_number from items');
    const found = await findStrangers(
      database.pool,
      workspace!.id,
      rows.map((row) => row.item_number),
    );
    return found.map((row) => [row.workspace_count, row.ended_at_micros, row.latest_micros]);
  };
  const [first, second] = ['2025-01-03T00:00:00Z', '2025-01-04T00:00:00Z'] as const;
  const microsOf = (time: string) => Date.parse(time) * 1000;

  for (const stranger of strangers) await absorber.absorb(stranger, receiptOf({ identifiers: [sisbov] }));
  expect(await lifeOf()).toEqual([[2, null, null]]);
  await send(strangers[0]!, first, 'short');
  expect(await lifeOf()).toEqual([[2, microsOf(first), microsOf(first)]]);
  await send(strangers[1]!, second, 'short');
  const both = [[2, microsOf(first), microsOf(second)]];
  expect(await lifeOf()).toEqual(both);
  for (const note of [textOf(4_000), 'short again']) {
    for (const stranger of strangers)
      await absorber.absorb(stranger, receiptOf({ identifiers: [sisbov], metadata: { note } }));
    expect(await lifeOf()).toEqual(both);
  }
});

test('others that named the same are told once, trusted ones apart, oneself not at all', async () => {
  const workspaces = await Promise.all(
    [false, false, false, true].map((trusted) => createWorkspace(database, trusted)),
  );
  for (const workspace of workspaces) await absorber.absorb(workspace, receiptOf({ identifiers: [sisbov] }));

  const strangers = await readStrangers(workspaces[0]!);

  expect(strangers).toHaveLength(2);
  expect(new Set(strangers.map(({ isTrusted }) => isTrusted))).toEqual(new Set([false, true]));
});

test('a merge still joins all that every workspace knew of both items', async () => {
  const [ours, theirs] = [await createWorkspace(database, true), await createWorkspace(database)];
  for (const workspace of [ours, theirs]) {
    await absorber.absorb(workspace, receiptOf({ identifiers: [sisbov], metadata: { note: textOf(4_000) } }));
    await absorber.absorb(workspace, receiptOf({ identifiers: [chip(1)], metadata: { weight: 1 } }));
  }

  await absorber.absorb(ours, receiptOf({ identifiers: [sisbov, chip(1)] }));

  const states = await query<{ fields: string[]; claims: number }>(
    `select array(select json_object_keys(state -> 'fields') order by 1) as fields, json_array_length(canonical_claims) as claims
     from contributions join items using (item_number) where merged_into is null`,
  );
  expect(states).toEqual([
    { fields: ['note', 'weight'], claims: 2 },
    { fields: ['note', 'weight'], claims: 2 },
  ]);
});

test('a conflict names all who contributed to what it contests', async () => {
  const [ours, ...strangers] = await Promise.all([false, false, false].map(() => createWorkspace(database)));
  for (const stranger of strangers) await absorber.absorb(stranger, receiptOf({ identifiers: [sisbov] }));
  await absorber.absorb(strangers[0]!, receiptOf({ identifiers: [chip(1)] }));

  const [verdict] = await absorber.absorb(ours!, receiptOf({ identifiers: [sisbov, chip(1)] }));

  expect(verdict?.status).toBe('conflicted');
  const participants = await query<{ workspace_id: string }>('select workspace_id from conflict_participants');
  expect(participants.map((row) => row.workspace_id).toSorted()).toEqual(
    [ours!, ...strangers].map(({ id }) => id).toSorted(),
  );
});
