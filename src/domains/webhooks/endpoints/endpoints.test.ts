import { createPublicKey, verify } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { withTransaction, type Queryable } from '#platform/database.ts';
import { readConfig } from '../../../config.ts';
import { startWeb } from '../../../start-web.ts';
import { waitFor } from '../../../testing/application.ts';
import {
  startWebhookApplication,
  type ItemMessage,
  type ShownEndpoint,
  type WebhookApplication,
} from '../../../testing/webhook-application.ts';
import { verified } from '../../../testing/webhook-receiver.ts';
import { holdEndpoints } from '../deliveries/queue.store.ts';
import { filterPath } from './message-filter.ts';

let webhooks: WebhookApplication;

/** Waits until so many connections wait for a lock. */
const waitUntilWaiting = (pool: Queryable, count: number) =>
  waitFor(async () => {
    const { rowCount } = await pool.query(
      `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
    );
    return rowCount === count ? true : undefined;
  }, `${count} connections to wait`);

beforeAll(async () => {
  webhooks = await startWebhookApplication();
});
afterAll(() => webhooks.close());

describe('a filter', () => {
  test('lets only messages through that are like that', async () => {
    const { receiver, subscribe, newItem, weigh, arrived, whenSettled } = webhooks;
    const heavy = await subscribe({
      events: ['weighed'],
      filter: [{ pointer: '/data/payload/kg', operator: 'at_least', value: 450 }],
    });
    const all = await subscribe({ events: ['weighed'] });
    const dfid = await newItem();
    for (const kg of [449, 450, 600]) await weigh(dfid, kg);
    await arrived(all.path, 3);
    await whenSettled(heavy.id, 2);

    const weights = receiver
      .at(heavy.path)
      .map((each) => Number((verified(heavy.secret, each) as ItemMessage).data.payload['kg']));
    expect(weights.toSorted((a, b) => a - b)).toEqual([450, 600]);
  });

  const body = JSON.stringify({ data: { dfid: 'DFID-1', payload: { kg: 450, tags: ['a', 'b'], 'odd/"name~': null } } });
  test.each([
    ['equals', '/data/dfid', 'DFID-1', true],
    ['equals', '/data/dfid', 'DFID-2', false],
    ['equals', '/data/payload/tags', 'b', true],
    ['equals', '/data/payload/odd~1"name~0', null, true],
    ['equals', '/data/none', 'x', false],
    ['not_equals', '/data/dfid', 'DFID-2', true],
    ['not_equals', '/data/payload/tags', 'b', false],
    ['not_equals', '/data/none', 'x', true],
    ['one_of', '/data/payload/kg', [1, 450], true],
    ['one_of', '/data/payload/kg', ['450'], false],
    ['at_least', '/data/payload/kg', 450.5, false],
    ['at_most', '/data/payload/kg', 450, true],
    ['at_most', '/data/dfid', 450, false],
    ['starts_with', '/data/dfid', 'DFID', true],
    ['starts_with', '/data/payload/kg', '4', false],
    ['exists', '/data/payload/tags', true, true],
    ['exists', '/data/payload/tags', false, false],
    ['exists', '/data/none', false, true],
  ] as const)('says of %s %s %j: %s', async (operator, pointer, value, isLike) => {
    const path = filterPath([{ operator, pointer, value: value as string }]);
    const { rows } = await webhooks.application.database.pool.query<{ matches: boolean }>(
      'select webhook_message_matches($1, $2::jsonpath) as matches',
      [body, path],
    );

    expect(rows[0]!.matches).toBe(isLike);
  });

  test('holds up nothing when a message is no JSON for Postgres', async () => {
    const { rows } = await webhooks.application.database.pool.query<{ matches: boolean }>(
      'select webhook_message_matches($1, $2::jsonpath) as matches',
      ['{"data":"\\ud800"}', filterPath([{ operator: 'exists', pointer: '/data', value: true }])],
    );

    expect(rows[0]!.matches).toBe(false);
  });

  test.each([
    [{ pointer: 'data', operator: 'equals', value: 1 }, '/filter/0/pointer'],
    [{ pointer: '/data', operator: 'at_least', value: 'x' }, '/filter/0/value'],
    [{ pointer: '/data', operator: 'like_regex', value: 'x' }, '/filter/0/operator'],
  ])('that is none, %j, is refused', async (condition, pointer) => {
    const { status, body: problem } = await webhooks.ask<{ errors: { pointer: string }[] }>('POST', '/api/webhooks', {
      name: 'ERP',
      url: webhooks.receiver.url,
      events: [],
      filter: [condition],
    });

    expect([status, problem.errors[0]!.pointer]).toEqual([422, pointer]);
  });
});

test('a rate lets requests begin one after the other, evenly', async () => {
  const { receiver, subscribe, newItem, weigh, arrived } = webhooks;
  const begun: number[] = [];
  const limited = await subscribe({ events: ['weighed'], requests_per_minute: 600 });
  receiver.answer = ({ path }, response) => {
    if (path === limited.path) begun.push(performance.now());
    response.writeHead(204).end();
  };
  const dfid = await newItem();
  for (let kg = 0; kg < 16; kg += 1) await weigh(dfid, kg);

  await arrived(limited.path, 16);

  // 60,000 ms / 600 between two, and the first may take a third of that of all longer on its way than the last.
  expect(begun.at(-1)! - begun[0]!).toBeGreaterThan(1000);
});

describe('signatures v1a', () => {
  const isSignedBy = (publicKey: string, { headers, body }: { headers: Record<string, unknown>; body: string }) => {
    const prefix = Buffer.from('302a300506032b6570032100', 'hex');
    const bytes = Buffer.concat([prefix, Buffer.from(publicKey.slice('whpk_'.length), 'base64')]);
    const key = createPublicKey({ key: bytes, format: 'der', type: 'spki' });
    const signed = `${String(headers['webhook-id'])}.${String(headers['webhook-timestamp'])}.${body}`;
    return String(headers['webhook-signature'])
      .split(' ')
      .filter((each) => each.startsWith('v1a,'))
      .some((each) => verify(null, Buffer.from(signed), key, Buffer.from(each.slice(4), 'base64')));
  };

  test('are checked with a public key, stand beside v1, and turn with it', async () => {
    const { subscribe, newItem, arrived, ask } = webhooks;
    const endpoint = await subscribe({ signing: 'v1a', events: ['item_created'] });
    await newItem();
    const [first] = await arrived(endpoint.path);
    const { body: rotated } = await ask<ShownEndpoint>('POST', `/api/webhooks/${endpoint.id}/rotate-secret`);
    await newItem();
    const [, second] = await arrived(endpoint.path, 2);

    expect(verified(endpoint.secret, first!)).toMatchObject({ type: 'item_created' });
    expect(isSignedBy(endpoint.public_key!, first!)).toBe(true);
    expect(isSignedBy(rotated.public_key!, first!)).toBe(false);
    expect([endpoint, rotated].map(({ public_key: key }) => isSignedBy(key!, second!))).toEqual([true, true]);
  });

  test('come and go with a change of the endpoint', async () => {
    const { subscribe, ask } = webhooks;
    const { id, public_key: none } = await subscribe();
    const change = async (signing: string) =>
      (await ask<ShownEndpoint>('PUT', `/api/webhooks/${id}`, { signing })).body.public_key;
    const [made, same, gone] = [await change('v1a'), await change('v1a'), await change('v1')];

    expect([none, made, gone]).toEqual([null, expect.stringMatching(/^whpk_[A-Za-z0-9+/]{43}=$/), null]);
    expect(same).toBe(made);
  });
});

describe('the same request again, by its Idempotency-Key,', () => {
  const sendAgain = { 'idempotency-key': 'once' };

  test('gets the endpoint and the secret that it got first, whatever became of them', async () => {
    const { ask, receiver, ownKey } = webhooks;
    const create = (name: string) =>
      ask<ShownEndpoint>('POST', '/api/webhooks', { name, url: receiver.url, events: [] }, ownKey, sendAgain);
    const [first, again, another] = [await create('ERP'), await create('ERP'), await create('Other')];
    await ask('POST', `/api/webhooks/${first.body.id}/rotate-secret`);
    const afterRotation = await create('ERP');
    await ask('DELETE', `/api/webhooks/${first.body.id}`);
    const afterDeletion = await create('ERP');

    expect([first.status, another.status]).toEqual([201, 422]);
    for (const answer of [again, afterRotation, afterDeletion]) {
      expect([answer.status, answer.body]).toEqual([201, first.body]);
      expect(answer.headers.get('location')).toBe(`/api/webhooks/${first.body.id}`);
      expect(answer.headers.get('idempotency-replayed')).toBe('true');
    }
  });

  test('rotates a secret once, so that the one before goes on signing', async () => {
    const { ask, subscribe, ownKey, newItem, arrived } = webhooks;
    const endpoint = await subscribe({ events: ['item_created'] });
    const rotate = () =>
      ask<ShownEndpoint>('POST', `/api/webhooks/${endpoint.id}/rotate-secret`, undefined, ownKey, sendAgain);
    const [first, again] = [await rotate(), await rotate()];
    await newItem();
    const [request] = await arrived(endpoint.path, 1);

    expect([again.status, again.body]).toEqual([200, first.body]);
    expect(first.body.secret).not.toBe(endpoint.secret);
    for (const secret of [endpoint.secret, first.body.secret])
      expect(verified(secret!, request!)).toMatchObject({ type: 'item_created' });
  });

  test('that two processes get at once rotates a secret once', async () => {
    const { ask, subscribe, application, ownKey } = webhooks;
    const { id } = await subscribe();
    const other = await startWeb(
      readConfig(application.environment),
      application.environment['DATABASE_URL']!,
      '127.0.0.1',
    );
    const secret = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
    const path = `/api/webhooks/${id}/rotate-secret`;
    const headers = { 'x-api-key': ownKey, 'content-type': 'application/json', ...sendAgain };

    const rotating = await withTransaction(application.database.pool, async (client) => {
      await holdEndpoints(client, [id]);
      const both = [application.url, `http://127.0.0.1:${other.port}`].map((url) =>
        fetch(url + path, { method: 'POST', headers, body: JSON.stringify({ secret }) }),
      );
      await waitUntilWaiting(application.database.pool, 2);
      return both;
    });
    const answers = await Promise.all(rotating);
    const bodies = await Promise.all(answers.map((answer) => answer.text()));
    await other.stop();

    expect(answers.map(({ status }) => status)).toEqual([200, 200]);
    expect(bodies[0]).toBe(bodies[1]);
    expect((await ask<ShownEndpoint>('GET', `/api/webhooks/${id}`)).status).toBe(200);
  });

  test('finds its answer kept, with the secret sealed', async () => {
    const { application, ask, receiver, ownKey } = webhooks;
    const request = { name: 'Sealed', url: receiver.url, events: [] };
    const { body } = await ask<ShownEndpoint>('POST', '/api/webhooks', request, ownKey, {
      'idempotency-key': 'sealed',
    });
    const { rows } = await application.database.pool.query<{ body: { sealed: string } }>(
      `select answer -> 'body' as body from idempotency_keys where key = 'sealed'`,
    );

    expect(rows).toEqual([{ body: { key_id: expect.any(String), sealed: expect.any(String) } }]);
    expect(Buffer.from(rows[0]!.body.sealed, 'base64').toString('latin1')).not.toContain(body.secret!.slice(6));
  });
});

test('endpoints are listed in pages that lead on', async () => {
  const { ask, receiver, application } = webhooks;
  const key = await application.createKey({ scope: 'write', workspace: 'Many endpoints' });
  for (const name of ['a', 'b', 'c']) await ask('POST', '/api/webhooks', { name, url: receiver.url, events: [] }, key);
  const list = (path: string) => ask<{ name: string }[]>('GET', path, undefined, key);

  const first = await list('/api/webhooks?limit=2&is_active=true');
  const next = /^<(.*)>; rel="next"$/.exec(first.headers.get('link') ?? '')?.[1];
  const second = await list(next!);

  expect([first, second].map(({ body }) => body.map(({ name }) => name))).toEqual([['a', 'b'], ['c']]);
  expect(second.headers.get('link')).toBeNull();
});

test('members of a change that are null stay, and created_by is nobody’s to say', async () => {
  const { ask, subscribe } = webhooks;
  const { id } = await subscribe({ name: 'ERP', circuit_id: '0199c0de-0000-7000-8000-000000000001' });
  const nothing = { name: null, url: null, events: null, is_active: null, headers: null, secret: null };
  const { status, body } = await ask<Record<string, unknown>>('PUT', `/api/webhooks/${id}`, {
    ...nothing,
    retry_config: null,
    created_by: '0199c0de-0000-7000-8000-000000000002',
  });
  const listed = await ask<{ id: string }[]>('GET', '/api/webhooks?circuit_id=0199c0de-0000-7000-8000-000000000001');

  expect(status).toBe(200);
  expect(body).toMatchObject({ name: 'ERP', is_active: true });
  expect(body['created_by']).not.toBe('0199c0de-0000-7000-8000-000000000002');
  expect(listed.body.map((each) => each.id)).toEqual([id]);
});

test('a change of the URL is judged, and a secret that is given signs beside the one before', async () => {
  const { ask, subscribe, newItem, arrived } = webhooks;
  const endpoint = await subscribe({ events: ['item_created'] });
  const secret = `whsec_${Buffer.alloc(24, 7).toString('base64')}`;
  const inside = await ask<{ errors: { pointer: string }[] }>('PUT', `/api/webhooks/${endpoint.id}`, {
    url: 'https://10.0.0.1/',
  });
  await ask('PUT', `/api/webhooks/${endpoint.id}`, { secret });
  await newItem();
  const [request] = await arrived(endpoint.path);

  expect([inside.status, inside.body.errors[0]!.pointer]).toEqual([422, '/url']);
  expect([verified(secret, request!), verified(endpoint.secret, request!)]).toHaveLength(2);
});

test.each([
  [{ type: 'bearer', token: 't0ken' }, { authorization: 'Bearer t0ken' }],
  [{ type: 'api_key', key: 'k3y' }, { 'x-api-key': 'k3y' }],
  [{ type: 'custom_header', name: 'X-Farm-Token', value: 'v4lue' }, { 'x-farm-token': 'v4lue' }],
])('requests authenticate themselves by %j', async (auth, headers) => {
  const { subscribe, newItem, arrived } = webhooks;
  const endpoint = await subscribe({ events: ['item_created'], auth });
  await newItem();
  const [request] = await arrived(endpoint.path);

  expect(request!.headers).toMatchObject(headers);
});

test.each([
  { type: 'bearer', token: 'a\r\nb' },
  { type: 'api_key', key: '€' },
])('credentials that cannot be in a header, %j, are refused', async (auth) => {
  const { status } = await webhooks.ask('POST', '/api/webhooks', {
    name: 'ERP',
    url: webhooks.receiver.url,
    events: [],
    auth,
  });

  expect(status).toBe(422);
});

test('whatever was told can be told again, also what is no event', async () => {
  const { ask, subscribe, arrived, whenSettled } = webhooks;
  const endpoint = await subscribe({ events: ['receipt_settled'] });
  const { body: tested } = await ask<{ event_id: string }>('POST', `/api/webhooks/${endpoint.id}/test`);
  await arrived(endpoint.path);
  await whenSettled(endpoint.id, 1);

  const { status, body } = await ask('POST', `/api/webhooks/${endpoint.id}/replay`, { event_id: tested.event_id });
  const requests = await arrived(endpoint.path, 2);

  expect([status, body]).toMatchObject([202, { queued: 1 }]);
  expect(new Set(requests.map((each) => each.body)).size).toBe(1);
});

test('credentials do not follow a webhook to another host unless they are given again', async () => {
  const { ask, subscribe } = webhooks;
  const auth = { type: 'bearer', token: 't0ken' };
  const { id } = await subscribe({ auth });
  const change = async (body: object) => (await ask('PUT', `/api/webhooks/${id}`, body)).status;

  const moved = await change({ url: 'https://elsewhere.example.com/' });
  const movedWith = await change({ url: 'https://elsewhere.example.com/', auth });
  const samePlace = await change({ url: 'https://elsewhere.example.com/other' });

  expect([moved, movedWith, samePlace]).toEqual([422, 200, 200]);
});

test('two changes at once, of the host and of the headers, do not bring a credential to another host', async () => {
  const { ask, subscribe, application } = webhooks;
  const { id } = await subscribe({ headers: { 'X-Farm-Token': 'chave' } });
  const path = `/api/webhooks/${id}`;
  const elsewhere = 'https://elsewhere.example.com/';

  const changing = await withTransaction(application.database.pool, async (client) => {
    await holdEndpoints(client, [id]);
    const both = [
      ask('PUT', path, { url: elsewhere, headers: {} }),
      ask('PUT', path, { headers: { 'x-farm-token': '[redacted]' } }),
    ];
    await waitUntilWaiting(application.database.pool, 2);
    return both;
  });
  await Promise.all(changing);

  const { body } = await ask<{ url: string; headers: object }>('GET', path);
  expect(body).not.toMatchObject({ url: elsewhere, headers: { 'x-farm-token': '[redacted]' } });
});

test('a header that carries a credential is shown to nobody, stays when it is sent back so, and follows to no other host', async () => {
  const { ask, subscribe, newItem, arrived, receiver, whenSettled } = webhooks;
  const headers = { 'X-API-Key': 'chave-secreta', 'X-Farm': 'Boa Vista' };
  const endpoint = await subscribe({ headers, events: ['item_created'] });
  receiver.answer = (request, response) => void response.writeHead(200).end(String(request.headers['x-api-key']));
  const path = `/api/webhooks/${endpoint.id}`;
  const { body: shown } = await ask<{ headers: object }>('GET', path);
  const change = (body: object) => ask('PUT', path, body);

  const renamed = await change({ headers: { ...shown.headers, 'x-farm': 'Santa Rita' } });
  const moved = await change({ url: 'https://elsewhere.example.com/', headers: shown.headers });
  const movedWithout = await change({ url: 'https://elsewhere.example.com/' });
  await newItem();
  const [request] = await arrived(endpoint.path);
  await whenSettled(endpoint.id, 1);
  const { body: deliveries } = await ask('GET', `${path}/deliveries`);
  const { body: requests } = await ask('GET', `${path}/requests?after=0`);
  const movedWith = await change({ url: 'https://elsewhere.example.com/', headers });

  expect(shown.headers).toEqual({ 'x-api-key': '[redacted]', 'x-farm': 'Boa Vista' });
  expect([renamed, moved, movedWithout, movedWith].map(({ status }) => status)).toEqual([200, 422, 422, 200]);
  expect(request!.headers).toMatchObject({ 'x-api-key': 'chave-secreta', 'x-farm': 'Santa Rita' });
  expect(JSON.stringify([deliveries, renamed.body, requests])).not.toContain('chave-secreta');
  expect(JSON.stringify(requests)).toContain('Santa Rita');
});

test.each([
  [{ events: ['Item Created'] }, '/events/0'],
  [{ events: ['*'] }, '/events/0'],
  [{ headers: { 'X-A': '1', 'x-a': '2' } }, '/headers/x-a'],
  [{ headers: { 'Content-Encoding': 'br' } }, '/headers/Content-Encoding'],
  [{ headers: { 'x-key': '[redacted]' } }, '/headers/x-key'],
  [{ headers: Object.fromEntries(Array.from({ length: 51 }, (_, at) => [`x-${at}`, ''])) }, '/headers'],
  [{ auth: { type: 'basic', username: 'a:b', password: 'c' } }, '/auth/username'],
  [{ auth: { type: 'custom_header', name: 'host', value: 'x' } }, '/auth/name'],
])('a webhook with %j is refused with a pointer to what is wrong', async (more, pointer) => {
  const { status, body } = await webhooks.ask<{ errors: { pointer: string }[] }>('POST', '/api/webhooks', {
    name: 'ERP',
    url: webhooks.receiver.url,
    events: [],
    ...more,
  });

  expect([status, body.errors[0]!.pointer]).toEqual([422, pointer]);
});

test('a webhook may be made switched off, and members that are null are as if they were not there', async () => {
  const nothing = { auth: null, payload: null, concurrency: null, filter: null, signing: null, ordered: null };

  const endpoint = await webhooks.subscribe({ ...nothing, is_active: false });

  expect(endpoint).toMatchObject({ is_active: false, payload: 'full', concurrency: 4, ordered: false });
});

test('what a change of the attempts does not name stays, and without a word they are those of the installation', async () => {
  const { ask, subscribe } = webhooks;
  const { id } = await subscribe();
  const change = async (retry: object) => {
    const { body } = await ask<{ retry_config: object }>('PUT', `/api/webhooks/${id}`, { retry_config: retry });
    return body.retry_config;
  };

  const answers = [
    await change({ retry_delay: 5 }),
    await change({ max_retries: 2 }),
    await change({ retry_delay: null }),
  ];

  expect(answers).toEqual([
    { max_retries: 3, retry_delay: 5 },
    { max_retries: 2, retry_delay: 5 },
    { max_retries: 2, retry_delay: null },
  ]);
});

test('the same secret does not take the place of itself', async () => {
  const { ask, subscribe } = webhooks;
  const { id, secret } = await subscribe();

  const answers = [
    await ask('POST', `/api/webhooks/${id}/rotate-secret`, { secret }),
    await ask('PUT', `/api/webhooks/${id}`, { secret }),
  ];

  expect(answers.map(({ status }) => status)).toEqual([422, 422]);
});

test('signatures v1a end with the change that ends them', async () => {
  const { ask, subscribe, newItem, arrived } = webhooks;
  const { id, path } = await subscribe({ signing: 'v1a', events: ['item_created'] });
  await ask('POST', `/api/webhooks/${id}/rotate-secret`);
  await ask('PUT', `/api/webhooks/${id}`, { signing: 'v1' });
  await newItem();

  const [request] = await arrived(path);

  expect(request!.headers['webhook-signature']).not.toContain('v1a');
});

test('of a large message its first 16 KiB are shown with its delivery', async () => {
  const { ask, subscribe, newItem, whenSettled } = webhooks;
  const { id } = await subscribe({ events: ['weighed'] });
  await ask('POST', '/api/events', {
    dfid: await newItem(),
    event_type: 'weighed',
    payload: { note: 'x'.repeat(40_000) },
  });

  const [delivery] = (await whenSettled(id, 1)) as unknown as { request_body: unknown; status: string }[];

  expect(delivery).toMatchObject({ status: 'delivered', request_body: expect.stringMatching(/^.{16384}$/) as string });
});

test.each(['webhook_disabled', 'item_stored', 'receipt_settled'])(
  'a record cannot bring an event of type %s',
  async (type) => {
    const { status } = await webhooks.ask('POST', '/api/events', { dfid: await webhooks.newItem(), event_type: type });

    expect(status).toBe(422);
  },
);
