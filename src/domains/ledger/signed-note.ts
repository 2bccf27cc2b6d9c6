import { createPrivateKey, createPublicKey, generateKeyPairSync, sign, verify, type KeyObject } from 'node:crypto';
import { sha256 } from './log-tree.ts';

/**
 * Signed notes (C2SP signed-note): a text, a blank line, and a line for each signature. Keys are written as Go's
 * golang.org/x/mod/sumdb/note writes them, so that its tools read them.
 */
/** What the first byte of a key says that it signs: notes (C2SP signed-note), or checkpoints as a witness (C2SP tlog-cosignature). */
const algorithms = { note: 1, cosignature: 4 } as const;
const timestampBytes = 8;
const publicKeyHeader = Buffer.from('302a300506032b6570032100', 'hex');
const privateKeyHeader = Buffer.from('302e020100300506032b657004220420', 'hex');
const keyBytes = 32;
const signatureLine = /^\u2014 ([^\s+]+) ([A-Za-z0-9+/]+={0,2})$/;

/** A key that checks signatures, with the name under which they stand. */
export interface NoteVerifier {
  readonly kind: keyof typeof algorithms;
  readonly name: string;
  /** Four bytes that tell the keys of one name apart. */
  readonly keyHash: Buffer;
  readonly publicKey: KeyObject;
  /** `<name>+<key hash>+<key>` */
  readonly text: string;
}

/** A key that signs. */
export interface NoteSigner {
  readonly verifier: NoteVerifier;
  sign(text: string): string;
}

/** A name of a key: not empty, without blanks and plus signs. */
export function isKeyName(name: string): boolean {
  return /^[^\s+]{1,255}$/u.test(name) && name.isWellFormed();
}

/** Reads `<name>+<8 hex digits>+<base64>`; undefined if it is none of an Ed25519 key, of a log or a witness. */
export function readVerifierKey(text: string): NoteVerifier | undefined {
  const [name, hash, encoded, ...rest] = splitKey(text);
  const key = readKeyMaterial(encoded, 'note') ?? readKeyMaterial(encoded, 'cosignature');
  if (name === undefined || hash === undefined || !key || rest.length > 0) return undefined;
  const verifier = verifierOf(name, key, readKeyMaterial(encoded, 'note') ? 'note' : 'cosignature');
  return verifier.keyHash.toString('hex') === hash ? verifier : undefined;
}

/** Reads `PRIVATE+KEY+<name>+<8 hex digits>+<base64>`; undefined if it is none of an Ed25519 key. */
export function readSigningKey(text: string): NoteSigner | undefined {
  const prefix = 'PRIVATE+KEY+';
  if (!text.startsWith(prefix)) return undefined;
  const [name, hash, encoded, ...rest] = splitKey(text.slice(prefix.length));
  const seed = readKeyMaterial(encoded, 'note');
  if (name === undefined || hash === undefined || !seed || rest.length > 0) return undefined;
  const privateKey = createPrivateKey({ key: Buffer.concat([privateKeyHeader, seed]), format: 'der', type: 'pkcs8' });
  const signer = signerOf(name, privateKey);
  return signer.verifier.keyHash.toString('hex') === hash ? signer : undefined;
}

/** Makes a signing key; its text is secret. */
export function makeSigningKey(name: string): string {
  const { privateKey } = generateKeyPairSync('ed25519');
  const seed = privateKey.export({ format: 'der', type: 'pkcs8' }).subarray(privateKeyHeader.length);
  const { keyHash } = signerOf(name, privateKey).verifier;
  return `PRIVATE+KEY+${name}+${keyHash.toString('hex')}+${materialOf(seed, 'note').toString('base64')}`;
}

/** A note with one signature. The text ends with a newline and holds no control character but newlines. */
export function signNote(text: string, signer: NoteSigner): string {
  return `${text}\n${signer.sign(text)}`;
}

/** A note taken apart: its text, and its signatures by name and key hash. */
export interface OpenedNote {
  readonly text: string;
  readonly signatures: readonly { name: string; keyHash: Buffer; signature: Buffer }[];
}

/** Takes a note apart; undefined if it is malformed. Nothing is checked by that. */
export function openNote(note: string): OpenedNote | undefined {
  const end = note.lastIndexOf('\n\n');
  if (end < 0 || !note.endsWith('\n') || /(?!\n)\p{Cc}/u.test(note)) return undefined;
  const lines = note.slice(end + 2, -1).split('\n');
  const signatures = lines.map((line) => {
    const [, name, encoded] = signatureLine.exec(line) ?? [];
    const bytes = Buffer.from(encoded ?? '', 'base64');
    return name === undefined || bytes.length < 5 || bytes.toString('base64') !== encoded
      ? undefined
      : { name, keyHash: bytes.subarray(0, 4), signature: bytes.subarray(4) };
  });
  if (signatures.includes(undefined)) return undefined;
  return { text: note.slice(0, end + 1), signatures: signatures.filter((each) => each !== undefined) };
}

/** Whether a key signed a note: false when a signature in its name is wrong, undefined when there is none. */
export function isSignedBy({ text, signatures }: OpenedNote, verifier: NoteVerifier): boolean | undefined {
  const own = signatures.filter(({ name, keyHash }) => name === verifier.name && keyHash.equals(verifier.keyHash));
  if (own.length === 0) return undefined;
  return own.every(({ signature }) =>
    verifier.kind === 'note'
      ? verify(null, Buffer.from(text), verifier.publicKey, signature)
      : isCosignature(text, signature, verifier),
  );
}

/** A witness signs the time beside the text, and puts it before its signature. */
function isCosignature(text: string, timed: Buffer, { publicKey }: NoteVerifier): boolean {
  if (timed.length <= timestampBytes) return false;
  const seconds = timed.readBigUInt64BE();
  return verify(null, cosignedMessage(text, seconds), publicKey, timed.subarray(timestampBytes));
}

/** What a witness signs of a checkpoint at some time, in seconds since the Unix epoch. */
export function cosignedMessage(text: string, seconds: bigint): Buffer {
  return Buffer.from(`cosignature/v1\ntime ${seconds}\n${text}`);
}

function splitKey(text: string): string[] {
  const [name = '', hash = '', ...encoded] = text.split('+');
  return isKeyName(name) ? [name, hash, encoded.join('+')] : [];
}

function readKeyMaterial(encoded: string | undefined, kind: NoteVerifier['kind']): Buffer | undefined {
  const material = Buffer.from(encoded ?? '', 'base64');
  const isWhole = material.length === 1 + keyBytes && material.toString('base64') === encoded;
  return isWhole && material[0] === algorithms[kind] ? material.subarray(1) : undefined;
}

function materialOf(key: Buffer, kind: NoteVerifier['kind']): Buffer {
  return Buffer.concat([Buffer.of(algorithms[kind]), key]);
}

function verifierOf(name: string, key: Buffer, kind: NoteVerifier['kind']): NoteVerifier {
  const material = materialOf(key, kind);
  const keyHash = sha256(Buffer.concat([Buffer.from(`${name}\n`), material])).subarray(0, 4);
  const publicKey = createPublicKey({ key: Buffer.concat([publicKeyHeader, key]), format: 'der', type: 'spki' });
  return { kind, name, keyHash, publicKey, text: `${name}+${keyHash.toString('hex')}+${material.toString('base64')}` };
}

function signerOf(name: string, privateKey: KeyObject): NoteSigner {
  const publicKey = createPublicKey(privateKey)
    .export({ format: 'der', type: 'spki' })
    .subarray(publicKeyHeader.length);
  const verifier = verifierOf(name, publicKey, 'note');
  return {
    verifier,
    sign: (text) => {
      const signature = sign(null, Buffer.from(text), privateKey);
      return `\u2014 ${name} ${Buffer.concat([verifier.keyHash, signature]).toString('base64')}\n`;
    },
  };
}
