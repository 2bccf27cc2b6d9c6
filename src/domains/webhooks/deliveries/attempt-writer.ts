import type pg from 'pg';
import { withTransaction } from '#platform/database.ts';
import { finishAttempts, type BreakerLimits, type FinishedAttempt } from './attempts.store.ts';

interface WaitingAttempt {
  readonly attempt: FinishedAttempt;
  readonly settle: PromiseWithResolvers<boolean>;
}

const attemptsAtOnce = 100;

/** Keeps attempts that end about the same time in one statement: those that come while one is under way go with the next. */
export class AttemptWriter {
  readonly #pool: pg.Pool;
  readonly #limits: BreakerLimits;
  readonly #waiting: WaitingAttempt[] = [];
  #isWriting = false;

  constructor(pool: pg.Pool, limits: BreakerLimits) {
    this.#pool = pool;
    this.#limits = limits;
  }

  /** @returns whether the delivery was still this process's. */
  write(attempt: FinishedAttempt): Promise<boolean> {
    const settle = Promise.withResolvers<boolean>();
    this.#waiting.push({ attempt, settle });
    if (!this.#isWriting) void this.#writeAll();
    return settle.promise;
  }

  async #writeAll(): Promise<void> {
    this.#isWriting = true;
    while (this.#waiting.length > 0) await this.#writeTogether(this.#waiting.splice(0, attemptsAtOnce));
    this.#isWriting = false;
  }

  async #writeTogether(batch: readonly WaitingAttempt[]): Promise<void> {
    try {
      const attempts = batch.map(({ attempt }) => attempt);
      const finished = await withTransaction(this.#pool, (client) => finishAttempts(client, attempts, this.#limits));
      for (const { attempt, settle } of batch) settle.resolve(finished.has(attempt.delivery.delivery_id));
    } catch (error) {
      // One that the database cannot hold must not take the others with it.
      if (batch.length > 1) for (const each of batch) await this.#writeTogether([each]);
      else batch[0]!.settle.reject(error);
    }
  }
}
