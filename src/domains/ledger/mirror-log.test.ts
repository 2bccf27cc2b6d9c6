import { Keypair } from '@stellar/stellar-sdk/base';
import { randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { treeHash } from '../../testing/tree-hash.ts';
import { checkpointBody, readCheckpoint } from './checkpoint.ts';
import { entryOf } from './entry-commitment.ts';
import { leafHash, sha256 } from './log-tree.ts';
import { mirrorLog, type LogReader, type MirrorOptions } from './mirror-log.ts';
import { makeSigningKey, readSigningKey, signNote } from './signed-note.ts';
import { buildAnchorEnvelope } from './stellar-xdr.ts';
import { readTilePath } from './tile-path.ts';

const origin = 'example.com/log';
const signer = readSigningKey(makeSigningKey(origin))!;
const account = Keypair.random();
const entries = Array.from({ length: 700 }, () => entryOf(randomBytes(32)));

function noteOf(size: number, log = entries): string {
  const root = treeHash(log.slice(0, size).map((entry) => leafHash(entry)));
  return signNote(checkpointBody({ origin, size, root }), signer);
}

function anchorOf(note: string, ledger = 1000) {
  const { envelopeXdr, hash, source } = buildAnchorEnvelope({
    secretKey: account.secret(),
    networkPassphrase: 'ours',
    sequence: 1n,
    feeStroops: 100,
    maxTimeSeconds: 0,
    memoHash: sha256(readCheckpoint(note)!.note.text),
  });
  return { checkpoint: note, network_passphrase: 'ours', source, envelope_xdr: envelopeXdr, hash, ledger };
}

interface ServedLog {
  readonly size: number;
  readonly log?: readonly Buffer[];
  readonly note?: string;
  readonly anchors?: readonly object[];
}

/** A log as an installation serves it. */
function serving({ size, log = entries, note = noteOf(size, [...log]), anchors = [] }: ServedLog): LogReader {
  return (path) => {
    if (path === '/log/checkpoint') return Promise.resolve(Buffer.from(note));
    if (path.startsWith('/log/anchors'))
      return Promise.resolve(Buffer.from(JSON.stringify({ anchors, next_cursor: null })));
    const { number, width } = readTilePath(path.replace('/log/tile/', ''))!;
    const parts = log.slice(number * 256, number * 256 + width).flatMap((entry) => {
      const length = Buffer.alloc(2);
      length.writeUInt16BE(entry.length);
      return [length, entry];
    });
    return Promise.resolve(Buffer.concat(parts));
  };
}

const mirror = (log: ServedLog, more: Partial<MirrorOptions> = {}) =>
  mirrorLog({ read: serving(log), keys: [signer.verifier], accounts: [account.publicKey()], ...more });

describe('a mirror', () => {
  test.each([1, 255, 256, 257, 700])(
    'finds a log of %i entries, its anchors and what was seen of it right',
    async (size) => {
      const early = Math.ceil(size / 2);
      const log = { size, anchors: [anchorOf(noteOf(size)), anchorOf(noteOf(early))] };
      expect(await mirror(log, { seen: readCheckpoint(noteOf(early)) })).toMatchObject({
        origin,
        size,
        isSigned: true,
        anchors: 2,
        trustedAnchors: 2,
      });
    },
  );

  test.each<[string, ServedLog, Partial<MirrorOptions>, string]>([
    [
      'another entry',
      { size: 300, log: entries.with(7, entryOf(randomBytes(32))), note: noteOf(300) },
      {},
      'do not lead',
    ],
    ['an entry of another kind', { size: 3, log: [Buffer.from('{}'), ...entries] }, {}, 'none of this kind'],
    [
      'fewer entries than it says',
      { size: 300, log: entries.slice(0, 290), note: noteOf(300) },
      {},
      'has not 44 entries',
    ],
    ['fewer entries than were seen', { size: 10 }, { seen: readCheckpoint(noteOf(20)) }, 'the log has 10'],
    [
      'another beginning than was seen',
      { size: 20, log: entries.toReversed() },
      { seen: readCheckpoint(noteOf(10)) },
      'seen before',
    ],
    [
      'a wrong signature',
      { size: 5, note: noteOf(5).replace(/\n5\n/, '\n6\n') },
      {},
      'signature of the checkpoint is wrong',
    ],
    [
      'an anchor that it does not have',
      { size: 20, anchors: [anchorOf(noteOf(10, entries.toReversed()))] },
      {},
      'anchored with',
    ],
    ['an anchor beyond its end', { size: 20, anchors: [anchorOf(noteOf(30))] }, {}, 'has 30 entries'],
    [
      'the anchor of another checkpoint',
      { size: 20, anchors: [{ ...anchorOf(noteOf(9)), checkpoint: noteOf(8) }] },
      {},
      'does not carry',
    ],
  ])('finds a log with %s wrong, and says so', async (_, log, more, message) => {
    await expect(mirror(log, more)).rejects.toThrow(message);
  });

  test('does not take a log for signed by nobody that it trusts', async () => {
    const stranger = readSigningKey(makeSigningKey(origin))!.verifier;
    await expect(mirror({ size: 5 }, { keys: [stranger] })).rejects.toThrow('none of the given keys');
    expect(await mirror({ size: 5 }, { keys: [] })).toMatchObject({ isSigned: false });
  });
});

describe('what an account put on the ledger', () => {
  const [first, second] = [noteOf(300), noteOf(600)];
  const anchors = [anchorOf(second, 1010), anchorOf(first, 1000)];
  const memoOf = (note: string, ledger: number) => ({
    account: account.publicKey(),
    transactionHash: 'ab'.repeat(32),
    memoHash: sha256(readCheckpoint(note)!.note.text),
    ledger,
  });
  const other = noteOf(300, [entryOf(randomBytes(32)), ...entries]);

  test('is all of the log, and all that the log shows', async () => {
    const memos = [memoOf(first, 1000), memoOf(second, 1010), memoOf(noteOf(650), 1020)];

    expect((await mirror({ size: 700, anchors }, { memos })).memos).toEqual({ known: 2, newer: 1 });
  });

  test.each([
    [
      'another log beside it',
      [memoOf(first, 1000), memoOf(other, 1005), memoOf(second, 1010)],
      'anchored something in ledger 1005',
    ],
    ['less than the log shows', [memoOf(first, 1000), memoOf(first, 1010)], 'the ledger does not have'],
  ])('is refused when it is %s', async (_, memos, fault) => {
    await expect(mirror({ size: 700, anchors }, { memos })).rejects.toThrow(fault);
  });

  test('is not missed where the history begins later', async () => {
    expect((await mirror({ size: 700, anchors }, { memos: [memoOf(second, 1010)] })).memos).toEqual({
      known: 1,
      newer: 0,
    });
  });
});
