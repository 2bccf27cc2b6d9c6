import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startApplication, type TestApplication } from '../../../testing/application.ts';
import { emptyIdentityTables, findBrokenRules } from '../../../testing/deduplication.ts';
import { dfidOf } from '../item-names.ts';
import type { DfidPartsRow } from '../items.store.ts';

let application: TestApplication;
let ownKey: string;

beforeAll(async () => {
  application = await startApplication({ backend: 'postgres', hasWorker: false });
  ownKey = await application.createKey({ scope: 'write', workspace: 'Producer' });
});
afterAll(() => application.close());

const pool = [
  ...[1, 2, 3].map((number) => ({ identifier_type: 'sisbov', value: `BR00000000000${number}` })),
  ...[1, 2, 3].map((number) => ({ identifier_type: 'chip', value: `98200000000000${number}` })),
  ...[1, 2].map((number) => ({ identifier_type: 'sgtin', value: `urn:epc:id:sgtin:7891234.056789.${number}` })),
];
const identifier = fc.constantFrom(...pool);
const place = fc.nat(9);
const acts = fc.array(
  fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        kind: fc.constant('send' as const),
        identifiers: fc.uniqueArray(identifier, { minLength: 1, maxLength: 3, selector: (each) => each.value }),
        weight: fc.nat(2),
        eventKey: fc.option(fc.constantFrom('one', 'other')),
        retagging: fc.option(fc.tuple(fc.constantFrom(3, 4, 5), fc.constantFrom(3, 4, 5)), { freq: 5 }),
      }),
    },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('split' as const), item: place, identifier }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('merge' as const), item: place, other: place }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('unmerge' as const), item: place }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('withdraw' as const), entry: place }) },
    {
      weight: 2,
      arbitrary: fc.record({
        kind: fc.constant('resolve' as const),
        action: fc.constantFrom('merge', 'attach', 'separate', 'reject'),
        item: place,
      }),
    },
  ),
  { minLength: 6, maxLength: 20 },
);
type Act = typeof acts extends fc.Arbitrary<(infer One)[]> ? One : never;

const query = async <Row extends object>(text: string) => (await application.database.pool.query<Row>(text)).rows;
const pick = <Row>(rows: readonly Row[], at: number): Row | undefined => rows[at % Math.max(1, rows.length)];

const itemAt = async (at: number) => {
  const row = pick(await query<DfidPartsRow>('select * from items order by item_number'), at);
  return row && dfidOf(row);
};

async function requestOf(act: Act): Promise<[path: string, body: object] | undefined> {
  const nature = { value_chain: 'BEEF', country: 'BR', year: 2025 };
  switch (act.kind) {
    case 'send': {
      const { identifiers, weight, eventKey, retagging } = act;
      const events = [
        ...(eventKey === null ? [] : [{ event_type: 'weighed', event_key: eventKey }]),
        ...(retagging === null
          ? []
          : [
              {
                event_type: 'identifier_replaced',
                payload: { old: pool[retagging[0]], new: pool[retagging[1]] },
              },
            ]),
      ];
      return ['/api/items', { ...nature, identifiers, metadata: { weight }, events }];
    }
    case 'split':
      return [`/api/items/${await itemAt(act.item)}/split`, { ...nature, identifiers: [act.identifier] }];
    case 'merge':
      return [
        `/api/items/${await itemAt(act.item)}/merge`,
        { secondary_dfid: (await itemAt(act.other)) ?? 'none', strategy: 'append' },
      ];
    case 'unmerge': {
      const merged = await query<DfidPartsRow>(
        'select * from items where merged_into is not null order by item_number',
      );
      const row = pick(merged, act.item);
      return row && [`/api/items/${dfidOf(row)}/unmerge`, {}];
    }
    case 'withdraw': {
      const entries = await query<DfidPartsRow & { entry_id: string }>(
        `select entry_id, now.* from entries join items using (item_number)
         join items as now on now.item_number = coalesce(items.merged_into, items.item_number) order by entry_id`,
      );
      const entry = pick(entries, act.entry);
      return entry && [`/api/items/${dfidOf(entry)}/corrections`, { entry_id: entry.entry_id, reason: 'a test' }];
    }
    case 'resolve': {
      const [conflict] = await query<{ conflict_id: string }>(
        `select conflict_id from conflicts where status = 'open'`,
      );
      const contested = await query<DfidPartsRow>('select items.* from items join contested_items using (item_number)');
      const target = pick(contested, act.item);
      const body = {
        action: act.action,
        reason: 'a test',
        ...(act.action === 'attach' && target ? { dfid: dfidOf(target) } : {}),
      };
      return conflict && [`/api/conflicts/${conflict.conflict_id}/resolve`, body];
    }
  }
}

test('whatever persons decide, in any order, every rule of identity holds and nothing fails', async () => {
  await fc.assert(
    fc.asyncProperty(acts, async (script) => {
      await emptyIdentityTables(application.database);
      ownKey = await application.createKey({ scope: 'write', workspace: 'Producer' });
      for (const act of script) {
        const request = await requestOf(act);
        if (!request) continue;
        const [path, body] = request;
        const answer = await application.fetch(path, {
          method: 'POST',
          headers: { 'x-api-key': ownKey, 'content-type': 'application/json' },
          body: JSON.stringify(body),
        });
        if (answer.status >= 500) throw new Error(`${path} was answered ${answer.status}: ${await answer.text()}`);
        await answer.arrayBuffer();
        expect({ act, broken: await findBrokenRules(application.database) }).toEqual({ act, broken: [] });
      }
    }),
    { numRuns: 15, seed: 15 },
  );
});
