import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { insertEvents } from '#domains/events/index.ts';
import { openDatabase, withTransaction, type Database } from '#platform/database.ts';
import { createTestDatabase, type TestDatabase } from '../../testing/database.ts';
import { weighing } from '../../testing/events.ts';
import { storeNothing } from '../../testing/storage.ts';
import { checkDatabase } from './check-database.ts';
import { readCheckpoint } from './checkpoint.ts';
import { entryOf } from './entry-commitment.ts';
import { followRotations, readRotation, signRotation } from './key-rotation.ts';
import { findCheckpoint, findCommitments, readLogState } from './log.store.ts';
import { makeLedgerService } from './ledger.service.ts';
import { LogFault, mirrorLog, type LogReader } from './mirror-log.ts';
import { sequenceEvents } from './sequence-events.ts';
import { signCheckpoint } from './sign-checkpoint.ts';
import { isSignedBy, makeSigningKey, readSigningKey, type NoteSigner } from './signed-note.ts';

const origin = 'example.com/log';
const newSigner = () => readSigningKey(makeSigningKey(origin))!;
const [first, second, third, stranger] = [newSigner(), newSigner(), newSigner(), newSigner()];

let testDatabase: TestDatabase;
let database: Database;
beforeAll(async () => {
  testDatabase = await createTestDatabase();
  database = openDatabase({ url: testDatabase.url, poolSize: 4, applicationName: 'test', isWorker: true });
  await database.pool.query(
    `insert into items (item_number, value_chain, country, year) values (1, 'BEEF', 'BR', 2025)`,
  );
});
beforeEach(async () => {
  await database.pool.query('truncate events, event_feed, log_entries, log_tiles, log_checkpoints, log_keys');
  await database.pool.query('update log_state set size = 0, refusal = null');
});
afterAll(async () => {
  await database.close();
  await testDatabase.drop();
});

async function tell(count: number): Promise<void> {
  const events = Array.from({ length: count }, () => weighing());
  await withTransaction(database.pool, (client) => insertEvents(client, events));
  while ((await sequenceEvents(database.pool, { steps: 3, rows: 500, bytes: 1_000_000 }, storeNothing))?.hasMore);
}

const signWith = (signer: NoteSigner, previous?: NoteSigner) =>
  signCheckpoint(database.pool, { origin, signer, previous, lastCheckpointFile: undefined });
const signedBy = async (signers: readonly NoteSigner[]) => {
  const { note } = readCheckpoint((await findCheckpoint(database.pool))!.note)!;
  return signers.map(({ verifier }) => isSignedBy(note, verifier) === true);
};

/** The public pages of the log of this database. */
function reader(): LogReader {
  const ledger = makeLedgerService({
    database,
    items: undefined as never,
    maxFeeStroops: 100,
    verifierKey: undefined,
  });
  return async (path) => {
    if (path === '/log/checkpoint') return Buffer.from((await ledger.checkpoint())!);
    if (path === '/log/keys') return Buffer.from(JSON.stringify(await ledger.keys()));
    if (path.startsWith('/log/anchors')) return Buffer.from(JSON.stringify(await ledger.anchors({ limit: 100 })));
    const [, number, width] = /^\/log\/tile\/entries\/(\d+)(?:\.p\/(\d+))?$/.exec(path)!;
    return (await ledger.tile({ level: 'entries', number: Number(number), width: Number(width ?? 256) }))!;
  };
}

const mirrorWith = (signers: readonly NoteSigner[], read = reader()) =>
  mirrorLog({ read, keys: signers.map(({ verifier }) => verifier), accounts: [] });

describe('a key that takes the place of another one', () => {
  test('is told in the log, in an entry that both keys signed, and both sign while the old one is there', async () => {
    await tell(300);
    expect(await signWith(first)).toBe(300);
    await tell(10);

    expect(await signWith(second, first)).toBe(311);

    expect(await signedBy([first, second])).toEqual([true, true]);
    expect(await signWith(second, first)).toBe(311);
    const { keys } = await makeLedgerService({
      database,
      items: undefined as never,
      maxFeeStroops: 1,
      verifierKey: undefined,
    }).keys();
    expect(keys).toMatchObject([
      { verifier_key: first.verifier.text, from_size: 0, until_size: 310, statement: null, entry: null },
      { verifier_key: second.verifier.text, from_size: 310, until_size: null, entry: { index: 310 } },
    ]);
    const rotation = readRotation(keys[1]!.statement!)!;
    expect({ ...rotation, from: rotation.from.text, to: rotation.to.text }).toMatchObject({
      origin,
      size: 310,
      from: first.verifier.text,
      to: second.verifier.text,
    });
    expect((await findCommitments(database.pool, 310, 311)).map((each) => entryOf(each))).toHaveLength(1);
    const report = await checkDatabase({
      database,
      keys: [second.verifier],
      repairs: false,
      from: 0,
      onProgress: () => {},
    });
    expect(report).toMatchObject({ entries: 311, unexplained: 1, faultsTotal: 0 });
  });

  test('signs alone when the old one is gone, and whoever trusted the old one can follow', async () => {
    await tell(5);
    await signWith(first);
    await signWith(second, first);
    await tell(5);
    await signWith(third, second);
    await tell(5);
    expect(await signWith(third)).toBe(17);
    expect(await signedBy([first, second, third])).toEqual([false, false, true]);

    for (const trusted of [first, second, third])
      expect(await mirrorWith([trusted])).toMatchObject({ isSigned: true, size: 17 });

    await expect(mirrorWith([stranger])).rejects.toThrow('none of the given keys signed');
  });

  test('is not followed when the log has no entry that says so', async () => {
    await tell(5);
    await signWith(first);
    await signWith(second, first);
    await signWith(second);
    await tell(1);
    await signWith(second);
    const read = reader();
    const lying: LogReader = async (path) => {
      const bytes = await read(path);
      return path === '/log/keys' ? Buffer.from(bytes.toString().replace('"index":5', '"index":4')) : bytes;
    };

    await expect(mirrorWith([first], lying)).rejects.toThrow(LogFault);
    await expect(mirrorWith([first], lying)).rejects.toThrow('does not say that another key took over');
  });

  test('is refused when the old one is another than the one that signed', async () => {
    await tell(5);
    await signWith(first);
    await tell(1);

    expect(await signWith(second, stranger)).toBeUndefined();

    expect((await readLogState(database.pool)).refusal).toContain('another key signed');
    expect(await signWith(first)).toBe(6);
  });
});

test('a statement holds only as both keys signed it', () => {
  const statement = signRotation({ origin, size: 5, root: Buffer.alloc(32, 1) }, first, second);
  expect(readRotation(statement)?.to.text).toBe(second.verifier.text);
  for (let at = 0; at < statement.length; at += 1) {
    const changed = `${statement.slice(0, at)}${statement[at] === 'A' ? 'B' : 'A'}${statement.slice(at + 1)}`;
    expect(readRotation(changed)).toBeUndefined();
  }
  expect(readRotation(statement.split('\n').slice(0, -2).join('\n') + '\n')).toBeUndefined();
  expect(followRotations([stranger.verifier], origin, [statement]).followed).toEqual([]);
  expect(followRotations([first.verifier], 'another.example', [statement]).followed).toEqual([]);
  expect(followRotations([first.verifier], origin, [statement]).followed).toEqual([statement]);
});
