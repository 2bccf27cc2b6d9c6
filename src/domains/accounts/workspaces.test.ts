import { afterAll, beforeAll, expect, test } from 'vitest';
import { readJson, startApplication, type TestApplication } from '../../testing/application.ts';

interface Workspace {
  workspace_id: string;
  name: string;
  may_link_items: boolean;
}

let application: TestApplication;
beforeAll(async () => {
  application = await startApplication({ backend: 'postgres', hasWorker: false });
});
afterAll(() => application.close());

const create = async (key: string, identifiers: object[]) => {
  const response = await application.fetch('/api/items', {
    method: 'POST',
    headers: { 'x-api-key': key, 'content-type': 'application/json' },
    body: JSON.stringify({ value_chain: 'BEEF', country: 'BR', year: 2025, identifiers }),
  });
  return { status: response.status, body: await readJson<{ item: { dfid: string } }>(response) };
};

const trust = async (name: string, mayLinkItems: unknown, key = application.apiKey) => {
  const list = await readJson<{ workspaces: Workspace[] }>(await application.fetch('/api/admin/workspaces?limit=100'));
  const { workspace_id: id } = list.workspaces.find((each) => each.name === name)!;
  return application.fetch(`/api/admin/workspaces/${id}`, {
    method: 'PATCH',
    headers: { 'x-api-key': key, 'content-type': 'application/json' },
    body: JSON.stringify({ may_link_items: mayLinkItems }),
  });
};

test('an administrator trusts a workspace to join what others contributed to, from the next record on', async () => {
  const [producer, certifier] = [
    await application.createKey({ scope: 'write', workspace: 'Producer' }),
    await application.createKey({ scope: 'write', workspace: 'Certifier' }),
  ];
  const animal = (number: number) => [
    { identifier_type: 'sisbov', value: `BR60000000000${number}` },
    { identifier_type: 'chip', value: `98260000000000${number}` },
  ];
  for (const number of [1, 2]) for (const identifier of animal(number)) await create(producer, [identifier]);
  const before = await create(certifier, animal(1));

  const trusted = await trust('Certifier', true);

  expect(before.status).toBe(409);
  expect(await readJson<Workspace>(trusted)).toMatchObject({ name: 'Certifier', may_link_items: true });
  const [joined, seen] = [await create(certifier, animal(2)), await create(producer, animal(2).slice(1))];
  expect([joined.status, seen.body.item.dfid]).toEqual([200, joined.body.item.dfid]);
});

test('nobody but an administrator looks at workspaces or trusts them', async () => {
  const key = await application.createKey({ scope: 'write', workspace: 'Producer' });
  const list = await application.fetch('/api/admin/workspaces', { headers: { 'x-api-key': key } });
  expect([list.status, (await trust('Producer', true, key)).status]).toEqual([403, 403]);
  expect((await trust('Producer', 'yes')).status).toBe(422);
  const unknown = await application.fetch('/api/admin/workspaces/00000000-0000-0000-0000-000000000000', {
    method: 'PATCH',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ may_link_items: true }),
  });
  expect(unknown.status).toBe(404);
});
