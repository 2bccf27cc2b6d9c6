import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startWeb } from '../start-web.ts';
import { readConfig } from '../config.ts';
import { readJson, startApplication, type ProblemDocument, type TestApplication } from '../testing/application.ts';

let application: TestApplication;
beforeAll(async () => {
  application = await startApplication({ backend: 'postgres', hasWorker: false });
});
afterAll(() => application.close());

const wanted = { value_chain: 'BEEF', country: 'BR', year: 2025 };

function generate(key: string, body: object = wanted, url = application.url, more: Record<string, string> = {}) {
  return fetch(`${url}/api/dfid/generate`, {
    method: 'POST',
    headers: {
      'x-api-key': application.apiKey,
      'content-type': 'application/json',
      'idempotency-key': key,
      ...more,
    },
    body: JSON.stringify(body),
  });
}

describe('a POST that creates something', () => {
  const animal = { ...wanted, identifiers: [{ identifier_type: 'sisbov', value: 'BR000000000019' }] };

  test.each([
    ['/api/items/local', { ...animal, local_id: 'c0ffee00-0000-4000-8000-000000000001' }],
    [
      '/api/items/quality-rules',
      { name: 'weight', value_chain: 'SOY', field: 'weight', condition: { check: 'required' }, severity: 'Low' },
    ],
    ['/api/admin/canonical-identifiers', { identifier_type: 'collar', value_chain: 'BEEF' }],
    [
      '/api/admin/fingerprint-rules',
      { name: 'field', value_chains: ['SOY'], identifier_types: ['talhao'], period: 'year' },
    ],
    ['relationships', {}],
  ])('%s gives its first answer again to the same Idempotency-Key', async (path, body) => {
    const adminKey = await application.createKey({ scope: 'admin', workspace: 'Administrators' });
    const send = async (to: string, what: object, headers: Record<string, string> = {}) =>
      application.fetch(to, {
        method: 'POST',
        headers: { 'x-api-key': adminKey, 'content-type': 'application/json', ...headers },
        body: JSON.stringify(what),
      });
    const dfidOfNew = async () => {
      const value = `urn:epc:id:sgtin:7891234.056789.${crypto.randomUUID().slice(0, 8)}`;
      const response = await send('/api/items', { ...wanted, identifiers: [{ identifier_type: 'sgtin', value }] });
      return (await readJson<{ item: { dfid: string } }>(response)).item.dfid;
    };
    const [to, what] =
      path === 'relationships'
        ? [
            `/api/items/${await dfidOfNew()}/relationships`,
            { relationship_type: 'derived', related: [{ dfid: await dfidOfNew() }] },
          ]
        : [path, body];
    const key = { 'idempotency-key': 'created once' };

    const first = await send(to, what, key);
    const again = await send(to, what, key);

    const text = await first.text();
    expect({ text, isGood: [200, 201].includes(first.status) }).toEqual({ text, isGood: true });
    expect([again.status, await again.text()]).toEqual([first.status, text]);
    expect(again.headers.get('idempotency-replayed')).toBe('true');
  });
});

describe('a DFID that is asked for with an Idempotency-Key', () => {
  test('is the same one when it is asked for again, and another without the key', async () => {
    const first = await generate('again');
    const text = await first.text();
    const again = await generate('again');
    expect([first.status, first.headers.get('idempotency-replayed')]).toEqual([200, null]);
    expect([again.status, again.headers.get('idempotency-replayed'), await again.text()]).toEqual([200, 'true', text]);
    expect(await (await generate('another')).text()).not.toBe(text);
  });

  test('is refused with 422 when the key stands for another request', async () => {
    await generate('reused');
    const response = await generate('reused', { ...wanted, year: 2024 });
    expect([response.status, (await readJson<ProblemDocument>(response)).error]).toEqual([
      422,
      'idempotency_key_reused',
    ]);
  });

  test('leaves the key free when the request was refused', async () => {
    expect((await generate('refused', { ...wanted, year: 3000 })).status).toBe(422);
    const response = await generate('refused');
    expect([response.status, response.headers.get('idempotency-replayed')]).toEqual([200, null]);
  });

  test('belongs to one workspace and one path', async () => {
    const other = await application.createKey({ scope: 'write', workspace: 'Neighbours' });
    await generate('shared');
    const theirs = await generate('shared', wanted, application.url, { 'x-api-key': other });
    expect(theirs.headers.get('idempotency-replayed')).toBeNull();
    const receipt = await application.submit(JSON.stringify(wanted), { 'idempotency-key': 'shared' });
    expect([receipt.status, receipt.headers.get('idempotency-replayed')]).toEqual([202, null]);
  });

  test('is one DFID for many requests at once, to one process and to two', async () => {
    const config = readConfig(application.environment);
    const second = await startWeb(config, application.environment['DATABASE_URL']!, '127.0.0.1');
    try {
      for (const key of ['race-1', 'race-2', 'race-3', 'race-4']) {
        const urls = [application.url, `http://127.0.0.1:${second.port}`];
        const answers = await Promise.all(
          Array.from({ length: 8 }, (_, at) => generate(key, wanted, urls[at % urls.length])),
        );
        const good = answers.filter(({ status }) => status === 200);
        expect(answers.filter(({ status }) => status !== 200 && status !== 409)).toEqual([]);
        expect(new Set(await Promise.all(good.map((answer) => answer.text()))).size).toBe(1);
        expect(good.filter((answer) => answer.headers.get('idempotency-replayed') === null)).toHaveLength(1);
      }
    } finally {
      await second.stop();
    }
  });

  test('is a new one after the time of the key is over', async () => {
    const text = await (await generate('expired')).text();
    await application.database.pool.query(
      `update idempotency_keys set expires_at = now() - interval '1 second' where key = 'expired'`,
    );
    const again = await generate('expired');
    expect([again.status, again.headers.get('idempotency-replayed')]).toEqual([200, null]);
    expect(await again.text()).not.toBe(text);
  });
});

describe('every POST that creates', () => {
  test('documents Idempotency-Key and its problems', async () => {
    const api = await readJson<{
      paths: Record<
        string,
        { post?: { parameters?: { name: string }[]; responses: Record<string, { description: string }> } }
      >;
    }>(await application.fetch('/api-docs/openapi.json'));
    const idempotent = application.routes.filter((route) => route.isIdempotent);
    expect(idempotent.length).toBeGreaterThan(1);
    for (const { path } of idempotent) {
      const operation = api.paths[path]!.post!;
      expect(operation.parameters!.map(({ name }) => name)).toContain('Idempotency-Key');
      expect(operation.responses['409']!.description).toContain('idempotency_key_in_use');
      expect(operation.responses['422']!.description).toContain('idempotency_key_reused');
    }
  });
});
