import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readJson, startApplication, type TestApplication } from '../../testing/application.ts';
import { addressOf, isContentOf, parseAddress, readCar } from './content-address.ts';

interface StoredContent {
  cid: string;
  version: number;
  content: string;
  adapter: string;
  state: string;
  root: string;
  path: string;
  size_bytes: number;
  is_primary: boolean;
}

let application: TestApplication;
let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'defarm-storage-'));
  application = await startApplication({
    backend: 'postgres',
    environment: {
      STORAGE_ADAPTER: 'local',
      STORAGE_FOLDER: folder,
      STORAGE_BATCH_MAX_AGE_MS: '0',
      ENCRYPTION_KEY: Buffer.alloc(32, 7).toString('base64'),
      SWEEP_INTERVAL_MS: '100',
    },
  });
});
afterAll(async () => {
  await application.close();
  rmSync(folder, { recursive: true });
});

let nextNumber = 910_000_000_000;
const newSisbov = () => ({ identifier_type: 'sisbov', value: `BR${nextNumber++}` });

async function ask<Body>(method: string, path: string, key: string, body?: object) {
  const response = await application.fetch(path, {
    method,
    headers: { 'x-api-key': key, ...(body ? { 'content-type': 'application/json' } : {}) },
    ...(body ? { body: JSON.stringify(body) } : {}),
  });
  return { status: response.status, body: await readJson<Body>(response) };
}

/** A workspace with these settings, by its key. */
async function workspaceWith(settings: object): Promise<string> {
  const key = await application.createKey({ scope: 'admin', workspace: `Workspace ${nextNumber++}` });
  const { status } = await ask('PUT', '/api/storage/settings', key, { enabled: true, ...settings });
  expect(status).toBe(200);
  return key;
}

async function send(key: string, record: object): Promise<string> {
  const { body } = await ask<{ item: { dfid: string } }>('POST', '/api/items', key, {
    value_chain: 'BEEF',
    country: 'BR',
    year: 2025,
    ...record,
  });
  return body.item.dfid;
}

async function whenStored(key: string, dfid: string, count = 1): Promise<StoredContent[]> {
  const read = async () =>
    (await ask<{ storage_history: StoredContent[] }>('GET', `/api/items/${dfid}/storage-history`, key)).body
      .storage_history;
  await expect
    .poll(async () => (await read()).filter(({ state }) => state === 'stored').length, {
      timeout: 15_000,
      interval: 20,
    })
    .toBe(count);
  return read();
}

const gateway = async (path: string, headers: Record<string, string> = {}) => {
  const response = await fetch(`${application.url}/ipfs/${path}`, { headers });
  return { status: response.status, headers: response.headers, bytes: Buffer.from(await response.arrayBuffer()) };
};

describe('what a workspace stores', () => {
  test('is nothing before it is switched on', async () => {
    const key = await application.createKey({ scope: 'admin', workspace: 'Silent' });
    const dfid = await send(key, { identifiers: [newSisbov()], metadata: { raca: 'Nelore' } });
    await expect
      .poll(async () => (await application.database.pool.query('select from event_feed')).rowCount, { timeout: 10_000 })
      .toBe(0);

    const { body } = await ask('GET', `/api/items/${dfid}/storage-history`, key);

    expect(body).toMatchObject({
      dfid,
      storage_history: [],
      state: 'Nothing of the items of this workspace is stored outside of the database.',
    });
    const { rows } = await application.database.pool.query('select from storage_contents');
    expect(rows).toEqual([]);
  });

  test('is what it declared public and nothing else, under the address of its bytes', async () => {
    const sisbov = newSisbov();
    const key = await workspaceWith({ public_fields: ['raca', 'dono'], public_identifier_types: ['SISBOV'] });
    const dfid = await send(key, {
      identifiers: [
        sisbov,
        { identifier_type: 'brinco', value: '77' },
        { identifier_type: 'cpf', value: '529.982.247-25' },
      ],
      metadata: { raca: 'Nelore', peso: 450, dono: 'João 52998224725' },
    });

    const [stored] = await whenStored(key, dfid);

    const { bytes, headers } = await gateway(stored!.cid);
    expect(JSON.parse(bytes.toString())).toEqual({
      dfid,
      identifiers: [{ identifier_type: 'sisbov', value: `105${sisbov.value.slice(2)}` }],
      metadata: { raca: 'Nelore' },
      version: 1,
    });
    expect(stored).toMatchObject({ adapter: 'local', content: 'public', size_bytes: bytes.length, version: 1 });
    expect((await addressOf(bytes)).toString()).toBe(stored!.cid);
    expect(headers.get('content-type')).toContain('application/json');
  });

  test('is one directory of all contents that came together, and each version stays', async () => {
    const key = await workspaceWith({ public_fields: ['peso'] });
    const sisbov = newSisbov();
    const dfid = await send(key, { identifiers: [sisbov], metadata: { peso: 1 } });
    await whenStored(key, dfid);
    await send(key, { identifiers: [sisbov], metadata: { peso: 2 } });

    const history = await whenStored(key, dfid, 2);

    expect(history.map(({ version }) => version)).toEqual([2, 1]);
    for (const { path, cid, root } of history) {
      const byPath = await gateway(path);
      expect(byPath.bytes).toEqual((await gateway(cid)).bytes);
      const car = await readCar((await gateway(`${root}?format=car`)).bytes);
      expect(car.root.toString()).toBe(root);
      for (const block of car.blocks) expect(isContentOf(block.cid, block.bytes)).toBe(true);
      expect(car.blocks.map((block) => block.cid.toString())).toContain(cid);
    }
  });

  test('is all the rest as well where it wants that, encrypted so that nobody else reads it', async () => {
    const key = await workspaceWith({ encrypted_content: true });
    const dfid = await send(key, { identifiers: [newSisbov()], metadata: { fazenda: 'Fazenda Segredo' } });

    const history = await whenStored(key, dfid, 2);

    const encrypted = history.find(({ content }) => content === 'encrypted')!;
    const { bytes } = await gateway(encrypted.cid);
    expect(bytes.toString()).toMatch(/^[\w-]+\.\.[\w-]+\.[\w-]+\.[\w-]+$/);
    expect(bytes.toString()).not.toContain('Segredo');
    const { rows } = await application.database.pool.query<{ sealed_key: Buffer }>(
      `select sealed_key from storage_contents where cid = $1`,
      [encrypted.cid],
    );
    expect(rows[0]!.sealed_key).toHaveLength(12 + 32 + 16);
  });

  test('has its addresses in the log', async () => {
    const key = await workspaceWith({ encrypted_content: true });
    const dfid = await send(key, { identifiers: [newSisbov()] });
    const history = await whenStored(key, dfid, 2);

    const { body } = await ask<{ fields: Record<string, { value: unknown }> }>('GET', `/api/items/${dfid}/proof`, key);

    const cidOf = (content: string) => history.find((each) => each.content === content)!.cid;
    expect(body.fields['cid']!.value).toBe(cidOf('public'));
    expect(body.fields['encrypted_cid']!.value).toBe(cidOf('encrypted'));
  });

  test('is shown to nobody else', async () => {
    const key = await workspaceWith({});
    const dfid = await send(key, { identifiers: [newSisbov()] });
    await whenStored(key, dfid);
    const other = await workspaceWith({});

    expect((await ask('GET', `/api/items/${dfid}/storage-history`, other)).status).toBe(404);
    expect(
      (await ask('POST', `/api/storage-history/${dfid}/migrate`, other, { target_adapter_type: 'local' })).status,
    ).toBe(404);
  });

  test.each([
    [{ public_identifier_types: ['cpf'] }, '/public_identifier_types/0'],
    [{ public_identifier_types: ['sisbov', 'CNPJ'] }, '/public_identifier_types/1'],
    [{ public_identifier_types: ['nonsense'] }, '/public_identifier_types/0'],
    [{ adapter: 'pinata' }, '/adapter'],
    [{ public_fields: [''] }, '/public_fields/0'],
    [{ more: 1 }, ''],
  ])('cannot be set to %j', async (settings, pointer) => {
    const key = await application.createKey({ scope: 'admin', workspace: 'Settings' });
    const { status, body } = await ask<{ errors: { pointer: string }[] }>('PUT', '/api/storage/settings', key, {
      enabled: true,
      ...settings,
    });
    expect([status, body.errors.map((error) => error.pointer)]).toEqual([422, [pointer]]);
  });
});

describe('the gateway', () => {
  test('gives blocks and CARs as a trustless gateway does', async () => {
    const key = await workspaceWith({ public_fields: ['peso'] });
    const dfid = await send(key, { identifiers: [newSisbov()], metadata: { peso: 1 } });
    const [stored] = await whenStored(key, dfid);
    const { cid, root } = stored!;

    const raw = await gateway(cid, { accept: 'application/vnd.ipld.raw' });
    const car = await gateway(cid, { accept: 'application/vnd.ipld.car' });
    const directory = await gateway(`${root}?format=raw`);

    expect([raw.status, raw.headers.get('content-type')]).toEqual([200, 'application/vnd.ipld.raw']);
    expect(raw.headers.get('etag')).toBe(`"${cid}.raw"`);
    expect(raw.headers.get('cache-control')).toContain('immutable');
    expect((await readCar(car.bytes)).blocks).toHaveLength(1);
    expect(isContentOf(parseAddress(root)!, directory.bytes)).toBe(true);
  });

  test('puts content of several blocks together again', async () => {
    const key = await workspaceWith({ public_fields: ['laudo', 'mapa'] });
    const sisbov = newSisbov();
    const [laudo, mapa] = ['l'.repeat(700_000), 'm'.repeat(700_000)];
    const dfid = await send(key, { identifiers: [sisbov], metadata: { laudo } });
    await whenStored(key, dfid);
    await send(key, { identifiers: [sisbov], metadata: { mapa } });
    const stored = (await whenStored(key, dfid, 2)).find(({ version }) => version === 2)!;

    const file = await gateway(stored.cid);
    const inDirectory = await gateway(stored.path);
    const car = await readCar((await gateway(`${stored.cid}?format=car`)).bytes);

    expect(file.bytes.length).toBeGreaterThan(1_400_000);
    expect(JSON.parse(file.bytes.toString())).toMatchObject({ dfid, version: 2, metadata: { laudo, mapa } });
    expect((await addressOf(file.bytes)).toString()).toBe(stored.cid);
    expect(inDirectory.bytes.equals(file.bytes)).toBe(true);
    expect(car.blocks).toHaveLength(3);
    expect(car.blocks.every(({ cid, bytes }) => isContentOf(cid, bytes))).toBe(true);
  });

  test('gives nothing that is not stored, and says so whatever is asked for', async () => {
    const unknown = (await addressOf(Buffer.from('{}'))).toString();
    const paths = [
      unknown,
      `${unknown}/a.json`,
      'nonsense',
      '%00',
      `${unknown}?format=car`,
      'Qm',
      '..%2f..%2fid',
      'a'.repeat(3000),
    ];
    const answers = await Promise.all(paths.map(async (path) => (await gateway(path)).status));
    expect(answers).toEqual(paths.map(() => 404));
  });

  test('answers a crowd in turn, and tells the rest to come again', async () => {
    const key = await workspaceWith({ public_fields: ['peso'] });
    const dfid = await send(key, { identifiers: [newSisbov()], metadata: { peso: 3 } });
    const [stored] = await whenStored(key, dfid);

    const crowd = await Promise.all(Array.from({ length: 300 }, () => gateway(stored!.path)));

    expect(new Set(crowd.map(({ status }) => status)).isSubsetOf(new Set([200, 503]))).toBe(true);
    expect(crowd.filter(({ status }) => status === 200).length).toBeGreaterThanOrEqual(2);
    expect((await gateway(stored!.path)).status).toBe(200);
  });

  test('gives nothing whose bytes were changed on the disk; the check stores it again', async () => {
    const key = await workspaceWith({ public_fields: ['peso'] });
    const dfid = await send(key, { identifiers: [newSisbov()], metadata: { peso: 9 } });
    const [stored] = await whenStored(key, dfid);
    const cid = parseAddress(stored!.cid)!;
    const name = Buffer.from(cid.multihash.bytes).toString('hex');
    const file = join(folder, 'blocks', name.slice(-2), name);
    const before = readFileSync(file);
    writeFileSync(file, before.toString().replace('9', '8'));

    expect((await gateway(stored!.cid)).bytes).toEqual(before);
    await application.database.pool.query(`update storage_batches set check_due_at = now() where root = $1`, [
      stored!.root,
    ]);
    await expect.poll(() => readFileSync(file), { timeout: 10_000, interval: 20 }).toEqual(before);
    await whenStored(key, dfid);
  });
});

test('an adapter that is not set up stops nothing, and everybody is told what is missing', async () => {
  const other = await startApplication({
    backend: 'postgres',
    environment: { STORAGE_ADAPTER: 'pinata', SWEEP_INTERVAL_MS: '100' },
  });
  const call = async (method: string, path: string, body?: object) => {
    const headers = body ? { 'content-type': 'application/json' } : {};
    const response = await other.fetch(path, { method, headers, ...(body ? { body: JSON.stringify(body) } : {}) });
    return readJson<Record<string, unknown>>(response);
  };
  await call('PUT', '/api/storage/settings', { enabled: true });
  const identifiers = [newSisbov()];
  const { item } = await call('POST', '/api/items', { value_chain: 'BEEF', country: 'BR', year: 2025, identifiers });
  const history = () => call('GET', `/api/items/${(item as { dfid: string }).dfid}/storage-history`);

  await expect.poll(history, { timeout: 10_000, interval: 50 }).toMatchObject({
    storage_history: [{ adapter: 'pinata', state: 'queued' }],
    state: 'Nothing is stored at the moment: the adapter pinata needs PINATA_JWT, which is not set. Contents wait.',
  });
  expect((await fetch(`${other.url}/health/ready`)).status).toBe(200);
  await other.close();
});

test('local storage is refused in a second folder', async () => {
  const second = mkdtempSync(join(tmpdir(), 'defarm-storage-'));
  const { claimLocalFolder } = await import('./adapters/local-folder.ts');
  await claimLocalFolder(application.database.pool, folder);

  await expect(claimLocalFolder(application.database.pool, second)).rejects.toThrow('for one machine');

  expect(readdirSync(second)).toEqual(['id']);
  rmSync(second, { recursive: true });
});
