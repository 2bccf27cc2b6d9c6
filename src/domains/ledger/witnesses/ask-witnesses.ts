import type pg from 'pg';
import { readResponse } from '#platform/read-response.ts';
import { readCheckpoint, type Checkpoint } from '../checkpoint.ts';
import { readRangeHashes } from '../log-tiles.ts';
import { consistencyRanges } from '../log-tree.ts';
import { findCheckpoint } from '../log.store.ts';
import { isSignedBy, type NoteVerifier } from '../signed-note.ts';
import { addCosignature, takeDueWitnesses, writeWitness, type WitnessRow } from './witnesses.store.ts';

/** Somebody else who signs checkpoints of this log, if each goes on from the one before. */
export interface Witness {
  readonly verifier: NoteVerifier;
  /** Its address, to which `/add-checkpoint` is added. */
  readonly url: string;
}

const timeoutMs = 10_000;
const leaseMs = 30_000;
/** A log that always grows does not ask for each of its checkpoints. */
const betweenMs = 10_000;
const afterRefusalMs = 60_000;
const answerBytesMax = 65_536;

/**
 * Asks the witnesses that are due for their signatures under the newest checkpoint (C2SP tlog-witness), and puts those to it
 * that are right. Nothing waits for them: a checkpoint is served without, until they come.
 * @returns how many signed.
 */
export async function askWitnesses(pool: pg.Pool, witnesses: readonly Witness[]): Promise<number> {
  const due = await takeDueWitnesses(
    pool,
    witnesses.map(({ verifier }) => verifier.text),
    leaseMs,
  );
  const signed = await Promise.all(
    due.map((row) =>
      askOne(
        pool,
        witnesses.find(({ verifier }) => verifier.text === row.verifier_key)!,
        row,
      ),
    ),
  );
  return signed.filter(Boolean).length;
}

async function askOne(pool: pg.Pool, witness: Witness, row: WitnessRow): Promise<boolean> {
  const kept = await findCheckpoint(pool);
  const checkpoint = kept && readCheckpoint(kept.note);
  if (!checkpoint || checkpoint.size <= row.size) return false;
  const answer = await cosign(pool, witness, checkpoint, kept.note, row.size);
  if ('line' in answer) {
    await addCosignature(pool, checkpoint.size, answer.line);
    await writeWitness(pool, { ...row, size: checkpoint.size, refusal: null }, betweenMs);
    return true;
  }
  const { refusal, size = row.size } = answer;
  // A witness that remembers another size is asked again at once, from there.
  const isOtherSize = size !== row.size && size < checkpoint.size;
  await writeWitness(pool, { ...row, size, refusal }, isOtherSize ? 0 : afterRefusalMs);
  return false;
}

type Answer = { readonly line: string } | { readonly refusal: string; readonly size?: number };

async function cosign(
  pool: pg.Pool,
  { verifier, url }: Witness,
  checkpoint: Checkpoint,
  note: string,
  from: number,
): Promise<Answer> {
  const ranges = from === 0 ? [] : consistencyRanges(from, checkpoint.size);
  const proof = await readRangeHashes({ queryable: pool }, ranges, checkpoint.size);
  const lines = [`old ${from}`, ...proof.map((hash) => hash.toString('base64'))];
  let status: number;
  let text: string;
  try {
    const response = await fetch(`${url.replace(/\/$/, '')}/add-checkpoint`, {
      method: 'POST',
      headers: { 'content-type': 'text/plain; charset=utf-8' },
      body: `${lines.join('\n')}\n\n${note}`,
      redirect: 'error',
      signal: AbortSignal.timeout(timeoutMs),
    });
    ({ status } = response);
    text = (await readResponse(response, answerBytesMax)).toString('utf8');
  } catch (error) {
    const isLate = error instanceof Error && error.name === 'TimeoutError';
    return { refusal: isLate ? 'it did not answer in time' : 'it cannot be reached' };
  }
  if (status === 409) return readConflict(text, checkpoint.size);
  if (status !== 200) return { refusal: `it answered ${status}` };
  const line = text
    .split('\n')
    .map((each) => `${each}\n`)
    .find((each) => isCosignedBy(note, each, verifier));
  return line === undefined ? { refusal: 'its answer has no signature that its key made' } : { line };
}

/** The size that the witness says it signed last, which another one than this database knows of may be. */
function readConflict(text: string, size: number): Answer {
  if (!/^(?:0|[1-9]\d{0,15})\n$/.test(text)) return { refusal: 'it answered 409 without the size that it knows' };
  const known = Number(text);
  if (known <= size) return { refusal: `it knows ${known} entries`, size: known };
  return { refusal: `it signed ${known} entries, more than this log has: another one is or was told under its name` };
}

function isCosignedBy(note: string, line: string, verifier: NoteVerifier): boolean {
  const checkpoint = readCheckpoint(`${note}${line}`);
  return checkpoint !== undefined && isSignedBy(checkpoint.note, verifier) === true;
}
