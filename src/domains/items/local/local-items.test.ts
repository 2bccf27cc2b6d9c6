import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  readJson,
  startApplication,
  type ProblemDocument,
  type TestApplication,
} from '../../../testing/application.ts';
import { beginTransaction } from '../../../testing/deduplication.ts';
import { makeLocalItemsClient, type LocalItem } from '../../../testing/local-items.ts';

let application: TestApplication;
let client: ReturnType<typeof makeLocalItemsClient>;
let stranger: ReturnType<typeof makeLocalItemsClient>;
beforeAll(async () => {
  application = await startApplication({ backend: 'postgres', hasWorker: false });
  client = makeLocalItemsClient(application);
  stranger = makeLocalItemsClient(application, await application.createKey({ scope: 'write', workspace: 'Other' }));
});
afterAll(() => application.close());

let lastNumber = 0;
const chip = () => ({ identifier_type: 'chip', value: `982${String((lastNumber += 1)).padStart(12, '0')}` });

interface BatchAnswer {
  success_count: number;
  failed_count: number;
  results: { success: boolean; local_id: string | null; status?: string; was_known?: boolean; error?: object }[];
}
const sendBatch = async (items: unknown) => {
  const { status, body } = await client.post('local', typeof items === 'string' ? items : { items });
  return { status, ...(body as unknown as BatchAnswer) };
};

describe('POST /api/items/local', () => {
  test('keeps a record under the id that its collector chose, raw and in normal form', async () => {
    const localId = randomUUID();
    const { status, body } = await client.post('local', {
      local_id: localId,
      identifiers: [{ identifier_type: 'sisbov', value: ' 105 000000000001 ' }],
      enriched_data: { raca: 'Nelore', peso: 450.7 },
      value_chain: 'bovino',
      country: 'br',
      year: 2024,
      occurred_at: '2024-03-14T09:26:53Z',
    });
    expect([status, body]).toEqual([201, { success: true, data: { local_id: localId, status: 'LocalOnly' } }]);
    expect(await client.look(localId)).toMatchObject({
      local_id: localId,
      status: 'LocalOnly',
      merged_into: null,
      dfid: null,
      value_chain: 'BEEF',
      country: 'BR',
      year: 2024,
      occurred_at: '2024-03-14T09:26:53.000Z',
      identifiers: [
        {
          identifier_type: 'sisbov',
          value: ' 105 000000000001 ',
          is_canonical: true,
          normalized_type: 'sisbov',
          normalized_value: '105000000000001',
        },
      ],
      metadata: { raca: 'Nelore', peso: 450.7 },
      sources: [localId],
      decisions: [],
    });
  });

  test('claims no identity: no item and no claim comes of it', async () => {
    await client.collect([chip()]);
    const { rows } = await application.database.pool.query<{ items: number; claims: number }>(
      'select (select count(*) from items) as items, (select count(*) from identifier_claims) as claims',
    );
    expect(rows).toEqual([{ items: 0, claims: 0 }]);
  });

  test('makes an id when none was chosen', async () => {
    const { status, body } = await client.post<{ local_id: string }>('local', { identifiers: [chip()] });
    expect(status).toBe(201);
    expect((await client.look(body.data.local_id)).status).toBe('LocalOnly');
  });

  test('sent again, answers the same with 200, whatever alias or order its members have', async () => {
    const localId = randomUUID();
    const identifiers = [chip()];
    const first = await client.post('local', { local_id: localId, identifiers, metadata: { a: 1, b: [2] } });
    const again = await client.post('local', {
      enriched_data: { b: [2], a: 1 },
      identifiers: [{ ...identifiers[0], is_canonical: true }],
      local_id: `LID-${localId.toUpperCase()}`,
    });
    expect([first.status, again.status]).toEqual([201, 200]);
    expect(again.body).toEqual(first.body);
  });

  test('with other content under a known id is a conflict, and changes nothing', async () => {
    const localId = await client.collect([chip()], { a: 1 });
    const before = await client.look(localId);
    const { status, problem } = await client.post('local', {
      local_id: localId,
      identifiers: [chip()],
      metadata: { a: 1 },
    });
    expect([status, problem.error, problem.errors?.[0]?.pointer]).toEqual([409, 'local_item_differs', '/local_id']);
    expect(await client.look(localId)).toEqual(before);
  });

  test('sent by many at once, is kept once', async () => {
    const body = { local_id: randomUUID(), identifiers: [chip()], metadata: { a: 1 } };
    const statuses = await Promise.all(
      Array.from({ length: 12 }, async () => (await client.post('local', body)).status),
    );
    expect(statuses.toSorted((a, b) => a - b)).toEqual([...Array<number>(11).fill(200), 201]);
  });

  test('while somebody else keeps the same id and does not end, is answered with 503', async () => {
    const localId = randomUUID();
    const holder = await beginTransaction(application.database);
    await holder.client.query(
      `insert into local_items (workspace_id, local_id, sequence, value_chain, country, year, created_by, content,
         content_bytes, content_hash)
       select workspace_id, $1, nextval('local_item_sequence'), 'BEEF', 'BR', 2025, workspace_id, '{}', 2, ''
       from workspaces where name = 'Default'`,
      [localId],
    );
    const { status, problem } = await client.post('local', { local_id: localId, metadata: { a: 1 } });
    await holder.rollback();
    expect([status, problem.error]).toEqual([503, 'overloaded']);
    expect((await client.post('local', { local_id: localId, metadata: { a: 1 } })).status).toBe(201);
  });

  test('two workspaces may choose the same id and know nothing of each other', async () => {
    const localId = await client.collect([chip()], { of: 'ours' });
    const { status } = await stranger.post('local', { local_id: localId, metadata: { of: 'theirs' } });
    expect(status).toBe(201);
    expect((await client.look(localId)).metadata).toEqual({ of: 'ours' });
    expect((await stranger.look(localId)).metadata).toEqual({ of: 'theirs' });
  });

  test('takes what identifies nothing, or has no identifier at all', async () => {
    const owner = await client.collect([{ identifier_type: 'cpf', value: '529.982.247-25' }]);
    const tag = await client.collect([{ identifier_type: 'brinco', value: '17' }]);
    const note = await client.collect([], { note: 'brown calf near the gate' });
    expect((await client.look(owner)).identifiers[0]!.normalized_value).toBe('52998224725');
    for (const localId of [tag, note]) expect((await client.look(localId)).status).toBe('LocalOnly');
  });

  test.each([
    ['nothing said', {}, 'empty_record', ''],
    [
      'a bad identifier',
      { identifiers: [{ identifier_type: 'sisbov', value: 'x' }] },
      'invalid_identifier',
      '/identifiers/0/value',
    ],
    [
      'a blank identifier',
      { identifiers: [{ identifier_type: 'chip', value: ' ' }] },
      'blank_identifier',
      '/identifiers/0/value',
    ],
    ['identifiers that are no list', { identifiers: 'x' }, 'invalid_member', '/identifiers'],
    ['metadata that is no object', { metadata: [1] }, 'invalid_member', '/metadata'],
    ['both names of metadata', { metadata: { a: 1 }, enriched_data: { a: 1 } }, 'invalid_member', '/enriched_data'],
    ['a local id that is no UUID', { local_id: 'x', metadata: { a: 1 } }, 'invalid_member', '/local_id'],
    ['a local id that is a number', { local_id: 1, metadata: { a: 1 } }, 'invalid_member', '/local_id'],
    ['an unknown member', { metadata: { a: 1 }, owner: 'me' }, 'unknown_member', '/owner'],
    ['events', { metadata: { a: 1 }, events: [] }, 'unknown_member', '/events'],
    ['an unknown value chain', { metadata: { a: 1 }, value_chain: 'fish' }, 'unknown_value_chain', '/value_chain'],
    ['a country that is none', { metadata: { a: 1 }, country: 'XX' }, 'invalid_country', '/country'],
    ['a year that is none', { metadata: { a: 1 }, year: 1 }, 'invalid_year', '/year'],
    [
      'a time ahead',
      { metadata: { a: 1 }, occurred_at: '2100-01-01T00:00:00Z' },
      'invalid_occurred_at',
      '/occurred_at',
    ],
    ['items that are no list', { items: {} }, 'unknown_member', '/items'],
    ['too many identifiers', { identifiers: Array.from({ length: 1001 }, chip) }, 'too_many_members', '/identifiers'],
    ['a megabyte and more', { metadata: { a: 'x'.repeat(1_048_576) } }, 'record_too_large', ''],
  ])('refuses %s', async (_what, body, code, pointer) => {
    const { status, problem } = await client.post('local', body);
    expect([status, problem.error, problem.errors?.[0]?.pointer]).toEqual([422, code, pointer]);
  });

  test.each([
    ['broken JSON', '{"metadata": {', 400, 'malformed_json'],
    ['nothing', '', 400, 'empty_body'],
    ['a list', '[{"metadata": {"a": 1}}]', 422, 'not_an_object'],
    ['a word', '"x"', 422, 'not_an_object'],
    ['a repeated name', '{"metadata": {"a": 1, "a": 2}}', 422, 'duplicate_key'],
    ['a number that would not survive', '{"metadata": {"a": 9007199254740993}}', 422, 'number_not_interoperable'],
    ['U+0000', '{"metadata": {"a": "\\u0000"}}', 422, 'null_character'],
  ])('refuses %s', async (_what, body, expected, code) => {
    const { status, problem } = await client.post('local', body);
    expect([status, problem.error]).toEqual([expected, code]);
  });

  test('takes JSON only, from keys that may write only', async () => {
    const send = (headers: Record<string, string>) =>
      application.fetch('/api/items/local', { method: 'POST', body: '{"metadata":{"a":1}}', headers });
    expect((await send({ 'content-type': 'text/csv' })).status).toBe(415);
    const reader = await application.createKey({ scope: 'read' });
    expect((await send({ 'content-type': 'application/json', 'x-api-key': reader })).status).toBe(403);
  });
});

describe('a batch', () => {
  test('is answered item by item in its order, and a bad one costs only itself', async () => {
    const [one, two] = [randomUUID(), randomUUID()];
    const known = await client.collect([], { known: true });
    const answer = await sendBatch([
      { local_id: one, identifiers: [chip()] },
      { local_id: two, identifiers: [{ identifier_type: 'chip', value: '' }] },
      7,
      { local_id: known, metadata: { known: true }, identifiers: [] },
      { local_id: known, metadata: { known: false } },
      { metadata: { nameless: true } },
    ]);
    expect(answer).toEqual({
      status: 201,
      success_count: 3,
      failed_count: 3,
      results: [
        { success: true, local_id: one, status: 'LocalOnly', was_known: false },
        {
          success: false,
          local_id: two,
          error: expect.objectContaining({ code: 'blank_identifier', pointer: '/identifiers/0/value' }) as object,
        },
        { success: false, local_id: null, error: expect.objectContaining({ code: 'not_an_object' }) as object },
        { success: true, local_id: known, status: 'LocalOnly', was_known: true },
        { success: false, local_id: known, error: expect.objectContaining({ code: 'local_item_differs' }) as object },
        { success: true, local_id: expect.any(String) as string, status: 'LocalOnly', was_known: false },
      ],
    });
    expect((await client.get(`local/${two}`)).status).toBe(404);
  });

  test('loses only the items that are no I-JSON, not those beside them', async () => {
    const ids = Array.from({ length: 5 }, () => randomUUID());
    const depth = 63;
    const answer = await sendBatch(`{ "items" : [
      {"local_id": "${ids[0]}", "metadata": {"a": [1, {"items": ["}", "]"]}]}} ,
      {"local_id": "${ids[1]}", "metadata": {"a": 1, "a": 2}},
      {"local_id": "${ids[2]}", "metadata": {"a": 9007199254740993}}, "\\ud800" ,
      {"local_id": "${ids[3]}", "metadata": {"a\\"]": "\\\\"}},
      {"local_id": "${ids[4]}", "metadata": {"deep": ${'['.repeat(depth - 1)}${']'.repeat(depth - 1)}}}
    ] }`);
    expect(
      answer.results.map(({ success, error }) => (error as { code: string } | undefined)?.code ?? success),
    ).toEqual([true, 'duplicate_key', 'number_not_interoperable', 'lone_surrogate', true, true]);
    expect((await client.look(ids[3]!)).metadata).toEqual({ 'a"]': '\\' });
  });

  test('that names an id twice keeps the first', async () => {
    const localId = randomUUID();
    const answer = await sendBatch([
      { local_id: localId, metadata: { a: 1 } },
      { local_id: localId, metadata: { a: 1 } },
      { local_id: `LID-${localId}`, metadata: { a: 2 } },
    ]);
    expect(answer.results.map(({ success, was_known: wasKnown }) => [success, wasKnown])).toEqual([
      [true, false],
      [true, true],
      [false, undefined],
    ]);
    expect((await client.look(localId)).metadata).toEqual({ a: 1 });
  });

  test('may be sent again by many at once, in any order: each item is kept once', async () => {
    const items = Array.from({ length: 200 }, () => ({ local_id: randomUUID(), identifiers: [chip()] }));
    const answers = await Promise.all(
      Array.from({ length: 6 }, (_none, at) => sendBatch(at % 2 === 0 ? items : items.toReversed())),
    );
    expect(answers.map(({ failed_count: failed }) => failed)).toEqual([0, 0, 0, 0, 0, 0]);
    const isNew = answers.flatMap(({ results }) => results.filter((result) => !result.was_known));
    expect(isNew.length).toBe(200);
  });

  test('has a thousand items at most, and may be empty', async () => {
    const items = Array.from({ length: 1000 }, (_none, at) => ({ metadata: { at } }));
    expect(await sendBatch(items)).toMatchObject({ status: 201, success_count: 1000, failed_count: 0 });
    expect(await sendBatch([])).toMatchObject({ status: 200, success_count: 0, results: [] });
    const { status, problem } = await client.post('local', { items: [...items, { metadata: {} }] });
    expect([status, problem.error]).toEqual([422, 'too_many_members']);
    const twice = await client.post('local', '{"items": [{"metadata": {"a": 1, "a": 2}}], "items": []}');
    expect([twice.status, twice.problem.error]).toEqual([422, 'duplicate_key']);
    const more = await client.post('local', { items: [], namespace: 'bovino' });
    expect([more.status, more.problem.error]).toEqual([422, 'unknown_member']);
  });
});

interface LocalItemList {
  local_items: LocalItem[];
  count: number;
  total: number;
  next_cursor: string | null;
}

describe('GET /api/items/local', () => {
  const list = async (query: string, key: string) =>
    readJson<LocalItemList>(await application.fetch(`/api/items/local${query}`, { headers: { 'x-api-key': key } }));

  test('pages through what the workspace has, newest first, without gap or repeat', async () => {
    const key = await application.createKey({ scope: 'write', workspace: 'Pages' });
    const own = makeLocalItemsClient(application, key);
    await own.post('local', { items: Array.from({ length: 25 }, (_none, at) => ({ metadata: { at } })) });
    const seen: unknown[] = [];
    let cursor = '';
    for (let pages = 0; pages < 5; pages += 1) {
      const page = await list(`?limit=10${cursor}`, key);
      expect([page.count, page.total]).toEqual([page.local_items.length, 25]);
      seen.push(...page.local_items.map(({ metadata }) => metadata['at']));
      if (page.next_cursor === null) break;
      cursor = `&cursor=${page.next_cursor}`;
    }
    expect(seen).toEqual(Array.from({ length: 25 }, (_none, at) => 24 - at));
    expect((await list('?limit=5&offset=20', key)).local_items.map(({ metadata }) => metadata['at'])).toEqual([
      4, 3, 2, 1, 0,
    ]);
  });

  test('ends a page early when its items are large, and loses none', async () => {
    const key = await application.createKey({ scope: 'write', workspace: 'Large' });
    const own = makeLocalItemsClient(application, key);
    for (let at = 0; at < 10; at += 1) await own.collect([], { at, large: 'x'.repeat(1_000_000) });
    const first = await list('', key);
    expect(first.count).toBeLessThan(10);
    const second = await list(`?cursor=${first.next_cursor}`, key);
    expect(first.count + second.count).toBe(10);
    expect(second.next_cursor).toBeNull();
  });

  test('filters by status', async () => {
    const key = await application.createKey({ scope: 'write', workspace: 'Filters' });
    const own = makeLocalItemsClient(application, key);
    const [one, two, three] = [
      await own.collect([], { a: 1 }),
      await own.collect([], { a: 2 }),
      await own.collect([], { a: 3 }),
    ];
    await own.merge(one, [two]);
    const idsOf = async (status: string) =>
      (await list(`?status=${status}`, key)).local_items.map((item) => item.local_id);
    expect(await idsOf('LocalOnly')).toEqual([three, one]);
    expect(await idsOf('local_only')).toEqual([three, one]);
    expect(await idsOf('merged')).toEqual([two]);
    expect(await idsOf('Tokenized')).toEqual([]);
    expect((await application.fetch('/api/items/local?status=lost')).status).toBe(400);
  });
});

describe('one local item', () => {
  test('is not there for another workspace, nor under an id that is none', async () => {
    const localId = await client.collect([chip()]);
    for (const path of [`local/${localId}`, `mapping/${localId}`]) expect((await stranger.get(path)).status).toBe(404);
    for (const id of [randomUUID(), 'x', '%00', 'LID-', '..%2f']) {
      for (const path of [`local/${id}`, `mapping/${id}`]) {
        const { status, problem } = await client.get(path);
        expect([path, status, problem.error]).toEqual([path, 404, 'not_found']);
      }
    }
  });

  test('is found by its id in either spelling, and answered with the plain one', async () => {
    const localId = await client.collect([chip()]);
    for (const spelling of [localId, localId.toUpperCase(), `LID-${localId}`, `lid-${localId}`]) {
      expect((await client.look(spelling)).local_id).toBe(localId);
      expect(await client.map(spelling)).toEqual({ local_id: localId, status: 'LocalOnly' });
    }
  });

  test('answers wrong methods as such', async () => {
    const response = await application.fetch('/api/items/local/merge', { method: 'PUT' });
    expect([response.status, (await readJson<ProblemDocument>(response)).error]).toEqual([405, 'method_not_allowed']);
  });
});
