import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { insertEvents } from '#domains/events/index.ts';
import { withTransaction } from '#platform/database.ts';
import { makeKeyEncryption } from '#platform/key-encryption.ts';
import { makeId } from '#platform/ids.ts';
import { startApplication, waitFor, type TestApplication } from '../../testing/application.ts';
import { weighing } from '../../testing/events.ts';
import {
  startWebhookReceiver,
  verified,
  webhookSettings,
  type WebhookReceiver,
} from '../../testing/webhook-receiver.ts';
import { plainEndpoint } from '../../testing/webhook-worker.ts';
import { insertEndpoint } from './endpoints/endpoints.store.ts';
import { makeSecret, readSecret } from './sending/signature.ts';

const worker = join(import.meta.dirname, '../../../workers/main.ts');
const events = 2000;
const items = 40;
const healthy = { plain: 22, ordered: 3 } as const;
const kills = 6;
/** For so long may the database not know what was answered, and a request be on its way to a busy receiver. */
const unkeptMs = 3000;
const onItsWayMs = 1000;

/** How receivers behave that are none to rely on. */
const hostile: Readonly<Record<string, (response: ServerResponse) => void>> = {
  hangs: () => {},
  resets: (response) => void response.socket?.resetAndDestroy(),
  drips(response) {
    response.writeHead(200);
    const drips = setInterval(() => response.write('.'), 100);
    response.on('close', () => clearInterval(drips));
  },
  floods(response) {
    response.writeHead(500, { 'content-length': 10_000_000_000 });
    const chunk = Buffer.alloc(65_536);
    const flood = () => {
      while (!response.destroyed && response.write(chunk));
      if (!response.destroyed) response.once('drain', flood);
    };
    flood();
  },
  redirects: (response) => void response.writeHead(302, { location: '/plain-0' }).end(),
  fails: (response) => void response.writeHead(500).end(),
  refuses: (response) => void response.writeHead(429, { 'retry-after': '3600' }).end(),
};

let application: TestApplication;
let receiver: WebhookReceiver;
const workers = new Set<ChildProcess>();
const encryptionKey = randomBytes(32);
const secret = makeSecret();
const workspaceId = makeId();

beforeAll(async () => {
  receiver = await startWebhookReceiver();
  application = await startApplication({
    backend: 'postgres',
    hasWorker: false,
    environment: {
      ...webhookSettings(receiver),
      ENCRYPTION_KEY: encryptionKey.toString('base64'),
      SWEEP_INTERVAL_MS: '100',
      WEBHOOK_RETRY_SCHEDULE: '1',
      WEBHOOK_TIMEOUT_MS: '3000',
    },
  });
});
afterAll(async () => {
  for (const child of workers) child.kill('SIGKILL');
  await application.close();
  await receiver.close();
});

function startWorkerProcess(): ChildProcess {
  const child = spawn(process.execPath, [worker], {
    env: { PATH: process.env['PATH'], ...application.environment },
    stdio: 'ignore',
  });
  workers.add(child);
  child.once('close', () => workers.delete(child));
  return child;
}

async function subscribe(name: string, isOrdered: boolean): Promise<void> {
  const endpoint = plainEndpoint({
    endpoint_id: makeId(),
    workspaceId,
    name,
    url: `${receiver.url}/${name}`,
    secret: makeKeyEncryption([encryptionKey]).seal(readSecret(secret)!),
  });
  const concurrency = isOrdered ? 16 : 4;
  await insertEndpoint(application.database.pool, {
    ...endpoint,
    concurrency,
    is_ordered: isOrdered,
    max_retries: 9,
  });
}

/** Tells of weighings of all items in turn; gives the ids of the events of each item, in their order. */
async function tellAll(): Promise<Map<number, string[]>> {
  const told = new Map<number, string[]>();
  for (let begin = 0; begin < events; begin += 100) {
    const some = Array.from({ length: 100 }, (_, at) =>
      weighing({ workspaceId, itemNumber: 1 + ((begin + at) % items) }),
    );
    await withTransaction(application.database.pool, (client) => insertEvents(client, some));
    for (const { itemNumber, eventId } of some) {
      const before = told.get(itemNumber!) ?? [];
      told.set(itemNumber!, [...before, eventId]);
    }
  }
  return told;
}

/** Deliveries to some endpoints that may still be sent. */
async function countQueued(names: readonly string[]): Promise<number> {
  const { rows } = await application.database.pool.query<{ queued: number }>(
    'select count(*) as queued from webhook_queue join webhook_endpoints using (endpoint_id) where name = any($1)',
    [names],
  );
  return rows[0]!.queued;
}

test('every event reaches every healthy endpoint while workers are killed and other receivers misbehave', async () => {
  const names = [
    ...Array.from({ length: healthy.plain }, (_, at) => `plain-${at}`),
    ...Array.from({ length: healthy.ordered }, (_, at) => `ordered-${at}`),
  ];
  for (const name of names) await subscribe(name, name.startsWith('ordered'));
  for (const name of Object.keys(hostile)) await subscribe(name, false);
  const arrivals = new Map(names.map((name) => [name, new Map<string, number[]>()]));
  const bodies = new Map<string, string>();
  const faults: string[] = [];
  receiver.answer = (request, response) => {
    receiver.received.length = 0;
    const name = request.path.slice(1);
    const id = String(request.headers['webhook-id']);
    verified(secret, request);
    if ((bodies.get(id) ?? request.body) !== request.body) faults.push(`another body of ${id}`);
    bodies.set(id, request.body);
    const times = arrivals.get(name);
    if (!times) return hostile[name]!(response);
    times.set(id, [...(times.get(id) ?? []), performance.now()]);
    response.writeHead(204).end();
  };
  const told = await tellAll();
  const killedAtMs: number[] = [];
  const running = [startWorkerProcess(), startWorkerProcess()];
  const arrived = () => [...arrivals.values()].reduce((sum, ids) => sum + ids.size, 0);

  for (let kill = 1; kill <= kills; kill += 1) {
    const target = (kill * names.length * events) / (kills + 2);
    await waitFor(() => (arrived() >= target ? true : undefined), `${target} deliveries`, 60_000);
    const victim = running.shift()!;
    killedAtMs.push(performance.now());
    victim.kill('SIGKILL');
    running.push(startWorkerProcess());
  }
  await waitFor(() => (arrived() === names.length * events ? true : undefined), 'all deliveries', 300_000);
  await waitFor(async () => ((await countQueued(names)) === 0 ? true : undefined), 'all to be kept', 60_000);

  const everything = new Set([...told.values()].flat());
  expect([...arrivals.values()].map((ids) => new Set(ids.keys()))).toEqual(names.map(() => everything));
  expect(faults).toEqual([]);
  const repeated = [...arrivals.values()].flatMap((ids) => [...ids.values()]).filter((times) => times.length > 1);
  const isCutOff = (time: number) =>
    killedAtMs.some((killed) => time <= killed + onItsWayMs && time > killed - unkeptMs);
  expect(repeated.filter((times) => !times.slice(0, -1).every(isCutOff))).toEqual([]);
  for (const name of names.filter((each) => each.startsWith('ordered'))) {
    const ids = [...arrivals.get(name)!.keys()];
    for (const [item, order] of told) {
      const wanted = new Set(order);
      expect([item, ids.filter((id) => wanted.has(id))]).toEqual([item, order]);
    }
  }
}, 600_000);
