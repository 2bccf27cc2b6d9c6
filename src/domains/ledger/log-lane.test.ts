import { Keypair } from '@stellar/stellar-sdk/base';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { insertEvents } from '#domains/events/index.ts';
import { openDatabase, withTransaction, type Database } from '#platform/database.ts';
import { makeId } from '#platform/ids.ts';
import { makeLogger } from '#platform/logger.ts';
import { createTestDatabase, type TestDatabase } from '../../testing/database.ts';
import { weighing } from '../../testing/events.ts';
import { beginTransaction } from '../../testing/deduplication.ts';
import { storeNothing } from '../../testing/storage.ts';
import { treeHash } from '../../testing/tree-hash.ts';
import { commitmentFrom, entryOf } from './entry-commitment.ts';
import { makeLedgerWork } from './ledger-work.ts';
import { leafHash } from './log-tree.ts';
import { readRoot, TileCache } from './log-tiles.ts';
import { findCheckpoint, findCommitments, findProvenEvent, findProvenVersion, readLogState } from './log.store.ts';
import { discloseEvent } from './logged-event.ts';
import { discloseVersion } from './logged-version.ts';
import { sequenceEvents } from './sequence-events.ts';
import { signCheckpoint, type CheckpointSigning } from './sign-checkpoint.ts';
import { makeSigningKey, readSigningKey } from './signed-note.ts';

let testDatabase: TestDatabase;
let database: Database;
let folder: string;
let signing: CheckpointSigning & { lastCheckpointFile: string };
const workspaceId = makeId();
const logger = makeLogger({ level: 'silent', name: 'test' });

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  database = openDatabase({ url: testDatabase.url, poolSize: 8, applicationName: 'test', isWorker: true });
  await database.pool.query(
    `insert into items (item_number, value_chain, country, year) values (1, 'BEEF', 'BR', 2025)`,
  );
});
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'defarm-log-'));
  signing = {
    origin: 'example.com/log',
    signer: readSigningKey(makeSigningKey('example.com/log'))!,
    lastCheckpointFile: join(folder, 'checkpoint'),
  };
  await database.pool.query(
    'truncate events, event_feed, contributions, item_versions, log_entries, log_tiles, log_checkpoints, log_anchors, log_anchor_attempts',
  );
  await database.pool.query(
    'update log_state set size = 0, refusal = null, anchor_refusal = null, anchor_due_at = now()',
  );
});
afterEach(() => rmSync(folder, { recursive: true }));
afterAll(async () => {
  await database.close();
  await testDatabase.drop();
});

const eventsOf = (count: number) => Array.from({ length: count }, () => weighing({ workspaceId }));
const tell = async (count: number) => {
  const events = eventsOf(count);
  await withTransaction(database.pool, (client) => insertEvents(client, events));
  return events.map(({ eventId }) => eventId);
};
const loggedIds = async () =>
  (await database.pool.query<{ event_id: string }>('select event_id from log_entries order by index')).rows.map(
    (row) => row.event_id,
  );
const sequenceAll = async (rows = 5000, bytes = 1_000_000, steps = 3) => {
  while ((await sequenceEvents(database.pool, { steps, rows, bytes }, storeNothing))?.hasMore);
};

/** The lane without anything that is outside of the database, but for what is named. */
const workWith = (more: Partial<Parameters<typeof makeLedgerWork>[0]>) =>
  makeLedgerWork({
    pool: database.pool,
    logger,
    areRecordsWaiting: () => Promise.resolve(false),
    startContents: storeNothing,
    signing: undefined,
    witnesses: [],
    anchoring: undefined,
    following: undefined,
    calling: undefined,
    ...more,
  });

/** The root as its definition has it, over all entries that there are. */
async function rootOfAllEntries(): Promise<Buffer> {
  const { size } = await readLogState(database.pool);
  const leaves = (await findCommitments(database.pool, 0, size)).map((each) => leafHash(entryOf(each)));
  expect(leaves).toHaveLength(size);
  return treeHash(leaves);
}

describe('the lane of the log', () => {
  test.each([1, 7, 255, 256, 300, 5000])(
    'takes each event in once and in its order, %i at a time, and stores the tiles that its tree has',
    async (limit) => {
      const told = [...(await tell(257)), ...(await tell(limit < 10 ? 1 : 3000))];

      await sequenceAll(limit);

      expect(await loggedIds()).toEqual(told);
      const { size } = await readLogState(database.pool);
      expect(size).toBe(told.length);
      expect(await readRoot({ queryable: database.pool }, size)).toEqual(await rootOfAllEntries());
      const { rows } = await database.pool.query('select * from event_feed');
      expect(rows).toEqual([]);
    },
  );

  test('takes in as many bytes at a time as it may, and at least one event however large', async () => {
    const told = await tell(30);

    const step = await sequenceEvents(database.pool, { steps: 1, rows: 100, bytes: 25 }, storeNothing);

    expect(step).toEqual({ entries: 3, hasMore: true });
    await sequenceAll(100, 1);
    expect(await loggedIds()).toEqual(told);
  });

  describe('with what a workspace knows of the item', () => {
    const stateOf = (weight: number) =>
      JSON.stringify({
        entries: [[makeId(), 1_760_000_000_000_000, 1]],
        identifiers: [['SISBOV', 'BR 1', 'sisbov', 'BR1', 1, 0]],
        fields: { 'weight "kg"': [weight, 0, 0] },
      });
    const contribute = (version: number, weight: number) =>
      database.pool.query(
        `insert into contributions (item_number, workspace_id, version, state) values (1, $1, $2, $3)
         on conflict (item_number, workspace_id) do update set version = excluded.version, state = excluded.state`,
        [workspaceId, version, stateOf(weight)],
      );
    const logged = async () =>
      (
        await database.pool.query<{ index: number; version: number; content: string }>(
          'select index, version, content from item_versions order by index',
        )
      ).rows.map(({ index, version, content }) => ({ index, version, content: JSON.parse(content) as object }));
    const contentOf = (weight: number) => ({
      identifiers: [
        {
          identifier_type: 'SISBOV',
          value: 'BR 1',
          is_canonical: true,
          normalized_type: 'sisbov',
          normalized_value: 'BR1',
        },
      ],
      metadata: { 'weight "kg"': weight },
      status: 'active',
    });

    test.each([1, 2, 100])('commits to each version once, behind its last event, %i at a time', async (rows) => {
      await contribute(1, 400);
      await tell(3);
      await sequenceAll(rows);
      await tell(1);
      await sequenceAll(rows);
      await contribute(4, 410);
      await tell(2);
      await sequenceAll(rows);

      const versions = await logged();

      expect(versions.map(({ version, content }) => ({ version, content }))).toEqual([
        { version: 1, content: contentOf(400) },
        { version: 4, content: contentOf(410) },
      ]);
      const { size } = await readLogState(database.pool);
      expect(size).toBe(6 + 2);
      expect(await readRoot({ queryable: database.pool }, size)).toEqual(await rootOfAllEntries());
    });

    test('shows of a version what was committed to, field by field', async () => {
      await contribute(2, 400);
      await tell(1);
      await sequenceAll();

      const row = (await findProvenVersion(database.pool, workspaceId, [1], { size: 2, version: 2 }))!;
      const shown = discloseVersion(row, row.seed!);

      expect(commitmentFrom(shown.fields, Buffer.from(shown.salt, 'hex'))).toBe(row.commitment.toString('hex'));
      expect(Object.keys(shown.fields)).toEqual([
        'dfid',
        'identifiers.0',
        'kind',
        'metadata.0',
        'participant',
        'recorded_at',
        'status',
        'version',
      ]);
      expect(await findProvenVersion(database.pool, workspaceId, [1], { size: 1, version: 2 })).toBeUndefined();
      expect(await findProvenVersion(database.pool, makeId(), [1], { size: 2, version: 2 })).toBeUndefined();
    });
  });

  test('fills tiles of the second level', async () => {
    await database.pool.query(
      `insert into events (workspace_id, event_id, item_number, event_type, occurred_at, visibility, payload)
       select $1, gen_random_uuid(), 1, 'weighed', now(), 'private', '{}' from generate_series(1, 66000)`,
      [workspaceId],
    );
    await database.pool.query(
      'insert into event_feed (workspace_id, event_id, item_number) select workspace_id, event_id, item_number from events',
    );

    await sequenceAll(7000);

    const { rows } = await database.pool.query<{ level: number; tiles: number }>(
      'select level, count(*) as tiles from log_tiles group by level order by level',
    );
    expect(rows).toEqual([
      { level: 0, tiles: 257 },
      { level: 1, tiles: 1 },
    ]);
    expect(await readRoot({ queryable: database.pool }, 66_000)).toEqual(await rootOfAllEntries());
  });

  test('has the same root from tiles that were read before', async () => {
    const source = { queryable: database.pool, cache: new TileCache(3) };
    for (const count of [1, 255, 300, 700]) {
      await tell(count);
      await sequenceAll();
      const { size } = await readLogState(database.pool);
      const root = await rootOfAllEntries();
      expect(await readRoot(source, size)).toEqual(root);
      expect(await readRoot(source, size)).toEqual(root);
    }
  });

  test('is one, however many processes are at it', async () => {
    const told = await tell(2000);

    await Promise.all(Array.from({ length: 6 }, () => sequenceAll(100)));
    await sequenceAll();

    expect((await loggedIds()).toSorted()).toEqual(told.toSorted());
    expect(await readRoot({ queryable: database.pool }, 2000)).toEqual(await rootOfAllEntries());
  });

  test('takes in nothing that is not committed, and leaves nothing out that is committed late', async () => {
    const late = await beginTransaction(database);
    const lateEvents = eventsOf(3);
    await insertEvents(late.client, lateEvents);
    const early = await tell(2);

    await sequenceAll();
    expect(await loggedIds()).toEqual(early);
    await late.commit();
    await sequenceAll();

    expect(await loggedIds()).toEqual([...early, ...lateEvents.map(({ eventId }) => eventId)]);
  });

  test.each([String.raw`{"text":"\ud800"}`, `{"deep":${'['.repeat(3000)}${']'.repeat(3000)}}`])(
    'is not stopped by a payload without a canonical form',
    async (payload) => {
      const [odd] = await tell(2);
      await database.pool.query('update events set payload = $2 where event_id = $1', [odd, payload]);

      await sequenceAll();

      expect(await loggedIds()).toContain(odd);
      const [row] = (
        await database.pool.query<{ commitment: Buffer; seed: Buffer }>(
          'select commitment, seed from log_entries where event_id = $1',
          [odd],
        )
      ).rows;
      const proven = await findProvenEvent(database.pool, workspaceId, odd!);
      const { fields, salt } = discloseEvent(proven!, row!.seed);
      expect(commitmentFrom(fields, Buffer.from(salt, 'hex'))).toBe(row!.commitment.toString('hex'));
    },
  );

  test('passes over events that are no more', async () => {
    const [gone, ...left] = await tell(3);
    await database.pool.query('delete from events where event_id = $1', [gone]);

    await sequenceAll();

    expect(await loggedIds()).toEqual(left);
  });
});

describe('a checkpoint', () => {
  test('is signed of what is committed, once for each size, and kept outside of the database', async () => {
    await tell(10);
    await sequenceAll();

    expect(await signCheckpoint(database.pool, signing)).toBe(10);
    const first = await findCheckpoint(database.pool);
    expect(readFileSync(signing.lastCheckpointFile, 'utf8')).toBe(first!.note);
    await signCheckpoint(database.pool, signing);
    expect(await findCheckpoint(database.pool)).toEqual(first);
  });

  test('is refused for a database that was restored to an earlier time', async () => {
    await tell(10);
    await sequenceAll();
    await signCheckpoint(database.pool, signing);
    await database.pool.query('delete from log_entries where index >= 5');
    await database.pool.query('update log_state set size = 5');
    await database.pool.query('truncate log_checkpoints');

    expect(await signCheckpoint(database.pool, signing)).toBeUndefined();
    expect((await readLogState(database.pool)).refusal).toContain('it was restored');

    await tell(20);
    await sequenceAll();
    expect(await signCheckpoint(database.pool, signing)).toBeUndefined();
    expect((await readLogState(database.pool)).refusal).toContain('it is another log');
    expect(await findCheckpoint(database.pool)).toBeUndefined();
  });

  test('is refused while what is kept outside is of another key or cannot be understood, and signed again after', async () => {
    await tell(1);
    await sequenceAll();
    writeFileSync(signing.lastCheckpointFile, 'nonsense');

    expect(await signCheckpoint(database.pool, signing)).toBeUndefined();
    expect((await readLogState(database.pool)).refusal).toContain('holds no checkpoint');
    rmSync(signing.lastCheckpointFile);

    expect(await signCheckpoint(database.pool, signing)).toBe(1);
    expect((await readLogState(database.pool)).refusal).toBeNull();
  });

  test('is refused to another key than the one that signed before', async () => {
    await tell(1);
    await sequenceAll();
    await signCheckpoint(database.pool, signing);
    await tell(1);
    await sequenceAll();
    const other = {
      ...signing,
      signer: readSigningKey(makeSigningKey('example.com/log'))!,
      lastCheckpointFile: undefined,
    };

    expect(await signCheckpoint(database.pool, other)).toBeUndefined();
    expect((await readLogState(database.pool)).refusal).toContain('another key');
    expect(await signCheckpoint(database.pool, signing)).toBe(2);
  });

  test('waits for records that wait, for half a minute at most', async () => {
    let areWaiting = true;
    const work = workWith({ areRecordsWaiting: () => Promise.resolve(areWaiting) });
    await work.process({});
    const workNow = async () => ({ isDue: (await work.findOverdue(1)).length === 1, ...(await work.process({})) });
    const makeOld = () => database.pool.query(`update events set created_at = now() - interval '31 seconds'`);
    await tell(1);

    const young = await workNow();
    await makeOld();
    const old = await workNow();
    await tell(1);
    areWaiting = false;
    const alone = await workNow();

    expect([young, old, alone]).toMatchObject([
      { isDue: false, entries: 0 },
      { isDue: true, entries: 1 },
      { isDue: true, entries: 1 },
    ]);
  });

  test('is not held up by a ledger that does not answer', async () => {
    await tell(1);
    const { promise: answer, resolve: answerAtLast } = Promise.withResolvers<never>();
    const rpc = {
      findTransaction: () => answer,
      readAccount: () => answer,
      readFeeStroops: () => answer,
      send: () => answer,
      readLedgerRange: () => answer,
      readContractEvents: () => answer,
      simulate: () => answer,
    };
    const work = workWith({
      signing,
      anchoring: {
        rpc,
        networkPassphrase: 'ours',
        secretKey: Keypair.random().secret(),
        maxFeeStroops: 1000,
        minEntries: 1,
        intervalMs: 0,
      },
    });
    const first = work.process({});
    await expect.poll(async () => (await findCheckpoint(database.pool))?.size).toBe(1);
    await expect.poll(() => work.findOverdue(1)).toEqual([]);
    await tell(2);

    expect(await work.process({})).toEqual({ entries: 2, signed_size: 3 });
    answerAtLast(undefined as never);
    await first.catch(() => {});
  });

  test('is not made with a key that is none, and the log says why', async () => {
    await tell(1);
    const work = workWith({
      signing: 'LOG_SIGNING_KEY is no signing key',
      anchoring: 'STELLAR_SECRET_KEY is not set',
    });

    expect(await work.process({})).toEqual({ entries: 1, signed_size: null });

    expect(await readLogState(database.pool)).toMatchObject({
      refusal: 'LOG_SIGNING_KEY is no signing key',
      anchor_refusal: 'STELLAR_SECRET_KEY is not set',
    });
  });

  test('goes on where the events of a contract cannot be read, and its operator is told why', async () => {
    await tell(1);
    const lines: string[] = [];
    const work = workWith({
      following: 'STELLAR_RPC_URLS is not set',
      logger: pino({}, { write: (line: string) => void lines.push(line) }),
    });

    expect(await work.process({})).toEqual({ entries: 1, signed_size: null });
    await work.process({});

    expect(lines.map((line) => JSON.parse(line) as object)).toMatchObject([
      { level: 40, reason: 'STELLAR_RPC_URLS is not set' },
    ]);
  });

  test('is not made without a key, and the log grows all the same', async () => {
    await tell(5);
    const work = workWith({});

    expect(await work.findOverdue(1)).toHaveLength(1);
    expect(await work.process({})).toEqual({ entries: 5, signed_size: null });
    expect(await work.findOverdue(1)).toEqual([]);
    expect(await findCheckpoint(database.pool)).toBeUndefined();
  });
});
