import fc from 'fast-check';
import { randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { checkpointBody } from './checkpoint.ts';
import { commitmentTo, disclose, entryOf } from './entry-commitment.ts';
import type { ProofBundle } from './ledger.schema.ts';
import { inclusionRanges, leafHash, rootOfPerfect, rootOfSubtrees, subtreesOf, type LeafRange } from './log-tree.ts';
import { makeSigningKey, readSigningKey, signNote } from './signed-note.ts';
import { verifyBundle } from './verify-bundle.ts';

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
  const rangeHash = (range: LeafRange) =>
    rootOfSubtrees(
      subtreesOf(range).map(({ level, index: at }) =>
        rootOfPerfect(Buffer.concat(leaves.slice(at * 2 ** level, (at + 1) * 2 ** level))),
      ),
    );
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

const verify = (bundle: object, keys = trusted) => verifyBundle(JSON.stringify(bundle), keys);
const failedStep = (bundle: object) => verify(bundle).steps.find(({ result }) => result === 'fails')?.step;

describe('a proof bundle', () => {
  test('holds at any place of a log of any size', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 40 }), fc.nat(), (size, index) => {
        expect(verify(makeBundle(index % size, size))).toMatchObject({ consistent: true, authenticated: true });
      }),
    );
  });

  test('is consistent and not authenticated when no key is given', () => {
    expect(verify(makeBundle(3, 10), [])).toMatchObject({
      consistent: true,
      authenticated: false,
      summary: 'consistent; signer not authenticated',
    });
  });

  test('is refused with a key that did not sign it, though its name is the same', () => {
    const { authenticated, steps } = verify(makeBundle(3, 10), [stranger.verifier]);
    expect(authenticated).toBe(false);
    expect(steps.find(({ result }) => result === 'fails')?.step).toBe('log_signature');
  });

  test('that shows nothing proves only that something was logged', () => {
    const { fields: _fields, salt: _salt, ...hidden } = makeBundle(3, 10);
    const { consistent, steps } = verify(hidden);
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
  ])('with another %s is refused at %s', (_, step, change) => {
    expect(failedStep(change(makeBundle(3, 10)))).toBe(step);
  });

  test('is refused when any bit of what it proves was changed', () => {
    const bundle = makeBundle(5, 13);
    const text = JSON.stringify(bundle);
    fc.assert(
      fc.property(fc.nat(text.length - 1), fc.nat(6), (at, bit) => {
        const changed = Buffer.from(text);
        changed[at]! ^= 1 << bit;
        const { consistent, authenticated } = verifyBundle(changed.toString(), trusted);
        // A change may leave the meaning as it is, as another blank or another spelling of a number does.
        const isSame = sameMeaning(changed.toString(), bundle);
        expect(consistent && authenticated).toBe(isSame);
      }),
      { numRuns: 3000 },
    );
  });

  test('is looked at without throwing, whatever it is', () => {
    const text = JSON.stringify(makeBundle(2, 5));
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.json(),
          fc.nat(text.length - 1).map((cut) => text.slice(0, cut)),
        ),
        (any) => {
          expect(verifyBundle(any, trusted).consistent).toBe(false);
        },
      ),
    );
    expect(verifyBundle(`${'['.repeat(100_000)}${']'.repeat(100_000)}`, trusted).consistent).toBe(false);
    const deep = text.replace('"value":"D"', `"value":${'['.repeat(50_000)}${']'.repeat(50_000)}`);
    expect(verifyBundle(deep, trusted).consistent).toBe(false);
  });
});

function sameMeaning(text: string, bundle: object): boolean {
  try {
    return JSON.stringify(JSON.parse(text)) === JSON.stringify(bundle);
  } catch {
    return false;
  }
}
