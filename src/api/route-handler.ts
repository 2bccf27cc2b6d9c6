import type { IncomingMessage, ServerResponse } from 'node:http';
import { pipeline } from 'node:stream/promises';
import { Readable } from 'node:stream';
import type { z } from 'zod';
import type { Authentication } from '#domains/accounts/index.ts';
import { blake3Hex, createBlake3Stream } from '#platform/blake3.ts';
import { Problem, type ProblemLocation } from '#platform/errors.ts';
import type { IdempotencyClaim } from '#platform/idempotency.store.ts';
import { parseInteroperableJson } from '#platform/json/interoperable-json.ts';
import { jsonPointer } from '#platform/json/pointer.ts';
import type { ReceivedBody, Route, RouteRequest, RouteResponse } from '#platform/route.ts';
import { authenticate } from './authenticate.ts';
import { BodyAborted, HeldBytes, receiveBody, type BodyBudget } from './body-reader.ts';
import { readIdempotencyKey, type IdempotentAnswers } from './idempotent-answers.ts';
import { answerProblem, toProblem } from './problem-answer.ts';

export interface RouteContext {
  authentication: Authentication;
  budget: BodyBudget;
  idempotentAnswers: IdempotentAnswers;
  onError(error: unknown, requestId: string): void;
}

/** What the access log and the request metrics need to know of a request; set as it becomes known. */
export interface RequestFacts {
  requestId: string;
  route: string;
  workspaceId?: string;
}

export interface PreparedRequest {
  message: IncomingMessage;
  response: ServerResponse;
  parameters: Readonly<Record<string, string>>;
  facts: RequestFacts;
}

/** Runs one row of a route table: credentials first, then query and body, then the handler, then its answer. */
export async function handleRoute(
  route: Route,
  { message, response, parameters, facts }: PreparedRequest,
  context: RouteContext,
): Promise<void> {
  const [path, rawQuery] = splitUrl(message.url ?? '');
  let held: HeldBytes | undefined;
  try {
    const principal = await authenticate(route, message.headers, context.authentication);
    if (principal) facts.workspaceId = principal.workspaceId;
    const query = route.query ? parseQuery(route.query, rawQuery) : {};
    if (route.body || route.rawBody) refuseContentCoding(message);
    refuseUnstorable(parameters);
    // Bodies that are only hashed pass through and take nothing of the budget.
    const holder = (held = new HeldBytes(
      context.budget,
      principal?.workspaceId ?? 'public',
      route.rawBody?.[0] !== '*/*',
    ));
    const request: UnreadRequest = {
      id: facts.requestId,
      method: message.method ?? '',
      path,
      parameters,
      query,
      rawQuery,
      headers: message.headers,
      principal,
      receiveBody: (onChunk) => receiveBody(message, context.budget, holder, onChunk),
      releaseBody: () => holder.release(),
    };
    await answer(response, await respond(route, request, context.idempotentAnswers));
  } catch (error) {
    if (error instanceof BodyAborted) return;
    const problem = toProblem(error);
    if (problem.status >= 500) context.onError(problem.cause ?? problem, facts.requestId);
    answerProblem(response, problem, { requestId: facts.requestId, path });
    if (problem.headers['connection'] === 'close') drainAndClose(message);
  } finally {
    held?.release();
  }
}

/** A request whose body is still on its way. */
type UnreadRequest = Omit<RouteRequest, 'body' | 'bodyBytes' | 'idempotency'>;

async function respond(
  route: Route,
  request: UnreadRequest,
  idempotentAnswers: IdempotentAnswers,
): Promise<RouteResponse> {
  const { principal } = request;
  const key = route.isIdempotent ? readIdempotencyKey(request.headers) : undefined;
  if (key === undefined || !principal) return route.handle(await withBody(route, request, undefined));
  const scope = { workspaceId: principal.workspaceId, operation: `${request.method} ${request.path}`, key };
  let received: ReceivedBody = { chunks: [], sizeBytes: 0 };
  const readFingerprint = async () => {
    const hash = await createBlake3Stream();
    if (route.body || route.rawBody) received = await request.receiveBody((chunk) => hash.update(chunk));
    const parts = [request.rawQuery, request.headers['content-type'], hash.digestHex()];
    return Buffer.from(blake3Hex(JSON.stringify(parts)), 'hex');
  };
  const receiveAgain: RouteRequest['receiveBody'] = async (onChunk) => {
    if (onChunk) for (const chunk of received.chunks) onChunk(chunk);
    return received;
  };
  const releaseBody = () => {
    received = { chunks: [], sizeBytes: 0 };
    request.releaseBody();
  };
  return idempotentAnswers.answerOnce(route, scope, readFingerprint, async (claim) =>
    route.handle(await withBody(route, { ...request, receiveBody: receiveAgain, releaseBody }, claim)),
  );
}

async function withBody(
  route: Route,
  request: UnreadRequest,
  idempotency: IdempotencyClaim | undefined,
): Promise<RouteRequest> {
  const bodyBytes = route.body ? await receiveJson(request, route.isBodyOptional === true) : noBytes;
  const value = bodyBytes.length === 0 ? null : readJson(bodyBytes);
  const body = route.body ? parseBody(route.body, value) : undefined;
  return { ...request, body, bodyBytes, idempotency };
}

function splitUrl(url: string): [path: string, query: string] {
  const at = url.indexOf('?');
  return at === -1 ? [url, ''] : [url.slice(0, at), url.slice(at + 1)];
}

async function answer(response: ServerResponse, { status, headers = {}, body, raw }: RouteResponse): Promise<void> {
  if (raw instanceof Readable) {
    response.writeHead(status, headers);
    await pipeline(raw, response);
    return;
  }
  const text = raw ?? (body === undefined ? '' : JSON.stringify(body));
  response.writeHead(status, {
    ...(raw === undefined && body !== undefined ? { 'content-type': 'application/json; charset=utf-8' } : {}),
    'content-length': Buffer.byteLength(text),
    ...headers,
  });
  response.end(text);
}

/** Compressed bodies are refused unread (RFC 9110, 8.4): their size says nothing about what they become. */
function refuseContentCoding({ headers }: IncomingMessage): void {
  const coding = headers['content-encoding'];
  if (coding === undefined || coding.trim().toLowerCase() === 'identity') return;
  throw new Problem(
    'unsupported_media_type',
    `bodies are taken uncompressed, not with Content-Encoding ${coding.slice(0, 40)}`,
    { headers: { 'accept-encoding': 'identity' } },
  );
}

/** Postgres has no U+0000 in text, so nothing can be found under it. */
function refuseUnstorable(parameters: Readonly<Record<string, string>>): void {
  for (const name in parameters) {
    if (parameters[name]!.includes('\u0000')) throw new Problem('not_found', 'there is nothing under this path');
  }
}

function parseQuery(schema: z.ZodObject, rawQuery: string): unknown {
  const parameters = new URLSearchParams(rawQuery);
  const values: Record<string, string> = {};
  for (const [name, value] of parameters) {
    if (value.includes('\u0000') || value.includes('\uFFFD'))
      throw invalidQuery([{ pointer: name, code: 'invalid_query', detail: 'holds U+0000 or is not UTF-8' }]);
    if (Object.hasOwn(values, name))
      throw invalidQuery([{ pointer: name, code: 'invalid_query', detail: 'stands twice' }]);
    if (value !== '') values[name] = value;
  }
  const result = schema.safeParse(values, saysWhatIsMissing);
  if (!result.success) throw invalidQuery(locationsOf(result.error, 'invalid_query', (path) => path.join('.')));
  return result.data;
}

function invalidQuery(errors: ProblemLocation[]): Problem {
  return new Problem('invalid_query', errors.map(({ pointer, detail }) => `${pointer}: ${detail}`).join('; '), {
    errors,
  });
}

const noBytes = Buffer.alloc(0);

async function receiveJson({ headers, receiveBody: receive }: UnreadRequest, isOptional: boolean): Promise<Buffer> {
  // RFC 9112, 6.3: a request with neither of these has no body.
  const isAbsent = headers['transfer-encoding'] === undefined && Number(headers['content-length'] ?? 0) === 0;
  if (isAbsent && isOptional) return noBytes;
  const mediaType = (headers['content-type'] ?? '').split(';')[0]!.trim().toLowerCase();
  if (mediaType !== 'application/json')
    throw new Problem('unsupported_media_type', 'send application/json', { headers: { accept: 'application/json' } });
  const { chunks, sizeBytes } = await receive();
  if (sizeBytes === 0) throw new Problem('empty_body', 'send a JSON object');
  return chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks);
}

function readJson(bytes: Buffer): unknown {
  const parsed = parseInteroperableJson(bytes, 0, bytes.length);
  if (parsed.ok && typeof parsed.value === 'object' && parsed.value !== null) return parsed.value;
  if (parsed.ok) throw new Problem('malformed_json', 'the body is neither an object nor an array, at byte 0');
  const { code, detail, pointer } = parsed.fault;
  const isMalformed = code === 'invalid_json' || code === 'invalid_utf8';
  throw new Problem(isMalformed ? 'malformed_json' : 'invalid_request', detail, {
    errors: [{ pointer, code, detail }],
  });
}

function parseBody(schema: z.ZodType, body: unknown): unknown {
  const result = schema.safeParse(body, saysWhatIsMissing);
  if (result.success) return result.data;
  const errors = locationsOf(result.error, 'invalid_request', (path) => jsonPointer(...path.map(String)));
  throw new Problem('invalid_request', errors.map(({ pointer, detail }) => `${pointer}: ${detail}`).join('; '), {
    errors,
  });
}

/** The library's own words for it speak of the inside of a program. */
const saysWhatIsMissing = {
  error: (issue: { readonly input?: unknown }) => (issue.input === undefined ? 'is missing' : undefined),
};

function locationsOf(error: z.ZodError, code: string, pointerOf: (path: PropertyKey[]) => string): ProblemLocation[] {
  return error.issues.map((issue) => ({ pointer: pointerOf(issue.path), code, detail: issue.message }));
}

const drainedBytesMax = 262_144;
const drainMs = 500;

/** Reads a little more of a refused body, so that the client gets to see the answer, and then closes. */
function drainAndClose(message: IncomingMessage): void {
  let drained = 0;
  const close = () => message.socket.destroy();
  const timer = setTimeout(close, drainMs);
  message.on('data', (chunk: Buffer) => {
    drained += chunk.length;
    if (drained > drainedBytesMax) close();
  });
  message.once('close', () => clearTimeout(timer));
  message.resume();
}
