import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startKubo, startPinata, type PinningFault, type PinningService } from '../../../testing/pinning-services.ts';
import { carOf, directoryDag, type Dag } from '../content-address.ts';
import { StorageFault, type StorageAdapter } from './adapter.ts';
import { makeKuboAdapter } from './kubo-adapter.ts';
import { makeLocalAdapter } from './local-adapter.ts';
import { makePinataAdapter } from './pinata-adapter.ts';

const jwt = 'header.payload.signature';
const timeoutMs = 1500;
let folder: string;
let pinata: PinningService;
let kubo: PinningService;
let made = 0;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'defarm-blocks-'));
  pinata = await startPinata(jwt);
  kubo = await startKubo();
});
beforeEach(() => {
  pinata.misbehave = () => undefined;
  kubo.misbehave = () => undefined;
});
afterAll(async () => {
  await pinata.close();
  await kubo.close();
  rmSync(folder, { recursive: true });
});

const openPinata = (options: { key?: string; url?: string; waitMs?: number } = {}) =>
  makePinataAdapter({
    jwt: options.key ?? jwt,
    apiUrl: options.url ?? pinata.url,
    uploadUrl: options.url ?? pinata.url,
    timeoutMs,
    takeRequest: async () => options.waitMs,
  });
const adapters: Record<string, () => StorageAdapter> = {
  local: () => makeLocalAdapter(folder, async () => {}),
  pinata: openPinata,
  kubo: () => makeKuboAdapter({ rpcUrl: kubo.url, timeoutMs }),
};

const newDag = (size = 10): Promise<Dag> => {
  made += 1;
  return directoryDag([
    { name: 'a.json', bytes: Buffer.from(`{"made":${made}}`) },
    { name: 'b.json', bytes: Buffer.alloc(size, made) },
  ]);
};
const store = async (adapter: StorageAdapter, dag: Dag) => adapter.store(dag, await carOf(dag), 'test');
const faultOf = async (work: Promise<unknown>): Promise<StorageFault> => {
  const fault = await work.then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(fault).toBeInstanceOf(StorageFault);
  return fault as StorageFault;
};

describe.each(Object.keys(adapters))('the adapter %s', (name) => {
  test('keeps a DAG, tells its root, and has it until it is removed', async () => {
    const adapter = adapters[name]!();
    const dag = await newDag();
    const root = dag.root.toString();
    expect(await adapter.has(root, null)).toBe(false);

    const stored = await store(adapter, dag);

    expect(stored.root).toBe(root);
    expect(await adapter.has(root, stored.reference)).toBe(true);
    await adapter.remove(
      root,
      stored.reference,
      dag.blocks.map(({ cid }) => cid),
    );
    expect(await adapter.has(root, stored.reference)).toBe(false);
  });

  test('keeps a DAG that it has already, and removes one that it has not, without a fault', async () => {
    const adapter = adapters[name]!();
    const dag = await newDag();
    const first = await store(adapter, dag);
    const again = await store(adapter, dag);
    expect(again.root).toBe(first.root);
    await adapter.remove(first.root, first.reference, []);
    await adapter.remove(first.root, first.reference, []);
  });

  test('keeps files of several blocks', async () => {
    const adapter = adapters[name]!();
    const dag = await newDag(3_000_000);
    const { root, reference } = await store(adapter, dag);
    expect([root, await adapter.has(root, reference)]).toEqual([dag.root.toString(), true]);
  });

  test('keeps several at once', async () => {
    const adapter = adapters[name]!();
    const dags = await Promise.all(Array.from({ length: 8 }, () => newDag()));
    const stored = await Promise.all(dags.map((dag) => store(adapter, dag)));
    expect(stored.map(({ root }) => root)).toEqual(dags.map(({ root }) => root.toString()));
  });
});

const services: Record<string, () => PinningService> = { pinata: () => pinata, kubo: () => kubo };

describe.each(Object.keys(services))('a fault of %s', (name) => {
  test.each<[PinningFault, RegExp, Partial<StorageFault>]>([
    ['lose the request', /cannot be reached/, { isFinal: false }],
    ['lose the answer', /cannot be reached/, { isFinal: false }],
    ['bad gateway', /answered 502/, { isFinal: false }],
    ['too many requests', /\(429\)/, { isFinal: false, retryAfterMs: 7000 }],
    ['refuse the key', /our key/, { isFinal: false, retryAfterMs: 300_000 }],
    ['refuse the upload', /answered 400/, { isFinal: true }],
    ['nonsense', /an answer that is none/, { isFinal: false }],
    ['hang', /did not answer within 1500 ms/, { isFinal: false }],
  ])('to %s is told with whether and when to try again', async (fault, message, expected) => {
    services[name]!().misbehave = () => fault;

    const told = await faultOf(store(adapters[name]!(), await newDag()));

    expect(told.message).toMatch(message);
    expect(told).toMatchObject(expected);
    expect(told.message).not.toContain(jwt);
  });

  test('to lose the answer loses nothing: the DAG is there, and is stored again under the same root', async () => {
    const service = services[name]!();
    const dag = await newDag();
    service.misbehave = () => 'lose the answer';
    await faultOf(store(adapters[name]!(), dag));
    service.misbehave = () => undefined;

    expect((await store(adapters[name]!(), dag)).root).toBe(dag.root.toString());
    expect([...service.pinned.keys()].filter((root) => root === dag.root.toString())).toHaveLength(1);
  });

  test('to tell another root is told as it is', async () => {
    services[name]!().misbehave = () => 'another root';
    const dag = await newDag();
    expect((await store(adapters[name]!(), dag)).root).not.toBe(dag.root.toString());
  });

  test.each<PinningFault>(['hang', 'bad gateway', 'lose the request'])(
    'to %s when it is asked what it has is not taken for having lost it',
    async (fault) => {
      services[name]!().misbehave = () => fault;
      const told = await faultOf(adapters[name]!().has((await newDag()).root.toString(), null));
      expect(told.isFinal).toBe(false);
    },
  );

  test('to be away is told', async () => {
    const away = 'http://127.0.0.1:1';
    const adapter = name === 'pinata' ? openPinata({ url: away }) : makeKuboAdapter({ rpcUrl: away, timeoutMs });
    const told = await faultOf(store(adapter, await newDag()));
    expect([told.isFinal, told.message]).toEqual([false, expect.stringContaining('cannot be reached')]);
  });
});

test('a wrong key of Pinata is told without the key', async () => {
  const told = await faultOf(store(openPinata({ key: 'wrong.key.here' }), await newDag()));
  expect(told.message).toBe('Pinata does not accept our key (401)');
});

test('Pinata is not asked when the requests of the plan are used up', async () => {
  const before = pinata.requests.length;
  const told = await faultOf(store(openPinata({ waitMs: 1234 }), await newDag()));
  expect([told.retryAfterMs, pinata.requests.length]).toEqual([1234, before]);
});

test('local storage notices a block that is missing or was changed', async () => {
  const adapter = makeLocalAdapter(folder, async () => {});
  const dag = await newDag();
  await store(adapter, dag);
  const leaf = dag.blocks.find((block) => !block.cid.equals(dag.root))!;
  await adapter.remove(leaf.cid.toString(), null, []);
  expect(await adapter.has(dag.root.toString(), null)).toBe(false);
  await store(adapter, dag);
  expect(await adapter.has(dag.root.toString(), null)).toBe(true);
});
