import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { startNameServer, type NameServer } from '../../../testing/name-server.ts';
import { startWebhookReceiver, type WebhookReceiver } from '../../../testing/webhook-receiver.ts';
import { makeAddressJudge } from './address-policy.ts';
import { makeSafeAgent } from './safe-agent.ts';
import { sendWebhook } from './send-webhook.ts';

let names: NameServer;
let inside: WebhookReceiver;
let allowed: WebhookReceiver;
let agent: ReturnType<typeof makeSafeAgent>;
const portOfNobody = 9;

beforeAll(async () => {
  names = await startNameServer();
  inside = await startWebhookReceiver('127.0.0.1');
  allowed = await startWebhookReceiver('127.0.0.2');
  agent = makeSafeAgent({
    judge: makeAddressJudge({
      allowedNetworks: ['127.0.0.2/32'],
      allowedPorts: [inside.port, allowed.port, portOfNobody],
      allowsHttp: true,
    }),
    dnsServers: [names.address],
    connectTimeoutMs: 2000,
    connectionsMax: 4,
  });
});
afterEach(() => {
  inside.received.length = 0;
  allowed.received.length = 0;
});
afterAll(async () => {
  await agent.destroy();
  await Promise.all([names.close(), inside.close(), allowed.close()]);
});

const send = async (url: string, by = agent) =>
  sendWebhook(
    { origin: new URL(url).origin, path: '/', headers: { 'content-type': 'application/json' }, body: '{}' },
    { agent: by, timeoutMs: 3000 },
  );

describe('a connection', () => {
  test.each(['127.0.0.1', '2130706433', '0x7f.1', '0177.0.0.1', '127.1', '[::ffff:127.0.0.1]', '[::1]', '0.0.0.0'])(
    'never goes to %s, which is a literal of the inside',
    async (host) => {
      const { status, error } = await send(`http://${host}:${inside.port}/`);

      expect([status, error]).toEqual([null, 'its name or address leads nowhere in public']);
      expect(inside.received).toEqual([]);
    },
  );

  test('never goes where a name leads inside, also when it leads outside as well', async () => {
    names.addressesOf = (name) => (name === 'inside.example.com' ? ['127.0.0.1'] : ['127.0.0.2', '127.0.0.1']);

    const results = [
      await send(`http://inside.example.com:${inside.port}/`),
      await send(`http://mixed.example.com:${inside.port}/`),
    ];

    expect(results.map(({ error }) => error)).toEqual([
      'its name or address leads nowhere in public',
      'its name or address leads nowhere in public',
    ]);
    expect(inside.received).toEqual([]);
  });

  test('goes to the address that was judged, whatever the name leads to a moment later', async () => {
    let asked = 0;
    names.addressesOf = () => (asked++ === 0 ? ['127.0.0.2'] : ['127.0.0.1']);

    const first = await send(`http://moving.example.com:${allowed.port}/`);

    expect(first.status).toBe(204);
    expect([allowed.received.length, inside.received.length, asked]).toEqual([1, 0, 1]);
    expect(allowed.received[0]!.headers.host).toBe(`moving.example.com:${allowed.port}`);
  });

  test('goes to no other port and over no other scheme than are allowed now, whatever the URL was judged by', async () => {
    const strict = makeSafeAgent({
      judge: makeAddressJudge({ allowedNetworks: ['127.0.0.2/32'], allowedPorts: [], allowsHttp: false }),
      dnsServers: [names.address],
      connectTimeoutMs: 2000,
      connectionsMax: 4,
    });

    const results = [
      await send(`http://127.0.0.2:${allowed.port}/`, strict),
      await send(`https://127.0.0.2:${allowed.port}/`, strict),
      await send('http://127.0.0.2/', strict),
    ];
    await strict.destroy();

    expect(new Set(results.map(({ error }) => error))).toEqual(
      new Set(['requests may not go to its scheme or its port']),
    );
    expect(allowed.received).toEqual([]);
  });

  test('tells nothing of the inside when a name leads nowhere, or nobody listens', async () => {
    names.addressesOf = (name) => (name === 'nobody.example.com' ? ['127.0.0.2'] : []);

    expect((await send('http://nowhere.example.com/')).error).toBe('its name or address leads nowhere in public');
    expect((await send(`http://nobody.example.com:${portOfNobody}/`)).error).toBe('it refused the connection');
  });
});

describe('a request', () => {
  const at = () => `http://127.0.0.2:${allowed.port}`;

  test('follows no redirect', async () => {
    allowed.answer = (_, response) => void response.writeHead(302, { location: inside.url }).end();

    expect(await send(at())).toMatchObject({ status: 302, error: 'it answered 302, and redirects are not followed' });
    expect(inside.received).toEqual([]);
  });

  test('ends in time when the receiver says nothing, or drips for ever', async () => {
    const quick = (): Promise<Awaited<ReturnType<typeof send>>> =>
      sendWebhook({ origin: at(), path: '/', headers: {}, body: '{}' }, { agent, timeoutMs: 300 });
    allowed.answer = () => {};
    const silent = await quick();
    allowed.answer = (_, response) => {
      response.writeHead(200);
      const drips = setInterval(() => response.write('.'), 50);
      response.on('close', () => clearInterval(drips));
    };
    const dripping = await quick();

    expect([silent.error, dripping.error]).toEqual(['it did not answer in time', 'it did not answer in time']);
    expect(Math.max(silent.tookMs, dripping.tookMs)).toBeLessThan(2000);
  });

  test('reads the first 16 KiB of an answer, however much there is', async () => {
    allowed.answer = (_, response) => {
      response.writeHead(200, { 'content-length': 10_000_000_000 });
      const chunk = Buffer.alloc(65_536, 'a');
      const fill = () => {
        while (!response.destroyed && response.write(chunk));
      };
      response.on('drain', fill);
      fill();
    };

    const { status, error, responseBody } = await send(at());

    expect([status, error]).toEqual([200, null]);
    expect(responseBody!.length).toBeLessThan(100_000);
  });

  test('counts by its status when the receiver cuts off after it, and fails when it cuts off before', async () => {
    allowed.answer = (_, response) => void response.socket?.destroy();
    const before = await send(at());
    allowed.answer = (_, response) => {
      response.writeHead(200, { 'content-length': 100 });
      response.write('half');
      setTimeout(() => response.socket?.destroy(), 50);
    };
    const after = await send(at());

    expect([before.status, before.error]).toEqual([null, 'it closed the connection']);
    expect([after.status, after.error]).toEqual([200, null]);
  });
});
