import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { insertEvents } from '#domains/events/index.ts';
import { withTransaction } from '#platform/database.ts';
import { makeId } from '#platform/ids.ts';
import { weighing } from '../../../testing/events.ts';
import { startWebhookWorkers, type WebhookWorkers } from '../../../testing/webhook-worker.ts';
import { deleteEndpoint, updateEndpoint } from '../endpoints/endpoints.store.ts';
import { FanOut } from './fan-out.ts';
import { lockLane } from './fan-out.store.ts';

let workers: WebhookWorkers;
beforeAll(async () => {
  workers = await startWebhookWorkers(1);
});
afterAll(() => workers.close());

const mebibyte = 1_048_576;
const tell = async (workspaceId: string, count: number, textBytes: number) => {
  const payload = JSON.stringify({ kg: 450, note: 'x'.repeat(textBytes) });
  const events = Array.from({ length: count }, () => weighing({ workspaceId, payload }));
  await withTransaction(workers.database.pool, (client) => insertEvents(client, events));
};

test('large events are made into messages a few at a time, and all of them', async () => {
  const { database, subscribe } = workers;
  const workspaceId = makeId();
  await subscribe(workspaceId, 'large');
  await tell(workspaceId, 10, mebibyte);
  const fanOut = new FanOut(database.pool);

  const steps = [await fanOut.step()];
  while (steps.at(-1)?.hasMore) steps.push(await fanOut.step());

  expect(steps[0]).toMatchObject({ messages: 4, deliveries: 4, hasMore: true });
  expect(steps.reduce((sum, step) => sum + (step?.deliveries ?? 0), 0)).toBe(10);
});

test('a statement in the lane is cancelled after its time, or after that of all others', async () => {
  const limitAfter = (timeoutMs: number | undefined) =>
    withTransaction(workers.database.pool, async (client) => {
      await lockLane(client, timeoutMs);
      const { rows } = await client.query<{ statement_timeout: string }>('show statement_timeout');
      return rows[0]!.statement_timeout;
    });

  expect([await limitAfter(2000), await limitAfter(undefined)]).toEqual(['2s', '1min']);
});

test('a message is parsed once, however many endpoints have a filter', async () => {
  const { database, subscribe } = workers;
  const workspaceId = makeId();
  for (let at = 0; at < 40; at += 1)
    await subscribe(workspaceId, `filtered-${at}`, {
      filter: [{ pointer: '/data/payload/kg', operator: 'at_least', value: at % 2 === 0 ? 400 : 500 }],
    });
  await tell(workspaceId, 1, 100);
  const counted = new pg.Pool({ ...database.pool.options, max: 1 });
  await counted.query(`set track_functions = 'pl'`);

  const step = await new FanOut(counted).step();
  await counted.query('select pg_stat_force_next_flush()');
  const { rows } = await counted.query<{ calls: string }>(
    `select calls from pg_stat_user_functions where funcname = 'webhook_message_content'`,
  );
  await counted.end();

  expect(step).toMatchObject({ messages: 1, deliveries: 20 });
  expect(Number(rows[0]!.calls)).toBe(1);
});

const toldEndpoints = async (workspaceId: string) => {
  const { rows } = await workers.database.pool.query<{ endpoint_id: string }>(
    `select endpoint_id from webhook_deliveries join webhook_endpoints using (endpoint_id) where workspace_id = $1`,
    [workspaceId],
  );
  return rows.map((row) => row.endpoint_id);
};

test('an event is told to those that were switched on when it happened, also when they are off by now', async () => {
  const { database, subscribe } = workers;
  const workspaceId = makeId();
  const [on, off] = [await subscribe(workspaceId, 'on'), await subscribe(workspaceId, 'off')];
  const turn = (endpointId: string, isActive: boolean) =>
    updateEndpoint(database.pool, workspaceId, endpointId, { isActive }, 24);
  await turn(off, false);
  await database.pool.query(
    `update webhook_endpoints set switched_at = switched_at - interval '1 second' where endpoint_id = $1`,
    [off],
  );
  await tell(workspaceId, 1, 10);
  await turn(on, false);
  await subscribe(workspaceId, 'later');

  await workers.fanOut();

  expect(await toldEndpoints(workspaceId)).toEqual([on]);
});

test('every endpoint is told although others are deleted meanwhile', async () => {
  const { database, subscribe } = workers;
  const workspaceId = makeId();
  const names = Array.from({ length: 30 }, (_, at) => `hook-${at}`);
  const ids: string[] = [];
  for (const name of names) ids.push(await subscribe(workspaceId, name, { event_types: ['weighed'] }));
  await tell(workspaceId, 1, 10);
  const gone = ids.filter((_, at) => at % 7 === 0);

  await Promise.all([workers.fanOut(), ...gone.map((id) => deleteEndpoint(database.pool, id))]);
  await workers.fanOut();

  const told = new Set(await toldEndpoints(workspaceId));
  expect(ids.filter((id) => !gone.includes(id) && !told.has(id))).toEqual([]);
});

test('a workspace whose filters take too long holds up no other, and is told in the end', async () => {
  const { database, subscribe } = workers;
  const [slow, other] = [makeId(), makeId()];
  const values = Array.from({ length: 100 }, (_, at) => at + 10);
  const condition = { pointer: '/data/payload/list', operator: 'one_of' as const, value: values };
  await subscribe(slow, 'costly', { filter: [condition, condition, condition] });
  await subscribe(other, 'quick');
  const list = Array.from({ length: 450_000 }, () => 1);
  await withTransaction(database.pool, (client) =>
    insertEvents(client, [weighing({ workspaceId: slow, payload: JSON.stringify({ list }) })]),
  );
  await tell(other, 1, 10);
  const fanOut = new FanOut(database.pool);

  let steps = 0;
  while ((await toldEndpoints(other)).length === 0 && steps < 5) {
    await fanOut.step();
    steps += 1;
  }
  while ((await fanOut.step())?.hasMore);

  expect(steps).toBeLessThanOrEqual(3);
  expect(await toldEndpoints(slow)).toHaveLength(1);
});
