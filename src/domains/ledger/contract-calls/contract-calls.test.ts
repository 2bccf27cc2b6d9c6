import { Keypair, StrKey } from '@stellar/stellar-sdk/base';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { formatDfid } from '#domains/items/index.ts';
import { openDatabase, withTransaction, type Database } from '#platform/database.ts';
import { makeId } from '#platform/ids.ts';
import { createTestDatabase, type TestDatabase } from '../../../testing/database.ts';
import { killedAt, KilledError } from '../../../testing/killed-pool.ts';
import { startStellarNetwork, type StellarNetwork } from '../../../testing/stellar-network.ts';
import { anchorNext, type Anchoring } from '../anchor-checkpoints.ts';
import { makeStellarRpc } from '../stellar-rpc.ts';
import { findCallsOfContents, queueCalls, type CalledContracts } from './contract-calls.store.ts';

let testDatabase: TestDatabase;
let database: Database;
let network: StellarNetwork;
let anchoring: Anchoring;
let contracts: CalledContracts;
const keypair = Keypair.random();
const [ipcmContract, nftContract] = [7, 8].map((byte) => StrKey.encodeContract(Buffer.alloc(32, byte))) as [
  string,
  string,
];
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
  network.createAccount(keypair.publicKey(), 100_000_000n);
  anchoring = {
    rpc: makeStellarRpc({ urls: [network.url], timeoutMs: 2000 }),
    networkPassphrase: network.passphrase,
    secretKey: keypair.secret(),
    maxFeeStroops: 100_000,
    minEntries: 1,
    intervalMs: 0,
  };
  contracts = { network: network.passphrase, ipcmContract, ipcmFunction: 'emit_update_event', nftContract: undefined };
  await database.pool.query(
    'truncate contract_calls, contract_call_progress, log_anchors, log_anchor_attempts, storage_contents, storage_history, storage_batches',
  );
});
afterEach(() => network.close());
afterAll(async () => {
  await database.close();
  await testDatabase.drop();
});

let nextVersion = 1;
/** A content as storing it leaves it. */
async function store(
  itemNumber: number,
  { kind = 'public', state = 'stored' } = {},
): Promise<{ contentId: string; cid: string }> {
  const [contentId, batchId] = [makeId(), makeId()];
  const cid = `bafy${contentId}`;
  await database.pool.query(
    `insert into storage_contents (content_id, workspace_id, item_number, version, kind, cid, size_bytes) values ($1, $2, $3, $4, $5, $6, 1)`,
    [contentId, makeId(), itemNumber, nextVersion++, kind, cid],
  );
  await database.pool.query(
    `insert into storage_history (content_id, adapter, batch_id, state) values ($1, 'local', $2, $3)`,
    [contentId, batchId, state],
  );
  await database.pool.query(
    `insert into storage_batches (batch_id, adapter, root, size_bytes, contents, state, stored_at) values ($1, 'local', 'root', 1, 1, $2, now())`,
    [batchId, state === 'stored' ? 'stored' : 'packed'],
  );
  return { contentId, cid };
}

const queue = () => withTransaction(database.pool, (client) => queueCalls(client, contracts));
const step = async (pool = database.pool) => {
  await database.pool.query('update log_anchor_attempts set due_at = now()');
  return anchorNext(pool, anchoring);
};
const callAll = async () => {
  for (let tries = 0; tries < 100; tries += 1) {
    await step();
    network.closeLedger();
    await step();
    const { rowCount } = await database.pool.query(
      `select from contract_calls where state = 'open' and due_at <= now()`,
    );
    if (rowCount === 0) return;
  }
};
const calls = () => network.applied.map(({ call }) => call && [call.function, ...call.args]);

describe('contents that are stored', () => {
  test.each([
    ['emit_update_event' as const, (cid: string) => ['emit_update_event', keypair.publicKey(), dfidOf(1), cid]],
    ['update' as const, (cid: string) => ['update', dfidOf(1), cid, keypair.publicKey()]],
  ])('are told to the contract by %s, with its arguments in their order', async (ipcmFunction, expected) => {
    contracts = { ...contracts, ipcmFunction };
    const { cid, contentId } = await store(1);

    expect(await queue()).toBe(1);
    await callAll();

    expect(calls()).toEqual([expected(cid)]);
    const [applied] = network.applied;
    expect((await findCallsOfContents(database.pool, [contentId])).get(contentId)).toMatchObject([
      {
        function: ipcmFunction,
        contract: ipcmContract,
        state: 'confirmed',
        transaction_hash: applied!.hash,
        ledger: applied!.ledger,
      },
    ]);
  });

  test('are told once, each in a transaction, after a token for their item, which is minted once', async () => {
    contracts = { ...contracts, nftContract };
    const first = await store(1);
    await queue();
    const [second, other] = [await store(1), await store(2)];
    await Promise.all([queue(), queue(), queue()]);

    await callAll();

    const data = (dfid: string, cid: string) => JSON.stringify({ ipcm_key: dfid, value_chain: 'BEEF', first_cid: cid });
    expect(calls()).toEqual([
      ['mint', 'BEEF', 1n, dfidOf(1), data(dfidOf(1), first.cid)],
      ['emit_update_event', keypair.publicKey(), dfidOf(1), first.cid],
      ['emit_update_event', keypair.publicKey(), dfidOf(1), second.cid],
      ['mint', 'BEEF', 2n, dfidOf(2), data(dfidOf(2), other.cid)],
      ['emit_update_event', keypair.publicKey(), dfidOf(2), other.cid],
    ]);
  });

  test('are not told when they are encrypted, or not stored yet', async () => {
    await store(1, { kind: 'encrypted' });
    await store(1, { state: 'queued' });

    expect(await queue()).toBe(0);
  });

  test('are given up when the contract refuses them again and again, and do not hold up others', async () => {
    const refused = await store(1);
    await queue();
    network.contractFault = () => 'refuses the simulation';
    for (let tries = 0; tries < 5; tries += 1) {
      await step();
      await database.pool.query('update contract_calls set due_at = now()');
    }
    network.contractFault = () => undefined;
    const good = await store(2);
    await queue();
    await callAll();

    expect(calls()).toEqual([['emit_update_event', keypair.publicKey(), dfidOf(2), good.cid]]);
    const [call] = (await findCallsOfContents(database.pool, [refused.contentId])).get(refused.contentId)!;
    expect(call).toMatchObject({ state: 'failed', transaction_hash: null });
  });

  test('are told again when the ledger applied the call without success', async () => {
    const { cid } = await store(1);
    await queue();
    await step();
    network.contractFault = () => 'fails on the ledger';
    network.closeLedger();
    await step();
    network.contractFault = () => undefined;
    await database.pool.query('update contract_calls set due_at = now()');

    await callAll();

    expect(network.applied.map(({ isSuccessful }) => isSuccessful)).toEqual([false, true]);
    expect(calls()[1]).toEqual(['emit_update_event', keypair.publicKey(), dfidOf(1), cid]);
  });

  test('cost no more than they may', async () => {
    anchoring = { ...anchoring, maxFeeStroops: 5999 };
    await store(1);
    await queue();

    await step();

    expect(network.applied).toEqual([]);
    expect((await database.pool.query('select fault from contract_calls')).rows).toEqual([
      { fault: 'it would bid 6000 stroops, and may bid 5999' },
    ]);
  });

  test('are each told by exactly one applied transaction, whatever is killed or lost on the way', async () => {
    contracts = { ...contracts, nftContract };
    const wrongs = [
      'lose the request',
      'lose the answer',
      undefined,
      'bad gateway',
      'try again later',
      undefined,
    ] as const;
    let asked = 0;
    network.misbehave = () => wrongs[asked++ % wrongs.length];
    for (let at = 0; at < 60; at += 1) {
      if (at % 10 === 0) {
        await store(1 + (at % 2));
        await queue();
      }
      await database.pool.query('update log_anchor_attempts set due_at = now()');
      await anchorNext(killedAt(database.pool, 1 + (at % 7), at % 3 === 0), anchoring).catch((error: unknown) => {
        if (!(error instanceof KilledError)) throw error;
      });
      if (at % 2 === 0) network.closeLedger();
    }
    network.misbehave = () => undefined;
    await callAll();

    const { rows } = await database.pool.query<{ hash: string }>(
      `select hash from contract_calls join log_anchor_attempts on anchor_id = call_id and attempt = confirmed_attempt order by ledger`,
    );
    expect(rows.map(({ hash }) => hash)).toEqual(network.applied.map(({ hash }) => hash));
    expect(new Set(calls().map((call) => JSON.stringify(call, (_, value: unknown) => String(value)))).size).toBe(
      rows.length,
    );
    expect((await database.pool.query(`select from contract_calls where state <> 'confirmed'`)).rowCount).toBe(0);
  });
});
