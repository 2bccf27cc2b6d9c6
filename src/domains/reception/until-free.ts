import { setTimeout as delay } from 'node:timers/promises';
import { isTransientConflict, Problem } from '#platform/errors.ts';
import { ContentionError } from '#domains/items/index.ts';

const triesMax = 10;
const triesForMs = 6000;
const pauseMaxMs = 40;

/**
 * Tries a transaction of a request again while others are in its way: what they do is over soon.
 * @throws Problem unavailable when it is not, and whatever else the transaction throws.
 */
export async function untilFree<Result>(tryOnce: () => Promise<Result>): Promise<Result> {
  const until = Date.now() + triesForMs;
  for (let tries = 1; ; tries += 1) {
    try {
      return await tryOnce();
    } catch (error) {
      if (!(error instanceof ContentionError || isTransientConflict(error))) throw error;
      if (tries === triesMax || Date.now() >= until) {
        throw new Problem('unavailable', 'other requests change the same items at this moment; send it again', {
          headers: { 'retry-after': '1' },
          cause: error,
        });
      }
    }
    await delay(Math.random() * pauseMaxMs);
  }
}
