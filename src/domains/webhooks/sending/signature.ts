import { createHmac, randomBytes } from 'node:crypto';

/** Signatures of Standard Webhooks 1.0 (https://www.standardwebhooks.com), `v1`: HMAC-SHA256 with a secret of both sides. */
const secretPrefix = 'whsec_';
const secretBytes = { least: 24, most: 64, made: 32 } as const;

/** Makes a secret. */
export function makeSecret(): string {
  return `${secretPrefix}${randomBytes(secretBytes.made).toString('base64')}`;
}

/** The bytes of a secret, `whsec_` and 24 to 64 bytes in base64; undefined for text that is none. */
export function readSecret(text: string): Buffer | undefined {
  if (!text.startsWith(secretPrefix)) return undefined;
  const encoded = text.slice(secretPrefix.length);
  const bytes = Buffer.from(encoded, 'base64');
  const isWhole = bytes.toString('base64') === encoded;
  return isWhole && bytes.length >= secretBytes.least && bytes.length <= secretBytes.most ? bytes : undefined;
}

/** Headers that sign a body; more than one secret while one takes the place of another. */
export function signatureHeaders(
  { id, seconds, body }: { id: string; seconds: number; body: string },
  secrets: readonly Buffer[],
): Record<string, string> {
  const signed = `${id}.${seconds}.${body}`;
  const signatures = secrets.map((secret) => `v1,${createHmac('sha256', secret).update(signed).digest('base64')}`);
  return {
    'webhook-id': id,
    'webhook-timestamp': String(seconds),
    'webhook-signature': signatures.join(' '),
  };
}
