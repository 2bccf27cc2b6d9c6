import { createServer } from 'node:https';
import { createServer as createPlainServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Server } from 'node:net';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { generate } from 'selfsigned';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startNameServer, type NameServer } from '../../../testing/name-server.ts';
import { makeAddressJudge } from './address-policy.ts';
import { makeSafeAgent } from './safe-agent.ts';
import { sendWebhook } from './send-webhook.ts';

const keys = { keyType: 'ec', algorithm: 'sha256' } as const;
const dayMs = 86_400_000;
const trustedBefore = getCACertificates('default');
const closing: (() => Promise<unknown>)[] = [];
/** The authority that this test trusts, and one that nobody does. */
let [authority, stranger]: Awaited<ReturnType<typeof makeAuthority>>[] = [];
let names: NameServer;

const makeAuthority = (name: string) =>
  generate([{ name: 'commonName', value: name }], {
    ...keys,
    extensions: [
      { name: 'basicConstraints', cA: true, critical: true },
      { name: 'keyUsage', keyCertSign: true, cRLSign: true, critical: true },
    ],
  });

beforeAll(async () => {
  [authority, stranger] = [await makeAuthority('Authority'), await makeAuthority('Stranger')];
  setDefaultCACertificates([...trustedBefore, authority.cert]);
  names = await startNameServer();
  names.addressesOf = () => ['127.0.0.1'];
});
afterAll(async () => {
  await Promise.all(closing.map((close) => close()));
  await names.close();
  setDefaultCACertificates(trustedBefore);
});

/** A certificate of `name`, signed by an authority or by itself. */
async function certificateFor(
  name: string,
  { ca = authority, untilMs = Date.now() + dayMs, isSelfSigned = false } = {},
) {
  const { cert, private: key } = await generate([{ name: 'commonName', value: name }], {
    ...keys,
    notBeforeDate: new Date(untilMs - 2 * dayMs),
    notAfterDate: new Date(untilMs),
    extensions: [{ name: 'subjectAltName', altNames: [{ type: 2, value: name }] }],
    ...(isSelfSigned ? {} : { ca: { key: ca!.private, cert: ca!.cert } }),
  });
  return { cert, key };
}

interface Received {
  host: string | undefined;
  httpVersion: string;
  body: string;
}

/** Listens, and sends one webhook there by the name `shop.example.com`. */
async function sendTo(server: Server) {
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  closing.push(() => new Promise((resolve) => void server.close(resolve)));
  const { port } = server.address() as AddressInfo;
  const agent = makeSafeAgent({
    judge: makeAddressJudge({ allowedNetworks: ['127.0.0.0/8'], allowedPorts: [port], allowsHttp: false }),
    dnsServers: [names.address],
    connectTimeoutMs: 3000,
    connectionsMax: 4,
  });
  const request = { origin: `https://shop.example.com:${port}`, path: '/hook', headers: {}, body: '{"kg":450}' };
  const { status, error } = await sendWebhook(request, { agent, timeoutMs: 5000 });
  await agent.destroy();
  return { status, error, port };
}

function receiving(received: Received[]) {
  return (request: IncomingMessage, response: ServerResponse) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const { headers, httpVersion } = request;
      received.push({ host: headers.host, httpVersion, body: Buffer.concat(chunks).toString() });
      response.writeHead(204).end();
    });
  };
}

test('a receiver whose certificate is of its name, and signed by who is trusted, gets the request', async () => {
  const received: Received[] = [];
  const certificate = await certificateFor('shop.example.com');

  const { status, error, port } = await sendTo(createServer(certificate, receiving(received)));

  expect([status, error]).toEqual([204, null]);
  expect(received).toEqual([{ host: `shop.example.com:${port}`, httpVersion: '1.1', body: '{"kg":450}' }]);
});

test('a receiver that offers HTTP/2 as well is spoken to in HTTP/1.1', async () => {
  const received: Received[] = [];
  const certificate = await certificateFor('shop.example.com');

  const { status } = await sendTo(
    createServer({ ...certificate, ALPNProtocols: ['h2', 'http/1.1'] }, receiving(received)),
  );

  expect([status, received.map(({ httpVersion }) => httpVersion)]).toEqual([204, ['1.1']]);
});

test.each([
  ['of another name', () => certificateFor('other.example.com'), 'its certificate is of another name'],
  [
    'that has expired',
    () => certificateFor('shop.example.com', { untilMs: Date.now() - dayMs }),
    'its certificate has expired',
  ],
  [
    'that it signed itself',
    () => certificateFor('shop.example.com', { isSelfSigned: true }),
    'its certificate is signed by nobody that is known',
  ],
  [
    'of an authority that nobody knows',
    () => certificateFor('shop.example.com', { ca: stranger }),
    'its certificate is signed by nobody that is known',
  ],
])('a receiver with a certificate %s gets nothing, and its owner is told why', async (_, certificate, told) => {
  const received: Received[] = [];

  const { status, error } = await sendTo(createServer(await certificate(), receiving(received)));

  expect([status, error, received]).toEqual([null, told, []]);
});

test('a receiver that speaks no TLS gets nothing, and its owner is told why', async () => {
  const received: Received[] = [];

  const { status, error } = await sendTo(createPlainServer(receiving(received)));

  expect([status, error, received]).toEqual([null, 'it does not speak TLS as it should', []]);
});
