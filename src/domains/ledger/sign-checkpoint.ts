import { readFileSync } from 'node:fs';
import { open, rename } from 'node:fs/promises';
import type pg from 'pg';
import { withTransaction } from '#platform/database.ts';
import { checkpointBody, readCheckpoint, type Checkpoint } from './checkpoint.ts';
import { readRoot } from './log-tiles.ts';
import { findCheckpoint, lockLog, writeCheckpoint, writeRefusal } from './log.store.ts';
import { isSignedBy, signNote, type NoteSigner } from './signed-note.ts';

/** What signs the log, and where the last checkpoint is kept beside the database. */
export interface CheckpointSigning {
  readonly origin: string;
  readonly signer: NoteSigner;
  /** A file; undefined when no such memory is kept. */
  readonly lastCheckpointFile: string | undefined;
}

/**
 * Signs the log as it is committed, if it has grown. A log that does not begin with all that was signed before is not signed:
 * a database that was restored, or that is another one, must not tell a second story under the same name.
 * @returns the size that is signed now; undefined when another process is at it, or when signing is refused.
 */
export function signCheckpoint(pool: pg.Pool, signing: CheckpointSigning): Promise<number | undefined> {
  return withTransaction(pool, async (client) => {
    const size = await lockLog(client);
    if (size === undefined) return undefined;
    const known = await findCheckpoint(client);
    const outside = readKept(signing);
    const isOfOtherKey = known && !isOfKey(known.note, signing.signer);
    const reason = isOfOtherKey
      ? 'another key signed the log before, and a log that changes its key unsaid is none'
      : typeof outside === 'string'
        ? outside
        : await findDivergence(
            client,
            signing,
            size,
            [known, outside].flatMap((each) => each ?? []),
          );
    await writeRefusal(client, reason ?? null);
    if (reason !== undefined) return undefined;
    if (known?.size === size) return size;
    const checkpoint = { origin: signing.origin, size, root: await readRoot({ queryable: client }, size) };
    const note = signNote(checkpointBody(checkpoint), signing.signer);
    // First outside: what is kept there alone is a beginning of this log, whatever becomes of the transaction. Nobody but
    // the lane waits meanwhile, and what it waits for is one page on a local disk.
    await keepOutside(signing, note);
    await writeCheckpoint(client, { ...checkpoint, note });
    return size;
  });
}

/** What does not fit between the log and what was signed of it; undefined when all does. */
async function findDivergence(
  client: pg.ClientBase,
  { origin }: CheckpointSigning,
  size: number,
  kept: readonly (Pick<Checkpoint, 'size' | 'root'> & { origin?: string })[],
): Promise<string | undefined> {
  for (const each of kept) {
    if (each.origin !== undefined && each.origin !== origin)
      return `the checkpoint that is kept is of ${each.origin}, and this log is ${origin}`;
    if (each.size > size) return `${each.size} entries were signed, and the log has ${size}: it was restored`;
    if (!(await readRoot({ queryable: client }, each.size)).equals(each.root))
      return `the first ${each.size} entries are not those that were signed: it is another log`;
  }
  return undefined;
}

/** The checkpoint that is kept outside, or why what is there is none. */
function readKept({ lastCheckpointFile, signer }: CheckpointSigning): Checkpoint | string | undefined {
  if (lastCheckpointFile === undefined) return undefined;
  let text: string;
  try {
    text = readFileSync(lastCheckpointFile, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    return `${lastCheckpointFile} cannot be read`;
  }
  return isOfKey(text, signer)
    ? readCheckpoint(text)
    : `${lastCheckpointFile} holds no checkpoint that the signing key signed`;
}

function isOfKey(note: string, { verifier }: NoteSigner): boolean {
  const checkpoint = readCheckpoint(note);
  return checkpoint !== undefined && isSignedBy(checkpoint.note, verifier) === true;
}

async function keepOutside({ lastCheckpointFile }: CheckpointSigning, note: string): Promise<void> {
  if (lastCheckpointFile === undefined) return;
  const file = await open(`${lastCheckpointFile}.new`, 'w', 0o600);
  try {
    await file.writeFile(note);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(`${lastCheckpointFile}.new`, lastCheckpointFile);
}
