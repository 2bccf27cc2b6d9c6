import { StrKey } from '@stellar/stellar-sdk/base';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startAnchoredApplication, type AnchoredApplication } from '../../../testing/anchored-application.ts';
import { readJson, startApplication, waitFor } from '../../../testing/application.ts';

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

interface Place {
  cid: string;
  transactions: { state: string }[];
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
    STELLAR_IPCM_FUNCTION: 'emit_update_event',
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
/** Waits for so many entries, and has the network looked at again every moment, not every ten seconds. */
const whenLong = (dfid: string, entries: number) =>
  waitFor(
    async () => {
      await anchored.application.database.pool.query(
        `update timeline_progress set due_at = now() where due_at > now() + interval '1 second';
         update contract_call_progress set due_at = now() where due_at > now() + interval '1 second';
         update log_anchor_attempts set due_at = now() where due_at > now() + interval '1 second'`,
      );
      return (await timelineOf(dfid)).total_entries >= entries ? true : undefined;
    },
    `${entries} entries of ${dfid}`,
    30_000,
  );

test('the contents of an item are in its timeline when a ledger has the checkpoint that covers them, and when the contract is told', async () => {
  const dfid = await send({ identifiers: [newSisbov()], metadata: { breed: 'Nelore' } });
  await whenLong(dfid, 1);
  await ask('PUT', `/api/items/${dfid}`, { metadata: { breed: 'Angus' } });
  await whenLong(dfid, 2);
  await whenLong(dfid, 4);

  const readPlaces = async () =>
    (await ask<{ storage_history: Place[] }>('GET', `/api/items/${dfid}/storage-history`)).body.storage_history;
  const statesOf = (found: Place[]) => found.flatMap(({ transactions }) => transactions.map(({ state }) => state));
  await expect.poll(async () => statesOf(await readPlaces()), { timeout: 15_000 }).toEqual(['confirmed', 'confirmed']);

  const { timeline } = await timelineOf(dfid);
  const places = await readPlaces();

  expect(timeline.map(({ sequence }) => sequence)).toEqual([1, 2, 3, 4]);
  for (const { cid, transactions } of places) {
    const entries = timeline.filter((entry) => entry.cid === cid);
    expect(new Set(entries.map(({ source }) => source))).toEqual(new Set(['anchor', 'contract']));
    for (const { transaction_hash: hash, ledger } of entries)
      expect(anchored.network.applied).toContainEqual(expect.objectContaining({ hash, ledger }));
    const told = entries.find(({ source }) => source === 'contract')!;
    expect(transactions).toMatchObject([{ state: 'confirmed', contract, transaction_hash: told.transaction_hash }]);
  }
  const page = await timelineOf(dfid, '?limit=1');
  expect((await timelineOf(dfid, `?limit=1&cursor=${page.next_cursor}`)).timeline).toEqual([timeline[1]]);
  expect((await ask('GET', `/api/items/${dfid}/timeline/2`)).body).toEqual(timeline[1]);
  for (const sequence of ['0', '5', 'two', '-1', '9'.repeat(30)])
    expect((await ask('GET', `/api/items/${dfid}/timeline/${sequence}`)).status).toBe(404);
});

test('what contracts tell of an item is there for all who know it, the contents of others are not', async () => {
  const sisbov = newSisbov();
  const dfid = await send({ identifiers: [sisbov], metadata: { breed: 'Gir' } });
  await send({ identifiers: [sisbov] }, otherKey);
  await whenLong(dfid, 1);
  anchored.network.emitUpdate(contract, dfid, 'bafytold');
  await whenLong(dfid, 3);

  const seen = await timelineOf(dfid, '', otherKey);

  expect(new Set(seen.timeline.map(({ source }) => source))).toEqual(new Set(['contract']));
  expect(seen.timeline.map(({ cid }) => cid)).toContain('bafytold');
  const stranger = await anchored.application.createKey({ scope: 'read', workspace: 'Stranger' });
  expect((await ask('GET', `/api/items/${dfid}/timeline`, undefined, stranger)).status).toBe(404);
});

test('a contract without a way to its network stops no process', async () => {
  const application = await startApplication({
    backend: 'postgres',
    environment: {
      STELLAR_NETWORK: 'custom',
      STELLAR_NETWORK_PASSPHRASE: 'Ours',
      STELLAR_IPCM_CONTRACT: contract,
      SWEEP_INTERVAL_MS: '100',
    },
  });

  const response = await application.submit('[]', { prefer: 'wait=10' });

  expect(response.status).toBe(200);
  await application.close();
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
