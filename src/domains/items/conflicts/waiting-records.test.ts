import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readJson, startApplication, type TestApplication } from '../../../testing/application.ts';
import { findBrokenRules, makeAbsorber } from '../../../testing/deduplication.ts';

let application: TestApplication;
let ownKey: string;

beforeAll(async () => {
  application = await startApplication({
    backend: 'postgres',
    hasWorker: false,
    environment: { CONFLICT_RECORDS_MAX: '2' },
  });
  ownKey = await application.createKey({ scope: 'write', workspace: 'Producer' });
});
afterAll(() => application.close());

/** Tries again what waits for that, as a worker does. */
async function retryDue(): Promise<void> {
  const absorber = makeAbsorber(application.database);
  await absorber.retryDue();
  await absorber.close();
}

let nextNumber = 600_000_000_000;
const newSisbov = () => ({ identifier_type: 'sisbov', value: `BR${nextNumber++}` });
const newChip = () => ({ identifier_type: 'chip', value: `982${nextNumber++}` });
const newSerial = () => ({ identifier_type: 'sgtin', value: `urn:epc:id:sgtin:7891234.056789.${nextNumber++}` });

async function ask<Body>(method: string, path: string, status: number, body?: object): Promise<Body> {
  const response = await application.fetch(path, {
    method,
    headers: { 'x-api-key': ownKey, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const answer = await readJson<Body>(response);
  expect({ status: response.status, answer }).toEqual({ status, answer });
  return answer;
}

interface Identifier {
  readonly identifier_type: string;
  readonly value: string;
}
interface Details {
  item: { dfid: string };
  identifiers: Identifier[];
}

interface Provenance {
  identifiers: { value: string; sources: { entry_id: string }[] }[];
}

const nature = { value_chain: 'BEEF', country: 'BR', year: 2025 };

/** Sends one record, which is answered with `status`; gives the DFID of its item. */
async function send(status: number, ...identifiers: Identifier[]): Promise<string> {
  const answer = await ask<Partial<Details>>('POST', '/api/items', status, { ...nature, identifiers });
  return answer.item?.dfid ?? '';
}

async function resolveOnly(identifier: Identifier, body: object): Promise<string> {
  const query = new URLSearchParams({ ...identifier, status: 'open' }).toString();
  const { conflicts } = await ask<{ conflicts: { conflict_id: string }[] }>('GET', `/api/conflicts?${query}`, 200);
  const path = `/api/conflicts/${conflicts[0]!.conflict_id}`;
  const { evidence } = await ask<{ evidence: { entries: { entry_id: string }[] } }>('GET', path, 200);
  await ask('POST', `${path}/resolve`, 200, { reason: 'seen in the field', ...body });
  return evidence.entries[0]!.entry_id;
}

const valuesOf = async (dfid: string) =>
  (await ask<Details>('GET', `/api/items/${dfid}`, 200)).identifiers.map(({ value }) => value).toSorted();

const countOpenCases = async (identifier: Identifier) => {
  const query = new URLSearchParams({ ...identifier, status: 'open' }).toString();
  return (await ask<{ conflicts: object[] }>('GET', `/api/conflicts?${query}`, 200)).conflicts.length;
};

const sorted = (...identifiers: Identifier[]) => identifiers.map(({ value }) => value).toSorted();

describe('what waits', () => {
  test('comes in when the entry that it contradicts is withdrawn', async () => {
    const [chip, wrong, right] = [newChip(), newSisbov(), newSisbov()];
    const dfid = await send(201, chip, wrong);
    await send(409, chip, right);
    const { identifiers } = await ask<Provenance>('GET', `/api/items/${dfid}/provenance`, 200);
    const entryId = identifiers[0]!.sources[0]!.entry_id;

    await ask('POST', `/api/items/${dfid}/corrections`, 200, { entry_id: entryId, reason: 'a typing mistake' });
    await retryDue();

    const [item] = (
      await ask<{ items: { dfid: string }[] }>('GET', `/api/items?${new URLSearchParams(right).toString()}`, 200)
    ).items;
    expect(await valuesOf(item!.dfid)).toEqual(sorted(chip, right));
    expect(await countOpenCases(chip)).toBe(0);
    expect(await findBrokenRules(application.database)).toEqual([]);
  });

  test('comes in when a person merges the items that it names', async () => {
    const [chip, sisbov, own, other] = [newChip(), newSisbov(), newSerial(), newSerial()];
    const survivor = await send(201, chip, own);
    const loser = await send(201, sisbov, other);
    await send(409, chip, sisbov);

    await ask('POST', `/api/items/${survivor}/merge`, 200, { secondary_dfid: loser, strategy: 'append' });
    await retryDue();

    expect(await valuesOf(survivor)).toEqual(sorted(chip, sisbov, own, other));
    expect(await countOpenCases(chip)).toBe(0);
    expect(await findBrokenRules(application.database)).toEqual([]);
  });
});

test('a case of more records than are decided at once is rejected as a whole, or its items are merged', async () => {
  const chip = newChip();
  const dfid = await send(201, chip, newSisbov());
  for (const sisbov of [newSisbov(), newSisbov(), newSisbov()]) await send(409, chip, sisbov);
  const query = new URLSearchParams({ ...chip, status: 'open' }).toString();
  const { conflicts } = await ask<{ conflicts: { conflict_id: string }[] }>('GET', `/api/conflicts?${query}`, 200);
  const resolve = async (status: number, body: object) =>
    ask<{ error?: string }>('POST', `/api/conflicts/${conflicts[0]!.conflict_id}/resolve`, status, {
      reason: 'a flood',
      ...body,
    });

  expect((await resolve(422, { action: 'attach', dfid })).error).toBe('case_too_large');
  await resolve(200, { action: 'reject' });
  expect(await countOpenCases(chip)).toBe(0);
});

describe('what came in because a person had let a contradicting value in', () => {
  test('waits again when the entry that brought the value is withdrawn', async () => {
    const [chip, own, other] = [newChip(), newSerial(), newSerial()];
    const dfid = await send(201, chip, own);
    await send(409, chip, other);
    const entryId = await resolveOnly(chip, { action: 'attach', dfid });
    await send(200, chip, other);

    await ask('POST', `/api/items/${dfid}/corrections`, 200, { entry_id: entryId, reason: 'another animal' });

    expect(await valuesOf(dfid)).toEqual(sorted(chip, own));
    expect(await countOpenCases(other)).toBe(1);
    expect(await findBrokenRules(application.database)).toEqual([]);
  });

  test('waits again when the items that the person had joined are taken apart', async () => {
    const [chip, sisbov, own, other] = [newChip(), newSisbov(), newSerial(), newSerial()];
    const survivor = await send(201, chip);
    const loser = await send(201, sisbov, own);
    await send(409, chip, sisbov, other);
    await resolveOnly(chip, { action: 'merge' });
    await send(200, sisbov, other);

    await ask('POST', `/api/items/${loser}/unmerge`, 200, { reason: 'two animals' });

    const all = [await valuesOf(survivor), await valuesOf(loser)];
    expect(all.filter((values) => sorted(own, other).every((value) => values.includes(value)))).toEqual([]);
    expect(await countOpenCases(other)).toBe(1);
    expect(await findBrokenRules(application.database)).toEqual([]);
  });

  test('stays when an entry is withdrawn that had nothing to do with it', async () => {
    const [chip, own, other] = [newChip(), newSerial(), newSerial()];
    const dfid = await send(201, chip, own);
    await send(409, chip, other);
    await resolveOnly(chip, { action: 'attach', dfid });
    const wrong = newSisbov();
    await send(200, chip, other, wrong);
    const { identifiers } = await ask<Provenance>('GET', `/api/items/${dfid}/provenance`, 200);
    const [source] = identifiers.find(({ value }) => value === wrong.value)!.sources;

    await ask('POST', `/api/items/${dfid}/corrections`, 200, { entry_id: source!.entry_id, reason: 'a wrong number' });

    expect(await valuesOf(dfid)).toEqual(sorted(chip, own, other));
    expect(await findBrokenRules(application.database)).toEqual([]);
  });
});
