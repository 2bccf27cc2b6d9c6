import { textArray } from '#platform/binary-arrays.ts';
import type { Queryable } from '#platform/database.ts';

export interface WitnessRow {
  verifier_key: string;
  size: number;
  refusal: string | null;
}

/**
 * Takes the witnesses that are due and have not signed the newest checkpoint, so that nobody else asks them for a while.
 * @param leaseMs after which somebody else may ask, when this process is gone.
 */
export async function takeDueWitnesses(
  queryable: Queryable,
  verifierKeys: readonly string[],
  leaseMs: number,
): Promise<WitnessRow[]> {
  const { rows } = await queryable.query<WitnessRow>({
    name: 'take_due_witnesses',
    text: `insert into log_witnesses as known (verifier_key, due_at)
           select wanted.verifier_key, now() + make_interval(secs => $2::float8 / 1000) from unnest($1::text[]) as wanted (verifier_key)
           cross join (select max(size) as size from log_checkpoints) as newest where newest.size > 0
           on conflict (verifier_key) do update set due_at = excluded.due_at
             where known.due_at <= now() and known.size < (select max(size) from log_checkpoints)
           returning verifier_key, size, refusal`,
    values: [textArray(verifierKeys), leaseMs],
  });
  return rows;
}

/** Whether one of these witnesses is to be asked now. */
export async function isWitnessDue(queryable: Queryable, verifierKeys: readonly string[]): Promise<boolean> {
  const { rows } = await queryable.query<{ is_due: boolean }>({
    name: 'is_witness_due',
    text: `select exists (
             select from unnest($1::text[]) as wanted (verifier_key)
             cross join (select max(size) as size from log_checkpoints) as newest
             left join log_witnesses as known using (verifier_key)
             where newest.size > coalesce(known.size, 0) and coalesce(known.due_at <= now(), true)) as is_due`,
    values: [textArray(verifierKeys)],
  });
  return rows[0]!.is_due;
}

/** Notes what a witness said, and when it is asked again. */
export async function writeWitness(
  queryable: Queryable,
  { verifier_key: verifierKey, size, refusal }: WitnessRow,
  delayMs: number,
): Promise<void> {
  await queryable.query({
    name: 'write_witness',
    text: `update log_witnesses set size = $2, refusal = $3, due_at = now() + make_interval(secs => $4::float8 / 1000)
           where verifier_key = $1`,
    values: [verifierKey, size, refusal, delayMs],
  });
}

/** Puts a signature to the newest checkpoint, if it still is the one that was signed and has it not yet. */
export async function addCosignature(queryable: Queryable, size: number, line: string): Promise<void> {
  await queryable.query({
    name: 'add_cosignature',
    text: `update log_checkpoints set note = note || $2 where size = $1 and position($2 in note) = 0`,
    values: [size, line],
  });
}

/** The witnesses that were ever asked. */
export async function listWitnesses(queryable: Queryable): Promise<WitnessRow[]> {
  const { rows } = await queryable.query<WitnessRow>({
    name: 'list_witnesses',
    text: 'select verifier_key, size, refusal from log_witnesses order by verifier_key',
  });
  return rows;
}
