import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { openDatabase, type Database } from '#platform/database.ts';
import { makeLogger } from '#platform/logger.ts';
import { waitFor } from '../../testing/application.ts';
import { createTestDatabase, type TestDatabase } from '../../testing/database.ts';
import { openQueueBackend, type QueueBackend } from './backend.ts';
import { makeBell } from './bell.ts';
import { defineQueue, type QueueWork } from './definition.ts';
import { startSweeper } from './sweeper.ts';

const logger = makeLogger({ level: 'silent', name: 'test' });

let testDatabase: TestDatabase;
let database: Database;
let unreachable: QueueBackend;
beforeAll(async () => {
  testDatabase = await createTestDatabase();
  database = openDatabase({ url: testDatabase.url, poolSize: 4, applicationName: 'test', isWorker: true });
  const redisUrl = 'redis://127.0.0.1:1';
  unreachable = openQueueBackend({ redisUrl, databaseUrl: testDatabase.url, prefix: 'test', logger });
});
afterAll(async () => {
  await unreachable.close();
  await database.close();
  await testDatabase.drop();
});

/** Work of which there is always more. */
function endlessWork(name: string, workDirectly: () => Promise<boolean>): QueueWork {
  return {
    queue: defineQueue({ name, description: name, schema: z.object({}) }),
    concurrency: 1,
    process: () => Promise.resolve({}),
    findOverdue: () => Promise.resolve([{}]),
    workDirectly,
  };
}

test('a queue whose work takes long holds up the work of no other, and stopping waits for it', async () => {
  const long = Promise.withResolvers<boolean>();
  let [begun, done] = [0, 0];
  const works = [
    endlessWork('long', () => {
      begun += 1;
      return long.promise;
    }),
    endlessWork('short', () => {
      done += 1;
      return Promise.resolve(false);
    }),
  ];
  const bell = makeBell(unreachable, { logger });
  const sweeper = startSweeper({ database, bell, logger, works, intervalMs: 10 });

  await waitFor(() => (begun > 0 && done > 5 ? true : undefined), 'the short work to be done again and again');
  let hasStopped = false;
  const stopping = sweeper.stop().then(() => (hasStopped = true));
  await nextTurn();
  const hadStopped = hasStopped;
  long.resolve(false);
  await stopping;

  expect([begun, hadStopped, hasStopped]).toEqual([1, false, true]);
});
