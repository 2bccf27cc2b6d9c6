import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readJson, startApplication, type ProblemDocument, type TestApplication } from '../testing/application.ts';

let application: TestApplication;
beforeAll(async () => {
  application = await startApplication({ backend: 'postgres', hasWorker: false });
});
afterAll(() => application.close());

/** Sends bytes on a connection of their own, ends the sending side, and returns all that comes back. */
async function exchange(sent: string): Promise<{ status: number; headers: string; problem: ProblemDocument }> {
  const socket = connect({ port: application.port, host: '127.0.0.1', allowHalfOpen: true });
  socket.end(sent);
  const answer = await text(socket);
  const [headers = '', body = ''] = answer.split('\r\n\r\n');
  return { status: Number(headers.split(' ')[1]), headers, problem: JSON.parse(body) as ProblemDocument };
}

const post = (rest: string) =>
  `POST /api/receipts HTTP/1.1\r\nhost: x\r\nx-api-key: ${application.apiKey}\r\ncontent-type: application/json\r\n${rest}`;

describe('what is no request gets a problem document all the same', () => {
  test('a body that is cut off in the middle: 400, and nothing of it is kept', async () => {
    const { status, headers, problem } = await exchange(post('content-length: 100\r\n\r\n[{"ide'));

    expect(status).toBe(400);
    expect(headers).toContain('content-type: application/problem+json');
    expect(problem).toMatchObject({ status: 400, error: 'malformed_request' });
    const list = await readJson<{ total: number }>(await application.fetch('/api/receipts'));
    expect(list.total).toBe(0);
  });

  test.each([
    ['a request line of one word', 'GARBAGE\r\n\r\n', 400, 'malformed_request'],
    ['a header without a colon', 'GET /health HTTP/1.1\r\nhost x\r\n\r\n', 400, 'malformed_request'],
    [
      'headers over the limit',
      `GET /health HTTP/1.1\r\nhost: x\r\na: ${'a'.repeat(20_000)}\r\n\r\n`,
      431,
      'headers_too_large',
    ],
    ['a URL over the limit', `GET /${'a'.repeat(20_000)} HTTP/1.1\r\nhost: x\r\n\r\n`, 431, 'headers_too_large'],
  ])('%s', async (_what, sent, expected, code) => {
    const { status, problem } = await exchange(sent);

    expect(status).toBe(expected);
    expect(problem).toMatchObject({ status: expected, error: code });
  });

  test('a chunk size that is no number: 400', async () => {
    const { status, problem } = await exchange(post('transfer-encoding: chunked\r\n\r\nzz\r\n'));

    expect(status).toBe(400);
    expect(problem.error).toBe('malformed_request');
  });
});
