import { readFileSync } from 'node:fs';
import { readVerifierKey, verifyBundle } from '#domains/ledger/index.ts';

export interface VerifyOptions {
  readonly key?: readonly string[];
  readonly trust?: string;
  readonly strict?: boolean;
  readonly json?: boolean;
}

const marks = { holds: 'holds      ', fails: 'FAILS      ', 'not checked': 'not checked' } as const;

/**
 * Checks the proof in a file, and says step by step what holds and what was not looked at.
 * @throws Error for keys or files that cannot be read.
 */
export function verifyFile(file: string, options: VerifyOptions): { isGood: boolean; text: string } {
  const trusted = trustedKeys(options).map((text) => {
    const verifier = readVerifierKey(text);
    if (!verifier) throw new Error(`${text} is no verifier key of a log`);
    return verifier;
  });
  const verification = verifyBundle(readFileSync(file === '-' ? 0 : file, 'utf8'), trusted);
  const { authenticated, consistent, steps, summary } = verification;
  const isRefused = !consistent || steps.some(({ result }) => result === 'fails');
  const isGood = !isRefused && (authenticated || options.strict !== true);
  if (options.json === true) return { isGood, text: JSON.stringify(verification, undefined, 2) };
  const lines = steps.map(({ step, result, detail }) => `${marks[result]}  ${step.padEnd(13)}  ${detail}`);
  return { isGood, text: [...lines, summary].join('\n') };
}

/** Keys of the command line and of the file, in which empty lines and those with # in front say nothing. */
function trustedKeys({ key = [], trust }: VerifyOptions): string[] {
  const lines = trust === undefined ? [] : readFileSync(trust, 'utf8').split('\n');
  return [...key, ...lines.map((line) => line.trim()).filter((line) => line !== '' && !line.startsWith('#'))];
}
