import { readFileSync } from 'node:fs';
import { makeStellarRpc, verifyBundle } from '#domains/ledger/index.ts';
import { trustOf, type TrustOptions } from './trust.ts';

export interface VerifyOptions extends TrustOptions {
  readonly online?: string;
  readonly strict?: boolean;
  readonly json?: boolean;
}

const marks = { holds: 'holds      ', fails: 'FAILS      ', 'not checked': 'not checked' } as const;
const rpcTimeoutMs = 15_000;

/**
 * Checks the proof in a file, and says step by step what holds and what was not looked at.
 * @throws Error for keys or files that cannot be read.
 */
export async function verifyFile(file: string, options: VerifyOptions): Promise<{ isGood: boolean; text: string }> {
  const { online } = options;
  const verification = await verifyBundle(readFileSync(file === '-' ? 0 : file, 'utf8'), {
    ...trustOf(options),
    ledger:
      online === undefined
        ? undefined
        : { name: new URL(online).host, ...makeStellarRpc({ urls: [online], timeoutMs: rpcTimeoutMs }) },
  });
  const { authenticated, steps, summary } = verification;
  const isRefused = steps.some(({ result }) => result === 'fails');
  const isGood = !isRefused && (authenticated || options.strict !== true);
  if (options.json === true) return { isGood, text: JSON.stringify(verification, undefined, 2) };
  const lines = steps.map(({ step, result, detail }) => `${marks[result]}  ${step.padEnd(17)}  ${detail}`);
  return { isGood, text: [...lines, summary].join('\n') };
}
