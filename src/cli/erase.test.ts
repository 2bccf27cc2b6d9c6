import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { erasedTables } from '#domains/ledger/erasure/erasure.store.ts';
import { openDatabase, type Database } from '#platform/database.ts';
import { readJson, startApplication, waitFor, type TestApplication } from '../testing/application.ts';
import { findBrokenRules } from '../testing/deduplication.ts';
import { eraseFor } from './erase.ts';

let application: TestApplication;
let database: Database;
let folder: string;
let ownKey: string;
let otherKey: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'defarm-erase-'));
  application = await startApplication({
    backend: 'postgres',
    environment: {
      STORAGE_ADAPTER: 'local',
      STORAGE_FOLDER: folder,
      STORAGE_BATCH_MAX_AGE_MS: '0',
      ENCRYPTION_KEY: Buffer.alloc(32, 5).toString('base64'),
      SWEEP_INTERVAL_MS: '100',
    },
  });
  database = openDatabase({
    url: application.environment['DATABASE_URL']!,
    poolSize: 4,
    applicationName: 'test',
    isWorker: true,
  });
  ownKey = await application.createKey({ scope: 'write', workspace: 'Fazenda' });
  otherKey = await application.createKey({ scope: 'write', workspace: 'Frigorífico' });
  for (const key of [ownKey, otherKey])
    await ask('PUT', '/api/storage/settings', { enabled: true, public_fields: ['raca'], encrypted_content: true }, key);
  // Nobody is there: what is told waits for another attempt.
  await ask('POST', '/api/webhooks', { name: 'ERP', url: 'https://webhook.invalid.example.com.br/', events: [] });
});
afterAll(async () => {
  await database.close();
  await application.close();
  rmSync(folder, { recursive: true });
});

let nextNumber = 330_000_000_000;
const newSisbov = () => ({ identifier_type: 'sisbov', value: `BR${nextNumber++}` });

async function ask<Body>(method: string, path: string, body?: object, key = ownKey): Promise<Body> {
  const response = await application.fetch(path, {
    method,
    headers: { 'x-api-key': key, ...(body ? { 'content-type': 'application/json' } : {}) },
    ...(body ? { body: JSON.stringify(body) } : {}),
  });
  const answer = await readJson<Body>(response);
  expect({ path, status: response.status, answer, isGood: response.ok }).toMatchObject({ isGood: true });
  return answer;
}

const send = async (record: object, key = ownKey): Promise<string> =>
  (
    await ask<{ item: { dfid: string } }>(
      'POST',
      '/api/items',
      { value_chain: 'BEEF', country: 'BR', year: 2025, ...record },
      key,
    )
  ).item.dfid;

/** Waits until the log and storage have taken in all that there is. */
const whenQuiet = () =>
  waitFor(async () => {
    const { rows } = await application.database.pool.query<{ is_quiet: boolean }>(
      `select not exists (select from event_feed) and not exists (select from storage_history where state = 'queued')
              and not exists (select from storage_batches where state in ('packed', 'removing')) as is_quiet`,
    );
    return rows[0]!.is_quiet ? true : undefined;
  }, 'the log and storage to be quiet');

/** Everything that the database holds, as text; bytes as Latin-1. */
async function dump(): Promise<string> {
  const { rows: tables } = await application.database.pool.query<{ table_name: string }>(
    `select table_name from information_schema.tables where table_schema = 'public' and table_type = 'BASE TABLE'`,
  );
  const texts = await Promise.all(
    tables.map(async ({ table_name: table }) => {
      const { rows } = await application.database.pool.query<object>(`select * from "${table}"`);
      return rows.map((row) =>
        Object.values(row)
          .map((value) => (Buffer.isBuffer(value) ? value.toString('latin1') : JSON.stringify(value)))
          .join(' '),
      );
    }),
  );
  return texts.flat().join('\n');
}

const storedFiles = () =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => readFileSync(join(entry.parentPath, entry.name), 'latin1'))
    .join('\n');

/** Keeps what an item is, with an answer that is kept, too. */
async function takeSnapshot(dfid: string): Promise<{ id: string }> {
  const response = await application.fetch('/api/snapshots', {
    method: 'POST',
    headers: { 'x-api-key': ownKey, 'content-type': 'application/json', 'idempotency-key': crypto.randomUUID() },
    body: JSON.stringify({
      snapshot_type: 'full',
      resource_type: 'item',
      resource_id: dfid,
      snapshot_name: 'Guardado',
    }),
  });
  return readJson(response);
}

describe('erasing an item for one workspace', () => {
  test('leaves nothing of what the workspace said of it anywhere, and everything that others said', async () => {
    const sisbov = newSisbov();
    const secret = { raca: 'Segredoraca', fazenda: 'Segredofazenda' };
    const dfid = await send({
      identifiers: [sisbov, { identifier_type: 'brinco', value: 'SEGREDOBRINCO' }],
      metadata: secret,
    });
    await ask('POST', '/api/events', { dfid, event_type: 'weighed', payload: { note: 'Segredoevento' } });
    await ask('PUT', `/api/items/${dfid}`, { metadata: { peso: 'Segredopeso' } });
    const receipt = await application.fetch('/api/receipts', {
      method: 'POST',
      headers: { 'x-api-key': ownKey, 'content-type': 'application/x-ndjson', prefer: 'wait=20' },
      body: [
        { identifiers: [newSisbov()], metadata: { lugar: 'Fica' } },
        {
          identifiers: [sisbov],
          metadata: { lugar: 'Segredolugar' },
          events: [{ event_type: 'moved', payload: { to: 'Segredodestino' } }],
        },
      ]
        .map((record) => JSON.stringify(record))
        .join('\n'),
    });
    expect(receipt.status).toBe(200);
    const before = await takeSnapshot(dfid);
    await ask('PUT', `/api/items/${dfid}`, { metadata: { raca: 'Segredodepois' } });
    const after = await takeSnapshot(dfid);
    await ask('POST', `/api/snapshots/${before.id}/compare`, { snapshot_b_id: after.id, comparison_type: 'forward' });
    await ask('POST', `/api/snapshots/${before.id}/restore`, { restoration_type: 'full' });
    await send({ identifiers: [sisbov], metadata: { sif: 'Doutro' } }, otherKey);
    await whenQuiet();
    expect(await dump()).toContain('Segredodestino');
    expect(storedFiles()).toContain('Segredoraca');

    const { isGood, text } = await eraseFor(database, { workspace: 'fazenda', item: dfid });
    await whenQuiet();

    expect({ isGood, text }).toEqual({ isGood: true, text: expect.stringContaining('The log still verifies') });
    expect((await dump()).toLowerCase()).not.toContain('segredo');
    expect(storedFiles().toLowerCase()).not.toContain('segredo');
    expect(await dump()).toContain('Fica');
    const others = await ask<{ item: { metadata: object } }>('GET', `/api/items/${dfid}`, undefined, otherKey);
    expect(others.item.metadata).toEqual({ sif: 'Doutro' });
    for (const path of [`/api/items/${dfid}`, `/api/items/${dfid}/proof`, `/api/items/${dfid}/storage-history`]) {
      const response = await application.fetch(path, { headers: { 'x-api-key': ownKey } });
      expect(await response.text()).not.toMatch(/segredo/i);
    }
    expect(await findBrokenRules(database)).toEqual([]);
  });

  test('lets nobody find it by what only this workspace had named', async () => {
    const sisbov = newSisbov();
    const digits = sisbov.value.slice(2);
    const [dfid, survivor] = [await send({ identifiers: [sisbov] }), await send({ identifiers: [newSisbov()] })];
    await ask('POST', `/api/items/${survivor}/merge`, { secondary_dfid: dfid, strategy: 'append' });
    await whenQuiet();

    const { isGood } = await eraseFor(database, { workspace: 'fazenda', item: dfid });
    await whenQuiet();

    expect(isGood).toBe(true);
    expect((await dump()).split('\n').filter((line) => line.includes(digits))).toEqual([]);
    expect(await send({ identifiers: [sisbov] })).not.toBe(dfid);
    expect(await findBrokenRules(database)).toEqual([]);
  });

  test('is refused while records of it wait for a decision, and for what is not there', async () => {
    const [one, other] = [newSisbov(), newSisbov()];
    const dfid = await send({ identifiers: [one] });
    await send({ identifiers: [other] });
    const conflicting = await application.fetch('/api/items', {
      method: 'POST',
      headers: { 'x-api-key': ownKey, 'content-type': 'application/json' },
      body: JSON.stringify({ value_chain: 'BEEF', country: 'BR', year: 2025, identifiers: [one, other] }),
    });
    expect(conflicting.status).toBe(409);

    await expect(eraseFor(database, { workspace: 'fazenda', item: dfid })).rejects.toThrow('open conflicts');
    await expect(eraseFor(database, { workspace: 'fazenda', item: 'DFID-BEEF-BR-2025-999999-000000' })).rejects.toThrow(
      'no item',
    );
    await expect(eraseFor(database, { workspace: 'nobody', item: dfid })).rejects.toThrow('no workspace');
    await expect(eraseFor(database, { workspace: 'fazenda' })).rejects.toThrow('either an item or a person');
  });
});

describe('erasing a person for one workspace', () => {
  test('takes the number, and every field and payload that holds it, away, and leaves the animals', async () => {
    const sisbov = newSisbov();
    const cpf = { identifier_type: 'cpf', value: '529.982.247-25' };
    const dfid = await send({
      identifiers: [sisbov, cpf],
      metadata: { dono: 'Dono 529 982 247 25', raca: 'Nelore' },
      events: [
        { event_type: 'sold', payload: { to: '52998224725' } },
        { event_type: 'weighed', payload: { kg: 410 } },
      ],
    });
    const others = await send({ identifiers: [newSisbov(), cpf] }, otherKey);
    await takeSnapshot(dfid);
    await whenQuiet();

    const { text } = await eraseFor(database, { workspace: 'fazenda', person: '52998224725' });
    await whenQuiet();

    expect(text).toContain('The log still verifies');
    const { rows } = await application.database.pool.query<{ workspace_id: string }>(
      `select workspace_id from workspaces where slug = 'fazenda'`,
    );
    const ofOwn = (await dump()).split('\n').filter((line) => line.includes(rows[0]!.workspace_id));
    expect(ofOwn.filter((line) => /529\D{0,3}982\D{0,3}247\D{0,3}25/.test(line))).toEqual([]);
    const own = await ask<{
      item: { metadata: object };
      identifiers: { identifier_type: string }[];
      events: { event_type: string }[];
    }>('GET', `/api/items/${dfid}`);
    expect(own.item.metadata).toEqual({ raca: 'Nelore' });
    expect(own.identifiers.map((identifier) => identifier.identifier_type)).toEqual(['sisbov']);
    expect(own.events.map((event) => event.event_type)).toContain('weighed');
    const found = await ask<{ items: { dfid: string }[] }>(
      'GET',
      '/api/items?identifier_type=cpf&value=52998224725',
      undefined,
      otherKey,
    );
    expect(found.items.map((item) => item.dfid)).toEqual([others]);
    expect(await findBrokenRules(database)).toEqual([]);
  });

  test.each(['529.982.247-24', 'João', '', 'BR105000000001'])(
    'is refused for %j, which is no number of one',
    async (person) => {
      await expect(eraseFor(database, { workspace: 'fazenda', person })).rejects.toThrow('no number of a person');
    },
  );
});

test('every table is erased or holds nothing of what workspaces say of items', async () => {
  // Accounts, settings and keys; what everybody shares; places, times, counts and hashes.
  const holdsNothing = `
    api_keys users workspaces quality_rules storage_settings storage_state
    canonical_identifiers fingerprint_rules identifier_types items
    case_retries conflict_entries conflict_participants contested_items event_feed receipt_chunks receipts work_attempts
    local_item_decisions maintenance_tasks snapshot_retention_policies suggestion_states storage_request_limits storage_batches storage_history
    webhook_workspaces webhook_feed webhook_lane webhook_endpoints webhook_endpoint_state webhook_deliveries webhook_queue
    item_tree_pages item_tree_state item_timeline timeline_progress timeline_gaps contract_calls contract_call_progress log_anchor_attempts log_anchors log_checkpoints log_keys log_state log_tiles log_witnesses knex_migrations knex_migrations_lock`
    .trim()
    .split(/\s+/);
  const { rows } = await application.database.pool.query<{ table_name: string }>(
    `select table_name from information_schema.tables where table_schema = 'public' and table_type = 'BASE TABLE'`,
  );
  expect(rows.map((row) => row.table_name).toSorted()).toEqual([...erasedTables, ...holdsNothing].toSorted());
});
