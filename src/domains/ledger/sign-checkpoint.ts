import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { open, rename } from 'node:fs/promises';
import type pg from 'pg';
import { withTransaction } from '#platform/database.ts';
import { checkpointBody, readCheckpoint, type Checkpoint } from './checkpoint.ts';
import { commitmentTo, entryOf, seedBytes } from './entry-commitment.ts';
import { fieldsOfRotation, signRotation } from './key-rotation.ts';
import { insertLogKey, listLogKeys } from './log-keys.store.ts';
import { readRoot, TileBuilder } from './log-tiles.ts';
import { leafHash } from './log-tree.ts';
import {
  findCheckpoint,
  growLog,
  insertLogEntries,
  insertTiles,
  lockLog,
  writeCheckpoint,
  writeRefusal,
} from './log.store.ts';
import { isSignedBy, signNote, type NoteSigner } from './signed-note.ts';

/** What signs the log, and where the last checkpoint is kept beside the database. */
export interface CheckpointSigning {
  readonly origin: string;
  readonly signer: NoteSigner;
  /** The key that `signer` takes the place of: as long as it is here, checkpoints are signed by both. */
  readonly previous?: NoteSigner | undefined;
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
    const isOfOtherKey = known && !isOfOurs(known.note, signing);
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
    const signedSize = await handOver(client, signing, size);
    if (known?.size === signedSize) return signedSize;
    const root = await readRoot({ queryable: client }, signedSize);
    const checkpoint = { origin: signing.origin, size: signedSize, root };
    const body = checkpointBody(checkpoint);
    const note = `${signNote(body, signing.signer)}${signing.previous?.sign(body) ?? ''}`;
    // First outside: what is kept there alone is a beginning of this log, whatever becomes of the transaction. Nobody but
    // the lane waits meanwhile, and what it waits for is one page on a local disk.
    await keepOutside(signing, note);
    await writeCheckpoint(client, { ...checkpoint, note });
    return signedSize;
  });
}

/**
 * Notes the key that signs, and says it in the log when it takes the place of another one.
 * @returns the size of the log then.
 */
async function handOver(client: pg.ClientBase, signing: CheckpointSigning, size: number): Promise<number> {
  const { origin, signer, previous } = signing;
  const keys = await listLogKeys(client);
  const last = keys.at(-1);
  if (last?.verifier_key === signer.verifier.text) return size;
  if (!previous) {
    const first = { verifier_key: signer.verifier.text, from_size: 0, statement: null, index: null, seed: null };
    await insertLogKey(client, first);
    return size;
  }
  if (!last) {
    const first = { verifier_key: previous.verifier.text, from_size: 0, statement: null, index: null, seed: null };
    await insertLogKey(client, first);
  }
  const root = await readRoot({ queryable: client }, size);
  const statement = signRotation({ origin, size, root }, previous, signer);
  const seed = randomBytes(seedBytes);
  const commitment = commitmentTo(fieldsOfRotation(statement), seed);
  const tiles = await TileBuilder.at(client, size);
  await insertLogEntries(client, [{ index: size, subject: {}, commitment, seed }]);
  await insertTiles(client, tiles.append([leafHash(entryOf(commitment))]));
  await growLog(client, size, size + 1);
  await insertLogKey(client, { verifier_key: signer.verifier.text, from_size: size, statement, index: size, seed });
  return size + 1;
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
function readKept({ lastCheckpointFile, ...signing }: CheckpointSigning): Checkpoint | string | undefined {
  if (lastCheckpointFile === undefined) return undefined;
  let text: string;
  try {
    text = readFileSync(lastCheckpointFile, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    return `${lastCheckpointFile} cannot be read`;
  }
  return isOfOurs(text, signing)
    ? readCheckpoint(text)
    : `${lastCheckpointFile} holds no checkpoint that the signing key signed`;
}

function isOfOurs(note: string, { signer, previous }: Pick<CheckpointSigning, 'signer' | 'previous'>): boolean {
  const checkpoint = readCheckpoint(note);
  if (!checkpoint) return false;
  return [signer, previous].some((each) => each && isSignedBy(checkpoint.note, each.verifier) === true);
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
