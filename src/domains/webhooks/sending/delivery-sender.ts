import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import { makeId } from '#platform/ids.ts';
import type { KeyEncryption } from '#platform/key-encryption.ts';
import type { Logger } from '#platform/logger.ts';
import type { AttemptConclusion } from '../deliveries/attempts.store.ts';
import { AttemptWriter } from '../deliveries/attempt-writer.ts';
import type { DueDelivery, LeasedEndpoint } from '../deliveries/queue.store.ts';
import { nextDelaySeconds } from '../deliveries/retry-schedule.ts';
import { takeDue } from '../deliveries/take-due.ts';
import { DeliveryScheduler, type Lease } from './delivery-scheduler.ts';
import { recordOfAnswer } from './answer-record.ts';
import { sendWebhook, type SenderOptions, type WebhookAnswer } from './send-webhook.ts';
import { makeHeaderMaker, type HeaderMaker } from './webhook-headers.ts';

export interface DeliverySenderOptions {
  readonly pool: pg.Pool;
  readonly logger: Logger;
  /** Opens secrets of endpoints. */
  readonly keys: KeyEncryption;
  readonly sender: SenderOptions;
  /** Of the product, for `User-Agent`. */
  readonly version: string;
  /** Delays between attempts, in seconds. */
  readonly retrySchedule: readonly number[];
}

const breakerLimits = {
  breakerFailures: 5,
  firstOpenSeconds: 30,
  lastOpenSeconds: 600,
  disableFailures: 100,
  disableHours: 72,
  warnedPercents: [50, 75, 90],
} as const;
/** Requests of one process at a time. */
export const webhookRequestsMax = 512;
const schedulerLimits = {
  inFlightMax: webhookRequestsMax,
  unkeptMax: 3000,
  breakerFailures: breakerLimits.breakerFailures,
  perHostMax: 256,
  bytesMax: 32 * 1024 * 1024,
  freshMs: 1000,
  renewBeforeMs: 5000,
  leasesMax: 1024,
  turnMs: 5000,
} as const;
/** Endpoints that one look takes beside those that it has. */
const freshEndpointsMax = 128;
/** What the database would not note is still due: it is not sent again before. */
const unnotedPauseMs = 5000;
/** While the process ends, it looks so often which leases are to be renewed. */
const closingLookMs = 1000;
const givingBackTries = 10;
const givingBackPauseMs = 50;
/** For so long does an endpoint wait when its process is gone. */
const leaseMs = 8000;

/** Sends what is due to the endpoints that this process leased, and keeps what became of it. */
export class DeliverySender {
  readonly #options: DeliverySenderOptions;
  readonly #holder = makeId();
  readonly #attempts: AttemptWriter;
  readonly #scheduler: DeliveryScheduler;
  readonly #headerMakers = new WeakMap<LeasedEndpoint, { readonly maker: HeaderMaker | undefined }>();
  /** What `performance.now()` is behind the clock of the database, by which all processes sign. */
  #clockOffsetMs = Date.now() - performance.now();
  readonly #closing = new AbortController();
  #begun = 0;
  #underWay = 0;
  #drained: PromiseWithResolvers<void> | undefined;

  constructor(options: DeliverySenderOptions) {
    this.#options = options;
    this.#attempts = new AttemptWriter(options.pool, breakerLimits);
    this.#scheduler = new DeliveryScheduler(schedulerLimits, (lease, delivery, ended) => {
      this.#begun += 1;
      this.#underWay += 1;
      void this.#deliver(lease, delivery, ended);
    });
  }

  /** Requests so far. */
  get begun(): number {
    return this.#begun;
  }

  /** Whether it has no endpoint in hand. */
  get isIdle(): boolean {
    return this.#scheduler.leases.size === 0;
  }

  /** Deliveries were made: there may be some for endpoints that it has. */
  expectMore(): void {
    this.#scheduler.expectMore();
  }

  /**
   * Asks the database once: gives back endpoints of which nothing is left, and takes what is due of those that it has and of
   * others.
   * @param wantsOthers whether it looks for others.
   * @returns whether there may be more of these.
   */
  async exchange(wantsOthers: boolean): Promise<boolean> {
    const { pool } = this.#options;
    const { more, released, room, bytes } = this.#scheduler.wants();
    const freshMax = wantsOthers ? Math.min(freshEndpointsMax, room) : 0;
    if (more.length === 0 && released.length === 0 && freshMax === 0) return false;
    // Counted from before the database counts: the lease ends here no later than there.
    const endsAtMs = performance.now() + leaseMs;
    const found = await takeDue(pool, {
      holder: this.#holder,
      leaseMs,
      breakerFailures: breakerLimits.breakerFailures,
      released: released.map(({ endpoint }) => endpoint.endpoint_id),
      kept: new Map(more.map((lease) => [lease.endpoint.endpoint_id, this.#scheduler.ask(lease)])),
      freshMax,
      bytesMax: bytes,
    });
    const nowMs = performance.now();
    const [taken, unreleased] = [found.endpoints, new Set(found.unreleased)];
    for (const lease of released) if (!unreleased.has(lease.endpoint.endpoint_id)) this.#scheduler.release(lease);
    // One that was deleted meanwhile, or that another process has.
    const own = new Set(taken.map(({ endpoint }) => endpoint.endpoint_id));
    const lost = more.filter((lease) => !own.has(lease.endpoint.endpoint_id));
    for (const lease of lost) this.#scheduler.drop(lease);
    for (const each of taken) {
      this.#clockOffsetMs = each.endpoint.now_ms - nowMs;
      this.#scheduler.take(each, endsAtMs);
    }
    return freshMax > 0 && taken.length - (more.length - lost.length) === freshMax;
  }

  /** Begins no further request. */
  stop(): void {
    this.#scheduler.stop();
  }

  /** Waits for the requests that are under way, begins no others, and gives all endpoints back. */
  async close(): Promise<void> {
    this.stop();
    this.#closing.abort();
    this.#attempts.close();
    while (this.#underWay > 0) {
      this.#drained = Promise.withResolvers<void>();
      // What is under way stays this process's until it is answered.
      await Promise.race([this.#drained.promise, delay(closingLookMs)]);
      if (this.#underWay > 0) await this.exchange(false);
    }
    await this.exchange(false);
    // Somebody may hold one of them for a moment.
    for (let tries = 1; !this.isIdle && tries < givingBackTries; tries += 1) {
      await delay(givingBackPauseMs);
      await this.exchange(false);
    }
  }

  async #deliver(lease: Lease, delivery: DueDelivery, ended: () => void): Promise<void> {
    const { logger } = this.#options;
    const { endpoint } = lease;
    const startedAtMs = performance.now() + this.#clockOffsetMs;
    let isStopped = false;
    const request = this.#requestOf(lease, delivery, startedAtMs);
    try {
      const isUnsendable = request instanceof Unsendable;
      const answer = isUnsendable ? request.answer : await sendWebhook(request, this.#options.sender);
      if (!isUnsendable) this.#scheduler.answered(lease, answer.error !== null);
      ended();
      const { requestHeaders, redact } = request;
      const result = { ...recordOfAnswer(answer, redact), startedAtMs, requestHeaders };
      const conclusion = isUnsendable
        ? request.conclusion
        : conclude(endpoint, delivery, answer, this.#options.retrySchedule);
      const kept = await this.#attempts.write({ delivery, result, conclusion });
      isStopped = kept?.isStopped === true;
      const told = { delivery_id: delivery.delivery_id, endpoint_id: endpoint.endpoint_id };
      if (!kept) logger.warn(told, 'another worker took the delivery over');
      else if (conclusion.state === 'failed' && conclusion.disabledReason !== null)
        logger.warn({ ...told, reason: conclusion.disabledReason }, 'a webhook endpoint was switched off');
    } catch (error) {
      logger.error({ err: error, delivery_id: delivery.delivery_id }, 'a delivery could not be noted');
      // It is still due, and must not be sent as fast as the database refuses it.
      await delay(unnotedPauseMs, undefined, { signal: this.#closing.signal }).catch(() => {});
    }
    this.#scheduler.kept(lease, delivery, isStopped);
    this.#underWay -= 1;
    if (this.#underWay === 0) this.#drained?.resolve();
  }

  /** A request, or why there can be none. */
  #requestOf({ endpoint, target }: Lease, delivery: DueDelivery, startedAtMs: number) {
    const { body, message_id: id, follows_gap: followsGap } = delivery;
    if (body === null) return erased;
    const maker = this.#headerMakerOf(endpoint);
    if (!maker) return locked;
    const { headers, kept } = maker.make({ id, body, followsGap, seconds: Math.floor(startedAtMs / 1000) });
    return { origin: target.origin, path: target.path, headers, body, requestHeaders: kept, redact: maker.redact };
  }

  /** Opens the secrets of an endpoint once for as long as it is known. */
  #headerMakerOf(endpoint: LeasedEndpoint): HeaderMaker | undefined {
    const known = this.#headerMakers.get(endpoint);
    if (known) return known.maker;
    const maker = makeHeaderMaker(endpoint, this.#options);
    this.#headerMakers.set(endpoint, { maker });
    return maker;
  }
}

/** What becomes of a delivery by an answer. */
function conclude(
  endpoint: LeasedEndpoint,
  delivery: DueDelivery,
  { status, error, retryAfterSeconds }: WebhookAnswer,
  schedule: readonly number[],
): AttemptConclusion {
  if (error === null) return { state: 'delivered' };
  const delaySeconds = nextDelaySeconds(
    { status: status ?? undefined, retryAfterSeconds },
    delivery.attempts + 1 - delivery.attempts_before,
    { maxRetries: endpoint.max_retries, firstDelaySeconds: endpoint.retry_delay_seconds ?? undefined, schedule },
    Math.random(),
  );
  const hasEndpointFailed = true;
  return delaySeconds === undefined
    ? { state: 'failed', hasEndpointFailed, disabledReason: status === 410 ? 'it answered 410: it is gone' : null }
    : { state: 'queued', hasEndpointFailed, delaySeconds };
}

/** Why there is no request at all, for which the endpoint is not to blame. */
class Unsendable {
  readonly requestHeaders = '{}';
  readonly redact = (text: string): string => text;
  readonly answer: WebhookAnswer;
  readonly conclusion: AttemptConclusion;

  /** @param delaySeconds until it is tried again; null when that would change nothing. */
  constructor(error: string, delaySeconds: number | null) {
    const nothing = { tookMs: 0, status: null, responseHeaders: null, responseBody: null };
    this.answer = { ...nothing, error, retryAfterSeconds: undefined };
    const hasEndpointFailed = false;
    this.conclusion =
      delaySeconds === null
        ? { state: 'failed', hasEndpointFailed, disabledReason: null }
        : { state: 'queued', hasEndpointFailed, delaySeconds };
  }
}

const erased = new Unsendable('what it tells was erased', null);
/** Another process may have the key, or this one may get it. */
const locked = new Unsendable('its secret cannot be opened with ENCRYPTION_KEY', 300);
