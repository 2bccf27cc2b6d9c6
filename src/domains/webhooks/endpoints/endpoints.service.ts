import type { z } from 'zod';
import { withTransaction, type Database, type Queryable } from '#platform/database.ts';
import { invalidRequestAt, Problem } from '#platform/errors.ts';
import { isUuid, makeId } from '#platform/ids.ts';
import { keepIdempotencyKey, type IdempotencyClaim, type KeptAnswer } from '#platform/idempotency.store.ts';
import type { KeyEncryption, SealedBytes } from '#platform/key-encryption.ts';
import type { Principal } from '#platform/route.ts';
import type { AddressJudge } from '../sending/address-policy.ts';
import { authHeader, type EndpointAuth } from '../sending/endpoint-auth.ts';
import { isCredentialHeader, redacted } from '../sending/redaction.ts';
import {
  makePrivateKey,
  makeSecret,
  publicKeyOf,
  readSecret,
  showPublicKey,
  showSecret,
} from '../sending/signature.ts';
import { isHeaderValue, openHeaderCredentials, type SigningEndpoint } from '../sending/webhook-headers.ts';
import { readHeaders, requireHeaderName, sealHeaders, shownHeaders } from './endpoint-headers.ts';
import type { createEndpointBody, updateEndpointBody } from './endpoints.schema.ts';
import {
  deleteDeliveries,
  deleteEndpoint,
  findSigningEndpoint,
  insertEndpoint,
  listEndpoints,
  updateEndpoint,
  type EndpointChange,
  type EndpointRow,
  type NewEndpoint,
  type SealedHeaders,
} from './endpoints.store.ts';
import { readEndpoint, withHeldEndpoint } from './read-endpoint.ts';

export type EndpointsService = ReturnType<typeof makeEndpointsService>;

interface EndpointsOptions {
  database: Database;
  judge: AddressJudge;
  /** Seals secrets; without it there are no endpoints. */
  keys: KeyEncryption | undefined;
  /** Seconds between the attempts of a delivery, which is tried again as often when its endpoint says nothing else. */
  retrySchedule: readonly number[];
}

/** An endpoint that nobody else changes meanwhile. */
interface HeldEndpoint {
  readonly client: Queryable;
  readonly row: EndpointRow;
  readonly signing: SigningEndpoint;
  /** @returns the endpoint as it is then. */
  change(changed: EndpointChange): Promise<ReturnType<typeof showEndpoint>>;
}

/** The body of an answer that shows a secret, as it is kept. */
interface SealedBody {
  readonly key_id: string;
  /** Base64. */
  readonly sealed: string;
}

const overlapHours = 24;
const defaultConcurrency = 4;

/** Endpoints of workspaces: where they are told of events. */
export function makeEndpointsService({ database: { pool }, judge, keys, retrySchedule }: EndpointsOptions) {
  const find = (workspaceId: string, id: string) => readEndpoint(pool, workspaceId, id);

  const seal = (bytes: Buffer): SealedBytes => {
    if (keys) return keys.seal(bytes);
    throw new Problem('webhooks_unavailable', 'this installation has no ENCRYPTION_KEY, so it can keep no secrets');
  };

  /** Keeps an answer that shows a secret beside the key of its request: its body sealed, for `openKeptBody`. */
  const keepSecretAnswer = (client: Queryable, idempotency: IdempotencyClaim | undefined, answer: KeptAnswer) => {
    const { keyId, bytes } = seal(Buffer.from(JSON.stringify(answer.body)));
    const body: SealedBody = { key_id: keyId, sealed: bytes.toString('base64') };
    return keepIdempotencyKey(client, idempotency, { answer: { ...answer, body } });
  };

  const sealSecret = (secret: string): SealedBytes => {
    const bytes = readSecret(secret);
    if (!bytes)
      throw new Problem('invalid_webhook_secret', 'a secret is whsec_ and 24 to 64 bytes in base64', {
        errors: [{ pointer: '/secret', code: 'invalid_webhook_secret', detail: 'whsec_ and 24 to 64 bytes in base64' }],
      });
    return seal(bytes);
  };

  /** Or the one before would not sign beside it any more. @throws Problem invalid_request */
  const requireOtherSecret = (known: SigningEndpoint, secret: string): void => {
    const current = keys?.open({ bytes: known.secret_sealed, keyId: known.secret_key_id });
    if (current && showSecret(current) === secret) throw invalidRequestAt('/secret', 'this is its secret already');
  };

  const sealAuth = (auth: EndpointAuth): SealedBytes | null => {
    const header = authHeader(auth);
    if (auth.type === 'custom_header') requireHeaderName(auth.name.toLowerCase(), '/auth/name');
    if (header && !isHeaderValue(header[1]))
      throw invalidRequestAt('/auth', 'credentials are printable characters of ASCII');
    return auth.type === 'none' ? null : seal(Buffer.from(JSON.stringify(lowerCased(auth))));
  };

  /** Credentials that are sent back as they are shown stay. */
  const sealOtherHeaders = (known: SigningEndpoint, headers: Readonly<Record<string, string>>): SealedHeaders =>
    sealHeaders(readHeaders(headers, openHeaderCredentials(known, keys) ?? {}), seal);

  const makeKey = () => {
    const bytes = makePrivateKey();
    return { publicKey: publicKeyOf(bytes), privateKey: seal(bytes) };
  };

  /** A key that signs already stays. */
  const otherKey = ({ public_key: publicKey }: EndpointRow, signing: 'v1' | 'v1a' | null | undefined) => {
    if (signing === 'v1a' && publicKey === null) return makeKey();
    return signing === 'v1' && publicKey !== null ? null : undefined;
  };

  const requireUrl = (url: string): string => {
    const fault = judge.faultOfUrl(url);
    if (fault !== undefined) throw invalidRequestAt('/url', fault);
    return new URL(url).href;
  };

  /** Does what depends on how an endpoint is, while nobody else changes it. @throws Problem not_found */
  const hold = async <Result>(
    workspaceId: string,
    id: string,
    work: (held: HeldEndpoint) => Promise<Result>,
  ): Promise<Result> => {
    const { endpoint_id: endpointId } = await find(workspaceId, id);
    return withHeldEndpoint(pool, endpointId, async (client) => {
      const row = await readEndpoint(client, workspaceId, endpointId);
      const signing = (await findSigningEndpoint(client, workspaceId, endpointId))!;
      const change = async (changed: EndpointChange) => {
        await updateEndpoint(client, workspaceId, endpointId, changed, overlapHours);
        return showEndpoint(await readEndpoint(client, workspaceId, endpointId));
      };
      return work({ client, row, signing, change });
    });
  };

  return {
    /** Answers the endpoint with its secret, which is never shown again but to the same request. */
    async create(
      principal: Principal,
      body: z.output<typeof createEndpointBody>,
      idempotency: IdempotencyClaim | undefined,
    ): Promise<KeptAnswer> {
      const secret = body.secret ?? makeSecret();
      const endpointId = makeId();
      const key = body.signing === 'v1a' ? makeKey() : null;
      const auth = body.auth ?? { type: 'none' };
      const headers = sealHeaders(readHeaders(body.headers ?? {}, {}), seal);
      const row: NewEndpoint = {
        endpoint_id: endpointId,
        workspaceId: principal.workspaceId,
        circuit_id: body.circuit_id ?? null,
        name: body.name,
        url: requireUrl(body.url),
        event_types: [...new Set(body.events)],
        headers: headers.shown,
        headerCredentials: headers.credentials,
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
      return withTransaction(pool, async (client) => {
        await insertEndpoint(client, row);
        const created = await readEndpoint(client, principal.workspaceId, endpointId);
        const answer = {
          status: 201,
          headers: { location: `/api/webhooks/${endpointId}` },
          body: { ...showEndpoint(created), secret },
        };
        await keepSecretAnswer(client, idempotency, answer);
        return answer;
      });
    },

    /** The body of an answer that was kept sealed. @throws Problem webhooks_unavailable */
    openKeptBody(body: unknown): unknown {
      const { key_id: keyId, sealed } = body as SealedBody;
      const opened = keys?.open({ keyId, bytes: Buffer.from(sealed, 'base64') });
      if (opened) return JSON.parse(opened.toString('utf8'));
      throw new Problem('webhooks_unavailable', 'the first answer was sealed with a key that is not here any more');
    },

    list: async (workspaceId: string, filter: Parameters<typeof listEndpoints>[2]) =>
      (await listEndpoints(pool, workspaceId, filter)).map(showEndpoint),

    get: async (workspaceId: string, id: string) => showEndpoint(await find(workspaceId, id)),

    /** A secret that is given takes the place of the one before, as `rotate` does. @throws Problem not_found */
    update: (workspaceId: string, id: string, body: z.output<typeof updateEndpointBody>) =>
      hold(workspaceId, id, async ({ row, signing, change }) => {
        requireCredentialsAgain(row, body);
        if (body.secret != null) requireOtherSecret(signing, body.secret);
        return change({
          name: body.name ?? undefined,
          url: body.url == null ? undefined : requireUrl(body.url),
          eventTypes: body.events == null ? undefined : [...new Set(body.events)],
          headers: body.headers == null ? undefined : sealOtherHeaders(signing, body.headers),
          auth: body.auth ? { type: body.auth.type, sealed: sealAuth(body.auth) } : undefined,
          payload: body.payload ?? undefined,
          concurrency: body.concurrency ?? undefined,
          requestsPerMinute: body.requests_per_minute,
          filter: body.filter ?? undefined,
          key: otherKey(row, body.signing),
          maxRetries: body.retry_config?.max_retries ?? undefined,
          retryDelaySeconds: body.retry_config?.retry_delay,
          isActive: body.is_active ?? undefined,
          secret: body.secret == null ? undefined : sealSecret(body.secret),
        });
      }),

    /** @throws Problem not_found */
    async remove(workspaceId: string, id: string): Promise<void> {
      const { endpoint_id: endpointId } = await find(workspaceId, id);
      await withHeldEndpoint(pool, endpointId, (client) => deleteEndpoint(client, endpointId));
      await deleteDeliveries(pool, endpointId);
    },

    /** Gives an endpoint another secret, and another key if it has one; those before sign beside them for a day. @throws Problem not_found */
    async rotate(
      workspaceId: string,
      id: string,
      given: string | undefined,
      idempotency: IdempotencyClaim | undefined,
    ): Promise<KeptAnswer> {
      const secret = given ?? makeSecret();
      return hold(workspaceId, id, async ({ client, row, signing, change }) => {
        const changed = await change({ secret: sealSecret(secret), ...(row.public_key ? { key: makeKey() } : {}) });
        const answer = { status: 200, body: { ...changed, secret } };
        // First, since the same request may have been done meanwhile: then the secret is the same, and so is the answer.
        await keepSecretAnswer(client, idempotency, answer);
        requireOtherSecret(signing, secret);
        return answer;
      });
    },

    /** @throws Problem not_found */
    switch: (workspaceId: string, id: string, isActive: boolean) =>
      hold(workspaceId, id, ({ change }) => change({ isActive })),
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

function lowerCased(auth: EndpointAuth): EndpointAuth {
  return auth.type === 'custom_header' ? { ...auth, name: auth.name.toLowerCase() } : auth;
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
