import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readJson, startApplication, type Receipt, type TestApplication } from '../../testing/application.ts';

interface ShownItem {
  dfid: string;
  circuit_id: string | null;
}

const north = '018f0000-0000-7000-8000-00000000000a';
const south = '018f0000-0000-7000-8000-00000000000b';

let application: TestApplication;
beforeAll(async () => {
  application = await startApplication({ backend: 'postgres' });
});
afterAll(() => application.close());

let nextNumber = 480_000_000_000;
const newSisbov = () => `BR${nextNumber++}`;
const animal = (more: object = {}, value = newSisbov()) => ({
  value_chain: 'BEEF',
  country: 'BR',
  year: 2025,
  identifiers: [{ identifier_type: 'sisbov', value }],
  ...more,
});

async function send<Body>(method: 'POST', path: string, body: object | string, key = application.apiKey) {
  const response = await fetch(`${application.url}${path}`, {
    method,
    headers: { 'x-api-key': key, 'content-type': 'application/json' },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
  return { status: response.status, body: await readJson<Body>(response) };
}

async function create(more: object = {}, value = newSisbov()): Promise<ShownItem> {
  return (await send<{ item: ShownItem }>('POST', '/api/items', animal(more, value))).body.item;
}

async function submit(records: readonly object[], query = ''): Promise<Receipt> {
  const response = await application.fetch(`/api/receipts${query}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', prefer: 'wait=20' },
    body: JSON.stringify(records),
  });
  return readJson<Receipt>(response);
}

const itemsOf = async (circuitId: string, more = '') =>
  (await readJson<{ items: ShownItem[] }>(await application.fetch(`/api/items?circuit_id=${circuitId}${more}`))).items;
const dfidsOf = async (circuitId: string) => (await itemsOf(circuitId)).map(({ dfid }) => dfid);

describe('the circuit that a sender names', () => {
  test('is kept with an item and finds it, whatever case it was written in', async () => {
    const value = newSisbov();
    const item = await create({ circuit_id: north.toUpperCase() }, value);
    expect(item.circuit_id).toBe(north);
    expect((await create({ circuit_id: south }, value)).circuit_id).toBe(north);
    expect(await dfidsOf(north)).toEqual([item.dfid]);
    expect(await dfidsOf(south)).toEqual([item.dfid]);
    expect(await itemsOf(north, '&country=PY')).toEqual([]);
    expect((await create()).circuit_id).toBeNull();
  });

  test('is kept for records of receipts, which may name it once for all', async () => {
    const circuitId = '018f0000-0000-7000-8000-00000000000c';
    const other = '018f0000-0000-7000-8000-00000000000d';
    const receipt = await submit([animal(), animal({ circuit_id: other })], `?circuit_id=${circuitId}`);
    expect(receipt.status).toBe('completed');
    expect([(await dfidsOf(circuitId)).length, (await dfidsOf(other)).length]).toEqual([1, 1]);
  });

  test('is kept for the records of a form', async () => {
    const circuitId = '018f0000-0000-7000-8000-00000000000e';
    const form = new FormData();
    form.append('file', new Blob([`sisbov\n${newSisbov()}\n${newSisbov()}\n`], { type: 'text/csv' }), 'a.csv');
    form.append('circuit_id', circuitId);
    const response = await application.fetch('/api/items/bulk', { method: 'POST', body: form });
    expect(response.status).toBe(201);
    expect(await dfidsOf(circuitId)).toHaveLength(2);
  });

  test('costs only the record that names something else', async () => {
    const receipt = await submit([animal({ circuit_id: 'north' }), animal()]);
    expect(receipt.status).toBe('completed_with_errors');
    const { entries } = await readJson<{ entries: { error: { code: string; pointer: string } | null }[] }>(
      await application.fetch(`/api/receipts/${receipt.receipt_id}/entries`),
    );
    expect(entries.map(({ error }) => error && [error.code, error.pointer])).toEqual([
      ['invalid_member', '/circuit_id'],
      null,
    ]);
  });

  test('is kept with an event and finds it, like the events of the record that named it', async () => {
    const circuitId = '018f0000-0000-7000-8000-00000000000f';
    const { dfid } = await create({ circuit_id: circuitId });
    const told = await send<{ id: string; circuit_id: string }>('POST', '/api/events', {
      dfid,
      event_type: 'weighed',
      circuit_id: circuitId,
    });
    await send('POST', '/api/events', { dfid, event_type: 'vaccinated' });
    expect([told.status, told.body.circuit_id]).toEqual([201, circuitId]);
    const { events } = await readJson<{ events: { event_type: string; circuit_id: string }[] }>(
      await application.fetch(`/api/events?circuit_id=${circuitId}`),
    );
    expect(events.map((event) => [event.event_type, event.circuit_id])).toEqual([
      ['weighed', circuitId],
      ['item_created', circuitId],
    ]);
    const one = await readJson<{ circuit_id: string }>(await application.fetch(`/api/events/${told.body.id}`));
    expect(one.circuit_id).toBe(circuitId);
  });

  test('stays with the item after a merge and tells other workspaces nothing', async () => {
    const circuitId = '018f0000-0000-7000-8000-000000000010';
    const value = newSisbov();
    const survivor = await create();
    const loser = await create({ circuit_id: circuitId }, value);
    const merged = await send('POST', `/api/items/${survivor.dfid}/merge`, {
      secondary_dfid: loser.dfid,
      strategy: 'append',
    });
    expect(merged.status).toBe(200);
    expect(await dfidsOf(circuitId)).toEqual([survivor.dfid]);
    const otherKey = await application.createKey({ scope: 'write', workspace: 'another' });
    const seen = await send<{ item: ShownItem }>('POST', '/api/items', animal({}, value), otherKey);
    expect(seen.body.item.circuit_id).toBeNull();
    const found = await application.fetch(`/api/items?circuit_id=${circuitId}`, {
      headers: { 'x-api-key': otherKey },
    });
    expect(await readJson<{ items: unknown[] }>(found)).toMatchObject({ items: [] });
  });
});
