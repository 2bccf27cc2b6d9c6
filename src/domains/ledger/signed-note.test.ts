import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { checkpointBody, readCheckpoint } from './checkpoint.ts';
import { sha256 } from './log-tree.ts';
import { isSignedBy, makeSigningKey, openNote, readSigningKey, readVerifierKey, signNote } from './signed-note.ts';

// From golang.org/x/mod/sumdb/note, note_test.go and example_test.go.
const goSigningKey = 'PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz';
const goVerifierKey = 'PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW';
const goText = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
const goNote = `${goText}\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n`;

describe('a signed note', () => {
  test('is signed as Go signs it, and checked with its verifier key', () => {
    const signer = readSigningKey(goSigningKey)!;
    expect(signer.verifier.text).toBe(goVerifierKey);
    expect(signNote(goText, signer)).toBe(goNote);
    expect(isSignedBy(openNote(goNote)!, readVerifierKey(goVerifierKey)!)).toBe(true);
  });

  test('is not signed when a byte of its text is another, nor by a key of the same name', () => {
    const other = readSigningKey(makeSigningKey('PeterNeumann'))!;
    const changed = openNote(goNote.replace('answer', 'Answer'))!;
    expect(isSignedBy(changed, readVerifierKey(goVerifierKey)!)).toBe(false);
    expect(isSignedBy(openNote(goNote)!, other.verifier)).toBeUndefined();
  });

  test('holds several signatures, of which each is found by its key', () => {
    const [one, other] = [readSigningKey(makeSigningKey('one'))!, readSigningKey(makeSigningKey('other'))!];
    const note = openNote(`${signNote('text\n', one)}${other.sign('text\n')}`)!;
    expect([isSignedBy(note, one.verifier), isSignedBy(note, other.verifier)]).toEqual([true, true]);
  });

  test.each([
    ['no blank line', 'text\n— a AAAAAAA=\n'],
    ['no newline at its end', goNote.slice(0, -1)],
    ['a signature that is no base64', 'text\n\n— a ?\n'],
    ['a control character', 'te\u0000xt\n\n— a AAAAAAA=\n'],
    ['nothing', ''],
  ])('with %s is none', (_, note) => {
    expect(openNote(note)).toBeUndefined();
  });

  test.each([
    'PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TX',
    'PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW',
    'Peter Neumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW',
    'PeterNeumann+c74f20a3',
    '',
  ])('is checked by no key like %s', (text) => {
    expect(readVerifierKey(text)).toBeUndefined();
  });

  test('is read without throwing, whatever it is', () => {
    const anything = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.string({ unit: fc.constantFrom('\n', '— ', 'a', '+', '=') }),
    );
    const read = (text: string) =>
      [openNote, readCheckpoint, readVerifierKey, readSigningKey].map((each) => each(text));
    fc.assert(
      fc.property(anything, (text) => {
        expect(() => read(text)).not.toThrow();
      }),
    );
  });
});

describe('a checkpoint', () => {
  test('is read as it was written', () => {
    const signer = readSigningKey(goSigningKey)!;
    const checkpoint = { origin: 'example.com/log', size: 42, root: sha256('root') };
    expect(readCheckpoint(signNote(checkpointBody(checkpoint), signer))).toMatchObject(checkpoint);
  });

  test.each([
    ['a size with a zero in front', 'example.com/log\n042\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n'],
    ['a root that is too short', 'example.com/log\n42\nAAAA\n'],
    ['no origin', '\n42\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n'],
  ])('has not %s', (_, body) => {
    expect(readCheckpoint(signNote(body, readSigningKey(goSigningKey)!))).toBeUndefined();
  });
});
