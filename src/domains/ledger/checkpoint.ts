import { hashBytes } from './log-tree.ts';
import { openNote, type OpenedNote } from './signed-note.ts';

/** What a log says of itself: how many entries it has, and the root over them. */
export interface Checkpoint {
  /** The name of the log, which no other has. */
  readonly origin: string;
  readonly size: number;
  readonly root: Buffer;
}

/** The body of a checkpoint (C2SP tlog-checkpoint): the text that is signed, and whose SHA-256 is anchored. */
export function checkpointBody({ origin, size, root }: Checkpoint): string {
  return `${origin}\n${size}\n${root.toString('base64')}\n`;
}

/** Reads a checkpoint from a signed note; undefined if it is none. Signatures are not checked by that. */
export function readCheckpoint(note: string): (Checkpoint & { readonly note: OpenedNote }) | undefined {
  const opened = openNote(note);
  const [origin = '', size = '', encoded = ''] = opened?.text.split('\n') ?? [];
  const root = Buffer.from(encoded, 'base64');
  const isWhole = origin !== '' && root.length === hashBytes && root.toString('base64') === encoded;
  if (!opened || !isWhole || !/^(?:0|[1-9]\d{0,15})$/.test(size) || !Number.isSafeInteger(Number(size)))
    return undefined;
  return { origin, size: Number(size), root, note: opened };
}
