import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import packageDescription from '../../package.json' with { type: 'json' };
import { administrator, readJson, startApplication, waitFor, type TestApplication } from '../testing/application.ts';

const queueNames = ['anchoring', 'deduplication', 'ingestion', 'maintenance', 'storage', 'suggestions', 'webhooks'];
const backends = [
  { backend: 'postgres' as const, isThere: true },
  { backend: 'redis' as const, isThere: inject('redisUrl') !== null },
];

describe.each(backends)('with the queues in $backend', ({ backend, isThere }) => {
  describe.runIf(isThere)('on this machine', () => {
    let application: TestApplication;
    beforeAll(async () => {
      application = await startApplication({ backend, environment: { GIT_COMMIT: 'abc123' } });
      const receipt = await application.submit(
        '[{"identifiers":[{"identifier_type":"sisbov","value":"BR400000000001"}]},{}]',
      );
      await application.settle((await readJson<{ receipt_id: string }>(receipt)).receipt_id);
    });
    afterAll(() => application.close());

    const basic = (email: string, password: string) => ({
      authorization: `Basic ${Buffer.from(`${email}:${password}`).toString('base64')}`,
    });
    const board = (path: string, options: RequestInit = {}) =>
      fetch(`${application.url}/admin/queues${path}`, {
        ...options,
        headers: basic(administrator.email, administrator.password),
      });

    test.each(['/health', '/health/live'])('%s says that the process runs', async (path) => {
      const response = await fetch(`${application.url}${path}`);
      expect(response.status).toBe(200);
      const health = await readJson<{ timestamp: string }>(response);
      expect(health).toMatchObject({ service: 'defarm-engines', status: 'healthy' });
      expect(Math.abs(Date.parse(health.timestamp) - Date.now())).toBeLessThan(5000);
    });

    test('/health/ready is 200 when all is there', async () => {
      const ready = await waitFor(async () => {
        const response = await fetch(`${application.url}/health/ready`);
        expect(response.status).toBe(200);
        const body = await readJson<{ status: string }>(response);
        return body.status === 'ready' ? body : undefined;
      }, 'all to be there');
      expect(ready).toEqual({ status: 'ready', reasons: [] });
    });

    test('/version tells the version, the commit and the Node that runs', async () => {
      expect(await (await fetch(`${application.url}/version`)).json()).toEqual({
        version: packageDescription.version,
        commit: 'abc123',
        node: process.version,
      });
    });

    test('/metrics has the families that operators look for, with what happened', async () => {
      const response = await fetch(`${application.url}/metrics`);
      expect(response.headers.get('content-type')).toMatch(/^text\/plain; version=0\.0\.4/);
      const lines = (await response.text()).split('\n');
      const sample = (start: string) =>
        lines
          .find((line) => line.startsWith(start))
          ?.split(' ')
          .at(-1);
      expect(
        Number(sample('defarm_http_request_duration_seconds_count{method="POST",route="/api/receipts",status="202"}')),
      ).toBe(1);
      for (const queue of queueNames) {
        for (const state of ['waiting', 'active', 'delayed', 'completed', 'failed'])
          expect([queue, state, sample(`defarm_queue_jobs{queue="${queue}",state="${state}"}`)]).toEqual([
            queue,
            state,
            expect.stringMatching(/^\d+$/),
          ]);
      }
      for (const stage of ['ingestion', 'deduplication', 'settlement'])
        expect(sample(`defarm_oldest_unsettled_seconds{stage="${stage}"}`)).toBe('0');
      expect(sample('defarm_group_commit_receipts_count')).toBe('1');
      for (const state of ['open', 'idle', 'waiting'])
        expect(sample(`defarm_database_connections{state="${state}"}`)).toMatch(/^\d+$/);
      expect(sample('defarm_reception_buffer_bytes')).toBe('0');
      expect(sample('defarm_missed_rings_total')).toBeUndefined();
      expect(sample('process_resident_memory_bytes')).toMatch(/^\d+$/);
    });

    describe('Bull Board', () => {
      test('asks for the e-mail and password of an administrator', async () => {
        for (const headers of [
          {},
          basic(administrator.email, 'wrong'),
          basic('nobody@example.com', administrator.password),
          basic('no\u0000body', 'x'),
          { authorization: `Bearer ${application.apiKey}` },
          { 'x-api-key': application.apiKey },
        ] as Record<string, string>[]) {
          const response = await fetch(`${application.url}/admin/queues/api/queues`, { headers });
          expect(response.status).toBe(401);
          expect(response.headers.get('www-authenticate')).toMatch(/^Basic realm="/);
        }
        expect((await board('/')).status).toBe(200);
      });

      test('is closed to users who are no administrators', async () => {
        const { pool } = application.database;
        await pool.query('update users set is_administrator = false');
        try {
          const response = await fetch(`${application.url}/admin/queues/`, {
            headers: basic(administrator.email.toUpperCase(), administrator.password),
          });
          expect(response.status).toBe(401);
        } finally {
          await pool.query('update users set is_administrator = true');
        }
      });

      test('shows every queue with the jobs that ran, and loads all it needs from this host', async () => {
        const { queues } = await readJson<{
          queues: { name: string; counts: { completed: number }; readOnlyMode: boolean }[];
        }>(await board('/api/queues'));
        expect(queues.map((queue) => queue.name).toSorted()).toEqual(queueNames);
        expect(queues.every((queue) => queue.readOnlyMode)).toBe(true);
        expect(queues.find((queue) => queue.name === 'ingestion')!.counts.completed).toBeGreaterThan(0);
        const page = await (await board('/')).text();
        const base = /<base href="([^"]*)"/.exec(page)?.[1] ?? '/admin/queues/';
        const assets = [...page.matchAll(/(?:src|href)="([^"#]+\.(?:js|css|svg|ico|woff2?))"/g)].map(
          (match) => match[1]!,
        );
        expect(assets.length).toBeGreaterThan(1);
        for (const asset of assets) {
          const url = new URL(asset, new URL(base, `${application.url}/admin/queues/`));
          expect(url.origin).toBe(application.url);
          const response = await fetch(url, { headers: basic(administrator.email, administrator.password) });
          expect([asset, response.status]).toEqual([asset, 200]);
          await response.arrayBuffer();
        }
      });

      test('lets nobody change a queue unless that is switched on', async () => {
        for (const [method, path] of [
          ['PUT', '/api/queues/ingestion/clean/completed'],
          ['PUT', '/api/queues/ingestion/pause'],
          ['PUT', '/api/queues/ingestion/empty'],
          ['PUT', '/api/queues/ingestion/retry/failed'],
          ['POST', '/api/queues/ingestion/add'],
        ] as const) {
          const response = await board(path, { method });
          expect([path, response.status]).toEqual([path, 405]);
        }
      });

      test.each<Record<string, string>>([
        { 'sec-fetch-site': 'cross-site' },
        { origin: 'http://evil.example' },
        { origin: 'null' },
      ])('takes no change that another site asks the browser for (%j)', async (headers) => {
        const response = await fetch(`${application.url}/admin/queues/api/queues/ingestion/pause`, {
          method: 'PUT',
          headers: { ...basic(administrator.email, administrator.password), ...headers },
        });
        expect(response.status).toBe(403);
      });
    });
  });
});
