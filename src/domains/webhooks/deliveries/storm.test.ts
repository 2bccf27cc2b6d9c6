import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { makeId } from '#platform/ids.ts';
import { killedAt, KilledError } from '../../../testing/killed-pool.ts';
import { verified } from '../../../testing/webhook-receiver.ts';
import { startWebhookWorkers, type WebhookWorkers } from '../../../testing/webhook-worker.ts';

const items = 3;
let workers: WebhookWorkers;

beforeAll(async () => {
  workers = await startWebhookWorkers(items);
});
afterAll(() => workers.close());

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
        const { database, receiver, secret, workerOn, work, subscribe, tell, letTimePass } = workers;
        const workspaceId = makeId();
        await subscribe(workspaceId, 'plain');
        await subscribe(workspaceId, 'ordered', { is_ordered: true });
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
          else if (act.kind === 'two at once') await Promise.all([work(), work()]);
          else {
            kills += 1;
            const worker = workerOn(killedAt(database.pool, act.at, act.isAfter));
            await work(worker).catch((error: unknown) => {
              if (!(error instanceof KilledError)) throw error;
            });
            await worker.close();
          }
        }
        receiver.answer = (_, response) => void response.writeHead(200).end();
        for (let tries = 0; tries < 50; tries += 1) {
          await letTimePass();
          await work();
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
          `select count(*) filter (where delivered_at is null) as unsettled,
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
}, 300_000);
