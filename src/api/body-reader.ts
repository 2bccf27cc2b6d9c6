import type { IncomingMessage } from 'node:http';
import { Problem } from '#platform/errors.ts';
import type { ReceivedBody } from '#platform/route.ts';

interface BodyLimits {
  /** A body over this is refused with 413. */
  maxBytes: number;
  /** Bytes that all bodies of the process may take together. */
  budgetBytes: number;
  /** The part of the budget that one workspace may take. */
  shareBytes: number;
  minimumBytesPerSecond: number;
  graceMs: number;
}

const retryAfter = { 'retry-after': '2' };

/** Counts the bytes of bodies that are held in memory, in all and per workspace. */
export class BodyBudget {
  readonly limits: BodyLimits;
  #heldBytes = 0;
  readonly #heldByHolder = new Map<string, number>();

  constructor(limits: BodyLimits) {
    this.limits = limits;
  }

  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** @throws Problem overloaded when the budget or the holder's share of it is spent. */
  take(holder: string, bytes: number): void {
    const held = (this.#heldByHolder.get(holder) ?? 0) + bytes;
    if (this.#heldBytes + bytes > this.limits.budgetBytes || held > this.limits.shareBytes) {
      throw new Problem(
        'overloaded',
        'this process holds as many bytes of bodies as it may; send again a little later',
        { headers: retryAfter },
      );
    }
    this.#heldBytes += bytes;
    this.#heldByHolder.set(holder, held);
  }

  release(holder: string, bytes: number): void {
    this.#heldBytes -= bytes;
    const held = (this.#heldByHolder.get(holder) ?? 0) - bytes;
    if (held > 0) this.#heldByHolder.set(holder, held);
    else this.#heldByHolder.delete(holder);
  }
}

/** The client went away while it sent its body; nobody is left to answer. */
export class BodyAborted extends Error {
  constructor() {
    super('the client closed the connection while it sent the body');
    this.name = 'BodyAborted';
  }
}

/**
 * Takes the body of a request in, counting each byte as it arrives against the budget. What is taken is released by the
 * caller with `held.release()` when the answer is sent.
 */
export function receiveBody(
  message: IncomingMessage,
  budget: BodyBudget,
  held: HeldBytes,
  onChunk: ((chunk: Buffer) => void) | undefined,
): Promise<ReceivedBody> {
  const { maxBytes, minimumBytesPerSecond, graceMs } = budget.limits;
  const announced = Number(message.headers['content-length'] ?? 0);
  if (announced > maxBytes) return Promise.reject(tooLarge(maxBytes));
  // Gone while its credentials were checked: no event would follow.
  if (message.destroyed && !message.readableEnded) return Promise.reject(new BodyAborted());
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let sizeBytes = 0;
    let sizeBefore = 0;
    // What came before does not count: a client that sends fast and then stalls holds just as much of the budget.
    const pace = setInterval(() => {
      if (sizeBytes - sizeBefore < (minimumBytesPerSecond * graceMs) / 1000) {
        fail(
          new Problem('slow_body', `the body came slower than ${minimumBytesPerSecond} bytes a second`, {
            headers: { connection: 'close' },
          }),
        );
      }
      sizeBefore = sizeBytes;
    }, graceMs);
    const stop = () => {
      clearInterval(pace);
      message.off('data', onData).off('end', onEnd).off('error', onAborted).off('close', onAborted);
    };
    const fail = (error: Error) => {
      stop();
      chunks.length = 0;
      reject(error);
    };
    const onData = (chunk: Buffer) => {
      sizeBytes += chunk.length;
      try {
        if (sizeBytes > maxBytes) throw tooLarge(maxBytes);
        if (held.keepsChunks) held.take(chunk.length);
        onChunk?.(chunk);
      } catch (error) {
        fail(error as Error);
        return;
      }
      if (held.keepsChunks) chunks.push(chunk);
    };
    const onEnd = () => {
      stop();
      resolve({ chunks, sizeBytes });
    };
    const onAborted = () => fail(new BodyAborted());
    message.on('data', onData).on('end', onEnd).on('error', onAborted).on('close', onAborted);
  });
}

function tooLarge(maxBytes: number): Problem {
  return new Problem('body_too_large', `a body may have at most ${maxBytes} bytes`, {
    headers: { connection: 'close' },
  });
}

/** The bytes that one request holds. */
export class HeldBytes {
  readonly keepsChunks: boolean;
  readonly #budget: BodyBudget;
  readonly #holder: string;
  #bytes = 0;

  constructor(budget: BodyBudget, holder: string, keepsChunks: boolean) {
    this.#budget = budget;
    this.#holder = holder;
    this.keepsChunks = keepsChunks;
  }

  take(bytes: number): void {
    this.#budget.take(this.#holder, bytes);
    this.#bytes += bytes;
  }

  release(): void {
    this.#budget.release(this.#holder, this.#bytes);
    this.#bytes = 0;
  }
}
