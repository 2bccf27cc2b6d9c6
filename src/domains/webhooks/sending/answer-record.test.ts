import { describe, expect, test } from 'vitest';
import { recordOfAnswer } from './answer-record.ts';
import { makeRedaction } from './redaction.ts';

const answerWith = (responseBody: string | null, responseHeaders: Record<string, string> | null = {}) => ({
  tookMs: 1,
  status: 200,
  error: null,
  retryAfterSeconds: undefined,
  responseBody,
  responseHeaders,
});
const asItIs = (text: string) => text;

test('of a body the first 16 KiB are kept, whole characters and no zero bytes', () => {
  const { responseBody } = recordOfAnswer(answerWith(`a\0${'ã'.repeat(20_000)}`), asItIs);

  expect(Buffer.byteLength(responseBody!)).toBeLessThanOrEqual(16_386);
  expect(responseBody).toMatch(/^a\uFFFDã+\uFFFD?$/);
});

test('of headers fifty are kept, each cut, and no cookie', () => {
  const many = Object.fromEntries(Array.from({ length: 60 }, (_, at) => [`x-${at}`, 'v'.repeat(2000)]));

  const { responseHeaders } = recordOfAnswer(answerWith('', { 'set-cookie': 'session=1', ...many }), asItIs);

  const kept = JSON.parse(responseHeaders!) as Record<string, string>;
  expect(Object.keys(kept)).toHaveLength(50);
  expect([kept['set-cookie'], kept['x-0']!.length]).toEqual(['[redacted]', 1000]);
});

test('without an answer nothing is kept', () => {
  expect(recordOfAnswer(answerWith(null, null), asItIs)).toMatchObject({ responseHeaders: null, responseBody: null });
});

describe('a credential that a receiver sends back', () => {
  const credential = 'am8/bzpw"Pj+cw==';
  const redact = makeRedaction([credential, '12345', 'abc']);

  test.each([
    ['as it is', credential],
    ['in JSON', JSON.stringify(credential).slice(1, -1)],
    [
      'in JSON with its slashes escaped',
      JSON.stringify(credential)
        .slice(1, -1)
        .replaceAll('/', String.raw`\/`),
    ],
    ['in a URL', encodeURIComponent(credential)],
    ['without its padding', credential.replace('==', '')],
  ])('is not kept %s', (_, form) => {
    const { responseBody, responseHeaders } = recordOfAnswer(answerWith(`<${form}>`, { 'x-echo': form }), redact);

    expect([responseBody, responseHeaders]).toEqual([
      expect.stringMatching(/^<\[redacted\](?:==)?>$/),
      expect.stringMatching(/^\{"x-echo":"\[redacted\](?:==)?"\}$/),
    ]);
  });

  test('is not kept in part, where a text is cut', () => {
    const [body, header] = [`${'x'.repeat(16_380)}${credential}`, `${'y'.repeat(995)}${credential}`];

    const { responseBody, responseHeaders } = recordOfAnswer(answerWith(body, { 'x-echo': header }), redact);

    expect([responseBody, responseHeaders].join('')).not.toContain(credential.slice(0, 3));
  });

  test('is looked for as fast in hostile answers as in others', () => {
    const hostile = makeRedaction(Array.from({ length: 50 }, (_, at) => `${'a'.repeat(500 + at)}b${'a'.repeat(400)}`));
    const timeOf = (body: string) => {
      const startedAtMs = performance.now();
      for (let at = 0; at < 20; at += 1) recordOfAnswer(answerWith(body), hostile);
      return performance.now() - startedAtMs;
    };
    timeOf('x'.repeat(24_000));

    const ratio = timeOf('a'.repeat(24_000)) / timeOf('x'.repeat(24_000));

    expect(ratio).toBeLessThan(100);
  });

  test('is kept when it is so short that it is found by chance', () => {
    expect(recordOfAnswer(answerWith('user:12345 abc'), redact).responseBody).toBe('user:[redacted] abc');
  });
});
