import type pg from 'pg';
import { findFinished } from './receipts.store.ts';

const pollIntervalMs = 50;
const waitingMax = 1000;

/** Tells requests when their receipt is settled: one query for all of them, only while somebody waits. */
export interface ReceiptWaiter {
  /** Resolves true when the receipt is settled, false after `timeoutMs` or when too many wait already. */
  waitUntilFinished(receiptId: string, timeoutMs: number): Promise<boolean>;
  /** Tells all who wait that their receipt is not settled, and lets nobody wait any more. */
  stop(): void;
}

export function makeReceiptWaiter(pool: pg.Pool): ReceiptWaiter {
  const waiting = new Map<string, Set<(isFinished: boolean) => void>>();
  let timer: NodeJS.Timeout | undefined;
  let isStopped = false;

  const poll = async () => {
    // While the database is away nobody is told; their time runs out.
    const finished = await findFinished(pool, [...waiting.keys()]).catch(() => []);
    for (const receiptId of finished) {
      for (const tell of waiting.get(receiptId) ?? []) tell(true);
    }
    schedule();
  };
  const schedule = () => {
    timer = waiting.size === 0 ? undefined : setTimeout(() => void poll(), pollIntervalMs);
  };

  return {
    waitUntilFinished(receiptId, timeoutMs) {
      if (isStopped || waiting.size >= waitingMax || timeoutMs <= 0) return Promise.resolve(false);
      return new Promise((resolve) => {
        const tell = (isFinished: boolean) => {
          clearTimeout(deadline);
          const others = waiting.get(receiptId);
          others?.delete(tell);
          if (others?.size === 0) waiting.delete(receiptId);
          resolve(isFinished);
        };
        const deadline = setTimeout(tell, timeoutMs, false);
        const others = waiting.get(receiptId);
        if (others) others.add(tell);
        else waiting.set(receiptId, new Set([tell]));
        if (!timer) schedule();
      });
    },
    stop() {
      isStopped = true;
      for (const tells of waiting.values()) for (const tell of tells) tell(false);
      clearTimeout(timer);
    },
  };
}
