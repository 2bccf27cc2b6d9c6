import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  readJson,
  startApplication,
  waitFor,
  type Entry,
  type ProblemDocument,
  type Receipt,
  type TestApplication,
} from '../../testing/application.ts';

interface FingerprintRule {
  name: string;
  version: number;
  value_chains: string[];
  identifier_types: string[];
  period: string;
  is_active: boolean;
}

const path = '/api/admin/fingerprint-rules';

let application: TestApplication;
beforeAll(async () => {
  application = await startApplication({ backend: 'postgres' });
});
afterAll(() => application.close());

function put(body: object): Promise<Response> {
  const headers = { 'content-type': 'application/json' };
  return application.fetch(path, { method: 'POST', headers, body: JSON.stringify(body) });
}

async function versionsOf(name: string): Promise<[version: number, isActive: boolean][]> {
  const { fingerprint_rules: rules } = await readJson<{ fingerprint_rules: FingerprintRule[] }>(
    await application.fetch(path),
  );
  return rules.filter((rule) => rule.name === name).map(({ version, is_active: isActive }) => [version, isActive]);
}

test('lists the rules of a new installation', async () => {
  expect(await readJson(await application.fetch(path))).toEqual({
    fingerprint_rules: [
      {
        name: 'lot_of_crop_season',
        version: 1,
        value_chains: ['SOY', 'CORN'],
        identifier_types: ['lote', 'safra'],
        period: 'cycle',
        is_active: true,
      },
      {
        name: 'lot_of_poultry_house',
        version: 1,
        value_chains: ['POULTRY'],
        identifier_types: ['lote', 'granja'],
        period: 'year',
        is_active: true,
      },
    ],
    count: 2,
    total: 2,
    next_cursor: null,
  });
});

test('makes a changed rule a new version in place of the old one, and an unchanged one nothing new', async () => {
  const rule = {
    name: 'lot_of_farm',
    value_chains: ['algodão', 'COTTON'],
    identifier_types: ['Lot', 'talhão'],
    period: 'Year',
  };
  const shown = { ...rule, value_chains: ['COTTON'], identifier_types: ['lote', 'talhao'], period: 'year' };
  const first = await put(rule);
  expect([first.status, await first.json()]).toEqual([201, { ...shown, version: 1, is_active: true }]);
  const again = await put(rule);
  expect([again.status, await again.json()]).toEqual([200, { ...shown, version: 1, is_active: true }]);
  expect((await put({ ...rule, period: 'cycle' })).status).toBe(201);
  expect((await put(rule)).status).toBe(201);
  expect(await versionsOf('lot_of_farm')).toEqual([
    [3, true],
    [2, false],
    [1, false],
  ]);
});

test('leaves one version in force when many change a rule at once', async () => {
  const responses = await Promise.all(
    Array.from({ length: 20 }, (_, at) =>
      put({
        name: 'contested',
        value_chains: ['MILK'],
        identifier_types: ['lote', `tank_${at % 10}`],
        period: 'year',
      }),
    ),
  );
  expect(responses.every(({ status }) => status === 200 || status === 201)).toBe(true);
  const versions = await versionsOf('contested');
  expect(versions.filter(([, isActive]) => isActive)).toHaveLength(1);
  expect(versions.map(([version]) => version)).toEqual(versions.map((_, at) => versions.length - at));
});

const goodRule = { name: 'rule', value_chains: ['MILK'], identifier_types: ['lote'], period: 'year' };
test.each([
  ['another name', { name: 'Rule: 1' }, '/name'],
  ['another chain', { value_chains: ['FISH'] }, '/value_chains/0'],
  ['no types', { identifier_types: [] }, '/identifier_types'],
  ['eleven types', { identifier_types: Array.from({ length: 11 }, (_, at) => `type ${at}`) }, '/identifier_types'],
  ['another period', { period: 'month' }, '/period'],
  ['a canonical type', { identifier_types: ['lote', 'SISBOV'] }, '/identifier_types/1'],
  ['the type of a place', { identifier_types: ['car'] }, '/identifier_types/0'],
])('refuses %s and points at it', async (_what, members, pointer) => {
  const response = await put({ ...goodRule, ...members });
  expect(await readJson<ProblemDocument>(response)).toMatchObject({
    status: 422,
    error: 'invalid_request',
    errors: [{ pointer }],
  });
});

test('a rule that was made identifies items by their complete set, until it is switched off', async () => {
  const rule = { name: 'tank_of_dairy', value_chains: ['MILK'], identifier_types: ['dairy', 'tank'], period: 'year' };
  let last = 0;
  const identifies = async () => {
    const value = `T ${(last += 1)}`;
    const record = {
      value_chain: 'MILK',
      identifiers: [
        { identifier_type: 'tank', value },
        { identifier_type: 'dairy', value },
      ],
    };
    const answer = await application.submit(JSON.stringify([record, record]), { prefer: 'wait=20' });
    const { receipt_id: id } = await readJson<Receipt>(answer);
    const { entries } = await readJson<{ entries: Entry[] }>(await application.fetch(`/api/receipts/${id}/entries`));
    return entries[0]!.dfid === entries[1]!.dfid;
  };
  expect(await identifies()).toBe(false);
  expect((await put(rule)).status).toBe(201);
  await waitFor(async () => ((await identifies()) ? true : undefined), 'the rule to be in force');
  expect((await put({ ...rule, value_chains: [] })).status).toBe(201);
  await waitFor(async () => ((await identifies()) ? undefined : true), 'the rule to be out of force');
});
