import { randomBytes } from 'node:crypto';
import type pg from 'pg';
import { insertEvents } from '#domains/events/index.ts';
import { FanOut } from '#domains/webhooks/deliveries/fan-out.ts';
import { insertEndpoint, type NewEndpoint } from '#domains/webhooks/endpoints/endpoints.store.ts';
import { makeAddressJudge, makeSafeAgent, makeWebhooksWork, type WebhooksWork } from '#domains/webhooks/index.ts';
import { DeliverySender } from '#domains/webhooks/sending/delivery-sender.ts';
import { makeSecret, readSecret } from '#domains/webhooks/sending/signature.ts';
import { openDatabase, withTransaction, type Database } from '#platform/database.ts';
import { makeId } from '#platform/ids.ts';
import { makeKeyEncryption } from '#platform/key-encryption.ts';
import { makeLogger } from '#platform/logger.ts';
import { createTestDatabase } from './database.ts';
import { weighing } from './events.ts';
import { startWebhookReceiver, type WebhookReceiver } from './webhook-receiver.ts';

/** A database with items, a receiver, and workers that send from one to the other without queues and processes. */
export interface WebhookWorkers {
  readonly database: Database;
  readonly receiver: WebhookReceiver;
  /** Of all endpoints. */
  readonly secret: string;
  /** A worker, as far as it gets with its connections. */
  workerOn(pool?: pg.Pool): WebhooksWork;
  /** Has a worker do all that is due now. */
  work(worker?: WebhooksWork): Promise<void>;
  /** What a worker sends with, step by step. */
  makeSender(): DeliverySender;
  /** Makes an endpoint at `/<workspace>/<name>`; gives its id. */
  subscribe(workspaceId: string, name: string, more?: Partial<NewEndpoint>): Promise<string>;
  /** Writes an event as a change does; gives its id. */
  tell(workspaceId: string, itemNumber: number): Promise<string>;
  /** Makes all deliveries that are to be made. */
  fanOut(): Promise<void>;
  /** What a dead worker had is free again, what was put off is due, and the pauses of endpoints end. */
  letTimePass(): Promise<unknown>;
  close(): Promise<void>;
}

/** An endpoint that wants everything, as it is kept. */
export function plainEndpoint(
  named: Pick<NewEndpoint, 'endpoint_id' | 'workspaceId' | 'name' | 'url' | 'secret'>,
): NewEndpoint {
  return {
    ...named,
    circuit_id: null,
    event_types: [],
    headers: {},
    auth_type: 'none',
    auth: null,
    headerCredentials: null,
    payload: 'full',
    concurrency: 4,
    is_ordered: false,
    is_active: true,
    requests_per_minute: null,
    filter: null,
    public_key: null,
    privateKey: null,
    max_retries: 1000,
    retry_delay_seconds: null,
    created_by: named.workspaceId,
  };
}

/** Starts one. @param items how many there are, numbered from 1. */
export async function startWebhookWorkers(items: number): Promise<WebhookWorkers> {
  const testDatabase = await createTestDatabase();
  const database = openDatabase({ url: testDatabase.url, poolSize: 10, applicationName: 'test', isWorker: true });
  const receiver = await startWebhookReceiver();
  const keys = makeKeyEncryption([randomBytes(32)]);
  const secret = makeSecret();
  const agent = makeSafeAgent({
    judge: makeAddressJudge({
      allowedNetworks: ['127.0.0.1/32'],
      allowedPorts: [receiver.port],
      allowsHttp: true,
    }),
    dnsServers: [],
    connectTimeoutMs: 2000,
    connectionsMax: 16,
  });
  await database.pool.query(
    `insert into items (item_number, value_chain, country, year) select n, 'BEEF', 'BR', 2025 from generate_series(1, $1::int) as n`,
    [items],
  );
  const options = {
    logger: makeLogger({ level: 'silent', name: 'test' }),
    keys,
    version: '1.0.0',
    retrySchedule: [0],
    sender: { agent, timeoutMs: 2000 },
  };
  let nextPlace = 0;
  return {
    database,
    receiver,
    secret,
    workerOn: (pool = database.pool) => makeWebhooksWork({ ...options, pool }),
    async work(worker = makeWebhooksWork({ ...options, pool: database.pool })) {
      await worker.workDirectly();
      await worker.whenRunEnds();
    },
    makeSender: () => new DeliverySender({ ...options, pool: database.pool }),
    async subscribe(workspaceId, name, more = {}) {
      const endpointId = makeId();
      const url = `${receiver.url}/${workspaceId}/${name}`;
      const sealed = keys.seal(readSecret(secret)!);
      const endpoint = plainEndpoint({ endpoint_id: endpointId, workspaceId, name, url, secret: sealed });
      await insertEndpoint(database.pool, { ...endpoint, ...more });
      return endpointId;
    },
    async tell(workspaceId, itemNumber) {
      const event = weighing({ workspaceId, itemNumber, payload: JSON.stringify({ place: nextPlace++ }) });
      await withTransaction(database.pool, (client) => insertEvents(client, [event]));
      return event.eventId;
    },
    async fanOut() {
      const fanOut = new FanOut(database.pool);
      while ((await fanOut.step())?.hasMore);
    },
    letTimePass: () =>
      database.pool.query(
        `update webhook_queue set next_attempt_at = now();
         update webhook_endpoint_state set open_until = null, leased_until = null, next_due_at = now()`,
      ),
    async close() {
      await agent.destroy();
      await database.close();
      await receiver.close();
      await testDatabase.drop();
    },
  };
}
