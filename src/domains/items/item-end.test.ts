import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { openDatabase, withTransaction, type Database } from '#platform/database.ts';
import { createTestDatabase, type TestDatabase } from '../../testing/database.ts';
import {
  createWorkspace,
  emptyIdentityTables,
  findBrokenRules,
  makeAbsorber,
  receiptOf,
  seedTypes,
  type Absorber,
  type TestWorkspace,
} from '../../testing/deduplication.ts';
import { makeItemNumberSource } from './item-numbers.ts';
import { refold } from './refold/refold.ts';

let testDatabase: TestDatabase;
let database: Database;
let absorber: Absorber;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  database = openDatabase({ url: testDatabase.url, poolSize: 4, applicationName: 'test', isWorker: true });
  absorber = makeAbsorber(database);
});

beforeEach(() => emptyIdentityTables(database));

afterAll(async () => {
  await absorber.close();
  await database.close();
  await testDatabase.drop();
});

const animal = { identifier_type: 'sisbov', value: 'BR000000000001' };
const tag = { identifier_type: 'chip', value: '982000000000001' };
const day = (number: number) => `2025-01-0${number}T00:00:00Z`;
const died = (number: number, rest: object = {}) => ({
  identifiers: [animal],
  events: [{ event_type: 'death', occurred_at: day(number) }],
  ...rest,
});
const seen = (number: number, rest: object = {}) => ({ identifiers: [animal], occurred_at: day(number), ...rest });
const undated = (rest: object = {}) => ({ identifiers: [animal], metadata: { note: 'n' }, ...rest });

async function absorb(workspace: TestWorkspace, ...records: object[]): Promise<string[]> {
  const verdicts = await absorber.absorb(workspace, receiptOf(...records));
  return verdicts.map(({ status }) => status);
}

/** Sends each record in a receipt of its own. */
async function absorbEach(workspace: TestWorkspace, ...records: object[]): Promise<string[]> {
  const statuses: string[] = [];
  for (const record of records) statuses.push(...(await absorb(workspace, record)));
  return statuses;
}

const errors = async (workspace: TestWorkspace) =>
  (
    await database.pool.query<{ error: { detail: string; contradictions: { reason: string }[] } }>(
      `select error from entries where status = 'conflicted' and workspace_id = $1`,
      [workspace.id],
    )
  ).rows.map(({ error }) => error);

describe('after the end of an item', () => {
  test.each(['death', 'died', 'morte', 'slaughter', 'slaughtered', 'abate', 'export', 'exported', 'exportacao'])(
    'by %s what occurred later waits for a person',
    async (eventType) => {
      const workspace = await createWorkspace(database);
      await absorb(workspace, { identifiers: [animal], events: [{ event_type: eventType, occurred_at: day(3) }] });

      expect(await absorb(workspace, seen(4))).toEqual(['conflicted']);
      expect((await errors(workspace)).map(({ detail }) => detail)).toEqual([
        'the record tells of something later than the end of its item',
      ]);
      expect(await findBrokenRules(database)).toEqual([]);
    },
  );

  test.each([
    [
      'an event that occurred later',
      { identifiers: [animal], events: [{ event_type: 'weighed', occurred_at: day(4) }] },
      'conflicted',
    ],
    ['another death, later', died(4), 'conflicted'],
    ['the same death again', died(3), 'completed'],
    ['a late report of something earlier', seen(2, { metadata: { weight: 1 } }), 'completed'],
    ['what states no time', undated(), 'completed'],
    ['an identifier of it that states no time', { identifiers: [animal, tag] }, 'completed'],
    ['what was noted with the end itself', died(3, { occurred_at: day(5), metadata: { carcass: 250 } }), 'completed'],
  ])('%s is judged rightly, in one chunk as in two', async (_name, record, expected) => {
    for (const send of [absorb, absorbEach]) {
      await emptyIdentityTables(database);
      const workspace = await createWorkspace(database);
      expect(await send(workspace, died(3), record)).toEqual(['completed', expected]);
      expect(await findBrokenRules(database)).toEqual([]);
    }
  });

  test('its identifiers lead to it as before', async () => {
    const workspace = await createWorkspace(database);
    await absorb(workspace, { ...died(3), identifiers: [animal, tag] });

    expect(await absorb(workspace, { identifiers: [tag], metadata: { note: 'late' } })).toEqual(['completed']);
    const { rows } = await database.pool.query('select item_number from items');
    expect(rows).toHaveLength(1);
  });

  test('an end for which no time is stated is that of its reception', async () => {
    const workspace = await createWorkspace(database);

    expect(
      await absorbEach(
        workspace,
        { identifiers: [animal], events: [{ event_type: 'death' }] },
        { identifiers: [animal], occurred_at: '2025-10-01T00:00:00Z' },
      ),
    ).toEqual(['completed', 'completed']);
  });
});

describe('an end that comes after something later is known', () => {
  test.each([
    ['its own record', seen(4)],
    ['an event', undated({ events: [{ event_type: 'weighed', occurred_at: day(4) }] })],
  ])('waits for a person: %s', async (_name, later) => {
    for (const send of [absorb, absorbEach]) {
      await emptyIdentityTables(database);
      const workspace = await createWorkspace(database);
      expect(await send(workspace, later, died(3))).toEqual(['completed', 'conflicted']);
      expect(await send(workspace, seen(5), undated())).toEqual(['completed', 'completed']);
      expect(await findBrokenRules(database)).toEqual([]);
    }
  });

  test('is judged with all that becomes one item by a record that joins', async () => {
    const workspace = await createWorkspace(database);

    expect(
      await absorbEach(workspace, died(3), { identifiers: [tag], occurred_at: day(4) }, { identifiers: [animal, tag] }),
    ).toEqual(['completed', 'completed', 'conflicted']);
  });
});

describe('the word of one workspace about the end', () => {
  test('of an item that others know too binds itself alone', async () => {
    const [ours, theirs] = [await createWorkspace(database), await createWorkspace(database)];
    await absorb(ours, undated());
    await absorb(theirs, died(3));

    expect(await absorb(ours, seen(4))).toEqual(['completed']);
    expect(await absorb(theirs, seen(4))).toEqual(['conflicted']);
    expect(await findBrokenRules(database)).toEqual([]);
  });

  test.each([
    ['little', 'n'],
    ['much', 'n'.repeat(4000)],
  ])('binds all when an administrator trusts it, be there %s else that it knows', async (_name, note) => {
    const [ours, trusted] = [await createWorkspace(database), await createWorkspace(database, true)];
    await absorb(ours, undated());
    await absorbEach(trusted, died(3), undated({ metadata: { note } }));

    expect(await absorbEach(ours, seen(4), seen(2))).toEqual(['conflicted', 'completed']);
  });

  test('binds nobody when two said different things and none is trusted', async () => {
    const [ours, ...others] = await Promise.all([1, 2, 3].map(() => createWorkspace(database)));
    await absorb(others[0]!, undated());
    await absorb(others[1]!, died(3));

    expect(await absorb(ours!, seen(4))).toEqual(['completed']);
  });

  test('binds all when an administrator trusts it, and tells them nothing of what it said', async () => {
    const [ours, trusted] = [await createWorkspace(database), await createWorkspace(database, true)];
    await absorb(ours, undated());
    await absorb(trusted, died(3));

    expect(await absorb(ours, seen(4))).toEqual(['conflicted']);
    expect((await errors(ours)).map(({ detail }) => detail)).toEqual([
      'the record contradicts what others sent of the same item',
    ]);
    expect(JSON.stringify(await errors(ours))).not.toContain('2025-01-03');
  });

  test('waits when it is trusted and others told of something later', async () => {
    const [ours, trusted] = [await createWorkspace(database), await createWorkspace(database, true)];
    await absorb(ours, seen(4));

    expect(await absorb(trusted, died(3))).toEqual(['conflicted']);
  });

  test('of an item that nobody else knew binds who comes later', async () => {
    const [ours, theirs] = [await createWorkspace(database), await createWorkspace(database)];
    await absorb(ours, died(3));

    expect(await absorbEach(theirs, seen(4), seen(2))).toEqual(['conflicted', 'completed']);
  });
});

describe('what a person decides', () => {
  const decide = (workspace: TestWorkspace, request: Parameters<typeof refold>[2]) =>
    withTransaction(database.pool, (client) =>
      refold(
        client,
        {
          decision: { workspaceId: workspace.id, by: 'a person', reason: 'a test' },
          nowMicros: 1_770_000_000_000_000,
          singleClaimTypes: seedTypes.singleClaimTypes,
          takeNumbers: makeItemNumberSource(database.pool),
        },
        request,
      ),
    );

  test('takes back an end together with the entry that told it', async () => {
    const workspace = await createWorkspace(database);
    await absorb(workspace, undated());
    const [death] = receiptOf(died(3));
    await absorber.absorb(workspace, [death!]);
    const { rows } = await database.pool.query<{ item_number: number }>('select item_number from items');

    await decide(workspace, { roots: [rows[0]!.item_number], withdrawn: [death!.entryId] });

    expect(await absorb(workspace, seen(4))).toEqual(['completed']);
  });

  test('takes back the end of an identifier together with the entry that told it', async () => {
    const workspace = await createWorkspace(database);
    await absorb(workspace, { identifiers: [animal, tag] });
    const [replacement] = receiptOf({
      identifiers: [],
      events: [
        {
          event_type: 'identifier_replaced',
          payload: { old: tag, new: { identifier_type: 'chip', value: '982000000000002' } },
        },
      ],
    });
    await absorber.absorb(workspace, [replacement!]);
    const { rows } = await database.pool.query<{ item_number: number }>('select item_number from items');

    await decide(workspace, { roots: [rows[0]!.item_number], withdrawn: [replacement!.entryId] });

    const claims = await database.pool.query('select value, ended_at, ended_by from identifier_claims order by value');
    expect(claims.rows).toEqual([
      { value: '105000000000001', ended_at: null, ended_by: null },
      { value: '982000000000001', ended_at: null, ended_by: null },
    ]);
    expect(await findBrokenRules(database)).toEqual([]);
  });

  test('takes back the end of an identifier together with the merge that its entry showed', async () => {
    const workspace = await createWorkspace(database);
    const next = { identifier_type: 'chip', value: '982000000000002' };
    await absorbEach(workspace, { identifiers: [animal, tag] }, { identifiers: [next] });
    const [replacement] = receiptOf({
      identifiers: [],
      events: [{ event_type: 'identifier_replaced', payload: { old: tag, new: next } }],
    });
    await absorber.absorb(workspace, [replacement!]);
    const merges = await database.pool.query<{ survivor: number; loser: number }>(
      'select survivor, loser from item_merges',
    );
    const { survivor, loser } = merges.rows[0]!;

    const { conflicted } = await decide(workspace, {
      roots: [survivor],
      unmerged: loser,
      separated: [[survivor, loser]],
    });

    expect(conflicted.map(({ entryId }) => entryId)).toEqual([replacement!.entryId]);
    const { rows } = await database.pool.query('select * from identifier_claims where ended_at is not null');
    expect(rows).toEqual([]);
  });

  test('gives an item that it takes out of another its own life back', async () => {
    const workspace = await createWorkspace(database);
    await absorbEach(workspace, died(3), { identifiers: [tag] }, { identifiers: [animal, tag] });
    const { rows } = await database.pool.query<{ survivor: number; loser: number }>(
      'select survivor, loser from item_merges',
    );
    const { survivor, loser } = rows[0]!;
    expect(await absorb(workspace, { identifiers: [tag], occurred_at: day(4) })).toEqual(['conflicted']);

    await decide(workspace, { roots: [survivor], unmerged: loser, separated: [[survivor, loser]] });

    expect(await absorbEach(workspace, { identifiers: [tag], occurred_at: day(5) }, seen(5))).toEqual([
      'completed',
      'conflicted',
    ]);
  });
});
