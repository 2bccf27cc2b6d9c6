import { afterAll, beforeAll, expect, test } from 'vitest';
import { startAnchoredWebhooks, type AnchoredWebhooks } from '../../../testing/anchored-webhooks.ts';
import { readJson } from '../../../testing/application.ts';
import { verified, type WebhookReceiver } from '../../../testing/webhook-receiver.ts';
import { readVerifierKey } from '../signed-note.ts';
import { verifyBundle } from '../verify-bundle.ts';

let anchored: AnchoredWebhooks;
let receiver: WebhookReceiver;

beforeAll(async () => {
  anchored = await startAnchoredWebhooks();
  ({ receiver } = anchored);
});
afterAll(() => anchored.close());

const ask = async <Body>(method: string, path: string, body?: object): Promise<Body> =>
  readJson<Body>(
    await anchored.application.fetch(path, {
      method,
      headers: { 'content-type': 'application/json' },
      ...(body ? { body: JSON.stringify(body) } : {}),
    }),
  );

const subscribe = (path: string, more: object) =>
  ask<{ secret: string }>('POST', '/api/webhooks', { name: 'ERP', url: `${receiver.url}${path}`, ...more });

const arrived = async (path: string) => {
  await expect.poll(() => receiver.at(path).length, { timeout: 20_000 }).toBeGreaterThan(0);
  return receiver.at(path)[0]!;
};

test('a workspace is told where its items are stored, and that they are anchored, with a proof that holds offline', async () => {
  await ask('PUT', '/api/storage/settings', { enabled: true, public_fields: ['breed'] });
  const storing = await subscribe('/stored', { events: ['item_stored'] });
  const anchoring = await subscribe('/anchored', { events: ['item_anchored'] });
  const thin = await subscribe('/thin', { events: ['item_anchored'], payload: 'thin' });
  const { item } = await ask<{ item: { dfid: string } }>('POST', '/api/items', {
    value_chain: 'BEEF',
    country: 'BR',
    year: 2025,
    identifiers: [{ identifier_type: 'sisbov', value: 'BR105000000007' }],
    enriched_data: { breed: 'Nelore' },
  });

  const stored = verified(storing.secret, await arrived('/stored'));
  const told = verified(anchoring.secret, await arrived('/anchored')) as { data: { version: number; proof: object } };
  const short = verified(thin.secret, await arrived('/thin'));

  expect(stored).toMatchObject({
    type: 'item_stored',
    data: { dfid: item.dfid, adapter: 'local', cid: expect.stringMatching(/^bafkrei/) as string },
  });
  expect(told).toMatchObject({ type: 'item_anchored', data: { dfid: item.dfid } });
  const key = readVerifierKey((await (await anchored.application.fetch('/log/key')).text()).trim())!;
  const { authenticated, steps } = await verifyBundle(JSON.stringify(told.data.proof), {
    keys: [key],
    accounts: [anchored.account],
  });
  expect({ authenticated, failed: steps.filter(({ result }) => result === 'fails') }).toEqual({
    authenticated: true,
    failed: [],
  });
  expect(told.data.proof).toEqual(
    await ask('GET', `/api/items/${item.dfid}/proof?version=${String(told.data.version)}`),
  );
  expect(short).toMatchObject({ data: { dfid: item.dfid, version: told.data.version } });
  expect(JSON.stringify(short)).not.toContain('proof');
});
