import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  readJson,
  startApplication,
  type Entry,
  type ProblemDocument,
  type Receipt,
  type TestApplication,
} from '../../../testing/application.ts';

interface QualityRule {
  id: string;
  name: string;
  field: string;
  value_chain: string | null;
  severity: string;
  condition: object;
}

const path = '/api/items/quality-rules';
let application: TestApplication;
let nextNumber = 720_000_000_000;

beforeAll(async () => {
  application = await startApplication({ backend: 'postgres' });
});
afterAll(() => application.close());

async function openWorkspace(name: string) {
  const key = await application.createKey({ scope: 'write', workspace: name });
  const headers = { 'x-api-key': key, 'content-type': 'application/json' };
  const call = (method: string, at: string, body?: object) =>
    application.fetch(at, { method, headers, ...(body ? { body: JSON.stringify(body) } : {}) });
  return {
    call,
    create: async (rule: object) => {
      const response = await call('POST', path, rule);
      expect(response.status).toBe(201);
      return readJson<QualityRule>(response);
    },
    list: async () =>
      (await readJson<{ quality_rules: QualityRule[] }>(await call('GET', path))).quality_rules.map(
        (rule) => rule.name,
      ),
    /** What became of the records of a body. */
    submit: async (body: string, contentType = 'application/json') => {
      const sent = { ...headers, 'content-type': contentType, prefer: 'wait=20' };
      const { receipt_id: id } = await readJson<Receipt>(await application.submit(body, sent));
      const answer = await call('GET', `/api/receipts/${id}/entries`);
      return (await readJson<{ entries: Entry[] }>(answer)).entries;
    },
  };
}

const record = (more: object = {}) =>
  JSON.stringify({ identifiers: [{ identifier_type: 'sisbov', value: `BR${nextNumber++}` }], ...more });
const required = (field: string, more: object = {}) => ({
  name: `${field} is there`,
  field,
  condition: { check: 'required' },
  ...more,
});

describe('quality rules', () => {
  test('are made, shown, replaced and removed, and hold from the next record on', async () => {
    const workspace = await openWorkspace('Rules that change');
    expect(await workspace.submit(record())).toMatchObject([{ status: 'completed' }]);

    const rule = await workspace.create(required('raca', { value_chain: 'bovino', severity: 'high' }));
    expect(rule).toMatchObject({ value_chain: 'BEEF', severity: 'High', condition: { check: 'required' } });
    expect(await workspace.list()).toEqual(['raca is there']);
    expect(await workspace.submit(record({ value_chain: 'BEEF' }))).toMatchObject([
      { status: 'rejected', error: { code: 'quality_rule', pointer: '/metadata/raca' } },
    ]);
    expect(await workspace.submit(record({ value_chain: 'MILK' }))).toMatchObject([{ status: 'completed' }]);

    const replaced = await workspace.call('PUT', `${path}/${rule.id}`, required('peso'));
    expect(await readJson<object>(replaced)).toMatchObject({ id: rule.id, field: 'peso', value_chain: null });
    expect(await workspace.submit(record({ metadata: { raca: 'x' } }))).toMatchObject([
      { status: 'rejected', error: { pointer: '/metadata/peso' } },
    ]);

    expect((await workspace.call('DELETE', `${path}/${rule.id}`)).status).toBe(204);
    expect((await workspace.call('DELETE', `${path}/${rule.id}`)).status).toBe(404);
    expect(await workspace.submit(record())).toMatchObject([{ status: 'completed' }]);
  });

  test('of one workspace are neither seen nor changed by another, and judge none of its records', async () => {
    const workspace = await openWorkspace('Rules of its own');
    const stranger = await openWorkspace('A stranger to these rules');
    const rule = await workspace.create(required('raca'));

    expect(await stranger.list()).toEqual([]);
    for (const [method, body] of [['GET'], ['PUT', required('x')], ['DELETE']] as const)
      expect((await stranger.call(method, `${path}/${rule.id}`, body)).status).toBe(404);
    expect(await stranger.submit(record())).toMatchObject([{ status: 'completed' }]);
    expect(await workspace.list()).toEqual(['raca is there']);
  });

  test('have names of their own, also when two are made at once, and are a hundred at most', async () => {
    const workspace = await openWorkspace('Many rules');
    const answers = await Promise.all(Array.from({ length: 5 }, () => workspace.call('POST', path, required('x'))));
    expect(answers.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([201, 409, 409, 409, 409]);
    const refused = answers.find(({ status }) => status === 409)!;
    expect((await readJson<ProblemDocument>(refused)).error).toBe('name_in_use');

    await Promise.all(Array.from({ length: 99 }, (_none, at) => workspace.create(required(`field ${at}`))));
    expect((await workspace.call('POST', path, required('one more'))).status).toBe(422);
  });

  test.each([
    ['text/csv', 'sisbov,metadata.peso\nBR729000000001,9999\n', 'peso', '/metadata.peso'],
    ['text/csv', 'sisbov;Peso\nBR729000000002;9999\n', 'Peso', '/Peso'],
    [
      'application/json',
      '{"identifiers":[{"identifier_type":"sisbov","value":"BR729000000003"}],"enriched_data":{"a/b":9999}}',
      'a/b',
      '/enriched_data/a~1b',
    ],
  ])('point into the record as it was sent (%s, %s)', async (contentType, body, field, pointer) => {
    const workspace = await openWorkspace(`Pointers to ${pointer}`);
    await workspace.create({ name: 'x', field, condition: { check: 'number_between', maximum: 1500 } });

    const entries = await workspace.submit(body, contentType);

    expect(entries).toMatchObject([{ status: 'rejected', error: { code: 'quality_rule', pointer } }]);
  });

  test('name a column that a CSV lacks, and cost only the lines that break them', async () => {
    const workspace = await openWorkspace('Missing columns');
    await workspace.create(required('identifiers.ear_tag'));
    const lines = (header: string, second: string) => `${header}\nBR${nextNumber++},A1\nBR${nextNumber++},${second}\n`;

    expect(await workspace.submit(lines('sisbov,peso', '2'), 'text/csv')).toMatchObject([
      { error: { pointer: '/brinco' } },
      { error: { pointer: '/brinco' } },
    ]);
    expect(await workspace.submit(lines('sisbov,Ear_Tag', ''), 'text/csv')).toMatchObject([
      { status: 'completed' },
      { status: 'rejected', error: { pointer: '/Ear_Tag' } },
    ]);
  });
});
