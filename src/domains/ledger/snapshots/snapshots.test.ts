import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { blake3Hex } from '#platform/blake3.ts';
import { canonicalJson } from '#platform/json/canonical.ts';
import { startApplication, type ProblemDocument, type TestApplication } from '../../../testing/application.ts';

interface Snapshot {
  id: string;
  resource_id: string | null;
  snapshot_type: string;
  snapshot_data: { dfid: string; version: number; metadata: object; events: object[] };
  checksum: string;
  is_archived: boolean;
}
interface Item {
  id: string;
  dfid: string;
  version: number;
  metadata: Record<string, unknown>;
}
interface Restoration {
  id: string;
  pre_restore_snapshot_id: string;
  status: string;
}

let application: TestApplication;
let ownKey: string;
let strangersKey: string;
beforeAll(async () => {
  application = await startApplication({ backend: 'postgres', environment: { SWEEP_INTERVAL_MS: '100' } });
  ownKey = await application.createKey({ scope: 'write', workspace: 'Producer' });
  strangersKey = await application.createKey({ scope: 'write', workspace: 'Stranger' });
});
afterAll(() => application.close());

async function ask<Body>(
  method: string,
  path: string,
  body?: unknown,
  { key = ownKey, headers = {} }: { key?: string; headers?: Record<string, string> } = {},
) {
  const response = await application.fetch(path, {
    method,
    headers: { 'x-api-key': key, ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  return { status: response.status, body: (text === '' ? undefined : JSON.parse(text)) as Body };
}

let nextNumber = 730_000_000_000;
async function newItem(metadata: object, key = ownKey): Promise<Item> {
  const record = {
    value_chain: 'BEEF',
    country: 'BR',
    year: 2025,
    identifiers: [{ identifier_type: 'sisbov', value: `BR${nextNumber++}` }],
    metadata,
  };
  return (await ask<{ item: Item }>('POST', '/api/items', record, { key })).body.item;
}
const readItem = async (dfid: string) => (await ask<{ item: Item }>('GET', `/api/items/${dfid}`)).body.item;
const edit = (dfid: string, metadata: object) => ask('PUT', `/api/items/${dfid}`, { metadata });

const ofItem = (item: Item, more: object = {}) => ({
  snapshot_type: 'full',
  resource_type: 'item',
  resource_id: item.dfid,
  snapshot_name: 'Before the sale',
  ...more,
});
const ofAnything = (data: unknown, more: object = {}) => ({
  snapshot_type: 'manual',
  resource_type: 'herd',
  snapshot_name: 'Herd',
  snapshot_data: data,
  ...more,
});
const create = async (body: object) => (await ask<Snapshot>('POST', '/api/snapshots', body)).body;

describe('a snapshot', () => {
  test('of an item keeps what the workspace knows of it, under a checksum that anybody computes', async () => {
    const item = await newItem({ breed: 'Nelore', kg: 400.5 });

    const { status, body: snapshot } = await ask<Snapshot>('POST', '/api/snapshots', ofItem(item));
    await edit(item.dfid, { breed: 'Angus' });

    expect(status).toBe(201);
    expect(snapshot).toMatchObject({
      resource_id: item.id,
      snapshot_data: {
        dfid: item.dfid,
        version: item.version,
        status: 'active',
        metadata: { breed: 'Nelore', kg: 400.5 },
      },
      is_archived: false,
    });
    const read = (await ask<Snapshot>('GET', `/api/snapshots/${snapshot.id}`)).body;
    expect(read).toEqual(snapshot);
    expect(blake3Hex(Buffer.from(canonicalJson(read.snapshot_data)))).toBe(snapshot.checksum);
  });

  test('of anything else keeps what was sent, and says whose it is by the credentials alone', async () => {
    const data = { cows: [1, 2, { name: 'São João', 'a/b~c': null }], ratio: 0.1 };
    const snapshot = await create(ofAnything(data, { created_by: '0199aaaa-0000-7000-8000-000000000000' }));

    expect(snapshot.snapshot_data).toEqual(data);
    expect(snapshot).not.toMatchObject({ created_by: '0199aaaa-0000-7000-8000-000000000000' });
  });

  test('with an idempotency key is made once', async () => {
    const headers = { 'idempotency-key': 'once' };
    const body = ofAnything({ one: 1 }, { snapshot_type: 'once' });

    const [first, second] = [
      await ask<Snapshot>('POST', '/api/snapshots', body, { headers }),
      await ask<Snapshot>('POST', '/api/snapshots', body, { headers }),
    ];

    expect(second).toEqual(first);
    expect((await ask<{ total: number }>('GET', '/api/snapshots?snapshot_type=once')).body.total).toBe(1);
  });

  test.each([
    ['no data of what is no item', { ...ofAnything(undefined) }, '/snapshot_data'],
    ['a thing that is no UUID', ofAnything({}, { resource_id: 'herd 7' }), '/resource_id'],
    ['more than 256 KiB', ofAnything('x'.repeat(262_144)), '/snapshot_data'],
    ['no name', ofAnything({}, { snapshot_name: '' }), '/snapshot_name'],
  ])('is refused with %s', async (_, body, pointer) => {
    const answer = await ask<ProblemDocument>('POST', '/api/snapshots', body);

    expect([answer.status, answer.body.errors?.[0]?.pointer]).toEqual([422, pointer]);
  });

  test('is nobody else’s: a stranger neither makes one of our item nor sees, compares, restores or deletes ours', async () => {
    const item = await newItem({ breed: 'Nelore' });
    const snapshot = await create(ofItem(item));
    const as = { key: strangersKey };
    const path = `/api/snapshots/${snapshot.id}`;

    const answers = await Promise.all([
      ask('POST', '/api/snapshots', ofItem(item), as),
      ask('GET', path, undefined, as),
      ask('POST', `${path}/archive`, undefined, as),
      ask('POST', `${path}/compare`, { snapshot_b_id: snapshot.id, comparison_type: 'forward' }, as),
      ask('POST', `${path}/restore`, { restoration_type: 'full' }, as),
      ask('DELETE', path, undefined, as),
    ]);

    expect(answers.map(({ status }) => status)).toEqual([404, 404, 404, 404, 404, 404]);
    expect((await ask<{ total: number }>('GET', '/api/snapshots', undefined, as)).body.total).toBe(0);
    expect((await ask('GET', path)).status).toBe(200);
  });

  test('is found by what it is of, its type and its archive, page by page', async () => {
    const item = await newItem({});
    const made = [
      await create(ofItem(item)),
      await create(ofItem(item)),
      await create(ofItem(item, { snapshot_type: 'daily' })),
    ];
    await ask('POST', `/api/snapshots/${made[0]!.id}/archive`);
    const list = async (query: string) =>
      (
        await ask<{ snapshots: Snapshot[]; total: number; next_cursor: string | null }>(
          'GET',
          `/api/snapshots?resource_id=${item.id}${query}`,
        )
      ).body;

    const first = await list('&limit=2');
    const second = await list(`&limit=2&cursor=${first.next_cursor}`);

    expect([...first.snapshots, ...second.snapshots].map(({ id }) => id)).toEqual(
      made.map(({ id }) => id).toReversed(),
    );
    expect((await list('&snapshot_type=daily')).snapshots.map(({ id }) => id)).toEqual([made[2]!.id]);
    expect((await list('&is_archived=true')).snapshots.map(({ id }) => id)).toEqual([made[0]!.id]);
    expect((await list('&is_archived=false')).total).toBe(2);
  });

  test('is over at its time, and then forgotten', async () => {
    const snapshot = await create(ofAnything({}, { expires_at: '2999-01-01T00:00:00Z' }));
    await application.database.pool.query(`update snapshots set expires_at = now() where snapshot_id = $1`, [
      snapshot.id,
    ]);
    const after = await ask('GET', `/api/snapshots/${snapshot.id}`);
    await application.database.pool.query('update maintenance_tasks set next_run_at = now()');
    const isThere = async () =>
      (await application.database.pool.query('select from snapshots where snapshot_id = $1', [snapshot.id])).rowCount;

    expect(after.status).toBe(404);
    await expect.poll(isThere, { timeout: 10_000 }).toBe(0);
  });
});

describe('the comparison of two snapshots', () => {
  interface Comparison {
    id: string;
    diff_data: { added: object[]; removed: object[]; modified: object[] };
    summary: object;
  }
  const compare = (a: Snapshot, b: Snapshot, type: string) =>
    ask<Comparison>('POST', `/api/snapshots/${a.id}/compare`, { snapshot_b_id: b.id, comparison_type: type });

  test('tells what was added, removed and changed, at its place, in the direction that is asked for', async () => {
    const a = await create(ofAnything({ same: 1, gone: 2, 'a/b': { x: 1, y: [1, 2] } }));
    const b = await create(ofAnything({ same: 1, new: 3, 'a/b': { x: 2, y: [1] } }));

    const { status, body: forward } = await compare(a, b, 'forward');
    const { body: backward } = await compare(a, b, 'backward');
    const { body: conflicts } = await compare(a, b, 'merge_conflict');

    expect(status).toBe(201);
    expect(forward).toMatchObject({
      diff_data: {
        added: [{ path: '/new', new: 3 }],
        removed: [
          { path: '/a~1b/y/1', old: 2 },
          { path: '/gone', old: 2 },
        ],
        modified: [{ path: '/a~1b/x', old: 1, new: 2 }],
      },
      summary: { added: 1, removed: 2, modified: 1, checksums_match: true },
    });
    expect(backward.diff_data).toMatchObject({ added: [{}, {}], removed: [{}], modified: [{ old: 2, new: 1 }] });
    expect(conflicts.diff_data).toEqual({ added: [], removed: [], modified: forward.diff_data.modified });
    expect((await ask('GET', `/api/snapshots/comparisons/${forward.id}`)).body).toEqual(forward);
  });

  test('is of one thing, and says when a snapshot is not what it was', async () => {
    const [a, b] = [await create(ofAnything({ n: 1 })), await create(ofAnything({ n: 2 }))];
    const item = await create(ofItem(await newItem({})));
    await application.database.pool.query(`update snapshots set snapshot_data = '{"n":3}' where snapshot_id = $1`, [
      b.id,
    ]);

    expect((await compare(a, item, 'forward')).status).toBe(422);
    expect((await compare(a, b, 'validation')).body.summary).toMatchObject({ checksums_match: false });
  });

  test('goes with its snapshots', async () => {
    const [a, b] = [await create(ofAnything({ n: 1 })), await create(ofAnything({ n: 2 }))];
    const { body: comparison } = await compare(a, b, 'forward');

    expect((await ask('DELETE', `/api/snapshots/${b.id}`)).status).toBe(204);

    expect((await ask('GET', `/api/snapshots/comparisons/${comparison.id}`)).status).toBe(404);
    expect((await ask('GET', `/api/snapshots/${a.id}`)).status).toBe(200);
  });
});

describe('the restoration of a snapshot', () => {
  const restore = (snapshot: Snapshot, body: object, headers: Record<string, string> = {}) =>
    ask<Restoration & ProblemDocument>('POST', `/api/snapshots/${snapshot.id}/restore`, body, { headers });
  const grown = async () => {
    const item = await newItem({ breed: 'Nelore', kg: 400, farm: null });
    const snapshot = await create(ofItem(item));
    await edit(item.dfid, { breed: 'Angus', kg: null, farm: 'Boa Vista', later: true });
    return { item, snapshot };
  };

  test.each([
    ['full', {}, { breed: 'Nelore', kg: 400, farm: null, later: null }],
    ['rollback', {}, { breed: 'Nelore', kg: 400, farm: null, later: null }],
    ['merge', {}, { breed: 'Angus', kg: 400, farm: 'Boa Vista', later: true }],
    [
      'partial',
      { restore_metadata: { fields: ['breed', 'later'] } },
      { breed: 'Nelore', kg: null, farm: 'Boa Vista', later: null },
    ],
  ])('makes the item what it was (%s), and keeps what it was right before', async (type, more, expected) => {
    const { item, snapshot } = await grown();
    const before = await readItem(item.dfid);

    const { status, body } = await restore(snapshot, { restoration_type: type, ...more });

    expect([status, body.status]).toEqual([201, 'completed']);
    expect((await readItem(item.dfid)).metadata).toEqual(expected);
    const kept = (await ask<Snapshot>('GET', `/api/snapshots/${body.pre_restore_snapshot_id}`)).body;
    expect(kept).toMatchObject({
      snapshot_type: 'pre_restore',
      snapshot_data: { version: before.version, metadata: before.metadata },
    });
    await restore(kept, { restoration_type: 'rollback' });
    expect((await readItem(item.dfid)).metadata).toEqual(before.metadata);
  });

  test('is an edit that the item tells of', async () => {
    const { item, snapshot } = await grown();

    await restore(snapshot, { restoration_type: 'full' });

    const { body } = await ask<{ events: { event_type: string; payload: { changed: string[] } }[] }>(
      'GET',
      `/api/events?dfid=${item.dfid}&event_type=item_updated`,
    );
    expect(body.events[0]!.payload.changed.toSorted((a, b) => (a < b ? -1 : 1))).toEqual([
      'breed',
      'farm',
      'kg',
      'later',
    ]);
  });

  test('with an idempotency key is made once', async () => {
    const { item, snapshot } = await grown();
    const headers = { 'idempotency-key': 'restore once' };

    const first = await restore(snapshot, { restoration_type: 'full' }, headers);
    await edit(item.dfid, { breed: 'Gir' });
    const second = await restore(snapshot, { restoration_type: 'full' }, headers);

    expect(second).toEqual(first);
    expect((await readItem(item.dfid)).metadata['breed']).toBe('Gir');
  });

  test('is refused, and changes nothing, when there is nothing that could be restored', async () => {
    const { item, snapshot } = await grown();
    const before = await readItem(item.dfid);
    const other = await newItem({});
    const herd = await create(ofAnything({ metadata: { breed: 'Gir' } }));
    const bare = await create(ofItem(item, { snapshot_data: { breed: 'Gir' } }));

    const answers = [
      await restore(snapshot, { restoration_type: 'partial' }),
      await restore(snapshot, { restoration_type: 'full', target_resource_id: other.id }),
      await restore(herd, { restoration_type: 'full' }),
      await restore(bare, { restoration_type: 'full' }),
    ];
    await application.database.pool.query(
      `update snapshots set snapshot_data = '{"metadata":{"breed":"Gir"}}' where snapshot_id = $1`,
      [snapshot.id],
    );
    const damaged = await restore(snapshot, { restoration_type: 'full' });

    expect(answers.map(({ status }) => status)).toEqual([422, 422, 422, 422]);
    expect([damaged.status, damaged.body.type]).toEqual([409, '/docs/errors#snapshot_damaged']);
    expect(await readItem(item.dfid)).toEqual(before);
  });

  test('is completed when it is there, and nothing else can be said of it', async () => {
    const { snapshot } = await grown();
    const { body } = await restore(snapshot, { restoration_type: 'full' });
    const note = (status: string) => ask('PUT', `/api/snapshots/restorations/${body.id}/status`, { status });

    expect([(await note('completed')).status, (await note('failed')).status]).toEqual([200, 409]);
  });
});

describe('a retention policy', () => {
  const policy = (more: object) =>
    ask<{ id: string }>('POST', '/api/snapshots/retention-policies', {
      retention_days: 30,
      auto_archive: false,
      ...more,
    });
  const age = (snapshot: Snapshot, days: number) =>
    application.database.pool.query(
      'update snapshots set created_at = now() - make_interval(days => $2) where snapshot_id = $1',
      [snapshot.id, days],
    );
  const apply = async (id: string) =>
    (await ask<{ snapshots_affected: number }>('POST', `/api/snapshots/retention-policies/${id}/apply`)).body
      .snapshots_affected;
  const statusOf = async ({ id }: Snapshot) => {
    const { status, body } = await ask<Snapshot>('GET', `/api/snapshots/${id}`);
    return status === 200 && body.is_archived ? 'archived' : status;
  };

  test('is made once for the same snapshots, and listed with the circuit that it is for', async () => {
    const circuitId = '0199aaaa-0000-7000-8000-00000000c1c1';
    const [first, second] = [
      await policy({ snapshot_type: 'weekly', circuit_id: circuitId }),
      await policy({ snapshot_type: 'weekly', circuit_id: circuitId, retention_days: 7 }),
    ];

    expect([first.status, second.status]).toEqual([201, 200]);
    expect(second.body).toEqual(first.body);
    expect((await ask('GET', `/api/snapshots/retention-policies?circuit_id=${circuitId}`)).body).toEqual([first.body]);
    expect((await ask('GET', '/api/snapshots/retention-policies')).body).not.toContainEqual(first.body);
    expect((await ask('GET', '/api/snapshots/retention-policies', undefined, { key: strangersKey })).body).toEqual([]);
  });

  test('deletes what is too old, and what is beyond the number of one thing', async () => {
    const type = { snapshot_type: 'nightly' };
    const [a, b] = [await newItem({}), await newItem({})];
    const old = await create(ofItem(a, type));
    await age(old, 31);
    const ofA = [await create(ofItem(a, type)), await create(ofItem(a, type)), await create(ofItem(a, type))];
    const ofB = await create(ofItem(b, type));
    const other = await create(ofItem(a));
    const { body } = await policy({ ...type, max_snapshots: 2, is_active: false });

    expect(await apply(body.id)).toBe(2);

    expect(await Promise.all([old, ...ofA, ofB, other].map(statusOf))).toEqual([404, 404, 200, 200, 200, 200]);
    expect(await apply(body.id)).toBe(0);
  });

  test('archives them instead where it says so, by itself once an hour', async () => {
    const type = { snapshot_type: 'hourly' };
    const item = await newItem({});
    const [old, young] = [await create(ofItem(item, type)), await create(ofItem(item, type))];
    await age(old, 31);
    await policy({ ...type, auto_archive: true });

    await application.database.pool.query('update maintenance_tasks set next_run_at = now()');

    await expect.poll(() => statusOf(old), { timeout: 10_000 }).toBe('archived');
    expect(await statusOf(young)).toBe(200);
  });
});
