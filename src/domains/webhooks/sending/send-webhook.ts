import { request, type Dispatcher } from 'undici';
import type { AttemptResult } from '../deliveries/attempts.store.ts';

export interface WebhookRequest {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  /** Headers whose values are not kept. */
  readonly secretHeaders: ReadonlySet<string>;
}

export interface SenderOptions {
  readonly agent: Dispatcher;
  /** From the first byte of the name to the last of the answer. */
  readonly timeoutMs: number;
}

const keptBodyBytes = 16_384;
const keptHeaders = 50;
const keptHeaderCharacters = 1000;
const redacted = '[redacted]';

/**
 * Sends one request and tells what became of it; never throws. Redirects are answers like others, and of a body no more is
 * read than is kept.
 */
export async function sendWebhook(
  { url, headers, body, secretHeaders }: WebhookRequest,
  { agent, timeoutMs }: SenderOptions,
): Promise<AttemptResult & { retryAfter: string | undefined }> {
  const startedAtMs = Date.now();
  const started = performance.now();
  const requestHeaders = Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name, secretHeaders.has(name) ? redacted : value]),
  );
  const resultOf = (
    found: Pick<AttemptResult, 'status' | 'responseHeaders' | 'responseBody' | 'error'>,
    retryAfter?: string,
  ) => ({
    startedAtMs,
    tookMs: Math.round(performance.now() - started),
    requestHeaders,
    ...found,
    retryAfter,
  });
  try {
    const signal = AbortSignal.timeout(timeoutMs);
    const response = await request(url, {
      method: 'POST',
      headers,
      body,
      dispatcher: agent,
      signal,
      headersTimeout: timeoutMs,
      bodyTimeout: timeoutMs,
    });
    const { statusCode: status } = response;
    const responseBody = await readBeginning(response.body, signal);
    const isGood = status >= 200 && status < 300;
    return resultOf(
      {
        status,
        responseHeaders: headersOf(response.headers),
        responseBody,
        error: isGood
          ? null
          : status >= 300 && status < 400
            ? `it answered ${status}, and redirects are not followed`
            : `it answered ${status}`,
      },
      textOf(response.headers['retry-after']),
    );
  } catch (error) {
    return resultOf({ status: null, responseHeaders: null, responseBody: null, error: inWords(error) });
  }
}

/** The first bytes of a body as text; what comes behind them is not read. */
async function readBeginning(body: Dispatcher.ResponseData['body'], signal: AbortSignal): Promise<string> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  try {
    for await (const chunk of body) {
      chunks.push(chunk as Buffer);
      sizeBytes += (chunk as Buffer).length;
      if (sizeBytes >= keptBodyBytes) break;
    }
  } catch (error) {
    // The answer counts once its status is there, whether its body comes to an end or not; but not one that drips for ever.
    if (signal.aborted) throw error;
  } finally {
    body.on('error', () => {});
    body.destroy();
  }
  // A database keeps no zero bytes.
  return Buffer.concat(chunks).subarray(0, keptBodyBytes).toString('utf8').replaceAll('\0', '\uFFFD');
}

function headersOf(headers: Dispatcher.ResponseData['headers']): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers)
      .slice(0, keptHeaders)
      .map(([name, value]) => [name, (textOf(value) ?? '').slice(0, keptHeaderCharacters).replaceAll('\0', '')]),
  );
}

function textOf(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value.join(', ') : value;
}

/** What went wrong, without addresses and names of ours. */
function inWords(error: unknown): string {
  const { name, code } = (error ?? {}) as { name?: unknown; code?: unknown };
  if (name === 'TimeoutError' || code === 'UND_ERR_HEADERS_TIMEOUT' || code === 'UND_ERR_BODY_TIMEOUT')
    return 'it did not answer in time';
  const known: Readonly<Record<string, string>> = {
    FORBIDDEN_ADDRESS: 'its address is not public',
    UNKNOWN_NAME: 'its name could not be resolved',
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
  };
  if (error instanceof AggregateError) return inWords(error.errors[0]);
  return known[String(code)] ?? 'the request failed';
}
