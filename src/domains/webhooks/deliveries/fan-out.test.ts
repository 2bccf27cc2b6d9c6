import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { insertEvents } from '#domains/events/index.ts';
import { withTransaction } from '#platform/database.ts';
import { makeId } from '#platform/ids.ts';
import { weighing } from '../../../testing/events.ts';
import { startWebhookWorkers, type WebhookWorkers } from '../../../testing/webhook-worker.ts';
import { updateEndpoint } from '../endpoints/endpoints.store.ts';
import { fanOut } from './fan-out.ts';

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

  const first = await fanOut(database.pool);
  const steps = [first];
  while (steps.at(-1)?.hasMore) steps.push(await fanOut(database.pool));

  expect(first).toMatchObject({ messages: 4, deliveries: 4, hasMore: true });
  expect(steps.reduce((sum, step) => sum + (step?.deliveries ?? 0), 0)).toBe(10);
});

test('a message is read twice in all, however many endpoints have a filter', async () => {
  const { database, subscribe } = workers;
  const workspaceId = makeId();
  for (let at = 0; at < 40; at += 1)
    await subscribe(workspaceId, `filtered-${at}`, {
      filter: [{ pointer: '/data/payload/kg', operator: 'at_least', value: at % 2 === 0 ? 400 : 500 }],
    });
  await tell(workspaceId, 1, 100);
  const counted = new pg.Pool({ ...database.pool.options, max: 1 });
  await counted.query(`set track_functions = 'pl'`);

  const step = await fanOut(counted);
  await counted.query('select pg_stat_force_next_flush()');
  const { rows } = await counted.query<{ calls: string }>(
    `select calls from pg_stat_user_functions where funcname = 'webhook_message_content'`,
  );
  await counted.end();

  expect(step).toMatchObject({ messages: 1, deliveries: 20 });
  // To hold the endpoints, and to make the deliveries.
  expect(Number(rows[0]!.calls)).toBe(2);
});

test('an event is told to those that were switched on when it happened, also when they were switched once since', async () => {
  const { database, subscribe } = workers;
  const workspaceId = makeId();
  const [on, off] = [await subscribe(workspaceId, 'on'), await subscribe(workspaceId, 'off')];
  const turn = (endpointId: string, isActive: boolean) =>
    updateEndpoint(database.pool, workspaceId, endpointId, { isActive }, 24);
  await turn(off, false);
  await tell(workspaceId, 1, 10);
  await turn(on, false);
  await turn(off, true);
  await subscribe(workspaceId, 'later');

  await fanOut(database.pool);

  const { rows } = await database.pool.query<{ endpoint_id: string }>(
    `select endpoint_id from webhook_deliveries join webhook_endpoints using (endpoint_id) where workspace_id = $1`,
    [workspaceId],
  );
  expect(rows).toEqual([{ endpoint_id: on }]);
});
