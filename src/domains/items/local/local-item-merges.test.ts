import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { withTransaction } from '#platform/database.ts';
import { readJson, startApplication, type Entry, type TestApplication } from '../../../testing/application.ts';
import { beginTransaction } from '../../../testing/deduplication.ts';
import { knowledgeOf, makeLocalItemsClient } from '../../../testing/local-items.ts';
import { findBrokenLocalRules } from '../../../testing/local-rules.ts';
import { parseDfid } from '../dfid.ts';
import { linkLocalItem } from './link-local-item.ts';
import { mergeStrategies } from './local-item-fold.ts';

let application: TestApplication;
let client: ReturnType<typeof makeLocalItemsClient>;
let workspaceId: string;
beforeAll(async () => {
  application = await startApplication({ backend: 'postgres' });
  client = makeLocalItemsClient(application);
  const { rows } = await application.database.pool.query<{ workspace_id: string }>(
    'select workspace_id from workspaces',
  );
  workspaceId = rows[0]!.workspace_id;
});
afterAll(() => application.close());

let lastNumber = 0;
const nextNumber = () => String((lastNumber += 1)).padStart(12, '0');
const chip = () => ({ identifier_type: 'chip', value: `982${nextNumber()}` });
const sisbov = (number = nextNumber()) => ({ identifier_type: 'sisbov', value: `BR${number}` });

/** A client of a workspace in which nothing was collected yet. */
async function enter(name: string) {
  return makeLocalItemsClient(application, await application.createKey({ scope: 'write', workspace: name }));
}
type Client = ReturnType<typeof makeLocalItemsClient>;

interface Duplicates {
  groups: {
    suggested_master: string;
    local_ids: string[];
    shared_identifiers: { identifier_type: string; value: string; local_ids: string[] }[];
    conflicting_fields: { field: string; values: { local_id: string; value: unknown }[] }[];
    conflicting_identifiers: { identifier_type: string; values: { local_id: string; value: string }[] }[];
    is_complete: boolean;
  }[];
  summary: { total_groups: number; total_items: number; total_duplicates: number; is_complete: boolean };
  count: number;
  next_cursor: string | null;
}
const duplicatesOf = async (own: Client, query = '') =>
  (await own.get<Duplicates>(`local/duplicates${query}`)).body.data;

describe('GET /api/items/local/duplicates', () => {
  test('groups what shares any identifying identifier, through others too and however it was spelled', async () => {
    const own = await enter('Transitive');
    const [a, b, number] = [chip(), chip(), nextNumber()];
    const one = await own.collect([{ identifier_type: 'brinco', value: '7' }, a], { raca: 'Nelore', peso: 400 });
    const two = await own.collect([sisbov(number), { ...a, identifier_type: 'rfid' }], { raca: 'Angus', peso: 400 });
    const three = await own.collect([{ identifier_type: 'sisbov', value: `105 ${number}` }], { sexo: 'M' });
    await own.collect([b], { raca: 'Gir' });
    const { groups, summary, count, next_cursor: next } = await duplicatesOf(own);
    expect(groups).toEqual([
      {
        suggested_master: one,
        local_ids: [one, two, three],
        shared_identifiers: [
          { identifier_type: 'chip', value: a.value, local_ids: [one, two] },
          { identifier_type: 'sisbov', value: `105${number}`, local_ids: [two, three] },
        ],
        conflicting_fields: [
          {
            field: 'raca',
            values: [
              { local_id: one, value: 'Nelore' },
              { local_id: two, value: 'Angus' },
            ],
          },
        ],
        conflicting_identifiers: [],
        is_complete: true,
      },
    ]);
    expect([summary, count, next]).toEqual([
      { total_groups: 1, total_items: 3, total_duplicates: 2, is_complete: true },
      1,
      null,
    ]);
  });

  test('suggests what was collected first, not what arrived first', async () => {
    const own = await enter('Age');
    const shared = chip();
    const late = await own.collect([shared], {}, { occurred_at: '2025-03-02T00:00:00Z' });
    const early = await own.collect([shared], {}, { occurred_at: '2025-03-01T23:59:59.999999Z' });
    const now = await own.collect([shared]);
    expect((await duplicatesOf(own)).groups.map((group) => group.local_ids)).toEqual([[early, late, now]]);
  });

  test('never groups by what identifies nothing alone: owners, places, lots, ear tags, unknown types', async () => {
    const own = await enter('Nothing');
    const named = [
      ['cpf', '529.982.247-25'],
      ['lote', 'L1'],
      ['brinco', '17'],
      ['gtin', '4006381333931'],
      ['brand_of_the_house', 'X'],
    ].map(([type, value]) => ({ identifier_type: type, value }));
    await own.collect(named, { a: 1 });
    await own.collect(named, { a: 2 });
    expect((await duplicatesOf(own)).groups).toEqual([]);
  });

  test('looks at this workspace alone', async () => {
    const [own, other] = [await enter('Mine'), await enter('Theirs')];
    const shared = chip();
    await own.collect([shared]);
    await other.collect([shared]);
    expect(await duplicatesOf(own)).toMatchObject({ groups: [], summary: { total_groups: 0 } });
  });

  test('leaves out what is merged, and finds its identifiers at the master', async () => {
    const own = await enter('Merged');
    const [a, b] = [chip(), chip()];
    const [one, two] = [await own.collect([a]), await own.collect([a, b])];
    await own.merge(one, [two]);
    expect((await duplicatesOf(own)).groups).toEqual([]);
    const three = await own.collect([b]);
    expect((await duplicatesOf(own)).groups.map((group) => group.local_ids)).toEqual([[one, three]]);
    await own.unmerge(two);
    expect((await duplicatesOf(own)).groups.map((group) => group.local_ids)).toEqual([[one, two, three]]);
  });

  test('pages through the groups, and takes one value chain', async () => {
    const own = await enter('Paged');
    const expected: string[][] = [];
    for (let at = 0; at < 5; at += 1) {
      const shared = chip();
      const chain = { value_chain: at < 3 ? 'BEEF' : 'MILK' };
      expected.push([await own.collect([shared], {}, chain), await own.collect([shared], {}, chain)]);
    }
    const seen: string[][] = [];
    let cursor = '';
    for (let pages = 0; pages < 5; pages += 1) {
      const page = await duplicatesOf(own, `?limit=2${cursor}`);
      expect(page.summary.total_groups).toBe(5);
      seen.push(...page.groups.map((group) => group.local_ids));
      if (page.next_cursor === null) break;
      cursor = `&cursor=${page.next_cursor}`;
    }
    expect(seen).toEqual(expected);
    const milk = await duplicatesOf(own, '?namespace=leite');
    expect(milk.groups.map((group) => group.local_ids)).toEqual(expected.slice(3));
    for (const query of ['?namespace=fish', '?limit=101', '?cursor=x'])
      expect((await own.get(`local/duplicates${query}`)).status).toBe(400);
  });

  test('says so when a group is too large for all its members to be compared', async () => {
    const own = await enter('Very large');
    const [shared, other] = [chip(), chip()];
    for (let at = 0; at < 18; at += 1) await own.collect([shared], { at, text: 'x'.repeat(1_000_000) });
    const small = [await own.collect([other]), await own.collect([other])];
    const first = await duplicatesOf(own);
    expect(first.groups.map((group) => [group.local_ids.length, group.is_complete])).toEqual([[18, false]]);
    expect(first.groups[0]!.conflicting_fields.map(({ field }) => field)).toEqual(['at']);
    const second = await duplicatesOf(own, `?cursor=${first.next_cursor}`);
    expect([second.groups.map((group) => group.local_ids), second.next_cursor]).toEqual([[small], null]);
  });

  test('shows the contradiction when members have two identifiers of which a thing has one', async () => {
    const own = await enter('Contradiction');
    const [shared, first, second] = [chip(), nextNumber(), nextNumber()];
    const one = await own.collect([shared, sisbov(first)]);
    const two = await own.collect([shared, sisbov(second)]);
    expect((await duplicatesOf(own)).groups[0]!.conflicting_identifiers).toEqual([
      {
        identifier_type: 'sisbov',
        values: [
          { local_id: one, value: `105${first}` },
          { local_id: two, value: `105${second}` },
        ],
      },
    ]);
  });
});

describe('POST /api/items/local/merge', () => {
  test.each([
    ['append', { raca: 'Angus', pesos: [400, 410, 420], casa: { pasto: 2, curral: 1 }, sexo: 'M', nota: 'x' }],
    ['overwrite', { raca: 'Angus', pesos: [410, 420], casa: { pasto: 2 }, sexo: 'M', nota: 'x' }],
    ['keep_first', { raca: 'Nelore', pesos: [400, 410], casa: { pasto: 1, curral: 1 }, nota: 'x' }],
  ])(
    'with %s gives the master the values that this strategy names, and all identifiers and sources',
    async (strategy, expected) => {
      const [a, b] = [chip(), chip()];
      const one = await client.collect([a], {
        raca: 'Nelore',
        pesos: [400, 410],
        casa: { pasto: 1, curral: 1 },
        nota: 'x',
      });
      const two = await client.collect([a, b], { raca: 'Angus', pesos: [410, 420], casa: { pasto: 2 }, sexo: 'M' });
      const { status, body } = await client.merge(`LID-${one}`, [two], strategy);
      expect(status).toBe(200);
      expect(body.data).toMatchObject({
        master_lid: one,
        merged_lids: [two],
        merge_strategy: strategy,
        status: 'LocalOnly',
      });
      const master = await client.look(one);
      expect(knowledgeOf(body.data.master)).toEqual(knowledgeOf(master));
      expect(master.metadata).toEqual(expected);
      expect(master.identifiers.map(({ value }) => value)).toEqual([a.value, b.value]);
      expect(master.sources).toEqual([one, two]);
      expect(await client.look(two)).toMatchObject({
        status: `MergedInto(${one})`,
        merged_into: one,
        metadata: { sexo: 'M' },
      });
      expect(await client.map(two)).toEqual({ local_id: two, status: `MergedInto(${one})` });
    },
  );

  test('takes the values of the merged in the order in which they are named, a repeated one once', async () => {
    const [one, two, three] = [
      await client.collect([], { a: 1 }),
      await client.collect([], { a: 2 }),
      await client.collect([], { a: 3 }),
    ];
    const { body } = await client.merge(one, [three, two, `LID-${three}`]);
    expect(body.data.merged_lids).toEqual([three, two]);
    expect(body.data.master).toMatchObject({ metadata: { a: 2 }, sources: [one, three, two] });
  });

  test('is append unless told otherwise', async () => {
    const [one, two] = [await client.collect([], { a: [1] }), await client.collect([], { a: [2] })];
    const { body } = await client.post<{ merge_strategy: string }>('local/merge', {
      master_lid: one,
      merge_lids: [two],
    });
    expect(body.data.merge_strategy).toBe('append');
  });

  test('of merged masters leaves all pointing to the last one', async () => {
    const ids = await Promise.all(Array.from({ length: 4 }, (_none, at) => client.collect([], { [`f${at}`]: at })));
    const [a, b, c, d] = ids as [string, string, string, string];
    await client.merge(a, [b]);
    await client.merge(c, [d]);
    await client.merge(c, [a]);
    for (const localId of [a, b, d]) expect((await client.look(localId)).status).toBe(`MergedInto(${c})`);
    expect(await client.look(c)).toMatchObject({ metadata: { f0: 0, f1: 1, f2: 2, f3: 3 }, sources: [c, d, a, b] });
  });

  test('is refused for what is merged, itself, unknown or of another workspace, and changes nothing', async () => {
    const other = await enter('Refusing');
    const [one, two, three, theirs] = [
      await client.collect([], { a: 1 }),
      await client.collect([], { a: 2 }),
      await client.collect([], { a: 3 }),
      await other.collect([], { a: 4 }),
    ];
    await client.merge(one, [two]);
    const before = await client.look(three);
    const refusals: [string, string[], number, string][] = [
      [three, [two], 409, 'local_item_merged'],
      [two, [three], 409, 'local_item_merged'],
      [one, [two], 409, 'local_item_merged'],
      [three, [one, three], 409, 'local_master_among_merged'],
      [three, [theirs], 404, 'not_found'],
      [theirs, [three], 404, 'not_found'],
      [three, [one, randomUUID()], 404, 'not_found'],
      [three, [], 422, 'invalid_request'],
      [three, ['x'], 422, 'invalid_request'],
      ['x', [three], 422, 'invalid_request'],
    ];
    for (const [master, members, expected, code] of refusals) {
      const { status, problem } = await client.merge(master, members);
      expect([master, members, status, problem.error]).toEqual([master, members, expected, code]);
    }
    expect((await client.merge(three, [one], 'blend')).problem.error).toBe('invalid_request');
    expect(await client.look(three)).toEqual(before);
    expect((await client.look(one)).sources).toEqual([one, two]);
  });

  test('is refused beyond what one group may hold', async () => {
    const large = await Promise.all(
      Array.from({ length: 5 }, () => client.collect([], { large: 'x'.repeat(1_000_000) })),
    );
    const { status, problem } = await client.merge(large[0]!, large.slice(1));
    expect([status, problem.error]).toEqual([422, 'local_group_too_large']);
    const { body } = await client.post('local', {
      items: Array.from({ length: 1000 }, (_none, at) => ({ metadata: { at } })),
    });
    const ids = (body as unknown as { results: { local_id: string }[] }).results.map((result) => result.local_id);
    expect((await client.merge(ids[0]!, ids.slice(1))).status).toBe(200);
    const one = await client.collect([], { a: 1 });
    expect((await client.merge(ids[0]!, [one])).problem.error).toBe('local_group_too_large');
    let top = one;
    for (let height = 1; height <= 32; height += 1) {
      const next = await client.collect([], { height });
      expect((await client.merge(next, [top])).status).toBe(200);
      top = next;
    }
    const above = await client.collect([], { a: 1 });
    expect((await client.merge(above, [top])).problem.error).toBe('local_group_too_large');
    expect((await client.merge(top, [above])).status).toBe(200);
  });
});

describe('POST /api/items/local/unmerge', () => {
  test('gives both sides back as they were, with who decided what', async () => {
    const [a, b] = [chip(), chip()];
    const one = await client.collect([a], { raca: 'Nelore', pesos: [1] });
    const two = await client.collect([b], { raca: 'Angus', pesos: [2] });
    const before = [knowledgeOf(await client.look(one)), knowledgeOf(await client.look(two))];
    await client.merge(one, [two], 'overwrite');
    const { status, body } = await client.unmerge(`LID-${two}`);
    expect(status).toBe(200);
    expect(body.data).toMatchObject({ local_id: two, status: 'LocalOnly', master_lid: one });
    expect([knowledgeOf(await client.look(one)), knowledgeOf(await client.look(two))]).toEqual(before);
    expect([knowledgeOf(body.data.master), knowledgeOf(body.data.unmerged)]).toEqual(before);
    const { rows } = await application.database.pool.query<{ api_key_id: string }>(
      'select api_key_id from api_keys limit 1',
    );
    const decision = { master_lid: one, merged_lid: two, merge_strategy: 'overwrite' };
    for (const localId of [one, two]) {
      expect((await client.look(localId)).decisions).toEqual([
        expect.objectContaining({ ...decision, kind: 'unmerge', decided_by: rows[0]!.api_key_id }),
        expect.objectContaining({ ...decision, kind: 'merge', decided_by: rows[0]!.api_key_id }),
      ]);
    }
  });

  test('of one that has members of its own takes these along', async () => {
    const ids = await Promise.all(
      Array.from({ length: 4 }, (_none, at) => client.collect([chip()], { at, [`f${at}`]: at })),
    );
    const [a, b, c, d] = ids as [string, string, string, string];
    await client.merge(a, [b]);
    const before = knowledgeOf(await client.look(a));
    await client.merge(c, [a, d]);
    await client.unmerge(a);
    expect(knowledgeOf(await client.look(a))).toEqual(before);
    expect((await client.look(b)).status).toBe(`MergedInto(${a})`);
    expect(await client.look(c)).toMatchObject({ metadata: { at: 3, f2: 2, f3: 3 }, sources: [c, d] });
    await client.unmerge(b);
    expect(await client.look(a)).toMatchObject({ metadata: { at: 0, f0: 0 }, sources: [a] });
  });

  test('is refused for what is not merged or not there', async () => {
    const one = await client.collect([], { a: 1 });
    expect((await client.unmerge(one)).problem.error).toBe('local_item_not_merged');
    expect((await client.unmerge(randomUUID())).status).toBe(404);
    const other = await enter('Unmerging');
    const [theirs, merged] = [await other.collect([], { a: 1 }), await other.collect([], { a: 2 })];
    await other.merge(theirs, [merged]);
    expect((await client.unmerge(merged)).status).toBe(404);
    expect((await client.unmerge('x')).status).toBe(422);
  });

  test('leaves everything as if that item had never been merged, whatever was merged before and after', async () => {
    const sizes = 7;
    const contents = Array.from({ length: sizes }, (_none, at) => ({
      identifiers: [chip()],
      metadata: { scalar: at, list: [at, at % 2], object: { [at % 3]: at }, [`own${at}`]: true },
    }));
    const step = fc.record({
      master: fc.nat(sizes - 1),
      members: fc.uniqueArray(fc.nat(sizes - 1), { minLength: 1, maxLength: 3 }),
      strategy: fc.constantFrom(...mergeStrategies),
    });
    const collectAll = async () => {
      const items = contents.map((content) => ({ ...content, local_id: randomUUID() }));
      await client.post('local', { items });
      return items.map((item) => item.local_id);
    };
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 2, maxLength: 7 }), fc.nat(), async (steps, pick) => {
        const [ids, others] = [await collectAll(), await collectAll()];
        const done: typeof steps = [];
        for (const { master, members, strategy } of steps) {
          const { status } = await client.merge(
            ids[master]!,
            members.map((member) => ids[member]!),
            strategy,
          );
          if (status === 200) done.push({ master, members, strategy });
        }
        const merged = done.flatMap(({ members }) => members);
        if (merged.length === 0) return;
        const taken = merged[pick % merged.length]!;
        expect((await client.unmerge(ids[taken]!)).status).toBe(200);
        for (const { master, members, strategy } of done) {
          const rest = members.filter((member) => member !== taken);
          if (rest.length > 0)
            await client.merge(
              others[master]!,
              rest.map((member) => others[member]!),
              strategy,
            );
        }
        const names = new Map<string, string>(
          [...ids, ...others].map((localId, at) => [localId, `item ${at % sizes}`]),
        );
        const rename = (text: string) => text.replaceAll(/[0-9a-f-]{36}/g, (localId) => names.get(localId) ?? localId);
        const look = async (localIds: string[]) =>
          (await Promise.all(localIds.map((localId) => client.look(localId)))).map(
            ({ updated_at: _at, created_at: _then, decisions: _decisions, ...item }) =>
              JSON.parse(rename(JSON.stringify(item))) as object,
          );
        expect(await look(ids)).toEqual(await look(others));
      }),
      { numRuns: 25 },
    );
  });
});

describe('decisions at once', () => {
  test('about the same items never deadlock, never make a cycle, and are never half done', async () => {
    const ids = await Promise.all(
      Array.from({ length: 8 }, (_none, at) => client.collect([chip()], { at, list: [at] })),
    );
    const pick = () => ids[Math.floor(Math.random() * ids.length)]!;
    const statuses: number[] = [];
    const lane = async () => {
      for (let at = 0; at < 25; at += 1) {
        const isMerge = Math.random() < 0.6;
        const answer = isMerge ? await client.merge(pick(), [pick(), pick()]) : await client.unmerge(pick());
        statuses.push(answer.status);
      }
    };
    await Promise.all(Array.from({ length: 8 }, lane));
    expect(new Set(statuses)).toEqual(new Set([200, 409]));
    expect(await findBrokenLocalRules(application.database)).toEqual({});
    const { rows } = await application.database.pool.query<{ deadlocks: number }>(
      'select deadlocks from pg_stat_database where datname = current_database()',
    );
    expect(rows[0]!.deadlocks).toBe(0);
  });

  test('that merge two items into each other: one succeeds', async () => {
    for (let round = 0; round < 10; round += 1) {
      const [one, two] = [await client.collect([], { a: 1 }), await client.collect([], { a: 2 })];
      const answers = await Promise.all([client.merge(one, [two]), client.merge(two, [one])]);
      expect(answers.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([200, 409]);
    }
  });

  test('are answered with 503 when somebody holds the items for long', async () => {
    const [one, two] = [await client.collect([], { a: 1 }), await client.collect([], { a: 2 })];
    const holder = await beginTransaction(application.database);
    await holder.client.query('select 1 from local_items where local_id = $1 for update', [two]);
    const { status, problem } = await client.merge(one, [two]);
    await holder.rollback();
    expect([status, problem.error]).toEqual([503, 'overloaded']);
    expect((await client.merge(one, [two])).status).toBe(200);
  });
});

interface Organized {
  groups_found: number;
  groups_merged: number;
  items_merged: number;
  merges: { master_lid: string; merged_lids: string[] }[];
  skipped: { local_ids: string[]; reason: string }[];
  is_complete: boolean;
}
const organize = async (own: Client, request: object) =>
  (await own.post<Organized>('local/organize', request)).body.data;

describe('POST /api/items/local/organize', () => {
  test('as a dry run says exactly what the real run then does, and changes nothing', async () => {
    const own = await enter('Organizing');
    const [a, b] = [chip(), chip()];
    const one = await own.collect([a], { raca: 'Nelore' });
    const two = await own.collect([a, b], { raca: 'Angus' });
    const three = await own.collect([b], { sexo: 'F' });
    const [four, five] = [await own.collect([sisbov('000000000777')]), await own.collect([sisbov('000000000777')])];
    const before = await own.get('local');
    const dry = await organize(own, { action: 'deduplicate', dry_run: true });
    expect(dry).toEqual({
      action: 'deduplicate',
      dry_run: true,
      merge_strategy: 'append',
      groups_found: 2,
      groups_merged: 2,
      items_merged: 3,
      merges: [
        { master_lid: one, merged_lids: [two, three] },
        { master_lid: four, merged_lids: [five] },
      ],
      skipped: [],
      is_complete: true,
    });
    expect(await own.get('local')).toEqual(before);
    expect(await organize(own, { action: 'deduplicate' })).toEqual({ ...dry, dry_run: false });
    expect(await own.look(one)).toMatchObject({ metadata: { raca: 'Angus', sexo: 'F' }, sources: [one, two, three] });
    expect(await organize(own, { action: 'deduplicate' })).toMatchObject({
      groups_found: 0,
      groups_merged: 0,
      merges: [],
    });
  });

  test('keeps to the strategy and to the value chain, by its old name too', async () => {
    const own = await enter('Chains');
    const [a, b] = [chip(), chip()];
    const cattle = [
      await own.collect([a], { x: 1 }, { value_chain: 'BEEF' }),
      await own.collect([a], { x: 2 }, { value_chain: 'BEEF' }),
    ];
    const milk = [
      await own.collect([b], {}, { value_chain: 'MILK' }),
      await own.collect([b], {}, { value_chain: 'MILK' }),
    ];
    const stray = await own.collect([a], {}, { value_chain: 'MILK' });
    const { merges } = await organize(own, { action: 'merge_all', namespace: 'bovino', merge_strategy: 'keep_first' });
    expect(merges).toEqual([{ master_lid: cattle[0], merged_lids: [cattle[1]] }]);
    expect((await own.look(cattle[0]!)).metadata).toEqual({ x: 1 });
    for (const localId of [...milk, stray]) expect((await own.look(localId)).status).toBe('LocalOnly');
  });

  test('leaves groups alone whose identifiers contradict each other, unless told to merge all', async () => {
    const own = await enter('Careful');
    const [shared, good] = [chip(), chip()];
    const bad = [await own.collect([shared, sisbov()]), await own.collect([shared, sisbov()])];
    await own.collect([good]);
    await own.collect([good]);
    for (const isDryRun of [true, false]) {
      const { groups_merged: merged, skipped } = await organize(own, { action: 'deduplicate', dry_run: isDryRun });
      expect([merged, skipped]).toEqual([
        1,
        [expect.objectContaining({ local_ids: bad, reason: 'identifier_conflict' })],
      ]);
    }
    expect(await organize(own, { action: 'merge_all' })).toMatchObject({ groups_merged: 1, skipped: [] });
  });

  test('reports a group that is too large, and merges the others', async () => {
    const own = await enter('Too large');
    const [large, small] = [chip(), chip()];
    for (let at = 0; at < 5; at += 1) await own.collect([large], { text: 'x'.repeat(1_000_000) });
    await own.collect([small]);
    await own.collect([small]);
    for (const isDryRun of [true, false]) {
      const { groups_merged: merged, skipped } = await organize(own, { action: 'deduplicate', dry_run: isDryRun });
      expect([merged, skipped.map(({ reason }) => reason)]).toEqual([1, ['local_group_too_large']]);
    }
  });

  test('by several at once merges each group once; many groups are merged in portions', async () => {
    const own = await enter('Crowd');
    const items = Array.from({ length: 400 }, () => chip()).flatMap((shared) =>
      Array.from({ length: 2 }, () => ({ local_id: randomUUID(), identifiers: [shared] })),
    );
    await own.post('local', { items });
    const answers = await Promise.all(Array.from({ length: 3 }, () => organize(own, { action: 'deduplicate' })));
    expect(answers.reduce((sum, answer) => sum + answer.items_merged, 0)).toBe(400);
    expect((await duplicatesOf(own)).summary.total_groups).toBe(0);
  });

  test('merges five thousand items at most, says that there are more, and goes on when asked again', async () => {
    const own = await enter('Many');
    for (let batch = 0; batch < 6; batch += 1) {
      const pairs = Array.from({ length: 500 }, () => chip()).flatMap((shared) => [shared, shared]);
      await own.post('local', { items: pairs.map((shared) => ({ identifiers: [shared] })) });
    }
    const found: [number, number, boolean][] = [];
    for (let call = 0; call < 3; call += 1) {
      const answer = await organize(own, { action: 'deduplicate' });
      found.push([answer.groups_found, answer.items_merged, answer.is_complete]);
    }
    expect(found).toEqual([
      [3000, 2500, false],
      [500, 500, true],
      [0, 0, true],
    ]);
  });

  test('refuses what it does not know', async () => {
    for (const request of [
      {},
      { action: 'tidy' },
      { action: 'merge_all', namespace: 'fish' },
      { action: 'merge_all', dry_run: 'no' },
    ])
      expect((await client.post('local/organize', request)).status).toBe(422);
  });
});

/** Submits records and returns the DFID that the last of them leads to. */
async function submit(...records: object[]): Promise<string> {
  const { receipt_id: receiptId } = await readJson<{ receipt_id: string }>(
    await application.submit(JSON.stringify(records)),
  );
  await application.settle(receiptId);
  const { entries } = await readJson<{ entries: Entry[] }>(
    await application.fetch(`/api/receipts/${receiptId}/entries`),
  );
  return entries.at(-1)!.dfid!;
}
const numberOf = (dfid: string) => (parseDfid(dfid).components as { sequence: number }).sequence;
const link = (localId: string, dfid: string) =>
  withTransaction(application.database.pool, (transaction) =>
    linkLocalItem(transaction, workspaceId, localId, numberOf(dfid)),
  );

describe('a local item that became an item', () => {
  test('leads to the DFID, as do all that were merged into it', async () => {
    const shared = chip();
    const [one, two, three] = [
      await client.collect([shared]),
      await client.collect([shared]),
      await client.collect([], { a: 1 }),
    ];
    await client.merge(two, [three]);
    await client.merge(one, [two]);
    const dfid = await submit({ identifiers: [shared] });
    await link(one, dfid);
    await link(one, dfid);
    expect(await client.map(one)).toEqual({ local_id: one, dfid, status: 'Tokenized' });
    for (const member of [two, three])
      expect(await client.map(member)).toEqual({ local_id: member, dfid, status: `MergedInto(${one})` });
    expect(await client.look(one)).toMatchObject({ status: 'Tokenized', dfid });
    const { body } = await client.get('local?status=tokenized&limit=1000');
    expect(
      (body as unknown as { local_items: { local_id: string }[] }).local_items.map((item) => item.local_id),
    ).toContain(one);
  });

  test('leads to the survivor after its item was merged into another', async () => {
    const [a, b] = [chip(), sisbov()];
    const [first, second] = [await submit({ identifiers: [a] }), await submit({ identifiers: [b] })];
    const localId = await client.collect([b]);
    await link(localId, second);
    expect((await client.map(localId)).dfid).toBe(second);
    await submit({ identifiers: [a, b] });
    expect(await client.map(localId)).toEqual({ local_id: localId, dfid: first, status: 'Tokenized' });
  });

  test('is merged with nothing, taken apart no more, a duplicate of nothing, and never another item', async () => {
    const shared = chip();
    const [one, two, three] = [
      await client.collect([shared]),
      await client.collect([shared]),
      await client.collect([shared]),
    ];
    await client.merge(one, [two]);
    const [dfid, other] = [await submit({ identifiers: [shared] }), await submit({ identifiers: [chip()] })];
    await link(one, dfid);
    const before = await client.look(one);
    expect((await client.merge(one, [three])).problem.error).toBe('local_item_tokenized');
    expect((await client.merge(three, [one])).problem.error).toBe('local_item_tokenized');
    expect((await client.unmerge(two)).problem.error).toBe('local_item_tokenized');
    await expect(link(one, other)).rejects.toMatchObject({ code: 'local_item_tokenized' });
    await expect(link(two, dfid)).rejects.toMatchObject({ code: 'local_item_merged' });
    await expect(link(randomUUID(), dfid)).rejects.toMatchObject({ code: 'not_found' });
    expect(await client.look(one)).toEqual(before);
    const { groups } = await duplicatesOf(client, '?limit=100');
    expect(groups.flatMap((group) => group.local_ids)).not.toContain(three);
  });

  test('while it is merged by another: either it is the item or it is merged, never both', async () => {
    const dfid = await submit({ identifiers: [chip()] });
    for (let round = 0; round < 10; round += 1) {
      const [one, two] = [await client.collect([], { a: 1 }), await client.collect([], { a: 2 })];
      const [merge, linked] = await Promise.all([
        client.merge(one, [two]),
        link(two, dfid).then(
          () => true,
          () => false,
        ),
      ]);
      expect(merge.status).toBe(linked ? 409 : 200);
      expect((await client.look(two)).status).toBe(linked ? 'Tokenized' : `MergedInto(${one})`);
    }
  });
});

test('after all of this no rule of local items is broken', async () => {
  expect(await findBrokenLocalRules(application.database)).toEqual({});
});
