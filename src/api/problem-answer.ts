import type { ServerResponse } from 'node:http';
import {
  isDatabaseAwayError,
  isSchemaBehindError,
  isTransientConflict,
  Problem,
  problemDefinitions,
} from '#platform/errors.ts';

interface ProblemContext {
  requestId: string;
  path: string;
}

/** Errors of sockets and name look-ups that say that the other side is away. */
const unreachableCodes = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOENT',
  'ENOTFOUND',
  'EPIPE',
  'ETIMEDOUT',
]);

/** What pg, its pool and knex say, without a code, when there is no connection or no answer in time. */
const unreachableMessages =
  /timeout exceeded when trying to connect|Connection terminated|Query read timeout|Timeout acquiring a connection/i;

/** A database that cannot be reached is a fault neither of the request nor of the code. */
function isUnreachable(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const code = 'code' in error ? String(error.code) : '';
  return (
    isDatabaseAwayError(error) ||
    unreachableCodes.has(code) ||
    unreachableMessages.test(error.message) ||
    (error instanceof AggregateError && error.errors.some(isUnreachable))
  );
}

/** The problem behind an error; whatever was not meant for the client becomes an internal error that says nothing. */
export function toProblem(error: unknown): Problem {
  if (error instanceof Problem) return error;
  if (isUnreachable(error)) {
    return new Problem('unavailable', 'the database cannot be reached at this moment', {
      headers: { 'retry-after': '2' },
      cause: error,
    });
  }
  if (isSchemaBehindError(error)) {
    return new Problem('unavailable', 'the database is not migrated to this version yet', {
      headers: { 'retry-after': '5' },
      cause: error,
    });
  }
  if (isTransientConflict(error)) {
    return new Problem('unavailable', 'other requests change the same things at this moment; send it again', {
      headers: { 'retry-after': '1' },
      cause: error,
    });
  }
  return new Problem('internal_error', 'the request could not be answered; the request id helps to find out why', {
    cause: error,
  });
}

/** An RFC 9457 problem document. `error` and `message` repeat code and detail for the existing web client. */
export function problemDocument(problem: Problem, { requestId, path }: ProblemContext): object {
  return {
    type: `/docs/errors#${problem.code}`,
    title: problemDefinitions[problem.code].title,
    status: problem.status,
    detail: problem.message,
    instance: path,
    requestId,
    error: problem.code,
    message: problem.message,
    ...(problem.errors.length > 0 ? { errors: problem.errors } : {}),
    ...problem.members,
  };
}

/** Sends a problem, unless an answer is already under way: then the connection is cut, so that nobody takes half for all. */
export function answerProblem(response: ServerResponse, problem: Problem, context: ProblemContext): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  const body = JSON.stringify(problemDocument(problem, context));
  response.writeHead(problem.status, {
    'content-type': 'application/problem+json',
    'content-length': Buffer.byteLength(body),
    ...problem.headers,
  });
  response.end(body);
}
