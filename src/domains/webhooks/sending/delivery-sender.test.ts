import { randomBytes } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { insertMessages } from '#domains/events/index.ts';
import { withTransaction } from '#platform/database.ts';
import { makeKeyEncryption } from '#platform/key-encryption.ts';
import { makeId } from '#platform/ids.ts';
import { makeSchemaCheck } from '../../../testing/message-schemas.ts';
import { verified } from '../../../testing/webhook-receiver.ts';
import { waitFor } from '../../../testing/application.ts';
import { forgetMessages, replayMessage, requeueDeliveries } from '../deliveries/deliveries.store.ts';
import { messageOf } from '../deliveries/fan-out.ts';
import { findEventToTell } from '../deliveries/fan-out.store.ts';
import { holdEndpoints } from '../deliveries/queue.store.ts';
import { deleteEndpoint } from '../endpoints/endpoints.store.ts';
import { messageCatalogue } from '../message-types.ts';
import { startWebhookWorkers, type WebhookWorkers } from '../../../testing/webhook-worker.ts';

let workers: WebhookWorkers;
beforeAll(async () => {
  workers = await startWebhookWorkers(2);
});
afterEach(() => {
  vi.restoreAllMocks();
  workers.receiver.answer = (_, response) => void response.writeHead(204).end();
});
afterAll(() => workers.close());

test('requests are signed by the clock of the database, whatever the clock of the process says', async () => {
  const { subscribe, tell, work, receiver, secret } = workers;
  const workspaceId = makeId();
  await subscribe(workspaceId, 'plain');
  await tell(workspaceId, 1);
  const hourAgo = Date.now() - 3_600_000;
  vi.spyOn(Date, 'now').mockReturnValue(hourAgo);
  await work();
  vi.restoreAllMocks();

  const [request] = receiver.at(`/${workspaceId}/plain`);

  // Refuses what is more than five minutes away from now.
  expect(verified(secret, request!)).toMatchObject({ type: 'weighed' });
});

test('an endpoint belongs to one process at a time, and is given back', async () => {
  const { subscribe, tell, work, receiver } = workers;
  const workspaceId = makeId();
  await subscribe(workspaceId, 'plain', { concurrency: 1 });
  for (let at = 0; at < 20; at += 1) await tell(workspaceId, 1);
  let [open, most] = [0, 0];
  receiver.answer = (_, response) => {
    open += 1;
    most = Math.max(most, open);
    setTimeout(() => {
      open -= 1;
      response.writeHead(204).end();
    }, 5);
  };

  await Promise.all([work(), work(), work()]);

  const ids = receiver.at(`/${workspaceId}/plain`).map(({ headers }) => headers['webhook-id']);
  expect([ids.length, new Set(ids).size, most]).toEqual([20, 20, 1]);
});

test('an endpoint that somebody holds while it is given back is given back afterwards, and does not wait for its lease to end', async () => {
  const { database, subscribe, tell, fanOut, makeSender, receiver } = workers;
  const workspaceId = makeId();
  const endpointId = await subscribe(workspaceId, 'held');
  await tell(workspaceId, 1);
  await fanOut();
  const sender = makeSender();
  const leasesOf = async () =>
    (await database.pool.query('select lease_holder from webhook_endpoint_state where endpoint_id = $1', [endpointId]))
      .rows;
  await sender.exchange(true);
  await waitFor(() => receiver.at(`/${workspaceId}/held`)[0], 'the request');
  await waitFor(
    async () => ((await database.pool.query('select from webhook_queue')).rowCount === 0 ? true : undefined),
    'it to be kept',
  );

  const whileHeld = await withTransaction(database.pool, async (client) => {
    await holdEndpoints(client, [endpointId]);
    await sender.exchange(false);
    return sender.isIdle;
  });
  await sender.exchange(false);

  expect([whileHeld, sender.isIdle, await leasesOf()]).toEqual([false, true, [{ lease_holder: null }]]);
  await sender.close();
});

test('a process that ends gives an endpoint back that somebody holds for a moment', async () => {
  const { database, subscribe, tell, fanOut, makeSender, receiver } = workers;
  const workspaceId = makeId();
  const endpointId = await subscribe(workspaceId, 'held at the end');
  await tell(workspaceId, 1);
  await fanOut();
  const sender = makeSender();
  await sender.exchange(true);
  await waitFor(() => receiver.at(`/${workspaceId}/held%20at%20the%20end`)[0], 'the request');
  await waitFor(
    async () => ((await database.pool.query('select from webhook_queue')).rowCount === 0 ? true : undefined),
    'it to be kept',
  );

  let closing: Promise<void> | undefined;
  await withTransaction(database.pool, async (client) => {
    await holdEndpoints(client, [endpointId]);
    closing = sender.close();
    for (let looks = 0; looks < 2; looks += 1) await sender.exchange(false);
  });
  await closing;

  const { rows } = await database.pool.query('select lease_holder from webhook_endpoint_state where endpoint_id = $1', [
    endpointId,
  ]);
  expect(rows).toEqual([{ lease_holder: null }]);
});

test('a process that is about to end begins no further request', async () => {
  const { database, subscribe, tell, fanOut, workerOn, receiver } = workers;
  const workspaceId = makeId();
  await subscribe(workspaceId, 'busy', { concurrency: 2 });
  for (let at = 0; at < 20; at += 1) await tell(workspaceId, 1);
  await fanOut();
  const answers: ServerResponse[] = [];
  receiver.answer = (_, response) => void answers.push(response);
  const worker = workerOn();
  const working = worker.workDirectly();
  await waitFor(() => (answers.length === 2 ? true : undefined), 'two requests');

  worker.stop!();
  for (const response of answers.splice(0)) response.writeHead(204).end();
  await working;
  await worker.close();

  const { rowCount } = await database.pool.query('select from webhook_queue');
  expect([receiver.at(`/${workspaceId}/busy`).length, rowCount]).toEqual([2, 18]);
  await workers.work();
});

test('an endpoint that is deleted while a process has it is not in its hands any more', async () => {
  const { database, subscribe, tell, fanOut, makeSender, receiver } = workers;
  const workspaceId = makeId();
  const endpointId = await subscribe(workspaceId, 'deleted');
  await tell(workspaceId, 1);
  await fanOut();
  const sender = makeSender();
  const asked = Promise.withResolvers<ServerResponse>();
  receiver.answer = (_, response) => asked.resolve(response);
  await sender.exchange(true);
  const response = await asked.promise;
  await withTransaction(database.pool, async (client) => {
    await holdEndpoints(client, [endpointId]);
    await deleteEndpoint(client, endpointId);
  });
  response.writeHead(204).end();

  await waitFor(async () => {
    await sender.exchange(false);
    return sender.isIdle || undefined;
  }, 'it to be forgotten');

  expect(sender.isIdle).toBe(true);
  await sender.close();
});

test('what is sent once more by a person takes its place in the order of its item', async () => {
  const { database, subscribe, tell, work, receiver, letTimePass } = workers;
  const workspaceId = makeId();
  const more = { is_ordered: true, max_retries: 0, event_types: ['weighed'] };
  const endpointId = await subscribe(workspaceId, 'ordered', more);
  receiver.answer = (_, response) => void response.writeHead(500).end();
  const failed = [await tell(workspaceId, 1), await tell(workspaceId, 1)];
  for (let at = 0; at < 5; at += 1) {
    await letTimePass();
    await work();
  }
  receiver.received.length = 0;
  receiver.answer = (_, response) => void response.writeHead(204).end();

  const later = await tell(workspaceId, 1);

  const requeued = await withTransaction(database.pool, async (client) => {
    await holdEndpoints(client, [endpointId]);
    return requeueDeliveries(client, endpointId, { failedLimit: 10 });
  });
  await letTimePass();
  await work();

  expect(requeued).toBe(2);
  expect(receiver.at(`/${workspaceId}/ordered`).map(({ headers }) => headers['webhook-id'])).toEqual([
    ...failed,
    later,
  ]);
});

test('a workspace is told in time that an endpoint will be switched off, once at each step, and then it is', async () => {
  const { database, subscribe, tell, work, receiver, secret, letTimePass } = workers;
  const workspaceId = makeId();
  const failing = await subscribe(workspaceId, 'failing', { event_types: ['weighed'] });
  await subscribe(workspaceId, 'told', { event_types: ['webhook_failing', 'webhook_disabled'] });
  receiver.answer = ({ path }, response) => void response.writeHead(path.endsWith('/failing') ? 500 : 204).end();
  await tell(workspaceId, 1);
  /** One more failure, after so many and so many hours. */
  const failOnceMore = async (failures: number, hours: number) => {
    await letTimePass();
    await database.pool.query(
      `update webhook_endpoint_state set failures = $2, first_failure_at = now() - make_interval(hours => $3) where endpoint_id = $1`,
      [failing, failures, hours],
    );
    await work();
    await work();
  };

  await failOnceMore(48, 71);
  await failOnceMore(98, 30);
  await failOnceMore(49, 37);
  await failOnceMore(60, 37);
  await failOnceMore(75, 55);
  await failOnceMore(89, 66);
  await failOnceMore(99, 71);
  await failOnceMore(100, 73);

  const told = receiver
    .at(`/${workspaceId}/told`)
    .map((each) => verified(secret, each) as { type: string; data: object });
  expect(told).toMatchObject([
    { type: 'webhook_failing', data: { webhook_id: failing, percent: 50, failures: 50 } },
    { type: 'webhook_failing', data: { percent: 75, failures: 76 } },
    { type: 'webhook_failing', data: { percent: 90, failures: 90 } },
    { type: 'webhook_disabled', data: { webhook_id: failing } },
  ]);
  expect(told.flatMap((body) => makeSchemaCheck(messageCatalogue)(body))).toEqual([]);
});

test('what could not be sent says nothing of its endpoint', async () => {
  const { database, subscribe, tell, work, receiver, letTimePass } = workers;
  const workspaceId = makeId();
  const endpointId = await subscribe(workspaceId, 'failing');
  const erasedId = await tell(workspaceId, 1);
  receiver.answer = (_, response) => void response.writeHead(500).end();
  await database.pool.query(
    `update webhook_endpoint_state set failures = 99, first_failure_at = now() - interval '71 hours', warned_percent = 90 where endpoint_id = $1`,
    [endpointId],
  );
  await workers.fanOut();
  await database.pool.query('update webhook_messages set body = null where message_id = $1', [erasedId]);
  await letTimePass();

  await work();

  const { rows } = await database.pool.query<{ failures: number; hours: number; failed: number }>(
    `select failures, extract(epoch from now() - first_failure_at)::int4 / 3600 as hours,
            (select count(*)::int4 from webhook_deliveries where endpoint_id = $1 and failed_at is not null) as failed
     from webhook_endpoint_state where endpoint_id = $1`,
    [endpointId],
  );
  expect(rows).toEqual([{ failures: 99, hours: 71, failed: 1 }]);
  expect(receiver.at(`/${workspaceId}/failing`)).toEqual([]);
});

test('a message that is given up is told of once, and what is told of webhooks themselves is not', async () => {
  const { subscribe, tell, work, receiver, secret, letTimePass } = workers;
  const workspaceId = makeId();
  const failing = await subscribe(workspaceId, 'failing', { max_retries: 0 });
  await subscribe(workspaceId, 'told', { event_types: ['webhook_delivery_failed'] });
  receiver.answer = ({ path }, response) => void response.writeHead(path.endsWith('/failing') ? 500 : 204).end();
  const eventId = await tell(workspaceId, 1);

  for (let at = 0; at < 6; at += 1) {
    await letTimePass();
    await work();
  }

  const told = receiver.at(`/${workspaceId}/told`).map((each) => verified(secret, each));
  expect(told).toMatchObject([
    {
      type: 'webhook_delivery_failed',
      data: { webhook_id: failing, event_id: eventId, event_type: 'weighed', attempts: 1, error: 'it answered 500' },
    },
  ]);
});

test('all attempts of a delivery send the same bytes, also when the endpoint wants others meanwhile', async () => {
  const { database, subscribe, tell, work, receiver, letTimePass } = workers;
  const workspaceId = makeId();
  await subscribe(workspaceId, 'plain');
  receiver.answer = (_, response) => void response.writeHead(500).end();
  await tell(workspaceId, 1);
  await work();
  await database.pool.query(`update webhook_endpoints set payload = 'thin' where workspace_id = $1`, [workspaceId]);
  await letTimePass();
  receiver.answer = (_, response) => void response.writeHead(204).end();
  await work();

  const bodies = receiver.at(`/${workspaceId}/plain`).map(({ body }) => body);
  expect([bodies.length, new Set(bodies).size]).toEqual([2, 1]);
});

test('what is forgotten of an ordered endpoint lets the next of its item through', async () => {
  const { database, subscribe, tell, work, receiver, letTimePass } = workers;
  const workspaceId = makeId();
  const endpointId = await subscribe(workspaceId, 'ordered', { is_ordered: true });
  receiver.answer = (_, response) => void response.writeHead(500).end();
  const old = await tell(workspaceId, 1);
  const kept = await tell(workspaceId, 1);
  await work();
  const switchTo = (isActive: boolean) =>
    database.pool.query('update webhook_endpoints set is_active = $2 where endpoint_id = $1', [endpointId, isActive]);
  await switchTo(false);
  await database.pool.query(
    `update webhook_messages set created_at = now() - interval '2 days' where message_id = $1`,
    [old],
  );
  await forgetMessages(database.pool, 1, 100);
  await switchTo(true);
  receiver.received.length = 0;
  receiver.answer = (_, response) => void response.writeHead(204).end();
  await letTimePass();
  await work();

  const requests = receiver.at(`/${workspaceId}/ordered`);
  expect(requests.map(({ headers }) => [headers['webhook-id'], headers['webhook-follows-gap']])).toEqual([
    [kept, 'true'],
  ]);
});

test('an event that one endpoint was told of by hand before its turn still reaches all', async () => {
  const { database, subscribe, tell, work, receiver } = workers;
  const workspaceId = makeId();
  const byHand = await subscribe(workspaceId, 'by-hand');
  await subscribe(workspaceId, 'other');
  const eventId = await tell(workspaceId, 1);
  await withTransaction(database.pool, async (client) => {
    const event = await findEventToTell(client, workspaceId, eventId);
    await insertMessages(client, [messageOf(event!)], false);
    await holdEndpoints(client, [byHand]);
    await replayMessage(client, byHand, eventId);
  });

  await work();
  await work();

  const counts = ['by-hand', 'other'].map((name) => receiver.at(`/${workspaceId}/${name}`).length);
  expect(counts).toEqual([1, 1]);
});

test('what a process cannot sign waits for one that can', async () => {
  const { database, subscribe, tell, work, receiver, letTimePass } = workers;
  const workspaceId = makeId();
  const elsewhere = makeKeyEncryption([randomBytes(32)]).seal(randomBytes(32));
  await subscribe(workspaceId, 'plain', { secret: elsewhere });
  const readable = await subscribe(workspaceId, 'readable', { event_types: ['nothing'] });
  await tell(workspaceId, 1);
  await work();
  const { rows } = await database.pool.query(
    `select last_error, failed_at, next_attempt_at > now() + interval '1 minute' as is_put_off
     from webhook_deliveries join webhook_queue using (delivery_id) join webhook_messages as messages on messages.message_id = webhook_deliveries.message_id
     where workspace_id = $1`,
    [workspaceId],
  );
  await database.pool.query(
    `update webhook_endpoints as endpoints set secret_sealed = other.secret_sealed, secret_key_id = other.secret_key_id
     from webhook_endpoints as other where endpoints.workspace_id = $1 and other.endpoint_id = $2`,
    [workspaceId, readable],
  );
  await letTimePass();
  await work();

  expect(rows).toEqual([
    { last_error: 'its secret cannot be opened with ENCRYPTION_KEY', failed_at: null, is_put_off: true },
  ]);
  expect(receiver.at(`/${workspaceId}/plain`)).toHaveLength(1);
});
