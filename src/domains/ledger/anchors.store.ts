import { int8Array } from '#platform/binary-arrays.ts';
import type { Queryable } from '#platform/database.ts';

/** A transaction of the anchoring account, as it was committed before it was sent. */
export interface AttemptRow {
  anchor_id: string;
  attempt: number;
  source: string;
  envelope_xdr: string;
  hash: string;
  sequence: string;
  fee_stroops: number;
  built_at_seconds: number;
  max_time_seconds: number;
  /** A fee bump around it, once there is one. */
  bump_envelope_xdr: string | null;
  bump_hash: string | null;
  /** Whether it calls a contract, and anchors nothing. */
  is_call: boolean;
  state: 'signed' | 'submitted';
  is_due: boolean;
}

/** The transaction of an account that is on its way. */
export async function findOpenAttempt(
  queryable: Queryable,
  networkPassphrase: string,
  source: string,
): Promise<AttemptRow | undefined> {
  const { rows } = await queryable.query<AttemptRow>({
    name: 'find_open_attempt',
    text: `select anchor_id, attempt, source, envelope_xdr, hash, sequence::text, fee_stroops, built_at_seconds, max_time_seconds,
                  bump_envelope_xdr, bump_hash, state, due_at <= now() as is_due,
                  exists (select from contract_calls where call_id = anchor_id) as is_call
           from log_anchor_attempts where network_passphrase = $1 and source = $2 and state in ('signed', 'submitted')`,
    values: [networkPassphrase, source],
  });
  return rows[0];
}

/** A checkpoint that is to be anchored. */
export interface OpenAnchorRow {
  anchor_id: string;
  note: string;
  /** Transactions for it so far. */
  attempts: number;
  /** What the last of them bid for its operation. */
  last_fee_stroops: number | null;
}

/** The checkpoint that is to be anchored and is not yet, if there is one. */
export async function findOpenAnchor(
  queryable: Queryable,
  networkPassphrase: string,
): Promise<OpenAnchorRow | undefined> {
  const { rows } = await queryable.query<OpenAnchorRow>({
    name: 'find_open_anchor',
    text: `select anchors.anchor_id, note, count(attempts.attempt)::int4 as attempts,
                  (array_agg(greatest(attempts.fee_stroops, attempts.bump_fee_stroops / 2) order by attempts.attempt desc))[1] as last_fee_stroops
           from log_anchors as anchors left join log_anchor_attempts as attempts using (anchor_id)
           where anchors.network_passphrase = $1 and confirmed_attempt is null
           group by anchors.anchor_id order by anchors.size limit 1`,
    values: [networkPassphrase],
  });
  return rows[0];
}

/**
 * Chooses the newest checkpoint to be anchored, if it has enough entries that none before it had, and if the last one was
 * chosen long enough ago.
 */
export async function chooseCheckpoint(
  queryable: Queryable,
  choice: { anchorId: string; networkPassphrase: string; minEntries: number; intervalMs: number },
): Promise<void> {
  await queryable.query({
    name: 'choose_checkpoint',
    text: `insert into log_anchors (anchor_id, size, root, note, network_passphrase)
           select $1::uuid, newest.size, newest.root, newest.note, $2
           from (select size, root, note from log_checkpoints order by size desc limit 1) as newest
           cross join (select coalesce(max(size), 0) as size, max(created_at) as chosen_at from log_anchors where network_passphrase = $2) as last
           where newest.size >= last.size + $3::int8
             and (last.chosen_at is null or last.chosen_at <= now() - make_interval(secs => $4::float8 / 1000))
           on conflict do nothing`,
    values: [choice.anchorId, choice.networkPassphrase, choice.minEntries, choice.intervalMs],
  });
}

/** The highest sequence that a transaction of the account was ever built with. */
export async function findHighestSequence(
  queryable: Queryable,
  networkPassphrase: string,
  source: string,
): Promise<bigint | undefined> {
  const { rows } = await queryable.query<{ sequence: string | null }>({
    name: 'find_highest_sequence',
    text: `select max(sequence)::text as sequence from log_anchor_attempts
           where network_passphrase = $1 and source = $2 and state in ('confirmed', 'failed', 'unknown')`,
    values: [networkPassphrase, source],
  });
  const sequence = rows[0]?.sequence;
  return sequence == null ? undefined : BigInt(sequence);
}

export interface NewAttempt {
  readonly anchorId: string;
  readonly attempt: number;
  readonly source: string;
  readonly networkPassphrase: string;
  readonly envelopeXdr: string;
  readonly hash: string;
  readonly sequence: bigint;
  readonly feeStroops: number;
  readonly builtAtSeconds: number;
  readonly maxTimeSeconds: number;
}

/** Keeps a transaction before it is sent; false when another one of the account is on its way. */
export async function insertAttempt(queryable: Queryable, attempt: NewAttempt): Promise<boolean> {
  const { rowCount } = await queryable.query({
    name: 'insert_anchor_attempt',
    text: `insert into log_anchor_attempts (anchor_id, attempt, source, network_passphrase, envelope_xdr, hash, sequence, fee_stroops,
                                            built_at_seconds, max_time_seconds, state)
           values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'signed') on conflict do nothing`,
    values: [
      attempt.anchorId,
      attempt.attempt,
      attempt.source,
      attempt.networkPassphrase,
      attempt.envelopeXdr,
      attempt.hash,
      String(attempt.sequence),
      attempt.feeStroops,
      attempt.builtAtSeconds,
      attempt.maxTimeSeconds,
    ],
  });
  return rowCount === 1;
}

/** A fee bump around a transaction. */
export interface FeeBump {
  readonly envelopeXdr: string;
  readonly hash: string;
  readonly feeStroops: number;
}

/** Keeps a fee bump before it is sent; false when the transaction has one, or has ended. */
export async function insertFeeBump(
  queryable: Queryable,
  { anchor_id: anchorId, attempt }: Pick<AttemptRow, 'anchor_id' | 'attempt'>,
  bump: FeeBump,
): Promise<boolean> {
  const { rowCount } = await queryable.query({
    name: 'insert_fee_bump',
    text: `update log_anchor_attempts set bump_envelope_xdr = $3, bump_hash = $4, bump_fee_stroops = $5
           where anchor_id = $1 and attempt = $2 and state = 'submitted' and bump_envelope_xdr is null`,
    values: [anchorId, attempt, bump.envelopeXdr, bump.hash, bump.feeStroops],
  });
  return rowCount === 1;
}

/** Notes what the network said to a transaction, and when to look at it again. */
export async function noteAnswer(
  queryable: Queryable,
  { anchor_id: anchorId, attempt }: Pick<AttemptRow, 'anchor_id' | 'attempt'>,
  { answer, isSent, delayMs }: { answer: string; isSent: boolean; delayMs: number },
): Promise<void> {
  await queryable.query({
    name: 'note_anchor_answer',
    text: `update log_anchor_attempts set answer = $3, state = case when $4::bool then 'submitted' else state end,
                                          sends = sends + $4::bool::int4, due_at = now() + make_interval(secs => $5::float8 / 1000)
           where anchor_id = $1 and attempt = $2 and state in ('signed', 'submitted')`,
    values: [anchorId, attempt, answer, isSent, delayMs],
  });
}

/** Ends a transaction that was not applied, or of which nobody can tell. */
export async function endAttempt(
  queryable: Queryable,
  { anchor_id: anchorId, attempt }: Pick<AttemptRow, 'anchor_id' | 'attempt'>,
  state: 'failed' | 'expired' | 'unknown',
  answer: string,
): Promise<void> {
  await queryable.query({
    name: 'end_anchor_attempt',
    text: `update log_anchor_attempts set state = $3, answer = $4
           where anchor_id = $1 and attempt = $2 and state in ('signed', 'submitted')`,
    values: [anchorId, attempt, state, answer],
  });
}

/** Notes the ledger in which a transaction was applied. */
export async function confirmAttempt(
  queryable: Queryable,
  { anchor_id: anchorId, attempt }: Pick<AttemptRow, 'anchor_id' | 'attempt'>,
  {
    ledger,
    closedAtSeconds,
    chargedStroops,
  }: { ledger: number; closedAtSeconds: number; chargedStroops: number | null },
): Promise<void> {
  await queryable.query({
    name: 'confirm_anchor_attempt',
    text: `with confirmed as (
             update log_anchor_attempts set state = 'confirmed', answer = 'SUCCESS', charged_stroops = $5
             where anchor_id = $1 and attempt = $2 and state in ('signed', 'submitted') returning anchor_id
           ), called as (
             update contract_calls set state = 'confirmed', confirmed_attempt = $2, ledger = $3, fault = null
             from confirmed where call_id = confirmed.anchor_id
           )
           update log_anchors set confirmed_attempt = $2, ledger = $3, closed_at = to_timestamp($4)
           from confirmed where log_anchors.anchor_id = confirmed.anchor_id and confirmed_attempt is null`,
    values: [anchorId, attempt, ledger, closedAtSeconds, chargedStroops],
  });
}

/** A checkpoint that stands on a public ledger. */
export interface ConfirmedAnchorRow {
  size: number;
  root: Buffer;
  note: string;
  network_passphrase: string;
  source: string;
  envelope_xdr: string;
  hash: string;
  ledger: number;
  closed_at: Date;
}

const confirmedColumns = `size, root, note, anchors.network_passphrase, attempts.source, attempts.envelope_xdr, attempts.hash, ledger, closed_at`;
const confirmedFrom = `log_anchors as anchors join log_anchor_attempts as attempts
  on attempts.anchor_id = anchors.anchor_id and attempts.attempt = anchors.confirmed_attempt`;

/** For each of these entries the smallest anchored checkpoint that covers it, if there is one. */
export async function findCoveringAnchors(
  queryable: Queryable,
  indexes: readonly number[],
): Promise<ReadonlyMap<number, ConfirmedAnchorRow>> {
  const { rows } = await queryable.query<ConfirmedAnchorRow & { index: number }>({
    name: 'find_covering_anchors',
    text: `select wanted.index, covering.*
           from unnest($1::int8[]) as wanted (index)
           cross join lateral (
             select ${confirmedColumns} from ${confirmedFrom} where size > wanted.index order by size limit 1
           ) as covering`,
    values: [int8Array(indexes)],
  });
  return new Map(rows.map((row) => [row.index, row]));
}

/** Anchored checkpoints, the newest first. */
export async function listConfirmedAnchors(
  queryable: Queryable,
  { before, limit }: { before: number; limit: number },
): Promise<ConfirmedAnchorRow[]> {
  const { rows } = await queryable.query<ConfirmedAnchorRow>({
    name: 'list_confirmed_anchors',
    text: `select ${confirmedColumns} from ${confirmedFrom} where size < $1 order by size desc limit $2::int4`,
    values: [before, limit],
  });
  return rows;
}

/** Notes why nothing is anchored, and looks again later; null when all is well. */
export async function writeAnchorRefusal(queryable: Queryable, refusal: string | null, delayMs: number): Promise<void> {
  await queryable.query({
    name: 'write_anchor_refusal',
    text: `update log_state set anchor_refusal = $1, anchor_due_at = now() + make_interval(secs => $2::float8 / 1000)
           where $1::text is not null or anchor_refusal is not null`,
    values: [refusal, delayMs],
  });
}

/** Notes what the account that pays for anchors has. */
export async function writeAnchorBalance(queryable: Queryable, account: string, balanceStroops: bigint): Promise<void> {
  await queryable.query({
    name: 'write_anchor_balance',
    text: `update log_state set anchor_account = $1, anchor_balance_stroops = $2
           where anchor_account is distinct from $1 or anchor_balance_stroops is distinct from $2`,
    values: [account, String(balanceStroops)],
  });
}

/** Whether there is something to do about anchors now. */
export async function isAnchorDue(
  queryable: Queryable,
  { networkPassphrase, minEntries, intervalMs }: { networkPassphrase: string; minEntries: number; intervalMs: number },
): Promise<boolean> {
  const { rows } = await queryable.query<{ is_due: boolean }>({
    name: 'is_anchor_due',
    text: `select anchor_due_at <= now() and coalesce(
             (select bool_or(due_at <= now()) from log_anchor_attempts where network_passphrase = $1 and state in ('signed', 'submitted')),
             exists (select from contract_calls where network = $1 and state = 'open' and due_at <= now()) or
             exists (select from log_anchors where network_passphrase = $1 and confirmed_attempt is null) or exists (
               select from log_checkpoints
               cross join (select coalesce(max(size), 0) as size, max(created_at) as chosen_at from log_anchors where network_passphrase = $1) as last
               where log_checkpoints.size >= last.size + $2::int8
                 and (last.chosen_at is null or last.chosen_at <= now() - make_interval(secs => $3::float8 / 1000)))) as is_due
           from log_state`,
    values: [networkPassphrase, minEntries, intervalMs],
  });
  return rows[0]!.is_due;
}

/** A transaction that anchors, or is to anchor, a checkpoint which covers entries. */
export interface CoveringTransaction {
  hash: string;
  state: 'signed' | 'submitted' | 'confirmed' | 'failed' | 'expired' | 'unknown';
  ledger: number | null;
}

/** The last transactions of the checkpoints that first covered these entries on a ledger, the newest first. */
export async function findCoveringTransactions(
  queryable: Queryable,
  indexes: readonly number[],
): Promise<CoveringTransaction[]> {
  const { rows } = await queryable.query<CoveringTransaction>({
    name: 'find_covering_transactions',
    text: `select attempts.hash, attempts.state, covering.ledger
           from (
             select distinct first.anchor_id, first.size, first.ledger from unnest($1::int8[]) as wanted (index)
             cross join lateral (select anchor_id, size, ledger from log_anchors where size > wanted.index order by size limit 1) as first
           ) as covering
           cross join lateral (
             select hash, state from log_anchor_attempts where log_anchor_attempts.anchor_id = covering.anchor_id
             order by state = 'confirmed' desc, attempt desc limit 1
           ) as attempts
           order by covering.size desc`,
    values: [int8Array(indexes)],
  });
  return rows;
}

/** What became of all transactions, and what they cost. */
export async function countAnchors(
  queryable: Queryable,
): Promise<{ confirmed: number; failed: number; open: number; charged_stroops: string }> {
  const { rows } = await queryable.query<{ confirmed: number; failed: number; open: number; charged_stroops: string }>({
    name: 'count_anchors',
    text: `select count(*) filter (where state = 'confirmed') as confirmed,
                  count(*) filter (where state in ('failed', 'expired', 'unknown')) as failed,
                  count(*) filter (where state in ('signed', 'submitted')) as open,
                  coalesce(sum(charged_stroops), 0)::text as charged_stroops
           from log_anchor_attempts`,
  });
  return rows[0]!;
}
