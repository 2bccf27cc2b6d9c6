import {
  Account,
  Keypair,
  Memo,
  Operation,
  StrKey,
  Transaction,
  TransactionBuilder,
  xdr,
} from '@stellar/stellar-sdk/base';

/*
 * All that needs the SDK of Stellar, which takes a third of a second and 60 MB to load: import it where it is used.
 */

/** A transaction that anchors a hash and does nothing else. */
export interface AnchorEnvelope {
  readonly envelopeXdr: string;
  /** Hex. */
  readonly hash: string;
  readonly source: string;
}

interface AnchorDraft {
  readonly secretKey: string;
  readonly networkPassphrase: string;
  /** Of the transaction: one more than that of the account. */
  readonly sequence: bigint;
  readonly feeStroops: number;
  readonly maxTimeSeconds: number;
  /** 32 bytes. */
  readonly memoHash: Uint8Array;
}

/** Builds and signs `bumpSequence(0)` with `Memo.hash`: it moves nothing, and stays readable in the archives of the network. */
export function buildAnchorEnvelope(draft: AnchorDraft): AnchorEnvelope {
  const keypair = Keypair.fromSecret(draft.secretKey);
  const source = keypair.publicKey();
  const transaction = new TransactionBuilder(new Account(source, String(draft.sequence - 1n)), {
    fee: String(draft.feeStroops),
    networkPassphrase: draft.networkPassphrase,
    timebounds: { minTime: 0, maxTime: draft.maxTimeSeconds },
    memo: Memo.hash(Buffer.from(draft.memoHash)),
  })
    .addOperation(Operation.bumpSequence({ bumpTo: '0' }))
    .build();
  transaction.sign(keypair);
  return { envelopeXdr: transaction.toXdr(), hash: Buffer.from(transaction.hash()).toString('hex'), source };
}

/**
 * Builds and signs a fee bump (CAP-0015) around an envelope, by which the same transaction bids more.
 * @param baseFeeStroops for each operation, of which the bump counts as one.
 */
export function buildFeeBump(
  envelopeXdr: string,
  {
    secretKey,
    networkPassphrase,
    baseFeeStroops,
  }: { secretKey: string; networkPassphrase: string; baseFeeStroops: number },
): { envelopeXdr: string; hash: string; feeStroops: number } {
  const keypair = Keypair.fromSecret(secretKey);
  const inner = TransactionBuilder.fromXdr(envelopeXdr, networkPassphrase);
  if (!(inner instanceof Transaction)) throw new Error('a fee bump cannot be bumped');
  const bump = TransactionBuilder.buildFeeBumpTransaction(keypair, String(baseFeeStroops), inner, networkPassphrase);
  bump.sign(keypair);
  return {
    envelopeXdr: bump.toXdr(),
    hash: Buffer.from(bump.hash()).toString('hex'),
    feeStroops: Number(bump.fee),
  };
}

/** What an envelope says, and whether its source account's own key signed it. */
export interface ReadEnvelope {
  readonly hash: string;
  readonly source: string;
  /** Undefined for one whose memo is no hash. */
  readonly memoHash: Buffer | undefined;
  readonly isSignedBySource: boolean;
}

/** Reads an envelope; undefined if it is none of a transaction. */
export function readEnvelope(envelopeXdr: string, networkPassphrase: string): ReadEnvelope | undefined {
  try {
    const transaction = TransactionBuilder.fromXdr(envelopeXdr, networkPassphrase);
    // Base64 may end in bits that stand for nothing; there is one text for each envelope.
    if (!(transaction instanceof Transaction) || transaction.toXdr() !== envelopeXdr) return undefined;
    const keypair = Keypair.fromPublicKey(transaction.source);
    const hash = Buffer.from(transaction.hash());
    const { value, type } = transaction.memo;
    return {
      hash: hash.toString('hex'),
      source: transaction.source,
      memoHash: type === 'hash' && value ? Buffer.from(value as Uint8Array) : undefined,
      isSignedBySource: transaction.signatures.length === 1 && isSignatureOf(keypair, hash, transaction.signatures[0]!),
    };
  } catch {
    return undefined;
  }
}

function isSignatureOf(keypair: Keypair, hash: Buffer, { hint, signature }: xdr.DecoratedSignature): boolean {
  // What hints at the key is not signed itself.
  return Buffer.from(hint.toXdr()).equals(Buffer.from(keypair.signatureHint())) && keypair.verify(hash, signature);
}

/** The address of the account that a secret key is of; undefined for text that is no such key. */
export function addressOfSecret(secretKey: string): string | undefined {
  return StrKey.isValidEd25519SecretSeed(secretKey) ? Keypair.fromSecret(secretKey).publicKey() : undefined;
}

/** The key of an account in the ledger, for `getLedgerEntries`. */
export function accountKeyOf(address: string): string {
  const accountId = Keypair.fromPublicKey(address).xdrPublicKey();
  return xdr.LedgerKey.account(new xdr.LedgerKeyAccount({ accountId })).toXdr('base64');
}

/** Reads the entry of an account. */
export function readAccountEntry(entryXdr: string): { sequence: bigint; balanceStroops: bigint } {
  const entry = xdr.LedgerEntryData.fromXdr(entryXdr, 'base64');
  if (entry.type !== 'account') throw new Error(`the ledger gave an entry of type ${entry.type} for an account`);
  return { sequence: BigInt(entry.value.seqNum.toString()), balanceStroops: BigInt(entry.value.balance.toString()) };
}
