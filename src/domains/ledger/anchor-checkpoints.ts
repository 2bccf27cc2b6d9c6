import type pg from 'pg';
import { makeId } from '#platform/ids.ts';
import {
  chooseCheckpoint,
  confirmAttempt,
  endAttempt,
  findHighestSequence,
  findOpenAnchor,
  findOpenAttempt,
  insertAttempt,
  insertFeeBump,
  noteAnswer,
  writeAnchorBalance,
  writeAnchorRefusal,
  type AttemptRow,
  type OpenAnchorRow,
} from './anchors.store.ts';
import { readCheckpoint } from './checkpoint.ts';
import { findOpenCall, refuseCall, type OpenCall } from './contract-calls/contract-calls.store.ts';
import { sha256 } from './log-tree.ts';
import { RpcUnavailable, type StellarRpc, type TransactionState } from './stellar-rpc.ts';

/** Where and how checkpoints are anchored. */
export interface Anchoring {
  readonly rpc: StellarRpc;
  readonly networkPassphrase: string;
  readonly secretKey: string;
  readonly maxFeeStroops: number;
  readonly minEntries: number;
  readonly intervalMs: number;
}

/** Until then, by the clock of the ledger, a transaction can be applied. */
const lifetimeSeconds = 120;
const leastFeeStroops = 1000;
/** What was sent and not applied for so long, by the clock of the ledger, bids more: six ledgers passed it by. */
const stuckSeconds = 30;
/** With less the network does not let one transaction take the place of another that waits. */
const replacingFactor = 10;
/** A ledger closes every five seconds or so. */
const lookAgainMs = 3000;
/** When nothing can be done, it is tried again after so long. */
const refusedMs = 10_000;
/** Nobody has it: asked for to hear what time it is on the ledger. */
const noTransaction = '0'.repeat(64);

/**
 * Does the next step towards an anchored checkpoint; each step is safe to be done twice, and to be cut off anywhere. A
 * transaction is committed here before it is sent, and the same bytes are sent until it is applied, or until it never can be:
 * so each checkpoint is anchored by one transaction, whatever gets lost on the way.
 * @returns what was done, in words; undefined when there was nothing to do.
 */
export async function anchorNext(pool: pg.Pool, anchoring: Anchoring): Promise<string | undefined> {
  try {
    const done = await doNext(pool, anchoring);
    if (typeof done !== 'object') {
      await writeAnchorRefusal(pool, null, 0);
      return done;
    }
    await writeAnchorRefusal(pool, done.refusal, refusedMs);
    return done.refusal;
  } catch (error) {
    if (!(error instanceof RpcUnavailable)) throw error;
    await writeAnchorRefusal(pool, error.message, refusedMs);
    return error.message;
  }
}

type Outcome = string | undefined | { readonly refusal: string };

async function doNext(pool: pg.Pool, anchoring: Anchoring): Promise<Outcome> {
  const { addressOfSecret } = await import('./stellar-xdr.ts');
  const source = addressOfSecret(anchoring.secretKey);
  if (source === undefined) return { refusal: 'STELLAR_SECRET_KEY is no secret key of Stellar' };
  const { networkPassphrase } = anchoring;
  const open = await findOpenAttempt(pool, networkPassphrase, source);
  if (open) return open.is_due ? pursue(pool, anchoring, open) : undefined;
  const anchor = (await findOpenAnchor(pool, networkPassphrase)) ?? (await chooseAnchor(pool, anchoring));
  const call = anchor ? undefined : await findOpenCall(pool, networkPassphrase);
  const refusal = anchor
    ? await buildAnchor(pool, anchoring, source, anchor)
    : call && (await buildCall(pool, anchoring, source, call));
  if (refusal !== undefined) return { refusal };
  const built = await findOpenAttempt(pool, networkPassphrase, source);
  return built && pursue(pool, anchoring, built);
}

async function chooseAnchor(pool: pg.Pool, anchoring: Anchoring): Promise<OpenAnchorRow | undefined> {
  await chooseCheckpoint(pool, { anchorId: makeId(), ...anchoring });
  return findOpenAnchor(pool, anchoring.networkPassphrase);
}

/** Makes and keeps the next transaction for a checkpoint; gives the reason when that cannot be. */
async function buildAnchor(
  pool: pg.Pool,
  anchoring: Anchoring,
  source: string,
  anchor: OpenAnchorRow,
): Promise<string | undefined> {
  const { secretKey, networkPassphrase } = anchoring;
  const terms = await findTerms(pool, anchoring, source, anchor.last_fee_stroops);
  if (typeof terms === 'string') return terms;
  const { buildAnchorEnvelope } = await import('./stellar-xdr.ts');
  const memoHash = sha256(readCheckpoint(anchor.note)!.note.text);
  await insertAttempt(pool, {
    ...terms,
    ...buildAnchorEnvelope({ ...terms, secretKey, networkPassphrase, memoHash }),
    anchorId: anchor.anchor_id,
    attempt: anchor.attempts + 1,
    networkPassphrase,
  });
  return undefined;
}

/** The same for a call of a contract, whose simulation tells what it needs; one that would fail is put off. */
async function buildCall(
  pool: pg.Pool,
  anchoring: Anchoring,
  source: string,
  call: OpenCall,
): Promise<string | undefined> {
  const { rpc, secretKey, networkPassphrase, maxFeeStroops } = anchoring;
  const terms = await findTerms(pool, anchoring, source, call.lastFeeStroops);
  if (typeof terms === 'string') return terms;
  const { buildCallEnvelope, buildCallToSimulate } = await import('./stellar-contracts.ts');
  const draft = { ...terms, secretKey, networkPassphrase, call };
  const simulation = await rpc.simulate(buildCallToSimulate(draft));
  if (typeof simulation === 'string') {
    await refuseCall(pool, call.callId, simulation);
    return undefined;
  }
  const envelope = buildCallEnvelope(draft, simulation);
  if (envelope.feeStroops > maxFeeStroops) {
    await refuseCall(pool, call.callId, `it would bid ${envelope.feeStroops} stroops, and may bid ${maxFeeStroops}`);
    return undefined;
  }
  await insertAttempt(pool, {
    ...terms,
    ...envelope,
    anchorId: call.callId,
    attempt: call.attempts + 1,
    networkPassphrase,
  });
  return undefined;
}

/** On which the next transaction of the account can be made. */
interface Terms {
  readonly sequence: bigint;
  readonly feeStroops: number;
  readonly builtAtSeconds: number;
  readonly maxTimeSeconds: number;
}

/** @returns a text when none can be made now. */
async function findTerms(
  pool: pg.Pool,
  { rpc, networkPassphrase, maxFeeStroops }: Anchoring,
  source: string,
  lastFeeStroops: number | null,
): Promise<Terms | string> {
  const now = await rpc.findTransaction(noTransaction);
  const account = await rpc.readAccount(source);
  if (!account) return `the account ${source} does not exist on the network`;
  await writeAnchorBalance(pool, source, account.balanceStroops);
  const fee = Math.max(leastFeeStroops, await rpc.readFeeStroops(), (lastFeeStroops ?? 0) * 2);
  const feeStroops = Math.min(fee, maxFeeStroops);
  if (account.balanceStroops < BigInt(feeStroops)) return `the account ${source} cannot pay ${feeStroops} stroops`;
  const highest = await findHighestSequence(pool, networkPassphrase, source);
  // An endpoint that is behind would have a transaction made that can never be applied.
  if (highest !== undefined && account.sequence < highest)
    return 'the RPC endpoint is behind what is known of the account';
  return {
    sequence: account.sequence + 1n,
    feeStroops,
    builtAtSeconds: now.latestCloseSeconds,
    maxTimeSeconds: now.latestCloseSeconds + lifetimeSeconds,
  };
}

/** Looks what became of a transaction, and sends it, again or for the first time, while it can still be applied. */
async function pursue(pool: pg.Pool, anchoring: Anchoring, attempt: AttemptRow): Promise<Outcome> {
  const { rpc, maxFeeStroops } = anchoring;
  const found = await findTransaction(rpc, attempt);
  if (found.status === 'SUCCESS') {
    const { ledger, closedAtSeconds = 0 } = found;
    const chargedStroops = readCharge(found.resultXdr);
    await confirmAttempt(pool, attempt, { ledger: ledger!, closedAtSeconds, chargedStroops });
    return `${attempt.is_call ? 'called' : 'anchored'} in ledger ${ledger}`;
  }
  if (found.status === 'FAILED') {
    await endAttempt(pool, attempt, 'failed', found.resultXdr ?? 'FAILED');
    if (attempt.is_call)
      await refuseCall(pool, attempt.anchor_id, `it failed on the ledger (${found.resultXdr ?? ''})`);
    return 'the transaction was applied without success; another one follows';
  }
  if (found.latestCloseSeconds > attempt.max_time_seconds) return giveUp(pool, rpc, attempt, found);
  const bump = attempt.bump_envelope_xdr ?? (await bumpIfStuck(pool, anchoring, attempt, found));
  const { status, detail } = await sendEither(rpc, attempt, bump);
  // Whatever the answer is, the transaction may have been applied: only the next look, or its end, tells.
  await noteAnswer(pool, attempt, { answer: `${status} ${detail}`.trim(), isSent: true, delayMs: lookAgainMs });
  if (status !== 'ERROR') return bump === undefined ? 'sent' : 'sent with a higher bid';
  return attempt.fee_stroops >= maxFeeStroops
    ? { refusal: `the network refuses a transaction that bids all that it may (${detail})` }
    : `sent, and refused (${detail})`;
}

/** Under its own hash, and under that of the fee bump, for endpoints that know only the one of them. */
async function findTransaction(rpc: StellarRpc, { hash, bump_hash: bumpHash }: AttemptRow): Promise<TransactionState> {
  const found = await rpc.findTransaction(hash);
  if (found.status !== 'NOT_FOUND' || bumpHash === null) return found;
  const bumped = await rpc.findTransaction(bumpHash);
  return bumped.status === 'SUCCESS' ? bumped : found;
}

/** Makes and keeps a fee bump for what the ledger passes by; gives its envelope, undefined when there is none to be made. */
async function bumpIfStuck(
  pool: pg.Pool,
  { secretKey, networkPassphrase, maxFeeStroops }: Anchoring,
  attempt: AttemptRow,
  { latestCloseSeconds }: TransactionState,
): Promise<string | undefined> {
  // What a call of a contract bids includes its resources, which a bump would pay for ten times.
  if (attempt.is_call || attempt.state !== 'submitted' || latestCloseSeconds < attempt.built_at_seconds + stuckSeconds)
    return undefined;
  // The bump itself is paid for as an operation, too.
  const baseFeeStroops = Math.min(attempt.fee_stroops * replacingFactor, Math.floor(maxFeeStroops / 2));
  if (baseFeeStroops <= attempt.fee_stroops) return undefined;
  const { buildFeeBump } = await import('./stellar-xdr.ts');
  const bump = buildFeeBump(attempt.envelope_xdr, { secretKey, networkPassphrase, baseFeeStroops });
  return (await insertFeeBump(pool, attempt, bump)) ? bump.envelopeXdr : undefined;
}

/** The bump if there is one, and the transaction alone where it is refused: both together are applied once at most. */
async function sendEither(rpc: StellarRpc, attempt: AttemptRow, bump: string | undefined) {
  const answer = bump === undefined ? undefined : await rpc.send(bump);
  return answer && answer.status !== 'ERROR' ? answer : rpc.send(attempt.envelope_xdr);
}

/** A transaction whose time is over and that the ledger does not know: never applied, or before all that is remembered. */
async function giveUp(pool: pg.Pool, rpc: StellarRpc, attempt: AttemptRow, found: TransactionState): Promise<Outcome> {
  const account = await rpc.readAccount(attempt.source);
  if (!account) return { refusal: `the account ${attempt.source} does not exist on the network` };
  // An answer about an older ledger than the one that ended the transaction says nothing.
  if (account.latestLedger < found.latestLedger) return undefined;
  if (account.sequence < BigInt(attempt.sequence)) {
    await endAttempt(pool, attempt, 'expired', 'its time was over and its sequence was not used');
    return 'the transaction was not applied in time; another one follows';
  }
  if (found.oldestCloseSeconds <= attempt.built_at_seconds) {
    await endAttempt(pool, attempt, 'failed', 'its sequence was used by another transaction');
    return { refusal: 'the anchoring account is used by others too, which delays anchors' };
  }
  await endAttempt(pool, attempt, 'unknown', 'the network remembers nothing of the time in which it could be applied');
  return 'nobody can tell any longer whether the transaction was applied; another one follows';
}

/** The charge in a TransactionResult, whose first eight bytes it is; null when the network told none. */
function readCharge(resultXdr: string | undefined): number | null {
  const bytes = Buffer.from(resultXdr ?? '', 'base64');
  return bytes.length < 8 ? null : Number(bytes.readBigInt64BE());
}
