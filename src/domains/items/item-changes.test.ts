import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readJson, startApplication, type ProblemDocument, type TestApplication } from '../../testing/application.ts';
import { beginTransaction, findBrokenRules, waitUntilBlocked } from '../../testing/deduplication.ts';

interface Item {
  id: string;
  dfid: string;
  status: string;
  metadata: Record<string, unknown>;
  version: number;
  updated_at: string;
}

interface ItemEvent {
  id: string;
  event_type: string;
  payload: Record<string, unknown>;
  metadata: { entry_id: string } | null;
  occurred_at: string;
  visibility: string;
  is_duplicate: boolean;
  dfid: string;
}

interface Details {
  item: Item;
  events: ItemEvent[];
}

let nextNumber = 400_000_000_000;
const newSisbov = () => ({ identifier_type: 'sisbov', value: `BR${nextNumber++}` });
const newChip = () => ({ identifier_type: 'chip', value: `982${nextNumber++}` });

let application: TestApplication;
let neighbourKey: string;
let credentialId: string;
beforeAll(async () => {
  application = await startApplication({ backend: 'postgres' });
  neighbourKey = await application.createKey({ scope: 'write', workspace: 'Neighbours' });
  const { rows } = await application.database.pool.query<{ api_key_id: string }>(
    `select api_key_id from api_keys where scope = 'admin'`,
  );
  credentialId = rows[0]!.api_key_id;
});
afterAll(() => application.close());

function send(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Response> {
  return application.fetch(path, {
    method,
    headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
}

async function create(more: object = {}, headers: Record<string, string> = {}): Promise<Item> {
  const record = { value_chain: 'BEEF', country: 'BR', year: 2025, identifiers: [newSisbov()], ...more };
  return (await readJson<Details>(await send('POST', '/api/items', record, headers))).item;
}

async function read(name: string, headers: Record<string, string> = {}): Promise<Details & { etag: string }> {
  const response = await application.fetch(`/api/items/${name}`, { headers });
  return { ...(await readJson<Details>(response)), etag: response.headers.get('etag')! };
}

async function problemOf(response: Response): Promise<[number, string]> {
  return [response.status, (await readJson<ProblemDocument>(response)).error];
}

/** An item of ours that was merged into another. */
async function createMerged(): Promise<{ loser: Item; survivor: Item }> {
  const [sisbov, chip] = [newSisbov(), newChip()];
  const survivor = await create({ identifiers: [sisbov] });
  const loser = await create({ identifiers: [chip] });
  await create({ identifiers: [sisbov, chip] });
  return { loser, survivor };
}

const eventTypes = (events: readonly ItemEvent[]) => events.map((event) => event.event_type);

/** Every change of one item, as a request that would succeed. */
const changes: [string, (name: string, headers?: Record<string, string>) => Promise<Response>][] = [
  [
    'PUT /api/items/{id}',
    (name, headers) => send('PUT', `/api/items/${name}`, { metadata: { nota: nextNumber++ } }, headers),
  ],
  [
    'PUT /api/items/{id}/status',
    (name, headers) => send('PUT', `/api/items/${name}/status`, { status: 'inactive' }, headers),
  ],
  ['DELETE /api/items/{id}', (name, headers) => send('DELETE', `/api/items/${name}`, undefined, headers)],
  ['POST /api/events', (name, headers) => send('POST', '/api/events', { dfid: name, event_type: 'weighed' }, headers)],
];

describe.each(changes)('%s', (_name, change) => {
  test('is 404 for an item that the workspace contributed nothing to, and changes nothing', async () => {
    const item = await create();
    const before = await read(item.dfid);
    expect(await problemOf(await change(item.dfid, { 'x-api-key': neighbourKey }))).toEqual([404, 'not_found']);
    expect(await read(item.dfid)).toEqual(before);
  });

  test('is 404 for what is no item, and for a DFID with another checksum', async () => {
    const { dfid } = await create();
    const wrong = dfid.replace(/.$/, (last) => (last === '0' ? '1' : '0'));
    for (const missing of [
      '018f0000-0000-7000-8000-000000000000',
      'nonsense',
      'DFID-BEEF-BR-2025-999999-a3f2c1',
      wrong,
    ])
      expect([missing, ...(await problemOf(await change(missing)))]).toEqual([missing, 404, 'not_found']);
  });

  test('is 409 for an item that was merged, and changes neither it nor its survivor', async () => {
    const { loser, survivor } = await createMerged();
    const before = [await read(loser.dfid), await read(survivor.dfid)];
    expect(await problemOf(await change(loser.dfid))).toEqual([409, 'item_merged']);
    expect([await read(loser.dfid), await read(survivor.dfid)]).toEqual(before);
  });

  test('is 409 for an item that is merged while it waits for the lock', async () => {
    const { dfid, id } = await create();
    const number = Number.parseInt(id.slice(-12), 16);
    const merging = await beginTransaction(application.database);
    await merging.client.query('update items set merged_into = 1 where item_number = $1', [number]);
    const changing = change(dfid);
    await waitUntilSomebodyWaits(merging.backendPid);
    await merging.commit();
    expect(await problemOf(await changing)).toEqual([409, 'item_merged']);
    await application.database.pool.query('update items set merged_into = null where item_number = $1', [number]);
  });

  test('is refused to keys that may only read', async () => {
    const { dfid } = await create();
    const readKey = await application.createKey({ scope: 'read' });
    expect(await problemOf(await change(dfid, { 'x-api-key': readKey }))).toEqual([403, 'insufficient_scope']);
  });

  test('leaves what another workspace reads of the same item as it was', async () => {
    const identifiers = [newSisbov()];
    const { dfid } = await create({ identifiers, metadata: { peso: 1 } });
    await create({ identifiers, metadata: { raca: 'Angus' } }, { 'x-api-key': neighbourKey });
    const before = await read(dfid, { 'x-api-key': neighbourKey });
    expect((await change(dfid)).ok).toBe(true);
    expect(await read(dfid, { 'x-api-key': neighbourKey })).toEqual(before);
  });

  test('gives the item another ETag', async () => {
    const { dfid } = await create();
    const before = await read(dfid);
    expect((await change(dfid)).ok).toBe(true);
    expect((await read(dfid)).etag).not.toBe(before.etag);
  });
});

describe.each(changes.filter(([name]) => !name.startsWith('POST')))('%s', (_name, change) => {
  test('honours If-Match: 412 for another version, done for the current one and for *', async () => {
    const { dfid } = await create();
    const { etag } = await read(dfid);
    const refused = await change(dfid, { 'if-match': '"99"' });
    expect(refused.headers.get('etag')).toBe(etag);
    expect(await problemOf(refused)).toEqual([412, 'precondition_failed']);
    expect(await problemOf(await change(dfid, { 'if-match': 'junk' }))).toEqual([400, 'invalid_header']);
    expect((await read(dfid)).etag).toBe(etag);
    expect((await change(dfid, { 'if-match': etag })).ok).toBe(true);
    expect((await change(dfid, { 'if-match': etag })).status).toBe(412);
    expect((await change(dfid, { 'if-match': '*' })).ok).toBe(true);
  });

  test('lets one of many requests through that were made from the same version', async () => {
    const { dfid } = await create();
    const { etag } = await read(dfid);
    const answers = await Promise.all(Array.from({ length: 6 }, () => change(dfid, { 'if-match': etag })));
    expect(answers.map((answer) => (answer.ok ? 'done' : String(answer.status))).toSorted()).toEqual([
      '412',
      '412',
      '412',
      '412',
      '412',
      'done',
    ]);
  });
});

/** Waits until a connection waits for this one. */
async function waitUntilSomebodyWaits(backendPid: number): Promise<void> {
  for (;;) {
    const { rows } = await application.database.pool.query<{ pid: number }>(
      'select pid from pg_stat_activity where $1 = any(pg_blocking_pids(pid))',
      [backendPid],
    );
    if (rows[0]) return waitUntilBlocked(application.database, rows[0].pid);
  }
}

describe('PUT /api/items/{id}', () => {
  test('sets the named fields and leaves the others, by id and by DFID', async () => {
    const item = await create({ metadata: { raca: 'Nelore', peso: 410, nota: { a: 1 } } });
    const response = await send('PUT', `/api/items/${item.dfid}`, { metadata: { peso: 475.5, local: ['B'] } });
    expect(response.status).toBe(200);
    const edited = await readJson<Item>(response);
    expect(edited).toMatchObject({ id: item.id, version: 2, status: 'active' });
    expect(edited.metadata).toEqual({ raca: 'Nelore', peso: 475.5, nota: { a: 1 }, local: ['B'] });
    const now = await read(item.id);
    expect([now.item, now.etag]).toEqual([edited, response.headers.get('etag')]);
    expect((await send('PUT', `/api/items/${item.id}`, { metadata: { peso: 480 } })).status).toBe(200);
  });

  test('stores null as it was sent', async () => {
    const { dfid } = await create({ metadata: { peso: 410 } });
    const edited = await readJson<Item>(await send('PUT', `/api/items/${dfid}`, { metadata: { peso: null } }));
    expect(edited.metadata).toEqual({ peso: null });
  });

  test('tells in an event which fields changed and who did it', async () => {
    const { dfid } = await create({ metadata: { raca: 'Nelore', peso: 410 } });
    await send('PUT', `/api/items/${dfid}`, {
      metadata: { raca: 'Nelore', peso: 475, nota: 'x' },
      user_id: 'someone else',
    });
    const { events } = await read(dfid);
    expect(events.at(-1)).toMatchObject({
      event_type: 'item_updated',
      payload: { changed: ['peso', 'nota'], by: credentialId },
      visibility: 'private',
    });
  });

  test('is a receipt with the bytes as sent and an entry of the item, and shows in provenance', async () => {
    const { dfid } = await create({ metadata: { peso: 410 } });
    const text = '{ "metadata": {"peso": 475} }';
    await send('PUT', `/api/items/${dfid}`, text);
    const { receipts } = await readJson<{ receipts: { receipt_id: string; status: string; items: object }[] }>(
      await application.fetch('/api/receipts?limit=1'),
    );
    expect(receipts[0]).toMatchObject({ status: 'completed', items: { created: 0, updated: 1 } });
    const { receipt_id: receiptId } = receipts[0]!;
    expect(await (await application.fetch(`/api/receipts/${receiptId}/body`)).text()).toBe(text);
    const { entries } = await readJson<{ entries: object[] }>(
      await application.fetch(`/api/receipts/${receiptId}/entries`),
    );
    expect(entries).toMatchObject([{ status: 'completed', outcome: 'enriched', dfid }]);
    const provenance = await readJson<{ fields: object[] }>(await application.fetch(`/api/items/${dfid}/provenance`));
    expect(provenance.fields).toMatchObject([
      { field: 'peso', value: 475, source: { receipt_id: receiptId }, overwritten: [{ value: 410 }] },
    ]);
  });

  test('changes nothing, tells no event and makes no version when all values are there already', async () => {
    const { dfid } = await create({ metadata: { peso: 410 } });
    const before = await read(dfid);
    for (const metadata of [{ peso: 410 }, {}])
      expect((await send('PUT', `/api/items/${dfid}`, { metadata })).status).toBe(200);
    expect(await read(dfid)).toEqual(before);
  });

  test('stands at its time: what happened before it and is told later does not overwrite it', async () => {
    const identifiers = [newSisbov()];
    const { dfid } = await create({ identifiers, metadata: { peso: 400 } });
    await send('PUT', `/api/items/${dfid}`, { metadata: { peso: 500 } });
    await create({ identifiers, occurred_at: '2020-01-01T00:00:00Z', metadata: { peso: 100 } });
    expect((await read(dfid)).item.metadata).toEqual({ peso: 500 });
    await create({ identifiers, metadata: { peso: 600 } });
    expect((await read(dfid)).item.metadata).toEqual({ peso: 600 });
  });

  test('does not overwrite a value that is dated a moment ahead, and keeps its own in the past', async () => {
    const identifiers = [newSisbov()];
    const ahead = new Date(Date.now() + 120_000).toISOString();
    const { dfid } = await create({ identifiers, metadata: { peso: 400 } });
    await create({ identifiers, occurred_at: ahead, metadata: { peso: 700 } });
    const edited = await readJson<Item>(await send('PUT', `/api/items/${dfid}`, { metadata: { peso: 500 } }));
    expect(edited.metadata).toEqual({ peso: 700 });
    const { fields } = await readJson<{ fields: { overwritten: { value: number }[] }[] }>(
      await application.fetch(`/api/items/${dfid}/provenance`),
    );
    expect(fields[0]!.overwritten.map(({ value }) => value)).toEqual([500, 400]);
  });

  test('makes a version if and only if its values differ from those right before it, also below one that is dated ahead', async () => {
    const sisbov = newSisbov();
    await create({ identifiers: [sisbov], metadata: { peso: 450 } });
    const occurredAt = new Date(Date.now() + 200_000).toISOString();
    const { dfid, version } = await create({
      identifiers: [sisbov],
      metadata: { peso: 460 },
      occurred_at: occurredAt,
    });
    const versionAfter = async (peso: number) =>
      (await readJson<Item>(await send('PUT', `/api/items/${dfid}`, { metadata: { peso } }))).version;

    expect(await versionAfter(450)).toBe(version);
    expect(await versionAfter(455)).toBe(version + 1);
    expect(await versionAfter(455)).toBe(version + 1);
    expect(await versionAfter(450)).toBe(version + 2);
  });

  test('of many at once loses none', async () => {
    const { dfid } = await create();
    const names = Array.from({ length: 12 }, (_, at) => `field_${at}`);
    const answers = await Promise.all(
      names.map((name) => send('PUT', `/api/items/${dfid}`, { metadata: { [name]: name } })),
    );
    expect(answers.map((answer) => answer.status)).toEqual(names.map(() => 200));
    const { item } = await read(dfid);
    expect([item.metadata, item.version]).toEqual([Object.fromEntries(names.map((name) => [name, name])), 13]);
  });

  test.each([
    ['no metadata', {}, 'invalid_request', '/metadata'],
    ['metadata that is null', { metadata: null }, 'invalid_request', '/metadata'],
    ['metadata that is an array', { metadata: [] }, 'invalid_request', '/metadata'],
    ['a member that is not known', { metadata: {}, tags: [] }, 'invalid_request', ''],
    ['a field name that is too long', { metadata: { ['n'.repeat(257)]: 1 } }, 'invalid_member', '/metadata'],
    [
      'too many fields',
      { metadata: Object.fromEntries(Array.from({ length: 1001 }, (_, at) => [`f${at}`, at])) },
      'too_many_members',
      '/metadata',
    ],
  ])('refuses %s with 422 and a pointer', async (_what, body, code, pointer) => {
    const { dfid } = await create();
    const response = await send('PUT', `/api/items/${dfid}`, body);
    const problem = await readJson<ProblemDocument>(response);
    expect([response.status, problem.error, problem.errors![0]!.pointer]).toEqual([422, code, pointer]);
  });
});

describe('the status of an item', () => {
  test('is set in any case of letters, and told in an event with what it was and who changed it', async () => {
    const { dfid } = await create();
    for (const [sent, from, to] of [
      ['Inactive', 'active', 'inactive'],
      ['PENDING', 'inactive', 'pending'],
      ['archived', 'pending', 'archived'],
      ['active', 'archived', 'active'],
    ] as const) {
      const response = await send('PUT', `/api/items/${dfid}/status`, { status: sent, user_id: 'x', ip_address: null });
      expect([response.status, (await readJson<Item>(response)).status]).toEqual([200, to]);
      expect((await read(dfid)).events.at(-1)).toMatchObject({
        event_type: 'item_status_changed',
        payload: { from, to, by: credentialId },
      });
    }
  });

  test('that is there already changes nothing and tells no event', async () => {
    const { dfid } = await create();
    const before = await read(dfid);
    expect((await send('PUT', `/api/items/${dfid}/status`, { status: 'active' })).status).toBe(200);
    expect(await read(dfid)).toEqual(before);
  });

  test.each(['merged', 'gone', '', null])('cannot become %j: 422 with a pointer', async (status) => {
    const { dfid } = await create();
    const response = await send('PUT', `/api/items/${dfid}/status`, { status });
    const problem = await readJson<ProblemDocument>(response);
    expect([response.status, problem.errors![0]!.pointer]).toEqual([422, '/status']);
  });

  test('becomes archived by DELETE, once, however often it is asked', async () => {
    const { dfid } = await create();
    const first = await send('DELETE', `/api/items/${dfid}?user_id=018f0000-0000-7000-8000-000000000000`);
    expect([first.status, await first.text()]).toEqual([204, '']);
    const after = await read(dfid);
    expect(after.item.status).toBe('archived');
    expect(after.events.at(-1)).toMatchObject({
      event_type: 'item_archived',
      payload: { from: 'active', by: credentialId },
    });
    expect((await send('DELETE', `/api/items/${dfid}`)).status).toBe(204);
    expect(await read(dfid)).toEqual(after);
  });

  test('stays archived when new records enrich the item, by the API and by a receipt', async () => {
    const identifiers = [newSisbov()];
    const { dfid } = await create({ identifiers });
    await send('DELETE', `/api/items/${dfid}`);
    await create({ identifiers, metadata: { peso: 1 } });
    const { receipt_id: id } = await readJson<{ receipt_id: string }>(
      await application.submit(JSON.stringify({ identifiers, metadata: { raca: 'Nelore' } })),
    );
    await application.settle(id);
    expect((await read(dfid)).item).toMatchObject({ status: 'archived', metadata: { peso: 1, raca: 'Nelore' } });
    const list = async (status: string) =>
      (await readJson<{ items: Item[] }>(await application.fetch(`/api/items?status=${status}&dfid=${dfid}`))).items
        .length;
    expect([await list('archived'), await list('active')]).toEqual([1, 0]);
  });
});

describe('POST /api/events', () => {
  test('refuses what is said to have occurred after the end of the item, and takes what came before it', async () => {
    const { dfid } = await create();
    const record = async (event: object) => (await send('POST', '/api/events', { dfid, ...event })).status;
    expect(await record({ event_type: 'death', occurred_at: '2025-05-01T00:00:00Z' })).toBe(201);

    expect(await record({ event_type: 'weighed', occurred_at: '2025-06-01T00:00:00Z' })).toBe(422);
    expect(await record({ event_type: 'weighed', occurred_at: '2025-04-01T00:00:00Z' })).toBe(201);
  });

  const post = (body: object, headers: Record<string, string> = {}) => send('POST', '/api/events', body, headers);

  test('refuses what only a record can tell, and says so', async () => {
    const item = await create();
    const payload = { old: newChip(), new: newChip() };
    const response = await post({ dfid: item.dfid, event_type: 'identifier_replaced', payload });
    const problem = await readJson<{ detail: string; errors: { pointer: string }[] }>(response);
    expect(response.status).toBe(422);
    expect(problem.detail).toContain('/api/receipts');
    expect(problem.errors.map(({ pointer }) => pointer)).toEqual(['/event_type']);
    expect(eventTypes((await read(item.dfid)).events)).toEqual(['item_created']);
  });

  test('ends the item with what ends it, unless something later is known', async () => {
    const identifiers = [newSisbov()];
    const item = await create({ identifiers, occurred_at: '2025-03-01T00:00:00Z' });
    const end = (occurredAt: string) => post({ dfid: item.dfid, event_type: 'slaughter', occurred_at: occurredAt });
    const tell = (occurredAt: string) =>
      send('POST', '/api/items', {
        value_chain: 'BEEF',
        country: 'BR',
        year: 2025,
        identifiers,
        occurred_at: occurredAt,
        metadata: { a: 1 },
      });

    expect((await end('2025-02-01T00:00:00Z')).status).toBe(422);
    expect((await end('2025-04-01T00:00:00Z')).status).toBe(201);
    expect((await end('2025-04-01T00:00:00Z')).status).toBe(200);
    expect((await tell('2025-05-01T00:00:00Z')).status).toBe(409);
    expect((await tell('2025-03-15T00:00:00Z')).status).toBe(200);
  });

  test('answers 201 with the event and where it is, by DFID or by id of the item', async () => {
    const item = await create();
    const sent = {
      event_type: 'weight_measured',
      occurred_at: '2025-06-01T12:00:00Z',
      payload: { kg: 410.5 },
      visibility: 'CircuitOnly',
    };
    const response = await post({ dfid: item.dfid, ...sent });
    const event = await readJson<ItemEvent>(response);
    expect([response.status, response.headers.get('location')]).toEqual([201, `/api/events/${event.id}`]);
    expect(event).toMatchObject({
      event_type: 'weight_measured',
      occurred_at: '2025-06-01T12:00:00.000Z',
      payload: { kg: 410.5 },
      visibility: 'circuit_only',
      is_duplicate: false,
      dfid: item.dfid,
      item_id: item.id,
      circuit_id: null,
    });
    expect(await (await application.fetch(`/api/events/${event.id}`)).json()).toEqual(event);
    expect((await post({ item_id: item.id, event_type: 'vaccinated' })).status).toBe(201);
    expect(eventTypes((await read(item.dfid)).events)).toEqual(['item_created', 'weight_measured', 'vaccinated']);
  });

  test('answers 200 with the first event, as a duplicate, for the same event_key', async () => {
    const { dfid } = await create();
    const first = await readJson<ItemEvent>(
      await post({ dfid, event_type: 'weighed', payload: { kg: 1 }, event_key: 'a' }),
    );
    const response = await post({ dfid, event_type: 'weighed', payload: { kg: 2 }, event_key: 'a' });
    expect([response.status, await response.json()]).toEqual([200, { ...first, is_duplicate: true }]);
    expect((await post({ dfid, event_type: 'weighed', payload: { kg: 2 }, event_key: 'b' })).status).toBe(201);
    expect((await read(dfid)).events).toHaveLength(3);
  });

  test('takes the same type, time and payload for the same event when there is no key', async () => {
    const { dfid } = await create();
    const event = { dfid, event_type: 'weighed', occurred_at: '2025-06-01T12:00:00Z', payload: { kg: 1, at: 'x' } };
    expect((await post(event)).status).toBe(201);
    expect((await post({ ...event, payload: { at: 'x', kg: 1 } })).status).toBe(200);
    expect((await post({ ...event, occurred_at: '2025-06-01T12:00:01Z' })).status).toBe(201);
    const { occurred_at: _time, ...timeless } = event;
    expect([(await post(timeless)).status, (await post(timeless)).status]).toEqual([201, 201]);
  });

  test('knows an event that came with a record, and one of an item that was merged into this one', async () => {
    const [sisbov, chip] = [newSisbov(), newChip()];
    const { dfid } = await create({ identifiers: [sisbov], events: [{ event_type: 'born', event_key: 'birth' }] });
    expect((await post({ dfid, event_type: 'born', event_key: 'birth' })).status).toBe(200);
    const loser = await create({ identifiers: [chip] });
    await post({ dfid: loser.dfid, event_type: 'weighed', event_key: 'of the loser' });
    await create({ identifiers: [sisbov, chip] });
    const response = await post({ dfid, event_type: 'weighed', event_key: 'of the loser' });
    expect([response.status, (await readJson<ItemEvent>(response)).dfid]).toEqual([200, loser.dfid]);
  });

  test('is one event when the same key is sent many times at once', async () => {
    const { dfid } = await create();
    const answers = await Promise.all(
      Array.from({ length: 10 }, () => post({ dfid, event_type: 'weighed', event_key: 'once' })),
    );
    expect(answers.filter((answer) => answer.status === 201)).toHaveLength(1);
    expect(answers.filter((answer) => answer.status === 200)).toHaveLength(9);
    expect((await read(dfid)).events).toHaveLength(2);
  });

  test('with an Idempotency-Key has its effect once, and replays the first answer', async () => {
    const { dfid } = await create();
    const key = { 'idempotency-key': 'event' };
    const first = await post({ dfid, event_type: 'weighed' }, key);
    const again = await post({ dfid, event_type: 'weighed' }, key);
    expect([again.status, again.headers.get('location'), again.headers.get('idempotency-replayed')]).toEqual([
      201,
      first.headers.get('location'),
      'true',
    ]);
    expect(await again.text()).toBe(await first.text());
    expect((await read(dfid)).events).toHaveLength(2);
  });

  test.each([
    ['no item', { event_type: 'weighed' }, 'invalid_request', '/dfid'],
    ['a type that is no snake_case', { event_type: 'Weighed!' }, 'invalid_member', '/event_type'],
    ['no type', {}, 'invalid_request', '/event_type'],
    ['a time that is none', { event_type: 'a', occurred_at: 'today' }, 'invalid_occurred_at', '/occurred_at'],
    [
      'a time far ahead',
      { event_type: 'a', occurred_at: '2099-01-01T00:00:00Z' },
      'invalid_occurred_at',
      '/occurred_at',
    ],
    ['a visibility that is none', { event_type: 'a', visibility: 'secret' }, 'invalid_member', '/visibility'],
    ['an empty key', { event_type: 'a', event_key: '' }, 'invalid_member', '/event_key'],
    ['a circuit that is no UUID', { event_type: 'a', circuit_id: 'x' }, 'invalid_request', '/circuit_id'],
    ['an unknown member', { event_type: 'a', typo: 1 }, 'invalid_request', ''],
    ['a payload over 1 MiB', { event_type: 'a', payload: 'x'.repeat(1_048_576) }, 'record_too_large', '/payload'],
  ])('refuses %s with 422 and a pointer', async (what, body, code, pointer) => {
    const { dfid } = await create();
    const response = await post(what === 'no item' ? body : { dfid, ...body });
    const problem = await readJson<ProblemDocument>(response);
    expect([response.status, problem.error, problem.errors![0]!.pointer]).toEqual([422, code, pointer]);
  });

  test('refuses an id and a DFID of two items', async () => {
    const [one, other] = [await create(), await create()];
    const response = await post({ dfid: one.dfid, item_id: other.id, event_type: 'weighed' });
    expect(await problemOf(response)).toEqual([422, 'invalid_request']);
    expect((await post({ dfid: one.dfid, item_id: one.id, event_type: 'weighed' })).status).toBe(201);
  });
});

test('records, edits, states and events of the same items at once all succeed, and none is lost', async () => {
  const animals = Array.from({ length: 3 }, () => [newSisbov(), newChip()]);
  const items = await Promise.all(animals.map((identifiers) => create({ identifiers })));
  const answers: Promise<Response>[] = [];
  const receipts: Promise<Response>[] = [];
  for (let at = 0; at < 8; at += 1) {
    for (const [index, { dfid }] of items.entries()) {
      const records = animals.map((identifiers) => ({ identifiers, metadata: { [`record_${at}_${index}`]: at } }));
      receipts.push(application.submit(JSON.stringify(at % 2 === 0 ? records : records.toReversed())));
      answers.push(send('PUT', `/api/items/${dfid}`, { metadata: { [`edit_${at}`]: at } }));
      answers.push(send('PUT', `/api/items/${dfid}/status`, { status: at % 2 === 0 ? 'inactive' : 'active' }));
      answers.push(send('POST', '/api/events', { dfid, event_type: 'weighed', event_key: String(at) }));
      answers.push(
        send('POST', '/api/items', {
          value_chain: 'BEEF',
          country: 'BR',
          year: 2025,
          identifiers: animals[index],
          metadata: { [`post_${at}`]: at },
        }),
      );
    }
  }
  const statuses = (await Promise.all(answers)).map((answer) => answer.status);
  expect(statuses.filter((status) => status !== 200 && status !== 201)).toEqual([]);
  for (const response of await Promise.all(receipts)) {
    const { receipt_id: id } = await readJson<{ receipt_id: string }>(response);
    expect(await application.settle(id)).toMatchObject({ status: 'completed' });
  }
  for (const { dfid } of items) {
    const { item, events } = await read(dfid);
    expect(Object.keys(item.metadata)).toHaveLength(8 * 3 + 8 + 8);
    expect(eventTypes(events).filter((type) => type === 'weighed')).toHaveLength(8);
  }
});

test('after all of this, no rule of the stored items is broken', async () => {
  expect(await findBrokenRules(application.database)).toEqual([]);
});
