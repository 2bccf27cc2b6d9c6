import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readJson, startApplication, type TestApplication } from '../../../testing/application.ts';
import { treeHash } from '../../../testing/tree-hash.ts';
import type { ProofBundle } from '../ledger.schema.ts';
import { leafHash, nodeHash } from '../log-tree.ts';
import { makeSigningKey } from '../signed-note.ts';

interface Root {
  dfid: string;
  merkle_root: string;
  event_count: number;
  trees: { dfid: string; merkle_root: string; event_count: number }[];
}
interface Path {
  event_id: string;
  proof: { leaf_hash: string; siblings: { hash: string; position: 'Left' | 'Right' }[]; root: string };
}
interface Sync {
  in_sync: boolean;
  differing_items: { dfid: string; state: string; local_event_count: number }[];
  local_only: string[];
  remote_only: string[];
}

let application: TestApplication;
let ownKey: string;
let strangersKey: string;
beforeAll(async () => {
  application = await startApplication({
    backend: 'postgres',
    environment: { LOG_SIGNING_KEY: makeSigningKey('example.com/log'), SWEEP_INTERVAL_MS: '100' },
  });
  ownKey = await application.createKey({ scope: 'write', workspace: 'Producer' });
  strangersKey = await application.createKey({ scope: 'write', workspace: 'Stranger' });
});
afterAll(() => application.close());

async function ask<Body>(path: string, body?: object, key = ownKey): Promise<{ status: number; body: Body }> {
  const response = await application.fetch(path, {
    method: body ? 'POST' : 'GET',
    headers: { 'x-api-key': key, ...(body ? { 'content-type': 'application/json' } : {}) },
    ...(body ? { body: JSON.stringify(body) } : {}),
  });
  return { status: response.status, body: await readJson<Body>(response) };
}

let nextNumber = 710_000_000_000;
const newSisbov = () => ({ identifier_type: 'sisbov', value: `BR${nextNumber++}` });
const newChip = () => ({ identifier_type: 'chip', value: `982${nextNumber++}` });
let nextWeight = 100;
const weighings = (count: number) =>
  Array.from({ length: count }, () => ({ event_type: 'weighed', payload: { kg: nextWeight++ } }));

async function send(record: object, key = ownKey): Promise<string> {
  const nature = { value_chain: 'BEEF', country: 'BR', year: 2025 };
  const { body } = await ask<{ item: { dfid: string } }>('/api/items', { ...nature, ...record }, key);
  await expect
    .poll(
      async () =>
        (
          await application.database.pool.query<{ is_done: boolean }>(
            `select not exists (select from event_feed)
               and (select size from log_state) = (select size from item_tree_state)
               and exists (select from log_checkpoints join log_state using (size)) as is_done`,
          )
        ).rows[0]!.is_done,
      { timeout: 20_000, interval: 20 },
    )
    .toBe(true);
  return body.item.dfid;
}

/** The leaves of an item from the proofs of its events, in the order of the log: what somebody outside has. */
async function leavesOf(dfid: string, key = ownKey): Promise<Buffer[]> {
  const proofs: ProofBundle[] = [];
  for (let cursor = ''; ;) {
    const { body } = await ask<{ proofs: ProofBundle[]; next_cursor: string | null }>(
      `/api/proofs/${dfid}?limit=100${cursor}`,
      undefined,
      key,
    );
    proofs.push(...body.proofs);
    if (body.next_cursor === null) break;
    cursor = `&cursor=${body.next_cursor}`;
  }
  return proofs.toSorted((a, b) => a.index - b.index).map(({ entry }) => leafHash(Buffer.from(entry, 'base64')));
}

const rootOf = async (dfid: string, key = ownKey) =>
  (await ask<Root>(`/api/merkle/items/${dfid}`, undefined, key)).body;
const eventsOf = async (dfid: string) =>
  (await ask<{ events: { id: string }[] }>(`/api/events?dfid=${dfid}&limit=1000`)).body.events;

function follow({ proof }: Path): string {
  let node: Buffer = Buffer.from(proof.leaf_hash, 'hex');
  for (const { hash, position } of proof.siblings) {
    const sibling = Buffer.from(hash, 'hex');
    node = position === 'Left' ? nodeHash(sibling, node) : nodeHash(node, sibling);
  }
  return node.toString('hex');
}

describe('the root of an item', () => {
  test('is over its events alone, as whoever has their proofs computes it, and grows with them', async () => {
    const sisbov = newSisbov();
    const dfid = await send({ identifiers: [sisbov], events: weighings(3) });
    const first = await rootOf(dfid);
    await send({ identifiers: [newSisbov()], events: weighings(1) });
    await send({ identifiers: [sisbov], events: weighings(2) });
    const second = await rootOf(dfid);

    const leaves = await leavesOf(dfid);
    expect(second).toMatchObject({ dfid, merkle_root: treeHash(leaves).toString('hex'), event_count: leaves.length });
    expect(first.merkle_root).toBe(treeHash(leaves.slice(0, first.event_count)).toString('hex'));
    expect(second.event_count).toBeGreaterThan(first.event_count);
  });

  test('is that of the workspace that told the events, and nobody else sees it', async () => {
    const sisbov = newSisbov();
    const dfid = await send({ identifiers: [sisbov], events: weighings(2) });
    const before = await rootOf(dfid);
    const stranger = await ask(`/api/merkle/items/${dfid}`, undefined, strangersKey);
    await send({ identifiers: [sisbov], events: weighings(5) }, strangersKey);

    expect(stranger.status).toBe(404);
    expect(await rootOf(dfid)).toEqual(before);
    expect((await rootOf(dfid, strangersKey)).merkle_root).not.toBe(before.merkle_root);
  });

  test('is over the trees of both when two items become one, and each has its own again when they part', async () => {
    const [a, b] = [await send({ identifiers: [newSisbov()] }), await send({ identifiers: [newChip()] })];
    const rootOfB = await rootOf(b);
    await ask(`/api/items/${a}/merge`, { secondary_dfid: b, strategy: 'append' });
    await send({ identifiers: [newSisbov()] });
    const merged = await rootOf(b);
    await ask(`/api/items/${b}/unmerge`, {});
    await send({ identifiers: [newSisbov()] });
    const parted = await rootOf(b);

    expect(merged.dfid).toBe(a);
    expect(merged.trees.map(({ dfid }) => dfid)).toEqual([a, b]);
    const roots = merged.trees.map((tree) => Buffer.from(tree.merkle_root, 'hex'));
    expect(merged.merkle_root).toBe(treeHash(roots).toString('hex'));
    expect(parted).toMatchObject({ dfid: b, trees: [{ dfid: b }] });
    expect(parted.event_count).toBeGreaterThanOrEqual(rootOfB.event_count);
  });

  test('is in the list of roots', async () => {
    const dfid = await send({ identifiers: [newSisbov()] });

    const listed: Root[] = [];
    for (let cursor = ''; ;) {
      const { body } = await ask<{ items: Root[]; next_cursor: string | null }>(`/api/merkle/items?limit=2${cursor}`);
      listed.push(...body.items);
      if (body.next_cursor === null) break;
      cursor = `&cursor=${body.next_cursor}`;
    }

    expect(listed).toContainEqual(await rootOf(dfid));
    expect(new Set(listed.map((root) => root.dfid)).size).toBeGreaterThan(3);
  });
});

describe('the path of an event', () => {
  test.each([1, 5, 300])('leads from its leaf to the root of an item with %i weighings and more', async (count) => {
    const dfid = await send({ identifiers: [newSisbov()], events: weighings(count) });
    const { merkle_root: root, event_count: total } = await rootOf(dfid);
    const events = await eventsOf(dfid);
    const leaves = new Set((await leavesOf(dfid)).map((leaf) => leaf.toString('hex')));

    for (const { id: eventId } of [events[0]!, events[Math.floor(events.length / 2)]!, events.at(-1)!]) {
      const { body: path } = await ask<Path>(`/api/merkle/items/${dfid}/events/${eventId}`);
      expect(follow(path)).toBe(root);
      expect(leaves.has(path.proof.leaf_hash)).toBe(true);
      const { body: verdict } = await ask('/api/merkle/verify', { proof: path.proof, expected_root: root });
      expect(verdict).toMatchObject({ valid: true });
    }
    expect(total).toBe(leaves.size);
  });

  test('is refused for another event, another root, and with a bit changed', async () => {
    const dfid = await send({ identifiers: [newSisbov()], events: weighings(4) });
    const [event] = await eventsOf(dfid);
    const other = await send({ identifiers: [newSisbov()] });
    const { body: path } = await ask<Path>(`/api/merkle/items/${dfid}/events/${event!.id}`);
    const changed = {
      ...path.proof,
      leaf_hash: path.proof.leaf_hash.replace(/^./, (digit) => (digit === '0' ? '1' : '0')),
    };

    const answers = await Promise.all([
      ask(`/api/merkle/items/${other}/events/${event!.id}`),
      ask(`/api/merkle/items/${dfid}/events/no-event`),
      ask(`/api/merkle/items/${dfid}/events/${event!.id}`, undefined, strangersKey),
    ]);
    const verdicts = await Promise.all([
      ask('/api/merkle/verify', { proof: path.proof, expected_root: (await rootOf(other)).merkle_root }),
      ask('/api/merkle/verify', { proof: changed, expected_root: path.proof.root }),
    ]);

    expect(answers.map(({ status }) => status)).toEqual([404, 404, 404]);
    expect(verdicts.map(({ body }) => (body as { valid: boolean }).valid)).toEqual([false, false]);
  });
});

describe('the comparison of two copies', () => {
  const sync = async (remoteItems: object[], key = ownKey) =>
    (await ask<Sync>('/api/merkle/sync-check', { remote_items: remoteItems }, key)).body;
  const copyOf = ({ dfid, merkle_root, event_count }: Root) => ({ dfid, merkle_root, event_count });

  test('tells what is the same, only behind, different, and on one side only', async () => {
    const sisbov = newSisbov();
    const same = await send({ identifiers: [newSisbov()] });
    const grown = await send({ identifiers: [sisbov] });
    const behind = copyOf(await rootOf(grown));
    const unnamed = await send({ identifiers: [newSisbov()] });
    const differing = await send({ identifiers: [newSisbov()] });
    await send({ identifiers: [sisbov], events: weighings(2) });
    const wrong = { dfid: differing, merkle_root: 'ab'.repeat(32), event_count: 1 };
    const foreign = { dfid: 'DFID-BEEF-BR-2025-999999-000000', merkle_root: 'ab'.repeat(32) };

    const equal = await sync([copyOf(await rootOf(same)), copyOf(await rootOf(grown))]);
    const compared = await sync([copyOf(await rootOf(same)), behind, wrong, foreign]);

    expect(equal).toMatchObject({ in_sync: true, differing_items: [], local_only: [], remote_only: [] });
    expect(compared).toMatchObject({
      in_sync: false,
      differing_items: [
        { dfid: grown, state: 'behind' },
        { dfid: differing, state: 'differs' },
      ],
      local_only: [unnamed],
      remote_only: [foreign.dfid],
    });
  });

  test('tells a stranger nothing of what others have', async () => {
    const dfid = await send({ identifiers: [newSisbov()] });

    expect(await sync([copyOf(await rootOf(dfid))], strangersKey)).toMatchObject({
      in_sync: false,
      remote_only: [dfid],
      local_only: [],
      differing_items: [],
    });
  });
});
