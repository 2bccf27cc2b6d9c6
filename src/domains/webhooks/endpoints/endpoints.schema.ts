import { z } from 'zod';
import { eventTypePattern, ignoredMembers } from '#domains/items/index.ts';

const credential = z.string().min(1).max(4000);
export const listedMax = 100;
const headersMax = 50;

const authBody = z
  .discriminatedUnion('type', [
    z.strictObject({ type: z.literal('none') }),
    z.strictObject({ type: z.literal('bearer'), token: credential }),
    z.strictObject({ type: z.literal('api_key'), key: credential.meta({ description: 'Sent as X-API-Key' }) }),
    z.strictObject({
      type: z.literal('basic'),
      username: credential.regex(/^[^:]*$/, 'a user name has no colon (RFC 7617)'),
      password: z.string().max(4000),
    }),
    z.strictObject({ type: z.literal('custom_header'), name: z.string().max(100), value: credential }),
  ])
  .meta({ description: 'How requests authenticate themselves beside their signature; kept encrypted and never shown' });

const retryConfig = z.strictObject({
  max_retries: z.number().int().min(0).max(30).nullish().meta({
    description: 'Attempts after the first one; without it as many as the schedule of this installation has delays',
  }),
  retry_delay: z.number().int().min(1).max(86_400).nullish().meta({
    description: 'Seconds before the first of them, which double then; without it the schedule of this installation',
  }),
});

const filterValue = z.union([z.string().max(500), z.number(), z.boolean(), z.null()]);
const condition = z
  .strictObject({
    pointer: z
      .string()
      .regex(/^(?:\/(?:[^~/]|~[01])*){1,20}$/)
      .max(500)
      .meta({
        description:
          'Where in the body, by names (JSON Pointer, RFC 6901); in a list any of its elements counts, and a number is no index',
      }),
    operator: z.enum(['equals', 'not_equals', 'one_of', 'at_least', 'at_most', 'starts_with', 'exists']),
    value: z.union([filterValue, z.array(filterValue).min(1).max(100)]).meta({
      description:
        'A list for one_of, a number for at_least and at_most, text for starts_with, true or false for exists',
    }),
  })
  .refine(({ operator, value }) => isValueFor(operator, value), {
    path: ['value'],
    error: 'this operator takes another kind of value',
  });

function isValueFor(operator: string, value: unknown): boolean {
  if (operator === 'one_of') return Array.isArray(value);
  if (operator === 'at_least' || operator === 'at_most') return typeof value === 'number';
  if (operator === 'starts_with') return typeof value === 'string';
  if (operator === 'exists') return typeof value === 'boolean';
  return !Array.isArray(value);
}

export type MessageFilter = readonly z.output<typeof condition>[];

const endpointMembers = {
  name: z.string().min(1).max(200),
  url: z.string().max(2000).meta({ description: 'Public, and https; requests go there as POST' }),
  events: z.array(z.string().regex(eventTypePattern, 'a type is snake_case, such as item_created')).max(100).meta({
    description:
      'Types of events, as GET /api/webhooks/event-types lists them or records bring them; empty for all but those of webhooks themselves',
  }),
  headers: z
    .record(z.string().max(100), z.string().max(1000))
    .refine((headers) => Object.keys(headers).length <= headersMax, { error: `at most ${headersMax} headers` })
    .meta({
      description:
        'Sent with each request; what its name says is a credential is shown as [redacted], which stays when it is sent back',
    }),
  secret: z
    .string()
    .meta({ description: 'whsec_ and 24 to 64 bytes in base64 (Standard Webhooks); one is made without it' }),
  retry_config: retryConfig,
  auth: authBody,
  payload: z
    .enum(['full', 'thin'])
    .meta({ description: 'thin: ids only, so that nothing of an item leaves unless it is asked for' }),
  concurrency: z.number().int().min(1).max(64).meta({ description: 'Requests at a time at most; 4 without it' }),
  requests_per_minute: z
    .number()
    .int()
    .min(1)
    .max(60_000)
    .meta({ description: 'Requests begin no faster than this, evenly; without it as fast as they are answered' }),
  filter: z
    .array(condition)
    .max(20)
    .meta({ description: 'What the body of a full message must be like, all of it; empty for all messages' }),
  signing: z.enum(['v1', 'v1a']).meta({
    description:
      'v1: HMAC-SHA256 with the secret. v1a: Ed25519 as well, with a key of ours whose public half is shown (Standard Webhooks)',
  }),
};

/** Members that neither a new endpoint nor a change needs. */
const optionalMembers = {
  headers: endpointMembers.headers.nullish(),
  secret: endpointMembers.secret.nullish(),
  retry_config: endpointMembers.retry_config.nullish(),
  auth: endpointMembers.auth.nullish(),
  payload: endpointMembers.payload.nullish(),
  concurrency: endpointMembers.concurrency.nullish(),
  requests_per_minute: endpointMembers.requests_per_minute.nullish(),
  filter: endpointMembers.filter.nullish(),
  signing: endpointMembers.signing.nullish(),
  is_active: z.boolean().nullish(),
  created_by: ignoredMembers.created_by,
};

export const createEndpointBody = z
  .strictObject({
    name: endpointMembers.name,
    url: endpointMembers.url,
    events: endpointMembers.events,
    circuit_id: z.uuid().nullish(),
    ...optionalMembers,
    ordered: z.boolean().nullish().meta({
      description:
        'Whether events of one item come one after the other; those of others come beside them. It stays as it is.',
    }),
  })
  .meta({ id: 'CreateWebhookInput' });

export const updateEndpointBody = z
  .strictObject({
    name: endpointMembers.name.nullish(),
    url: endpointMembers.url.nullish(),
    events: endpointMembers.events.nullish(),
    ...optionalMembers,
  })
  .meta({ id: 'UpdateWebhookInput' });

export const endpointSchema = z
  .object({
    id: z.uuid(),
    circuit_id: z.uuid().nullable(),
    name: z.string(),
    url: z.string(),
    events: z.array(z.string()),
    headers: z.record(z.string(), z.string()),
    retry_config: z.object({ max_retries: z.number().int(), retry_delay: z.number().int().nullable() }),
    auth: z.object({ type: z.string() }),
    payload: z.enum(['full', 'thin']),
    concurrency: z.number().int(),
    requests_per_minute: z.number().int().nullable(),
    filter: z.array(condition),
    signing: z.enum(['v1', 'v1a']),
    public_key: z
      .string()
      .nullable()
      .meta({ description: 'whpk_ and 32 bytes in base64: what signatures v1a are checked with' }),
    ordered: z.boolean(),
    is_active: z.boolean(),
    disabled_reason: z.string().nullable().meta({ description: 'Why it was switched off by itself' }),
    secret: z.string().optional().meta({ description: 'Only in the answers that make it' }),
    created_by: z.uuid(),
    created_at: z.iso.datetime(),
    updated_at: z.iso.datetime(),
  })
  .meta({ id: 'Webhook' });

export const endpointListQuery = z.object({
  circuit_id: z.uuid().optional(),
  is_active: z.enum(['true', 'false']).optional(),
  limit: z.coerce.number().int().min(1).max(1000).default(1000),
  after: z.uuid().optional().meta({ description: 'The id of the last one of the page before' }),
});

export const rotateSecretBody = z
  .strictObject({ secret: endpointMembers.secret.nullish() })
  .nullish()
  .meta({ id: 'RotateWebhookSecret' });

export const deliverySchema = z
  .object({
    id: z.uuid(),
    webhook_id: z.uuid(),
    event_id: z.uuid().meta({ description: 'The webhook-id of all attempts' }),
    event_type: z.string(),
    attempt_number: z.number().int(),
    status: z.enum(['queued', 'delivered', 'failed']),
    request_body: z.unknown(),
    request_headers: z.unknown(),
    response_status_code: z.number().int().nullable(),
    response_headers: z.unknown(),
    response_body: z.string().nullable().meta({ description: 'Its first 16 KiB' }),
    error_message: z.string().nullable(),
    next_retry_at: z.iso.datetime().nullable(),
    created_at: z.iso.datetime(),
    delivered_at: z.iso.datetime().nullable(),
  })
  .meta({ id: 'WebhookDelivery' });

export const deliveryListQuery = z.object({
  limit: z.coerce
    .number()
    .int()
    .min(1)
    .default(50)
    .meta({ description: `Deliveries on a page; no more than ${listedMax} come` }),
  status: z.enum(['queued', 'delivered', 'failed']).optional(),
  before: z.uuid().optional().meta({ description: 'The id of the last delivery of the page before' }),
});

export const attemptSchema = z.object({
  attempt_number: z.number().int(),
  started_at: z.iso.datetime(),
  took_ms: z.number().int(),
  request_headers: z.unknown().meta({ description: 'Secrets are not shown' }),
  response_status_code: z.number().int().nullable(),
  response_headers: z.unknown(),
  response_body: z.string().nullable(),
  error_message: z.string().nullable(),
});

export const statisticsSchema = z
  .object({
    webhook_id: z.uuid(),
    total_deliveries: z.number().int(),
    successful_deliveries: z.number().int(),
    failed_deliveries: z.number().int(),
    queued_deliveries: z.number().int(),
    average_response_time_ms: z
      .number()
      .int()
      .nullable()
      .meta({ description: 'Of the attempts of the last 1,000 deliveries' }),
    last_delivery_at: z.iso.datetime().nullable(),
    last_success_at: z.iso.datetime().nullable(),
    last_failure_at: z.iso.datetime().nullable(),
    failures_in_a_row: z.number().int(),
    paused_until: z.iso
      .datetime()
      .nullable()
      .meta({ description: 'Nothing is sent before, since it failed too often' }),
    updated_at: z.iso.datetime(),
  })
  .meta({ id: 'WebhookStats' });

const messageSchemaMembers = {
  schema: z.record(z.string(), z.unknown()).meta({ description: 'JSON Schema of the body with a full payload' }),
  thin_schema: z.record(z.string(), z.unknown()).meta({ description: 'The same of a thin one' }),
};

export const eventTypesSchema = z.object({
  event_types: z.array(z.object({ name: z.string(), description: z.string(), ...messageSchemaMembers })),
  count: z.number().int(),
  others: z.object(messageSchemaMembers).meta({
    description: 'Of messages of all other types: events that records brought, by the type that these gave them',
  }),
});

export const retriedSchema = z.object({ queued: z.number().int() });
export const replayBody = z.strictObject({ event_id: z.uuid() }).meta({ id: 'ReplayWebhookEvent' });
export const replayedSchema = z.object({ delivery_id: z.uuid(), queued: z.number().int() });

export const recoverBody = z
  .strictObject({
    since: z.iso.datetime({ offset: true }),
    until: z.iso.datetime({ offset: true }).nullish().meta({ description: 'Now, without it' }),
  })
  .meta({ id: 'RecoverWebhook' });
export const recoveredSchema = z.object({
  queued: z.number().int(),
  is_complete: z.boolean().meta({ description: 'Whether that was all; if not, ask again' }),
});

export const requestsQuery = z.object({
  after: z.coerce.number().int().min(0).max(Number.MAX_SAFE_INTEGER).optional().meta({
    description: 'The position behind which to begin; without it there are no requests, only the newest position',
  }),
  limit: z.coerce.number().int().min(1).max(100).default(100),
});
export const requestsSchema = z.object({
  requests: z.array(
    z.object({
      id: z.uuid().meta({ description: 'The webhook-id' }),
      position: z.number().int(),
      headers: z.record(z.string(), z.string()),
      body: z.string().meta({ description: 'Byte for byte what is signed' }),
    }),
  ),
  newest_position: z.number().int(),
});

export const testedSchema = z.object({ delivery_id: z.uuid(), event_id: z.uuid() });
