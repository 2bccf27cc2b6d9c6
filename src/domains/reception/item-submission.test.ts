import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { blake3Hex } from '#platform/blake3.ts';
import { readConfig } from '../../config.ts';
import { startWeb } from '../../start-web.ts';
import {
  readJson,
  startApplication,
  waitFor,
  type Entry,
  type ProblemDocument,
  type Receipt,
  type TestApplication,
} from '../../testing/application.ts';
import { beginTransaction, findBrokenRules } from '../../testing/deduplication.ts';

interface CreatedItem {
  item: { id: string; dfid: string; status: string; metadata: Record<string, unknown>; version: number };
  identifiers: { identifier_type: string; value: string; is_canonical: boolean }[];
  canonical_identifier: { value: string } | null;
  events: { event_type: string; payload: Record<string, unknown> }[];
  was_deduplicated: boolean;
}

let nextNumber = 300_000_000_000;
const newSisbov = () => `BR${nextNumber++}`;
const sisbov = (value: string) => ({ identifier_type: 'sisbov', value });
const chip = (value: string) => ({ identifier_type: 'chip', value });
const newChip = () => `982${nextNumber++}`;

let application: TestApplication;
// No worker runs, and so nothing but the request itself can do the work.
beforeAll(async () => {
  application = await startApplication({ backend: 'postgres', hasWorker: false });
});
afterAll(() => application.close());

const cattle = (more: object = {}) => ({ value_chain: 'BEEF', country: 'BR', year: 2025, ...more });

function create(body: object | string, headers: Record<string, string> = {}, url = application.url): Promise<Response> {
  return fetch(`${url}/api/items`, {
    method: 'POST',
    headers: { 'x-api-key': application.apiKey, 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
}

async function created(body: object, headers: Record<string, string> = {}): Promise<CreatedItem> {
  const response = await create(body, headers);
  expect([response.status, response.ok]).toEqual([response.status, true]);
  return readJson<CreatedItem>(response);
}

async function count(table: string): Promise<number> {
  const { rows } = await application.database.pool.query<{ count: number }>(`select count(*) as count from ${table}`);
  return rows[0]!.count;
}

async function lastReceipt(key = application.apiKey): Promise<Receipt> {
  const list = await readJson<{ receipts: Receipt[] }>(
    await application.fetch('/api/receipts?limit=1', { headers: { 'x-api-key': key } }),
  );
  return list.receipts[0]!;
}

/** Waits until another connection waits for this one. */
function waitUntilSomebodyWaits(backendPid: number): Promise<unknown> {
  return waitFor(async () => {
    const { rows } = await application.database.pool.query(
      'select from pg_stat_activity where $1 = any(pg_blocking_pids(pid))',
      [backendPid],
    );
    return rows.length > 0 ? true : undefined;
  }, 'a connection to wait');
}

const entriesOf = async (receiptId: string) =>
  (await readJson<{ entries: Entry[] }>(await application.fetch(`/api/receipts/${receiptId}/entries`))).entries;

describe('POST /api/items', () => {
  test('answers 201 with the new item, its identifiers and events, and where it is', async () => {
    const value = newSisbov();
    const response = await create(cattle({ identifiers: [sisbov(value)], metadata: { raca: 'Nelore', peso: 450.7 } }));
    const body = await readJson<CreatedItem>(response);
    expect(response.status).toBe(201);
    expect(response.headers.get('location')).toBe(`/api/items/${body.item.dfid}`);
    expect(body).toMatchObject({
      item: { status: 'active', metadata: { raca: 'Nelore', peso: 450.7 }, version: 1 },
      identifiers: [{ ...sisbov(value), is_canonical: true }],
      canonical_identifier: { value },
      events: [{ event_type: 'item_created' }],
      was_deduplicated: false,
    });
    expect(body.item.dfid).toMatch(/^DFID-BEEF-BR-2025-\d{6,}-[0-9a-f]{6}$/);
    const found = await application.fetch(response.headers.get('location')!);
    expect(await found.json()).toEqual(
      Object.fromEntries(Object.entries(body).filter(([name]) => name !== 'was_deduplicated')),
    );
  });

  test('answers 200 with was_deduplicated when the item is there, enriched with what is new', async () => {
    const identifiers = [sisbov(newSisbov())];
    const first = await created(cattle({ identifiers, metadata: { raca: 'Nelore' } }));
    const response = await create(cattle({ identifiers: [...identifiers, chip(newChip())], metadata: { peso: 410 } }));
    const second = await readJson<CreatedItem>(response);
    expect([response.status, response.headers.get('location'), second.was_deduplicated]).toEqual([200, null, true]);
    expect(second.item).toMatchObject({ dfid: first.item.dfid, metadata: { raca: 'Nelore', peso: 410 }, version: 2 });
    expect(second.identifiers).toHaveLength(2);
    const third = await created(cattle({ identifiers, metadata: { peso: 410 } }));
    expect(third.item).toEqual(second.item);
  });

  test('keeps the bytes as sent in a settled receipt, with its hash, its entry and its place in provenance', async () => {
    const text = `{ "value_chain":"bovino", "country":"br", "year":2024,\n "identifiers":[${JSON.stringify(sisbov(newSisbov()))}],
      "metadata":{"fazenda":"São João"}, "user_id":"someone", "created_by":"x", "approver_id":"y", "ip_address":"10.0.0.1", "circuit_id":null }`;
    const response = await create(text);
    expect(response.status).toBe(201);
    const { item } = await readJson<CreatedItem>(response);
    const receipt = await lastReceipt();
    expect(receipt).toMatchObject({
      status: 'completed',
      hash: blake3Hex(text),
      size_bytes: Buffer.byteLength(text),
      content_type: 'application/json',
      entries: { total: 1, pending: 0, completed: 1, rejected: 0, failed: 0, conflicted: 0 },
      items: { created: 1, updated: 0 },
      error: null,
    });
    expect(receipt.finished_at).not.toBeNull();
    expect(await (await application.fetch(`/api/receipts/${receipt.receipt_id}/body`)).text()).toBe(text);
    expect(await entriesOf(receipt.receipt_id)).toMatchObject([
      { position: 0, line: null, status: 'completed', outcome: 'created', dfid: item.dfid },
    ]);
    const provenance = await readJson<{ fields: { field: string; source: { receipt_id: string } }[] }>(
      await application.fetch(`/api/items/${item.dfid}/provenance`),
    );
    expect(provenance.fields).toMatchObject([{ field: 'fazenda', source: { receipt_id: receipt.receipt_id } }]);
  });

  test('takes events and occurred_at like any record', async () => {
    const body = await created(
      cattle({
        identifiers: [sisbov(newSisbov())],
        occurred_at: '2025-03-01T00:00:00Z',
        events: [{ event_type: 'weight_measured', payload: { kg: 300 } }],
      }),
    );
    expect(body.events.map((event) => event.event_type).toSorted()).toEqual(['item_created', 'weight_measured']);
  });

  test.each([
    ['no member that says where the item belongs', { identifiers: [] }, 'invalid_request', '/value_chain'],
    ['a year that is no number', { ...cattle(), year: 'soon' }, 'invalid_request', '/year'],
    ['a circuit that is no UUID', cattle({ circuit_id: 'north' }), 'invalid_request', '/circuit_id'],
    ['no identifiers', cattle(), 'no_identifying_identifier', ''],
    ['an empty list of identifiers', cattle({ identifiers: [] }), 'no_identifying_identifier', ''],
    [
      'only an identifier of a party',
      cattle({ identifiers: [{ identifier_type: 'cpf', value: '52998224725' }] }),
      'no_identifying_identifier',
      '/identifiers/0/value',
    ],
    ['an unknown member', cattle({ identifiers: [sisbov('BR1')], tags: ['a'] }), 'unknown_member', '/tags'],
    ['a bad identifier', cattle({ identifiers: [sisbov('BR1')] }), 'invalid_identifier', '/identifiers/0/value'],
    ['an unknown value chain', { ...cattle(), value_chain: 'FISH' }, 'unknown_value_chain', '/value_chain'],
    ['an unknown country', { ...cattle(), country: 'XX' }, 'invalid_country', '/country'],
    ['metadata that is no object', cattle({ metadata: 'big' }), 'invalid_member', '/metadata'],
  ])('refuses %s with 422 and a pointer, and keeps nothing', async (_what, body, code, pointer) => {
    const before = [await count('receipts'), await count('entries'), await count('items')];
    const response = await create(body);
    const problem = await readJson<ProblemDocument>(response);
    expect([response.status, problem.error]).toEqual([422, code]);
    expect(problem.errors!.map((error) => error.pointer)).toContain(pointer);
    expect([await count('receipts'), await count('entries'), await count('items')]).toEqual(before);
  });

  test.each([
    ['nothing', '', 400, 'empty_body'],
    ['half a document', '{"value_chain":', 400, 'malformed_json'],
    ['an array', '[]', 422, 'invalid_request'],
    ['a member twice', '{"value_chain":"BEEF","value_chain":"PORK"}', 422, 'invalid_request'],
    ['U+0000', '{"value_chain":"BEEF\\u0000"}', 422, 'invalid_request'],
  ])('refuses a body that is %s', async (_what, body, status, code) => {
    const response = await create(body);
    expect([response.status, (await readJson<ProblemDocument>(response)).error]).toEqual([status, code]);
  });

  test('takes a member named __proto__ for what it is: an unknown member, or a field', async () => {
    const record = JSON.stringify(cattle({ identifiers: [sisbov(newSisbov())] })).slice(0, -1);
    const unknown = await create(`${record},"__proto__":{"events":[]}}`);
    expect([unknown.status, (await readJson<ProblemDocument>(unknown)).error]).toEqual([422, 'unknown_member']);
    const field = await create(`${record},"metadata":{"__proto__":{"a":1}}}`);
    expect([field.status, await field.text()]).toEqual([201, expect.stringContaining('"__proto__":{"a":1}')]);
  });

  test('refuses other media types with 415, a record over 1 MiB with 422, and keys that may only read with 403', async () => {
    expect((await create('a,b\n', { 'content-type': 'text/csv' })).status).toBe(415);
    const large = await create(
      cattle({ identifiers: [sisbov(newSisbov())], metadata: { text: 'x'.repeat(1_048_576) } }),
    );
    expect([large.status, (await readJson<ProblemDocument>(large)).error]).toEqual([422, 'record_too_large']);
    const readKey = await application.createKey({ scope: 'read' });
    expect((await create(cattle(), { 'x-api-key': readKey })).status).toBe(403);
  });

  test('answers a contradiction with 409, and keeps the record as conflicted for review', async () => {
    const [value, firstChip, otherChip] = [newSisbov(), newChip(), newChip()];
    const { item } = await created(cattle({ identifiers: [sisbov(value), chip(firstChip)] }));
    const response = await create(cattle({ identifiers: [sisbov(value), chip(otherChip)], metadata: { peso: 1 } }));
    const problem = await readJson<
      ProblemDocument & { receipt_id: string; entry_id: string; conflict_id: string; code?: string }
    >(response);
    expect([response.status, problem.error]).toEqual([409, 'record_conflicted']);
    expect(problem.errors).toMatchObject([{ code: 'identifier_conflict' }]);
    expect(await entriesOf(problem.receipt_id)).toMatchObject([
      { entry_id: problem.entry_id, status: 'conflicted', outcome: 'conflict', dfid: null },
    ]);
    expect(await readJson<Receipt>(await application.fetch(`/api/receipts/${problem.receipt_id}`))).toMatchObject({
      status: 'completed_with_errors',
      entries: { total: 1, pending: 0, completed: 0, conflicted: 1 },
    });
    const now = await readJson<CreatedItem>(await application.fetch(`/api/items/${item.dfid}`));
    expect(now.item).toEqual(item);
    expect((await created(cattle({ identifiers: [chip(otherChip)] }))).was_deduplicated).toBe(false);

    await application.fetch(`/api/conflicts/${problem.conflict_id}/resolve`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ action: 'reject', reason: 'read wrong' }),
    });
    const again = await create(cattle({ identifiers: [sisbov(value), chip(otherChip)], metadata: { peso: 1 } }));
    expect([again.status, (await readJson<ProblemDocument>(again)).error]).toEqual([422, 'rejected_by_decision']);
  });

  test('shows a workspace nothing of what another one sent of the same item', async () => {
    const key = await application.createKey({ scope: 'write', workspace: 'Neighbours' });
    const identifiers = [sisbov(newSisbov())];
    const ours = await created(cattle({ identifiers: [...identifiers, chip(newChip())], metadata: { peso: 1 } }));
    const theirs = await created(cattle({ identifiers, metadata: { raca: 'Angus' } }), { 'x-api-key': key });
    expect(theirs).toMatchObject({
      item: { dfid: ours.item.dfid, metadata: { raca: 'Angus' }, version: 1 },
      identifiers: [{ value: identifiers[0]!.value }],
      was_deduplicated: true,
    });
    expect(theirs.events.map((event) => event.event_type)).toEqual(['item_enriched']);
    const again = await readJson<CreatedItem>(await application.fetch(`/api/items/${ours.item.dfid}`));
    expect(again.item).toEqual(ours.item);
  });

  test('makes one item of many requests at once for the same animal, to one process and to two', async () => {
    const second = await startWeb(
      readConfig(application.environment),
      application.environment['DATABASE_URL']!,
      '127.0.0.1',
    );
    try {
      const urls = [application.url, `http://127.0.0.1:${second.port}`];
      const [value, chipValue] = [newSisbov(), newChip()];
      const answers = await Promise.all(
        Array.from({ length: 24 }, (_, at) =>
          create(
            cattle({
              identifiers:
                at % 3 === 0 ? [sisbov(value)] : at % 3 === 1 ? [chip(chipValue)] : [sisbov(value), chip(chipValue)],
              metadata: { [`field_${at}`]: at },
            }),
            {},
            urls[at % 2],
          ),
        ),
      );
      const bodies = await Promise.all(answers.map((answer) => readJson<CreatedItem>(answer)));
      expect(new Set(answers.map((answer) => answer.status))).toEqual(new Set([200, 201]));
      const found = await readJson<{ items: { dfid: string; metadata: object }[] }>(
        await application.fetch(`/api/items?identifier_type=sisbov&value=${value}`),
      );
      expect(found.items).toHaveLength(1);
      expect(Object.keys(found.items[0]!.metadata)).toHaveLength(24);
      expect(bodies.filter((body) => !body.was_deduplicated).length).toBeLessThanOrEqual(2);
    } finally {
      await second.stop();
    }
  });
});

describe('an item that somebody else holds for long', () => {
  test('is 503 with Retry-After for every change, and unchanged', async () => {
    const identifiers = [sisbov(newSisbov())];
    const { item } = await created(cattle({ identifiers }));
    const before = await count('receipts');
    const holder = await beginTransaction(application.database);
    await holder.client.query('select from items where item_number = $1 for update', [
      Number.parseInt(item.id.slice(-12), 16),
    ]);
    const headers = { 'content-type': 'application/json' };
    const path = `/api/items/${item.dfid}`;
    const refused = await Promise.all([
      create(cattle({ identifiers, metadata: { peso: 1 } })),
      application.fetch(path, { method: 'PUT', headers, body: '{"metadata":{"peso":1}}' }),
      application.fetch(path, { method: 'DELETE' }),
      application.fetch('/api/events', {
        method: 'POST',
        headers,
        body: JSON.stringify({ dfid: item.dfid, event_type: 'a' }),
      }),
    ]);
    await holder.rollback();
    for (const response of refused) {
      const { error } = await readJson<ProblemDocument>(response);
      expect([response.status, error, response.headers.get('retry-after')]).toEqual([503, 'unavailable', '1']);
    }
    const now = await readJson<CreatedItem>(await application.fetch(path));
    expect([now.item, await count('receipts')]).toEqual([item, before]);
  });
});

describe('POST /api/items with an Idempotency-Key', () => {
  test('has its effect once, and the replay gives status, body and Location of the first answer', async () => {
    const body = cattle({ identifiers: [sisbov(newSisbov())] });
    const first = await create(body, { 'idempotency-key': 'once' });
    const text = await first.text();
    const before = await count('receipts');
    await created({ ...body, metadata: { peso: 5 } });
    const again = await create(body, { 'idempotency-key': 'once' });
    expect([again.status, again.headers.get('location'), await again.text()]).toEqual([
      201,
      first.headers.get('location'),
      text,
    ]);
    expect(again.headers.get('idempotency-replayed')).toBe('true');
    expect(await count('receipts')).toBe(before + 1);
  });

  test('has its effect once even if the process ended between the commit and the answer', async () => {
    const body = cattle({ identifiers: [sisbov(newSisbov())] });
    const first = await readJson<CreatedItem>(await create(body, { 'idempotency-key': 'cut-off' }));
    // What stands in the database after the commit, before the answer is kept.
    await application.database.pool.query(`update idempotency_keys set answer = null where key = 'cut-off'`);
    const before = await count('receipts');
    const again = await create(body, { 'idempotency-key': 'cut-off' });
    expect([again.status, again.headers.get('idempotency-replayed')]).toEqual([201, 'true']);
    expect(await readJson<CreatedItem>(again)).toEqual(first);
    expect(await count('receipts')).toBe(before);
  });

  test('is not used up by a refusal or a conflict', async () => {
    const key = { 'idempotency-key': 'refused' };
    expect((await create(cattle(), key)).status).toBe(422);
    const [value, other] = [newSisbov(), newSisbov()];
    const animal = newChip();
    await created(cattle({ identifiers: [sisbov(value), chip(animal)] }));
    expect((await create(cattle({ identifiers: [sisbov(other), chip(animal)] }), key)).status).toBe(409);
    const response = await create(cattle({ identifiers: [sisbov(other)] }), key);
    expect([response.status, response.headers.get('idempotency-replayed')]).toEqual([201, null]);
  });

  test('has no effect when another request keeps the key first, not even in part', async () => {
    const value = newSisbov();
    const other = await beginTransaction(application.database);
    await other.client.query(
      `insert into idempotency_keys (workspace_id, operation, key, fingerprint, answer, expires_at)
       select workspace_id, 'POST /api/items', 'taken', '\\x00', '{"status":201}', now() + interval '1 hour' from workspaces`,
    );
    const before = [await count('receipts'), await count('entries'), await count('items'), await count('events')];
    const answer = create(cattle({ identifiers: [sisbov(value)] }), { 'idempotency-key': 'taken' });
    await waitUntilSomebodyWaits(other.backendPid);
    await other.commit();
    const response = await answer;
    expect([response.status, (await readJson<ProblemDocument>(response)).error]).toEqual([
      422,
      'idempotency_key_reused',
    ]);
    expect([await count('receipts'), await count('entries'), await count('items'), await count('events')]).toEqual(
      before,
    );
  });

  test('has one effect for requests at once, to one process and to two', async () => {
    const second = await startWeb(
      readConfig(application.environment),
      application.environment['DATABASE_URL']!,
      '127.0.0.1',
    );
    try {
      const urls = [application.url, `http://127.0.0.1:${second.port}`];
      for (let round = 0; round < 8; round += 1) {
        const body = cattle({ identifiers: [sisbov(newSisbov())] });
        const before = await count('receipts');
        const answers = await Promise.all(
          urls.flatMap((url) => [url, url]).map((url) => create(body, { 'idempotency-key': `race-${round}` }, url)),
        );
        const good = answers.filter((answer) => answer.ok);
        expect(answers.filter((answer) => !answer.ok && answer.status !== 409)).toEqual([]);
        expect(new Set(good.map((answer) => answer.status))).toEqual(new Set([201]));
        expect(good.filter((answer) => answer.headers.get('idempotency-replayed') === null)).toHaveLength(1);
        expect(await count('receipts')).toBe(before + 1);
      }
    } finally {
      await second.stop();
    }
  });
});

test('after all of this, no rule of the stored items is broken', async () => {
  expect(await findBrokenRules(application.database)).toEqual([]);
});
