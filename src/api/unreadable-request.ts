import { STATUS_CODES, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { makeId } from '#platform/ids.ts';
import { Problem } from '#platform/errors.ts';
import { problemDocument } from './problem-answer.ts';

/** What Node's parser says of requests that it gives up before a handler sees them, or in the middle of the body. */
function problemOf(code: string | undefined): Problem {
  if (code === 'HPE_HEADER_OVERFLOW') return new Problem('headers_too_large', 'the URL and headers take over 16 KiB');
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return new Problem('slow_body', 'the request did not arrive in time');
  if (code === 'HPE_INVALID_EOF_STATE')
    return new Problem('malformed_request', 'the request ended in the middle; nothing of it was kept');
  return new Problem('malformed_request', 'this is not a well-formed HTTP request (RFC 9112)');
}

/** Answers a request that is not one, as far as somebody is left to hear it, and closes the connection. */
export function answerUnreadable(error: NodeJS.ErrnoException, socket: Duplex): void {
  // As Node's own handler does: into the middle of an answer nothing may be written.
  const isAnswering = (socket as { ['_httpMessage']?: ServerResponse })['_httpMessage']?.headersSent === true;
  if (error.code === 'ECONNRESET' || !socket.writable || isAnswering) {
    socket.destroy();
    return;
  }
  const requestId = makeId();
  const problem = problemOf(error.code);
  const body = JSON.stringify(problemDocument(problem, { requestId, path: '' }));
  socket.end(
    [
      `HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status]}`,
      'content-type: application/problem+json',
      `content-length: ${Buffer.byteLength(body)}`,
      `x-request-id: ${requestId}`,
      'connection: close',
      '',
      body,
    ].join('\r\n'),
  );
}
