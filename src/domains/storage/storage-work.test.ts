import fc from 'fast-check';
import type pg from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { openDatabase, type Database } from '#platform/database.ts';
import { makeId } from '#platform/ids.ts';
import { makeKeyEncryption } from '#platform/key-encryption.ts';
import { makeLogger } from '#platform/logger.ts';
import { createTestDatabase, type TestDatabase } from '../../testing/database.ts';
import { killedAt, KilledError } from '../../testing/killed-pool.ts';
import { startKubo, startPinata, type PinningFault, type PinningService } from '../../testing/pinning-services.ts';
import { makeKuboAdapter } from './adapters/kubo-adapter.ts';
import { makePinataAdapter } from './adapters/pinata-adapter.ts';
import { releaseBatches } from './batches.store.ts';
import { addressOf } from './content-address.ts';
import { insertContents, type NewContent } from './contents.store.ts';
import { takeRequest } from './request-limit.store.ts';
import { makeStorageWork } from './storage-work.ts';
import { writeScopeSettings } from './storage-settings.store.ts';
import { defaultSettings, type AdapterName } from './scope-settings.ts';

const jwt = 'header.payload.signature';
const logger = makeLogger({ level: 'silent', name: 'test' });
const workspaceId = makeId();
const limits = { itemsMax: 10, ageMaxMs: 0, checkAfterMs: 3_600_000 };

let testDatabase: TestDatabase;
let database: Database;
let pinata: PinningService;
let kubo: PinningService;
let nextItem = 1;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  database = openDatabase({ url: testDatabase.url, poolSize: 6, applicationName: 'test', isWorker: true });
});
beforeEach(async () => {
  pinata = await startPinata(jwt);
  kubo = await startKubo();
  await query('truncate storage_contents, storage_history, storage_batches, storage_settings, storage_request_limits');
  await query('update storage_state set adapter = null');
});
afterEach(async () => {
  await pinata.close();
  await kubo.close();
});
afterAll(async () => {
  await database.close();
  await testDatabase.drop();
});

const query = async <Row extends object>(text: string, values: unknown[] = []) =>
  (await database.pool.query<Row>(text, values)).rows;

function workOf(pool: pg.Pool, options: Partial<Parameters<typeof makeStorageWork>[0]> = {}) {
  return makeStorageWork({
    pool,
    logger,
    keys: undefined,
    adapters: [
      makePinataAdapter({
        jwt,
        apiUrl: pinata.url,
        uploadUrl: pinata.url,
        timeoutMs: 2000,
        takeRequest: async () => undefined,
      }),
      makeKuboAdapter({ rpcUrl: kubo.url, timeoutMs: 2000 }),
    ],
    defaultAdapter: 'pinata',
    limits,
    ...options,
  });
}

async function keepContents(count: number, adapter: AdapterName | null = 'pinata'): Promise<NewContent[]> {
  const contents = await Promise.all(
    Array.from({ length: count }, async (): Promise<NewContent> => {
      const itemNumber = nextItem++;
      const bytes = Buffer.from(`{"item":${itemNumber}}`);
      const cid = (await addressOf(bytes)).toString();
      return {
        contentId: makeId(),
        workspaceId,
        itemNumber,
        version: 1,
        kind: 'public',
        cid,
        bytes,
        sealedKey: null,
        adapter,
      };
    }),
  );
  await insertContents(database.pool, contents);
  return contents;
}

/** Lets what waits for a while be due, since the tests wait for nothing. */
const makeDue = () => query('update storage_batches set next_attempt_at = now()');

async function storeAll(pool: pg.Pool = database.pool): Promise<void> {
  const work = workOf(pool);
  for (let tries = 0; tries < 500; tries += 1) {
    await makeDue();
    if (!(await work.workDirectly())) return;
  }
  throw new Error('there is still work to do');
}

/** Each content is in exactly one batch of an adapter, the service has it, and has nothing else; gives how many it has. */
async function expectEachStoredOnce(
  contents: readonly NewContent[],
  adapter: AdapterName,
  service: PinningService,
): Promise<number> {
  const rows = await query<{ cid: string; state: string; root: string; batch_state: string }>(
    `select cid, history.state, root, batches.state as batch_state from storage_history as history
     join storage_contents using (content_id) join storage_batches as batches using (batch_id)
     where history.adapter = $1 order by cid`,
    [adapter],
  );
  expect(rows.map(({ cid, state, batch_state }) => ({ cid, state, batch_state }))).toEqual(
    contents
      .map(({ cid }) => ({ cid, state: 'stored', batch_state: 'stored' }))
      .toSorted((a, b) => (a.cid < b.cid ? -1 : 1)),
  );
  for (const { cid, root } of rows)
    expect(service.pinned.get(root)!.blocks.map((block) => block.cid.toString())).toContain(cid);
  expect([...service.pinned.keys()].toSorted()).toEqual([...new Set(rows.map(({ root }) => root))].toSorted());
  return rows.length;
}

describe('contents that are queued', () => {
  test('are stored in as few uploads as their number allows, each content once', async () => {
    const contents = await keepContents(25);

    await storeAll();

    expect(pinata.requests.filter(({ method }) => method === 'POST')).toHaveLength(3);
    await expectEachStoredOnce(contents, 'pinata', pinata);
  });

  test('wait for others until there are enough of them or the first has waited long enough', async () => {
    const patient = workOf(database.pool, { limits: { ...limits, ageMaxMs: 3_600_000 } });
    await keepContents(9);
    await patient.workDirectly();
    expect(await query('select from storage_batches')).toEqual([]);

    await keepContents(1);
    while (await patient.workDirectly());

    expect(await query('select contents, state from storage_batches')).toEqual([{ contents: 10, state: 'stored' }]);
  });

  test('are stored once by any number of workers at the same time', async () => {
    const contents = await keepContents(200);

    const workers = Array.from({ length: 5 }, () => workOf(database.pool));
    await Promise.all(
      workers.map(async (work) => {
        while (await work.workDirectly());
      }),
    );

    expect(pinata.requests.filter(({ method }) => method === 'POST')).toHaveLength(20);
    await expectEachStoredOnce(contents, 'pinata', pinata);
  });

  test('are stored nowhere when the service has something else than was sent: that is an alarm and no reason to try again', async () => {
    await keepContents(3);
    pinata.misbehave = () => 'another root';

    await storeAll();

    expect(pinata.requests.filter(({ method }) => method === 'POST')).toHaveLength(1);
    const rows = await query<{ state: string; fault: string }>('select state, fault from storage_batches');
    expect(rows).toEqual([{ state: 'failed', fault: expect.stringContaining('something else') }]);
    expect(await query('select distinct state from storage_history')).toEqual([{ state: 'failed' }]);
  });

  test('are tried again when the service wants it', async () => {
    await keepContents(1);
    pinata.misbehave = () => 'too many requests';

    const work = workOf(database.pool);
    while (await work.workDirectly());

    const [row] = await query<{ wait_seconds: number; attempts: number; fault: string }>(
      'select extract(epoch from next_attempt_at - now())::float8 as wait_seconds, attempts, fault from storage_batches',
    );
    expect(row!.wait_seconds).toBeGreaterThan(5);
    expect(row!.wait_seconds).toBeLessThanOrEqual(7);
    expect(row).toMatchObject({ attempts: 1, fault: expect.stringContaining('429') });
  });

  test('go to the adapter that takes the place of another one, in the background', async () => {
    const settings = { ...defaultSettings, isEnabled: true };
    await writeScopeSettings(database.pool, { kind: 'workspace', id: workspaceId }, settings);
    const contents = [...(await keepContents(25)), ...(await keepContents(3, null))];
    await storeAll();
    await expectEachStoredOnce(contents, 'pinata', pinata);

    await writeScopeSettings(database.pool, { kind: 'workspace', id: workspaceId }, { ...settings, adapter: 'kubo' });
    await storeAll();

    expect(await expectEachStoredOnce(contents, 'kubo', kubo)).toBe(28);
    expect(await expectEachStoredOnce(contents, 'pinata', pinata)).toBe(28);
  });

  test('that are gone are found missing and stored again', async () => {
    const contents = await keepContents(12);
    await storeAll();
    pinata.lose([...pinata.pinned.keys()][0]!);

    await query('update storage_batches set check_due_at = now()');
    await storeAll();

    expect(await expectEachStoredOnce(contents, 'pinata', pinata)).toBe(12);
  });

  test('that cannot be looked for are not taken for gone', async () => {
    await keepContents(3);
    await storeAll();
    pinata.misbehave = ({ method }) => (method === 'GET' ? 'bad gateway' : undefined);

    await query('update storage_batches set check_due_at = now()');
    await storeAll();

    expect(await query('select state, fault from storage_batches')).toEqual([
      { state: 'stored', fault: expect.stringContaining('502') },
    ]);
  });

  test('of which one was erased leave with their batch, and the others are stored anew', async () => {
    const contents = await keepContents(5);
    await storeAll();
    const [old] = [...pinata.pinned.keys()];
    const erased = contents[2]!;
    await query('update storage_contents set bytes = null where content_id = $1', [erased.contentId]);
    const [batch] = await query<{ batch_id: string }>('select batch_id from storage_batches');
    await releaseBatches(database.pool, [batch!.batch_id], 0);

    await storeAll();

    expect(pinata.pinned.has(old!)).toBe(false);
    const left = [...pinata.pinned.values()].flatMap(({ blocks }) => blocks.map(({ cid }) => cid.toString()));
    expect(left).not.toContain(erased.cid);
    for (const { cid } of contents.filter((content) => content !== erased)) expect(left).toContain(cid);
    expect(await query(`select state from storage_history where content_id = $1`, [erased.contentId])).toEqual([
      { state: 'removed' },
    ]);
  });
});

test('keys of encrypted contents are sealed anew with the key that takes the place of another one', async () => {
  const [older, newer] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)];
  const key = Buffer.alloc(32, 9);
  const sealedKey = makeKeyEncryption([older]).seal(key);
  const contents = await keepContents(3);
  await insertContents(
    database.pool,
    contents.map((content) => ({ ...content, contentId: makeId(), kind: 'encrypted' as const, sealedKey })),
  );

  const work = workOf(database.pool, { keys: makeKeyEncryption([newer, older]) });
  while (await work.workDirectly());

  const rows = await query<{ key_id: string; sealed_key: Buffer }>(
    'select key_id, sealed_key from storage_contents where key_id is not null',
  );
  const only = makeKeyEncryption([newer]);
  expect(rows.map((row) => only.open({ keyId: row.key_id, bytes: row.sealed_key }))).toEqual([key, key, key]);
});

test('a service is asked as often as its plan allows, whichever process asks', async () => {
  const perMinute = 60;
  const taken = await Promise.all(Array.from({ length: 40 }, () => takeRequest(database.pool, 'pinata', perMinute)));

  const waits = taken.filter((wait) => wait !== undefined);
  // A fifth of a minute's requests at once, and what time gave while they were taken.
  expect(taken.length - waits.length).toBeGreaterThanOrEqual(12);
  expect(taken.length - waits.length).toBeLessThanOrEqual(14);
  expect(Math.min(...waits)).toBeGreaterThan(0);
  expect(Math.max(...waits)).toBeLessThanOrEqual(1001);
});

describe('whatever goes wrong', () => {
  const faults: (PinningFault | undefined)[] = [
    undefined,
    undefined,
    undefined,
    'lose the request',
    'lose the answer',
    'bad gateway',
    'too many requests',
    'refuse the key',
    'nonsense',
  ];
  const acts = fc.oneof(
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('work' as const) }) },
    {
      weight: 4,
      arbitrary: fc.record({
        kind: fc.constant('kill' as const),
        at: fc.integer({ min: 1, max: 9 }),
        isAfter: fc.boolean(),
      }),
    },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('keep' as const), count: fc.integer({ min: 1, max: 15 }) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('check' as const) }) },
  );

  test('every content is stored once, by processes that are killed at any moment and a service that fails at any call', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(acts, { minLength: 20, maxLength: 50 }),
        fc.array(fc.constantFrom(...faults), { minLength: 20, maxLength: 100 }),
        async (script, wrongs) => {
          await query('truncate storage_contents, storage_history, storage_batches');
          (pinata.pinned as Map<string, unknown>).clear();
          let calls = 0;
          pinata.misbehave = () => wrongs[calls++ % wrongs.length];
          const contents = await keepContents(3);
          for (const act of script) {
            await makeDue();
            if (act.kind === 'keep') contents.push(...(await keepContents(act.count)));
            else if (act.kind === 'check') await query('update storage_batches set check_due_at = now()');
            else if (act.kind === 'work') await workOf(database.pool).workDirectly();
            else
              await workOf(killedAt(database.pool, act.at, act.isAfter))
                .workDirectly()
                .catch((error: unknown) => {
                  if (!(error instanceof KilledError)) throw error;
                });
          }
          pinata.misbehave = () => undefined;
          await storeAll();
          expect(await expectEachStoredOnce(contents, 'pinata', pinata)).toBe(contents.length);
        },
      ),
      { numRuns: 80 },
    );
  }, 300_000);
});
