import { z } from 'zod';
import { readResponse } from '#platform/read-response.ts';

/** A hash that an account put on the ledger. */
export interface AccountMemo {
  readonly account: string;
  /** Of the transaction; of the one inside where a fee bump brought it. */
  readonly transactionHash: string;
  readonly memoHash: Buffer;
  readonly ledger: number;
}

const pageLimit = 200;
const timeoutMs = 30_000;
const answerBytesMax = 16_777_216;

const transactionPage = z.object({
  _embedded: z.object({
    records: z.array(
      z.object({
        hash: z.string(),
        paging_token: z.string(),
        successful: z.boolean(),
        ledger: z.number().int(),
        source_account: z.string(),
        memo_type: z.string(),
        memo: z.string().optional(),
        inner_transaction: z.object({ hash: z.string() }).optional(),
      }),
    ),
  }),
});

/**
 * Reads all hashes that an account put on the ledger as memos of its own transactions, the oldest first, as far as an
 * endpoint of Horizon knows (https://developers.stellar.org/docs/data/apis/horizon/api-reference/get-transactions-by-account-id).
 * @throws Error when it does not answer as it must.
 */
export async function readAccountMemos(horizonUrl: string, account: string): Promise<AccountMemo[]> {
  const base = new URL(horizonUrl).href.replace(/\/$/, '');
  const memos: AccountMemo[] = [];
  for (let cursor = ''; ;) {
    const query = `order=asc&limit=${pageLimit}${cursor && `&cursor=${encodeURIComponent(cursor)}`}`;
    const response = await fetch(`${base}/accounts/${account}/transactions?${query}`, {
      signal: AbortSignal.timeout(timeoutMs),
    });
    if (response.status !== 200) throw new Error(`Horizon answered ${response.status} for the account ${account}`);
    const parsed = transactionPage.safeParse(JSON.parse((await readResponse(response, answerBytesMax)).toString()));
    if (!parsed.success) throw new Error(`Horizon gave an answer of another form for the account ${account}`);
    const { records } = parsed.data['_embedded'];
    for (const {
      successful,
      source_account: source,
      memo_type: type,
      memo,
      hash,
      inner_transaction: inner,
      ledger,
    } of records)
      if (successful && source === account && type === 'hash' && memo !== undefined)
        memos.push({ account, transactionHash: inner?.hash ?? hash, memoHash: Buffer.from(memo, 'base64'), ledger });
    if (records.length < pageLimit) return memos;
    cursor = records.at(-1)!.paging_token;
  }
}
