import type { IncomingHttpHeaders } from 'node:http';
import type { Readable } from 'node:stream';
import type { z } from 'zod';
import type { ProblemCode } from '#platform/errors.ts';
import type { IdempotencyClaim } from '#platform/idempotency.store.ts';

/** What credentials may do; each scope includes the ones before it. */
export const scopes = ['read', 'write', 'admin'] as const;
export type Scope = (typeof scopes)[number];

/** Who makes a request. It comes from the credentials alone, never from a body or a query. */
export interface Principal {
  readonly workspaceId: string;
  readonly scope: Scope;
  /** The key or user that was presented. */
  readonly credentialId: string;
}

/** A body as it arrived, in the pieces in which it arrived. Its bytes are counted against a budget until it is released. */
export interface ReceivedBody {
  readonly chunks: readonly Buffer[];
  readonly sizeBytes: number;
}

export interface RouteRequest<Query = unknown, Body = unknown> {
  readonly id: string;
  readonly method: string;
  /** Path with its parameters filled in, without the query. */
  readonly path: string;
  readonly parameters: Readonly<Record<string, string>>;
  readonly query: Query;
  /** The query as sent, without the question mark. */
  readonly rawQuery: string;
  readonly headers: IncomingHttpHeaders;
  /** Undefined on public routes only. */
  readonly principal: Principal | undefined;
  /** The checked JSON body of routes with a `body` schema. */
  readonly body: Body;
  /** The bytes of that JSON body, as sent; empty on all other routes. */
  readonly bodyBytes: Buffer;
  /** To be kept with `keepIdempotencyKey` in the transaction of the effect, on routes that are `isIdempotent` but not `isRepeatable`. */
  readonly idempotency: IdempotencyClaim | undefined;
  /**
   * The bytes of routes that take a raw body; may be called once.
   * @param onChunk sees each piece as it arrives, and may throw to refuse the rest.
   */
  receiveBody(onChunk?: (chunk: Buffer) => void): Promise<ReceivedBody>;
  /** Gives back the memory that the body counts for, when it is not needed any more and the answer has to wait. */
  releaseBody(): void;
}

export interface RouteResponse {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent as JSON. */
  readonly body?: unknown;
  /** Sent as it is, with the Content-Type of `headers`. */
  readonly raw?: Buffer | string | Readable;
  /** True when `recall` tells this answer word for word, so that it need not be kept beside an idempotency key. */
  readonly isRecallable?: boolean;
}

interface ResponseDescription {
  readonly description: string;
  readonly schema?: z.ZodType;
  readonly contentType?: string;
}

export interface Route {
  readonly method: 'get' | 'post' | 'put' | 'patch' | 'delete';
  /** `/api/items/{dfid}`; `{name...}` stands for one or more segments. */
  readonly path: string;
  /** Who may call it: anybody, or credentials of at least this scope. */
  readonly access: 'public' | Scope;
  readonly tag: string;
  readonly summary: string;
  readonly query?: z.ZodObject;
  readonly body?: z.ZodType;
  /** True when a request without a body stands for one with `null`, which `body` must allow. */
  readonly isBodyOptional?: boolean;
  /** What the documents say of a JSON body that the handler judges itself. */
  readonly describedBody?: z.ZodType;
  /** Media types of a raw body. */
  readonly rawBody?: readonly string[];
  readonly requestHeaders?: Readonly<Record<string, string>>;
  readonly responses: Readonly<Record<number, ResponseDescription>>;
  /** Problems that this route may answer beside those that every route may. */
  readonly problems?: readonly ProblemCode[];
  /** Whether it honours `Idempotency-Key`, as every POST that creates something does. */
  readonly isIdempotent?: boolean;
  /** True when the same request again has no further effect, so that its key may be kept after the effect. */
  readonly isRepeatable?: boolean;
  /** The answer to an earlier request that kept its key with this receipt, but whose answer was not kept. */
  recall?(workspaceId: string, receiptId: string): Promise<RouteResponse>;
  /** Opens the body of an answer that shows a secret: `handle` itself keeps it beside its idempotency key, sealed. */
  openKeptBody?(body: unknown): unknown;
  handle(request: RouteRequest): Promise<RouteResponse>;
}

type RouteDefinition<Query extends z.ZodObject, Body extends z.ZodType> = Omit<Route, 'query' | 'body' | 'handle'> & {
  readonly query?: Query;
  readonly body?: Body;
  handle(request: RouteRequest<z.output<Query>, z.output<Body>>): Promise<RouteResponse>;
};

/** One row of a domain's route table, with the types of query and body taken from their schemas. */
export function defineRoute<Query extends z.ZodObject, Body extends z.ZodType>(
  definition: RouteDefinition<Query, Body>,
): Route {
  return definition;
}

/** The principal of a route that is not public. */
export function principalOf(request: Pick<RouteRequest, 'principal'>): Principal {
  if (!request.principal) throw new Error('a route that needs a principal was declared public');
  return request.principal;
}
