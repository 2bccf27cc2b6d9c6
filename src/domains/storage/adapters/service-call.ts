import { readResponse } from '#platform/read-response.ts';
import { StorageFault } from './adapter.ts';

interface ServiceCall {
  /** For people: who is asked. */
  readonly service: string;
  readonly url: string;
  readonly method: 'GET' | 'POST' | 'DELETE';
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: FormData;
  /** For the whole call, the answer included. */
  readonly timeoutMs: number;
}

const answerBytesMax = 1_048_576;
/** Somebody has to mend a key before it helps to try again. */
const refusedRetryMs = 300_000;

/**
 * Asks a storage service, and gives what it answered with a status of success.
 * @throws StorageFault that says what went wrong without what was sent.
 */
export async function callService({ service, url, timeoutMs, ...request }: ServiceCall): Promise<string> {
  const signal = AbortSignal.timeout(timeoutMs);
  let status: number;
  let retryAfter: string | null;
  let text: string;
  try {
    const response = await fetch(url, { ...request, signal, redirect: 'error' });
    status = response.status;
    retryAfter = response.headers.get('retry-after');
    text = (await readResponse(response, answerBytesMax)).toString('utf8');
  } catch (error) {
    throw new StorageFault(`${service} ${reasonOf(error, timeoutMs)}`, { cause: error });
  }
  if (status >= 200 && status < 300) return text;
  throw faultOf(service, status, retryAfter);
}

/** What a status that is none of success means for the next attempt. */
export function faultOf(service: string, status: number, retryAfter: string | null): StorageFault {
  if (status === 401 || status === 403)
    return new StorageFault(`${service} does not accept our key (${status})`, { status, retryAfterMs: refusedRetryMs });
  const retryAfterMs = readRetryAfter(retryAfter);
  if (status === 429)
    return new StorageFault(`${service} takes no more requests at the moment (429)`, { status, retryAfterMs });
  const isFinal = status >= 400 && status < 500 && status !== 408 && status !== 425;
  return new StorageFault(`${service} answered ${status}`, { status, isFinal, retryAfterMs });
}

/** JSON of an answer; undefined for anything else. */
export function parseAnswer(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

function reasonOf(error: unknown, timeoutMs: number): string {
  if (error instanceof Error && error.name === 'TimeoutError') return `did not answer within ${timeoutMs} ms`;
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  return `cannot be reached: ${cause instanceof Error ? ((cause as NodeJS.ErrnoException).code ?? cause.message) : 'unknown'}`;
}

/** `Retry-After` (RFC 9110, 10.2.3) in milliseconds, of seconds or of a date. */
function readRetryAfter(header: string | null): number | undefined {
  if (header === null) return undefined;
  if (/^\d{1,9}$/.test(header.trim())) return Number(header) * 1000;
  const atMs = Date.parse(header);
  return Number.isNaN(atMs) ? undefined : Math.max(0, atMs - Date.now());
}
