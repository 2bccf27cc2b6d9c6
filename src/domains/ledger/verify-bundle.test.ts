import { Keypair } from '@stellar/stellar-sdk/base';
import fc from 'fast-check';
import { randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { treeHash } from '../../testing/tree-hash.ts';
import { checkpointBody } from './checkpoint.ts';
import { commitmentTo, disclose, entryOf } from './entry-commitment.ts';
import type { ProofBundle } from './ledger.schema.ts';
import { inclusionRanges, leafHash, sha256, type LeafRange } from './log-tree.ts';
import { makeSigningKey, readSigningKey, signNote } from './signed-note.ts';
import { buildAnchorEnvelope } from './stellar-xdr.ts';
import type { TransactionState } from './stellar-rpc.ts';
import { verifyBundle, type Trust, type Verification } from './verify-bundle.ts';

const signer = readSigningKey(makeSigningKey('example.com/log'))!;
const trusted = [signer.verifier];
const stranger = readSigningKey(makeSigningKey('example.com/log'))!;

function makeBundle(
  index: number,
  size: number,
  fields: Record<string, unknown> = { dfid: 'D', payload: { kg: 1.5 } },
) {
  const seed = randomBytes(32);
  const entry = entryOf(commitmentTo(fields, seed));
  const leaves = Array.from({ length: size }, (_, at) => leafHash(at === index ? entry : randomBytes(8)));
  const rangeHash = ([begin, end]: LeafRange) => treeHash(leaves.slice(begin, end));
  const root = rangeHash([0, size]);
  const bundle: ProofBundle = {
    format: 'defarm-proof-v1',
    entry: entry.toString('base64'),
    ...disclose(fields, seed),
    index,
    inclusion: inclusionRanges(index, size).map((range) => rangeHash(range).toString('base64')),
    checkpoint: signNote(checkpointBody({ origin: 'example.com/log', size, root }), signer),
    tree_size: size,
    root: root.toString('base64'),
    anchor: null,
  };
  return bundle;
}

const account = Keypair.random();

/** The bundle as it is once its checkpoint is anchored. */
function anchored(bundle: ProofBundle, passphrase = 'Public Global Stellar Network ; September 2015'): ProofBundle {
  const note = bundle.checkpoint!;
  const { envelopeXdr, hash, source } = buildAnchorEnvelope({
    secretKey: account.secret(),
    networkPassphrase: passphrase,
    sequence: 5n,
    feeStroops: 1000,
    maxTimeSeconds: 1_800_000_100,
    memoHash: sha256(note.slice(0, note.lastIndexOf('\n\n') + 1)),
  });
  const anchor = { network_passphrase: passphrase, source, envelope_xdr: envelopeXdr, hash };
  return { ...bundle, anchor: { ...anchor, ledger: 77, closed_at: new Date(1_800_000_000_000).toISOString() } };
}

const verify = (bundle: object, keys = trusted, accounts: string[] = [], ledger?: Trust['ledger']) =>
  verifyBundle(JSON.stringify(bundle), { keys, accounts, ledger });
const failedStep = async (bundle: object, accounts: string[] = []) =>
  (await verify(bundle, trusted, accounts)).steps.find(({ result }) => result === 'fails')?.step;
const resultOf = (verification: Verification, name: string) =>
  verification.steps.find(({ step }) => step === name)?.result;

describe('a proof bundle', () => {
  test('holds at any place of a log of any size', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 40 }), fc.nat(), async (size, index) => {
        expect(await verify(makeBundle(index % size, size))).toMatchObject({ consistent: true, authenticated: true });
      }),
    );
  });

  test('is consistent and not authenticated when no key is given', async () => {
    expect(await verify(makeBundle(3, 10), [])).toMatchObject({
      consistent: true,
      authenticated: false,
      summary: 'consistent; signer not authenticated',
    });
  });

  test('is refused with a key that did not sign it, though its name is the same', async () => {
    const { authenticated, steps } = await verify(makeBundle(3, 10), [stranger.verifier]);
    expect(authenticated).toBe(false);
    expect(steps.find(({ result }) => result === 'fails')?.step).toBe('log_signature');
  });

  test('that shows nothing proves only that something was logged', async () => {
    const { fields: _fields, salt: _salt, ...hidden } = makeBundle(3, 10);
    const { consistent, steps } = await verify(hidden);
    expect(consistent).toBe(true);
    expect(steps.find(({ step }) => step === 'content')?.result).toBe('not checked');
  });

  test.each<[string, string, (bundle: ProofBundle) => object]>([
    ['a value', 'content', (b) => ({ ...b, fields: { ...b.fields, dfid: { ...b.fields!['dfid'], value: 'E' } } })],
    [
      'the name of a field',
      'content',
      (b) => ({ ...b, fields: { dfid: b.fields!['dfid'], load: b.fields!['payload'] } }),
    ],
    ['a field that is left out', 'content', (b) => ({ ...b, fields: { dfid: b.fields!['dfid'] } })],
    ['the salt', 'content', (b) => ({ ...b, salt: '0'.repeat(64) })],
    ['the index', 'inclusion', (b) => ({ ...b, index: b.index + 1 })],
    ['the path', 'inclusion', (b) => ({ ...b, inclusion: b.inclusion.toReversed() })],
    ['a longer path', 'inclusion', (b) => ({ ...b, inclusion: [...b.inclusion, b.root] })],
    ['the size', 'checkpoint', (b) => ({ ...b, tree_size: b.tree_size + 1 })],
    ['the root', 'checkpoint', (b) => ({ ...b, root: b.inclusion[0] })],
    ['the entry', 'content', (b) => ({ ...b, entry: entryOf(randomBytes(32)).toString('base64') })],
    ['another kind of entry', 'content', (b) => ({ ...b, entry: Buffer.from('{}').toString('base64') })],
    ['the checkpoint of another log', 'checkpoint', (b) => ({ ...b, checkpoint: makeBundle(0, 3).checkpoint })],
    [
      'the text of the checkpoint',
      'log_signature',
      (b) => ({ ...b, checkpoint: b.checkpoint!.replace('example', 'Example') }),
    ],
    ['a member that is not known', 'format', (b) => ({ ...b, trusted_key: signer.verifier.text })],
    ['the format', 'format', (b) => ({ ...b, format: 'defarm-proof-v2' })],
  ])('with another %s is refused at %s', async (_, step, change) => {
    expect(await failedStep(change(makeBundle(3, 10)))).toBe(step);
  });

  test('is refused when any bit of what it proves was changed', async () => {
    const bundle = anchored(makeBundle(5, 13));
    const text = JSON.stringify(bundle);
    await fc.assert(
      fc.asyncProperty(fc.nat(text.length - 1), fc.nat(6), async (at, bit) => {
        const changed = Buffer.from(text);
        changed[at]! ^= 1 << bit;
        const { steps } = await verifyBundle(changed.toString(), { keys: trusted, accounts: [account.publicKey()] });
        const isRefused = steps.some(({ result }) => result === 'fails');
        // A change may leave the meaning as it is, as another blank or another spelling of a number does.
        const isSame = sameMeaning(changed.toString(), bundle);
        // Where and when the ledger took it in is what only the ledger can tell.
        const isOfLedger = sameMeaning(changed.toString(), bundle, true);
        expect(isRefused || isSame || isOfLedger).toBe(true);
        expect(isRefused && isSame).toBe(false);
      }),
      { numRuns: 3000 },
    );
  });

  test('is looked at without throwing, whatever it is', async () => {
    const text = JSON.stringify(makeBundle(2, 5));
    const anything = fc.oneof(
      fc.string(),
      fc.json(),
      fc.nat(text.length - 1).map((cut) => text.slice(0, cut)),
    );
    const trust = { keys: trusted, accounts: [] };
    await fc.assert(
      fc.asyncProperty(anything, async (any) => {
        expect((await verifyBundle(any, trust)).consistent).toBe(false);
      }),
    );
    expect((await verifyBundle(`${'['.repeat(100_000)}${']'.repeat(100_000)}`, trust)).consistent).toBe(false);
    const deep = text.replace('"value":"D"', `"value":${'['.repeat(50_000)}${']'.repeat(50_000)}`);
    expect((await verifyBundle(deep, trust)).consistent).toBe(false);
  });
});

describe('an anchored proof bundle', () => {
  const ledgerThat = (state: Partial<TransactionState>): Trust['ledger'] => ({
    name: 'rpc.example.com',
    findTransaction: () =>
      Promise.resolve({
        status: 'SUCCESS',
        latestLedger: 99,
        latestCloseSeconds: 1_800_000_999,
        oldestCloseSeconds: 1_700_000_000,
        ledger: 77,
        closedAtSeconds: 1_800_000_000,
        resultXdr: undefined,
        ...state,
      }),
  });

  test('is consistent by itself, and authenticated by the account that anchors for the log', async () => {
    const bundle = anchored(makeBundle(3, 10));
    const alone = await verify(bundle, []);
    expect(alone).toMatchObject({ consistent: true, authenticated: false });
    expect(resultOf(alone, 'account_signature')).toBe('not checked');
    expect(resultOf(alone, 'ledger_inclusion')).toBe('not checked');
    expect(await verify(bundle, [], [account.publicKey()])).toMatchObject({ consistent: true, authenticated: true });
    expect(await failedStep(bundle, [Keypair.random().publicKey()])).toBe('account_signature');
  });

  test('is on a ledger only if somebody who was asked says so', async () => {
    const bundle = anchored(makeBundle(3, 10));
    const ask = async (state: Partial<TransactionState>) =>
      resultOf(await verify(bundle, trusted, [], ledgerThat(state)), 'ledger_inclusion');
    expect(await ask({})).toBe('holds');
    expect(await ask({ ledger: 78 })).toBe('fails');
    expect(await ask({ status: 'FAILED' })).toBe('fails');
    expect(await ask({ status: 'NOT_FOUND' })).toBe('not checked');
  });

  test('never reads as anchored in public when it is on a test network or one of its own', async () => {
    for (const passphrase of ['Test SDF Network ; September 2015', 'ours']) {
      const { steps } = await verify(anchored(makeBundle(3, 10), passphrase));
      expect(steps.find(({ step }) => step === 'anchor')!.detail).toContain('no proof in public');
    }
  });

  test.each<[string, (anchor: NonNullable<ProofBundle['anchor']>) => object]>([
    ['the transaction of another checkpoint', () => anchored(makeBundle(1, 5)).anchor!],
    ['another network', (anchor) => ({ ...anchor, network_passphrase: 'another one' })],
    ['another account', (anchor) => ({ ...anchor, source: Keypair.random().publicKey() })],
    ['another hash', (anchor) => ({ ...anchor, hash: '0'.repeat(64) })],
    ['no transaction', (anchor) => ({ ...anchor, envelope_xdr: 'AAAA' })],
  ])('with %s is refused at its anchor', async (_, change) => {
    const bundle = anchored(makeBundle(3, 10));
    expect(await failedStep({ ...bundle, anchor: change(bundle.anchor!) })).toBe('anchor');
  });
});

function sameMeaning(text: string, bundle: ProofBundle, isOfLedger = false): boolean {
  try {
    const changed = JSON.parse(text) as ProofBundle;
    if (isOfLedger) {
      const { ledger, closed_at: closedAt } = changed.anchor!;
      if (!Number.isSafeInteger(ledger) || ledger < 1 || Number.isNaN(Date.parse(closedAt))) return false;
      Object.assign(changed.anchor!, { ledger: bundle.anchor!.ledger, closed_at: bundle.anchor!.closed_at });
    }
    return JSON.stringify(changed) === JSON.stringify(bundle);
  } catch {
    return false;
  }
}
