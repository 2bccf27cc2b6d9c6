import { setTimeout as delay } from 'node:timers/promises';

const pollMs = 50;

/**
 * Asks again until there is an answer other than undefined or false.
 * @throws Error naming what was waited for, after `timeoutMs`.
 */
export async function waitFor<Answer>(
  what: string,
  timeoutMs: number,
  ask: () => Promise<Answer | undefined | false> | Answer | undefined | false,
): Promise<Answer> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined && answer !== false) return answer;
    if (Date.now() > deadline) throw new Error(`${what} did not happen within ${timeoutMs / 1000} s`);
    await delay(pollMs);
  }
}
