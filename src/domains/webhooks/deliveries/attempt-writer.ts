import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import { withTransaction } from '#platform/database.ts';
import { isDataError, isPassingError } from '#platform/errors.ts';
import { finishAttempts, type BreakerLimits, type FinishedAttempt, type KeptAttempt } from './attempts.store.ts';

interface WaitingAttempt {
  readonly attempt: FinishedAttempt;
  readonly settle: PromiseWithResolvers<KeptAttempt | undefined>;
}

const attemptsAtOnce = 500;
/** Statements under way, when so many attempts come that they fill them. */
const statementsMax = 3;
/** What was answered is not asked again because the database is away: it is written when that is back. */
const pausesMs = [200, 1000, 3000];

/** Keeps attempts that end about the same time in one statement: those that come while it is under way go with the next. */
export class AttemptWriter {
  readonly #pool: pg.Pool;
  readonly #limits: BreakerLimits;
  readonly #waiting: WaitingAttempt[] = [];
  #writing = 0;
  #isClosing = false;

  constructor(pool: pg.Pool, limits: BreakerLimits) {
    this.#pool = pool;
    this.#limits = limits;
  }

  /** @returns undefined when the delivery was not this process's any more. */
  write(attempt: FinishedAttempt): Promise<KeptAttempt | undefined> {
    const settle = Promise.withResolvers<KeptAttempt | undefined>();
    this.#waiting.push({ attempt, settle });
    const isFull = this.#waiting.length >= attemptsAtOnce;
    if (this.#writing === 0 || (isFull && this.#writing < statementsMax)) void this.#writeAll();
    return settle.promise;
  }

  /** Gives up what cannot be written at once. */
  close(): void {
    this.#isClosing = true;
  }

  async #writeAll(): Promise<void> {
    this.#writing += 1;
    while (this.#waiting.length > 0) await this.#writeTogether(this.#waiting.splice(0, attemptsAtOnce));
    this.#writing -= 1;
  }

  async #writeTogether(batch: readonly WaitingAttempt[], tries = 0): Promise<void> {
    try {
      const attempts = batch.map(({ attempt }) => attempt);
      const kept = await withTransaction(this.#pool, (client) => finishAttempts(client, attempts, this.#limits));
      const found = new Map(kept.map((each) => [each.deliveryId, each]));
      for (const { attempt, settle } of batch) settle.resolve(found.get(attempt.delivery.delivery_id));
    } catch (error) {
      if (isPassingError(error) && !this.#isClosing) {
        await delay(pausesMs[Math.min(tries, pausesMs.length - 1)]);
        await this.#writeTogether(batch, tries + 1);
      } else if (isDataError(error) && batch.length > 1) {
        // One that the database cannot hold must not take the others with it.
        for (const each of batch) await this.#writeTogether([each]);
      } else if (isDataError(error) && batch[0]!.attempt.result.responseBody !== null) {
        await this.#writeTogether([withoutAnswer(batch[0]!)]);
      } else for (const { settle } of batch) settle.reject(error);
    }
  }
}

/** Whatever was answered, the attempt is kept. */
function withoutAnswer({ attempt, settle }: WaitingAttempt): WaitingAttempt {
  const result = { ...attempt.result, responseHeaders: null, responseBody: null };
  return { attempt: { ...attempt, result }, settle };
}
