import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Route, Scope } from '#platform/route.ts';
import {
  administrator,
  readJson,
  startApplication,
  type Entry,
  type ProblemDocument,
  type Receipt,
  type TestApplication,
} from '../testing/application.ts';

const someId = '018f0000-0000-7000-8000-000000000000';

let application: TestApplication;
beforeAll(async () => {
  application = await startApplication({ backend: 'postgres' });
});
afterAll(() => application.close());

/** Sends a request to a row of a route table, with nothing but the headers given. */
function call(route: Route, headers: Record<string, string>): Promise<Response> {
  return fetch(`${application.url}${route.path.replaceAll(/\{\w+\}/g, someId)}`, {
    method: route.method.toUpperCase(),
    headers: { ...(route.method === 'get' ? {} : { 'content-type': 'application/json' }), ...headers },
    ...(route.method === 'get' ? {} : { body: '{}' }),
  });
}

const nameOf = (route: Route) => `${route.method.toUpperCase()} ${route.path}`;
const guarded = () => application.routes.filter((route) => route.access !== 'public');

describe('every row of the route tables', () => {
  test('is closed to the public, but for the few that operators and platforms ask', () => {
    const open = application.routes.filter((route) => route.access === 'public').map(nameOf);
    expect(open.toSorted()).toEqual([
      'GET /health',
      'GET /health/live',
      'GET /health/ready',
      'GET /ipfs/{address...}',
      'GET /log/anchors',
      'GET /log/checkpoint',
      'GET /log/key',
      'GET /log/keys',
      'GET /log/tile/{tile...}',
      'GET /metrics',
      'GET /public/items/{dfid}',
      'GET /public/items/{dfid}/proofs/{place}',
      'GET /verify',
      'GET /version',
    ]);
    expect(guarded().length).toBeGreaterThan(10);
  });

  test('that is not public answers 401 with a challenge without credentials, and with bad ones', async () => {
    const wrong: Record<string, string>[] = [
      {},
      { 'x-api-key': '' },
      { 'x-api-key': `dfm_${'a'.repeat(40)}` },
      { 'x-api-key': 'dfm_short' },
      { 'x-api-key': `dfm_${'a'.repeat(40)}\u00e9` },
      { authorization: `Bearer dfm_${'a'.repeat(40)}` },
      { authorization: 'Bearer ' },
      { authorization: `Basic ${btoa(`${administrator.email}:${administrator.password}`)}` },
    ];
    for (const route of guarded()) {
      for (const headers of wrong) {
        const response = await call(route, headers);
        expect([nameOf(route), headers, response.status]).toEqual([nameOf(route), headers, 401]);
        expect(response.headers.get('www-authenticate')).toMatch(/^Bearer realm="defarm"/);
        expect((await readJson<ProblemDocument>(response)).error).toBe('unauthenticated');
      }
    }
  });

  test('that needs more than a key has answers 403, and takes every key that has enough', async () => {
    const order: Scope[] = ['read', 'write', 'admin'];
    const keys = new Map<Scope, string>();
    for (const scope of order) keys.set(scope, await application.createKey({ scope }));
    for (const route of guarded()) {
      for (const [scope, key] of keys) {
        const response = await call(route, { 'x-api-key': key });
        const isEnough = order.indexOf(scope) >= order.indexOf(route.access as Scope);
        expect([nameOf(route), scope, response.status === 403]).toEqual([nameOf(route), scope, !isEnough]);
        expect(response.status).not.toBe(401);
        expect(response.status).toBeLessThan(500);
      }
    }
  });

  test('that changes something needs more than the scope read', () => {
    const harmless = new Set([
      'POST /api/receipts/{receipt_id}/verify',
      'POST /api/dfid/validate',
      'POST /api/merkle/verify',
      'POST /api/merkle/sync-check',
    ]);
    const changing = guarded().filter((route) => route.method !== 'get' && !harmless.has(nameOf(route)));
    expect(changing.length).toBeGreaterThan(0);
    for (const route of changing) expect([nameOf(route), route.access]).not.toEqual([nameOf(route), 'read']);
  });

  test('answers 405 with the methods it takes to any other', async () => {
    for (const { path } of application.routes) {
      const response = await fetch(`${application.url}${path.replaceAll(/\{\w+\}/g, someId)}`, { method: 'PROPFIND' });
      expect([path, response.status]).toEqual([path, 405]);
      expect(response.headers.get('allow')).toContain('OPTIONS');
    }
  });
});

describe('credentials', () => {
  test('are taken from X-API-Key and from Authorization: Bearer', async () => {
    const { apiKey } = application;
    for (const headers of [
      { 'x-api-key': apiKey },
      { authorization: `Bearer ${apiKey}` },
      { authorization: `bearer  ${apiKey}` },
    ] as Record<string, string>[])
      expect((await fetch(`${application.url}/api/receipts`, { headers })).status).toBe(200);
  });

  test('are checked before the body is read', async () => {
    const response = await fetch(`${application.url}/api/receipts`, {
      method: 'POST',
      body: '{ malformed',
      headers: { 'content-type': 'text/plain' },
    });
    expect(response.status).toBe(401);
  });

  test.each(['revoked_at', 'expires_at'])('with a time in the past under %s are not taken', async (column) => {
    const key = await application.createKey({ scope: 'read' });
    await application.database.pool.query(
      `update api_keys set ${column} = now() - interval '1 second'
       where api_key_id = (select api_key_id from api_keys order by created_at desc, api_key_id desc limit 1)`,
    );
    expect((await application.fetch('/api/receipts', { headers: { 'x-api-key': key } })).status).toBe(401);
  });
});

describe('what another workspace sent', () => {
  let receipt: Receipt;
  let entry: Entry;
  let eventId: string;
  let stranger: Record<string, string>;

  beforeAll(async () => {
    const response = await application.submit(
      JSON.stringify({
        identifiers: [{ identifier_type: 'sisbov', value: 'BR300000000001' }],
        metadata: { secret: 'of the first workspace' },
        events: [{ event_type: 'vaccinated', occurred_at: '2024-05-01T10:00:00Z', payload: {}, visibility: 'private' }],
      }),
    );
    receipt = await application.settle((await readJson<Receipt>(response)).receipt_id);
    entry = (
      await readJson<{ entries: Entry[] }>(await application.fetch(`/api/receipts/${receipt.receipt_id}/entries`))
    ).entries[0]!;
    const events = await readJson<{ events: { id: string }[] }>(await application.fetch('/api/events'));
    eventId = events.events[0]!.id;
    stranger = { 'x-api-key': await application.createKey({ scope: 'admin', workspace: 'Strangers' }) };
  });

  test('is 404 for each path under its id, exactly as if it did not exist', async () => {
    const paths = (id: string) =>
      [
        ['GET', `/api/receipts/${id}`],
        ['GET', `/api/receipts/${id}/entries`],
        ['GET', `/api/receipts/${id}/entries.csv`],
        ['GET', `/api/receipts/${id}/body`],
        ['POST', `/api/receipts/${id}/retry`],
        ['POST', `/api/receipts/${id}/verify`],
      ] as const;
    const read = async (method: string, path: string) => {
      const response = await application.fetch(path, { method, headers: stranger });
      const problem = await readJson<ProblemDocument>(response);
      return { status: response.status, detail: problem.detail };
    };
    for (const [at, [method, path]] of paths(receipt.receipt_id).entries()) {
      const own = await application.fetch(path, { method });
      expect([path, own.status < 300]).toEqual([path, true]);
      await own.arrayBuffer();
      const foreign = await read(method, path);
      expect(foreign.status).toBe(404);
      expect(foreign).toEqual(await read(method, paths(someId)[at]![1]));
    }
    for (const path of [`/api/events/${eventId}`, `/api/items/${entry.dfid}`, `/api/items/${entry.dfid}/provenance`]) {
      expect((await application.fetch(path)).status).toBe(200);
      expect([path, (await read('GET', path)).status]).toEqual([path, 404]);
    }
  });

  test('is in none of its lists', async () => {
    for (const [path, plural] of [
      ['/api/receipts', 'receipts'],
      ['/api/items', 'items'],
      ['/api/items?identifier_type=sisbov&value=BR300000000001', 'items'],
      [`/api/items?dfid=${entry.dfid}`, 'items'],
      ['/api/events', 'events'],
      [`/api/events?dfid=${entry.dfid}`, 'events'],
    ] as const) {
      const own = await readJson<Record<string, unknown[]>>(await application.fetch(path));
      expect([path, own[plural]!.length > 0]).toEqual([path, true]);
      const response = await application.fetch(path, { headers: stranger });
      if (response.status === 404) continue;
      const page = await readJson<Record<string, unknown>>(response);
      expect([path, page[plural], page['total']]).toEqual([path, [], 0]);
    }
  });

  test('is not told by the text of a conflict with it: neither its values nor their types', async () => {
    const rival = { 'x-api-key': await application.createKey({ scope: 'admin', workspace: 'Rivals' }) };
    const chip = { identifier_type: 'chip', value: '982000000000017' };
    const own = await application.submit(
      JSON.stringify({ identifiers: [{ identifier_type: 'sisbov', value: 'BR300000000017' }, chip] }),
    );
    await application.settle((await readJson<Receipt>(own)).receipt_id);
    const body = JSON.stringify({ identifiers: [chip, { identifier_type: 'sisbov', value: 'BR300000000018' }] });
    const answer = await application.submit(body, { ...rival, prefer: 'wait=20' });
    const { receipt_id: receiptId } = await readJson<Receipt>(answer);
    const conflicted = await readJson<{ entries: Entry[] }>(
      await application.fetch(`/api/receipts/${receiptId}/entries`, { headers: rival }),
    );

    expect(conflicted.entries[0]).toMatchObject({
      status: 'conflicted',
      error: { code: 'identifier_conflict', pointer: '' },
    });
    expect(conflicted.entries[0]!.error!.detail).not.toMatch(/sisbov|chip|\d/i);
  });

  test('cannot be reached by naming a workspace in the query, the headers or the body', async () => {
    const { rows } = await application.database.pool.query<{ workspace_id: string }>(
      'select workspace_id from receipts where receipt_id = $1',
      [receipt.receipt_id],
    );
    const workspaceId = rows[0]!.workspace_id;
    const response = await application.fetch(`/api/receipts?workspace_id=${workspaceId}`, {
      headers: { ...stranger, 'x-workspace-id': workspaceId },
    });
    expect(await readJson<{ total: number }>(response)).toMatchObject({ total: 0 });
  });
});

describe('filters', () => {
  test.each([
    ['identifier_type=sisbov', 'value'],
    ['value=BR300000000001', 'identifier_type'],
    ['value_chain=WHEAT', 'value_chain'],
    ['status=gone', 'status'],
  ])('%s on items is refused by name, rather than ignored', async (query, parameter) => {
    const response = await application.fetch(`/api/items?${query}`);

    expect(response.status).toBe(400);
    expect(await readJson<ProblemDocument>(response)).toMatchObject({ errors: [{ pointer: parameter }] });
  });

  test('take words in any case, value chains by their aliases, and ids in upper case', async () => {
    const items = await readJson<{ items: { id: string }[]; total: number }>(await application.fetch('/api/items'));
    const active = await readJson<{ total: number }>(await application.fetch('/api/items?status=ACTIVE'));
    const generic = await readJson<{ total: number }>(await application.fetch('/api/items?value_chain=Generic'));
    const one = await application.fetch(`/api/items/${items.items[0]!.id.toUpperCase()}`);

    expect(items.total).toBeGreaterThan(0);
    expect([active.total, generic.total, one.status]).toEqual([items.total, items.total, 200]);
  });
});
