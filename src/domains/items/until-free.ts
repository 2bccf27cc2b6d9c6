import { setTimeout as delay } from 'node:timers/promises';
import { isTransientConflict, Problem } from '#platform/errors.ts';
import { ContentionError } from './absorption.ts';

const triesMax = 10;
const triesForMs = 6000;
const pauseMaxMs = 40;

/**
 * Tries again while other transactions are in the way: what they do is over soon.
 * @throws Problem unavailable when they stay in the way for seconds.
 */
export async function untilFree<Result>(tryOnce: () => Promise<Result>): Promise<Result> {
  const until = Date.now() + triesForMs;
  for (let tries = 1; ; tries += 1) {
    try {
      return await tryOnce();
    } catch (error) {
      if (!(error instanceof ContentionError || isTransientConflict(error))) throw error;
      if (tries === triesMax || Date.now() >= until) {
        throw new Problem('unavailable', 'other requests change the same item at this moment; send it again', {
          headers: { 'retry-after': '1' },
          cause: error,
        });
      }
    }
    await delay(Math.random() * pauseMaxMs);
  }
}
