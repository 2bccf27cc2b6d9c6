import { readFileSync } from 'node:fs';
import { makeStellarRpc, readVerifierKey, verifyBundle } from '#domains/ledger/index.ts';

export interface VerifyOptions {
  readonly key?: readonly string[];
  readonly account?: readonly string[];
  readonly trust?: string;
  readonly online?: string;
  readonly strict?: boolean;
  readonly json?: boolean;
}

const marks = { holds: 'holds      ', fails: 'FAILS      ', 'not checked': 'not checked' } as const;
const isAccount = (text: string) => /^G[A-Z2-7]{55}$/.test(text);
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

/** Keys and accounts of the command line and of the file, in which empty lines and those with # in front say nothing. */
function trustOf({ key = [], account = [], trust }: VerifyOptions) {
  const lines = trust === undefined ? [] : readFileSync(trust, 'utf8').split('\n');
  const listed = lines.map((line) => line.trim()).filter((line) => line !== '' && !line.startsWith('#'));
  const accounts = [...account, ...listed.filter(isAccount)];
  const wrong = accounts.find((each) => !isAccount(each));
  if (wrong !== undefined) throw new Error(`${wrong} is no account of Stellar`);
  const keys = [...key, ...listed.filter((line) => !isAccount(line))].map((text) => {
    const verifier = readVerifierKey(text);
    if (!verifier) throw new Error(`${text} is no verifier key of a log`);
    return verifier;
  });
  return { keys, accounts };
}
