import { StrKey } from '@stellar/stellar-sdk/base';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { formatDfid } from '#domains/items/index.ts';
import { openDatabase, type Database } from '#platform/database.ts';
import { createTestDatabase, type TestDatabase } from '../../../testing/database.ts';
import { killedAt, KilledError } from '../../../testing/killed-pool.ts';
import { startStellarNetwork, type StellarNetwork } from '../../../testing/stellar-network.ts';
import { makeStellarRpc } from '../stellar-rpc.ts';
import { followContract, type ContractFollowing } from './follow-contract.ts';
import { listGaps, listProgress } from './timeline.store.ts';

let testDatabase: TestDatabase;
let database: Database;
let network: StellarNetwork;
let following: ContractFollowing;
const contract = StrKey.encodeContract(Buffer.alloc(32, 7));
const other = StrKey.encodeContract(Buffer.alloc(32, 8));
const dfidOf = (sequence: number) => formatDfid({ valueChain: 'BEEF', country: 'BR', year: 2025, sequence });

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  database = openDatabase({ url: testDatabase.url, poolSize: 6, applicationName: 'test', isWorker: true });
  await database.pool.query(
    `insert into items (item_number, value_chain, country, year) values (1, 'BEEF', 'BR', 2025), (2, 'BEEF', 'BR', 2025)`,
  );
});
beforeEach(async () => {
  network = await startStellarNetwork();
  following = {
    rpc: makeStellarRpc({ urls: [network.url], timeoutMs: 2000 }),
    network: network.passphrase,
    contract,
  };
  await database.pool.query('truncate item_timeline, timeline_progress, timeline_gaps');
});
afterEach(() => network.close());
afterAll(async () => {
  await database.close();
  await testDatabase.drop();
});

const follow = async (pool = database.pool) => {
  await database.pool.query('update timeline_progress set due_at = now()');
  return followContract(pool, following);
};
const told = async () =>
  (
    await database.pool.query<{ item_number: number; cid: string; ledger: number }>(
      'select item_number, cid, ledger from item_timeline order by timeline_id',
    )
  ).rows;
const progress = async () => (await listProgress(database.pool, network.passphrase))[0]!;

describe('a contract that is followed', () => {
  test('tells of items once, whatever is read again, and of nothing that is no item of ours', async () => {
    network.emitUpdate(contract, dfidOf(1), 'bafyone');
    network.emitUpdate(contract, dfidOf(3), 'bafyunknown');
    network.emitUpdate(contract, dfidOf(2).replace('2025', '2024'), 'bafyother');
    network.emitUpdate(contract, dfidOf(1), '', ['']);
    network.emitUpdate(contract, dfidOf(1), '', 'bafytext');
    network.emitUpdate(other, dfidOf(2), 'bafyelsewhere');
    network.closeLedger();
    network.emitUpdate(contract, dfidOf(2), 'bafytwo');
    network.closeLedger();
    network.closeLedger();

    expect(await follow()).toBe(2);
    await database.pool.query('update timeline_progress set position = 1');
    await follow();

    expect(await told()).toEqual([
      { item_number: 1, cid: 'bafyone', ledger: 1001 },
      { item_number: 2, cid: 'bafytwo', ledger: 1002 },
    ]);
    expect(await progress()).toMatchObject({ subject: contract, position: 1003, latest_ledger: 1003, refusal: null });
  });

  test('is read up to the last ledger but one, and on from there', async () => {
    network.closeLedger();
    await follow();
    network.emitUpdate(contract, dfidOf(1), 'bafyone');
    network.closeLedger();

    expect(await follow()).toBe(0);
    network.closeLedger();
    expect(await follow()).toBe(1);
    expect(await follow()).toBe(0);
  });

  test('is read page by page where a ledger has more events than a page', async () => {
    for (let at = 0; at < 450; at += 1) network.emitUpdate(contract, dfidOf(1 + (at % 2)), `bafy${at}`);
    network.closeLedger();
    for (let at = 450; at < 500; at += 1) network.emitUpdate(contract, dfidOf(1), `bafy${at}`);
    network.closeLedger();
    network.closeLedger();

    expect(await follow()).toBe(500);
    expect((await told()).map(({ cid }) => cid)).toEqual(Array.from({ length: 500 }, (_, at) => `bafy${at}`));
  });

  test('is read over more ledgers than one window has', async () => {
    for (let at = 0; at < 2500; at += 1) {
      if (at % 500 === 0) network.emitUpdate(contract, dfidOf(1), `bafy${at}`);
      network.closeLedger();
    }

    expect(await follow()).toBe(5);
    expect((await progress()).position).toBe(3500);
  });

  test('leaves a gap that is noted when nobody knows ledgers any longer', async () => {
    network.closeLedger();
    await follow();
    network.emitUpdate(contract, dfidOf(1), 'bafylost');
    network.closeLedger();
    network.closeLedger();
    network.prune();
    network.emitUpdate(contract, dfidOf(1), 'bafyfound');
    network.closeLedger();
    network.closeLedger();

    await follow();

    expect((await told()).map(({ cid }) => cid)).toEqual(['bafyfound']);
    expect(await listGaps(database.pool, network.passphrase)).toMatchObject([
      { subject: contract, from_ledger: 1001, to_ledger: 1002 },
    ]);
  });

  test('is tried again, and says why nothing is read, while no endpoint answers', async () => {
    network.emitUpdate(contract, dfidOf(1), 'bafyone');
    network.closeLedger();
    network.closeLedger();
    network.misbehave = () => 'bad gateway';
    await follow();
    const refused = await progress();
    network.misbehave = () => undefined;

    expect(await follow()).toBe(1);

    expect(refused.refusal).toContain('answered 502');
    expect((await progress()).refusal).toBeNull();
  });

  test('tells everything once whenever a process is killed, and when several read at once', async () => {
    for (let at = 0; at < 30; at += 1) {
      network.emitUpdate(contract, dfidOf(1), `bafy${at}`);
      network.closeLedger();
      for (const isAfter of [false, true])
        await follow(killedAt(database.pool, 1 + (at % 5), isAfter)).catch((error: unknown) => {
          if (!(error instanceof KilledError)) throw error;
        });
    }
    network.closeLedger();
    await Promise.all(Array.from({ length: 4 }, () => follow()));
    await follow();

    expect((await told()).map(({ cid }) => cid)).toEqual(Array.from({ length: 30 }, (_, at) => `bafy${at}`));
  });
});
