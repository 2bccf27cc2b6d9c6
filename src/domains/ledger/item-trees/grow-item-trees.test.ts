import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { openDatabase, withTransaction, type Database } from '#platform/database.ts';
import { makeId } from '#platform/ids.ts';
import { createTestDatabase, type TestDatabase } from '../../../testing/database.ts';
import { treeHash } from '../../../testing/tree-hash.ts';
import { entryOf } from '../entry-commitment.ts';
import { leafHash } from '../log-tree.ts';
import { growLog, insertLogEntries, type NewLogEntry } from '../log.store.ts';
import { growItemTrees } from './grow-item-trees.ts';

let testDatabase: TestDatabase;
let database: Database;
const workspaceId = makeId();

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  database = openDatabase({ url: testDatabase.url, poolSize: 8, applicationName: 'test', isWorker: true });
});
beforeEach(async () => {
  await database.pool.query('truncate log_entries, item_tree_pages');
  await database.pool.query('update log_state set size = 0');
  await database.pool.query('update item_tree_state set size = 0');
});
afterAll(async () => {
  await database.close();
  await testDatabase.drop();
});

/** Entries about events of items, and one about a version of each tenth, which no tree takes. */
async function log(itemNumbers: readonly number[]): Promise<NewLogEntry[]> {
  const { rows } = await database.pool.query<{ size: number }>('select size from log_state');
  const from = rows[0]!.size;
  const entries = itemNumbers.map((itemNumber, at) => ({
    index: from + at,
    subject: {
      workspace_id: workspaceId,
      item_number: itemNumber,
      ...(at % 10 === 9 ? {} : { event_id: makeId() }),
    },
    commitment: randomBytes(32),
    seed: randomBytes(32),
  }));
  await withTransaction(database.pool, async (client) => {
    await insertLogEntries(client, entries);
    await growLog(client, from, from + entries.length);
  });
  return entries;
}

const leavesOf = (entries: readonly NewLogEntry[], itemNumber: number) =>
  entries
    .filter(({ subject }) => subject.item_number === itemNumber && subject.event_id !== undefined)
    .map(({ commitment }) => leafHash(entryOf(commitment)));

const lastPage = async (itemNumber: number) =>
  (
    await database.pool.query<{ root: Buffer; leaves: number }>(
      `select root, page * 256 + octet_length(leaves) / 32 as leaves from item_tree_pages
       where item_number = $1 order by page desc limit 1`,
      [itemNumber],
    )
  ).rows[0];

const growAll = async (entriesMax: number) => {
  while ((await growItemTrees(database.pool, entriesMax))?.hasMore);
};

test.each([1000, 97, 256, 1])(
  'each item has the root over its own events, in however large steps the log is taken in (%i at once)',
  async (entriesMax) => {
    // As many as fill pages exactly, one more, and one less; item 1 has most of them.
    const itemNumbers = Array.from({ length: entriesMax === 1 ? 600 : 2400 }, (_, at) =>
      at % 7 === 0 ? 2 : at % 11 === 0 ? 3 : 1,
    );
    const entries: NewLogEntry[] = [];

    for (const [from, to] of [
      [0, 100],
      [100, 391],
      [391, itemNumbers.length],
    ] as const) {
      entries.push(...(await log(itemNumbers.slice(from, to))));
      await growAll(entriesMax);
    }

    for (const itemNumber of [1, 2, 3]) {
      const leaves = leavesOf(entries, itemNumber);
      expect(await lastPage(itemNumber)).toEqual({ root: treeHash(leaves), leaves: leaves.length });
    }
  },
);

test('eight at once take each entry once', async () => {
  const entries = await log(Array.from({ length: 3000 }, (_, at) => 1 + (at % 2)));

  await Promise.all(Array.from({ length: 8 }, () => growAll(50)));
  await growAll(50);

  for (const itemNumber of [1, 2]) {
    const leaves = leavesOf(entries, itemNumber);
    expect(await lastPage(itemNumber)).toEqual({ root: treeHash(leaves), leaves: leaves.length });
  }
});

test('one more event rewrites one page, however many the item has', async () => {
  await log(Array.from({ length: 20_000 }, () => 1));
  await growAll(20_000);
  const writersOfPages = async () =>
    (
      await database.pool.query<{ writer: string }>(
        'select xmin::text as writer from item_tree_pages where item_number = 1 order by page',
      )
    ).rows.map((row) => row.writer);
  const before = await writersOfPages();

  await log([1]);
  await growAll(20_000);

  const after = await writersOfPages();
  expect(before).toHaveLength(71);
  expect(after.filter((writer, page) => writer !== before[page])).toHaveLength(1);
});
