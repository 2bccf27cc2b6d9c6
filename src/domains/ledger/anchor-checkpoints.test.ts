import { Keypair } from '@stellar/stellar-sdk/base';
import fc from 'fast-check';
import type pg from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { openDatabase, type Database } from '#platform/database.ts';
import { createTestDatabase, type TestDatabase } from '../../testing/database.ts';
import { killedAt, KilledError } from '../../testing/killed-pool.ts';
import { startStellarNetwork, type Misbehaviour, type StellarNetwork } from '../../testing/stellar-network.ts';
import { readAccountMemos } from './account-memos.ts';
import { anchorNext, type Anchoring } from './anchor-checkpoints.ts';
import { checkpointBody } from './checkpoint.ts';
import { sha256 } from './log-tree.ts';
import { makeStellarRpc } from './stellar-rpc.ts';
import { makeSigningKey, readSigningKey, signNote } from './signed-note.ts';

let testDatabase: TestDatabase;
let database: Database;
let network: StellarNetwork;
let anchoring: Anchoring;
const keypair = Keypair.random();
const signer = readSigningKey(makeSigningKey('example.com/log'))!;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  database = openDatabase({ url: testDatabase.url, poolSize: 4, applicationName: 'test', isWorker: true });
});
beforeEach(async () => {
  network = await startStellarNetwork();
  network.createAccount(keypair.publicKey(), 100_000_000n);
  anchoring = {
    rpc: makeStellarRpc({ urls: [network.url], timeoutMs: 1000 }),
    networkPassphrase: network.passphrase,
    secretKey: keypair.secret(),
    maxFeeStroops: 100_000,
    minEntries: 1,
    intervalMs: 0,
  };
  await database.pool.query('truncate log_anchors, log_anchor_attempts, log_checkpoints');
});
afterEach(() => network.close());
afterAll(async () => {
  await database.close();
  await testDatabase.drop();
});

const query = async <Row extends object>(text: string) => (await database.pool.query<Row>(text)).rows;

async function signed(size: number): Promise<void> {
  const root = sha256(`root ${size}`);
  const note = signNote(checkpointBody({ origin: 'example.com/log', size, root }), signer);
  await database.pool.query('delete from log_checkpoints');
  await database.pool.query('insert into log_checkpoints (size, root, note) values ($1, $2, $3)', [size, root, note]);
}

/** Lets what waits for a while be due, since the tests wait for nothing. */
const makeDue = () => query('update log_anchor_attempts set due_at = now()');

async function step(pool: pg.Pool = database.pool): Promise<string | undefined> {
  await makeDue();
  return anchorNext(pool, anchoring);
}

/** Steps and ledgers until everything that is to be anchored is. */
async function anchorAll(): Promise<void> {
  for (let tries = 0; tries < 200; tries += 1) {
    await step();
    network.closeLedger(10);
    await step();
    const open = await query('select from log_anchors where confirmed_attempt is null');
    if (open.length === 0) return;
  }
  throw new Error('the checkpoints are still not anchored');
}

/** Each anchored checkpoint stands in exactly one transaction, and every transaction is of one. */
async function expectEachAnchoredOnce(): Promise<void> {
  const anchors = await query<{ note: string; ledger: number; hash: string }>(
    `select note, ledger, hash from log_anchors join log_anchor_attempts using (anchor_id) where attempt = confirmed_attempt order by size`,
  );
  const bodyHash = (note: string) => sha256(note.slice(0, note.lastIndexOf('\n\n') + 1)).toString('hex');
  expect(network.applied.map(({ hash, ledger, memoHash }) => ({ hash, ledger, memoHash }))).toEqual(
    anchors.map(({ note, ledger, hash }) => ({ hash, ledger, memoHash: bodyHash(note) })),
  );
}

const refusal = async () =>
  (await query<{ anchor_refusal: string | null }>('select anchor_refusal from log_state'))[0]!.anchor_refusal;

describe('a signed checkpoint', () => {
  test('is anchored by one transaction that carries its hash, and whose ledger is known', async () => {
    await signed(10);

    expect(await step()).toBe('sent');
    network.closeLedger();
    expect(await step()).toBe(`anchored in ledger ${network.applied[0]!.ledger}`);

    await expectEachAnchoredOnce();
    expect(await step()).toBeUndefined();
  });

  test('is committed with its transaction before that is sent, and sent with the same bytes after a crash', async () => {
    await signed(10);
    network.misbehave = (method) => (method === 'sendTransaction' ? 'lose the request' : undefined);

    await step();
    const [before] = await query<{ envelope_xdr: string; state: string }>(
      'select envelope_xdr, state from log_anchor_attempts',
    );
    expect(before!.state).toBe('signed');
    network.misbehave = () => undefined;
    await anchorAll();

    expect(await query('select envelope_xdr from log_anchor_attempts')).toEqual([
      { envelope_xdr: before!.envelope_xdr },
    ]);
    await expectEachAnchoredOnce();
  });

  test('is anchored once when the answer to its transaction is lost', async () => {
    await signed(10);
    network.misbehave = (method) => (method === 'sendTransaction' ? 'lose the answer' : undefined);
    await step();
    network.closeLedger();
    network.misbehave = () => undefined;

    await anchorAll();

    await expectEachAnchoredOnce();
    expect(network.applied).toHaveLength(1);
  });

  test('gets another transaction, which bids more, only when the time of the first is over on the ledger', async () => {
    await signed(10);
    network.misbehave = (method) => (method === 'sendTransaction' ? 'forget what was queued' : undefined);
    await step();
    network.closeLedger(100);
    await step();
    expect(await query('select from log_anchor_attempts')).toHaveLength(1);
    network.closeLedger(30);

    expect(await step()).toContain('not applied in time');
    network.misbehave = () => undefined;
    await anchorAll();

    const attempts = await query<{ state: string; fee_stroops: number; hash: string }>(
      'select state, fee_stroops, hash from log_anchor_attempts order by attempt',
    );
    expect(attempts.map(({ state, fee_stroops: fee }) => [state, fee])).toEqual([
      ['expired', 1000],
      ['confirmed', 20_000],
    ]);
    await expectEachAnchoredOnce();
  });

  test('bids ten times as much, by a fee bump around the same transaction, when the ledger passes it by', async () => {
    network.clearingFeeStroops = 4000;
    await signed(10);
    await step();
    network.closeLedger(25);
    expect(await step()).toBe('sent');
    network.closeLedger(10);

    expect(await step()).toBe('sent with a higher bid');
    network.closeLedger();
    await step();

    const [attempt, ...others] = await query<{
      state: string;
      hash: string;
      bump_hash: string;
      bump_fee_stroops: number;
    }>('select state, hash, bump_hash, bump_fee_stroops from log_anchor_attempts');
    expect(others).toEqual([]);
    expect(attempt).toMatchObject({ state: 'confirmed', bump_fee_stroops: 20_000 });
    expect(network.applied).toMatchObject([{ hash: attempt!.hash, bumpHash: attempt!.bump_hash }]);
    await expectEachAnchoredOnce();
  });

  test('is kept with its fee bump before that is sent, and is anchored once whatever gets lost', async () => {
    network.clearingFeeStroops = 4000;
    await signed(10);
    await step();
    network.closeLedger(30);
    network.misbehave = (method) => (method === 'sendTransaction' ? 'lose the answer' : undefined);
    await step();
    const bumps = await query<{ bump_hash: string }>('select bump_hash from log_anchor_attempts');
    network.closeLedger();
    network.misbehave = () => undefined;

    await anchorAll();

    expect(network.applied.map(({ bumpHash }) => bumpHash)).toEqual([bumps[0]!.bump_hash]);
    await expectEachAnchoredOnce();
  });

  test('keeps its own bid where a higher one would be above what an anchor may cost', async () => {
    anchoring = { ...anchoring, maxFeeStroops: 2000 };
    network.clearingFeeStroops = 4000;
    await signed(10);
    await step();
    network.closeLedger(30);

    expect(await step()).toBe('sent');

    expect(await query('select bump_hash from log_anchor_attempts')).toEqual([{ bump_hash: null }]);
  });

  test('keeps its own bid where the account cannot pay a higher one', async () => {
    const poor = Keypair.random();
    network.createAccount(poor.publicKey(), 2000n);
    anchoring = { ...anchoring, secretKey: poor.secret() };
    network.misbehave = (method) => (method === 'sendTransaction' ? 'forget what was queued' : undefined);
    await signed(10);
    await step();
    network.closeLedger(30);
    network.misbehave = () => undefined;

    await step();
    network.closeLedger();
    await step();

    expect(await query('select bump_fee_stroops, state from log_anchor_attempts')).toEqual([
      { bump_fee_stroops: 20_000, state: 'confirmed' },
    ]);
    expect(network.applied).toMatchObject([{ source: poor.publicKey(), bumpHash: undefined }]);
  });

  test('that nobody can tell of any longer does not stop those after it', async () => {
    await signed(10);
    network.misbehave = (method) => (method === 'sendTransaction' ? 'lose the answer' : undefined);
    await step();
    network.misbehave = () => undefined;
    network.closeLedger(5);
    network.closeLedger(700_000);
    network.prune();

    expect(await step()).toContain('nobody can tell');
    await signed(20);
    await anchorAll();

    expect(await query(`select from log_anchor_attempts where state = 'unknown'`)).toHaveLength(1);
  });

  test('is anchored again with a new sequence when others used that of its transaction', async () => {
    await signed(10);
    network.misbehave = (method) => (method === 'sendTransaction' ? 'forget what was queued' : undefined);
    await step();
    network.bumpSequence(keypair.publicKey());
    network.misbehave = () => undefined;
    network.closeLedger(130);

    expect(await step()).toContain('used by others');
    await anchorAll();

    await expectEachAnchoredOnce();
    expect(await refusal()).toBeNull();
  });

  test('waits, and says why, without an account, without money, and without an endpoint', async () => {
    await signed(10);
    const stranger = Keypair.random();
    expect(await anchorNext(database.pool, { ...anchoring, secretKey: stranger.secret() })).toContain('does not exist');
    network.createAccount(stranger.publicKey(), 500n);
    expect(await anchorNext(database.pool, { ...anchoring, secretKey: stranger.secret() })).toContain('cannot pay');
    network.misbehave = () => 'bad gateway';
    await step();
    expect(await refusal()).toContain('answered 502');
    network.misbehave = () => undefined;

    await anchorAll();

    await expectEachAnchoredOnce();
    expect(await refusal()).toBeNull();
  });

  test('is anchored by way of another endpoint when the first is away', async () => {
    await signed(10);
    const urls = ['http://127.0.0.1:9', network.url];
    anchoring = { ...anchoring, rpc: makeStellarRpc({ urls, timeoutMs: 1000 }) };

    await anchorAll();

    expect(network.applied).toHaveLength(1);
    await expectEachAnchoredOnce();
  });

  test('never bids more than it may', async () => {
    network.feeStroops = 5_000_000;
    await signed(10);

    await anchorAll();

    expect(await query('select fee_stroops from log_anchor_attempts')).toEqual([{ fee_stroops: 100_000 }]);
  });

  test('is anchored only with enough entries that are new, and not too soon after the last', async () => {
    anchoring = { ...anchoring, minEntries: 5 };
    await signed(4);
    expect(await step()).toBeUndefined();
    await signed(5);
    await anchorAll();
    await signed(9);
    expect(await step()).toBeUndefined();
    anchoring = { ...anchoring, minEntries: 1, intervalMs: 3_600_000 };
    expect(await step()).toBeUndefined();
    expect(network.applied).toHaveLength(1);
  });

  test('is anchored by one transaction when several processes are at it', async () => {
    await signed(10);

    await Promise.all(Array.from({ length: 6 }, () => anchorNext(database.pool, anchoring)));
    network.closeLedger();
    await Promise.all(Array.from({ length: 6 }, () => step()));

    expect(network.applied).toHaveLength(1);
    await expectEachAnchoredOnce();
  });
});

test('all that the account put on the ledger is read again, page by page, as Horizon tells it', async () => {
  for (let size = 1; size <= 201; size += 1) {
    await signed(size);
    await step();
    network.closeLedger();
    await step();
  }

  const memos = await readAccountMemos(network.url, keypair.publicKey());

  expect(memos.map(({ transactionHash, ledger }) => [transactionHash, ledger])).toEqual(
    network.applied.map(({ hash, ledger }) => [hash, ledger]),
  );
  expect(memos).toHaveLength(201);
});

describe('whatever goes wrong', () => {
  const wrongs: (Misbehaviour | undefined)[] = [
    undefined,
    undefined,
    undefined,
    'lose the request',
    'lose the answer',
    'bad gateway',
    'too many requests',
    'nonsense',
    'try again later',
    'bad sequence',
    'forget what was queued',
  ];

  test('each checkpoint is anchored by exactly one applied transaction', async () => {
    const acts = fc.oneof(
      { weight: 5, arbitrary: fc.record({ kind: fc.constant('step' as const) }) },
      {
        weight: 3,
        arbitrary: fc.record({
          kind: fc.constant('kill' as const),
          at: fc.integer({ min: 1, max: 8 }),
          isAfter: fc.boolean(),
        }),
      },
      {
        weight: 3,
        arbitrary: fc.record({ kind: fc.constant('ledger' as const), seconds: fc.constantFrom(5, 5, 5, 60, 130) }),
      },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('sign' as const) }) },
    );
    let size = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(acts, { minLength: 20, maxLength: 60 }),
        fc.array(fc.constantFrom(...wrongs), { minLength: 50, maxLength: 200 }),
        fc.constantFrom(100, 100, 4000),
        async (script, faults, clearingFeeStroops) => {
          let calls = 0;
          await signed((size += 1));
          network.misbehave = () => faults[calls++ % faults.length];
          network.clearingFeeStroops = clearingFeeStroops;
          for (const act of script) {
            if (act.kind === 'ledger') network.closeLedger(act.seconds);
            else if (act.kind === 'sign') await signed((size += 1));
            else if (act.kind === 'step') await step();
            else {
              await makeDue();
              await anchorNext(killedAt(database.pool, act.at, act.isAfter), anchoring).catch((error: unknown) => {
                if (!(error instanceof KilledError)) throw error;
              });
            }
          }
          network.misbehave = () => undefined;
          network.clearingFeeStroops = 100;
          await anchorAll();
          expect(network.applied.length).toBeGreaterThan(0);
          await expectEachAnchoredOnce();
        },
      ),
      { numRuns: 40 },
    );
  });
});
