import type { AttemptResult } from '../deliveries/attempts.store.ts';
import { redacted } from './redaction.ts';
import type { WebhookAnswer } from './send-webhook.ts';

const bodyBytes = 16_384;
const headersMax = 50;
const headerCharacters = 1000;

/** What of an answer is kept: its beginning, without our credentials, which a receiver may send back. */
export function recordOfAnswer(
  { responseHeaders, responseBody, tookMs, status, error }: WebhookAnswer,
  redact: (text: string) => string,
): Omit<AttemptResult, 'startedAtMs' | 'requestHeaders'> {
  const headers =
    responseHeaders &&
    Object.entries(responseHeaders)
      .slice(0, headersMax)
      .map(([name, value]) => [
        name,
        name === 'set-cookie' ? redacted : redact(value).slice(0, headerCharacters).replaceAll('\0', ''),
      ]);
  return {
    tookMs,
    status,
    error,
    responseHeaders: headers && JSON.stringify(Object.fromEntries(headers)),
    responseBody: responseBody === null ? null : cut(redact(responseBody)),
  };
}

/** A database keeps no zero bytes. */
function cut(text: string): string {
  return Buffer.from(text).subarray(0, bodyBytes).toString('utf8').replaceAll('\0', '\uFFFD');
}
