import { readFileSync } from 'node:fs';
import { readVerifierKey, type NoteVerifier } from '#domains/ledger/index.ts';

/** Whom the user of a command trusts. */
export interface TrustOptions {
  readonly key?: readonly string[];
  readonly account?: readonly string[];
  /** A file of keys and accounts, one on each line; empty lines and those with # in front say nothing. */
  readonly trust?: string;
}

const isAccount = (text: string) => /^G[A-Z2-7]{55}$/.test(text);

/**
 * Keys and accounts of the command line and of the file.
 * @throws Error for what is none, and for a file that cannot be read.
 */
export function trustOf({ key = [], account = [], trust }: TrustOptions): {
  keys: NoteVerifier[];
  accounts: readonly string[];
} {
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
