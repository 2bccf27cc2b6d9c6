import type pg from 'pg';
import type { z } from 'zod';
import { findMessage, insertMessages, makeMessage, type NewMessage } from '#domains/events/index.ts';
import { withTransaction } from '#platform/database.ts';
import { invalidRequestAt, Problem } from '#platform/errors.ts';
import { isUuid, makeId } from '#platform/ids.ts';
import type { KeyEncryption } from '#platform/key-encryption.ts';
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
import { findEventToTell } from '../deliveries/fan-out.store.ts';
import { holdEndpoints } from '../deliveries/queue.store.ts';
import { testMessageType } from '../message-types.ts';
import { makeHeaderMaker, withoutCredentials } from '../sending/webhook-headers.ts';
import { listedMax, type deliveryListQuery } from './endpoints.schema.ts';
import { findSigningEndpoint, findWantedMessages } from './endpoints.store.ts';
import { readEndpoint, withHeldEndpoint } from './read-endpoint.ts';

export type EndpointDeliveries = ReturnType<typeof makeEndpointDeliveries>;

interface EndpointDeliveriesOptions {
  pool: pg.Pool;
  /** Opens secrets, to sign what `requests` gives. */
  keys: KeyEncryption | undefined;
  /** Of the product, for `User-Agent`. */
  version: string;
}

const retriedAtOnce = 1000;
const recoveredAtOnce = 10_000;
/** Of the bodies of `requests`; one is given however long it is. */
const requestsBytesMax = 4 * 1024 * 1024;

/** What endpoints were told and are to be told once more. */
export function makeEndpointDeliveries({ pool, keys, version }: EndpointDeliveriesOptions) {
  const find = (workspaceId: string, id: string) => readEndpoint(pool, workspaceId, id);

  const delivery = async (workspaceId: string, id: string, deliveryId: string): Promise<ShownDeliveryRow> => {
    const { endpoint_id: endpointId } = await find(workspaceId, id);
    const page = { before: undefined, state: undefined, limit: 1, deliveryId };
    const [row] = isUuid(deliveryId) ? await listDeliveries(pool, endpointId, page) : [];
    if (!row) throw new Problem('not_found', 'this webhook has no delivery with this id');
    return row;
  };

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
    async list(workspaceId: string, id: string, query: z.output<typeof deliveryListQuery>) {
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
        queued: await withHeldEndpoint(pool, endpointId, (client) =>
          requeueDeliveries(client, endpointId, { deliveryId: found }),
        ),
      };
    },

    /** Sends what failed for good once more, the newest 1,000. @throws Problem not_found */
    async retryFailed(workspaceId: string, id: string) {
      const { endpoint_id: endpointId } = await find(workspaceId, id);
      const failedLimit = retriedAtOnce;
      return {
        queued: await withHeldEndpoint(pool, endpointId, (client) =>
          requeueDeliveries(client, endpointId, { failedLimit }),
        ),
      };
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
      const { requeued, made } = await withHeldEndpoint(pool, endpointId, (client) =>
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
        headers: withoutCredentials(endpoint.headers),
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
