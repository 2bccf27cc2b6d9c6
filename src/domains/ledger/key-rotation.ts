import { openNote, isSignedBy, readVerifierKey, signNote, type NoteSigner, type NoteVerifier } from './signed-note.ts';

/** A key takes the place of another one: what both sign, and what the log holds. */
export interface KeyRotation {
  readonly origin: string;
  /** Entries that were signed by the key before; the new one signs from here on. */
  readonly size: number;
  readonly root: Buffer;
  readonly from: NoteVerifier;
  readonly to: NoteVerifier;
}

const heading = 'defarm-log-key-rotation-v1';

/** The statement: a signed note (C2SP signed-note) with the signatures of both keys. */
export function signRotation(
  { origin, size, root }: Pick<KeyRotation, 'origin' | 'size' | 'root'>,
  from: NoteSigner,
  to: NoteSigner,
): string {
  const lines = [heading, origin, size, root.toString('base64'), from.verifier.text, to.verifier.text];
  const text = `${lines.join('\n')}\n`;
  return `${signNote(text, from)}${to.sign(text)}`;
}

/** Reads a statement; undefined unless both keys signed it. Whether the first of them is to be trusted is not said by that. */
export function readRotation(statement: string): KeyRotation | undefined {
  const note = openNote(statement);
  const [found, origin = '', size = '', root = '', from = '', to = '', end, ...rest] = note?.text.split('\n') ?? [];
  const [before, after] = [readVerifierKey(from), readVerifierKey(to)];
  if (!note || found !== heading || end !== '' || rest.length > 0 || !before || !after) return undefined;
  if ([before, after].some(({ kind }) => kind !== 'note')) return undefined;
  if (!/^(?:0|[1-9]\d{0,15})$/.test(size) || !isSignedBy(note, before) || !isSignedBy(note, after)) return undefined;
  return { origin, size: Number(size), root: Buffer.from(root, 'base64'), from: before, to: after };
}

/** What the log commits to when a key takes over. */
export function fieldsOfRotation(statement: string): Readonly<Record<string, unknown>> {
  return { kind: 'key_rotation', statement };
}

/**
 * The keys that are trusted when some are: those, and each one that a trusted key handed over to.
 * @param statements in the order in which keys took over.
 */
export function followRotations(
  trusted: readonly NoteVerifier[],
  origin: string,
  statements: readonly string[],
): { keys: readonly NoteVerifier[]; followed: readonly string[] } {
  const keys = [...trusted];
  const followed: string[] = [];
  for (const statement of statements) {
    const rotation = readRotation(statement);
    if (rotation?.origin !== origin || !keys.some(({ text }) => text === rotation.from.text)) continue;
    if (keys.some(({ text }) => text === rotation.to.text)) continue;
    keys.push(rotation.to);
    followed.push(statement);
  }
  return { keys, followed };
}
