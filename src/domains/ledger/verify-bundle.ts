import { z } from 'zod';
import { readCheckpoint } from './checkpoint.ts';
import { commitmentFrom, commitmentIn } from './entry-commitment.ts';
import { proofBundleSchema, type ProofBundle } from './ledger.schema.ts';
import { hashBytes, leafHash, rootFromInclusion, sha256 } from './log-tree.ts';
import { isSignedBy, type NoteVerifier } from './signed-note.ts';
import { networkInWords } from './stellar-networks.ts';
import type { StellarRpc } from './stellar-rpc.ts';

/** One thing that was looked at. */
export interface VerificationStep {
  readonly step:
    | 'format'
    | 'content'
    | 'checkpoint'
    | 'inclusion'
    | 'log_signature'
    | 'witness_signature'
    | 'anchor'
    | 'account_signature'
    | 'ledger_inclusion';
  readonly result: 'holds' | 'fails' | 'not checked';
  readonly detail: string;
}

/** What may be said of a proof, and no more. */
export interface Verification {
  /** Whether all hashes of the file fit together. */
  readonly consistent: boolean;
  /** Whether a key or an account that the caller trusts signed the checkpoint. */
  readonly authenticated: boolean;
  readonly steps: readonly VerificationStep[];
  readonly summary: string;
}

const step = (
  name: VerificationStep['step'],
  result: VerificationStep['result'],
  detail: string,
): VerificationStep => ({
  step: name,
  result,
  detail,
});

/** What the caller trusts, and whom it asks. */
export interface Trust {
  /** Of logs, and of witnesses. */
  readonly keys: readonly NoteVerifier[];
  /** Accounts of Stellar that anchor for the log. */
  readonly accounts: readonly string[];
  /** Asked whether the network has the transaction; nobody is asked without it. */
  readonly ledger?: { readonly name: string; findTransaction: StellarRpc['findTransaction'] } | undefined;
}

/**
 * Checks a proof bundle with nothing but itself and what the caller trusts. Keys and accounts inside of it are never trusted.
 * Never throws, whatever the text is.
 */
export async function verifyBundle(text: string, trust: Trust): Promise<Verification> {
  const read = readBundle(text);
  if (typeof read === 'string') return conclude([step('format', 'fails', read)]);
  const checkpoint = read.checkpoint === null ? undefined : readCheckpoint(read.checkpoint);
  return conclude([
    step('format', 'holds', 'the file is a proof bundle of format defarm-proof-v1'),
    contentStep(read),
    checkpointStep(read, checkpoint),
    inclusionStep(read),
    signatureStepOnce(read, checkpoint, trust.keys),
    ...witnessSteps(checkpoint, trust.keys),
    ...(await anchorSteps(read, checkpoint, trust)),
  ]);
}

/** Bytes in base64 as an encoder writes them, so that no other text stands for the same. */
const exactBase64 = z.base64().refine((text) => Buffer.from(text, 'base64').toString('base64') === text);
const hashText = exactBase64.refine((text) => Buffer.from(text, 'base64').length === hashBytes);
const hexOf32 = z.string().regex(/^[0-9a-f]{64}$/);
const strictBundle = z.strictObject({
  ...proofBundleSchema.shape,
  entry: exactBase64,
  fields: z
    .record(
      z.string(),
      z.union([z.strictObject({ value: z.json(), salt: hexOf32 }), z.strictObject({ digest: hexOf32 })]),
    )
    .optional(),
  salt: hexOf32.optional(),
  index: z.number().int().min(0).max(Number.MAX_SAFE_INTEGER),
  inclusion: z.array(hashText).max(64),
  tree_size: z.number().int().min(1).max(Number.MAX_SAFE_INTEGER),
  root: hashText,
  anchor: z
    .strictObject({
      network_passphrase: z.string().min(1).max(200),
      source: z.string().regex(/^G[A-Z2-7]{55}$/),
      envelope_xdr: exactBase64,
      hash: hexOf32,
      ledger: z.number().int().min(1).max(Number.MAX_SAFE_INTEGER),
      closed_at: z.iso.datetime(),
    })
    .nullable(),
});

function readBundle(text: string): ProofBundle | string {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return 'the file is not JSON';
  }
  try {
    const result = strictBundle.safeParse(value);
    if (result.success) return result.data;
    const [issue] = result.error.issues;
    return `${issue!.path.length === 0 ? 'the file' : issue!.path.map(String).join('.')}: ${issue!.message}`;
  } catch {
    // A value may be nested deeper than it can be looked through.
    return 'the file is no proof bundle';
  }
}

function contentStep({ entry, fields, salt }: ProofBundle): VerificationStep {
  const committed = commitmentIn(Buffer.from(entry, 'base64'));
  if (committed === undefined) return step('content', 'fails', 'the entry is none of this log');
  if (!fields || salt === undefined)
    return fields || salt !== undefined
      ? step('content', 'fails', 'fields and salt go together')
      : step('content', 'not checked', 'the file does not show what was logged, only that something was');
  try {
    if (commitmentFrom(fields, Buffer.from(salt, 'hex')) !== committed)
      return step('content', 'fails', 'the fields are not those that were logged');
  } catch {
    return step('content', 'fails', 'a field holds what was never logged');
  }
  const hidden = Object.values(fields).filter((field) => 'digest' in field).length;
  return step(
    'content',
    'holds',
    hidden === 0
      ? 'the fields are those that were logged'
      : `the fields are those that were logged; ${hidden} are not shown`,
  );
}

function checkpointStep(bundle: ProofBundle, checkpoint: ReturnType<typeof readCheckpoint>): VerificationStep {
  if (bundle.checkpoint === null)
    return step('checkpoint', 'not checked', 'nobody signed the log that the entry is in');
  if (!checkpoint) return step('checkpoint', 'fails', 'the checkpoint cannot be read');
  return checkpoint.size === bundle.tree_size && checkpoint.root.toString('base64') === bundle.root
    ? step('checkpoint', 'holds', `the checkpoint is of ${checkpoint.origin} with ${checkpoint.size} entries`)
    : step('checkpoint', 'fails', 'the checkpoint is of another tree than the proof');
}

function inclusionStep({ entry, inclusion, index, root, tree_size: size }: ProofBundle): VerificationStep {
  const path = inclusion.map((hash) => Buffer.from(hash, 'base64'));
  const found = rootFromInclusion(leafHash(Buffer.from(entry, 'base64')), index, size, path);
  return found?.toString('base64') === root
    ? step('inclusion', 'holds', `the entry is number ${index} of ${size}`)
    : step('inclusion', 'fails', 'the path does not lead from the entry to the root');
}

const lastSignatureSteps = new WeakMap<readonly NoteVerifier[], { note: string | null; step: VerificationStep }>();

/** Proofs that come one after the other mostly have the same checkpoint, whose signature is the dearest thing to check. */
function signatureStepOnce(
  { checkpoint: note }: ProofBundle,
  checkpoint: ReturnType<typeof readCheckpoint>,
  trusted: readonly NoteVerifier[],
): VerificationStep {
  const last = lastSignatureSteps.get(trusted);
  if (last?.note === note) return last.step;
  const found = signatureStep(checkpoint, trusted);
  lastSignatureSteps.set(trusted, { note, step: found });
  return found;
}

function signatureStep(checkpoint: ReturnType<typeof readCheckpoint>, keys: readonly NoteVerifier[]): VerificationStep {
  const trusted = keys.filter(({ kind }) => kind === 'note');
  if (!checkpoint) return step('log_signature', 'not checked', 'there is no checkpoint to be signed');
  if (trusted.length === 0)
    return step('log_signature', 'not checked', 'no key was given, and those inside of the file prove nothing');
  const verdicts = trusted.map((verifier) => ({ verifier, isSigned: isSignedBy(checkpoint.note, verifier) }));
  const wrong = verdicts.find(({ isSigned }) => isSigned === false);
  if (wrong) return step('log_signature', 'fails', `the signature in the name of ${wrong.verifier.name} is wrong`);
  const signed = verdicts.find(({ isSigned }) => isSigned === true);
  return signed
    ? step('log_signature', 'holds', `${signed.verifier.name} signed the checkpoint`)
    : step('log_signature', 'fails', 'none of the given keys signed the checkpoint');
}

/** One for each witness that the caller trusts: a log cannot show two stories to people whose witnesses saw both. */
function witnessSteps(
  checkpoint: ReturnType<typeof readCheckpoint>,
  keys: readonly NoteVerifier[],
): VerificationStep[] {
  return keys
    .filter(({ kind }) => kind === 'cosignature')
    .map((witness) => {
      const isSigned = checkpoint && isSignedBy(checkpoint.note, witness);
      if (isSigned === true) return step('witness_signature', 'holds', `${witness.name} saw the checkpoint`);
      return isSigned === undefined
        ? step('witness_signature', 'not checked', `${witness.name} did not sign this checkpoint`)
        : step('witness_signature', 'fails', `the signature in the name of ${witness.name} is wrong`);
    });
}

/** What the transaction says that the checkpoint is anchored with, and what the ledger says of it. */
async function anchorSteps(
  { anchor }: ProofBundle,
  checkpoint: ReturnType<typeof readCheckpoint>,
  { accounts, ledger }: Trust,
): Promise<VerificationStep[]> {
  if (!anchor) return [step('anchor', 'not checked', 'the checkpoint is not anchored on a public ledger')];
  const { readEnvelope } = await import('./stellar-xdr.ts');
  const envelope = readEnvelope(anchor.envelope_xdr, anchor.network_passphrase);
  const bodyHash = checkpoint && sha256(checkpoint.note.text);
  if (!envelope) return [step('anchor', 'fails', 'the transaction cannot be read')];
  if (envelope.hash !== anchor.hash || envelope.source !== anchor.source)
    return [step('anchor', 'fails', 'the transaction is another one than the file says')];
  if (!bodyHash || envelope.memoHash?.equals(bodyHash) !== true)
    return [step('anchor', 'fails', 'the transaction does not carry the hash of the checkpoint')];
  const network = networkInWords(anchor.network_passphrase);
  return [
    step('anchor', 'holds', `a transaction for ${network} carries the hash of the checkpoint`),
    accountStep(envelope, accounts),
    await ledgerStep(anchor, ledger),
  ];
}

function accountStep(
  { isSignedBySource, source }: { isSignedBySource: boolean; source: string },
  accounts: readonly string[],
): VerificationStep {
  if (!isSignedBySource) return step('account_signature', 'fails', 'its account did not sign the transaction');
  if (accounts.length === 0)
    return step(
      'account_signature',
      'not checked',
      'no account was given, and the one inside of the file proves nothing',
    );
  return accounts.includes(source)
    ? step('account_signature', 'holds', `the account ${source} signed the transaction`)
    : step('account_signature', 'fails', 'the transaction is of none of the given accounts');
}

async function ledgerStep(
  anchor: NonNullable<ProofBundle['anchor']>,
  asked: Trust['ledger'],
): Promise<VerificationStep> {
  if (!asked) return step('ledger_inclusion', 'not checked', 'nobody was asked whether the ledger has the transaction');
  try {
    const found = await asked.findTransaction(anchor.hash);
    if (found.status === 'NOT_FOUND')
      return step('ledger_inclusion', 'not checked', `${asked.name} does not know the transaction, or not any more`);
    if (found.status === 'FAILED') return step('ledger_inclusion', 'fails', `it failed, according to ${asked.name}`);
    const closedAt = new Date((found.closedAtSeconds ?? 0) * 1000);
    return found.ledger === anchor.ledger && closedAt.getTime() === Date.parse(anchor.closed_at)
      ? step(
          'ledger_inclusion',
          'holds',
          `successful in ledger ${found.ledger} of ${closedAt.toISOString()}, according to ${asked.name}`,
        )
      : step(
          'ledger_inclusion',
          'fails',
          `it is in ledger ${found.ledger}, according to ${asked.name}, not where the file says`,
        );
  } catch (error) {
    return step('ledger_inclusion', 'not checked', error instanceof Error ? error.message : String(error));
  }
}

/** A witness says that a log goes on as it began, not whose it is. */
const authenticating: ReadonlySet<string> = new Set(['log_signature', 'account_signature']);
const signatureSteps: ReadonlySet<string> = new Set(['log_signature', 'witness_signature', 'account_signature']);

function conclude(steps: readonly VerificationStep[]): Verification {
  const failed = steps.find(({ result }) => result === 'fails');
  const consistent = steps.filter((each) => !signatureSteps.has(each.step)).every(({ result }) => result !== 'fails');
  const authenticated = !failed && steps.some((each) => authenticating.has(each.step) && each.result === 'holds');
  const summary = failed
    ? `refused at ${failed.step}: ${failed.detail}`
    : authenticated
      ? 'consistent; signed by who is trusted'
      : 'consistent; signer not authenticated';
  return { consistent, authenticated, steps, summary };
}
