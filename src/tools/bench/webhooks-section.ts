import { fork } from 'node:child_process';
import { once } from 'node:events';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Agent, request, type Dispatcher } from 'undici';
import { insertEvents } from '#domains/events/index.ts';
import { makeAddressJudge, makeSafeAgent, makeWebhooksWork, webhookRequestsMax } from '#domains/webhooks/index.ts';
import { takeDue } from '#domains/webhooks/deliveries/take-due.ts';
import { insertEndpoint } from '#domains/webhooks/endpoints/endpoints.store.ts';
import { makeSecret, readSecret } from '#domains/webhooks/sending/signature.ts';
import { openDatabase, withTransaction, type Database } from '#platform/database.ts';
import { makeId } from '#platform/ids.ts';
import { makeKeyEncryption } from '#platform/key-encryption.ts';
import { makeLogger } from '#platform/logger.ts';
import { weighing } from '../../testing/events.ts';
import { plainEndpoint } from '../../testing/webhook-worker.ts';
import type { BenchContext } from './context.ts';
import { createDatabase, dropDatabase } from './databases.ts';
import { measure, type WatchedProcess } from './process-watch.ts';
import { BenchFault, judge, showCount, showDecimal, type Run, type SectionReport } from './report.ts';
import { median } from './statistics.ts';

const database = 'bench-webhooks';
const endpointsCount = 100;
const hangingCount = 20;
const slots = 4;
const timeoutMs = 15_000;
const looks = 21;
const keys = makeKeyEncryption([randomBytes(32)]);
const secret = keys.seal(readSecret(makeSecret())!);

/** Everything that one repeat needs. */
interface Stage {
  readonly opened: Database;
  readonly workspaceId: string;
  /** Of the receiver, at all addresses of the loopback network. */
  readonly port: number;
  readonly watched: readonly WatchedProcess[];
}

/**
 * Webhooks alone: deliveries to a receiver in a process of its own, beside a bare loop of the same HTTP client to the same
 * receiver; and what making deliveries, hanging receivers and waiting deliveries cost.
 */
export async function benchWebhooks({ servers, sizes, repeats, say }: BenchContext): Promise<SectionReport> {
  const { messages, waiting, fannedOut } = sizes.webhooks;
  const receiver = fork(join(import.meta.dirname, 'webhook-receiver.ts'), [], { execArgv: [] });
  const [{ port }] = (await once(receiver, 'message')) as [{ port: number }];
  const runs: Run[] = [];
  try {
    for (let repeat = 1; repeat <= repeats; repeat += 1) {
      say(`webhooks: repeat ${repeat}, ${showCount(messages * endpointsCount)} deliveries`);
      await createDatabase(servers, database);
      const opened = openDatabase({
        url: servers.postgresUrl(database),
        poolSize: 6,
        applicationName: 'bench-webhooks',
        isWorker: true,
      });
      const { rows } = await opened.pool.query<{ workspace_id: string }>('select workspace_id from workspaces');
      await opened.pool.query(
        `insert into items (item_number, value_chain, country, year) values (1, 'BEEF', 'BR', 2025)`,
      );
      const stage: Stage = {
        opened,
        workspaceId: rows[0]!.workspace_id,
        port,
        watched: [...servers.processes, { name: 'sender', pid: process.pid }, { name: 'receiver', pid: receiver.pid! }],
      };
      try {
        runs.push(await runSending(stage, messages, repeat, 'healthy'));
        runs.push(await runSending(stage, Math.ceil(messages / 3), repeat, 'slow'));
        runs.push(await runHanging(stage, messages, repeat));
        runs.push(await runWaiting(stage, waiting, repeat));
        runs.push(await runFanOut(stage, fannedOut, repeat));
      } finally {
        await opened.close();
      }
    }
    await dropDatabase(servers, database);
  } finally {
    receiver.disconnect();
  }
  return report({ messages, waiting, fannedOut }, runs);
}

/** Every endpoint has a host of its own. */
function urlOf(port: number, path: string, at: number): string {
  return `http://127.0.${1 + Math.floor(at / 250)}.${1 + (at % 250)}:${port}/${path}-${at}`;
}

/** A worker, or the part of one that only makes deliveries. */
function makeWork({ opened }: Stage, agent?: Dispatcher) {
  return makeWebhooksWork({
    pool: opened.pool,
    logger: makeLogger({ level: 'silent', name: 'bench' }),
    keys: agent && keys,
    version: '1.0.0',
    retrySchedule: [3600],
    sender: { agent: agent ?? new Agent(), timeoutMs },
  });
}

async function subscribe({ opened, workspaceId, port }: Stage, count: number, path: string): Promise<string[]> {
  const ids: string[] = [];
  for (let at = 0; at < count; at += 1) {
    const endpointId = makeId();
    ids.push(endpointId);
    const named = { endpoint_id: endpointId, workspaceId, name: `${path} ${at}`, url: urlOf(port, path, at), secret };
    await insertEndpoint(opened.pool, { ...plainEndpoint(named), concurrency: slots });
  }
  return ids;
}

/** Tells of so many weighings, and makes their deliveries. */
async function tell(stage: Stage, count: number): Promise<void> {
  await writeEvents(stage, count);
  while (await makeWork(stage).workDirectly());
}

async function writeEvents({ opened, workspaceId }: Stage, count: number): Promise<void> {
  await withTransaction(opened.pool, (client) =>
    insertEvents(
      client,
      Array.from({ length: count }, (_, at) =>
        weighing({
          workspaceId,
          occurredAtMicros: 1_760_000_000_000_000 + at,
          payload: JSON.stringify({ kg: 450 + (at % 100), scale: 'Curral 3', operator: 'Vaqueiro 17' }),
        }),
      ),
    ),
  );
}

async function clear({ opened }: Stage): Promise<void> {
  await opened.pool.query(
    'truncate webhook_queue, webhook_deliveries, webhook_attempts, webhook_messages, webhook_endpoints, webhook_endpoint_state, webhook_feed',
  );
}

async function countDelivered({ opened }: Stage, path: string): Promise<number> {
  const { rows } = await opened.pool.query<{ delivered: number }>(
    `select count(*) as delivered from webhook_deliveries join webhook_endpoints using (endpoint_id)
     where delivered_at is not null and attempts = 1 and name like $1 || ' %'`,
    [path],
  );
  return rows[0]!.delivered;
}

async function isQueued({ opened }: Stage, path: string): Promise<boolean> {
  const { rows } = await opened.pool.query<{ is_queued: boolean }>(
    `select exists (select from webhook_endpoints as endpoints cross join lateral (
              select from webhook_queue where webhook_queue.endpoint_id = endpoints.endpoint_id and not is_blocked limit 1) as queued
            where name like $1 || ' %') as is_queued`,
    [path],
  );
  return rows[0]!.is_queued;
}

const openAgent = ({ port }: Stage) =>
  makeSafeAgent({
    judge: makeAddressJudge({ allowedNetworks: ['127.0.0.0/8'], allowedPorts: [port], allowsHttp: true }),
    dnsServers: [],
    connectTimeoutMs: timeoutMs,
    connectionsMax: webhookRequestsMax,
  });

async function runSending(stage: Stage, messages: number, repeat: number, path: 'healthy' | 'slow'): Promise<Run> {
  const count = messages * endpointsCount;
  await subscribe(stage, endpointsCount, path);
  const bare = await runBareLoop(stage, count, path);
  const agent = openAgent(stage);
  const work = makeWork(stage, agent);
  const sendAll = async () => {
    while (await work.workDirectly());
  };
  await tell(stage, slots);
  await sendAll();
  await tell(stage, messages);
  await stage.opened.pool.query('checkpoint');
  const product = await measure(stage.watched, sendAll);
  await work.close();
  await agent.destroy();
  const delivered = await countDelivered(stage, path);
  const expected = count + slots * endpointsCount;
  if (delivered !== expected) throw new BenchFault(`webhooks: ${delivered} were delivered at once, not ${expected}`);
  await clear(stage);
  const perDelivery = (seconds: number) => (seconds * 1_000_000) / count;
  return {
    variant: path,
    repeat,
    figures: {
      bare_per_second: count / bare.wallSeconds,
      delivered_per_second: count / product.wallSeconds,
      ratio: bare.wallSeconds / product.wallSeconds,
      bare_us: perDelivery(bare.cpuSeconds['sender']!),
      sender_us: perDelivery(product.cpuSeconds['sender']!),
      postgres_us: perDelivery(product.cpuSeconds['postgres'] ?? 0),
      receiver_us: perDelivery(product.cpuSeconds['receiver']!),
    },
    wallSeconds: product.wallSeconds,
    cpuSeconds: product.cpuSeconds,
  };
}

/** The same client without anything else: one body, headers made before, nothing kept. */
async function runBareLoop({ port, watched }: Stage, count: number, name: string) {
  const agent = new Agent({ connections: slots, pipelining: 1 });
  const body = JSON.stringify({
    type: 'weighed',
    timestamp: new Date().toISOString(),
    data: { text: 'x'.repeat(350) },
  });
  const headers = {
    'content-type': 'application/json',
    'user-agent': 'DeFarm-Engines/1.0.0',
    'webhook-id': makeId(),
    'webhook-timestamp': '1795867200',
    'webhook-signature': `v1,${randomBytes(32).toString('base64')}`,
  };
  const loop = async (total: number) => {
    let begun = 0;
    await Promise.all(
      Array.from({ length: endpointsCount * slots }, async () => {
        while (begun < total) {
          const url = urlOf(port, name, begun++ % endpointsCount);
          const { body: answer } = await request(url, {
            method: 'POST',
            headers,
            body,
            dispatcher: agent,
          });
          await answer.dump();
        }
      }),
    );
  };
  await loop(endpointsCount * slots);
  const measured = await measure(watched, () => loop(count));
  await agent.destroy();
  return measured;
}

/** The rate of eighty endpoints beside twenty that have nothing to do, and beside twenty whose receiver hangs. */
async function runHanging(stage: Stage, messages: number, repeat: number): Promise<Run> {
  const healthyCount = endpointsCount - hangingCount;
  const rateBeside = async (besides: string | undefined) => {
    await subscribe(stage, healthyCount, 'healthy');
    if (besides !== undefined) await subscribe(stage, hangingCount, besides);
    await tell(stage, messages);
    const agent = openAgent(stage);
    const work = makeWork(stage, agent);
    const total = healthyCount * messages;
    let sending: Promise<boolean> | undefined;
    await stage.opened.pool.query('checkpoint');
    const measured = await measure(stage.watched, async () => {
      sending = work.workDirectly();
      while (await isQueued(stage, 'healthy')) await delay(50);
      return undefined;
    });
    await agent.destroy();
    await sending;
    await work.close();
    await clear(stage);
    return { ...measured, perSecond: total / measured.wallSeconds };
  };
  const alone = await rateBeside(undefined);
  const beside = await rateBeside('hang');
  return {
    variant: 'hanging',
    repeat,
    figures: {
      alone_per_second: alone.perSecond,
      beside_hanging_per_second: beside.perSecond,
      ratio: beside.perSecond / alone.perSecond,
    },
    wallSeconds: beside.wallSeconds,
    cpuSeconds: beside.cpuSeconds,
  };
}

/** What it takes to find what is due, without and with many that wait for another attempt. */
async function runWaiting(stage: Stage, waiting: number, repeat: number): Promise<Run> {
  const { opened, watched } = stage;
  await subscribe(stage, endpointsCount, 'healthy');
  await tell(stage, slots * 4);
  const look = async () => {
    const times: number[] = [];
    for (let at = 0; at < looks; at += 1) {
      const holder = makeId();
      const options = { holder, leaseMs: 60_000, breakerFailures: 5, bytesMax: 1e9 };
      const startedAtMs = performance.now();
      const { endpoints: taken } = await takeDue(opened.pool, {
        ...options,
        released: [],
        kept: new Map(),
        freshMax: endpointsCount,
      });
      times.push(performance.now() - startedAtMs);
      if (taken.length !== endpointsCount) throw new BenchFault(`webhooks: ${taken.length} endpoints were found`);
      const released = taken.map(({ endpoint }) => endpoint.endpoint_id);
      await takeDue(opened.pool, { ...options, released, kept: new Map(), freshMax: 0 });
    }
    return median(times);
  };
  const few = await look();
  const { wallSeconds, cpuSeconds } = await measure(watched, async () => {
    await opened.pool.query(
      `with endpoints as (select endpoint_id, row_number() over () as nth from webhook_endpoints),
            messages as (select message_id, position from webhook_messages limit 1)
       insert into webhook_queue (delivery_id, endpoint_id, message_id, position, is_thin, attempts, next_attempt_at)
       select gen_random_uuid(), endpoint_id, message_id, position, false, 1, now() + make_interval(secs => 3600 + n % 80000)
       from messages cross join generate_series(1, $1::int) as n join endpoints on nth = 1 + n % $2::int`,
      [waiting, endpointsCount],
    );
    return undefined;
  });
  const many = await look();
  await clear(stage);
  return {
    variant: 'waiting',
    repeat,
    figures: { look_ms: few, look_beside_waiting_ms: many, ratio: many / few },
    wallSeconds,
    cpuSeconds,
  };
}

/** One event to many endpoints: what it costs the change, and how long until its deliveries are there. */
async function runFanOut(stage: Stage, count: number, repeat: number): Promise<Run> {
  const change = async () => {
    const times: number[] = [];
    for (let at = 0; at < looks; at += 1) {
      const startedAtMs = performance.now();
      await writeEvents(stage, 1);
      times.push(performance.now() - startedAtMs);
    }
    return median(times);
  };
  await subscribe(stage, 1, 'healthy');
  const withOne = await change();
  await subscribe(stage, count - 1, 'healthy');
  const withMany = await change();
  await stage.opened.pool.query('truncate webhook_feed');
  await writeEvents(stage, 1);
  globalThis.gc?.();
  const before = process.memoryUsage().rss;
  let peak = before;
  const watch = setInterval(() => (peak = Math.max(peak, process.memoryUsage().rss)), 5);
  const { wallSeconds, cpuSeconds } = await measure(stage.watched, async () => {
    while (await makeWork(stage).workDirectly());
  });
  clearInterval(watch);
  const { rows } = await stage.opened.pool.query<{ made: number }>('select count(*) as made from webhook_queue');
  if (rows[0]!.made !== count) throw new BenchFault(`webhooks: ${rows[0]!.made} deliveries were made, not ${count}`);
  await clear(stage);
  return {
    variant: 'fan-out',
    repeat,
    figures: {
      change_with_one_ms: withOne,
      change_with_many_ms: withMany,
      change_ratio: withMany / withOne,
      seconds: wallSeconds,
      grown_mib: (peak - before) / 1024 / 1024,
    },
    wallSeconds,
    cpuSeconds,
  };
}

function report(
  { messages, waiting, fannedOut }: BenchContext['sizes']['webhooks'],
  runs: readonly Run[],
): SectionReport {
  const figure = (variant: string, name: string) =>
    median(runs.filter((run) => run.variant === variant).map(({ figures }) => figures[name]!));
  const us = (name: string) => showDecimal(figure('healthy', name), 0);
  const sending = figure('healthy', 'ratio');
  const slow = figure('slow', 'ratio');
  const hanging = figure('hanging', 'ratio');
  const looking = figure('waiting', 'ratio');
  const seconds = figure('fan-out', 'seconds');
  const change = figure('fan-out', 'change_ratio');
  const grownMib = figure('fan-out', 'grown_mib');
  return {
    name: 'webhooks',
    title: `Webhooks: ${showCount(messages * endpointsCount)} deliveries to ${endpointsCount} endpoints with ${slots} requests at a time each`,
    conditions: [
      'The bare loop sends one body with headers made before, as many at a time, by the same client to the same receiver, and keeps nothing. Both have sent 400 before they are measured.',
      `CPU of one delivery in us: ${us('sender_us')} of the sender (${us('bare_us')} of the bare loop), ${us('postgres_us')} of Postgres, ${us('receiver_us')} of the receiver.`,
      `A look for what is due at ${endpointsCount} endpoints: ${showDecimal(figure('waiting', 'look_ms'), 1)} ms, and ${showDecimal(figure('waiting', 'look_beside_waiting_ms'), 1)} ms beside ${showCount(waiting)} that wait.`,
      `A change that is told to one endpoint: ${showDecimal(figure('fan-out', 'change_with_one_ms'))} ms; to ${showCount(fannedOut)}: ${showDecimal(figure('fan-out', 'change_with_many_ms'))} ms.`,
    ],
    columns: ['', 'deliveries/s'],
    rows: [
      ['bare loop', showCount(figure('healthy', 'bare_per_second'))],
      ['all endpoints', showCount(figure('healthy', 'delivered_per_second'))],
      ['bare loop, answers after 100 ms', showCount(figure('slow', 'bare_per_second'))],
      ['all endpoints, answers after 100 ms', showCount(figure('slow', 'delivered_per_second'))],
      [`${endpointsCount - hangingCount} endpoints alone`, showCount(figure('hanging', 'alone_per_second'))],
      [
        `${endpointsCount - hangingCount} beside ${hangingCount} that hang`,
        showCount(figure('hanging', 'beside_hanging_per_second')),
      ],
    ],
    targets: [
      judge('at least 0.7 of a bare loop', sending, { least: 0.7 }, showDecimal(sending)),
      judge('the same where answers take 100 ms', slow, { least: 0.7 }, showDecimal(slow)),
      judge(
        `beside ${hangingCount} of ${endpointsCount} that hang, at least 0.95 of the rate`,
        hanging,
        { least: 0.95 },
        showDecimal(hanging),
      ),
      judge(`${showCount(waiting)} that wait cost a look at most twice`, looking, { most: 2 }, showDecimal(looking)),
      judge(
        `deliveries of one event to ${showCount(fannedOut)} endpoints within 1 s`,
        seconds,
        { most: 1 },
        `${showDecimal(seconds)} s`,
      ),
      judge('memory grows by at most 32 MiB meanwhile', grownMib, { most: 32 }, `${showDecimal(grownMib, 0)} MiB`),
      judge('the change is as quick as with one endpoint (at most 1.2)', change, { most: 1.2 }, showDecimal(change)),
    ],
    runs,
  };
}
