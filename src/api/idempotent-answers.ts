import type { IncomingHttpHeaders } from 'node:http';
import type pg from 'pg';
import { Problem } from '#platform/errors.ts';
import {
  findIdempotencyKey,
  IdempotencyKeyTaken,
  keepAnswer,
  keepIdempotencyKey,
  type IdempotencyClaim,
  type IdempotencyRow,
  type KeptAnswer,
} from '#platform/idempotency.store.ts';
import type { Route, RouteResponse } from '#platform/route.ts';

/** Answers requests that carry an `Idempotency-Key`. */
export interface IdempotentAnswers {
  /**
   * Handles a request whose key is new, and gives the first answer again for one whose key is known.
   * @param readFingerprint takes the body in.
   * @param handle keeps the key in the transaction of its effect, unless the route is repeatable.
   * @throws Problem idempotency_key_in_use while this process still works on the first request, idempotency_key_reused for
   *   another request with the same key.
   */
  answerOnce(
    route: Route,
    scope: Omit<IdempotencyClaim, 'fingerprint'>,
    readFingerprint: () => Promise<Buffer>,
    handle: (claim: IdempotencyClaim) => Promise<RouteResponse>,
  ): Promise<RouteResponse>;
}

const retryAfter = { 'retry-after': '1' };

export function makeIdempotentAnswers(pool: pg.Pool): IdempotentAnswers {
  const inUse = new Set<string>();

  const handleOrReplay = async (
    route: Route,
    claim: IdempotencyClaim,
    handle: (claim: IdempotencyClaim) => Promise<RouteResponse>,
  ): Promise<RouteResponse> => {
    const known = await findIdempotencyKey(pool, claim);
    if (known) return replay(route, claim, known);
    try {
      const response = await handle(claim);
      const { status, headers, body } = response;
      const kept = { status, headers: headers ?? {}, body };
      if (route.isRepeatable === true) await keepIdempotencyKey(pool, claim, { answer: kept });
      else if (response.isRecallable !== true && !route.openKeptBody) await keepAnswer(pool, claim, kept);
      return response;
    } catch (error) {
      if (!(error instanceof IdempotencyKeyTaken)) throw error;
      const winner = await findIdempotencyKey(pool, claim);
      if (winner) return replay(route, claim, winner);
      throw new Problem('unavailable', 'the key is being taken by another request; send it again', {
        headers: retryAfter,
      });
    }
  };

  return {
    async answerOnce(route, scope, readFingerprint, handle) {
      const name = `${scope.workspaceId} ${scope.operation} ${scope.key}`;
      if (inUse.has(name))
        throw new Problem('idempotency_key_in_use', 'the first request with this key has no answer yet', {
          headers: retryAfter,
        });
      inUse.add(name);
      try {
        return await handleOrReplay(route, { ...scope, fingerprint: await readFingerprint() }, handle);
      } finally {
        inUse.delete(name);
      }
    },
  };
}

async function replay(route: Route, claim: IdempotencyClaim, known: IdempotencyRow): Promise<RouteResponse> {
  if (!known.fingerprint.equals(claim.fingerprint)) {
    throw new Problem(
      'idempotency_key_reused',
      'another body, query or content type was sent with this key; a key stands for one request',
    );
  }
  const first = known.answer ? open(route, known.answer) : await recall(route, claim.workspaceId, known.receipt_id);
  return { ...first, headers: { ...first.headers, 'idempotency-replayed': 'true' } };
}

function open(route: Route, answer: KeptAnswer): KeptAnswer {
  return route.openKeptBody ? { ...answer, body: route.openKeptBody(answer.body) } : answer;
}

/** The answer to a request whose process ended between the commit and the answer. */
async function recall(route: Route, workspaceId: string, receiptId: string | null): Promise<RouteResponse> {
  if (!route.recall || receiptId === null) throw new Error(`${route.path} cannot tell what it answered`);
  return route.recall(workspaceId, receiptId);
}

/**
 * The key of an `Idempotency-Key` header, with or without the quotes of a structured field (RFC 8941, 3.3.3).
 * @throws Problem invalid_header
 */
export function readIdempotencyKey(headers: IncomingHttpHeaders): string | undefined {
  const header = headers['idempotency-key'];
  if (header === undefined) return undefined;
  const text = Array.isArray(header) ? header.join(',') : header;
  const key = /^"((?:[^"\\]|\\["\\])*)"$/.exec(text)?.[1]?.replaceAll(/\\(["\\])/g, '$1') ?? text;
  if (!/^[\u0020-\u007e]{1,255}$/.test(key)) {
    throw new Problem('invalid_header', 'Idempotency-Key is 1 to 255 visible ASCII characters', {
      errors: [{ pointer: 'Idempotency-Key', code: 'invalid_header', detail: '1 to 255 visible ASCII characters' }],
    });
  }
  return key;
}
