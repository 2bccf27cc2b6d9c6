import type { Queryable } from '#platform/database.ts';
import { takeItemNumbers } from './deduplication.store.ts';

const blockSize = 2000;

/**
 * Hands out item numbers from blocks taken ahead, so that a transaction need not ask for each. What a process does not use
 * is lost, which only leaves gaps.
 * @param queryable must not be the pool of the transactions that wait for the numbers.
 */
export function makeItemNumberSource(queryable: Queryable): (count: number) => Promise<number[]> {
  let block: number[] = [];
  let refilling: Promise<void> | undefined;
  const refill = async (count: number) => {
    const taken = await takeItemNumbers(queryable, Math.max(blockSize, count));
    // Read only now: others were served from the block in the meantime.
    block = [...block, ...taken];
  };
  return async (count) => {
    while (block.length < count) {
      refilling ??= refill(count).finally(() => (refilling = undefined));
      await refilling;
    }
    const taken = block.slice(0, count);
    block = block.slice(count);
    return taken;
  };
}
