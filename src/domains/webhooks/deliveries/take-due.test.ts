import { afterAll, beforeAll, expect, test } from 'vitest';
import { insertEvents } from '#domains/events/index.ts';
import { withTransaction } from '#platform/database.ts';
import { makeId } from '#platform/ids.ts';
import { weighing } from '../../../testing/events.ts';
import { startWebhookWorkers, type WebhookWorkers } from '../../../testing/webhook-worker.ts';
import { holdEndpoints } from './queue.store.ts';
import { takeDue, type TakenEndpoint } from './take-due.ts';

let workers: WebhookWorkers;
beforeAll(async () => {
  workers = await startWebhookWorkers(1);
});
afterAll(() => workers.close());

const takeFresh = async (freshMax: number, released: readonly string[] = [], holder = makeId(), bytesMax = 1_000_000) =>
  (
    await takeDue(workers.database.pool, {
      holder,
      leaseMs: 8000,
      breakerFailures: 5,
      released,
      kept: new Map(),
      freshMax,
      bytesMax,
    })
  ).endpoints;

/** A workspace with so many endpoints, for each of which something is due. */
async function workspaceWith(count: number, more: Parameters<WebhookWorkers['subscribe']>[2] = {}): Promise<string> {
  const workspaceId = makeId();
  for (let at = 0; at < count; at += 1) await workers.subscribe(workspaceId, `hook-${at}`, more);
  await workers.tell(workspaceId, 1);
  await workers.fanOut();
  return workspaceId;
}

const workspacesOf = (taken: readonly TakenEndpoint[]) => taken.map(({ endpoint }) => endpoint.workspace_id);
const endpointsOf = (taken: readonly TakenEndpoint[]) => taken.map(({ endpoint }) => endpoint.endpoint_id);

test('a workspace with many endpoints takes turns with one that has few, and each of its endpoints gets a turn', async () => {
  const many = await workspaceWith(30);
  const few = await workspaceWith(2);
  const holder = makeId();

  const first = await takeFresh(8, [], holder);
  const second = await takeFresh(8, endpointsOf(first), holder);
  const third = await takeFresh(16, endpointsOf(second), holder);
  await takeFresh(0, endpointsOf(third), holder);

  expect(workspacesOf(first).filter((id) => id === few)).toHaveLength(2);
  expect(workspacesOf(first).filter((id) => id === many)).toHaveLength(6);
  const served = [...first, ...second, ...third].filter(({ endpoint }) => endpoint.workspace_id === many);
  expect(new Set(endpointsOf(served)).size).toBe(served.length);
});

test('an endpoint that one process has is given to no other until it is given back', async () => {
  await workspaceWith(1);
  const [one, other] = [makeId(), makeId()];
  const all = await takeFresh(100, [], one);

  const meanwhile = await takeFresh(100, [], other);
  await takeFresh(0, endpointsOf(all), other);
  const stillMeanwhile = await takeFresh(100, [], other);
  await takeFresh(0, endpointsOf(all), one);
  const afterwards = await takeFresh(100, [], other);

  expect([all.length > 0, meanwhile, stillMeanwhile]).toEqual([true, [], []]);
  expect(endpointsOf(afterwards).toSorted()).toEqual(endpointsOf(all).toSorted());
});

test('an endpoint that another process has by now need not be given back', async () => {
  const { database } = workers;
  await workspaceWith(1);
  const [late, other] = [makeId(), makeId()];
  const ids = endpointsOf(await takeFresh(100, [], late));
  await database.pool.query('update webhook_endpoint_state set leased_until = now() where endpoint_id = any($1)', [
    ids,
  ]);
  await takeFresh(100, [], other);
  const none = { kept: new Map(), freshMax: 0, bytesMax: 1, leaseMs: 8000, breakerFailures: 5 };

  const [ofLate, ofOther] = await withTransaction(database.pool, async (client) => {
    await holdEndpoints(client, ids);
    return [
      await takeDue(database.pool, { ...none, holder: late, released: ids }),
      await takeDue(database.pool, { ...none, holder: other, released: ids }),
    ];
  });

  expect(ofLate.unreleased).toEqual([]);
  expect(ofOther.unreleased.toSorted()).toEqual(ids.toSorted());
  await takeFresh(0, ids, other);
});

test('an endpoint whose process did not come back in time is given to another', async () => {
  await workspaceWith(1);
  const all = await takeFresh(100);
  const { pool } = workers.database;
  await pool.query('update webhook_endpoint_state set leased_until = now() where endpoint_id = any($1)', [
    endpointsOf(all),
  ]);

  const afterwards = await takeFresh(100);

  expect(endpointsOf(all).length).toBeGreaterThan(0);
  expect(endpointsOf(afterwards).toSorted()).toEqual(endpointsOf(all).toSorted());
});

test('no more of an endpoint is taken than there is room for, in bytes, and it is known that more is due', async () => {
  const workspaceId = makeId();
  const endpointId = await workers.subscribe(workspaceId, 'wide');
  const payload = JSON.stringify({ note: 'ã'.repeat(1000) });
  const events = Array.from({ length: 4 }, () => weighing({ workspaceId, payload }));
  await withTransaction(workers.database.pool, (client) => insertEvents(client, events));
  await workers.fanOut();

  const taken = await takeFresh(1000, [], makeId(), 1500);

  const wide = taken.find(({ endpoint }) => endpoint.endpoint_id === endpointId);
  expect([wide?.due.length, wide?.hasMore]).toEqual([1, true]);
});

test('a body that several deliveries send is one text, and that of a thin endpoint another', async () => {
  const workspaceId = makeId();
  const full = [await workers.subscribe(workspaceId, 'a'), await workers.subscribe(workspaceId, 'b')];
  const thin = await workers.subscribe(workspaceId, 'c', { payload: 'thin' });
  const eventId = await workers.tell(workspaceId, 1);
  await workers.fanOut();

  const taken = (await takeFresh(1000)).filter(({ endpoint }) => endpoint.workspace_id === workspaceId);

  const bodyOf = (id: string) =>
    taken
      .find(({ endpoint }) => endpoint.endpoint_id === id)!
      .due.map(({ delivery }) => JSON.parse(delivery.body!) as object);
  const kg = { data: { id: eventId, payload: expect.anything() as unknown } };
  expect(full.map(bodyOf)).toMatchObject([[kg], [kg]]);
  expect(bodyOf(thin)).toEqual([
    {
      type: 'weighed',
      timestamp: expect.any(String) as string,
      data: { id: eventId, dfid: expect.any(String) as string, told_by: 'record' },
    },
  ]);
});
