import type { Queryable } from '#platform/database.ts';

const keptHours = 24;

/** The end of a key's time, for statements that insert keys together with their effect. */
export const idempotencyExpiry = `now() + interval '${keptHours} hours'`;

/** A request that carries an `Idempotency-Key`: whose it is, what it asks for, and what it must look like again. */
export interface IdempotencyClaim {
  readonly workspaceId: string;
  /** Method and path, such as `POST /api/receipts`. */
  readonly operation: string;
  readonly key: string;
  /** 32 bytes over query, content type and body. */
  readonly fingerprint: Buffer;
}

/** An answer as it can be given again. */
export interface KeptAnswer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
}

export interface IdempotencyRow {
  fingerprint: Buffer;
  /** The receipt that the request made, from which the answer can be told. One of this and `answer` is there. */
  receipt_id: string | null;
  answer: KeptAnswer | null;
}

/** Another request took the key first; what this one did in its transaction must be rolled back. */
export class IdempotencyKeyTaken extends Error {
  constructor() {
    super('another request with this idempotency key was faster');
    this.name = 'IdempotencyKeyTaken';
  }
}

/**
 * Keeps the key of a request in the transaction of its effect, as the last lock of that transaction; does nothing for a
 * request without one. Waits for another transaction that keeps the same key.
 * @param effect what the answer can be told from: the answer itself, or the receipt that was made.
 * @throws IdempotencyKeyTaken
 */
export async function keepIdempotencyKey(
  queryable: Queryable,
  claim: IdempotencyClaim | undefined,
  effect: { readonly answer: KeptAnswer } | { readonly receiptId: string },
): Promise<void> {
  if (!claim) return;
  const { rowCount } = await queryable.query({
    name: 'keep_idempotency_key',
    text: `insert into idempotency_keys as existing (workspace_id, operation, key, fingerprint, receipt_id, answer, expires_at)
           values ($1, $2, $3, $4, $5, $6, ${idempotencyExpiry})
           on conflict (workspace_id, operation, key) do update
             set fingerprint = excluded.fingerprint, receipt_id = excluded.receipt_id, answer = excluded.answer,
                 expires_at = excluded.expires_at
             where existing.expires_at < now()`,
    values: [
      claim.workspaceId,
      claim.operation,
      claim.key,
      claim.fingerprint,
      'receiptId' in effect ? effect.receiptId : null,
      'answer' in effect ? JSON.stringify(effect.answer) : null,
    ],
  });
  if (rowCount === 0) throw new IdempotencyKeyTaken();
}

/** What is kept under a key that has not expired. */
export async function findIdempotencyKey(
  queryable: Queryable,
  { workspaceId, operation, key }: Omit<IdempotencyClaim, 'fingerprint'>,
): Promise<IdempotencyRow | undefined> {
  const { rows } = await queryable.query<IdempotencyRow>({
    name: 'find_idempotency_key',
    text: `select fingerprint, receipt_id, answer from idempotency_keys
           where workspace_id = $1 and operation = $2 and key = $3 and expires_at >= now()`,
    values: [workspaceId, operation, key],
  });
  return rows[0];
}

/** Keeps the first answer beside a key that has none, so that a replay gives the same. */
export async function keepAnswer(
  queryable: Queryable,
  { workspaceId, operation, key }: IdempotencyClaim,
  answer: KeptAnswer,
): Promise<void> {
  await queryable.query({
    name: 'keep_answer',
    text: `update idempotency_keys set answer = $4
           where workspace_id = $1 and operation = $2 and key = $3 and answer is null`,
    values: [workspaceId, operation, key, JSON.stringify(answer)],
  });
}

/** Forgets keys that have expired, at most `limit`. Returns how many. */
export async function deleteExpiredIdempotencyKeys(queryable: Queryable, limit: number): Promise<number> {
  const { rowCount } = await queryable.query({
    text: `delete from idempotency_keys where ctid = any(array(select ctid from idempotency_keys where expires_at < now() limit $1))`,
    values: [limit],
  });
  return rowCount ?? 0;
}
