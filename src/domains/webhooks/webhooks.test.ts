import { randomBytes } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { readJson, startApplication, waitFor, type TestApplication } from '../../testing/application.ts';
import {
  startWebhookApplication,
  type ItemMessage as Message,
  type ShownDelivery as Delivery,
  type ShownEndpoint as Endpoint,
  type WebhookApplication,
} from '../../testing/webhook-application.ts';
import { verified, type WebhookReceiver } from '../../testing/webhook-receiver.ts';
import { makeKeyEncryption } from '#platform/key-encryption.ts';
import { findSealedOtherwise } from './endpoints/endpoints.store.ts';
import { resealSecrets, sealOpenHeaders } from './endpoints/reseal-secrets.ts';

let webhooks: WebhookApplication;
let application: TestApplication;
let receiver: WebhookReceiver;
let ownKey: string;
let strangersKey: string;
let ask: WebhookApplication['ask'];
let subscribe: WebhookApplication['subscribe'];
let newItem: WebhookApplication['newItem'];
let newIdentifier: WebhookApplication['newIdentifier'];
let weigh: WebhookApplication['weigh'];
let arrived: WebhookApplication['arrived'];
let deliveriesOf: WebhookApplication['deliveriesOf'];
let whenSettled: WebhookApplication['whenSettled'];

beforeAll(async () => {
  webhooks = await startWebhookApplication();
  ({ application, receiver, ownKey, strangersKey, ask, subscribe, newItem, newIdentifier, weigh } = webhooks);
  ({ arrived, deliveriesOf, whenSettled } = webhooks);
});
afterEach(() => {
  receiver.answer = (_, response) => void response.writeHead(204).end();
});
afterAll(() => webhooks.close());

describe('an event', () => {
  test('reaches the endpoints of its workspace, signed as Standard Webhooks says', async () => {
    const endpoint = await subscribe();
    const dfid = await newItem();

    const [request] = await arrived(endpoint.path);

    const message = verified(endpoint.secret, request!) as Message;
    const { body: event } = await ask<{ id: string; dfid: string }>('GET', `/api/events/${message.data.id}`);
    expect(message).toMatchObject({ type: 'item_created', data: { id: event.id, dfid } });
    expect(request!.headers).toMatchObject({
      'webhook-id': event.id,
      'content-type': 'application/json',
      'user-agent': expect.stringMatching(/^DeFarm-Engines\/\d/) as string,
    });
    const [delivery] = await whenSettled(endpoint.id, 1);
    expect(delivery).toMatchObject({
      event_id: event.id,
      status: 'delivered',
      attempt_number: 1,
      response_status_code: 204,
    });
    expect((await ask('GET', `/api/webhooks/${endpoint.id}/stats`)).body).toMatchObject({
      total_deliveries: 1,
      successful_deliveries: 1,
      failed_deliveries: 0,
    });
  });

  test('reaches no endpoint of others, and none that wants other types', async () => {
    const [all, weighings, others] = [
      await subscribe(),
      await subscribe({ events: ['weighed'] }),
      await subscribe({}, strangersKey),
    ];
    const dfid = await newItem();
    await weigh(dfid, 450);
    await arrived(all.path, 2);
    await whenSettled(weighings.id, 1);

    expect(
      receiver
        .at(all.path)
        .map((each) => (verified(all.secret, each) as Message).type)
        .toSorted(),
    ).toEqual(['item_created', 'weighed']);
    expect(receiver.at(weighings.path).map((each) => verified(weighings.secret, each))).toMatchObject([
      { type: 'weighed', data: { dfid, payload: { kg: 450 } } },
    ]);
    expect(receiver.at(others.path)).toEqual([]);
    const [delivery] = await whenSettled(all.id, 2);
    const as = (method: string, path: string, body?: object) =>
      ask(method, `/api/webhooks/${all.id}${path}`, body, strangersKey);
    const answers = await Promise.all([
      as('GET', ''),
      as('PUT', '', {}),
      as('DELETE', ''),
      as('POST', '/test'),
      as('POST', '/rotate-secret'),
      as('POST', '/enable'),
      as('POST', '/disable'),
      as('GET', '/deliveries'),
      as('GET', '/requests'),
      as('GET', `/deliveries/${delivery!.id}/attempts`),
      as('POST', `/deliveries/${delivery!.id}/retry`),
      as('POST', '/replay', { event_id: delivery!.event_id }),
      as('POST', '/recover', { since: '2020-01-01T00:00:00Z' }),
      as('POST', '/retry'),
      as('GET', '/stats'),
    ]);
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([404]));
  });

  test('is told by its ids alone where the payload is thin', async () => {
    const endpoint = await subscribe({ payload: 'thin', events: ['weighed'] });
    await weigh(await newItem(), 451);

    const [request] = await arrived(endpoint.path);

    const { data } = verified(endpoint.secret, request!) as Message;
    expect(Object.keys(data)).toEqual(['id', 'dfid', 'told_by']);
  });

  test('of a conflict is told, too', async () => {
    const endpoint = await subscribe({ events: ['conflict_opened'] });
    const identifiers = [0, 1].map(() => newIdentifier());
    const nature = { value_chain: 'BEEF', country: 'BR', year: 2025 };
    for (const identifier of identifiers) await ask('POST', '/api/items', { ...nature, identifiers: [identifier] });
    expect((await ask('POST', '/api/items', { ...nature, identifiers })).status).toBe(409);

    const [request] = await arrived(endpoint.path);

    expect(verified(endpoint.secret, request!)).toMatchObject({
      type: 'conflict_opened',
      data: { source_type: 'conflict' },
    });
  });
});

describe('what is no event of an item', () => {
  const receiptOf = (path: string, secret: string) =>
    receiver.at(path).map((each) => (verified(secret, each) as { data: object }).data);

  test('is told as well: a receipt whose records are all worked on', async () => {
    const endpoint = await subscribe({ events: ['receipt_settled'] });
    const send = (body: string, type: string) =>
      application.fetch('/api/receipts', {
        method: 'POST',
        headers: { 'x-api-key': ownKey, 'content-type': type, prefer: 'wait=20' },
        body,
      });
    const record = { value_chain: 'BEEF', country: 'BR', year: 2025 };
    const identifiers = () => [newIdentifier()];

    const worked = await readJson<{ receipt_id: string }>(
      await send(
        JSON.stringify([
          { ...record, identifiers: identifiers() },
          { ...record, identifiers: [] },
        ]),
        'application/json',
      ),
    );
    await arrived(endpoint.path, 1);
    const whole = await readJson<{ receipt_id: string }>(
      await send(JSON.stringify({ ...record, identifiers: identifiers() }), 'application/x-ndjson'),
    );
    await arrived(endpoint.path, 2);

    expect(receiptOf(endpoint.path, endpoint.secret)).toMatchObject([
      { receipt_id: worked.receipt_id, status: 'completed_with_errors', entries: 2 },
      { receipt_id: whole.receipt_id, status: 'completed', entries: 1 },
    ]);
  });

  test('is told as well: an endpoint that was switched off, to the others', async () => {
    const [gone, other] = [await subscribe(), await subscribe({ events: ['webhook_disabled'] })];
    receiver.answer = ({ path }, response) => void response.writeHead(path === gone.path ? 410 : 200).end();
    await newItem();

    const [request] = await arrived(other.path);

    expect(verified(other.secret, request!)).toMatchObject({
      type: 'webhook_disabled',
      data: { webhook_id: gone.id, reason: 'it answered 410: it is gone' },
    });
  });
});

describe('an endpoint', () => {
  test('shows its secret once, and is sent what authenticates us, which nobody is shown', async () => {
    const endpoint = await subscribe({
      headers: { 'X-Farm': 'Boa Vista', 'X-Farm-Token': 'chave-da-fazenda' },
      auth: { type: 'basic', username: 'erp', password: 'segredo' },
    });
    receiver.answer = ({ headers }, response) => {
      const { authorization = '' } = headers;
      response.writeHead(200, { 'x-echo': authorization }).end(JSON.stringify({ authorization, password: 'segredo' }));
    };
    await newItem();
    const [request] = await arrived(endpoint.path);
    const [delivery] = await whenSettled(endpoint.id, 1);
    const { body: attempts } = await ask('GET', `/api/webhooks/${endpoint.id}/deliveries/${delivery!.id}/attempts`);
    const shown = JSON.stringify([
      (await ask('GET', `/api/webhooks/${endpoint.id}`)).body,
      (await ask('GET', '/api/webhooks')).body,
      delivery,
      attempts,
    ]);
    const { rows } = await application.database.pool.query<Record<string, unknown>>('select * from webhook_endpoints');

    expect(request!.headers).toMatchObject({
      'x-farm': 'Boa Vista',
      'x-farm-token': 'chave-da-fazenda',
      authorization: `Basic ${Buffer.from('erp:segredo').toString('base64')}`,
    });
    const kept = Buffer.concat(
      rows
        .flatMap((row) => Object.values(row))
        .map((value) => (Buffer.isBuffer(value) ? value : Buffer.from(JSON.stringify(value) ?? ''))),
    );
    for (const text of [
      'segredo',
      'chave-da-fazenda',
      Buffer.from('erp:segredo').toString('base64'),
      endpoint.secret,
    ]) {
      expect(shown).not.toContain(text);
      expect(kept.indexOf(text)).toBe(-1);
    }
    expect(kept.indexOf(Buffer.from(endpoint.secret.slice(6), 'base64'))).toBe(-1);
    expect(shown).toContain('[redacted]');
  });

  test('is signed for with both secrets for a day when another takes the place of one', async () => {
    const endpoint = await subscribe();
    const { body: rotated } = await ask<{ secret: string }>('POST', `/api/webhooks/${endpoint.id}/rotate-secret`);
    await newItem();
    const [both] = await arrived(endpoint.path);
    await application.database.pool.query('update webhook_endpoints set previous_secret_until = now()');
    await newItem();
    const [, alone] = await arrived(endpoint.path, 2);

    expect(rotated.secret).not.toBe(endpoint.secret);
    expect([verified(endpoint.secret, both!), verified(rotated.secret, both!)]).toHaveLength(2);
    expect(verified(rotated.secret, alone!)).toBeDefined();
    expect(() => verified(endpoint.secret, alone!)).toThrow('No matching signature found');
  });

  test('is tested by a message of its own in the way of all others', async () => {
    const [endpoint, other] = [await subscribe(), await subscribe()];

    const { status, body } = await ask<{ event_id: string }>('POST', `/api/webhooks/${endpoint.id}/test`);
    const [request] = await arrived(endpoint.path);

    expect(status).toBe(202);
    expect(request!.headers['webhook-id']).toBe(body.event_id);
    expect(verified(endpoint.secret, request!)).toMatchObject({ type: 'webhook_test' });
    expect(receiver.at(other.path)).toEqual([]);
  });

  test('that is switched off is told of nothing that happens meanwhile', async () => {
    const [endpoint, other] = [await subscribe(), await subscribe()];
    await ask('POST', `/api/webhooks/${endpoint.id}/disable`);
    await newItem();
    await arrived(other.path);
    const tested = await ask('POST', `/api/webhooks/${endpoint.id}/test`);
    await ask('POST', `/api/webhooks/${endpoint.id}/enable`);
    await newItem();
    await arrived(endpoint.path);

    expect(tested.status).toBe(409);
    expect(receiver.at(endpoint.path)).toHaveLength(1);
  });

  test('that is deleted is gone with its deliveries', async () => {
    const [endpoint, other] = [await subscribe(), await subscribe()];
    await newItem();
    await whenSettled(endpoint.id, 1);

    expect((await ask('DELETE', `/api/webhooks/${endpoint.id}`)).status).toBe(204);

    await newItem();
    await arrived(other.path, 2);
    expect(receiver.at(endpoint.path)).toHaveLength(1);
    const { rowCount } = await application.database.pool.query(
      'select from webhook_deliveries where endpoint_id = $1',
      [endpoint.id],
    );
    expect([rowCount, (await ask('GET', `/api/webhooks/${endpoint.id}`)).status]).toEqual([0, 404]);
  });

  test.each([
    ['a secret that is none', { secret: 'whsec_dG9vIHNob3J0' }, 400, '/secret'],
    ['an address inside', { url: 'https://10.0.0.1/' }, 422, '/url'],
    ['a port that is not allowed', { url: 'http://127.0.0.1:1/' }, 422, '/url'],
    ['a header of ours', { headers: { 'Webhook-Id': 'x' } }, 422, '/headers/Webhook-Id'],
    ['a header that breaks out', { headers: { 'x-a': 'b\r\nhost: c' } }, 422, '/headers/x-a'],
    [
      'a header of ours for authentication',
      { auth: { type: 'custom_header', name: 'Host', value: 'x' } },
      422,
      '/auth/name',
    ],
  ])('is refused with %s', async (_, more, status, pointer) => {
    const answer = await ask<{ errors: { pointer: string }[] }>('POST', '/api/webhooks', {
      name: 'ERP',
      url: `${receiver.url}/`,
      events: [],
      ...more,
    });

    expect([answer.status, answer.body.errors[0]!.pointer]).toEqual([status, pointer]);
  });
});

describe('a delivery that fails', () => {
  test('is tried again with the same bytes and the same id, until it is taken', async () => {
    const endpoint = await subscribe();
    receiver.answer = ({ path }, response) =>
      void response.writeHead(receiver.at(path).length < 3 ? 503 : 200).end('nao agora');
    await newItem();
    const requests = await arrived(endpoint.path, 3);
    const [delivery] = await whenSettled(endpoint.id, 1);

    expect(new Set(requests.map(({ body }) => body)).size).toBe(1);
    expect(new Set(requests.map(({ headers }) => headers['webhook-id'])).size).toBe(1);
    expect(requests.map((each) => verified(endpoint.secret, each))).toHaveLength(3);
    expect(delivery).toMatchObject({ status: 'delivered', attempt_number: 3 });
    const { body: attempts } = await ask('GET', `/api/webhooks/${endpoint.id}/deliveries/${delivery!.id}/attempts`);
    expect(attempts).toMatchObject([
      { attempt_number: 1, response_status_code: 503, response_body: 'nao agora', error_message: 'it answered 503' },
      { attempt_number: 2, response_status_code: 503 },
      { attempt_number: 3, response_status_code: 200, error_message: null },
    ]);
  });

  test('is given up after the last attempt, is listed, and is sent once more when a person asks', async () => {
    const endpoint = await subscribe({ retry_config: { max_retries: 1 } });
    receiver.answer = (_, response) => void response.writeHead(500).end();
    await newItem();
    const [failed] = await whenSettled(endpoint.id, 1);
    receiver.answer = (_, response) => void response.writeHead(200).end();
    await ask('POST', `/api/webhooks/${endpoint.id}/deliveries/${failed!.id}/retry`);
    await arrived(endpoint.path, 3);
    const [retried] = await waitFor(async () => {
      const found = await deliveriesOf(endpoint.id);
      return found[0]!.status === 'delivered' ? found : undefined;
    }, 'the delivery');

    expect(failed).toMatchObject({ status: 'failed', attempt_number: 2, error_message: 'it answered 500' });
    expect(retried).toMatchObject({ id: failed!.id, attempt_number: 3 });
    expect(new Set(receiver.at(endpoint.path).map(({ body }) => body)).size).toBe(1);
  });

  test('with 410 switches its endpoint off, which says why', async () => {
    const endpoint = await subscribe({ events: ['item_created'] });
    receiver.answer = ({ path }, response) => void response.writeHead(path === endpoint.path ? 410 : 204).end();
    await newItem();
    await whenSettled(endpoint.id, 1);

    const { body } = await ask<Endpoint>('GET', `/api/webhooks/${endpoint.id}`);

    expect(body).toMatchObject({ is_active: false, disabled_reason: 'it answered 410: it is gone' });
    expect(receiver.at(endpoint.path)).toHaveLength(1);
  });

  test('again and again is put off, and then tried alone until one succeeds', async () => {
    const endpoint = await subscribe({ retry_config: { max_retries: 20, retry_delay: 1 } });
    const { pool } = application.database;
    await pool.query('update webhook_endpoint_state set failures = 4 where endpoint_id = $1', [endpoint.id]);
    receiver.answer = (_, response) => void response.writeHead(500).end();
    await newItem();
    await arrived(endpoint.path);
    const paused = await waitFor(async () => {
      const { body } = await ask<{ paused_until: string | null }>('GET', `/api/webhooks/${endpoint.id}/stats`);
      return body.paused_until ?? undefined;
    }, 'the pause');
    for (let at = 0; at < 3; at += 1) await newItem();
    const before = receiver.at(endpoint.path).length;
    const besideProbe: number[] = [];
    receiver.answer = ({ path }, response) => {
      const answer = () => void response.writeHead(200).end();
      if (path !== endpoint.path || receiver.at(path).length > before + 1) answer();
      else
        setTimeout(() => {
          besideProbe.push(receiver.at(path).length - before);
          answer();
        }, 300);
    };
    await pool.query('update webhook_queue set next_attempt_at = now() where endpoint_id = $1', [endpoint.id]);
    await pool.query(
      'update webhook_endpoint_state set open_until = now(), next_due_at = now() where endpoint_id = $1',
      [endpoint.id],
    );
    await whenSettled(endpoint.id, 4);

    expect(Date.parse(paused)).toBeGreaterThan(Date.now());
    expect(besideProbe).toEqual([1]);
    expect((await ask('GET', `/api/webhooks/${endpoint.id}/stats`)).body).toMatchObject({
      failures_in_a_row: 0,
      paused_until: null,
    });
  });

  test('again and again is not sent in a burst before the pause, nor after it, and the pauses grow by one step each', async () => {
    const endpoint = await subscribe({ concurrency: 1, events: ['weighed'], retry_config: { max_retries: 20 } });
    receiver.answer = ({ path }, response) => void response.writeHead(path === endpoint.path ? 500 : 204).end();
    const dfid = await newItem();
    const { pool } = application.database;
    const pauseSeconds = () =>
      waitFor(async () => {
        const { rows } = await pool.query<{ seconds: number | null }>(
          'select round(extract(epoch from open_until - now()))::int4 as seconds from webhook_endpoint_state where endpoint_id = $1',
          [endpoint.id],
        );
        return rows[0]!.seconds ?? undefined;
      }, 'a pause');
    for (let kg = 0; kg < 20; kg += 1) await weigh(dfid, kg);
    const first = await pauseSeconds();
    const before = receiver.at(endpoint.path).length;

    await pool.query('update webhook_queue set next_attempt_at = now() where endpoint_id = $1', [endpoint.id]);
    await pool.query(
      'update webhook_endpoint_state set open_until = null, next_due_at = now() where endpoint_id = $1',
      [endpoint.id],
    );
    const second = await pauseSeconds();
    const { body: tested } = await ask<{ event_id: string }>('POST', `/api/webhooks/${endpoint.id}/test`);
    await arrived(endpoint.path, 7);
    const third = await pauseSeconds();

    expect([before, receiver.at(endpoint.path).length]).toEqual([5, 7]);
    expect(receiver.at(endpoint.path).at(-1)!.headers['webhook-id']).toBe(tested.event_id);
    expect([first / 30, second / 60, third / 120].map(Math.round)).toEqual([1, 1, 1]);
  });

  test('holds up no other endpoint while its receiver hangs', async () => {
    const [hanging, healthy] = [await subscribe({ concurrency: 1 }), await subscribe()];
    receiver.answer = ({ path }, response) => {
      if (path !== hanging.path) response.writeHead(200).end();
    };
    for (let at = 0; at < 5; at += 1) await newItem();

    await arrived(healthy.path, 5);

    expect(receiver.at(hanging.path).length).toBeLessThan(5);
  });
});

describe('an ordered endpoint', () => {
  const weighingsOf = (path: string, secret: string) =>
    receiver.at(path).map((each) => ({
      kg: (verified(secret, each) as Message).data.payload['kg'],
      dfid: (verified(secret, each) as Message).data.dfid,
      followsGap: each.headers['webhook-follows-gap'],
    }));

  test('is told of the events of an item one after the other, and of others beside them', async () => {
    const endpoint = await subscribe({ ordered: true, events: ['weighed'], concurrency: 8 });
    const [slow, quick] = [await newItem(), await newItem()];
    const held: (() => void)[] = [];
    let [open, most] = [0, 0];
    receiver.answer = ({ path, body }, response) => {
      const end = () => void response.writeHead(200).end();
      if (path !== endpoint.path || !body.includes(slow)) return end();
      open += 1;
      most = Math.max(most, open);
      held.push(() => {
        open -= 1;
        end();
      });
    };
    for (let kg = 1; kg <= 5; kg += 1) for (const dfid of [slow, quick]) await weigh(dfid, kg);
    await waitFor(
      () =>
        weighingsOf(endpoint.path, endpoint.secret).filter(({ dfid }) => dfid === quick).length === 5
          ? true
          : undefined,
      'the events of the other item',
    );
    const before = weighingsOf(endpoint.path, endpoint.secret).filter(({ dfid }) => dfid === slow);
    for (let at = 0; at < 5; at += 1) (await waitFor(() => held.shift(), 'the next event'))();
    await whenSettled(endpoint.id, 10);

    expect(before.map(({ kg }) => kg)).toEqual([1]);
    expect(most).toBe(1);
    for (const dfid of [slow, quick]) {
      const told = weighingsOf(endpoint.path, endpoint.secret).filter((each) => each.dfid === dfid);
      expect(told.map(({ kg }) => kg)).toEqual([1, 2, 3, 4, 5]);
    }
  });

  test('waits for an event that fails until it is taken or given up, and then says that one is missing', async () => {
    const endpoint = await subscribe({ ordered: true, events: ['weighed'], retry_config: { max_retries: 2 } });
    const dfid = await newItem();
    receiver.answer = ({ path, body }, response) =>
      void response.writeHead(path === endpoint.path && body.includes('"kg":2}') ? 500 : 200).end();
    for (let kg = 1; kg <= 4; kg += 1) await weigh(dfid, kg);

    await whenSettled(endpoint.id, 4);

    expect(weighingsOf(endpoint.path, endpoint.secret).map(({ kg, followsGap }) => [kg, followsGap])).toEqual([
      [1, undefined],
      [2, undefined],
      [2, undefined],
      [2, undefined],
      [3, 'true'],
      [4, undefined],
    ]);
  });
});

describe('what was missed', () => {
  test('of a time is made up for: what failed, and what came while the endpoint was switched off', async () => {
    const [endpoint, other] = [await subscribe({ retry_config: { max_retries: 0 } }), await subscribe()];
    const since = new Date().toISOString();
    receiver.answer = ({ path }, response) => void response.writeHead(path === endpoint.path ? 500 : 200).end();
    await newItem();
    await whenSettled(endpoint.id, 1);
    await ask('POST', `/api/webhooks/${endpoint.id}/disable`);
    await newItem();
    await arrived(other.path, 2);
    const until = new Date().toISOString();
    receiver.answer = (_, response) => void response.writeHead(200).end();
    await ask('POST', `/api/webhooks/${endpoint.id}/enable`);

    const { status, body } = await ask('POST', `/api/webhooks/${endpoint.id}/recover`, { since, until });
    await arrived(endpoint.path, 3);

    expect([status, body]).toEqual([202, { queued: 2, is_complete: true }]);
    const ids = receiver.at(endpoint.path).map(({ headers }) => headers['webhook-id']);
    expect(new Set(ids)).toEqual(new Set(receiver.at(other.path).map(({ headers }) => headers['webhook-id'])));
    expect((await ask('POST', `/api/webhooks/${endpoint.id}/recover`, { since: until, until: since })).status).toBe(
      422,
    );
  });

  test('is told by one event, also one from before the endpoint was there, and once more when a person asks again', async () => {
    const dfid = await newItem();
    const { body } = await ask<{ events: { id: string }[] }>('GET', `/api/events?dfid=${dfid}`);
    const eventId = body.events[0]!.id;
    const [endpoint, other] = [await subscribe(), await subscribe()];

    const first = await ask('POST', `/api/webhooks/${endpoint.id}/replay`, { event_id: eventId });
    await whenSettled(endpoint.id, 1);
    const second = await ask('POST', `/api/webhooks/${endpoint.id}/replay`, { event_id: eventId });
    const requests = await arrived(endpoint.path, 2);

    expect(second.body).toEqual(first.body);
    expect(new Set(requests.map((each) => JSON.stringify(verified(endpoint.secret, each)))).size).toBe(1);
    expect(requests[0]!.headers['webhook-id']).toBe(eventId);
    expect(receiver.at(other.path)).toEqual([]);
    const unknown = { event_id: '0199aaaa-0000-7000-8000-000000000000' };
    expect((await ask('POST', `/api/webhooks/${endpoint.id}/replay`, unknown)).status).toBe(404);
  });
});

test('what was told is forgotten after its time, and what waits is not', async () => {
  const key = await application.createKey({ scope: 'write', workspace: 'Old' });
  const [told, waiting] = [
    await subscribe({ events: ['weighed'] }, key),
    await subscribe({ events: ['item_created'], retry_config: { max_retries: 5, retry_delay: 3600 } }, key),
  ];
  receiver.answer = ({ path }, response) => void response.writeHead(path === waiting.path ? 503 : 200).end();
  const count = async ({ id }: { id: string }) =>
    (
      await ask<Delivery[]>(
        'GET',
        `/api/webhooks/${id}/deliveries?status=${id === told.id ? 'delivered' : 'queued'}`,
        undefined,
        key,
      )
    ).body.length;
  const dfid = await newItem(key);
  await ask('POST', '/api/events', { dfid, event_type: 'weighed', payload: { kg: 455 } }, key);
  await waitFor(async () => ((await count(told)) === 1 ? true : undefined), 'the delivery');
  await arrived(waiting.path);
  await application.database.pool.query(`update webhook_messages set created_at = now() - interval '31 days'`);
  await application.database.pool.query('update maintenance_tasks set next_run_at = now()');

  await waitFor(async () => ((await count(told)) === 0 ? true : undefined), 'the delivery to be forgotten');

  expect(await count(waiting)).toBe(1);
});

test('secrets are sealed anew when ENCRYPTION_KEY is another one', async () => {
  const headers = { 'X-Farm-Token': 'chave' };
  const endpoint = await subscribe({ auth: { type: 'bearer', token: 'segredo' }, headers });
  const { ENCRYPTION_KEY: oldKey } = application.environment;
  const [before, after] = [Buffer.from(oldKey!, 'base64'), randomBytes(32)];
  const keys = makeKeyEncryption([after, before]);
  const broken = await subscribe();
  await application.database.pool.query(
    `update webhook_endpoints set secret_sealed = '\\x00'::bytea || secret_sealed where endpoint_id = $1`,
    [broken.id],
  );

  const resealed = await resealSecrets(application.database.pool, keys, 2);
  const further = await resealSecrets(application.database.pool, keys, 1000);
  const none = await resealSecrets(application.database.pool, keys, 1000);

  const all = { after: '00000000-0000-0000-0000-000000000000', limit: 1000 };
  const sealed = await findSealedOtherwise(application.database.pool, 'none', all);
  const alone = makeKeyEncryption([after]);
  const opened = sealed
    .filter(({ endpointId }) => endpointId === endpoint.id)
    .map((secret) => [secret.column, alone.open(secret)]);
  expect([resealed, further > 0, none]).toEqual([2, true, 0]);
  expect(Object.fromEntries(opened)).toEqual({
    secret_sealed: Buffer.from(endpoint.secret.slice(6), 'base64'),
    auth_sealed: Buffer.from('{"type":"bearer","token":"segredo"}'),
    header_credentials_sealed: Buffer.from('{"x-farm-token":"chave"}'),
  });
  await resealSecrets(application.database.pool, makeKeyEncryption([before, after]), 1000);
  await ask('DELETE', `/api/webhooks/${broken.id}`);
});

test('credentials in headers that a version before kept open are shown to nobody, are sent, and are sealed', async () => {
  const { pool } = application.database;
  const endpoint = await subscribe({ headers: { 'X-Farm-Token': 'chave' }, events: ['item_created'] });
  await pool.query(
    `update webhook_endpoints set headers = '{"x-farm":"Boa Vista","x-farm-token":"chave"}', header_credentials_sealed = null, header_credentials_key_id = null
     where endpoint_id = $1`,
    [endpoint.id],
  );
  const keys = makeKeyEncryption([Buffer.from(application.environment['ENCRYPTION_KEY']!, 'base64')]);
  const show = async () => (await ask<{ headers: object }>('GET', `/api/webhooks/${endpoint.id}`)).body.headers;

  const shownBefore = await show();
  await newItem();
  await arrived(endpoint.path, 1);
  await sealOpenHeaders(pool, keys, 1000);
  const { rows } = await pool.query<{ row: string }>(
    'select to_jsonb(webhook_endpoints)::text as row from webhook_endpoints where endpoint_id = $1',
    [endpoint.id],
  );
  await newItem();
  const requests = await arrived(endpoint.path, 2);

  expect(shownBefore).toEqual({ 'x-farm': 'Boa Vista', 'x-farm-token': '[redacted]' });
  expect(await show()).toEqual(shownBefore);
  expect(rows[0]!.row).not.toContain('chave');
  for (const { headers } of requests) expect(headers).toMatchObject({ 'x-farm': 'Boa Vista', 'x-farm-token': 'chave' });
});

test('what a version before writes of headers counts, beside what is sealed of them', async () => {
  const { pool } = application.database;
  const headers = { 'X-Farm-Token': 'velha', 'X-Other-Token': 'outra' };
  const endpoint = await subscribe({ headers, events: ['item_created'] });
  const keys = makeKeyEncryption([Buffer.from(application.environment['ENCRYPTION_KEY']!, 'base64')]);
  const write = (changed: object) =>
    pool.query('update webhook_endpoints set headers = $2 where endpoint_id = $1', [endpoint.id, changed]);
  const tokensSent = async (count: number) => {
    await newItem();
    const request = (await arrived(endpoint.path, count)).at(-1)!;
    return [request.headers['x-farm-token'], request.headers['x-other-token']];
  };

  await write({ 'x-farm-token': 'nova', 'x-other-token': '[redacted]' });
  const changed = await tokensSent(1);
  await sealOpenHeaders(pool, keys, 1000);
  const sealed = await tokensSent(2);
  await write({});
  await ask('PUT', `/api/webhooks/${endpoint.id}`, { name: 'so that it is looked at again' });
  const removed = await tokensSent(3);

  expect([changed, sealed, removed]).toEqual([
    ['nova', 'outra'],
    ['nova', 'outra'],
    [undefined, undefined],
  ]);
});

test('without ENCRYPTION_KEY there are no webhooks, and it says so', async () => {
  const bare = await startApplication({ backend: 'postgres', hasWorker: false });
  const response = await bare.fetch('/api/webhooks', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ name: 'ERP', url: 'https://example.com.br/', events: [] }),
  });
  const problem = await readJson<{ detail: string }>(response);
  await bare.close();

  expect([response.status, problem.detail]).toEqual([501, expect.stringContaining('ENCRYPTION_KEY')]);
});
