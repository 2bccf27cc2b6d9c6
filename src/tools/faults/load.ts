import { setTimeout as delay } from 'node:timers/promises';
import type { Submission, SubmissionSource } from './submissions.ts';

/** One try to send something. Times are those of `performance.now()`. */
export interface Attempt {
  readonly startedAtMs: number;
  readonly endedAtMs: number;
  /** The status code, or what went wrong with the connection. */
  readonly outcome: number | string;
}

interface Acknowledgement {
  readonly receiptId: string;
  readonly hash: string;
}

interface LoadOptions {
  readonly baseUrl: string;
  /** By the index of the workspace. */
  readonly apiKeys: readonly string[];
  readonly source: SubmissionSource;
  /** Receipts that are acknowledged and not settled; rejects while that cannot be known. */
  countUnsettled(): Promise<number>;
}

/** Senders at the same time, and the pause of each between two receipts: a load that a busy machine also bears. */
const clients = 5;
const pauseMs = 60;
/** Beyond so many unsettled receipts the clients wait, so that a slow machine has no more to catch up with than a fast one. */
const unsettledMax = 200;
const unsettledAskedEveryMs = 250;
const connectionRetryMs = 150;
const attemptTimeoutMs = 20_000;
/** A client gives up on a receipt that is not acknowledged for this long; no fault of a scenario lasts near that. */
const acknowledgementTimeoutMs = 90_000;
const expectedStatuses = new Set([202, 409, 503]);
/** Receipts in a hundred whose sender did not see the answer and sends the same again at once. */
const doubledPercent = 4;

/**
 * Sends receipts as a good client does: each under a key of its own, again after a lost connection or a 503, until it is
 * acknowledged. Remembers every acknowledgement.
 */
export class Load {
  readonly attempts: Attempt[] = [];
  readonly acknowledged: Submission[] = [];
  /** What no client should meet: another status than promised, another receipt or hash under the same key. */
  readonly complaints: string[] = [];
  readonly source: SubmissionSource;
  readonly #options: LoadOptions;
  readonly #receipts = new Map<Submission, Acknowledgement>();
  #running: Promise<unknown> | undefined;
  #isStopped = false;
  #unsettled = 0;

  constructor(options: LoadOptions) {
    this.source = options.source;
    this.#options = options;
  }

  /** The receipt that stands for a submission. */
  receiptIdOf(submission: Submission): string {
    return this.#receipts.get(submission)!.receiptId;
  }

  get recordCount(): number {
    return this.acknowledged.reduce((sum, { records }) => sum + records.length, 0);
  }

  start(): void {
    this.#isStopped = false;
    this.#running = Promise.all([this.#watchUnsettled(), ...Array.from({ length: clients }, () => this.#runClient())]);
  }

  /** Begins nothing new, and resolves when all that was begun is acknowledged. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#running;
  }

  /** Sends one receipt until it is acknowledged. */
  async send(submission: Submission): Promise<void> {
    const deadline = performance.now() + acknowledgementTimeoutMs;
    for (;;) {
      const retryAfterMs = await this.#attempt(submission);
      if (retryAfterMs === undefined) break;
      if (performance.now() > deadline) throw new Error(`no acknowledgement of ${submission.key} in time`);
      await delay(retryAfterMs);
    }
    this.acknowledged.push(submission);
  }

  /** Sends what was acknowledged once more; the same receipt must stand for it. */
  async replay(submissions: readonly Submission[]): Promise<void> {
    for (const submission of submissions) while ((await this.#attempt(submission)) !== undefined) await delay(50);
  }

  async #watchUnsettled(): Promise<void> {
    while (!this.#isStopped) {
      // What was known last holds while the database is away.
      this.#unsettled = await this.#options.countUnsettled().catch(() => this.#unsettled);
      await delay(unsettledAskedEveryMs);
    }
  }

  async #runClient(): Promise<void> {
    while (!this.#isStopped) {
      if (this.#unsettled > unsettledMax) {
        await delay(unsettledAskedEveryMs);
        continue;
      }
      const submission = await this.source.next();
      const isDoubled = Number.parseInt(submission.hash.slice(0, 4), 16) % 100 < doubledPercent;
      const [sent] = await Promise.allSettled([
        this.send(submission),
        isDoubled ? this.#attempt(submission) : undefined,
      ]);
      if (sent.status === 'rejected') this.complaints.push(String(sent.reason));
      await delay(pauseMs);
    }
  }

  /** Undefined when it was acknowledged, else the milliseconds to wait before the next try. */
  async #attempt(submission: Submission): Promise<number | undefined> {
    const startedAtMs = performance.now();
    const note = (outcome: number | string) =>
      this.attempts.push({ startedAtMs, endedAtMs: performance.now(), outcome });
    try {
      const response = await fetch(new URL(submission.path, this.#options.baseUrl), {
        method: 'POST',
        headers: {
          'X-API-Key': this.#options.apiKeys[submission.workspace]!,
          'Content-Type': submission.contentType,
          'Idempotency-Key': submission.key,
        },
        body: submission.body,
        signal: AbortSignal.timeout(attemptTimeoutMs),
      });
      const text = await response.text();
      note(response.status);
      if (response.status === 202) return this.#note(submission, JSON.parse(text));
      if (!expectedStatuses.has(response.status)) this.complaints.push(`${response.status}: ${text.slice(0, 300)}`);
      const seconds = Number(response.headers.get('retry-after') ?? Number.NaN);
      if (Number.isNaN(seconds)) this.complaints.push(`${response.status} without Retry-After`);
      return Number.isNaN(seconds) ? 1000 : seconds * 1000;
    } catch (error) {
      note(describeConnectionError(error));
      return connectionRetryMs;
    }
  }

  #note(submission: Submission, answer: { receipt_id: string; hash: string }): undefined {
    const known = this.#receipts.get(submission);
    this.#receipts.set(submission, known ?? { receiptId: answer.receipt_id, hash: answer.hash });
    if (known && known.receiptId !== answer.receipt_id)
      this.complaints.push(`${submission.key} was acknowledged as ${known.receiptId} and as ${answer.receipt_id}`);
    if (answer.hash !== submission.hash)
      this.complaints.push(`${submission.key} was acknowledged with the hash ${answer.hash}, sent ${submission.hash}`);
  }
}

function describeConnectionError(error: unknown): string {
  const cause = error instanceof Error ? (error.cause ?? error) : error;
  return cause instanceof Error ? ('code' in cause ? String(cause.code) : cause.name) : String(cause);
}
