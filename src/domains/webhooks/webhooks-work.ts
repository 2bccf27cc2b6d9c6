import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import { withTransaction } from '#platform/database.ts';
import type { KeyEncryption } from '#platform/key-encryption.ts';
import type { Logger } from '#platform/logger.ts';
import type { QueueWork } from '#platform/queue/definition.ts';
import { headersOf } from './sending/webhook-headers.ts';
import { sendWebhook, type SenderOptions } from './sending/send-webhook.ts';
import {
  claimDeliveries,
  findDueEndpoints,
  finishAttempts,
  refreshDue,
  unblockLane,
  type AttemptConclusion,
  type AttemptResult,
  type ClaimedDelivery,
} from './deliveries/attempts.store.ts';
import { AttemptWriter } from './deliveries/attempt-writer.ts';
import { fanOut } from './deliveries/fan-out.ts';
import { isFanOutDue } from './deliveries/fan-out.store.ts';
import { resealSecrets } from './endpoints/reseal-secrets.ts';
import { nextDelaySeconds, readRetryAfter } from './deliveries/retry-schedule.ts';
import { webhooksQueue } from './webhooks.jobs.ts';

interface WebhooksWorkOptions {
  pool: pg.Pool;
  logger: Logger;
  /** Opens secrets of endpoints; without it nothing is sent. */
  keys: KeyEncryption | undefined;
  sender: SenderOptions;
  /** Of the product, for `User-Agent`. */
  version: string;
  /** Delays between attempts, in seconds. */
  retrySchedule: readonly number[];
}

/** Requests of one process at a time; there is room for so many before more are claimed, since a claim costs as much for one. */
const inFlightMax = 256;
const claimedAtLeast = 64;
const endpointsAtOnce = 64;
/** One job looks for more so long after the last that was due: meanwhile this process makes no messages of what is told. */
const pumpMs = 1000;
/** For so long are deliveries claimed before messages are made again, and so many times in one job. */
const turnMs = 2000;
const turnsMax = 30;
const lookAgainMs = 100;
/** Beyond the time that one request may take. */
const leaseMarginMs = 45_000;
const limits = {
  breakerFailures: 5,
  firstOpenSeconds: 30,
  lastOpenSeconds: 600,
  disableFailures: 100,
  disableHours: 72,
} as const;

/** Makes the work behind the queue `webhooks`, of which any number of workers may do a part. */
export function makeWebhooksWork({
  pool,
  logger,
  keys,
  sender,
  version,
  retrySchedule,
}: WebhooksWorkOptions): QueueWork<object> & { close(): Promise<void> } {
  const leaseMs = sender.timeoutMs + leaseMarginMs;
  const inFlight = new Set<Promise<void>>();
  const attempts = new AttemptWriter(pool, limits);

  const claim = () =>
    withTransaction(pool, async (client) => {
      const { deliveries, endpointIds } = await claimDeliveries(client, {
        endpoints: endpointsAtOnce,
        deliveries: inFlightMax - inFlight.size,
        leaseMs,
        breakerFailures: limits.breakerFailures,
      });
      if (endpointIds.length > 0) await refreshDue(client, endpointIds);
      return deliveries;
    });

  const deliver = async (delivery: ClaimedDelivery): Promise<void> => {
    const { result, conclusion } = await attempt(delivery);
    const isOurs = await finish(delivery, result, conclusion);
    const told = { delivery_id: delivery.delivery_id, endpoint_id: delivery.endpoint_id, attempt: delivery.attempts };
    if (!isOurs) logger.warn(told, 'another worker took the delivery over');
    else if (conclusion.disabledReason !== null)
      logger.warn({ ...told, reason: conclusion.disabledReason }, 'a webhook endpoint was switched off');
  };

  /** The end of one delivery of a lane lets the next one go, also when it failed for good: then that one says so. */
  const finish = (
    delivery: ClaimedDelivery,
    result: AttemptResult,
    conclusion: AttemptConclusion,
  ): Promise<boolean> => {
    const { lane, endpoint_id: endpointId } = delivery;
    const finished = { delivery, result, conclusion };
    if (lane === null || conclusion.state === 'queued') return attempts.write(finished);
    return withTransaction(pool, async (client) => {
      const isOurs = (await finishAttempts(client, [finished], limits)).has(delivery.delivery_id);
      if (isOurs) await unblockLane(client, endpointId, lane, conclusion.state === 'failed');
      return isOurs;
    });
  };

  const attempt = async (
    delivery: ClaimedDelivery,
  ): Promise<{ result: AttemptResult; conclusion: AttemptConclusion }> => {
    const { body } = delivery;
    if (body === null) return given('what it tells was erased');
    const seconds = Math.floor(Date.now() / 1000);
    const headers = headersOf(delivery, { body, seconds, version, keys });
    if (headers === undefined) return given('its secret cannot be opened with ENCRYPTION_KEY');
    const { retryAfter, ...result } = await sendWebhook({ url: delivery.url, body, ...headers }, sender);
    return { result, conclusion: conclude(delivery, result, retryAfter) };
  };

  const conclude = (
    delivery: ClaimedDelivery,
    { status, error }: AttemptResult,
    retryAfter: string | undefined,
  ): AttemptConclusion => {
    if (error === null) return { state: 'delivered', delaySeconds: null, isUnhealthy: false, disabledReason: null };
    const delaySeconds = nextDelaySeconds(
      { status: status ?? undefined, retryAfterSeconds: readRetryAfter(retryAfter, Date.now()) },
      delivery.attempts,
      {
        maxRetries: delivery.max_retries,
        firstDelaySeconds: delivery.retry_delay_seconds ?? undefined,
        schedule: retrySchedule,
      },
      Math.random(),
    );
    return {
      state: delaySeconds === undefined ? 'failed' : 'queued',
      delaySeconds: delaySeconds ?? null,
      isUnhealthy: true,
      disabledReason: status === 410 ? 'it answered 410: it is gone' : null,
    };
  };

  /**
   * Claims as long as there is something due and room for it, and for a while as requests come back and free slots of their
   * endpoints; what hangs holds up nothing but its own.
   */
  const pump = async (): Promise<number> => {
    const end = Date.now() + turnMs;
    let [claimed, until] = [0, 0];
    for (;;) {
      while (inFlight.size > inFlightMax - claimedAtLeast) await Promise.race(inFlight);
      // What comes back while it is claimed may free a slot that the claim has not seen.
      const wasIdle = inFlight.size === 0;
      const deliveries = await claim();
      claimed += deliveries.length;
      for (const delivery of deliveries) {
        const sending = deliver(delivery)
          .catch((error: unknown) => logger.error({ err: error }, 'a delivery could not be noted'))
          .finally(() => inFlight.delete(sending));
        inFlight.add(sending);
      }
      if (Date.now() > end) return claimed;
      if (deliveries.length > 0) {
        until = Date.now() + pumpMs;
        continue;
      }
      if (wasIdle || Date.now() > until) return claimed;
      await Promise.race([...inFlight, delay(lookAgainMs)]);
    }
  };

  // Once for each process, since keys change with its settings.
  let isResealed = keys === undefined;

  const work = async () => {
    if (!isResealed) {
      isResealed = true;
      await resealSecrets(pool, keys!);
    }
    const told = { messages: 0, deliveries: 0, sent: 0 };
    // In turns, so that neither a flood of events nor a backlog of deliveries keeps the other waiting.
    for (let turns = 0; turns < turnsMax; turns += 1) {
      const step = await fanOut(pool);
      const sent = keys === undefined ? 0 : await pump();
      told.messages += step?.messages ?? 0;
      told.deliveries += step?.deliveries ?? 0;
      told.sent += sent;
      if (sent === 0 && step?.hasMore !== true) break;
    }
    return told;
  };

  return {
    queue: webhooksQueue,
    concurrency: 1,
    process: work,
    findOverdue: async () =>
      !isResealed || (await isFanOutDue(pool)) || (keys !== undefined && (await findDueEndpoints(pool, 1)).length > 0)
        ? [{}]
        : [],
    async workDirectly() {
      const { messages, deliveries, sent } = await work();
      await Promise.all(inFlight);
      return messages + deliveries + sent > 0;
    },
    /** Waits for the requests that are under way; nothing may be processed any more. */
    async close() {
      await Promise.all(inFlight);
    },
  };
}

/** What becomes of a delivery that cannot be sent at all. */
function given(error: string): { result: AttemptResult; conclusion: AttemptConclusion } {
  return {
    result: {
      startedAtMs: Date.now(),
      tookMs: 0,
      requestHeaders: {},
      status: null,
      responseHeaders: null,
      responseBody: null,
      error,
    },
    conclusion: { state: 'failed', delaySeconds: null, isUnhealthy: false, disabledReason: null },
  };
}
