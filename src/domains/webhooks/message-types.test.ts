import { afterAll, beforeAll, expect, test } from 'vitest';
import { startAnchoredWebhooks, type AnchoredWebhooks } from '../../testing/anchored-webhooks.ts';
import { waitFor } from '../../testing/application.ts';
import { makeSchemaCheck } from '../../testing/message-schemas.ts';
import { verified, type WebhookReceiver } from '../../testing/webhook-receiver.ts';

interface Message {
  type: string;
  data: { told_by?: string; dfid?: string };
}

let anchored: AnchoredWebhooks;
let receiver: WebhookReceiver;
let nextNumber = 760_000_000_000;

beforeAll(async () => {
  anchored = await startAnchoredWebhooks({ WEBHOOK_RETRY_SCHEDULE: '0.1' });
  ({ receiver } = anchored);
});
afterAll(() => anchored.close());

/** @param refused the only status besides those of success that is no fault of the test. */
const ask = async <Body>(method: string, path: string, body?: object, refused?: number): Promise<Body> => {
  const response = await anchored.application.fetch(path, {
    method,
    headers: { 'content-type': 'application/json', prefer: 'wait=20' },
    ...(body ? { body: JSON.stringify(body) } : {}),
  });
  const text = await response.text();
  if (!response.ok && response.status !== refused)
    throw new Error(`${method} ${path} answered ${response.status}: ${text}`);
  return (text === '' ? undefined : JSON.parse(text)) as Body;
};
const newIdentifier = () => ({ identifier_type: 'sisbov', value: `BR${nextNumber++}` });
const nature = { value_chain: 'BEEF', country: 'BR', year: 2025 };
const send = async (record: object): Promise<string> =>
  (await ask<{ item: { dfid: string } }>('POST', '/api/items', { ...nature, ...record })).item.dfid;
const subscribe = (path: string, more: object) =>
  ask<{ id: string; secret: string }>('POST', '/api/webhooks', {
    name: path,
    url: `${receiver.url}/${path}`,
    ...more,
  });
const messagesAt = (path: string, secret: string): Message[] =>
  receiver.at(`/${path}`).map((each) => verified(secret, each) as Message);

/** Does to items all that is told of them. */
async function liveThroughAll(): Promise<void> {
  const [first, second] = [newIdentifier(), newIdentifier()];
  const one = await send({ identifiers: [first], enriched_data: { breed: 'Nelore' } });
  const other = await send({ identifiers: [second] });
  await send({ identifiers: [first], enriched_data: { weight: 450 } });
  await ask('PUT', `/api/items/${one}`, { metadata: { note: 'by hand' } });
  await ask('PUT', `/api/items/${one}/status`, { status: 'inactive' });
  await ask('PUT', `/api/items/${one}/status`, { status: 'active' });
  await ask('POST', '/api/items', { ...nature, identifiers: [first, second] }, 409);
  const { conflicts } = await ask<{ conflicts: { conflict_id: string }[] }>('GET', '/api/conflicts?status=open');
  const reject = { action: 'reject', reason: 'two animals' };
  await ask('POST', `/api/conflicts/${conflicts[0]!.conflict_id}/resolve`, reject);
  await ask('POST', `/api/items/${one}/merge`, { secondary_dfid: other, strategy: 'append', reason: 'one animal' });
  await ask('POST', `/api/items/${other}/unmerge`, { reason: 'two animals after all' });
  await ask('POST', `/api/items/${one}/split`, { ...nature, metadata: {}, quantity: '225', unit: 'kg' });
  const [third, chip] = [newIdentifier(), { identifier_type: 'rfid', value: '982000123456789' }];
  const mixed = await send({ identifiers: [third], enriched_data: { typo: true } });
  await send({ identifiers: [third, chip] });
  const provenance = await ask<{ fields: { field: string; source: { entry_id: string } }[] }>(
    'GET',
    `/api/items/${mixed}/provenance`,
  );
  const { entry_id } = provenance.fields.find(({ field }) => field === 'typo')!.source;
  await ask('POST', `/api/items/${mixed}/split`, { ...nature, identifiers: [chip], reason: 'two animals' });
  await ask('POST', `/api/items/${mixed}/corrections`, { entry_id, reason: 'a typing mistake' });
  await ask('DELETE', `/api/items/${other}`);
  await ask('POST', '/api/receipts', [{ ...nature, identifiers: [newIdentifier()] }]);
  await ask('POST', '/api/events', { dfid: one, event_type: 'weighed', payload: { kg: 460 } });
  await ask('POST', '/api/events', { dfid: one, event_type: 'item_merged', payload: { into: 'a herd' } });
}

test('all that the catalogue names is told, in bodies that its schemas describe to the last member', async () => {
  await ask('PUT', '/api/storage/settings', { enabled: true, public_fields: ['breed'] });
  const catalogue = await ask<Parameters<typeof makeSchemaCheck>[0]>('GET', '/api/webhooks/event-types');
  const faultsOf = makeSchemaCheck(catalogue);
  const named = catalogue.event_types.map(({ name }) => name);
  const full = await subscribe('full', { events: [...named, 'weighed'] });
  const thin = await subscribe('thin', { events: [...named, 'weighed'], payload: 'thin' });
  await subscribe('gone', { events: ['item_archived'] });
  await subscribe('refusing', { events: ['item_archived'], retry_config: { max_retries: 0 } });
  receiver.answer = ({ path }, response) =>
    void response.writeHead(({ '/gone': 410, '/refusing': 400 } as Record<string, number>)[path] ?? 204).end();

  await liveThroughAll();
  for (const { id } of [full, thin]) await ask('POST', `/api/webhooks/${id}/test`);

  // What tells of a webhook that fails for days has a test of its own, beside its thresholds.
  const wanted = [...named.filter((name) => name !== 'webhook_failing'), 'weighed'].toSorted();
  const typesAt = (path: string, secret: string) =>
    [...new Set(messagesAt(path, secret).map(({ type }) => type))].toSorted();
  await expect.poll(() => typesAt('full', full.secret), { timeout: 30_000 }).toEqual(wanted);
  await expect.poll(() => typesAt('thin', thin.secret), { timeout: 30_000 }).toEqual(wanted);
  expect(messagesAt('full', full.secret).flatMap((body) => faultsOf(body, 'full'))).toEqual([]);
  expect(messagesAt('thin', thin.secret).flatMap((body) => faultsOf(body, 'thin'))).toEqual([]);
});

test('what a record says in the words of the system is told as the word of a record', async () => {
  const { secret } = await subscribe('words', { events: ['item_created', 'item_enriched'] });
  const dfid = await send({ identifiers: [newIdentifier()] });
  await ask('POST', '/api/events', { dfid, event_type: 'item_enriched', payload: { by: 'somebody' } });

  const told = await waitFor(() => {
    const messages = messagesAt('words', secret);
    return messages.length === 2 ? messages : undefined;
  }, 'two messages');

  expect(told.toSorted((a, b) => (a.type < b.type ? -1 : 1))).toMatchObject([
    { type: 'item_created', data: { told_by: 'system' } },
    { type: 'item_enriched', data: { told_by: 'record', payload: { by: 'somebody' } } },
  ]);
});
