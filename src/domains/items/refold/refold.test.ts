import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { openDatabase, withTransaction, type Database } from '#platform/database.ts';
import { createTestDatabase, type TestDatabase } from '../../../testing/database.ts';
import {
  createWorkspace,
  emptyIdentityTables,
  makeAbsorber,
  readOutcome,
  receiptOf,
  seedTypes,
  type Absorber,
  type TestRecord,
  type TestWorkspace,
} from '../../../testing/deduplication.ts';
import type { ItemEntryRow } from '../items.store.ts';
import { makeItemNumberSource } from '../item-numbers.ts';
import { foldProvenance } from '../provenance.ts';
import { overridesOf } from './refold-contents.ts';
import { findMerges } from './refold.store.ts';
import type { Refolded, RefoldRequest } from './refold-request.ts';
import { refold } from './refold.ts';

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

const takeNumbers = (count: number) => makeItemNumberSource(database.pool)(count);

function decide(workspace: TestWorkspace, request: RefoldRequest): Promise<Refolded> {
  const decision = { workspaceId: workspace.id, by: 'a person', reason: 'a test' };
  return withTransaction(database.pool, (client) =>
    refold(
      client,
      { decision, nowMicros: 1_770_000_000_000_000, singleClaimTypes: seedTypes.singleClaimTypes, takeNumbers },
      request,
    ),
  );
}

async function query<Row extends object>(text: string, values: unknown[] = []): Promise<Row[]> {
  return (await database.pool.query<Row>(text, values)).rows;
}

const itemOf = async ({ entryId }: TestRecord) =>
  (
    await query<{ item_number: number }>(
      'select coalesce(merged_into, item_number) as item_number from entries join items using (item_number) where entry_id = $1',
      [entryId],
    )
  )[0]!.item_number;

/** Where each identifier and value of each item came from, by the workspace and the first entry of the item. */
async function readProvenance() {
  const rows = await query<ItemEntryRow & { workspace_id: string; root: number }>(
    `select entry_id, workspace_id, coalesce(merged_into, item_number) as root, effective_at, received_sequence, record,
            (extract(epoch from effective_at) * 1000000)::int8 as effective_at_micros, entry_id as receipt_id, effective_at as received_at
     from entries join items using (item_number) where status = 'completed' and withdrawn_at is null order by entry_id`,
  );
  const merges = await findMerges(database.pool, [...new Set(rows.map(({ root }) => root))]);
  const groups = Map.groupBy(
    rows,
    (row) => `${row.workspace_id} ${rows.find(({ root }) => root === row.root)!.entry_id}`,
  );
  return new Map(
    [...groups].map(([name, entries]) => {
      const overrides = merges
        .filter(({ survivor }) => survivor === entries[0]!.root)
        .flatMap((merge) => overridesOf(merge))
        .filter(({ workspaceId }) => workspaceId === entries[0]!.workspace_id);
      return [name, foldProvenance(entries, overrides)];
    }),
  );
}

/** Everything that can be seen of items, told by the entries that they consist of instead of by their numbers. */
async function readEverything() {
  const { partition, values, identifiers } = await readOutcome(database);
  const firstOf = `(select min(first.entry_id::text) from entries as first join items as of using (item_number)
                    where coalesce(of.merged_into, of.item_number) = coalesce(i.merged_into, i.item_number))`;
  return {
    partition,
    values,
    identifiers,
    provenance: await readProvenance(),
    claims: await query(
      `select identifier_type, value, ${firstOf} as item from identifier_claims c join items i using (item_number) order by 1, 2`,
    ),
    mentions: await query(
      `select distinct identifier_type, value, ${firstOf} as item from identifier_mentions m join items i using (item_number) order by 1, 2, 3`,
    ),
    events: await query(
      `select distinct event_type, payload::text, occurred_at, event_key, ${firstOf} as item from events e join items i using (item_number)
       where event_type = 'weighed' and withdrawn_at is null order by 1, 2, 3, 4, 5`,
    ),
  };
}

type Side = 'one' | 'other';

/** What is random about a record of one of two animals. */
const drafts = fc.array(
  fc.record({
    side: fc.constantFrom<Side>('one', 'other'),
    names: fc.subarray(['sisbov', 'chip', 'sgtin'] as const, { minLength: 1 }),
    fields: fc.record({ weight: fc.nat(3), farm: fc.constantFrom('A', 'B') }, { requiredKeys: [] }),
    earTag: fc.option(fc.nat(2)),
    second: fc.option(fc.nat(9)),
    event: fc.option(fc.nat(2)),
  }),
  { maxLength: 8 },
);

type Draft = typeof drafts extends fc.Arbitrary<(infer One)[]> ? One : never;

const values = {
  one: { sisbov: 'BR000000000001', sgtin: 'urn:epc:id:sgtin:7891234.056789.1' },
  other: { chip: '982000000000002', rfid: '076000000000002' },
} as const;

function recordOf({ side, names, fields, earTag, second, event }: Draft): object {
  const own =
    side === 'one'
      ? { sisbov: 'sisbov', chip: 'sgtin', sgtin: 'sgtin' }
      : { sisbov: 'chip', chip: 'chip', sgtin: 'rfid' };
  const types = [...new Set(names.map((name) => own[name]))];
  const at = second === null ? {} : { occurred_at: `2025-01-01T00:00:0${second}Z` };
  return {
    identifiers: [
      ...types.map((type) => ({ identifier_type: type, value: (values[side] as Record<string, string>)[type] })),
      ...(earTag === null ? [] : [{ identifier_type: 'brinco', value: `T${earTag}` }]),
    ],
    metadata: fields,
    ...at,
    events: event === null ? [] : [{ event_type: 'weighed', event_key: `E${event}`, payload: { event } }],
  };
}

const anchors = (workspace: TestWorkspace) => ({
  one: { identifiers: Object.entries(values.one).map(([type, value]) => ({ identifier_type: type, value })) },
  other: { identifiers: Object.entries(values.other).map(([type, value]) => ({ identifier_type: type, value })) },
  workspace,
});

describe('taking an item out of the one that it became', () => {
  test.each(['a person', 'a record'])(
    'gives members, values, identifiers, claims and events as if %s had never joined them',
    async (joinedBy) => {
      await fc.assert(
        fc.asyncProperty(drafts, drafts, fc.boolean(), async (before, after, hasTwo) => {
          await emptyIdentityTables(database);
          const [first, second] = [await createWorkspace(database, true), await createWorkspace(database, true)];
          const workspaceOf = ({ side }: Draft) => (hasTwo && side === 'other' ? second : first);
          const one = receiptOf(anchors(first).one);
          const other = receiptOf(anchors(first).other);
          const link = receiptOf({
            identifiers: [
              { identifier_type: 'sisbov', value: values.one.sisbov },
              { identifier_type: 'chip', value: values.other.chip },
            ],
            metadata: { weight: 999 },
          });
          const early = before.map((draft) => ({ draft, records: receiptOf(recordOf(draft)) }));
          const late = after.map((draft) => ({ draft, records: receiptOf(recordOf(draft)) }));
          const absorbAll = async (isJoined: boolean) => {
            await absorber.absorb(first, one);
            await absorber.absorb(first, other);
            for (const { draft, records } of early) await absorber.absorb(workspaceOf(draft), records);
            if (isJoined && joinedBy === 'a record') await absorber.absorb(first, link);
            if (isJoined && joinedBy === 'a person')
              await decide(first, {
                roots: [await itemOf(one[0]!), await itemOf(other[0]!)],
                united: { losers: [await itemOf(other[0]!)], strategy: 'append' },
              });
            for (const { draft, records } of late) await absorber.absorb(workspaceOf(draft), records);
          };
          await absorbAll(false);
          const neverJoined = await readEverything();
          await query(
            'truncate items, identifier_claims, workspace_claims, identifier_mentions, contributions, entries, events',
          );

          await absorbAll(true);
          const survivor = await itemOf(one[0]!);
          expect(await itemOf(other[0]!)).toBe(survivor);
          const [loser] = await query<{ loser: number }>('select loser from item_merges');
          await decide(first, { roots: [survivor], unmerged: loser!.loser, separated: [[survivor, loser!.loser]] });

          expect(await readEverything()).toEqual(neverJoined);
        }),
        { numRuns: 40 },
      );
    },
    120_000,
  );
});
