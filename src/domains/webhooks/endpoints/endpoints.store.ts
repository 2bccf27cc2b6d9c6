import { byteaArray, textArray, uuidArray } from '#platform/binary-arrays.ts';
import type { Queryable } from '#platform/database.ts';
import type { SealedBytes } from '#platform/key-encryption.ts';
import { isWanted, signingColumns } from '../deliveries/queue.store.ts';
import type { EndpointAuth } from '../sending/endpoint-auth.ts';
import { credentialHeaderPattern, redacted } from '../sending/redaction.ts';
import type { SigningEndpoint } from '../sending/webhook-headers.ts';
import type { MessageFilter } from './endpoints.schema.ts';
import { filterPath } from './message-filter.ts';

export interface EndpointRow {
  endpoint_id: string;
  circuit_id: string | null;
  name: string;
  url: string;
  event_types: string[];
  /** With [redacted] for those that carry credentials. */
  headers: Record<string, string>;
  auth_type: EndpointAuth['type'];
  payload: 'full' | 'thin';
  concurrency: number;
  requests_per_minute: number | null;
  filter: MessageFilter | null;
  public_key: Buffer | null;
  is_ordered: boolean;
  max_retries: number;
  retry_delay_seconds: number | null;
  is_active: boolean;
  disabled_reason: string | null;
  created_by: string;
  created_at: Date;
  updated_at: Date;
}

const columns = `endpoint_id, circuit_id, name, url, event_types, headers, auth_type, payload, concurrency, requests_per_minute, filter, public_key, is_ordered, max_retries, retry_delay_seconds,
  is_active, disabled_reason, created_by, created_at, updated_at`;

export type NewEndpoint = Omit<EndpointRow, 'disabled_reason' | 'created_at' | 'updated_at'> & {
  readonly workspaceId: string;
  readonly secret: SealedBytes;
  readonly auth: SealedBytes | null;
  readonly headerCredentials: SealedBytes | null;
  readonly privateKey: SealedBytes | null;
};

/** Keeps an endpoint; from now on events of its workspace are handed on. */
export async function insertEndpoint(queryable: Queryable, row: NewEndpoint): Promise<void> {
  await queryable.query({
    name: 'insert_webhook_endpoint',
    text: `with known as (
             insert into webhook_workspaces (workspace_id) values ($2) on conflict do nothing
           ), stated as (
             insert into webhook_endpoint_state (endpoint_id, workspace_id) values ($1, $2)
           )
           insert into webhook_endpoints (endpoint_id, workspace_id, circuit_id, name, url, event_types, headers, auth_type, auth_sealed, auth_key_id,
                                          secret_sealed, secret_key_id, payload, concurrency, is_ordered, max_retries, retry_delay_seconds, is_active, created_by,
                                          requests_per_minute, filter, filter_path, public_key, private_key_sealed, private_key_id, header_credentials_sealed, header_credentials_key_id)
           values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $25, $18, $19, $20, $21, $22, $23, $24, $26, $27)`,
    values: [
      row.endpoint_id,
      row.workspaceId,
      row.circuit_id,
      row.name,
      row.url,
      row.event_types,
      JSON.stringify(row.headers),
      row.auth_type,
      row.auth?.bytes ?? null,
      row.auth?.keyId ?? null,
      row.secret.bytes,
      row.secret.keyId,
      row.payload,
      row.concurrency,
      row.is_ordered,
      row.max_retries,
      row.retry_delay_seconds,
      row.created_by,
      row.requests_per_minute,
      row.filter && JSON.stringify(row.filter),
      row.filter && filterPath(row.filter),
      row.public_key,
      row.privateKey?.bytes ?? null,
      row.privateKey?.keyId ?? null,
      row.is_active,
      row.headerCredentials?.bytes ?? null,
      row.headerCredentials?.keyId ?? null,
    ],
  });
}

/** An endpoint of a workspace. */
export async function findEndpoint(
  queryable: Queryable,
  workspaceId: string,
  endpointId: string,
): Promise<EndpointRow | undefined> {
  const { rows } = await queryable.query<EndpointRow>({
    name: 'find_webhook_endpoint',
    text: `select ${columns} from webhook_endpoints where workspace_id = $1 and endpoint_id = $2`,
    values: [workspaceId, endpointId],
  });
  return rows[0];
}

/** Endpoints of a workspace, the oldest first, behind one of them. */
export async function listEndpoints(
  queryable: Queryable,
  workspaceId: string,
  filter: {
    circuitId: string | undefined;
    isActive: boolean | undefined;
    after: string | undefined;
    limit: number;
  },
): Promise<EndpointRow[]> {
  const { rows } = await queryable.query<EndpointRow>({
    name: 'list_webhook_endpoints',
    text: `select ${columns} from webhook_endpoints
           where workspace_id = $1 and ($2::uuid is null or circuit_id = $2) and ($3::bool is null or is_active = $3)
             and ($4::uuid is null or endpoint_id > $4)
           order by endpoint_id limit $5::int4`,
    values: [workspaceId, filter.circuitId ?? null, filter.isActive ?? null, filter.after ?? null, filter.limit],
  });
  return rows;
}

/** Headers as they are shown, and those of them that carry credentials. */
export interface SealedHeaders {
  readonly shown: Readonly<Record<string, string>>;
  readonly credentials: SealedBytes | null;
}

/** What of an endpoint becomes something else; what is undefined stays. */
export interface EndpointChange {
  readonly name?: string | undefined;
  readonly url?: string | undefined;
  readonly eventTypes?: readonly string[] | undefined;
  readonly headers?: SealedHeaders | undefined;
  readonly auth?: { readonly type: EndpointAuth['type']; readonly sealed: SealedBytes | null } | undefined;
  readonly payload?: 'full' | 'thin' | undefined;
  readonly concurrency?: number | undefined;
  /** Null for as fast as it answers. */
  readonly requestsPerMinute?: number | null | undefined;
  readonly filter?: MessageFilter | undefined;
  /** A key that signs from now on, or null for none. */
  readonly key?: { readonly publicKey: Buffer; readonly privateKey: SealedBytes } | null | undefined;
  readonly maxRetries?: number | undefined;
  /** Null for the schedule of the installation. */
  readonly retryDelaySeconds?: number | null | undefined;
  readonly isActive?: boolean | undefined;
  readonly secret?: SealedBytes | undefined;
}

/**
 * Changes an endpoint of a workspace. A secret or key that another one takes the place of signs beside it for so many hours. One that
 * is switched on again, or has another URL, is tried at once.
 */
export async function updateEndpoint(
  queryable: Queryable,
  workspaceId: string,
  endpointId: string,
  change: EndpointChange,
  overlapHours: number,
): Promise<void> {
  await queryable.query({
    name: 'update_webhook_endpoint',
    text: `with changed as (
             update webhook_endpoints
             set name = coalesce($3, name), url = coalesce($4, url), event_types = coalesce($5, event_types), headers = coalesce($6::json, headers),
                 header_credentials_sealed = case when $6::json is null then header_credentials_sealed else $27 end,
                 header_credentials_key_id = case when $6::json is null then header_credentials_key_id else $28 end,
                 auth_type = coalesce($7, auth_type),
                 auth_sealed = case when $7::text is null then auth_sealed else $8 end, auth_key_id = case when $7::text is null then auth_key_id else $9 end,
                 payload = coalesce($10, payload), concurrency = coalesce($11, concurrency),
                 max_retries = coalesce($12, max_retries), retry_delay_seconds = case when $26::bool then $13 else retry_delay_seconds end,
                 is_active = coalesce($14, is_active), switched_at = case when is_active <> $14::bool then now() else switched_at end, disabled_reason = case when $14::bool is null then disabled_reason end,
                 previous_secret_sealed = case when $15::bytea is null then previous_secret_sealed else secret_sealed end,
                 previous_secret_key_id = case when $15::bytea is null then previous_secret_key_id else secret_key_id end,
                 previous_secret_until = case when $15::bytea is null then previous_secret_until else now() + make_interval(hours => $17::int4) end,
                 secret_sealed = coalesce($15, secret_sealed), secret_key_id = coalesce($16, secret_key_id),
                 requests_per_minute = case when $18::bool then $19 else requests_per_minute end,
                 filter = case when $20::json is null then filter else $20 end, filter_path = case when $20::json is null then filter_path else $21::jsonpath end,
                 previous_private_key_sealed = case when $22::bool then case when $24::bytea is not null then private_key_sealed end else previous_private_key_sealed end,
                 previous_private_key_id = case when $22::bool then case when $24::bytea is not null then private_key_id end else previous_private_key_id end,
                 public_key = case when $22::bool then $23 else public_key end,
                 private_key_sealed = case when $22::bool then $24 else private_key_sealed end,
                 private_key_id = case when $22::bool then $25 else private_key_id end, updated_at = now()
             where workspace_id = $1 and endpoint_id = $2 returning endpoint_id
           )
           update webhook_endpoint_state as state
           set failures = case when $14::bool then 0 else failures end, first_failure_at = case when $14::bool then null else first_failure_at end,
               warned_percent = case when $14::bool then 0 else warned_percent end, open_until = null, pauses = 0
           from changed
           where state.endpoint_id = changed.endpoint_id
             and ($14::bool or $4 <> (select url from webhook_endpoints as before where before.endpoint_id = $2))`,
    values: [
      workspaceId,
      endpointId,
      change.name ?? null,
      change.url ?? null,
      change.eventTypes ?? null,
      change.headers === undefined ? null : JSON.stringify(change.headers.shown),
      change.auth?.type ?? null,
      change.auth?.sealed?.bytes ?? null,
      change.auth?.sealed?.keyId ?? null,
      change.payload ?? null,
      change.concurrency ?? null,
      change.maxRetries ?? null,
      change.retryDelaySeconds ?? null,
      change.isActive ?? null,
      change.secret?.bytes ?? null,
      change.secret?.keyId ?? null,
      overlapHours,
      change.requestsPerMinute !== undefined,
      change.requestsPerMinute ?? null,
      change.filter === undefined ? null : JSON.stringify(change.filter),
      change.filter === undefined ? null : filterPath(change.filter),
      change.key !== undefined,
      change.key?.publicKey ?? null,
      change.key?.privateKey.bytes ?? null,
      change.key?.privateKey.keyId ?? null,
      change.retryDelaySeconds !== undefined,
      change.headers?.credentials?.bytes ?? null,
      change.headers?.credentials?.keyId ?? null,
    ],
  });
}

/** Deletes an endpoint and what is queued for it. In a transaction that holds it; `deleteDeliveries` comes afterwards. */
export async function deleteEndpoint(queryable: Queryable, endpointId: string): Promise<void> {
  await queryable.query({
    name: 'delete_webhook_endpoint',
    text: `with queued as (delete from webhook_queue where endpoint_id = $1),
                stated as (delete from webhook_endpoint_state where endpoint_id = $1)
           delete from webhook_endpoints where endpoint_id = $1`,
    values: [endpointId],
  });
}

/** Deletes the deliveries of an endpoint that is no more, with their attempts. */
export async function deleteDeliveries(queryable: Queryable, endpointId: string): Promise<void> {
  await queryable.query({
    name: 'delete_webhook_deliveries',
    text: `with gone as (delete from webhook_deliveries where endpoint_id = $1 returning delivery_id)
           delete from webhook_attempts using gone where webhook_attempts.delivery_id = gone.delivery_id`,
    values: [endpointId],
  });
}

/** Where secrets of an endpoint are sealed, each with the column that names the key that opens it. */
const sealedColumns = [
  ['secret_sealed', 'secret_key_id'],
  ['previous_secret_sealed', 'previous_secret_key_id'],
  ['auth_sealed', 'auth_key_id'],
  ['header_credentials_sealed', 'header_credentials_key_id'],
  ['private_key_sealed', 'private_key_id'],
  ['previous_private_key_sealed', 'previous_private_key_id'],
] as const;

export interface SealedSecret extends SealedBytes {
  readonly endpointId: string;
  readonly column: (typeof sealedColumns)[number][0];
}

/** Secrets of endpoints that are sealed with another key than this one, all of an endpoint, behind one of these. */
export async function findSealedOtherwise(
  queryable: Queryable,
  keyId: string,
  { after, limit }: { after: string; limit: number },
): Promise<SealedSecret[]> {
  const secrets = sealedColumns.map(([column, key]) => `('${column}', ${column}, ${key})`).join(', ');
  const { rows } = await queryable.query<SealedSecret>({
    name: 'find_webhooks_sealed_otherwise',
    text: `select endpoint_id as "endpointId", "column", bytes, "keyId"
           from (select * from webhook_endpoints
                 where endpoint_id > $2 and ($1 <> any(array[${sealedColumns.map(([, key]) => key).join(', ')}]))
                 order by endpoint_id limit $3::int4) as endpoints
           cross join lateral (values ${secrets}) as secrets ("column", bytes, "keyId")
           where "keyId" <> $1 order by endpoint_id`,
    values: [keyId, after, limit],
  });
  return rows;
}

/** Keeps secrets as they are sealed now, unless they became others meanwhile. */
export async function writeSealedSecrets(
  queryable: Queryable,
  secrets: readonly { readonly before: SealedSecret; readonly now: SealedBytes }[],
): Promise<void> {
  for (const [column, keyColumn] of sealedColumns) {
    const changed = secrets.filter(({ before }) => before.column === column);
    if (changed.length === 0) continue;
    await queryable.query({
      name: `write_webhook_${column}`,
      text: `update webhook_endpoints as endpoints set ${column} = now_bytes, ${keyColumn} = now_key
             from unnest($1::uuid[], $2::bytea[], $3::bytea[], $4::text[]) as secrets (endpoint_id, bytes, now_bytes, now_key)
             where endpoints.endpoint_id = secrets.endpoint_id and endpoints.${column} = secrets.bytes`,
      values: [
        uuidArray(changed.map(({ before }) => before.endpointId)),
        byteaArray(changed.map(({ before }) => before.bytes)),
        byteaArray(changed.map(({ now }) => now.bytes)),
        textArray(changed.map(({ now }) => now.keyId)),
      ],
    });
  }
}

/** Headers of an endpoint as they are kept, and their text. */
export interface KeptHeaders extends Pick<
  SigningEndpoint,
  'headers' | 'header_credentials_sealed' | 'header_credentials_key_id'
> {
  readonly endpoint_id: string;
  readonly text: string;
}

/** Endpoints behind one of them whose headers carry credentials that are not sealed. */
export async function findUnsealedHeaders(
  queryable: Queryable,
  { after, limit }: { after: string; limit: number },
): Promise<KeptHeaders[]> {
  const { rows } = await queryable.query<KeptHeaders>({
    name: 'find_unsealed_webhook_headers',
    text: `select endpoint_id, headers, headers::text as text, header_credentials_sealed, header_credentials_key_id from webhook_endpoints
           where endpoint_id > $3 and exists (select from json_each_text(headers) as named (name, value) where name ~ $1 and value <> $2)
           order by endpoint_id limit $4::int4`,
    values: [credentialHeaderPattern, redacted, after, limit],
  });
  return rows;
}

/** Keeps headers as they are shown and sealed now, unless they became others meanwhile. */
export async function writeSealedHeaders(
  queryable: Queryable,
  endpoints: readonly { readonly before: KeptHeaders; readonly now: SealedHeaders }[],
): Promise<void> {
  await queryable.query({
    name: 'write_sealed_webhook_headers',
    text: `update webhook_endpoints as endpoints set headers = shown::json, header_credentials_sealed = sealed, header_credentials_key_id = key_id
           from unnest($1::uuid[], $2::text[], $3::text[], $4::bytea[], $5::text[]) as changed (endpoint_id, before, shown, sealed, key_id)
           where endpoints.endpoint_id = changed.endpoint_id and headers::text = before`,
    values: [
      uuidArray(endpoints.map(({ before }) => before.endpoint_id)),
      textArray(endpoints.map(({ before }) => before.text)),
      textArray(endpoints.map(({ now }) => JSON.stringify(now.shown))),
      byteaArray(endpoints.map(({ now }) => now.credentials?.bytes ?? null)),
      textArray(endpoints.map(({ now }) => now.credentials?.keyId ?? null)),
    ],
  });
}

/** How requests to an endpoint of a workspace are signed. */
export async function findSigningEndpoint(
  queryable: Queryable,
  workspaceId: string,
  endpointId: string,
): Promise<SigningEndpoint | undefined> {
  const { rows } = await queryable.query<SigningEndpoint>({
    name: 'find_signing_webhook_endpoint',
    text: `select ${signingColumns} from webhook_endpoints where workspace_id = $1 and endpoint_id = $2`,
    values: [workspaceId, endpointId],
  });
  return rows[0];
}

export interface WantedMessageRow {
  message_id: string;
  position: number;
  body: string;
}

/** Messages that an endpoint wants, switched on or not, or was sent, behind a position; without one only the newest position. */
export async function findWantedMessages(
  queryable: Queryable,
  endpointId: string,
  { after, limit, bytesMax }: { after: number | undefined; limit: number; bytesMax: number },
): Promise<{ messages: WantedMessageRow[]; newest: number }> {
  const { rows } = await queryable.query<WantedMessageRow & { newest: number }>({
    name: 'find_wanted_webhook_messages',
    text: `select wanted.*, newest from (
             select coalesce(max(position), 0) as newest from webhook_messages
             where workspace_id = (select workspace_id from webhook_endpoints where endpoint_id = $1)) as known
           left join lateral (
             select message_id, position, body from (
               select *, sum(octet_length(body)) over (order by position) - octet_length(body) as bytes_before from (
                 select message_id, position, case when payload = 'thin' then thin_body else body end as body
                 from webhook_endpoints as endpoints join webhook_messages as messages on messages.workspace_id = endpoints.workspace_id
                 where endpoint_id = $1 and position > $2 and body is not null and (
                   ${isWanted('messages')}
                   or exists (select from webhook_deliveries as sent where sent.message_id = messages.message_id and sent.endpoint_id = $1))
                 order by position limit $3::int4
               ) as next
             ) as sized where bytes_before <= $4::int8 order by position
           ) as wanted on true`,
    values: [endpointId, after ?? null, limit, bytesMax],
  });
  return { messages: rows.filter((row) => row.message_id !== null), newest: rows[0]!.newest };
}
