import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { canonicalJson } from '#platform/json/canonical.ts';
import { readJson, startApplication, type TestApplication } from '../../../testing/application.ts';
import { treeHash } from '../../../testing/tree-hash.ts';
import { leafHash } from '../log-tree.ts';

interface Tree {
  id: string;
  root_hash: string;
  leaf_count: number;
  height: number;
}

interface Proof {
  leaf_hash: string;
  proof_path: string[];
  proof_positions: number[];
  root_hash: string;
  is_valid: boolean;
}

let application: TestApplication;
let otherKey: string;
beforeAll(async () => {
  application = await startApplication({ backend: 'postgres', hasWorker: false });
  otherKey = await application.createKey({ scope: 'write', workspace: 'Other' });
});
afterAll(() => application.close());

async function ask<Body>(method: string, path: string, body?: unknown, key = application.apiKey) {
  const response = await application.fetch(path, {
    method,
    headers: { 'x-api-key': key, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  return { status: response.status, body: (text === '' ? undefined : JSON.parse(text)) as Body };
}

const leaf = (at: number) => ({ event: at, kg: 400.5, name: 'São João' });
const create = async (count: number, more: object = {}) =>
  (
    await ask<Tree>('POST', '/api/merkle-trees', {
      tree_type: 'event_batch',
      resource_type: 'event',
      leaf_data: Array.from({ length: count }, (_, at) => leaf(at)),
      ...more,
    })
  ).body;

describe('a tree over data of a workspace', () => {
  test.each([1, 2, 3, 7, 8, 100])('has the root of RFC 9162 over %i leaves, and proves each of them', async (count) => {
    const tree = await create(count);
    const leaves = Array.from({ length: count }, (_, at) => leafHash(Buffer.from(canonicalJson(leaf(at)))));
    expect(tree).toMatchObject({
      root_hash: treeHash(leaves).toString('hex'),
      leaf_count: count,
      height: Math.ceil(Math.log2(count)),
      hash_algorithm: 'SHA256-RFC6962',
    });

    for (const at of new Set([0, Math.floor(count / 2), count - 1])) {
      const { status, body: proof } = await ask<Proof>('POST', `/api/merkle-trees/${tree.id}/generate-proof`, {
        leaf_data: leaf(at),
      });
      expect([status, proof.is_valid, proof.root_hash]).toEqual([201, true, tree.root_hash]);
      const { leaf_hash, proof_path, proof_positions } = proof;
      const claim = { leaf_hash, proof_path, proof_positions, expected_root: tree.root_hash };
      const checked = await ask('POST', `/api/merkle-trees/${tree.id}/verify-proof`, claim);
      expect(checked).toEqual({
        status: 200,
        body: { is_valid: true, computed_root: tree.root_hash, expected_root: tree.root_hash },
      });
    }
  });

  test('takes no path for a proof that is none, nor another root than its own', async () => {
    const tree = await create(7);
    const { body: proof } = await ask<Proof>('POST', `/api/merkle-trees/${tree.id}/generate-proof`, {
      leaf_data: leaf(3),
    });
    const { leaf_hash, proof_path, proof_positions } = proof;
    const good = { leaf_hash, proof_path, proof_positions, expected_root: tree.root_hash };
    const other = '00'.repeat(32);
    const claims = [
      { ...good, leaf_hash: other },
      { ...good, proof_path: proof_path.with(1, other) },
      { ...good, proof_positions: proof_positions.map((position) => 1 - position) },
      { ...good, expected_root: other },
      { leaf_hash: other, proof_path: [], proof_positions: [], expected_root: other },
    ];
    for (const claim of claims) {
      const { status, body } = await ask<{ is_valid: boolean }>(
        'POST',
        `/api/merkle-trees/${tree.id}/verify-proof`,
        claim,
      );
      expect([status, body.is_valid]).toEqual([200, false]);
    }
    const { body: history } = await ask<{ verifications: { is_valid: boolean }[]; count: number }>(
      'GET',
      `/api/merkle-trees/${tree.id}/verifications?limit=3`,
    );
    expect([history.count, history.verifications.map((each) => each.is_valid)]).toEqual([3, [false, false, false]]);
  });

  test('is computed again, and found wrong when its leaves were changed', async () => {
    const tree = await create(5);
    expect((await ask('POST', `/api/merkle-trees/${tree.id}/verify`)).body).toMatchObject({ is_valid: true });
    await application.database.pool.query(
      'update merkle_trees set leaves = overlay(leaves placing $2 from 33) where tree_id = $1',
      [tree.id, Buffer.alloc(32)],
    );
    expect((await ask('POST', `/api/merkle-trees/${tree.id}/verify`)).body).toMatchObject({ is_valid: false });
  });

  test('is listed by what it is about, and by its workspace alone', async () => {
    const about = {
      resource_id: '018f0000-0000-7000-8000-0000000000aa',
      tree_type: 'audit_BATCH',
      resource_type: 'AUDIT',
    };
    const tree = await create(2, { ...about, metadata: { note: 'x' } });
    const list = (query: string, key?: string) =>
      ask<{ trees: Tree[]; count: number }>('GET', `/api/merkle-trees?${query}`, undefined, key);

    expect((await list(`resource_id=${about.resource_id}&tree_type=Audit_batch`)).body).toMatchObject({
      trees: [{ id: tree.id, tree_type: 'Audit_batch', resource_type: 'Audit', metadata: { note: 'x' } }],
      count: 1,
    });
    expect((await list(`resource_id=${about.resource_id}&tree_type=snapshot`)).body.count).toBe(0);
    expect((await list(`resource_id=${about.resource_id}`, otherKey)).body.count).toBe(0);
    for (const [method, path] of [
      ['GET', ''],
      ['DELETE', ''],
      ['GET', '/verifications'],
      ['POST', '/verify'],
    ] as const)
      expect((await ask(method, `/api/merkle-trees/${tree.id}${path}`, undefined, otherKey)).status).toBe(404);
  });

  test('is gone when it was deleted', async () => {
    const tree = await create(2);
    await ask('POST', `/api/merkle-trees/${tree.id}/verify`);
    expect((await ask('DELETE', `/api/merkle-trees/${tree.id}`)).status).toBe(204);
    expect((await ask('GET', `/api/merkle-trees/${tree.id}`)).status).toBe(404);
    expect((await ask('DELETE', `/api/merkle-trees/${tree.id}`)).status).toBe(404);
    const { rows } = await application.database.pool.query('select from merkle_verifications where tree_id = $1', [
      tree.id,
    ]);
    expect(rows).toEqual([]);
  });

  test('has no proof of data that is no leaf', async () => {
    const tree = await create(3);
    expect(
      (await ask('POST', `/api/merkle-trees/${tree.id}/generate-proof`, { leaf_data: { event: 99 } })).status,
    ).toBe(404);
  });

  test.each([
    [{ leaf_data: [] }],
    [{ tree_type: 'forest' }],
    [{ resource_type: 'tree' }],
    [{ resource_id: 'x' }],
    [{ more: 1 }],
  ])('is not made of %j', async (more) => {
    const body = { tree_type: 'snapshot', resource_type: 'snapshot', leaf_data: [1], ...more };
    expect((await ask('POST', '/api/merkle-trees', body)).status).toBe(422);
  });
});

test('a tree that is sent twice with one Idempotency-Key is made once', async () => {
  const send = async () => {
    const response = await application.fetch('/api/merkle-trees', {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'idempotency-key': 'tree-1' },
      body: JSON.stringify({ tree_type: 'snapshot', resource_type: 'snapshot', leaf_data: [1] }),
    });
    return readJson<Tree>(response);
  };
  expect(await send()).toEqual(await send());
});
