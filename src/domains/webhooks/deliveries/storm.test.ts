import fc from 'fast-check';
import { randomBytes } from 'node:crypto';
import type pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { insertEvents } from '#domains/events/index.ts';
import { openDatabase, withTransaction, type Database } from '#platform/database.ts';
import { makeId } from '#platform/ids.ts';
import { makeKeyEncryption } from '#platform/key-encryption.ts';
import { makeLogger } from '#platform/logger.ts';
import { createTestDatabase, type TestDatabase } from '../../../testing/database.ts';
import { weighing } from '../../../testing/events.ts';
import { killedAt, KilledError } from '../../../testing/killed-pool.ts';
import { startWebhookReceiver, verified, type WebhookReceiver } from '../../../testing/webhook-receiver.ts';
import { insertEndpoint } from '../endpoints/endpoints.store.ts';
import { makeAddressJudge } from '../sending/address-policy.ts';
import { makeSafeAgent } from '../sending/safe-agent.ts';
import { makeSecret, readSecret } from '../sending/signature.ts';
import { makeWebhooksWork } from '../webhooks-work.ts';

let testDatabase: TestDatabase;
let database: Database;
let receiver: WebhookReceiver;
const keys = makeKeyEncryption([randomBytes(32)]);
const secret = makeSecret();
const agent = makeSafeAgent({
  judge: makeAddressJudge({ allowedNetworks: ['127.0.0.1/32'], allowedPorts: [], allowsHttp: true }),
  dnsServers: [],
  connectTimeoutMs: 2000,
  connectionsMax: 16,
});
const items = 3;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  database = openDatabase({ url: testDatabase.url, poolSize: 10, applicationName: 'test', isWorker: true });
  receiver = await startWebhookReceiver();
  await database.pool.query(
    `insert into items (item_number, value_chain, country, year) select n, 'BEEF', 'BR', 2025 from generate_series(1, $1::int) as n`,
    [items],
  );
});
afterAll(async () => {
  await agent.destroy();
  await database.close();
  await receiver.close();
  await testDatabase.drop();
});

/** A worker, as far as it gets with its connections. */
const workerOn = (pool: pg.Pool) =>
  makeWebhooksWork({
    pool,
    logger: makeLogger({ level: 'silent', name: 'test' }),
    keys,
    version: '1.0.0',
    retrySchedule: [0],
    sender: { agent, timeoutMs: 2000 },
  });

async function subscribe(workspaceId: string, name: string, isOrdered: boolean): Promise<void> {
  await insertEndpoint(database.pool, {
    endpoint_id: makeId(),
    workspaceId,
    circuit_id: null,
    name,
    url: `${receiver.url}/${workspaceId}/${name}`,
    event_types: [],
    headers: {},
    auth_type: 'none',
    auth: null,
    secret: keys.seal(readSecret(secret)!),
    payload: 'full',
    concurrency: 4,
    is_ordered: isOrdered,
    max_retries: 1000,
    retry_delay_seconds: null,
    created_by: workspaceId,
  });
}

let nextPlace = 0;
async function tell(workspaceId: string, itemNumber: number): Promise<string> {
  const event = weighing({ workspaceId, itemNumber, payload: JSON.stringify({ place: nextPlace++ }) });
  await withTransaction(database.pool, (client) => insertEvents(client, [event]));
  return event.eventId;
}

/** What a dead worker had is due again at the end of its lease; the pause of an endpoint ends. */
const letTimePass = () =>
  database.pool.query(
    `update webhook_deliveries set claimed_until = now(), next_attempt_at = now() where state = 'queued';
     update webhook_endpoint_state set open_until = null, next_due_at = now()`,
  );

test('every event reaches every endpoint, in order where that is wanted, whenever workers are killed', async () => {
  const acts = fc.oneof(
    {
      weight: 3,
      arbitrary: fc.record({ kind: fc.constant('tell' as const), item: fc.integer({ min: 1, max: items }) }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constant('kill' as const),
        at: fc.integer({ min: 1, max: 25 }),
        isAfter: fc.boolean(),
      }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('two at once' as const) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('time' as const) }) },
  );
  await fc.assert(
    fc.asyncProperty(
      fc.array(acts, { minLength: 15, maxLength: 40 }),
      fc.array(fc.constantFrom(200, 200, 200, 500, 'cut' as const), { minLength: 5, maxLength: 20 }),
      async (script, answers) => {
        const workspaceId = makeId();
        for (const [name, isOrdered] of [
          ['plain', false],
          ['ordered', true],
        ] as const)
          await subscribe(workspaceId, name, isOrdered);
        let asked = 0;
        receiver.answer = (_, response) => {
          const answer = answers[asked++ % answers.length];
          if (answer === 'cut') response.socket?.destroy();
          else response.writeHead(answer ?? 200).end();
        };
        const told: { id: string; item: number }[] = [];
        let kills = 0;
        for (const act of script) {
          if (act.kind === 'tell') told.push({ id: await tell(workspaceId, act.item), item: act.item });
          else if (act.kind === 'time') await letTimePass();
          else if (act.kind === 'two at once')
            await Promise.all([workerOn(database.pool).workDirectly(), workerOn(database.pool).workDirectly()]);
          else {
            kills += 1;
            const worker = workerOn(killedAt(database.pool, act.at, act.isAfter));
            await worker.workDirectly().catch((error: unknown) => {
              if (!(error instanceof KilledError)) throw error;
            });
            await worker.close();
          }
        }
        receiver.answer = (_, response) => void response.writeHead(200).end();
        for (let tries = 0; tries < 50; tries += 1) {
          await letTimePass();
          await workerOn(database.pool).workDirectly();
        }

        const idsAt = (name: string) =>
          receiver.at(`/${workspaceId}/${name}`).map((each) => {
            verified(secret, each);
            return String(each.headers['webhook-id']);
          });
        const inOrder = (ids: readonly string[]) => Map.groupBy(ids, (id) => told.find((each) => each.id === id)?.item);
        expect(new Set(idsAt('plain'))).toEqual(new Set(told.map(({ id }) => id)));
        expect(inOrder([...new Set(idsAt('ordered'))])).toEqual(inOrder(told.map(({ id }) => id)));
        const { rows } = await database.pool.query<{ unsettled: number; twice: number }>(
          `select count(*) filter (where state <> 'delivered') as unsettled,
                  (select count(*) from webhook_attempts join webhook_deliveries using (delivery_id) join webhook_messages using (message_id)
                   where workspace_id = $1 and status = 200) - count(*) as twice
           from webhook_deliveries join webhook_messages using (message_id) where workspace_id = $1`,
          [workspaceId],
        );
        expect(rows[0]!.unsettled).toBe(0);
        expect(kills > 0 || rows[0]!.twice === 0).toBe(true);
      },
    ),
    { numRuns: 12 },
  );
}, 180_000);
