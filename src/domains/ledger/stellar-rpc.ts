import { z } from 'zod';
import { readResponse } from '#platform/read-response.ts';

/** What is known of a transaction, and of the ledgers that the answer is about. Times are seconds since the Unix epoch. */
export interface TransactionState {
  readonly status: 'SUCCESS' | 'FAILED' | 'NOT_FOUND';
  readonly latestLedger: number;
  readonly latestCloseSeconds: number;
  /** Nothing is known of ledgers before this one. */
  readonly oldestCloseSeconds: number;
  /** Of a transaction that was applied. */
  readonly ledger: number | undefined;
  readonly closedAtSeconds: number | undefined;
  readonly resultXdr: string | undefined;
}

export interface StellarAccount {
  readonly sequence: bigint;
  readonly balanceStroops: bigint;
  /** The ledger that the answer is about. */
  readonly latestLedger: number;
}

/** An event that a contract gave off in a transaction. */
export interface ContractEvent {
  readonly ledger: number;
  readonly closedAtMs: number;
  readonly transactionHash: string;
  /** Base64. */
  readonly topicXdr: readonly string[];
  readonly valueXdr: string;
}

/** What a call of a contract needs, as an endpoint found it out. */
export interface Simulation {
  /** SorobanTransactionData, and the authorisations; base64. */
  readonly transactionDataXdr: string;
  readonly authXdr: readonly string[];
}

/** The part of the RPC of Stellar that anchoring and following contracts need. */
export interface StellarRpc {
  findTransaction(hash: string): Promise<TransactionState>;
  /** What the network says to a transaction; none of the answers means that it was, or will never be, applied. */
  send(envelopeXdr: string): Promise<{ status: string; detail: string }>;
  /** Undefined for an account that does not exist. */
  readAccount(address: string): Promise<StellarAccount | undefined>;
  /** The 95th percentile of what classic transactions bid lately, in stroops. */
  readFeeStroops(): Promise<number>;
  /** What a call of a contract would do: what it needs, or in words why it would fail. */
  simulate(envelopeXdr: string): Promise<Simulation | string>;
  /** The ledgers that an endpoint knows of. */
  readLedgerRange(): Promise<{ latestLedger: number; oldestLedger: number }>;
  /**
   * Events of a contract in ledgers from `startLedger` to before `endLedger`, in their order. With the cursor of the page
   * before it goes on behind that, and does not stop at the end.
   */
  readContractEvents(wanted: {
    readonly contract: string;
    readonly startLedger: number;
    readonly endLedger: number;
    readonly cursor: string | undefined;
    readonly limit: number;
  }): Promise<{ events: ContractEvent[]; cursor: string | undefined }>;
}

/** No endpoint answered, or none as it must. */
export class RpcUnavailable extends Error {
  constructor(causes: readonly string[]) {
    super(`no RPC endpoint answered: ${causes.join('; ')}`);
    this.name = 'RpcUnavailable';
  }
}

interface RpcOptions {
  /** Asked in turn; the one that answered last is asked first. */
  readonly urls: readonly string[];
  /** For each call, answer included. */
  readonly timeoutMs: number;
}

const answerBytesMax = 4_194_304;
const seconds = z.coerce.number().int();
const transactionAnswer = z.object({
  status: z.enum(['SUCCESS', 'FAILED', 'NOT_FOUND']),
  latestLedger: z.number().int(),
  latestLedgerCloseTime: seconds,
  oldestLedgerCloseTime: seconds,
  ledger: z.number().int().optional(),
  createdAt: seconds.optional(),
  resultXdr: z.string().optional(),
});
const sendAnswer = z.object({ status: z.string(), errorResultXdr: z.string().optional() });
const entriesAnswer = z.object({
  latestLedger: z.number().int(),
  entries: z.array(z.object({ xdr: z.string() })).nullish(),
});
const feeAnswer = z.object({ inclusionFee: z.object({ p95: z.coerce.number().int().nonnegative() }) });

const simulationAnswer = z.object({
  error: z.string().optional(),
  restorePreamble: z.unknown().optional(),
  transactionData: z.string().optional(),
  results: z.array(z.object({ auth: z.array(z.string()).nullish() })).nullish(),
});
const healthAnswer = z.object({ latestLedger: z.number().int(), oldestLedger: z.number().int() });
const eventsAnswer = z.object({
  events: z.array(
    z.object({
      ledger: z.number().int(),
      ledgerClosedAt: z.iso.datetime(),
      txHash: z.string(),
      topic: z.array(z.string()),
      value: z.string(),
    }),
  ),
  cursor: z.string().optional(),
});

/** A client of one or more RPC endpoints of one network (https://developers.stellar.org/docs/data/apis/rpc). */
export function makeStellarRpc({ urls, timeoutMs }: RpcOptions): StellarRpc {
  let first = 0;

  /** Asks one endpoint after the other until one answers. A question changes nothing, and a transaction sent twice is one. */
  const call = async <Answer>(
    method: string,
    params: object | undefined,
    schema: z.ZodType<Answer>,
  ): Promise<Answer> => {
    const causes: string[] = [];
    for (let tried = 0; tried < urls.length; tried += 1) {
      const at = (first + tried) % urls.length;
      try {
        const answer = schema.parse(await callOne(urls[at]!, method, params, timeoutMs));
        first = at;
        return answer;
      } catch (error) {
        causes.push(
          `${new URL(urls[at]!).host} ${error instanceof z.ZodError ? 'gave an answer of another form' : messageOf(error)}`,
        );
      }
    }
    throw new RpcUnavailable(causes);
  };

  return {
    async findTransaction(hash) {
      const answer = await call('getTransaction', { hash }, transactionAnswer);
      return {
        status: answer.status,
        latestLedger: answer.latestLedger,
        latestCloseSeconds: answer.latestLedgerCloseTime,
        oldestCloseSeconds: answer.oldestLedgerCloseTime,
        ledger: answer.ledger,
        closedAtSeconds: answer.createdAt,
        resultXdr: answer.resultXdr,
      };
    },
    async send(envelopeXdr) {
      const { status, errorResultXdr = '' } = await call('sendTransaction', { transaction: envelopeXdr }, sendAnswer);
      return { status, detail: errorResultXdr };
    },
    async readAccount(address) {
      const { accountKeyOf, readAccountEntry } = await import('./stellar-xdr.ts');
      const { entries, latestLedger } = await call(
        'getLedgerEntries',
        { keys: [accountKeyOf(address)] },
        entriesAnswer,
      );
      const [entry] = entries ?? [];
      return entry && { ...readAccountEntry(entry.xdr), latestLedger };
    },
    async readFeeStroops() {
      return (await call('getFeeStats', undefined, feeAnswer)).inclusionFee.p95;
    },
    async simulate(envelopeXdr) {
      const answer = await call('simulateTransaction', { transaction: envelopeXdr }, simulationAnswer);
      if (answer.error !== undefined) return answer.error.slice(0, 500);
      if (answer.restorePreamble !== undefined)
        return 'an entry of the contract is archived, and has to be restored first';
      const { transactionData, results } = answer;
      if (transactionData === undefined) return 'the simulation found out nothing';
      return { transactionDataXdr: transactionData, authXdr: results?.[0]?.auth ?? [] };
    },
    readLedgerRange: () => call('getHealth', undefined, healthAnswer),
    async readContractEvents({ contract, startLedger, endLedger, cursor, limit }) {
      const answer = await call(
        'getEvents',
        {
          ...(cursor === undefined ? { startLedger, endLedger } : {}),
          filters: [{ type: 'contract', contractIds: [contract] }],
          pagination: { limit, ...(cursor === undefined ? {} : { cursor }) },
        },
        eventsAnswer,
      );
      const events = answer.events.map(({ ledger, ledgerClosedAt, txHash, topic, value }) => ({
        ledger,
        closedAtMs: Date.parse(ledgerClosedAt),
        transactionHash: txHash,
        topicXdr: topic,
        valueXdr: value,
      }));
      return { events, cursor: answer.cursor };
    },
  };
}

async function callOne(url: string, method: string, params: object | undefined, timeoutMs: number): Promise<unknown> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method, ...(params ? { params } : {}) }),
    redirect: 'error',
    signal: AbortSignal.timeout(timeoutMs),
  });
  if (response.status !== 200) {
    await response.body?.cancel();
    throw new Error(`answered ${response.status}`);
  }
  const answer = JSON.parse((await readResponse(response, answerBytesMax)).toString('utf8')) as {
    result?: unknown;
    error?: { message?: string };
  };
  if (answer.error !== undefined) throw new Error(`answered ${answer.error.message ?? 'an error'}`);
  return answer.result;
}

function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.name === 'TimeoutError' ? 'did not answer in time' : error.message;
}
