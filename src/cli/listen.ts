import { setTimeout as delay } from 'node:timers/promises';
import { readResponse } from '#platform/read-response.ts';

export interface ListenOptions {
  /** The address of the installation. */
  readonly url: string;
  readonly key: string;
  /** Where requests are forwarded to. */
  readonly to: string;
}

interface ForwardedRequest {
  readonly id: string;
  readonly position: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

const pauseMs = 1000;
const timeoutMs = 15_000;
const answerBytesMax = 67_108_864;
/** What commits later than what is behind it is found by reading so much again. */
const readAgainPositions = 50;
const typeWidth = 22;

/**
 * Forwards what a webhook is told from now on to a program on this machine, with the same headers and bytes, and says of each
 * what was answered, until it is stopped.
 * @param say prints a line.
 * @throws Error when the installation does not answer, or refuses the key or the webhook.
 */
export async function listen(
  webhookId: string,
  options: ListenOptions,
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const source = new URL(`/api/webhooks/${encodeURIComponent(webhookId)}/requests`, options.url);
  const { newest_position: start } = await read(source, options.key);
  let position = start;
  const seen = new Map<string, number>();
  say(`Listening; what webhook ${webhookId} is told goes to ${options.to}`);
  say(row('time', 'event', 'webhook-id', 'answer'));
  while (!signal.aborted) {
    const after = Math.max(start, position - readAgainPositions);
    source.searchParams.set('after', String(after));
    for (const [id, at] of seen) if (at <= after) seen.delete(id);
    const { requests, newest_position: newest } = await readUntilAnswered(source, options.key, say, signal);
    const fresh = requests.filter(({ id }) => !seen.has(id));
    for (const request of fresh) {
      seen.set(request.id, request.position);
      const time = new Date().toTimeString().slice(0, 8);
      say(row(time, typeOf(request.body), request.id, await forward(request, options.to)));
    }
    // Where nothing is wanted, all was looked at.
    position = Math.max(position, requests.at(-1)?.position ?? newest);
    if (fresh.length === 0) await delay(pauseMs, undefined, { signal }).catch(() => {});
  }
}

function row(time: string, type: string, id: string, answer: string): string {
  return `${time.padEnd(8)}  ${type.padEnd(typeWidth)}  ${id.padEnd(36)}  ${answer}`;
}

function typeOf(body: string): string {
  return String((JSON.parse(body) as { type?: unknown }).type);
}

/** Goes on when the installation is away for a moment. */
async function readUntilAnswered(source: URL, key: string, say: (line: string) => void, signal: AbortSignal) {
  while (!signal.aborted) {
    try {
      return await read(source, key);
    } catch (error) {
      if (error instanceof Refused) throw error;
      say(`${source.origin} does not answer: ${error instanceof Error ? error.message : String(error)}`);
      await delay(pauseMs, undefined, { signal }).catch(() => {});
    }
  }
  return { requests: [], newest_position: 0 };
}

/** The installation answered that it will not. */
class Refused extends Error {}

async function read(
  source: URL,
  key: string,
): Promise<{ requests: readonly ForwardedRequest[]; newest_position: number }> {
  const response = await fetch(source, { headers: { 'x-api-key': key }, signal: AbortSignal.timeout(timeoutMs) });
  const text = (await readResponse(response, answerBytesMax)).toString('utf8');
  if (!response.ok) {
    const words = `${source.origin} answered ${response.status}: ${text.slice(0, 500)}`;
    throw response.status < 500 ? new Refused(words) : new Error(words);
  }
  return JSON.parse(text) as { requests: ForwardedRequest[]; newest_position: number };
}

async function forward({ headers, body }: ForwardedRequest, to: string): Promise<string> {
  const startedAtMs = performance.now();
  try {
    const response = await fetch(to, {
      method: 'POST',
      headers,
      body,
      redirect: 'manual',
      signal: AbortSignal.timeout(timeoutMs),
    });
    await response.body?.cancel();
    return `${response.status} in ${Math.round(performance.now() - startedAtMs)} ms`;
  } catch (error) {
    const { cause } = error as { cause?: unknown };
    return `no answer: ${cause instanceof Error ? cause.message : String(error)}`;
  }
}
