import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { insertEvents } from '#domains/events/index.ts';
import { openDatabase, withTransaction, type Database } from '#platform/database.ts';
import { readJson, startApplication } from '../../../testing/application.ts';
import { createTestDatabase, type TestDatabase } from '../../../testing/database.ts';
import { weighing } from '../../../testing/events.ts';
import { storeNothing } from '../../../testing/storage.ts';
import { startWitness, type TestWitness } from '../../../testing/witness.ts';
import { readCheckpoint } from '../checkpoint.ts';
import { findCheckpoint } from '../log.store.ts';
import { sequenceEvents } from '../sequence-events.ts';
import { signCheckpoint } from '../sign-checkpoint.ts';
import { isSignedBy, makeSigningKey, readSigningKey, readVerifierKey } from '../signed-note.ts';
import { verifyBundle } from '../verify-bundle.ts';
import { askWitnesses } from './ask-witnesses.ts';
import { listWitnesses } from './witnesses.store.ts';

let testDatabase: TestDatabase;
let database: Database;
let witness: TestWitness;
const signer = readSigningKey(makeSigningKey('example.com/log'))!;
const signing = { origin: 'example.com/log', signer, lastCheckpointFile: undefined };

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  database = openDatabase({ url: testDatabase.url, poolSize: 8, applicationName: 'test', isWorker: true });
  await database.pool.query(
    `insert into items (item_number, value_chain, country, year) values (1, 'BEEF', 'BR', 2025)`,
  );
});
beforeEach(async () => {
  witness = await startWitness('witness.example.com/w1', [signer.verifier]);
  await database.pool.query(
    'truncate events, event_feed, log_entries, log_tiles, log_checkpoints, log_keys, log_witnesses',
  );
  await database.pool.query('update log_state set size = 0, refusal = null');
});
afterEach(() => witness.close());
afterAll(async () => {
  await database.close();
  await testDatabase.drop();
});

/** Lets the log grow by some events, and signs it. */
async function grow(count: number): Promise<void> {
  const events = Array.from({ length: count }, () => weighing());
  await withTransaction(database.pool, (client) => insertEvents(client, events));
  await sequenceEvents(database.pool, { steps: 3, rows: 5000, bytes: 1_000_000 }, storeNothing);
  await signCheckpoint(database.pool, signing);
}

const witnesses = () => [{ verifier: readVerifierKey(witness.verifierKey)!, url: witness.url }];
const ask = async () => {
  await database.pool.query('update log_witnesses set due_at = now()');
  return askWitnesses(database.pool, witnesses());
};
const isCosigned = async () => {
  const { note } = readCheckpoint((await findCheckpoint(database.pool))!.note)!;
  return [isSignedBy(note, signer.verifier), isSignedBy(note, readVerifierKey(witness.verifierKey)!)];
};
const refusal = async () => (await listWitnesses(database.pool))[0]!.refusal;

describe('a witness', () => {
  test('signs each checkpoint that goes on from the one that it signed before', async () => {
    const signed: (boolean | undefined)[][] = [];
    for (const count of [1, 300, 7, 256]) {
      await grow(count);
      expect(await ask()).toBe(1);
      signed.push(await isCosigned());
    }

    expect(signed.flat()).toEqual(Array.from({ length: 8 }, () => true));
    expect(witness.seen.get('example.com/log')!.size).toBe(564);
    expect(witness.requests).toBe(4);
  });

  test('is asked once for a checkpoint, and by one process', async () => {
    await grow(5);
    const signed = await Promise.all(Array.from({ length: 5 }, () => askWitnesses(database.pool, witnesses())));
    await ask();

    expect(signed.filter((count) => count > 0)).toEqual([1]);
    expect(witness.requests).toBe(1);
  });

  test('that knows the log from before is asked from where it stands', async () => {
    await grow(5);
    await ask();
    await grow(5);
    await database.pool.query('truncate log_witnesses');

    expect([await ask(), await ask()]).toEqual([0, 1]);

    expect(await isCosigned()).toEqual([true, true]);
  });

  test('that signed more than this log has shows that another one is told under its name', async () => {
    await grow(5);
    witness.seen.set('example.com/log', { size: 9, root: Buffer.alloc(32) });

    await ask();

    expect(await refusal()).toContain('it signed 9 entries, more than this log has');
    expect(await isCosigned()).toEqual([true, undefined]);
  });

  test('does not sign a log that does not go on as it began', async () => {
    await grow(5);
    await ask();
    await database.pool.query('truncate event_feed, log_entries, log_tiles, log_checkpoints, log_keys');
    await database.pool.query('update log_state set size = 0');
    await grow(8);

    await ask();

    expect(await refusal()).toBe('it answered 422');
    expect(await isCosigned()).toEqual([true, undefined]);
  });

  test.each([
    ['thank you', { status: 200, body: 'thank you\n' }, 'its answer has no signature that its key made'],
    ['nothing', { status: 200, body: '' }, 'its answer has no signature that its key made'],
    ['500', { status: 500, body: '<html>' }, 'it answered 500'],
    ['409 without a size', { status: 409, body: 'seven\n' }, 'it answered 409 without the size that it knows'],
    ['a megabyte', { status: 200, body: 'x'.repeat(1_000_000) }, 'it cannot be reached'],
  ])('that answers %s adds nothing, and the checkpoint is served without it', async (_, answer, expected) => {
    await grow(5);
    witness.misbehave = answer;
    await ask();
    const seen = [await refusal(), await isCosigned()];
    witness.misbehave = undefined;
    await ask();

    expect(seen).toEqual([expected, [true, undefined]]);
    expect([await refusal(), await isCosigned()]).toEqual([null, [true, true]]);
  });

  test('whose signature is of another key is not believed', async () => {
    await grow(5);
    const other = await startWitness('witness.example.com/w1', [signer.verifier]);

    await askWitnesses(database.pool, [{ verifier: readVerifierKey(witness.verifierKey)!, url: other.url }]);
    await other.close();

    expect(await refusal()).toBe('its answer has no signature that its key made');
  });
});

test('workers put the signatures of witnesses to the checkpoint, and a proof shows them', async () => {
  const key = makeSigningKey('example.com/log');
  const log = readSigningKey(key)!.verifier;
  const seer = await startWitness('witness.example.com/w2', [log]);
  const application = await startApplication({
    backend: 'postgres',
    environment: {
      LOG_SIGNING_KEY: key,
      LOG_WITNESSES: `${seer.verifierKey} ${seer.url}`,
      SWEEP_INTERVAL_MS: '100',
    },
  });
  const response = await application.fetch('/api/items', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      value_chain: 'BEEF',
      country: 'BR',
      year: 2025,
      identifiers: [{ identifier_type: 'sisbov', value: 'BR720000000001' }],
    }),
  });
  const { item } = await readJson<{ item: { dfid: string } }>(response);
  const readProof = async () => (await application.fetch(`/api/items/${item.dfid}/proof`)).text();
  await expect.poll(readProof, { timeout: 20_000, interval: 50 }).toContain('witness.example.com/w2');

  const proof = await readProof();
  const verdict = await verifyBundle(proof, { keys: [log, readVerifierKey(seer.verifierKey)!], accounts: [] });
  const tampered = await verifyBundle(
    proof.replace(/(w2 \S{20})(.)/, (_, before: string, bit: string) => `${before}${bit === 'A' ? 'B' : 'A'}`),
    {
      keys: [log, readVerifierKey(seer.verifierKey)!],
      accounts: [],
    },
  );
  const state = await readJson<{ witnesses: object[] }>(await application.fetch('/api/log'));
  await application.close();
  await seer.close();

  expect(verdict.authenticated).toBe(true);
  expect(verdict.steps).toContainEqual({
    step: 'witness_signature',
    result: 'holds',
    detail: 'witness.example.com/w2 saw the checkpoint',
  });
  expect(tampered.summary).toContain('refused at witness_signature');
  expect(state.witnesses).toMatchObject([{ name: 'witness.example.com/w2', refusal: null }]);
});

test('keys of logs and of witnesses are told apart by what they sign', () => {
  expect(readVerifierKey(witness.verifierKey)).toMatchObject({ kind: 'cosignature', text: witness.verifierKey });
  expect(readVerifierKey(signer.verifier.text)).toMatchObject({ kind: 'note' });
});
