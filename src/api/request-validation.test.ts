import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readJson, startApplication, type TestApplication } from '../testing/application.ts';

interface Refusal {
  error: string;
  errors: { pointer: string; detail: string }[];
}

let application: TestApplication;
beforeAll(async () => {
  application = await startApplication({ backend: 'postgres', hasWorker: false });
});
afterAll(() => application.close());

describe('a request that breaks the schema of its route', () => {
  test.each([
    ['a member that is missing', {}, 'is missing'],
    ['a member of another type', { name: 7, url: 7, events: 7 }, 'Invalid input: expected string, received number'],
  ])('names each place in its body: %s', async (_, body, detail) => {
    const response = await application.fetch('/api/webhooks', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    const { error, errors } = await readJson<Refusal>(response);

    expect([response.status, error]).toEqual([422, 'invalid_request']);
    expect(errors.map(({ pointer }) => pointer)).toEqual(['/name', '/url', '/events']);
    expect(errors[0]!.detail).toBe(detail);
  });

  test('names each parameter of its query', async () => {
    const response = await application.fetch('/api/items/suggestions?limit=0&offset=x');
    const { error, errors } = await readJson<Refusal>(response);

    expect([response.status, error]).toEqual([400, 'invalid_query']);
    expect(errors.map(({ pointer }) => pointer)).toEqual(['limit', 'offset']);
  });
});
