import { createDocument, type ZodOpenApiOperationObject } from 'zod-openapi';
import { z } from 'zod';
import { problemDefinitions, type ProblemCode } from '#platform/errors.ts';
import type { Route } from '#platform/route.ts';

const problemSchema = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.number().int(),
    detail: z.string(),
    instance: z.string(),
    requestId: z.string(),
    error: z.enum(Object.keys(problemDefinitions) as [ProblemCode, ...ProblemCode[]]),
    message: z.string(),
    errors: z.array(z.object({ pointer: z.string(), code: z.string(), detail: z.string() })).optional(),
    receipt_id: z.uuid().optional().meta({ description: 'Where a record is kept that waits for review' }),
    entry_id: z.uuid().optional(),
  })
  .meta({ id: 'Problem', description: 'RFC 9457 problem document' });

/** The OpenAPI 3.1 description of the API, made from the route tables. */
export function describeApi(routes: readonly Route[], version: string): object {
  const paths: Record<string, Record<string, ZodOpenApiOperationObject>> = {};
  for (const route of routes) {
    const operations = (paths[route.path] ??= {});
    operations[route.method] = describeRoute(route);
  }
  return createDocument({
    openapi: '3.1.1',
    info: {
      title: 'DeFarm Engines',
      version,
      description: 'A neutral traceability ledger for farm assets. Errors are problem documents; see /docs/errors.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
    paths: paths,
    components: {
      securitySchemes: {
        apiKey: { type: 'apiKey', in: 'header', name: 'X-API-Key' },
        bearer: { type: 'http', scheme: 'bearer' },
      },
    },
  });
}

const idempotencyHeader = { 'Idempotency-Key': 'Makes repeating the request safe for 24 hours' };

function describeRoute(route: Route): ZodOpenApiOperationObject {
  const names = [...route.path.matchAll(/\{(\w+)\}/g)].map((match) => match[1]!);
  const parameters = z.object(Object.fromEntries(names.map((name) => [name, z.string()])));
  const headers = z.object(
    Object.fromEntries(
      Object.entries({ ...(route.isIdempotent ? idempotencyHeader : {}), ...route.requestHeaders }).map(
        ([name, description]) => [name, z.string().optional().meta({ description })],
      ),
    ),
  );
  return {
    summary: route.summary,
    tags: [route.tag],
    operationId: `${route.method}_${route.path.replaceAll(/[^a-z0-9]+/gi, '_').replaceAll(/^_|_$/g, '')}`,
    ...(route.access === 'public'
      ? {}
      : { security: [{ apiKey: [] }, { bearer: [] }], description: `Needs the scope \`${route.access}\`.` }),
    requestParams: { path: parameters, header: headers, ...(route.query ? { query: route.query } : {}) },
    ...(route.body
      ? {
          requestBody: {
            required: true,
            content: { 'application/json': { schema: route.describedBody ?? route.body } },
          },
        }
      : {}),
    ...(route.rawBody
      ? {
          requestBody: {
            required: true,
            content: Object.fromEntries(
              route.rawBody.map((type) => [
                type,
                { schema: (type !== 'text/csv' && route.describedBody) || z.unknown() },
              ]),
            ),
          },
        }
      : {}),
    responses: describeResponses(route),
  };
}

function describeResponses(route: Route): ZodOpenApiOperationObject['responses'] {
  const responses: Record<string, object> = {};
  for (const [status, { description, schema, contentType }] of Object.entries(route.responses)) {
    const content = { [contentType ?? 'application/json']: { schema: schema ?? z.unknown() } };
    responses[status] = status === '204' ? { description } : { description, content };
  }
  const codes = new Set<ProblemCode>([...(route.problems ?? []), 'internal_error']);
  if (route.access !== 'public')
    for (const code of ['unauthenticated', 'insufficient_scope', 'unavailable'] as const) codes.add(code);
  if (route.query) codes.add('invalid_query');
  if (route.body)
    for (const code of ['empty_body', 'malformed_json', 'invalid_request', 'body_too_large', 'slow_body'] as const)
      codes.add(code);
  if (route.body || route.rawBody) codes.add('unsupported_media_type');
  if (route.isIdempotent)
    for (const code of ['invalid_header', 'idempotency_key_in_use', 'idempotency_key_reused'] as const) codes.add(code);
  if (route.path.includes('{')) codes.add('not_found');
  const byStatus = Map.groupBy(codes, (code) => problemDefinitions[code].status);
  for (const [status, grouped] of [...byStatus].toSorted(([a], [b]) => a - b)) {
    responses[status] = {
      description: grouped.join(', '),
      content: { 'application/problem+json': { schema: problemSchema } },
    };
  }
  return responses as ZodOpenApiOperationObject['responses'];
}
