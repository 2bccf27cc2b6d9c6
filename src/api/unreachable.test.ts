import { afterAll, afterEach, beforeAll, describe, expect, inject, test } from 'vitest';
import {
  administrator,
  readJson,
  startApplication,
  waitFor,
  type ProblemDocument,
  type Receipt,
  type TestApplication,
} from '../testing/application.ts';
import { openLink, openPostgresLink, type SeverableLink } from '../testing/severable-link.ts';

/** What a client, or the platform that asks for our health, may have to wait at most. */
const patienceMs = 8500;

interface Readiness {
  status: string;
  reasons: string[];
}

let nextNumber = 500_000_000_000;
const newRecord = () => JSON.stringify({ identifiers: [{ identifier_type: 'sisbov', value: `BR${nextNumber++}` }] });

async function timed(answer: Promise<Response>): Promise<{ response: Response; tookMs: number }> {
  const startedAt = performance.now();
  return { response: await answer, tookMs: performance.now() - startedAt };
}

async function readiness(application: TestApplication) {
  const response = await fetch(`${application.url}/health/ready`);
  return { code: response.status, ...(await readJson<Readiness>(response)) };
}

describe('without Postgres', () => {
  let application: TestApplication;
  let link: SeverableLink;
  beforeAll(async () => {
    application = await startApplication({
      backend: 'postgres',
      async leadToDatabase(url) {
        const led = await openPostgresLink(url);
        ({ link } = led);
        return led.url;
      },
    });
  });
  afterEach(async () => {
    await link.restore();
    await waitFor(async () => ((await readiness(application)).code === 200 ? true : undefined), 'Postgres to be back');
  });
  afterAll(async () => {
    await application.close();
    await link.close();
  });

  /** What matters of an answer, with the pattern that all of these answers are to have. */
  const told = async ({ response, tookMs }: { response: Response; tookMs: number }) => {
    const { error, detail } = await readJson<ProblemDocument>(response);
    return {
      status: response.status,
      type: response.headers.get('content-type'),
      isInTime: tookMs < patienceMs,
      saysWhenToRetry: Number(response.headers.get('retry-after')) > 0,
      tellsInternals: /ECONN|127\.0\.0\.1|postgres:/.test(detail),
      error,
    };
  };
  const unavailable = {
    status: 503,
    type: 'application/problem+json',
    isInTime: true,
    saysWhenToRetry: true,
    tellsInternals: false,
    error: 'unavailable',
  };

  const post = (path: string, body: object) =>
    application.fetch(path, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'idempotency-key': path },
      body: JSON.stringify(body),
    });

  test('the process is live, not ready with the reason, and accepts nothing', async () => {
    expect((await application.submit(newRecord())).status).toBe(202);
    const unknownKey = await application.createKey({ scope: 'write' });
    await link.sever();

    const asked = [
      timed(application.submit(newRecord())),
      timed(application.submit(newRecord(), { 'idempotency-key': 'unreachable' })),
      timed(application.submit(newRecord(), { prefer: 'wait=1' })),
      timed(application.submit(newRecord(), { 'x-api-key': unknownKey })),
      timed(
        post('/api/items', { value_chain: 'BEEF', country: 'BR', year: 2025, ...(JSON.parse(newRecord()) as object) }),
      ),
      timed(post('/api/dfid/generate', { value_chain: 'BEEF', country: 'BR', year: 2025 })),
      timed(post('/api/events', { dfid: 'DFID-BEEF-BR-2025-000123-cce1a7', event_type: 'weighed' })),
      timed(application.fetch('/api/receipts')),
      timed(application.fetch('/api/items')),
      timed(application.fetch('/api/events')),
      timed(
        fetch(`${application.url}/admin/queues/`, {
          headers: { authorization: `Basic ${btoa(`${administrator.email}:${administrator.password}`)}` },
        }),
      ),
    ];
    expect((await fetch(`${application.url}/health/live`)).status).toBe(200);
    const ready = await timed(fetch(`${application.url}/health/ready`));
    expect(ready.tookMs).toBeLessThan(5000);
    expect(ready.response.status).toBe(503);
    expect(await ready.response.json()).toEqual({ status: 'not_ready', reasons: ['Postgres cannot be reached'] });
    const metrics = await timed(fetch(`${application.url}/metrics`));
    expect([metrics.response.status, metrics.tookMs < patienceMs]).toEqual([200, true]);
    for (const answer of await Promise.all(asked)) expect(await told(answer)).toEqual(unavailable);
  });

  test('a database that takes connections and never answers is not ready either', async () => {
    link.freeze();
    expect((await fetch(`${application.url}/health/live`)).status).toBe(200);
    const { response, tookMs } = await timed(fetch(`${application.url}/health/ready`));
    expect([response.status, tookMs < 5000]).toEqual([503, true]);
    expect(await response.json()).toEqual({ status: 'not_ready', reasons: ['Postgres cannot be reached'] });
  });

  test('many requests at once, small and large, are all told so in time', async () => {
    const large = `[${newRecord()}${' '.repeat(100_000)}]`;
    await link.sever();
    const answers = await Promise.all(
      Array.from({ length: 40 }, (_, at) => timed(application.submit(at % 4 === 0 ? large : newRecord()))),
    );
    for (const answer of answers) expect(await told(answer)).toEqual(unavailable);
  });

  test('that is away for a moment only: the request that came meanwhile is kept, once, and its record is worked', async () => {
    await link.sever();
    const answer = application.submit(newRecord(), { 'x-request-id': 'while-postgres-was-away' });
    await waitFor(
      async () => ((await readiness(application)).code === 503 ? true : undefined),
      'Postgres to be missed',
    );
    await link.restore();

    const response = await answer;

    expect(response.status).toBe(202);
    const { receipt_id: id } = await readJson<Receipt>(response);
    expect(await application.settle(id)).toMatchObject({ status: 'completed' });
    const { rows } = await application.database.pool.query('select 1 from receipts where request_id = $1', [
      'while-postgres-was-away',
    ]);
    expect(rows.length).toBe(1);
  });
});

test('a database that lacks a migration: the process is live, and ready once it is there', async () => {
  const application = await startApplication({ backend: 'postgres', hasWorker: false });
  try {
    const { pool } = application.database;
    const { rows } = await pool.query<{ name: string; batch: number }>(
      'delete from knex_migrations where id = (select max(id) from knex_migrations) returning name, batch',
    );
    expect(await readiness(application)).toEqual({
      code: 503,
      status: 'not_ready',
      reasons: ['the database lacks 1 migrations; run the release command'],
    });
    expect((await fetch(`${application.url}/health/live`)).status).toBe(200);
    await pool.query('alter table api_keys rename to api_keys_of_another_version');
    const early = await application.fetch('/api/receipts');
    expect([early.status, early.headers.get('retry-after')]).toEqual([503, '5']);
    await pool.query('alter table api_keys_of_another_version rename to api_keys');
    await pool.query('insert into knex_migrations (name, batch, migration_time) values ($1, $2, now())', [
      rows[0]!.name,
      rows[0]!.batch,
    ]);
    await waitFor(async () => ((await readiness(application)).code === 200 ? true : undefined), 'readiness');
  } finally {
    await application.close();
  }
});

describe.runIf(inject('redisUrl') !== null)('without Redis', () => {
  let application: TestApplication;
  let link: SeverableLink;
  beforeAll(async () => {
    link = await openLink({ port: Number(new URL(inject('redisUrl')!).port), host: '127.0.0.1' }, true);
    application = await startApplication({
      backend: 'postgres',
      environment: { REDIS_URL: `redis://127.0.0.1:${link.port}` },
    });
  });
  afterAll(async () => {
    await application.close();
    await link.close();
  });

  const submitAndSettle = async () => {
    const { response, tookMs } = await timed(application.submit(newRecord()));
    const { status, items } = await application.settle((await readJson<Receipt>(response)).receipt_id);
    return { code: response.status, isAnsweredAtOnce: tookMs < 1000, status, items };
  };
  const worked = { code: 202, isAnsweredAtOnce: true, status: 'completed', items: { created: 1, updated: 0 } };

  test('at the start: it starts, says so, accepts, and the sweep gets the work done', async () => {
    expect(await readiness(application)).toEqual({
      code: 200,
      status: 'degraded',
      reasons: [expect.stringContaining('Redis')],
    });
    expect(await submitAndSettle()).toEqual(worked);
    const board = await fetch(`${application.url}/admin/queues/`, {
      headers: { authorization: `Basic ${btoa(`${administrator.email}:${administrator.password}`)}` },
    });
    expect(board.status).toBe(503);
    expect((await fetch(`${application.url}/metrics`)).status).toBe(200);
  });

  test('until it comes: the queues take over without a restart, and lose nothing when it goes again', async () => {
    await link.restore();
    await waitFor(
      async () => ((await readiness(application)).status === 'ready' ? true : undefined),
      'Redis to be found',
    );
    expect(await submitAndSettle()).toEqual(worked);
    await link.sever();
    await waitFor(
      async () => ((await readiness(application)).status === 'degraded' ? true : undefined),
      'Redis to be missed',
    );
    expect(await submitAndSettle()).toEqual(worked);
  });
});
