import { Keypair } from '@stellar/stellar-sdk/base';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openDatabase, type Database } from '#platform/database.ts';
import { createTestDatabase, type TestDatabase } from '../../testing/database.ts';
import { anchorNext, type Anchoring } from './anchor-checkpoints.ts';
import { checkpointBody } from './checkpoint.ts';
import { sha256 } from './log-tree.ts';
import { makeSigningKey, readSigningKey, signNote } from './signed-note.ts';
import { stellarNetworks } from './stellar-networks.ts';
import { makeStellarRpc } from './stellar-rpc.ts';

/** The test network of Stellar, which is asked only when somebody wants it: STELLAR_TEST_LIVE=1 npm test -- testnet */
describe.skipIf(process.env['STELLAR_TEST_LIVE'] !== '1')('on the test network of Stellar', () => {
  const keypair = Keypair.random();
  const { passphrase, rpcUrls } = stellarNetworks.testnet;
  let testDatabase: TestDatabase;
  let database: Database;

  beforeAll(async () => {
    testDatabase = await createTestDatabase();
    database = openDatabase({ url: testDatabase.url, poolSize: 2, applicationName: 'test' });
    const funded = await fetch(`https://friendbot.stellar.org/?addr=${keypair.publicKey()}`);
    if (!funded.ok) throw new Error(`friendbot answered ${funded.status}`);
  }, 60_000);
  afterAll(async () => {
    await database.close();
    await testDatabase.drop();
  });

  test('a checkpoint is anchored by a transaction that the network takes in', async () => {
    const signer = readSigningKey(makeSigningKey('example.com/log'))!;
    const root = sha256('a root');
    const note = signNote(checkpointBody({ origin: 'example.com/log', size: 1, root }), signer);
    await database.pool.query('insert into log_checkpoints (size, root, note) values (1, $1, $2)', [root, note]);
    const anchoring: Anchoring = {
      rpc: makeStellarRpc({ urls: rpcUrls, timeoutMs: 15_000 }),
      networkPassphrase: passphrase,
      secretKey: keypair.secret(),
      maxFeeStroops: 100_000,
      minEntries: 1,
      intervalMs: 0,
    };

    const confirmed = async () => {
      await database.pool.query('update log_anchor_attempts set due_at = now()');
      await anchorNext(database.pool, anchoring);
      const { rows } = await database.pool.query<{ ledger: number | null }>('select ledger from log_anchors');
      return rows[0]?.ledger ?? null;
    };

    await expect.poll(confirmed, { timeout: 90_000, interval: 3000 }).toBeGreaterThan(0);
  }, 120_000);
});
