import { argon2, randomBytes, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';
import { Problem } from '#platform/errors.ts';

const deriveKey = promisify(argon2);

/** OWASP Password Storage Cheat Sheet, Argon2id: 19 MiB, two passes, one lane. */
const cost = { memory: 19_456, passes: 2, parallelism: 1 };
const concurrentMax = 2;
/** About a second of guesses; beyond it nobody would be served. */
const waitingMax = 40;
let running = 0;
const waiting: (() => void)[] = [];

/** Each derivation takes 19 MiB and a thread of the pool, so only a few run at once. */
async function derive(password: string, salt: Buffer): Promise<Buffer> {
  if (waiting.length >= waitingMax)
    throw new Problem('overloaded', 'too many passwords are being checked', { headers: { 'retry-after': '5' } });
  if (running >= concurrentMax) await new Promise<void>((resolve) => waiting.push(resolve));
  running += 1;
  try {
    return Buffer.from(
      await deriveKey('argon2id', { message: Buffer.from(password), nonce: salt, tagLength: 32, ...cost }),
    );
  } finally {
    running -= 1;
    waiting.shift()?.();
  }
}

/** Argon2id of a password in the PHC string format. */
export async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(16);
  const hash = await derive(password, salt);
  const encode = (bytes: Buffer) => bytes.toString('base64').replace(/=+$/, '');
  return `$argon2id$v=19$m=${cost.memory},t=${cost.passes},p=${cost.parallelism}$${encode(salt)}$${encode(hash)}`;
}

/** Compares in constant time. Without a stored hash it works as long and says no, so that time tells nothing about users. */
export async function verifyPassword(password: string, storedHash: string | undefined): Promise<boolean> {
  const [salt, hash] =
    storedHash
      ?.split('$')
      .slice(-2)
      .map((part) => Buffer.from(part, 'base64')) ?? [];
  const derived = await derive(password, salt ?? Buffer.alloc(16));
  return hash !== undefined && hash.length === derived.length && timingSafeEqual(hash, derived);
}
