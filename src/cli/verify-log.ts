import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import {
  LogFault,
  mirrorLog,
  readAccountMemos,
  readCheckpoint,
  type LogReader,
  type MirrorReport,
} from '#domains/ledger/index.ts';
import { readResponse } from '#platform/read-response.ts';
import { trustOf, type TrustOptions } from './trust.ts';

export interface VerifyLogOptions extends TrustOptions {
  readonly state?: string;
  readonly horizon?: string;
}

const timeoutMs = 30_000;
const answerBytesMax = 16_777_216;

/**
 * Mirrors a log by its public address, checks it, and says what was found in words.
 * @throws Error for keys, files or answers that cannot be read, LogFault for what does not fit.
 */
export async function verifyLog(url: string, options: VerifyLogOptions): Promise<string> {
  const { state } = options;
  const seen = state !== undefined && existsSync(state) ? readCheckpoint(readFileSync(state, 'utf8')) : undefined;
  if (state !== undefined && existsSync(state) && !seen) throw new Error(`${state} holds no checkpoint`);
  const { keys, accounts } = trustOf(options);
  const { horizon } = options;
  if (horizon !== undefined && accounts.length === 0)
    throw new Error('--horizon goes with accounts, whose transactions are read there');
  const memos =
    horizon === undefined ? undefined : await Promise.all(accounts.map((each) => readAccountMemos(horizon, each)));
  const isTerminal = process.stderr.isTTY;
  const report = await mirrorLog({
    read: readerOf(url),
    keys,
    accounts,
    memos: memos?.flat(),
    seen,
    onProgress: (done, total) => {
      if (isTerminal) process.stderr.write(`\r${done} of ${total} entries${done === total ? '\n' : ''}`);
    },
  });
  if (state !== undefined) {
    writeFileSync(`${state}.new`, report.note);
    renameSync(`${state}.new`, state);
  }
  return [
    `${report.size} entries of ${report.origin} lead to its newest checkpoint.`,
    report.isSigned ? 'A trusted key signed it.' : 'No key was given; who signed it is not authenticated.',
    `${report.anchors} anchored checkpoints are of the same log; ${report.trustedAnchors} of them by a trusted account.`,
    memosInWords(report.memos),
    ...(seen ? [`It begins with the ${seen.size} entries that were seen before.`] : []),
  ].join('\n');
}

function memosInWords(memos: MirrorReport['memos']): string {
  if (!memos) return 'Whether the ledger has their transactions was not checked; --horizon does.';
  const newer = memos.newer === 0 ? '' : ` ${memos.newer} newer ones are not shown by the log yet.`;
  return `All ${memos.known} hashes that those accounts put on the ledger are checkpoints of this log.${newer}`;
}

function readerOf(url: string): LogReader {
  const base = new URL(url).href.replace(/\/$/, '');
  return async (path) => {
    const response = await fetch(`${base}${path}`, { signal: AbortSignal.timeout(timeoutMs) });
    if (response.status !== 200) throw new LogFault(`${path} answered ${response.status}`);
    return readResponse(response, answerBytesMax);
  };
}
