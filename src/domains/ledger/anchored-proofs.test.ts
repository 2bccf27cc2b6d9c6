import { afterAll, beforeAll, expect, test } from 'vitest';
import { readJson, type TestApplication } from '../../testing/application.ts';
import { startAnchoredApplication, type AnchoredApplication } from '../../testing/anchored-application.ts';
import type { StellarNetwork } from '../../testing/stellar-network.ts';
import type { ProofBundle } from './ledger.schema.ts';
import { readVerifierKey } from './signed-note.ts';
import { makeStellarRpc } from './stellar-rpc.ts';
import { verifyBundle } from './verify-bundle.ts';

let anchored: AnchoredApplication;
let network: StellarNetwork;
let application: TestApplication;

beforeAll(async () => {
  anchored = await startAnchoredApplication();
  ({ application, network } = anchored);
});
afterAll(async () => {
  await anchored.close();
});

async function ask<Body>(path: string, body?: object): Promise<Body> {
  return readJson<Body>(
    await application.fetch(path, {
      method: body ? 'POST' : 'GET',
      headers: body ? { 'content-type': 'application/json' } : {},
      ...(body ? { body: JSON.stringify(body) } : {}),
    }),
  );
}

test('what is told of an item is anchored by the workers, and its proof holds by key, account and ledger', async () => {
  const identifiers = [{ identifier_type: 'sisbov', value: 'BR105000000001' }];
  const { item } = await ask<{ item: { id: string; dfid: string } }>('/api/items', {
    value_chain: 'BEEF',
    country: 'BR',
    year: 2025,
    identifiers,
  });

  const readProof = () => ask<ProofBundle>(`/api/items/${item.dfid}/proof`);
  await expect.poll(async () => (await readProof()).anchor ?? null, { timeout: 20_000 }).not.toBeNull();
  const bundle = await readProof();

  const key = readVerifierKey((await (await application.fetch('/log/key')).text()).trim())!;
  const { authenticated, steps } = await verifyBundle(JSON.stringify(bundle), {
    keys: [key],
    accounts: [anchored.account],
    ledger: { name: 'the double', ...makeStellarRpc({ urls: [network.url], timeoutMs: 1000 }) },
  });
  expect({ authenticated, steps: steps.filter(({ result }) => result !== 'holds') }).toEqual({
    authenticated: true,
    steps: [],
  });
  const { anchors } = await ask<{ anchors: { checkpoint: string; hash: string }[] }>('/log/anchors');
  expect(anchors.at(-1)).toMatchObject({ checkpoint: bundle.checkpoint, hash: bundle.anchor!.hash });
  const { blockchain_anchors: listed, storage_refs: places } = await ask<{
    blockchain_anchors: object[];
    storage_refs: object[];
  }>(`/api/adapter/items/${item.id}/anchors`);
  expect(listed).toEqual([
    {
      chain_type: 'stellar',
      transaction_hash: bundle.anchor!.hash,
      ledger_number: bundle.anchor!.ledger,
      confirmations: null,
      status: 'confirmed',
    },
  ]);
  expect(places).toEqual([]);
  const statistics = await ask<{ adapters: { stellar: object }; costs: object }>('/api/admin/adapter/stats');
  expect(statistics.adapters.stellar).toMatchObject({ failed: 0, success_rate: 1 });
  expect(statistics.costs).toMatchObject({ stellar_xlm: network.applied.length * 0.00001 });
  const { state } = await ask<{ state: string }>('/api/log');
  expect(state).toContain('no proof in public');
  expect(state).not.toContain('at the moment');
});
