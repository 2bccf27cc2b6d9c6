import {
  Account,
  Address,
  Keypair,
  nativeToScVal,
  Operation,
  scValToNative,
  TransactionBuilder,
  xdr,
} from '@stellar/stellar-sdk/base';
import type { OpenCall } from './contract-calls/contract-calls.store.ts';
import type { Simulation } from './stellar-rpc.ts';

/*
 * The contracts of the first generation, which held the content address of each item. Needs the SDK of Stellar: import it
 * where it is used.
 */

/** Longer than any address of a content. */
const cidCharactersMax = 200;

/** What an update event of an IPCM contract tells. */
export interface UpdateEvent {
  readonly dfid: string;
  readonly cid: string;
}

/**
 * Reads an event of an IPCM contract: topics `("update", key)`, data `(cid, timestamp, updated_by)`, all in base64 XDR.
 * @returns undefined for one of another kind.
 */
export function readUpdateEvent(topicXdr: readonly string[], valueXdr: string): UpdateEvent | undefined {
  try {
    const [name, dfid, ...rest] = topicXdr.map(nativeOf);
    const value = nativeOf(valueXdr);
    const cid: unknown = Array.isArray(value) ? value[0] : undefined;
    if (name !== 'update' || rest.length > 0 || typeof dfid !== 'string' || typeof cid !== 'string') return undefined;
    return cid.length > 0 && cid.length <= cidCharactersMax && /^[\x21-\x7e]+$/.test(cid) ? { dfid, cid } : undefined;
  } catch {
    return undefined;
  }
}

function nativeOf(valueXdr: string): unknown {
  return scValToNative(xdr.ScVal.fromXdr(valueXdr, 'base64'));
}

/** A call of a contract as a transaction; without a simulation it is only good to be simulated. */
export interface CallDraft {
  readonly secretKey: string;
  readonly networkPassphrase: string;
  readonly sequence: bigint;
  /** For its inclusion in a ledger, beside what its resources cost. */
  readonly feeStroops: number;
  readonly maxTimeSeconds: number;
  readonly call: OpenCall;
}

/** Builds a call that is to be simulated. */
export function buildCallToSimulate(draft: CallDraft): string {
  return buildCall(draft).toXdr();
}

/** Builds and signs a call with the resources that its simulation found that it needs, which it pays for besides. */
export function buildCallEnvelope(draft: CallDraft, simulation: Simulation) {
  const keypair = Keypair.fromSecret(draft.secretKey);
  const transaction = buildCall(draft, simulation);
  transaction.sign(keypair);
  return {
    envelopeXdr: transaction.toXdr(),
    hash: Buffer.from(transaction.hash()).toString('hex'),
    source: keypair.publicKey(),
    feeStroops: Number(transaction.fee),
  };
}

function buildCall(draft: CallDraft, simulation?: Simulation) {
  const source = Keypair.fromSecret(draft.secretKey).publicKey();
  return new TransactionBuilder(new Account(source, String(draft.sequence - 1n)), {
    // The SDK adds what the resources cost.
    fee: String(draft.feeStroops),
    networkPassphrase: draft.networkPassphrase,
    timebounds: { minTime: 0, maxTime: draft.maxTimeSeconds },
    ...(simulation ? { sorobanData: simulation.transactionDataXdr } : {}),
  })
    .addOperation(
      Operation.invokeContractFunction({
        contract: draft.call.contract,
        function: draft.call.function,
        args: argumentsOf(draft.call, source),
        auth: (simulation?.authXdr ?? []).map((each) => xdr.SorobanAuthorizationEntry.fromXdr(each, 'base64')),
      }),
    )
    .build();
}

/** The arguments in the order that each function has, which are three different ones. */
function argumentsOf({ function: name, dfid, cid, valueChain, itemNumber }: OpenCall, source: string): xdr.ScVal[] {
  const account = new Address(source).toScVal();
  const text = (value: string) => nativeToScVal(value, { type: 'string' });
  switch (name) {
    case 'update':
      return [text(dfid), text(cid), account];
    case 'emit_update_event':
      return [account, text(dfid), text(cid)];
    case 'mint': {
      const data = JSON.stringify({ ipcm_key: dfid, value_chain: valueChain, first_cid: cid });
      return [text(valueChain), nativeToScVal(BigInt(itemNumber), { type: 'u64' }), text(dfid), text(data)];
    }
  }
}
