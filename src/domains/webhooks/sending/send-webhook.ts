import type { Dispatcher } from 'undici';
import { readRetryAfter } from '../deliveries/retry-schedule.ts';

export interface WebhookRequest {
  readonly origin: string;
  /** With its query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export interface SenderOptions {
  readonly agent: Dispatcher;
  /** From the first byte of the name to the last of the answer. */
  readonly timeoutMs: number;
}

/** What an answer was. */
export interface WebhookAnswer {
  readonly tookMs: number;
  readonly status: number | null;
  readonly responseHeaders: Readonly<Record<string, string>> | null;
  /** As far as it was read: somewhat more than is kept. */
  readonly responseBody: string | null;
  readonly error: string | null;
  /** Before which it wants no other attempt. */
  readonly retryAfterSeconds: number | undefined;
}

/** More than is kept of a body, so that a credential which is cut in two is known as one. */
const readBodyBytes = 24_576;

/**
 * Sends one request and tells what became of it; never throws. Redirects are answers like others, and of a body no more is
 * read than is kept.
 */
export function sendWebhook(
  { origin, path, headers, body }: WebhookRequest,
  { agent, timeoutMs }: SenderOptions,
): Promise<WebhookAnswer> {
  return new Promise((resolve) => {
    const exchange = new WebhookExchange(timeoutMs, resolve);
    // The one deadline is that of the exchange, which also counts the time until there is a connection.
    const timeouts = { headersTimeout: 0, bodyTimeout: 0 };
    try {
      agent.dispatch({ origin, path, method: 'POST', headers, body, ...timeouts }, exchange);
    } catch (error) {
      exchange.fail(error);
    }
  });
}

/** One request under way. Its first end counts: an answer, an error, or the deadline. */
class WebhookExchange implements Dispatcher.DispatchHandler {
  readonly #began = performance.now();
  readonly #resolve: (answer: WebhookAnswer) => void;
  readonly #deadline: NodeJS.Timeout;
  readonly #chunks: Buffer[] = [];
  #sizeBytes = 0;
  #controller: Dispatcher.DispatchController | undefined;
  #status: number | null = null;
  #headers: Readonly<Record<string, string | string[] | undefined>> = {};
  #isOver = false;

  constructor(timeoutMs: number, resolve: (answer: WebhookAnswer) => void) {
    this.#resolve = resolve;
    this.#deadline = setTimeout(() => {
      this.#end({ status: null, responseHeaders: null, responseBody: null, error: 'it did not answer in time' });
      this.#controller?.abort(new Error('it did not answer in time'));
    }, timeoutMs);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#isOver) controller.abort(new Error('it is too late'));
  }

  onResponseStart(
    _: Dispatcher.DispatchController,
    status: number,
    headers: Readonly<Record<string, string | string[] | undefined>>,
  ): void {
    // Answers that only announce another one (RFC 9110, 15.2).
    if (status < 200) return;
    this.#status = status;
    this.#headers = headers;
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#sizeBytes += chunk.length;
    if (this.#sizeBytes < readBodyBytes) return;
    this.#answer();
    controller.abort(new Error('that is enough'));
  }

  onResponseEnd(): void {
    this.#answer();
  }

  onResponseError(_: Dispatcher.DispatchController, error: Error): void {
    this.fail(error);
  }

  /** An answer counts once its status is there, whether its body comes to an end or not. */
  fail(error: unknown): void {
    if (this.#status !== null) this.#answer();
    else this.#end({ status: null, responseHeaders: null, responseBody: null, error: inWords(error) });
  }

  #answer(): void {
    const status = this.#status!;
    this.#end(
      {
        status,
        responseHeaders: Object.fromEntries(
          Object.entries(this.#headers).map(([name, value]) => [name, textOf(value) ?? '']),
        ),
        responseBody: Buffer.concat(this.#chunks).subarray(0, readBodyBytes).toString('utf8'),
        error: faultOfStatus(status),
      },
      textOf(this.#headers['retry-after']),
    );
  }

  #end(found: Omit<WebhookAnswer, 'tookMs' | 'retryAfterSeconds'>, retryAfter?: string): void {
    if (this.#isOver) return;
    this.#isOver = true;
    clearTimeout(this.#deadline);
    const retryAfterSeconds = readRetryAfter(retryAfter, Date.now());
    this.#resolve({ ...found, tookMs: Math.round(performance.now() - this.#began), retryAfterSeconds });
  }
}

function faultOfStatus(status: number): string | null {
  if (status >= 200 && status < 300) return null;
  return status >= 300 && status < 400
    ? `it answered ${status}, and redirects are not followed`
    : `it answered ${status}`;
}

function textOf(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value.join(', ') : value;
}

/** What went wrong, without addresses and names of ours. */
function inWords(error: unknown): string {
  const { code } = (error ?? {}) as { code?: unknown };
  const known: Readonly<Record<string, string>> = {
    // One text, or it would tell which names there are inside.
    FORBIDDEN_ADDRESS: 'its name or address leads nowhere in public',
    UNKNOWN_NAME: 'its name or address leads nowhere in public',
    FORBIDDEN_ORIGIN: 'requests may not go to its scheme or its port',
    UND_ERR_CONNECT_TIMEOUT: 'it could not be connected to in time',
    ECONNREFUSED: 'it refused the connection',
    ECONNRESET: 'it closed the connection',
    UND_ERR_SOCKET: 'it closed the connection',
    EHOSTUNREACH: 'it cannot be reached',
    ENETUNREACH: 'it cannot be reached',
    CERT_HAS_EXPIRED: 'its certificate has expired',
    ERR_TLS_CERT_ALTNAME_INVALID: 'its certificate is of another name',
    DEPTH_ZERO_SELF_SIGNED_CERT: 'its certificate is signed by nobody that is known',
    SELF_SIGNED_CERT_IN_CHAIN: 'its certificate is signed by nobody that is known',
    UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'its certificate is signed by nobody that is known',
    UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'its certificate is signed by nobody that is known',
    EPROTO: 'it does not speak TLS as it should',
    UND_ERR_HEADERS_OVERFLOW: 'its answer is no HTTP that can be read',
  };
  if (error instanceof AggregateError) return inWords(error.errors[0]);
  const name = String(code);
  if (known[name] !== undefined) return known[name];
  if (name.startsWith('CERT_')) return 'its certificate cannot be trusted';
  if (name.startsWith('ERR_SSL_')) return known['EPROTO']!;
  if (name.startsWith('HPE_')) return known['UND_ERR_HEADERS_OVERFLOW']!;
  return 'the request failed';
}
