import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createHash } from 'node:crypto';
import {
  Address,
  FeeBumpTransaction,
  Keypair,
  nativeToScVal,
  scValToNative,
  SorobanDataBuilder,
  TransactionBuilder,
  xdr,
  type Transaction,
} from '@stellar/stellar-sdk/base';

/** What goes wrong with one call. */
export type Misbehaviour =
  | 'lose the request'
  | 'lose the answer'
  | 'bad gateway'
  | 'too many requests'
  | 'nonsense'
  | 'try again later'
  | 'bad sequence'
  | 'forget what was queued';

export interface AppliedTransaction {
  /** Of the transaction itself, also when a fee bump brought it. */
  readonly hash: string;
  readonly bumpHash: string | undefined;
  readonly source: string;
  readonly memoHash: string;
  /** The call of a contract, if it is one: its function, and the arguments in their order. */
  readonly call: { readonly function: string; readonly args: readonly unknown[] } | undefined;
  readonly ledger: number;
  readonly closedAtSeconds: number;
  readonly isSuccessful: boolean;
}

/** A network of one node and its RPC endpoint over HTTP, which checks what it gets as the real one does. */
export interface StellarNetwork {
  readonly url: string;
  readonly passphrase: string;
  /** Everything that was ever applied, in order. */
  readonly applied: readonly AppliedTransaction[];
  /** Asked for each call what goes wrong with it. */
  misbehave: (method: string) => Misbehaviour | undefined;
  /** The fee that most transactions bid. */
  feeStroops: number;
  /** What a transaction must bid for each operation to be in a ledger; one that bids less waits, and is dropped. */
  clearingFeeStroops: number;
  createAccount(address: string, balanceStroops: bigint): void;
  /** Uses up sequences of an account, as another program with its key does. */
  bumpSequence(address: string): void;
  /** What contracts answer instead of doing what they are called for, by the function. */
  contractFault: (name: string) => 'refuses the simulation' | 'fails on the ledger' | undefined;
  /** Lets a contract give off an update event in the next ledger, as the IPCM contract does; `value` in the place of its data. */
  emitUpdate(contract: string, dfid: string, cid: string, value?: unknown): void;
  /** Applies what is queued. */
  closeLedger(seconds?: number): void;
  /** Forgets transactions and ledgers of before now. */
  prune(): void;
  close(): Promise<void>;
}

interface EmittedEvent {
  readonly id: string;
  readonly contract: string;
  readonly topic: readonly string[];
  readonly value: string;
  readonly ledger: number;
  readonly closedAtSeconds: number;
  readonly txHash: string;
}

interface EventsWanted {
  readonly startLedger?: number;
  readonly endLedger?: number;
  readonly filters: readonly { readonly type: string; readonly contractIds: readonly string[] }[];
  readonly pagination: { readonly limit: number; readonly cursor?: string };
}

interface Account {
  sequence: bigint;
  balanceStroops: bigint;
}

/** A transaction as it was sent, alone or in a fee bump. */
interface Sent {
  readonly transaction: Transaction;
  readonly bump: FeeBumpTransaction | undefined;
}

/** An answer that says what was wrong with a call. */
class RpcFault extends Error {}

const baseFeeStroops = 100n;
const resourceFeeStroops = 5000;
/** By so much must a bid be higher to take the place of one that waits. */
const replacingFactor = 10n;

/** A TransactionResult: what was charged, the code, and of success the result of the one operation. */
function resultXdr(isSuccessful: boolean): string {
  const result = Buffer.alloc(isSuccessful ? 32 : 16);
  result.writeBigInt64BE(baseFeeStroops);
  result.writeInt32BE(isSuccessful ? 0 : -1, 8);
  const bumpSequence = 11;
  if (isSuccessful) [1, 0, bumpSequence, 0].forEach((value, at) => result.writeInt32BE(value, 12 + at * 4));
  return result.toString('base64');
}

/** Starts a network whose clock stands still between ledgers. */
export async function startStellarNetwork(): Promise<StellarNetwork> {
  const passphrase = 'Test network of one node';
  const accounts = new Map<string, Account>();
  const queued = new Map<string, Sent>();
  const applied: AppliedTransaction[] = [];
  let [ledger, closeSeconds, oldestSeconds] = [1000, 1_800_000_000, 1_799_000_000];
  let oldestLedger = 1;
  const events: EmittedEvent[] = [];
  const pendingEvents: Pick<EmittedEvent, 'contract' | 'topic' | 'value'>[] = [];
  const hashOf = (transaction: Transaction | FeeBumpTransaction) => Buffer.from(transaction.hash()).toString('hex');
  const bidOf = ({ transaction, bump }: Sent) =>
    bump ? BigInt(bump.fee) / BigInt(transaction.operations.length + 1) : BigInt(transaction.fee);

  const faultOfBump = (bump: FeeBumpTransaction): string | undefined => {
    const account = accounts.get(bump.feeSource);
    if (!account) return 'txNoAccount';
    const isSigned = bump.signatures.some((each) =>
      Keypair.fromPublicKey(bump.feeSource).verify(bump.hash(), each.signature),
    );
    if (!isSigned) return 'txBadAuth';
    const { innerTransaction: transaction } = bump;
    if (bidOf({ transaction, bump }) < BigInt(transaction.fee)) return 'txInsufficientFee';
    return account.balanceStroops < BigInt(bump.fee) ? 'txInsufficientBalance' : undefined;
  };

  const fault = ({ transaction, bump }: Sent): string | undefined => {
    const refused = bump && faultOfBump(bump);
    if (refused !== undefined) return refused;
    const account = accounts.get(transaction.source);
    if (!account) return 'txNoAccount';
    const isSigned = transaction.signatures.some((each) =>
      Keypair.fromPublicKey(transaction.source).verify(transaction.hash(), each.signature),
    );
    if (!isSigned) return 'txBadAuth';
    if (Number(transaction.timeBounds?.maxTime ?? 0) < closeSeconds) return 'txTooLate';
    if (BigInt(transaction.sequence) !== account.sequence + 1n) return 'txBadSeq';
    if (BigInt(transaction.fee) < baseFeeStroops) return 'txInsufficientFee';
    return !bump && account.balanceStroops < BigInt(transaction.fee) ? 'txInsufficientBalance' : undefined;
  };

  const send = ({ transaction: envelope }: { transaction: string }, wrong: Misbehaviour | undefined) => {
    const read = TransactionBuilder.fromXdr(envelope, passphrase);
    const sent =
      read instanceof FeeBumpTransaction
        ? { transaction: read.innerTransaction, bump: read }
        : { transaction: read, bump: undefined };
    const { source } = sent.transaction;
    const hash = hashOf(read);
    const common = { hash, latestLedger: ledger, latestLedgerCloseTime: String(closeSeconds) };
    const waiting = queued.get(source);
    if (waiting && hashOf(waiting.bump ?? waiting.transaction) === hash) return { status: 'DUPLICATE', ...common };
    if (wrong === 'bad sequence') return { status: 'ERROR', ...common, errorResultXdr: 'txBadSeq' };
    if (wrong === 'try again later') return { status: 'TRY_AGAIN_LATER', ...common };
    const refused = fault(sent);
    if (refused !== undefined) return { status: 'ERROR', ...common, errorResultXdr: refused };
    if (waiting && !sent.bump) return { status: 'TRY_AGAIN_LATER', ...common };
    if (waiting && bidOf(sent) < bidOf(waiting) * replacingFactor)
      return { status: 'ERROR', ...common, errorResultXdr: 'txInsufficientFee' };
    queued.set(source, sent);
    if (wrong === 'forget what was queued') queued.delete(source);
    return { status: 'PENDING', ...common };
  };

  const find = ({ hash }: { hash: string }) => {
    const range = {
      latestLedger: ledger,
      latestLedgerCloseTime: String(closeSeconds),
      oldestLedger,
      oldestLedgerCloseTime: String(oldestSeconds),
    };
    const found = applied.find(
      (each) => [each.hash, each.bumpHash].includes(hash) && each.closedAtSeconds >= oldestSeconds,
    );
    if (!found) return { status: 'NOT_FOUND', ...range };
    return {
      status: found.isSuccessful ? 'SUCCESS' : 'FAILED',
      ...range,
      ledger: found.ledger,
      createdAt: String(found.closedAtSeconds),
      resultXdr: resultXdr(found.isSuccessful),
    };
  };

  const readEntries = ({ keys }: { keys: string[] }) => ({
    latestLedger: ledger,
    entries: keys.flatMap((key) => {
      const read = xdr.LedgerKey.fromXdr(key, 'base64');
      if (read.type !== 'account') return [];
      const address = [...accounts.keys()].find((each) =>
        Buffer.from(Keypair.fromPublicKey(each).xdrPublicKey().toXdr()).equals(
          Buffer.from(read.value.accountId.toXdr()),
        ),
      );
      const account = address === undefined ? undefined : accounts.get(address)!;
      return account ? [{ key, xdr: accountEntry(address!, account), lastModifiedLedgerSeq: ledger }] : [];
    }),
  });

  const simulate = ({ transaction: envelope }: { transaction: string }) => {
    const transaction = TransactionBuilder.fromXdr(envelope, passphrase) as Transaction;
    const call = callIn(transaction);
    if (!call) return { latestLedger: ledger, error: 'no call of a contract' };
    const wrong = wrongArguments(call) ?? network.contractFault(call.function);
    if (wrong !== undefined && wrong !== 'fails on the ledger')
      return { latestLedger: ledger, error: `HostError: Error(Contract, #1) ${wrong}` };
    const authorised = new xdr.SorobanAuthorizationEntry({
      credentials: xdr.SorobanCredentials.sorobanCredentialsSourceAccount(),
      rootInvocation: new xdr.SorobanAuthorizedInvocation({
        function: xdr.SorobanAuthorizedFunction.sorobanAuthorizedFunctionTypeContractFn(call.invocation),
        subInvocations: [],
      }),
    });
    return {
      latestLedger: ledger,
      transactionData: new SorobanDataBuilder().setResourceFee(resourceFeeStroops).build().toXdr('base64'),
      minResourceFee: String(resourceFeeStroops),
      results: [{ auth: [authorised.toXdr('base64')], xdr: 'AAAAAQ==' }],
    };
  };

  const findEvents = ({ startLedger, endLedger, filters, pagination: { limit, cursor } }: EventsWanted) => {
    if ((cursor === undefined) === (startLedger === undefined) || (cursor !== undefined && endLedger !== undefined))
      throw new RpcFault('startLedger and endLedger, or a cursor');
    if (startLedger !== undefined && (startLedger < oldestLedger || startLedger > ledger))
      throw new RpcFault(`startLedger must be within the ledger range: ${oldestLedger} - ${ledger}`);
    const found = events
      .filter(
        (each) => each.ledger >= Math.max(startLedger ?? 0, oldestLedger) && each.ledger < (endLedger ?? Infinity),
      )
      .filter((each) => cursor === undefined || each.id > cursor)
      .filter((each) =>
        filters.some(({ type, contractIds }) => type === 'contract' && contractIds.includes(each.contract)),
      )
      .slice(0, limit);
    return {
      latestLedger: ledger,
      oldestLedger,
      cursor: found.at(-1)?.id ?? `${ledger}-0`,
      events: found.map(({ id, contract, topic, value, ledger: inLedger, closedAtSeconds, txHash }) => ({
        type: 'contract',
        id,
        contractId: contract,
        topic,
        value,
        ledger: inLedger,
        ledgerClosedAt: new Date(closedAtSeconds * 1000).toISOString(),
        txHash,
      })),
    };
  };

  const answerTo = (method: string, params: unknown, wrong: Misbehaviour | undefined): unknown => {
    switch (method) {
      case 'getTransaction':
        return find(params as { hash: string });
      case 'sendTransaction':
        return send(params as { transaction: string }, wrong);
      case 'getLedgerEntries':
        return readEntries(params as { keys: string[] });
      case 'getFeeStats':
        return { inclusionFee: { p95: String(network.feeStroops) }, sorobanInclusionFee: {}, latestLedger: ledger };
      case 'simulateTransaction':
        return simulate(params as { transaction: string });
      case 'getHealth':
        return { status: 'healthy', latestLedger: ledger, oldestLedger, ledgerRetentionWindow: 120_960 };
      case 'getEvents':
        return findEvents(params as EventsWanted);
      default:
        throw new Error(`the double has no ${method}`);
    }
  };

  /** Horizon, as far as its transactions of an account. */
  const listTransactions = (url: URL) => {
    const [account, limit] = [url.pathname.split('/')[2]!, Number(url.searchParams.get('limit'))];
    const after = Number(url.searchParams.get('cursor') ?? -1);
    const records = applied
      .map((each, at) => ({ ...each, at }))
      .filter(({ source, at }) => source === account && at > after)
      .slice(0, limit)
      .map(({ hash, bumpHash, memoHash, ledger: inLedger, isSuccessful, source, at }) => ({
        hash: bumpHash ?? hash,
        paging_token: String(at),
        successful: isSuccessful,
        ledger: inLedger,
        source_account: source,
        memo_type: 'hash',
        memo: Buffer.from(memoHash, 'hex').toString('base64'),
        ...(bumpHash === undefined ? {} : { inner_transaction: { hash } }),
      }));
    return { _embedded: { records } };
  };

  const serve = async (request: IncomingMessage, response: ServerResponse) => {
    if (request.method === 'GET') {
      response.writeHead(200, { 'content-type': 'application/hal+json' });
      return void response.end(JSON.stringify(listTransactions(new URL(request.url!, 'http://127.0.0.1'))));
    }
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const call = JSON.parse(Buffer.concat(chunks).toString()) as { id: number; method: string; params?: unknown };
    const wrong = network.misbehave(call.method);
    if (wrong === 'lose the request') return void request.socket.destroy();
    if (wrong === 'bad gateway' || wrong === 'too many requests')
      return void response.writeHead(wrong === 'bad gateway' ? 502 : 429).end('<html>');
    let result: unknown;
    try {
      result = answerTo(call.method, call.params, wrong);
    } catch (error) {
      if (!(error instanceof RpcFault)) throw error;
      const refusal = { jsonrpc: '2.0', id: call.id, error: { code: -32_602, message: error.message } };
      return void response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(refusal));
    }
    if (wrong === 'lose the answer') return void request.socket.destroy();
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(
      wrong === 'nonsense'
        ? '{"jsonrpc":"2.0","id":1,"result":[]}'
        : JSON.stringify({ jsonrpc: '2.0', id: call.id, result }),
    );
  };

  /** The event that both functions of an IPCM contract give off. */
  const tell = ({ contract, function: name, args }: Call, txHash: string) => {
    const [dfid, cid] = name === 'update' ? args : args.slice(1);
    events.push({
      id: `${String(ledger).padStart(12, '0')}-${String(events.length).padStart(10, '0')}`,
      contract,
      topic: ['update', dfid].map((each) => nativeToScVal(each, { type: 'string' }).toXdr('base64')),
      value: nativeToScVal([cid, closeSeconds, contract]).toXdr('base64'),
      ledger,
      closedAtSeconds: closeSeconds,
      txHash,
    });
  };

  const server = createServer((request, response) => {
    serve(request, response).catch((error: unknown) => response.writeHead(500).end(String(error)));
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));

  const network: StellarNetwork = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    passphrase,
    applied,
    misbehave: () => undefined,
    feeStroops: 100,
    clearingFeeStroops: 100,
    contractFault: () => undefined,
    createAccount: (address, balanceStroops) => accounts.set(address, { sequence: 4_294_967_296n, balanceStroops }),
    bumpSequence: (address) => {
      accounts.get(address)!.sequence += 1n;
    },
    emitUpdate(contract, dfid, cid, value = [cid, 1, contract]) {
      const topic = ['update', dfid].map((each) => nativeToScVal(each, { type: 'string' }).toXdr('base64'));
      pendingEvents.push({ contract, topic, value: nativeToScVal(value).toXdr('base64') });
    },
    closeLedger(seconds = 5) {
      ledger += 1;
      closeSeconds += seconds;
      pendingEvents.splice(0).forEach((event, at) =>
        events.push({
          ...event,
          id: `${String(ledger).padStart(12, '0')}-${String(at).padStart(10, '0')}`,
          ledger,
          closedAtSeconds: closeSeconds,
          txHash: createHash('sha256').update(`${ledger} ${at}`).digest('hex'),
        }),
      );
      for (const [source, sent] of queued) {
        if (fault(sent) !== undefined || bidOf(sent) < BigInt(network.clearingFeeStroops)) continue;
        const { transaction, bump } = sent;
        const account = accounts.get(source)!;
        account.sequence += 1n;
        account.balanceStroops -= baseFeeStroops;
        const call = callIn(transaction);
        const isSuccessful = !call || (isAuthorised(transaction) && network.contractFault(call.function) === undefined);
        if (call && isSuccessful && call.function !== 'mint') tell(call, hashOf(transaction));
        applied.push({
          hash: hashOf(transaction),
          bumpHash: bump && hashOf(bump),
          source,
          memoHash: Buffer.from((transaction.memo.value ?? []) as Uint8Array).toString('hex'),
          call: call && { function: call.function, args: call.args },
          ledger,
          closedAtSeconds: closeSeconds,
          isSuccessful,
        });
      }
      queued.clear();
    },
    prune() {
      oldestSeconds = closeSeconds;
      oldestLedger = ledger;
    },
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
  return network;
}

interface Call {
  readonly contract: string;
  readonly function: string;
  readonly args: readonly unknown[];
  readonly types: readonly string[];
  readonly invocation: xdr.InvokeContractArgs;
}

/** The call of a contract in a transaction, which is its only operation. */
function callIn(transaction: Transaction): Call | undefined {
  const [operation, ...others] = transaction.operations;
  if (operation?.type !== 'invokeHostFunction' || others.length > 0) return undefined;
  const { func } = operation;
  if (func.type !== 'hostFunctionTypeInvokeContract') return undefined;
  const invocation = func.value;
  return {
    contract: Address.fromScAddress(invocation.contractAddress).toString(),
    function: invocation.functionName.toString(),
    args: invocation.args.map((arg) => scValToNative(arg) as unknown),
    types: invocation.args.map(({ type }) => type),
    invocation,
  };
}

/** The arguments of the contracts of the first generation, in their order. */
const argumentTypes: Readonly<Record<string, readonly string[]>> = {
  update: ['scvString', 'scvString', 'scvAddress'],
  emit_update_event: ['scvAddress', 'scvString', 'scvString'],
  mint: ['scvString', 'scvU64', 'scvString', 'scvString'],
};
const mintedDataBytesMax = 512;

function wrongArguments({ function: name, types, args }: Call): string | undefined {
  if (argumentTypes[name]?.join(' ') !== types.join(' ')) return `wrong arguments of ${name}`;
  return name === 'mint' && Buffer.byteLength(args[3] as string) > mintedDataBytesMax ? 'too much data' : undefined;
}

/** Whether a transaction has the resources and the authorisation that a simulation gave it. */
function isAuthorised(transaction: Transaction): boolean {
  const [operation] = transaction.operations;
  const envelope = transaction.toEnvelope();
  return (
    operation?.type === 'invokeHostFunction' &&
    (operation.auth ?? []).length > 0 &&
    envelope.type === 'envelopeTypeTx' &&
    envelope.value.tx.ext.type === 'sorobanData'
  );
}

function accountEntry(address: string, { sequence, balanceStroops }: Account): string {
  const entry = new xdr.AccountEntry({
    accountId: Keypair.fromPublicKey(address).xdrPublicKey(),
    balance: balanceStroops,
    seqNum: sequence,
    numSubEntries: 0,
    inflationDest: null,
    flags: 0,
    homeDomain: '',
    thresholds: new Uint8Array([1, 0, 0, 0]),
    signers: [],
    ext: xdr.AccountEntryExt.v0(),
  });
  return xdr.LedgerEntryData.account(entry).toXdr('base64');
}
