import { z } from 'zod';
import { insertNotices, type MessageType } from '#domains/events/index.ts';

/*
 * What is told of webhooks themselves: each type beside the statement that tells it, for the statement that makes it happen.
 * Of a URL only the host is told, since the rest may be a secret.
 */

const url = z.string().meta({ description: 'Only its host: the rest of a URL may be a secret' });
const hostOfUrl = `substring(url from '^[a-z]+://[^/?#]+')`;
const webhookId = z.uuid();

export const deliveryFailedType = {
  name: 'webhook_delivery_failed',
  description:
    'A message that is not about webhooks themselves was given up after its last attempt; a retry of the delivery sends it once more.',
  data: z.object({
    webhook_id: webhookId,
    delivery_id: z.uuid(),
    event_id: z.uuid(),
    event_type: z.string(),
    attempts: z.number().int(),
    error: z.string(),
  }),
  thinData: z.object({ webhook_id: webhookId, delivery_id: z.uuid() }),
} as const satisfies MessageType;

/** @param source with `workspace_id, endpoint_id, delivery_id, message_id, message_type, attempt, error`. */
export const tellDeliveryFailed = (source: string): string =>
  insertNotices({
    type: deliveryFailedType.name,
    source,
    data: `json_build_object('webhook_id', endpoint_id, 'delivery_id', delivery_id, 'event_id', message_id, 'event_type', message_type,
           'attempts', attempt, 'error', error)`,
    thinData: `json_build_object('webhook_id', endpoint_id, 'delivery_id', delivery_id)`,
  });

export const webhookFailingType = {
  name: 'webhook_failing',
  description:
    'A webhook failed for so long that it is at 50, 75 or 90 percent of the way to being switched off (100 failures in a row, and 72 hours).',
  data: z.object({
    webhook_id: webhookId,
    name: z.string(),
    url,
    percent: z.number().int(),
    failures: z.number().int(),
    failing_since: z.iso.datetime(),
  }),
  thinData: z.object({ webhook_id: webhookId }),
} as const satisfies MessageType;

/** @param source with `workspace_id, endpoint_id, name, url, warned_percent, failures, first_failure_at`. */
export const tellWebhookFailing = (source: string): string =>
  insertNotices({
    type: webhookFailingType.name,
    source,
    data: `json_build_object('webhook_id', endpoint_id, 'name', name, 'url', ${hostOfUrl}, 'percent', warned_percent, 'failures', failures,
           'failing_since', to_char(first_failure_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))`,
    thinData: `json_build_object('webhook_id', endpoint_id)`,
  });

export const webhookDisabledType = {
  name: 'webhook_disabled',
  description: 'A webhook was switched off, since its receiver is gone or failed for days.',
  data: z.object({ webhook_id: webhookId, name: z.string(), url, reason: z.string() }),
  thinData: z.object({ webhook_id: webhookId }),
} as const satisfies MessageType;

/** @param source with `workspace_id, endpoint_id, name, url, disabled_reason`. */
export const tellWebhookDisabled = (source: string): string =>
  insertNotices({
    type: webhookDisabledType.name,
    source,
    data: `json_build_object('webhook_id', endpoint_id, 'name', name, 'url', ${hostOfUrl}, 'reason', disabled_reason)`,
    thinData: `json_build_object('webhook_id', endpoint_id)`,
  });
