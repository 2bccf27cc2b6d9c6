import { startApplication, waitFor, type TestApplication } from './application.ts';
import {
  startWebhookReceiver,
  webhookSettings,
  type ReceivedWebhook,
  type WebhookReceiver,
} from './webhook-receiver.ts';

export interface ShownEndpoint {
  id: string;
  secret?: string;
  public_key: string | null;
  is_active: boolean;
  disabled_reason: string | null;
}

export interface ShownDelivery {
  id: string;
  event_id: string;
  event_type: string;
  status: string;
  attempt_number: number;
  error_message: string | null;
}

/** The body of a message about an item. */
export interface ItemMessage {
  type: string;
  timestamp: string;
  data: { id: string; dfid: string; payload: Record<string, unknown> };
}

/** An application with a worker that may send to one receiver, and two workspaces. */
export interface WebhookApplication {
  readonly application: TestApplication;
  readonly receiver: WebhookReceiver;
  readonly ownKey: string;
  readonly strangersKey: string;
  ask<Body>(
    method: string,
    path: string,
    body?: unknown,
    key?: string,
    headers?: Record<string, string>,
  ): Promise<{ status: number; body: Body; headers: Headers }>;
  /** Makes an endpoint at a path of its own. */
  subscribe(more?: object, key?: string): Promise<ShownEndpoint & { path: string; secret: string }>;
  /** An identifier that no other item has. */
  newIdentifier(): { identifier_type: string; value: string };
  /** @returns its DFID. */
  newItem(key?: string): Promise<string>;
  weigh(dfid: string, kg: number): Promise<unknown>;
  arrived(path: string, count?: number): Promise<ReceivedWebhook[]>;
  deliveriesOf(id: string): Promise<ShownDelivery[]>;
  whenSettled(id: string, count: number): Promise<ShownDelivery[]>;
  close(): Promise<void>;
}

/** Starts the application with a worker, and a receiver; call `close()` in `afterAll`. */
export async function startWebhookApplication(environment: Record<string, string> = {}): Promise<WebhookApplication> {
  const receiver = await startWebhookReceiver();
  const application = await startApplication({
    backend: 'postgres',
    environment: {
      ...webhookSettings(receiver),
      SWEEP_INTERVAL_MS: '100',
      WEBHOOK_RETRY_SCHEDULE: '0.1,0.1,0.1',
      WEBHOOK_TIMEOUT_MS: '5000',
      ...environment,
    },
  });
  const ownKey = await application.createKey({ scope: 'write', workspace: 'Producer' });
  const strangersKey = await application.createKey({ scope: 'write', workspace: 'Stranger' });
  let [nextPath, nextNumber] = [1, 750_000_000_000];

  const ask: WebhookApplication['ask'] = async (method, path, body, key = ownKey, headers = {}) => {
    const response = await application.fetch(path, {
      method,
      headers: { 'x-api-key': key, ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    return {
      status: response.status,
      headers: response.headers,
      body: (text === '' ? undefined : JSON.parse(text)) as never,
    };
  };
  const deliveriesOf = async (id: string) => (await ask<ShownDelivery[]>('GET', `/api/webhooks/${id}/deliveries`)).body;
  const newIdentifier = () => ({ identifier_type: 'sisbov', value: `BR${nextNumber++}` });

  return {
    application,
    receiver,
    ownKey,
    strangersKey,
    ask,
    newIdentifier,
    async subscribe(more = {}, key = ownKey) {
      const path = `/hook-${nextPath++}`;
      const body = { name: 'ERP', url: `${receiver.url}${path}`, events: [], ...more };
      const { body: endpoint } = await ask<ShownEndpoint>('POST', '/api/webhooks', body, key);
      return { path, ...endpoint, secret: endpoint.secret! };
    },
    async newItem(key = ownKey) {
      const record = { value_chain: 'BEEF', country: 'BR', year: 2025, identifiers: [newIdentifier()] };
      return (await ask<{ item: { dfid: string } }>('POST', '/api/items', record, key)).body.item.dfid;
    },
    weigh: (dfid, kg) => ask('POST', '/api/events', { dfid, event_type: 'weighed', payload: { kg } }),
    arrived: (path, count = 1) =>
      waitFor(
        () => (receiver.at(path).length >= count ? receiver.at(path) : undefined),
        `${count} requests at ${path}`,
      ),
    deliveriesOf,
    whenSettled: (id, count) =>
      waitFor(async () => {
        const deliveries = await deliveriesOf(id);
        return deliveries.filter(({ status }) => status !== 'queued').length >= count ? deliveries : undefined;
      }, `${count} settled deliveries`),
    async close() {
      await application.close();
      await receiver.close();
    },
  };
}
