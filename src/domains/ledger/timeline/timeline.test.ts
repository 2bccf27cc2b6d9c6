import { StrKey } from '@stellar/stellar-sdk/base';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startAnchoredApplication, type AnchoredApplication } from '../../../testing/anchored-application.ts';
import { readJson, waitFor } from '../../../testing/application.ts';

interface Timeline {
  dfid: string;
  total_entries: number;
  timeline: {
    sequence: number;
    cid: string;
    transaction_hash: string;
    ledger: number;
    source: string;
    network: string;
  }[];
  next_cursor: string | null;
}

const contract = StrKey.encodeContract(Buffer.alloc(32, 9));
let anchored: AnchoredApplication;
let ownKey: string;
let otherKey: string;
let folder: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'defarm-timeline-'));
  anchored = await startAnchoredApplication({
    STORAGE_ADAPTER: 'local',
    STORAGE_FOLDER: folder,
    STELLAR_IPCM_CONTRACT: contract,
  });
  ownKey = await anchored.application.createKey({ scope: 'admin', workspace: 'Producer' });
  otherKey = await anchored.application.createKey({ scope: 'write', workspace: 'Other' });
  await ask('PUT', '/api/storage/settings', { enabled: true, public_fields: ['breed'] });
});
afterAll(async () => {
  await anchored.close();
  rmSync(folder, { recursive: true });
});

async function ask<Body>(
  method: string,
  path: string,
  body?: object,
  key = ownKey,
): Promise<{ status: number; body: Body }> {
  const response = await anchored.application.fetch(path, {
    method,
    headers: { 'x-api-key': key, ...(body ? { 'content-type': 'application/json' } : {}) },
    ...(body ? { body: JSON.stringify(body) } : {}),
  });
  return { status: response.status, body: await readJson<Body>(response) };
}

let nextNumber = 740_000_000_000;
const newSisbov = () => ({ identifier_type: 'sisbov', value: `BR${nextNumber++}` });
async function send(record: object, key = ownKey): Promise<string> {
  const nature = { value_chain: 'BEEF', country: 'BR', year: 2025 };
  return (await ask<{ item: { dfid: string } }>('POST', '/api/items', { ...nature, ...record }, key)).body.item.dfid;
}
const timelineOf = async (dfid: string, query = '', key = ownKey) =>
  (await ask<Timeline>('GET', `/api/items/${dfid}/timeline${query}`, undefined, key)).body;
const whenLong = (dfid: string, entries: number) =>
  waitFor(
    async () => ((await timelineOf(dfid)).total_entries >= entries ? true : undefined),
    `${entries} entries of ${dfid}`,
    15_000,
  );

test('the contents of an item are in its timeline when a ledger has the checkpoint that covers them', async () => {
  const sisbov = newSisbov();
  const dfid = await send({ identifiers: [sisbov], metadata: { breed: 'Nelore' } });
  await whenLong(dfid, 1);
  await ask('PUT', `/api/items/${dfid}`, { metadata: { breed: 'Angus' } });
  await whenLong(dfid, 2);

  const { timeline } = await timelineOf(dfid);
  const places = (await ask<{ storage_history: { cid: string }[] }>('GET', `/api/items/${dfid}/storage-history`)).body;

  expect(timeline.map(({ sequence, source, network }) => [sequence, source, network])).toEqual([
    [1, 'anchor', 'custom'],
    [2, 'anchor', 'custom'],
  ]);
  expect(new Set(timeline.map(({ cid }) => cid))).toEqual(new Set(places.storage_history.map(({ cid }) => cid)));
  for (const { transaction_hash: hash, ledger } of timeline)
    expect(anchored.network.applied).toContainEqual(expect.objectContaining({ hash, ledger }));
  const page = await timelineOf(dfid, '?limit=1');
  expect((await timelineOf(dfid, `?limit=1&cursor=${page.next_cursor}`)).timeline).toEqual([timeline[1]]);
  expect((await ask('GET', `/api/items/${dfid}/timeline/2`)).body).toEqual(timeline[1]);
  for (const sequence of ['0', '3', 'two', '-1', '9'.repeat(30)])
    expect((await ask('GET', `/api/items/${dfid}/timeline/${sequence}`)).status).toBe(404);
});

test('what contracts tell of an item is there for all who know it, the contents of others are not', async () => {
  const sisbov = newSisbov();
  const dfid = await send({ identifiers: [sisbov], metadata: { breed: 'Gir' } });
  await send({ identifiers: [sisbov] }, otherKey);
  await whenLong(dfid, 1);
  anchored.network.emitUpdate(contract, dfid, 'bafytold');
  await anchored.application.database.pool.query("update timeline_progress set due_at = now() + interval '1 second'");
  await whenLong(dfid, 2);

  const seen = await timelineOf(dfid, '', otherKey);

  expect(seen.timeline).toMatchObject([{ sequence: 1, cid: 'bafytold', source: 'contract' }]);
  const stranger = await anchored.application.createKey({ scope: 'read', workspace: 'Stranger' });
  expect((await ask('GET', `/api/items/${dfid}/timeline`, undefined, stranger)).status).toBe(404);
});

test('it is told how far a network was followed', async () => {
  const progress = async () =>
    (await ask<{ contracts: object[]; gaps: object[] }>('GET', '/api/timeline/indexing-progress/custom')).body;

  await expect.poll(progress, { timeout: 20_000 }).toMatchObject({
    network: 'custom',
    log: { anchored_entries: expect.any(Number) as number },
    contracts: [{ contract, next_ledger: expect.any(Number) as number }],
    gaps: [],
  });
  expect((await ask('GET', '/api/timeline/indexing-progress/testnet')).body).toMatchObject({
    log: null,
    contracts: [],
  });
  expect((await ask('GET', '/api/timeline/indexing-progress/moonnet')).status).toBe(404);
});
