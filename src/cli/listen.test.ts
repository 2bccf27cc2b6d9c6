import { afterAll, beforeAll, expect, test } from 'vitest';
import { startWebhookApplication, type WebhookApplication } from '../testing/webhook-application.ts';
import { startWebhookReceiver, verified, type WebhookReceiver } from '../testing/webhook-receiver.ts';
import { listen } from './listen.ts';

let webhooks: WebhookApplication;
let local: WebhookReceiver;
beforeAll(async () => {
  webhooks = await startWebhookApplication();
  local = await startWebhookReceiver();
});
afterAll(async () => {
  await webhooks.close();
  await local.close();
});

test('what a webhook is told from now on goes to a program here, signed, also while it is switched off', async () => {
  const { application, subscribe, newItem, weigh, ask, receiver, ownKey } = webhooks;
  const endpoint = await subscribe({
    events: ['weighed'],
    headers: { 'X-Farm': 'Boa Vista' },
    auth: { type: 'bearer', token: 't0ken' },
  });
  const dfid = await newItem();
  await ask('POST', `/api/webhooks/${endpoint.id}/disable`);
  await weigh(dfid, 1);
  await expect
    .poll(async () => (await ask<{ newest_position: number }>('GET', `/api/webhooks/${endpoint.id}/requests`)).body)
    .toMatchObject({ requests: [], newest_position: 2 });
  const stop = new AbortController();
  const said: string[] = [];
  local.answer = (_, response) => void response.writeHead(418).end();
  const options = { url: application.url, key: ownKey, to: `${local.url}/dev` };
  const listening = listen(endpoint.id, options, (line) => said.push(line), stop.signal);
  await expect.poll(() => said.length).toBe(2);

  await weigh(dfid, 2);
  await weigh(dfid, 3);
  await expect.poll(() => local.at('/dev').length, { timeout: 10_000 }).toBe(2);
  await expect.poll(() => said.length).toBe(4);
  stop.abort();
  await listening;

  expect(local.at('/dev').map((each) => verified(endpoint.secret, each))).toMatchObject([
    { type: 'weighed', data: { payload: { kg: 2 } } },
    { type: 'weighed', data: { payload: { kg: 3 } } },
  ]);
  const { 'x-farm': farm, authorization } = local.at('/dev')[0]!.headers;
  expect([farm, authorization]).toEqual(['Boa Vista', undefined]);
  expect(said.slice(2)).toEqual([
    expect.stringMatching(/^\d\d:\d\d:\d\d {2}weighed +[0-9a-f-]{36} {2}418 in \d+ ms$/) as string,
    expect.stringContaining('418') as string,
  ]);
  expect(receiver.at(endpoint.path)).toEqual([]);
});

test('a key that may not, or a webhook that is not there, is said at once', async () => {
  const { application, subscribe, strangersKey } = webhooks;
  const { id } = await subscribe();
  const options = { url: application.url, key: strangersKey, to: local.url };

  await expect(listen(id, options, () => {}, AbortSignal.abort())).rejects.toThrow('answered 404');
});
