import { Keypair } from '@stellar/stellar-sdk/base';
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { insertEvents } from '#domains/events/index.ts';
import { makeContentStart, makeStorageWork } from '#domains/storage/index.ts';
import { writeScopeSettings } from '#domains/storage/storage-settings.store.ts';
import { defaultSettings } from '#domains/storage/scope-settings.ts';
import { openDatabase, withTransaction, type Database } from '#platform/database.ts';
import { makeId } from '#platform/ids.ts';
import { makeLogger } from '#platform/logger.ts';
import { createTestDatabase, type TestDatabase } from '../../testing/database.ts';
import { seedTypes } from '../../testing/deduplication.ts';
import { weighing } from '../../testing/events.ts';
import { startPinata, type PinningService } from '../../testing/pinning-services.ts';
import { makePinataAdapter } from '#domains/storage/index.ts';
import { checkDatabase, type DatabaseReport } from './check-database.ts';
import { readCheckpoint } from './checkpoint.ts';
import { entryOf } from './entry-commitment.ts';
import { growItemTrees } from './item-trees/grow-item-trees.ts';
import { leafHash, sha256 } from './log-tree.ts';
import { TileBuilder } from './log-tiles.ts';
import { growLog, insertLogEntries, insertTiles } from './log.store.ts';
import { sequenceEvents } from './sequence-events.ts';
import { signCheckpoint } from './sign-checkpoint.ts';
import { makeSigningKey, readSigningKey } from './signed-note.ts';
import { buildAnchorEnvelope } from './stellar-xdr.ts';

const items = 700;
const workspaceId = makeId();
const signer = readSigningKey(makeSigningKey('example.com/log'))!;
const otherSigner = readSigningKey(makeSigningKey('example.com/log'))!;
const logger = makeLogger({ level: 'silent', name: 'test' });
const startContents = makeContentStart({
  loadTypes: async () => seedTypes,
  keys: undefined,
  adapter: 'pinata',
  logger,
});

let testDatabase: TestDatabase;
let database: Database;
let pinata: PinningService;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  database = openDatabase({ url: testDatabase.url, poolSize: 4, applicationName: 'test', isWorker: true });
  pinata = await startPinata('key');
  await fill();
});
beforeEach(async () => {
  await database.pool.query('drop schema if exists backup cascade; create schema backup');
});
afterAll(async () => {
  await database.close();
  await pinata.close();
  await testDatabase.drop();
});

/** Items with an event and a stored content each, a signed log, and an anchor. */
async function fill(): Promise<void> {
  const { pool } = database;
  await writeScopeSettings(pool, { kind: 'workspace', id: workspaceId }, { ...defaultSettings, isEnabled: true });
  await pool.query(
    `insert into items (item_number, value_chain, country, year) select n, 'BEEF', 'BR', 2025 from generate_series(1, $1::int) as n`,
    [items],
  );
  await pool.query(
    `insert into contributions (item_number, workspace_id, state)
     select n, $2, json_build_object('entries', json_build_array(), 'identifiers', json_build_array(), 'fields', json_build_object('kg', json_build_array(n, 0, 0)))
     from generate_series(1, $1::int) as n`,
    [items, workspaceId],
  );
  await withTransaction(pool, (client) =>
    insertEvents(
      client,
      Array.from({ length: items }, (_, at) => weighing({ workspaceId, itemNumber: at + 1, payload: `{"kg":${at}}` })),
    ),
  );
  while ((await sequenceEvents(pool, { steps: 8, rows: 500, bytes: 1_000_000 }, startContents))?.hasMore);
  while ((await growItemTrees(pool, 500))?.hasMore);
  await signCheckpoint(pool, { origin: 'example.com/log', signer, lastCheckpointFile: undefined });
  const adapter = makePinataAdapter({
    jwt: 'key',
    apiUrl: pinata.url,
    uploadUrl: pinata.url,
    timeoutMs: 2000,
    takeRequest: async () => undefined,
  });
  const storage = makeStorageWork({
    pool,
    logger,
    keys: undefined,
    adapters: [adapter],
    defaultAdapter: 'pinata',
    limits: { itemsMax: 100, ageMaxMs: 0, checkAfterMs: 3_600_000 },
  });
  while (await storage.workDirectly());
  const { rows } = await pool.query<{ size: number; root: Buffer; note: string }>('select * from log_checkpoints');
  const { size, root, note } = rows[0]!;
  const envelope = buildAnchorEnvelope({
    secretKey: Keypair.random().secret(),
    networkPassphrase: 'a network',
    sequence: 1n,
    feeStroops: 100,
    maxTimeSeconds: 1_900_000_000,
    memoHash: sha256(readCheckpoint(note)!.note.text),
  });
  const anchorId = makeId();
  await pool.query(
    `insert into log_anchors (anchor_id, size, root, note, network_passphrase) values ($1, $2, $3, $4, 'a network')`,
    [anchorId, size, root, note],
  );
  await pool.query(
    `insert into log_anchor_attempts (anchor_id, attempt, source, network_passphrase, envelope_xdr, hash, sequence, fee_stroops, built_at_seconds, max_time_seconds, state)
     values ($1, 1, $2, 'a network', $3, $4, 1, 100, 0, 1900000000, 'confirmed')`,
    [anchorId, envelope.source, envelope.envelopeXdr, envelope.hash],
  );
}

const check = (more: Partial<Parameters<typeof checkDatabase>[0]> = {}): Promise<DatabaseReport> =>
  checkDatabase({
    database,
    keys: [signer.verifier],
    repairs: false,
    from: 0,
    onProgress: () => {},
    ...more,
  });

/** Does something to rows of a table, looks what the check says, and puts the rows back. */
async function afterTampering(table: string, statement: string, options?: Parameters<typeof check>[0]) {
  await database.pool.query(`create table backup.${table} as table ${table}`);
  await database.pool.query(statement);
  const report = await check(options);
  await database.pool.query(
    `truncate ${table}; insert into ${table} overriding system value select * from backup.${table}`,
  );
  return report;
}

const stepsOf = ({ faults }: DatabaseReport) => [...new Set(faults.map(({ step }) => step))].toSorted();

describe('a check of the whole database', () => {
  test('finds nothing where everything fits together, and says what it computed', async () => {
    const told: number[] = [];

    const report = await check({ onProgress: (checked, total, clean) => void told.push(checked, total, clean) });

    expect(report).toEqual({
      entries: 2 * items,
      explained: 2 * items,
      unexplained: 0,
      contents: items,
      tiles: 5,
      anchors: 1,
      batches: 7,
      repaired: 0,
      treesForgotten: false,
      faults: [],
      faultsTotal: 0,
    });
    expect(told).toEqual([2 * items, 2 * items, 2 * items]);
  });

  test.each([
    ['events', `update events set payload = '{"kg":0.5}' where item_number = 5`, ['entry']],
    [
      'events',
      `update events set occurred_at = occurred_at + interval '1 microsecond' where item_number = 5`,
      ['entry'],
    ],
    [
      'item_versions',
      `update item_versions set content = replace(content, '"kg":7}', '"kg":8}') where item_number = 7`,
      ['entry'],
    ],
    ['log_entries', `update log_entries set seed = sha256(seed) where index = 11`, ['entry']],
    [
      'log_entries',
      `update log_entries set commitment = sha256(commitment) where index in (10, 11)`,
      ['entry', 'item tree', 'tile'],
    ],
    ['log_entries', `delete from log_entries where index = 1399`, ['entry', 'root']],
    ['log_tiles', `update log_tiles set root = sha256(root) where number = 2`, ['root', 'tile']],
    ['log_tiles', `delete from log_tiles where number = 2`, ['root', 'tile']],
    ['item_tree_pages', `update item_tree_pages set leaves = sha256(leaves) where item_number = 3`, ['item tree']],
    ['item_tree_pages', `update item_tree_pages set root = sha256(root) where item_number = 3`, ['item tree']],
    ['item_tree_pages', `delete from item_tree_pages where item_number = 3`, ['item tree']],
    ['log_checkpoints', `update log_checkpoints set root = sha256(root)`, ['checkpoint']],
    ['log_checkpoints', `update log_checkpoints set size = size + 1`, ['checkpoint']],
    ['log_anchors', `update log_anchors set root = sha256(root)`, ['anchor', 'root']],
    ['log_anchor_attempts', `update log_anchor_attempts set hash = 'ff'`, ['anchor']],
    ['storage_contents', `update storage_contents set bytes = '{}' where item_number = 9`, ['batch', 'content']],
    ['storage_contents', `delete from storage_contents where item_number = 9`, ['batch', 'content']],
    [
      'storage_batches',
      `update storage_batches set root = 'bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku' where contents = 100`,
      ['batch'],
    ],
  ])('finds what was done to %s by: %s', async (table, statement, steps) => {
    const report = await afterTampering(table, statement);
    expect(stepsOf(report)).toEqual(steps);
  });

  test('finds that another key signed the newest checkpoint', async () => {
    const report = await check({ keys: [otherSigner.verifier] });
    expect(stepsOf(report)).toEqual(['checkpoint']);
  });

  test('counts what was erased as what nobody can explain, and not as a fault', async () => {
    const report = await afterTampering('log_entries', 'update log_entries set seed = null where index < 10');
    expect(report).toMatchObject({ explained: 2 * items - 10, unexplained: 10, faultsTotal: 0 });
  });

  test('puts tiles in their place again that follow from the signed entries', async () => {
    await database.pool.query('delete from log_tiles where number in (1, 3)');
    await database.pool.query('update log_tiles set hashes = root where number = 0');

    const report = await check({ repairs: true });

    expect(report).toMatchObject({ repaired: 3, faultsTotal: 0 });
    expect(await check()).toMatchObject({ repaired: 0, faultsTotal: 0 });
  });

  test('lets workers make the roots of items again when they are wrong', async () => {
    await database.pool.query(`update item_tree_pages set leaves = sha256(leaves) where item_number = 3`);

    expect(await check({ repairs: true })).toMatchObject({ treesForgotten: true, faultsTotal: 0 });
    while ((await growItemTrees(database.pool, 500))?.hasMore);

    expect(await check()).toMatchObject({ treesForgotten: false, faultsTotal: 0 });
  });

  test('makes no tiles of entries that are not those that were signed', async () => {
    const report = await afterTampering(
      'log_entries',
      'update log_entries set commitment = sha256(commitment) where index = 300',
      { repairs: true },
    );
    expect(report.repaired).toBe(0);
    expect(stepsOf(report)).toEqual(['entry', 'root', 'tile']);
    expect(await check()).toMatchObject({ faultsTotal: 0 });
  });
});

describe('a check that was interrupted', () => {
  const entries = 20_000;
  let largeDatabase: TestDatabase;
  let large: Database;
  beforeAll(async () => {
    largeDatabase = await createTestDatabase();
    large = openDatabase({ url: largeDatabase.url, poolSize: 2, applicationName: 'test', isWorker: true });
    const commitments = Array.from({ length: entries }, () => randomBytes(32));
    await withTransaction(large.pool, async (client) => {
      const tiles = await TileBuilder.at(client, 0);
      await insertLogEntries(
        client,
        commitments.map((commitment, index) => ({ index, subject: {}, commitment, seed: randomBytes(32) })),
      );
      await insertTiles(client, tiles.append(commitments.map((commitment) => leafHash(entryOf(commitment)))));
      await growLog(client, 0, entries);
    });
  });
  afterAll(async () => {
    await large.close();
    await largeDatabase.drop();
  });
  const checkFrom = (from: number, onProgress: (checked: number, total: number, clean: number) => void) =>
    checkDatabase({ database: large, keys: [], repairs: false, from, onProgress });

  /** Where a check stood when it was cut off after its first step. */
  const interrupted = async () => {
    let reached = 0;
    await checkFrom(0, (_, __, clean) => {
      reached = clean;
      throw new Error('cut off');
    }).catch(() => {});
    return reached;
  };

  test('goes on from where it stood, and comes to the end', async () => {
    const reached = await interrupted();

    const report = await checkFrom(reached, () => {});

    expect(reached).toBe(8192);
    expect(report).toMatchObject({ entries: entries - reached, faultsTotal: 0 });
  });

  test('stands before the first fault, so that the next run finds it again', async () => {
    await large.pool.query('update log_tiles set root = sha256(root) where level = 0 and number = 3');

    const reached = await interrupted();

    expect(reached).toBe(0);
    expect(stepsOf(await checkFrom(reached, () => {}))).toContain('tile');
  });
});
