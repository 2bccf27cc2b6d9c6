import type pg from 'pg';
import type { z } from 'zod';
import { findMessage, insertMessages, makeMessage, type NewMessage } from '#domains/events/index.ts';
import { withTransaction, type Database } from '#platform/database.ts';
import { invalidRequestAt, Problem } from '#platform/errors.ts';
import { isUuid, makeId } from '#platform/ids.ts';
import { keepIdempotencyKey, type IdempotencyClaim } from '#platform/idempotency.store.ts';
import type { KeyEncryption, SealedBytes } from '#platform/key-encryption.ts';
import type { Principal } from '#platform/route.ts';
import {
  countDeliveries,
  findUntoldMessages,
  listAttempts,
  listDeliveries,
  recoverDeliveries,
  replayMessage,
  requeueDeliveries,
  type ShownDeliveryRow,
} from '../deliveries/deliveries.store.ts';
import { messageOf } from '../deliveries/fan-out.ts';
import { holdEndpoints } from '../deliveries/queue.store.ts';
import { findEventToTell } from '../deliveries/fan-out.store.ts';
import { testMessageType } from '../message-types.ts';
import type { AddressJudge } from '../sending/address-policy.ts';
import {
  makePrivateKey,
  makeSecret,
  publicKeyOf,
  readSecret,
  showPublicKey,
  showSecret,
} from '../sending/signature.ts';
import { authHeader, type EndpointAuth } from '../sending/endpoint-auth.ts';
import { isCredentialHeader, redacted } from '../sending/redaction.ts';
import { faultOfHeaderName, isHeaderValue, makeHeaderMaker } from '../sending/webhook-headers.ts';
import {
  listedMax,
  type createEndpointBody,
  type deliveryListQuery,
  type updateEndpointBody,
} from './endpoints.schema.ts';
import {
  deleteDeliveries,
  deleteEndpoint,
  findEndpoint,
  findFirstSecret,
  findSigningEndpoint,
  findWantedMessages,
  insertEndpoint,
  listEndpoints,
  updateEndpoint,
  type EndpointChange,
  type EndpointRow,
  type NewEndpoint,
} from './endpoints.store.ts';

export type EndpointsService = ReturnType<typeof makeEndpointsService>;

interface EndpointsOptions {
  database: Database;
  judge: AddressJudge;
  /** Seals secrets; without it there are no endpoints. */
  keys: KeyEncryption | undefined;
  /** Of the product, for `User-Agent`. */
  version: string;
  /** Seconds between the attempts of a delivery, which is tried again as often when its endpoint says nothing else. */
  retrySchedule: readonly number[];
}

const overlapHours = 24;
const retriedAtOnce = 1000;
const recoveredAtOnce = 10_000;
const defaultConcurrency = 4;
/** Of the bodies of `requests`; one is given however long it is. */
const requestsBytesMax = 4 * 1024 * 1024;

/** Endpoints of workspaces: where they are told of events, and what became of that. */
export function makeEndpointsService({ database: { pool }, judge, keys, version, retrySchedule }: EndpointsOptions) {
  const find = async (workspaceId: string, id: string): Promise<EndpointRow> => {
    const row = isUuid(id) ? await findEndpoint(pool, workspaceId, id) : undefined;
    if (!row) throw new Problem('not_found', 'there is no webhook with this id in your workspace');
    return row;
  };

  const seal = (bytes: Buffer): SealedBytes => {
    if (keys) return keys.seal(bytes);
    throw new Problem('webhooks_unavailable', 'this installation has no ENCRYPTION_KEY, so it can keep no secrets');
  };

  const sealSecret = (secret: string): SealedBytes => {
    const bytes = readSecret(secret);
    if (!bytes)
      throw new Problem('invalid_webhook_secret', 'a secret is whsec_ and 24 to 64 bytes in base64', {
        errors: [{ pointer: '/secret', code: 'invalid_webhook_secret', detail: 'whsec_ and 24 to 64 bytes in base64' }],
      });
    return seal(bytes);
  };

  /** Another one than it has, or the one before would not sign beside it any more. */
  const sealOtherSecret = async (workspaceId: string, endpointId: string, secret: string): Promise<SealedBytes> => {
    const sealed = sealSecret(secret);
    const known = await findSigningEndpoint(pool, workspaceId, endpointId);
    const current = known && keys?.open({ bytes: known.secret_sealed, keyId: known.secret_key_id });
    if (current && showSecret(current) === secret) throw invalidRequestAt('/secret', 'this is its secret already');
    return sealed;
  };

  const sealAuth = (auth: EndpointAuth): SealedBytes | null => {
    const header = authHeader(auth);
    if (auth.type === 'custom_header') requireHeaderName(auth.name.toLowerCase(), '/auth/name');
    if (header && !isHeaderValue(header[1]))
      throw invalidRequestAt('/auth', 'credentials are printable characters of ASCII');
    return auth.type === 'none' ? null : seal(Buffer.from(JSON.stringify(lowerCased(auth))));
  };

  const makeKey = () => {
    const bytes = makePrivateKey();
    return { publicKey: publicKeyOf(bytes), privateKey: seal(bytes) };
  };

  const requireUrl = (url: string): string => {
    const fault = judge.faultOfUrl(url);
    if (fault !== undefined) throw invalidRequestAt('/url', fault);
    return new URL(url).href;
  };

  const delivery = async (workspaceId: string, id: string, deliveryId: string): Promise<ShownDeliveryRow> => {
    const { endpoint_id: endpointId } = await find(workspaceId, id);
    const page = { before: undefined, state: undefined, limit: 1, deliveryId };
    const [row] = isUuid(deliveryId) ? await listDeliveries(pool, endpointId, page) : [];
    if (!row) throw new Problem('not_found', 'this webhook has no delivery with this id');
    return row;
  };

  const holding = <Result>(endpointId: string, work: (client: pg.PoolClient) => Promise<Result>): Promise<Result> =>
    withTransaction(pool, async (client) => {
      await holdEndpoints(client, [endpointId]);
      return work(client);
    });

  const change = (workspaceId: string, endpointId: string, changed: EndpointChange): Promise<void> =>
    holding(endpointId, (client) => updateEndpoint(client, workspaceId, endpointId, changed, overlapHours));

  /** Tells one endpoint, whatever it wants to be told; gives the id of the delivery. */
  const tell = (endpointId: string, message: NewMessage): Promise<string> =>
    withTransaction(pool, async (client) => {
      // Before the endpoint is held: who makes messages for all holds it after them.
      await insertMessages(client, [message], false);
      await holdEndpoints(client, [endpointId]);
      return replayMessage(client, endpointId, message.messageId);
    });

  /** What was told of already, or an event that was not. @throws Problem not_found */
  const findMessageToTell = async (workspaceId: string, eventId: string): Promise<NewMessage> => {
    const told = await findMessage(pool, workspaceId, eventId);
    if (told) return told;
    const event = await findEventToTell(pool, workspaceId, eventId);
    if (!event) throw new Problem('not_found', 'there is no event with this id in your workspace');
    return messageOf(event);
  };

  return {
    /** @returns the endpoint with its secret, which is never shown again but to the same request. */
    async create(
      principal: Principal,
      body: z.output<typeof createEndpointBody>,
      idempotency: IdempotencyClaim | undefined,
    ) {
      const secret = body.secret ?? makeSecret();
      const endpointId = makeId();
      const key = body.signing === 'v1a' ? makeKey() : null;
      const auth = body.auth ?? { type: 'none' };
      const row: NewEndpoint = {
        endpoint_id: endpointId,
        workspaceId: principal.workspaceId,
        circuit_id: body.circuit_id ?? null,
        name: body.name,
        url: requireUrl(body.url),
        event_types: [...new Set(body.events)],
        headers: readHeaders(body.headers ?? {}, {}),
        auth_type: auth.type,
        auth: sealAuth(auth),
        secret: sealSecret(secret),
        payload: body.payload ?? 'full',
        concurrency: body.concurrency ?? defaultConcurrency,
        requests_per_minute: body.requests_per_minute ?? null,
        filter: body.filter ?? [],
        public_key: key?.publicKey ?? null,
        privateKey: key?.privateKey ?? null,
        is_ordered: body.ordered ?? false,
        is_active: body.is_active ?? true,
        max_retries: body.retry_config?.max_retries ?? retrySchedule.length,
        retry_delay_seconds: body.retry_config?.retry_delay ?? null,
        created_by: isUuid(principal.credentialId) ? principal.credentialId : principal.workspaceId,
      };
      await withTransaction(pool, async (client) => {
        await insertEndpoint(client, row);
        await keepIdempotencyKey(client, idempotency, { receiptId: endpointId });
      });
      return { ...showEndpoint(await find(principal.workspaceId, endpointId)), secret };
    },

    /** What `create` answered, as the endpoint is now: with its secret unless another one took its place. @throws Problem not_found */
    async recall(workspaceId: string, id: string) {
      const endpoint = showEndpoint(await find(workspaceId, id));
      const sealed = await findFirstSecret(pool, workspaceId, id);
      const secret = sealed && keys?.open(sealed);
      return secret ? { ...endpoint, secret: showSecret(secret) } : endpoint;
    },

    list: async (workspaceId: string, filter: Parameters<typeof listEndpoints>[2]) =>
      (await listEndpoints(pool, workspaceId, filter)).map(showEndpoint),

    get: async (workspaceId: string, id: string) => showEndpoint(await find(workspaceId, id)),

    /** A secret that is given takes the place of the one before, as `rotate` does. @throws Problem not_found */
    async update(workspaceId: string, id: string, body: z.output<typeof updateEndpointBody>) {
      const { endpoint_id: endpointId, public_key: publicKey, ...known } = await find(workspaceId, id);
      requireCredentialsAgain(known, body);
      await change(workspaceId, endpointId, {
        name: body.name ?? undefined,
        url: body.url == null ? undefined : requireUrl(body.url),
        eventTypes: body.events == null ? undefined : [...new Set(body.events)],
        headers: body.headers == null ? undefined : readHeaders(body.headers, known.headers),
        auth: body.auth ? { type: body.auth.type, sealed: sealAuth(body.auth) } : undefined,
        payload: body.payload ?? undefined,
        concurrency: body.concurrency ?? undefined,
        requestsPerMinute: body.requests_per_minute,
        filter: body.filter ?? undefined,
        // A key that signs already stays.
        key:
          body.signing === 'v1a' && publicKey === null
            ? makeKey()
            : body.signing === 'v1' && publicKey !== null
              ? null
              : undefined,
        maxRetries: body.retry_config?.max_retries ?? undefined,
        retryDelaySeconds: body.retry_config?.retry_delay,
        isActive: body.is_active ?? undefined,
        secret: body.secret == null ? undefined : await sealOtherSecret(workspaceId, endpointId, body.secret),
      });
      return showEndpoint(await find(workspaceId, endpointId));
    },

    /** @throws Problem not_found */
    async remove(workspaceId: string, id: string): Promise<void> {
      const { endpoint_id: endpointId } = await find(workspaceId, id);
      await holding(endpointId, (client) => deleteEndpoint(client, endpointId));
      await deleteDeliveries(pool, endpointId);
    },

    /** Gives an endpoint another secret, and another key if it has one; those before sign beside them for a day. @throws Problem not_found */
    async rotate(workspaceId: string, id: string, given: string | undefined) {
      const { endpoint_id: endpointId, public_key: publicKey } = await find(workspaceId, id);
      const secret = given ?? makeSecret();
      await change(workspaceId, endpointId, {
        secret: await sealOtherSecret(workspaceId, endpointId, secret),
        ...(publicKey ? { key: makeKey() } : {}),
      });
      return { ...showEndpoint(await find(workspaceId, endpointId)), secret };
    },

    /** @throws Problem not_found */
    async switch(workspaceId: string, id: string, isActive: boolean) {
      const { endpoint_id: endpointId } = await find(workspaceId, id);
      await change(workspaceId, endpointId, { isActive });
      return showEndpoint(await find(workspaceId, endpointId));
    },

    /** Sends a message of its own type to one endpoint, in the way of all others. @throws Problem not_found */
    async test(workspaceId: string, id: string) {
      const { endpoint_id: endpointId, is_active: isActive } = await find(workspaceId, id);
      if (!isActive)
        throw new Problem('webhook_disabled', 'this webhook is switched off; POST …/enable switches it on');
      const messageId = makeId();
      const data = { id: messageId, webhook_id: endpointId };
      const about = { messageId, workspaceId, messageType: testMessageType.name, itemNumber: null, at: new Date() };
      const message = makeMessage({ ...about, data, thinData: data });
      return { delivery_id: await tell(endpointId, message), event_id: messageId };
    },

    /** @throws Problem not_found */
    async deliveries(workspaceId: string, id: string, query: z.output<typeof deliveryListQuery>) {
      const { endpoint_id: endpointId } = await find(workspaceId, id);
      const { before, status: state } = query;
      const limit = Math.min(query.limit, listedMax);
      const page = { before, state, limit: limit + 1, deliveryId: undefined };
      const found = await listDeliveries(pool, endpointId, page);
      return { deliveries: found.slice(0, limit).map(showDelivery), hasMore: found.length > limit };
    },

    /** All attempts of a delivery. @throws Problem not_found */
    async attempts(workspaceId: string, id: string, deliveryId: string) {
      const { delivery_id: found } = await delivery(workspaceId, id, deliveryId);
      return (await listAttempts(pool, found)).map((row) => ({
        attempt_number: row.attempt,
        started_at: row.started_at.toISOString(),
        took_ms: row.took_ms,
        request_headers: row.request_headers,
        response_status_code: row.status,
        response_headers: row.response_headers,
        response_body: row.response_body,
        error_message: row.error,
      }));
    },

    /** Sends a delivery once more, with the same bytes. @throws Problem not_found */
    async retryOne(workspaceId: string, id: string, deliveryId: string) {
      const { delivery_id: found, endpoint_id: endpointId } = await delivery(workspaceId, id, deliveryId);
      return {
        queued: await holding(endpointId, (client) => requeueDeliveries(client, endpointId, { deliveryId: found })),
      };
    },

    /** Sends what failed for good once more, the newest 1,000. @throws Problem not_found */
    async retryFailed(workspaceId: string, id: string) {
      const { endpoint_id: endpointId } = await find(workspaceId, id);
      const failedLimit = retriedAtOnce;
      return { queued: await holding(endpointId, (client) => requeueDeliveries(client, endpointId, { failedLimit })) };
    },

    /** Tells an endpoint of an event once more, or for the first time. @throws Problem not_found */
    async replay(workspaceId: string, id: string, eventId: string) {
      const { endpoint_id: endpointId } = await find(workspaceId, id);
      const message = await findMessageToTell(workspaceId, eventId);
      return { delivery_id: await tell(endpointId, message), queued: 1 };
    },

    /**
     * Sends once more what of a time failed for good, and what an endpoint was not told of then.
     * @throws Problem not_found, invalid_request
     */
    async recover(
      workspaceId: string,
      id: string,
      { since, until }: { since: string; until?: string | null | undefined },
    ) {
      const { endpoint_id: endpointId } = await find(workspaceId, id);
      const range = { since: new Date(since), until: until == null ? new Date() : new Date(until) };
      if (range.since > range.until) throw invalidRequestAt('/until', 'until is not before since');
      const found = { ...range, limit: recoveredAtOnce };
      // Before the endpoint is held: looking into many messages may take its time.
      const untold = await findUntoldMessages(pool, endpointId, found);
      const { requeued, made } = await holding(endpointId, (client) =>
        recoverDeliveries(client, endpointId, { ...found, untold }),
      );
      return { queued: requeued + made, is_complete: requeued < recoveredAtOnce && untold.length < recoveredAtOnce };
    },

    /**
     * Requests as an endpoint is sent them, signed now, for who forwards them to a program in the making; but without what
     * authenticates us, which nobody is shown.
     * @throws Problem not_found
     */
    async requests(workspaceId: string, id: string, page: { after: number | undefined; limit: number }) {
      const { endpoint_id: endpointId } = await find(workspaceId, id);
      const endpoint = await findSigningEndpoint(pool, workspaceId, endpointId);
      const shown = endpoint && {
        ...endpoint,
        headers: Object.fromEntries(Object.entries(endpoint.headers).filter(([name]) => !isCredentialHeader(name))),
        auth_type: 'none' as const,
        auth_sealed: null,
        auth_key_id: null,
      };
      const maker = shown && makeHeaderMaker(shown, { version, keys });
      if (!maker) throw new Problem('webhooks_unavailable', 'the secret of this webhook cannot be opened');
      const { messages, newest } = await findWantedMessages(pool, endpointId, { ...page, bytesMax: requestsBytesMax });
      const seconds = Math.floor(Date.now() / 1000);
      return {
        requests: messages.map(({ message_id: messageId, position, body }) => ({
          id: messageId,
          position,
          headers: maker.make({ id: messageId, body, seconds, followsGap: false }).headers,
          body,
        })),
        newest_position: newest,
      };
    },

    /** @throws Problem not_found */
    async statistics(workspaceId: string, id: string) {
      const { endpoint_id: endpointId } = await find(workspaceId, id);
      const counts = await countDeliveries(pool, endpointId);
      const [success, failure] = [counts.last_success_at, counts.last_failure_at];
      return {
        webhook_id: endpointId,
        total_deliveries: counts.total,
        successful_deliveries: counts.delivered,
        failed_deliveries: counts.failed,
        queued_deliveries: counts.queued,
        average_response_time_ms: counts.average_ms,
        last_delivery_at:
          (success && failure ? (success > failure ? success : failure) : (success ?? failure))?.toISOString() ?? null,
        last_success_at: success?.toISOString() ?? null,
        last_failure_at: failure?.toISOString() ?? null,
        failures_in_a_row: counts.failures,
        paused_until: counts.open_until?.toISOString() ?? null,
        updated_at: new Date().toISOString(),
      };
    },
  };
}

/** Who may change a webhook must not have its credentials sent elsewhere. @throws Problem invalid_request */
function requireCredentialsAgain(
  known: Pick<EndpointRow, 'url' | 'auth_type' | 'headers'>,
  { url, auth, headers }: z.output<typeof updateEndpointBody>,
): void {
  if (url == null || !URL.canParse(url) || new URL(url).origin === new URL(known.url).origin) return;
  const fault = 'with another host its credentials are to be given again';
  if (!auth && known.auth_type !== 'none') throw invalidRequestAt('/auth', fault);
  const keepsCredential = Object.entries(headers ?? shownHeaders(known.headers)).some(
    ([name, value]) => value === redacted && isCredentialHeader(name.toLowerCase()),
  );
  if (keepsCredential) throw invalidRequestAt('/headers', fault);
}

/**
 * The headers that an endpoint is to have.
 * @param known what it has: a credential that is sent back as it is shown stays.
 * @throws Problem invalid_request for those that an endpoint cannot set.
 */
function readHeaders(
  headers: Readonly<Record<string, string>>,
  known: Readonly<Record<string, string>>,
): Record<string, string> {
  const names = new Set<string>();
  return Object.fromEntries(
    Object.entries(headers).map(([given, value]) => {
      const name = given.toLowerCase();
      const pointer = `/headers/${given.replaceAll('~', '~0').replaceAll('/', '~1')}`;
      requireHeaderName(name, pointer);
      if (names.has(name)) throw invalidRequestAt(pointer, 'this header is there twice');
      names.add(name);
      if (!isHeaderValue(value)) throw invalidRequestAt(pointer, 'a header holds printable characters of ASCII');
      if (value !== redacted || !isCredentialHeader(name)) return [name, value];
      if (known[name] === undefined) throw invalidRequestAt(pointer, 'there is no credential that could stay');
      return [name, known[name]];
    }),
  );
}

function requireHeaderName(name: string, pointer: string): void {
  const fault = faultOfHeaderName(name);
  if (fault !== undefined) throw invalidRequestAt(pointer, fault);
}

function lowerCased(auth: EndpointAuth): EndpointAuth {
  return auth.type === 'custom_header' ? { ...auth, name: auth.name.toLowerCase() } : auth;
}

function shownHeaders(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name, isCredentialHeader(name) ? redacted : value]),
  );
}

function showEndpoint(row: EndpointRow) {
  return {
    id: row.endpoint_id,
    circuit_id: row.circuit_id,
    name: row.name,
    url: row.url,
    events: row.event_types,
    headers: shownHeaders(row.headers),
    retry_config: { max_retries: row.max_retries, retry_delay: row.retry_delay_seconds },
    auth: { type: row.auth_type },
    payload: row.payload,
    concurrency: row.concurrency,
    requests_per_minute: row.requests_per_minute,
    filter: row.filter ?? [],
    signing: row.public_key ? ('v1a' as const) : ('v1' as const),
    public_key: row.public_key && showPublicKey(row.public_key),
    ordered: row.is_ordered,
    is_active: row.is_active,
    disabled_reason: row.disabled_reason,
    created_by: row.created_by,
    created_at: row.created_at.toISOString(),
    updated_at: row.updated_at.toISOString(),
  };
}

function showDelivery(row: ShownDeliveryRow) {
  return {
    id: row.delivery_id,
    webhook_id: row.endpoint_id,
    event_id: row.message_id,
    event_type: row.message_type,
    attempt_number: row.attempts,
    status: row.state,
    // Cut, it is no JSON any more.
    request_body: row.body === null || row.is_cut ? row.body : (JSON.parse(row.body) as unknown),
    request_headers: row.request_headers,
    response_status_code: row.last_status,
    response_headers: row.response_headers,
    response_body: row.response_body,
    error_message: row.last_error,
    next_retry_at: row.next_attempt_at?.toISOString() ?? null,
    created_at: row.created_at.toISOString(),
    delivered_at: row.delivered_at?.toISOString() ?? null,
  };
}
