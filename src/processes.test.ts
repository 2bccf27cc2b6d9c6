import { spawn, type ChildProcess } from 'node:child_process';
import { request } from 'node:http';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, inject, test } from 'vitest';
import { readJson, startApplication, waitFor, type Receipt, type TestApplication } from './testing/application.ts';
import { openLink } from './testing/severable-link.ts';

const repository = join(import.meta.dirname, '..');

interface LogLine {
  service: string;
  msg: string;
  port?: number;
  request_id?: string;
  request_ids?: string[];
  queue?: string;
}

/** A process of the application, as a platform runs it. */
interface RealProcess {
  readonly child: ChildProcess;
  /** All that it wrote to standard output so far. */
  readonly log: () => LogLine[];
  readonly errors: () => string;
  readonly ended: Promise<{ code: number | null; signal: NodeJS.Signals | null; tookMs: number }>;
}

const started: RealProcess[] = [];

function start(script: string, environment: Readonly<Record<string, string>>): RealProcess {
  const startedAt = performance.now();
  const child = spawn(process.execPath, [join(repository, script)], {
    env: { PATH: process.env['PATH'], ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  let errors = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text));
  const real: RealProcess = {
    child,
    log: () =>
      output
        .split('\n')
        .slice(0, -1)
        .map((line) => JSON.parse(line) as LogLine),
    errors: () => errors,
    ended: new Promise((resolve) =>
      child.once('close', (code, signal) => resolve({ code, signal, tookMs: performance.now() - startedAt })),
    ),
  };
  started.push(real);
  return real;
}

async function portOf(web: RealProcess): Promise<number> {
  return waitFor(() => web.log().find((line) => line.msg === 'listening')?.port, 'the web process to listen');
}

let application: TestApplication;
beforeAll(async () => {
  application = await startApplication({ backend: 'postgres', hasWorker: false });
});
afterEach(async () => {
  for (const { child } of started) if (child.exitCode === null) child.kill('SIGKILL');
  await Promise.all(started.splice(0).map(({ ended }) => ended));
});
afterAll(() => application.close());

const environmentOf = (more: Record<string, string> = {}): Record<string, string> => ({
  ...application.environment,
  LOG_LEVEL: 'info',
  ...more,
});

const record = (value: string) => JSON.stringify({ identifiers: [{ identifier_type: 'sisbov', value }] });

function post(port: number, body: string, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(`http://127.0.0.1:${port}/api/receipts`, {
    method: 'POST',
    body,
    headers: { 'content-type': 'application/json', 'x-api-key': application.apiKey, ...headers },
  });
}

describe('a web process that gets SIGTERM', () => {
  test('ends with 0 within 10 seconds, and every receipt that it acknowledged is in the database', async () => {
    const web = start('src/server.ts', environmentOf());
    const port = await portOf(web);
    const acknowledged: string[] = [];
    let isRefused = false;
    const client = async () => {
      while (!isRefused) {
        try {
          const response = await post(port, record('BR600000000001'));
          if (response.status === 202) acknowledged.push((await readJson<Receipt>(response)).receipt_id);
          else await response.arrayBuffer();
        } catch {
          isRefused = true;
        }
      }
    };
    const clients = Array.from({ length: 16 }, client);
    await waitFor(() => (acknowledged.length > 200 ? true : undefined), 'some receipts');

    const signalledAt = performance.now();
    web.child.kill('SIGTERM');
    const { code } = await web.ended;

    expect([code, performance.now() - signalledAt < 10_000]).toEqual([0, true]);
    await Promise.all(clients);
    const { rows } = await application.database.pool.query<{ count: number }>(
      'select count(*) as count from receipts where receipt_id = any($1::uuid[])',
      [acknowledged],
    );
    expect(rows[0]!.count).toBe(acknowledged.length);
    expect(new Set(acknowledged).size).toBe(acknowledged.length);
  });

  test('answers at once those who wait for a receipt to settle, waits for a body under way, and ends at a second signal', async () => {
    const web = start('src/server.ts', environmentOf());
    const port = await portOf(web);
    const unfinished = request(`http://127.0.0.1:${port}/api/receipts`, {
      method: 'POST',
      agent: false,
      headers: { 'content-type': 'application/json', 'content-length': '100', 'x-api-key': application.apiKey },
    });
    const broken = new Promise((resolve) => unfinished.once('error', resolve));
    unfinished.write('[');
    const body = record('BR600000000002');
    const waiting = post(port, body, { prefer: 'wait=30', 'x-request-id': 'waits-for-long' });
    await waitFor(async () => {
      const { rowCount } = await application.database.pool.query('select 1 from receipts where request_id = $1', [
        'waits-for-long',
      ]);
      const metrics = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
      // Of the one that waits nothing counts any more: its bytes are kept.
      const isUnderWay = metrics.includes(`\ndefarm_reception_buffer_bytes 1\n`);
      return rowCount === 1 && isUnderWay ? true : undefined;
    }, 'both requests to be under way');

    const signalledAt = performance.now();
    web.child.kill('SIGTERM');

    expect((await waiting).status).toBe(202);
    expect(performance.now() - signalledAt).toBeLessThan(3000);
    await waitFor(
      () =>
        fetch(`http://127.0.0.1:${port}/health`).then(
          () => undefined,
          () => true,
        ),
      'the process to take no more',
    );
    expect(web.child.exitCode).toBeNull();

    const signalledAgainAt = performance.now();
    web.child.kill('SIGTERM');

    expect((await web.ended).code).toBe(1);
    expect(performance.now() - signalledAgainAt).toBeLessThan(1000);
    await broken;
  });
});

const backends = [
  { backend: 'postgres' as const, redisUrl: undefined, isThere: true },
  { backend: 'redis' as const, redisUrl: inject('redisUrl') ?? undefined, isThere: inject('redisUrl') !== null },
];

describe.each(backends)('with the queues in $backend', ({ redisUrl, isThere }) => {
  describe.runIf(isThere)('on this machine', () => {
    const environment = () => environmentOf(redisUrl === undefined ? {} : { REDIS_URL: redisUrl });

    test('the id of a request stands in the log lines of the request and of each job that it caused, and SIGTERM ends all in order', async () => {
      const web = start('src/server.ts', environment());
      // No sweep is to come before the bell.
      const worker = start('workers/main.ts', { ...environment(), SWEEP_INTERVAL_MS: '600000' });
      const port = await portOf(web);
      await waitFor(() => worker.log().find((line) => line.msg === 'working'), 'the worker');
      await waitFor(async () => {
        const { status } = await readJson<{ status: string }>(await fetch(`http://127.0.0.1:${port}/health/ready`));
        return status === 'ready' ? true : undefined;
      }, 'the queues');
      // What other tests left unsettled would be worked under this request's permit.
      await application.database.pool.query(
        `update receipts set cut_at = now(), entry_total = 0, finished_at = now(), outcome = 'completed' where cut_at is null`,
      );
      const requestId = `traced-${redisUrl === undefined ? 'postgres' : 'redis'}`;

      const response = await post(port, record('BR600000000003'), { 'x-request-id': requestId, prefer: 'wait=20' });

      expect(response.status).toBe(200);
      expect(response.headers.get('x-request-id')).toBe(requestId);
      const { rows } = await application.database.pool.query('select 1 from receipts where request_id = $1', [
        requestId,
      ]);
      expect(rows.length).toBe(1);
      const lineOf = (real: RealProcess, isIt: (line: LogLine) => boolean, what: string) =>
        waitFor(() => real.log().find(isIt), what);
      expect(await lineOf(web, (line) => line.request_id === requestId, 'the line of the request')).toMatchObject({
        service: 'web',
        msg: 'request',
        method: 'POST',
        path: '/api/receipts',
        status: 200,
      });
      const ofJob = (queue: string) =>
        lineOf(
          worker,
          (line) =>
            line.queue === queue && (line.request_id === requestId || (line.request_ids?.includes(requestId) ?? false)),
          `the line of the job in ${queue}`,
        );
      for (const queue of ['ingestion', 'deduplication'])
        expect(await ofJob(queue)).toMatchObject({ service: 'worker', msg: 'job completed' });
      const wholeLog = JSON.stringify([web.log(), worker.log()]);
      expect(wholeLog).not.toContain(application.apiKey);
      expect(wholeLog).not.toContain(environment()['DATABASE_URL']);

      const signalledAt = performance.now();
      for (const { child } of [web, worker]) child.kill('SIGTERM');
      expect([(await web.ended).code, (await worker.ended).code]).toEqual([0, 0]);
      expect(performance.now() - signalledAt).toBeLessThan(10_000);
    });
  });
});

test('web and worker that never reach their Redis end with 0 within 10 seconds of SIGTERM all the same', async () => {
  const nowhere = await openLink({ port: 1, host: '127.0.0.1' }, true);
  const environment = environmentOf({ REDIS_URL: `redis://127.0.0.1:${nowhere.port}` });
  const [web, worker] = [start('src/server.ts', environment), start('workers/main.ts', environment)];
  await portOf(web);
  await waitFor(() => worker.log().find((line) => line.msg === 'working'), 'the worker');
  const signalledAt = performance.now();
  for (const { child } of [web, worker]) child.kill('SIGTERM');
  expect([(await web.ended).code, (await worker.ended).code]).toEqual([0, 0]);
  expect(performance.now() - signalledAt).toBeLessThan(10_000);
});

describe('a process that is started wrongly', () => {
  test('names all faults of its configuration at once and ends with 78, without a secret', async () => {
    const web = start('src/server.ts', { DATABASE_URL: 'mysql://user:hunter2@db/x', PORT: 'http', LOG_LEVEL: 'loud' });
    expect((await web.ended).code).toBe(78);
    expect(web.errors()).toContain('3 faults');
    for (const key of ['DATABASE_URL', 'PORT', 'LOG_LEVEL']) expect(web.errors()).toContain(key);
    expect(web.errors()).not.toContain('hunter2');
  });

  test('on a port that is taken says so and ends with 1', async () => {
    const web = start('src/server.ts', environmentOf({ PORT: String(application.port) }));
    expect((await web.ended).code).toBe(1);
    expect(web.errors()).toContain(String(application.port));
  });
});
