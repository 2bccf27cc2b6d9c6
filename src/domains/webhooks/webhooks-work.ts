import { setTimeout as delay } from 'node:timers/promises';
import { isPassingError } from '#platform/errors.ts';
import type { KeyEncryption } from '#platform/key-encryption.ts';
import type { QueueWork } from '#platform/queue/definition.ts';
import { FanOut } from './deliveries/fan-out.ts';
import { isFanOutDue } from './deliveries/fan-out.store.ts';
import { hasDueEndpoints } from './deliveries/queue.store.ts';
import { DeliverySender, type DeliverySenderOptions } from './sending/delivery-sender.ts';
import { webhooksQueue } from './webhooks.jobs.ts';

interface WebhooksWorkOptions extends Omit<DeliverySenderOptions, 'keys'> {
  /** Opens secrets of endpoints; without it nothing is sent. */
  keys: KeyEncryption | undefined;
}

/** A job ends after so long, while the work that it began goes on: the board shows what was done meanwhile. */
const jobMs = 5000;
/** Jobs that are taken while the work goes on make it look at once. */
const jobsAtOnce = 4;
/** Between two questions to the database while requests are under way. */
const tickMs = 20;
/** So often it looks for what nobody rang for. */
const lookAgainMs = 100;
const faultPauseMs = 500;

export interface WebhooksWork extends QueueWork<object> {
  /** Waits until the run that is under way, if there is one, has ended. */
  whenRunEnds(): Promise<void>;
  close(): Promise<void>;
}

/** Makes the work behind the queue `webhooks`, of which any number of workers may do a part. */
export function makeWebhooksWork({ keys, ...options }: WebhooksWorkOptions): WebhooksWork {
  const { pool } = options;
  const sender = keys && new DeliverySender({ ...options, keys });
  const fanOut = new FanOut(pool);
  const made = { messages: 0, deliveries: 0 };
  let isAwake = false;
  let isClosing = false;
  let running: Promise<void> | undefined;

  /** Makes messages and deliveries in small steps between those of sending, so that neither keeps the other waiting. */
  const make = async (): Promise<boolean> => {
    const step = await fanOut.step();
    made.messages += step?.messages ?? 0;
    made.deliveries += step?.deliveries ?? 0;
    if ((step?.deliveries ?? 0) > 0) sender?.expectMore();
    return step?.hasMore === true;
  };

  const run = async (): Promise<void> => {
    let lookedAtMs = Number.NEGATIVE_INFINITY;
    let mayHaveOthers: boolean = true;
    let making: Promise<void> | undefined;
    let fault: unknown;
    /** What is under way goes on when the database is away for a moment. */
    const goOn = (error: unknown) => {
      if (sender?.isIdle !== false || !isPassingError(error)) fault = error;
      else options.logger.warn({ err: error }, 'a step of webhooks failed and is repeated');
    };
    const makeMore = async () => {
      try {
        const hasMore = await make();
        isAwake ||= hasMore;
        mayHaveOthers = true;
      } catch (error) {
        goOn(error);
      }
    };
    while (!isClosing && fault === undefined) {
      if (!making && (isAwake || performance.now() - lookedAtMs > lookAgainMs)) {
        isAwake = false;
        lookedAtMs = performance.now();
        // Not waited for: the leases of what is under way are to be renewed meanwhile.
        making = makeMore().finally(() => (making = undefined));
      }
      const wantsOthers: boolean = mayHaveOthers;
      mayHaveOthers = false;
      try {
        const found: boolean = sender !== undefined && (await sender.exchange(wantsOthers));
        mayHaveOthers ||= found;
      } catch (error) {
        mayHaveOthers = true;
        goOn(error);
        if (fault === undefined) await delay(faultPauseMs);
      }
      if (!making && !isAwake && !mayHaveOthers && sender?.isIdle !== false) break;
      await Promise.race([making, delay(tickMs)].filter((each) => each !== undefined));
    }
    await making;
    if (fault !== undefined) throw fault;
  };

  const process = async () => {
    const before = { ...made, sent: sender?.begun ?? 0 };
    isAwake = true;
    if (!running) {
      running = run().finally(() => (running = undefined));
      // No job may be waiting for it any more.
      running.catch((error: unknown) => options.logger.warn({ err: error }, 'webhooks stopped until the next job'));
    }
    const time = new AbortController();
    await Promise.race([running, delay(jobMs, undefined, { signal: time.signal })]).finally(() => time.abort());
    return {
      messages: made.messages - before.messages,
      deliveries: made.deliveries - before.deliveries,
      sent: (sender?.begun ?? 0) - before.sent,
    };
  };

  let ending: Promise<void> | undefined;
  const end = (): Promise<void> =>
    (ending ??= (async () => {
      isClosing = true;
      sender?.stop();
      await running?.catch(() => {});
      // What is not given back is free again when its time is over.
      await sender
        ?.close()
        .catch((error: unknown) => options.logger.warn({ err: error }, 'endpoints were not given back'));
    })());

  return {
    queue: webhooksQueue,
    concurrency: jobsAtOnce,
    process,
    findOverdue: async () => {
      const isLeftOver = running === undefined && sender?.isIdle === false;
      if (isLeftOver || (await isFanOutDue(pool))) return [{}];
      return sender && (await hasDueEndpoints(pool)) ? [{}] : [];
    },
    async workDirectly() {
      const { messages, deliveries, sent } = await process();
      return running !== undefined || messages + deliveries + sent > 0;
    },
    whenRunEnds: async () => running,
    stop: () => void end(),
    /** Waits for the requests that are under way, and gives endpoints to others; nothing may be processed any more. */
    close: end,
  };
}
