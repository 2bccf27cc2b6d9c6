import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readJson, startApplication, type TestApplication } from '../../../testing/application.ts';
import { findBrokenRules } from '../../../testing/deduplication.ts';

interface Details {
  item: { id: string; dfid: string; status: string; version: number; metadata: Record<string, unknown> };
  identifiers: { identifier_type: string; value: string }[];
}

interface Version {
  version: number;
  created_at: string;
  changes: { event_type: string; entry_id?: string; by?: string; reason?: string }[];
  changes_total: number;
  fields_changed?: string[];
}

interface VersionPage {
  dfid: string;
  versions: Version[];
  count: number;
  total: number;
  next_cursor: string | null;
}

interface VersionDetails extends Version {
  content: Pick<Details['item'], 'metadata'> & Pick<Details, 'identifiers'>;
  content_missing_because: string | null;
}

let application: TestApplication;
let ownKey: string;
let otherKey: string;
let adminKey: string;

beforeAll(async () => {
  application = await startApplication({ backend: 'postgres' });
  ownKey = await application.createKey({ scope: 'write', workspace: 'Producer' });
  otherKey = await application.createKey({ scope: 'write', workspace: 'Slaughterhouse' });
  adminKey = await application.createKey({ scope: 'admin', workspace: 'Operator' });
});
afterAll(() => application.close());

let nextNumber = 500_000_000_000;
const newSisbov = () => ({ identifier_type: 'sisbov', value: `BR${nextNumber++}` });
const newChip = () => ({ identifier_type: 'chip', value: `982${nextNumber++}` });

function ask(method: string, path: string, body?: object, key = ownKey) {
  return application.fetch(path, {
    method,
    headers: { 'x-api-key': key, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
}

async function read<Body>(path: string, key = ownKey): Promise<Body> {
  const response = await ask('GET', path, undefined, key);
  const body = await readJson<Body>(response);
  expect({ status: response.status, body }).toEqual({ status: 200, body });
  return body;
}

const send = async (record: object, key = ownKey): Promise<Details['item']> =>
  (
    await readJson<Details>(
      await ask('POST', '/api/items', { value_chain: 'BEEF', country: 'BR', year: 2025, ...record }, key),
    )
  ).item;

async function listAll(dfid: string, key = ownKey, limit = 100): Promise<Version[]> {
  const versions: Version[] = [];
  for (let cursor: string | null = ''; cursor !== null;) {
    const page: VersionPage = await read(
      `/api/items/${dfid}/versions?limit=${limit}${cursor === '' ? '' : `&cursor=${cursor}`}`,
      key,
    );
    expect(page.count).toBe(page.versions.length);
    versions.push(...page.versions);
    cursor = page.next_cursor;
  }
  return versions;
}

describe('GET /api/items/{dfid}/versions', () => {
  test('lists each change of the item, newest first, with who did it, why, and by which entry', async () => {
    const sisbov = newSisbov();
    const { dfid } = await send({ identifiers: [sisbov], metadata: { weight: 1 } });
    await send({ identifiers: [sisbov], metadata: { weight: 2 } });
    await send({ identifiers: [sisbov], metadata: { weight: 2 } });
    await ask('PUT', `/api/items/${dfid}`, { metadata: { weight: 3, breed: 'Nelore' } });
    await ask('PUT', `/api/items/${dfid}/status`, { status: 'inactive' });
    await ask('POST', '/api/events', { dfid, event_type: 'weighed', payload: { by: 'me' } });
    const [{ entry_id: entryId }] = (
      await application.database.pool.query<{ entry_id: string }>(
        `select entry_id from events where event_type = 'item_enriched' and entry_id is not null order by event_id desc limit 1`,
      )
    ).rows as [{ entry_id: string }];
    await ask('POST', `/api/items/${dfid}/corrections`, { entry_id: entryId, reason: 'wrong scale' });

    const versions = await listAll(dfid);

    expect(versions.map(({ version, changes }) => [version, changes.map((each) => each.event_type)])).toEqual([
      [6, ['entry_withdrawn']],
      [5, ['weighed']],
      [4, ['item_status_changed']],
      [3, ['item_updated']],
      [2, ['item_enriched']],
      [1, ['item_created']],
    ]);
    expect(versions[0]!.changes[0]).toEqual({
      event_type: 'entry_withdrawn',
      by: expect.any(String) as string,
      reason: 'wrong scale',
    });
    expect(versions[1]!.changes[0]).toEqual({ event_type: 'weighed' });
    expect(versions[3]!.fields_changed).toEqual(['weight', 'breed']);
    expect(versions[4]!.changes[0]!.entry_id).toBe(entryId);
  });

  test('gives pages that neither skip nor repeat a version, and 404 for strangers', async () => {
    const { dfid, id } = await send({ identifiers: [newSisbov()] });
    for (let weight = 0; weight < 6; weight += 1) await ask('PUT', `/api/items/${dfid}`, { metadata: { weight } });

    expect((await listAll(dfid, ownKey, 2)).map(({ version }) => version)).toEqual([7, 6, 5, 4, 3, 2, 1]);
    expect((await listAll(id)).length).toBe(7);
    for (const path of [
      `/api/items/${dfid}/versions`,
      `/api/items/${dfid}/versions/1`,
      `/api/items/${dfid}/explain`,
      '/api/items/DFID-BEEF-BR-2025-999999-000000/versions',
    ])
      expect((await ask('GET', path, undefined, otherKey)).status).toBe(404);
    for (const version of ['0', '8', '-1', 'x', '1e0', '99999999999999999999'])
      expect((await ask('GET', `/api/items/${dfid}/versions/${version}`)).status).toBe(404);
    expect((await ask('GET', `/api/items/${dfid}/versions?cursor=nonsense`)).status).toBe(400);
  });

  test('numbers versions in the order in which they came about, also when a transaction waited for another', async () => {
    const { dfid } = await send({ identifiers: [newSisbov()] });
    await Promise.all(
      Array.from({ length: 12 }, (_, at) => ask('PUT', `/api/items/${dfid}`, { metadata: { [`field ${at}`]: at } })),
    );

    const [last] = await listAll(dfid);
    const { content } = await read<VersionDetails>(`/api/items/${dfid}/versions/${last!.version}`);
    const inOrder = await Promise.all(
      Array.from({ length: 12 }, (_, at) => read<VersionDetails>(`/api/items/${dfid}/versions/${at + 2}`)),
    );

    expect(last!.version).toBe(13);
    expect(content.metadata).toEqual((await read<Details>(`/api/items/${dfid}`)).item.metadata);
    expect(inOrder.map((each) => each.fields_changed?.length)).toEqual(Array.from({ length: 12 }, () => 1));
    expect(inOrder.map((each) => Object.keys(each.content.metadata).length)).toEqual(
      Array.from({ length: 12 }, (_, at) => at + 1),
    );
  });

  test('says nothing of another workspace, neither its changes nor its reasons', async () => {
    const sisbov = newSisbov();
    const { dfid } = await send({ identifiers: [sisbov], metadata: { weight: 1 } });
    await send({ identifiers: [sisbov], metadata: { secret: 'price' } }, otherKey);
    await ask('PUT', `/api/items/${dfid}`, { metadata: { secret: 'price 2' } }, otherKey);
    const chip = await send({ identifiers: [newChip()], metadata: { colour: 'secret red' } }, otherKey);
    const merged = await ask(
      'POST',
      `/api/items/${dfid}/merge`,
      { secondary_dfid: chip.dfid, strategy: 'append', reason: 'a secret reason' },
      adminKey,
    );
    expect(merged.status).toBe(200);

    const versions = await listAll(dfid);

    expect(versions).toMatchObject([
      { version: 2, changes: [{ event_type: 'item_merged', by: 'another participant' }] },
      { version: 1 },
    ]);
    expect(JSON.stringify(versions)).not.toMatch(/secret|price/);
  });

  test('shows at most 100 changes of a version and how many there are', async () => {
    const sisbov = newSisbov();
    const events = Array.from({ length: 250 }, (_, at) => ({ event_type: 'weighed', payload: { at } }));
    const { dfid } = await send({ identifiers: [sisbov], events });

    const [version] = await listAll(dfid);

    expect([version!.changes.length, version!.changes_total]).toEqual([100, 251]);
  });
});

describe('GET /api/items/{dfid}/versions/{version}', () => {
  test('gives the values and identifiers of then, whatever came later in any order of time', async () => {
    const sisbov = newSisbov();
    const chip = newChip();
    const { dfid } = await send({
      identifiers: [sisbov],
      metadata: { weight: 1, born: 2020 },
      occurred_at: '2025-03-01T00:00:00Z',
    });
    await send({ identifiers: [sisbov, chip], metadata: { weight: 3 }, occurred_at: '2025-05-01T00:00:00Z' });
    await send({
      identifiers: [sisbov],
      metadata: { weight: 2, breed: 'Nelore' },
      occurred_at: '2025-04-01T00:00:00Z',
    });

    const versions = await Promise.all(
      [1, 2, 3].map((version) => read<VersionDetails>(`/api/items/${dfid}/versions/${version}`)),
    );

    expect(versions.map(({ content }) => [content.metadata, content.identifiers.length])).toEqual([
      [{ weight: 1, born: 2020 }, 1],
      [{ weight: 3, born: 2020 }, 2],
      [{ weight: 3, born: 2020, breed: 'Nelore' }, 2],
    ]);
    expect(versions.map((each) => each.fields_changed)).toEqual([['weight', 'born'], ['weight'], ['breed']]);
  });

  test('leaves the content out and says so where entries do not tell it', async () => {
    const { dfid } = await send({ identifiers: [newSisbov()], metadata: { weight: 1 } });
    const other = await send({ identifiers: [newChip()], metadata: { colour: 'red' } });
    await ask('POST', `/api/items/${dfid}/merge`, { secondary_dfid: other.dfid, strategy: 'append' });
    await ask('PUT', `/api/items/${dfid}`, { metadata: { weight: 2 } });

    const [first, second, third] = await Promise.all(
      [1, 2, 3].map((version) => read<VersionDetails>(`/api/items/${dfid}/versions/${version}`)),
    );

    expect([first!.content.metadata, first!.content_missing_because]).toEqual([{ weight: 1 }, null]);
    expect([second!.content, second!.content_missing_because]).toEqual([null, expect.stringContaining('merged')]);
    expect(third!.content.metadata).toEqual({ weight: 2, colour: 'red' });
  });
});

/** What one of several workspaces does to one of several items. */
type Act =
  | { kind: 'send'; by: number; sisbov: number; chip: number; value: number; day: number; hasEvent: boolean }
  | { kind: 'batch'; by: number; sisbov: number; chip: number; value: number }
  | {
      kind: 'edit' | 'status' | 'event' | 'divide' | 'withdraw' | 'withdraw link' | 'unmerge' | 'separate';
      by: number;
      item: number;
    }
  | { kind: 'merge'; by: number; item: number; other: number };

const by = fc.oneof({ weight: 6, arbitrary: fc.constant(0) }, { weight: 2, arbitrary: fc.constantFrom(1, 2) });
const item = fc.nat(7);
const acts: fc.Arbitrary<Act[]> = fc.array(
  fc.oneof(
    {
      weight: 5,
      arbitrary: fc.record({
        kind: fc.constant('send' as const),
        by,
        sisbov: fc.nat(2),
        chip: fc.nat(2),
        value: fc.nat(2),
        day: fc.nat(3),
        hasEvent: fc.boolean(),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        kind: fc.constant('batch' as const),
        by,
        sisbov: fc.nat(2),
        chip: fc.nat(2),
        value: fc.nat(2),
      }),
    },
    {
      weight: 5,
      arbitrary: fc.record({
        kind: fc.constantFrom(
          ...(['edit', 'status', 'event', 'divide', 'withdraw', 'withdraw link', 'unmerge', 'separate'] as const),
        ),
        by,
        item,
      }),
    },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('merge' as const), by, item, other: item }) },
  ),
  { minLength: 6, maxLength: 18 },
);

describe('whatever happens to items', () => {
  const sent = { kind: 'send', by: 0, value: 0, day: 1, hasEvent: true } as const;
  /** Two items, a record that links them, and more about the second: the link holds everything together. */
  const linked: Act[] = [
    { ...sent, sisbov: 0, chip: 2, value: 1 },
    { ...sent, sisbov: 2, chip: 0, value: 2 },
    { ...sent, sisbov: 0, chip: 0 },
    { ...sent, sisbov: 2, chip: 0, value: 3, day: 2 },
    { ...sent, sisbov: 2, chip: 0, value: 3, day: 3, hasEvent: false },
  ];

  test.each([
    ['a link is withdrawn', [...linked, { kind: 'withdraw link', by: 0, item: 0 }]],
    [
      'a link is withdrawn and no event tells of what is left',
      [
        { ...sent, sisbov: 0, chip: 2, value: 1 },
        { ...sent, sisbov: 2, chip: 0, value: 1 },
        { ...sent, sisbov: 0, chip: 0, day: 2, value: 2 },
        { ...sent, sisbov: 2, chip: 0, day: 3, value: 2, hasEvent: false },
        { kind: 'withdraw link', by: 0, item: 0 },
      ],
    ],
    [
      'all that a workspace had is withdrawn and comes back',
      [
        { ...sent, sisbov: 0, chip: 2, by: 1 },
        { ...sent, sisbov: 0, chip: 2 },
        { kind: 'edit', by: 1, item: 0 },
        { kind: 'withdraw', by: 0, item: 0 },
        { ...sent, sisbov: 0, chip: 2, value: 2, day: 2 },
      ],
    ],
    ['a link is divided', [...linked, { kind: 'separate', by: 0, item: 0 }, { kind: 'withdraw link', by: 0, item: 0 }]],
    [
      'a link is unmerged and merged again',
      [...linked, { kind: 'unmerge', by: 0, item: 1 }, { kind: 'merge', by: 0, item: 1, other: 0 }],
    ],
  ] as [string, Act[]][])('versions are counted as they are told when %s', async (_how, script) => {
    expect(await checkVersions(script)).toBe(script.length);
  });

  test('each contribution has exactly as many versions as it counts, and a version that is told is as it was seen', async () => {
    const property = fc.asyncProperty(fc.boolean(), acts, async (isLinked, script) => {
      const whole = [...(isLinked ? linked : []), ...script];
      expect(await checkVersions(whole)).toBe(whole.length);
    });
    await fc.assert(property, { numRuns: 8, endOnFailure: true });
  });
});

/** Plays a script and looks after each act; gives the number of acts. */
async function checkVersions(script: readonly Act[]): Promise<number> {
  const keys = [ownKey, otherKey, adminKey];
  const sisbovs = [newSisbov(), newSisbov()];
  const chips = [newChip(), newChip()];
  const dfids: string[] = [];
  const seen = new Map<string, Map<number, Pick<VersionDetails, 'content'>['content']>>();
  for (const act of script) {
    await perform(act, { key: keys[act.by]!, sisbovs, chips, dfids });
    for (const key of keys) for (const dfid of dfids) await look(seen, key, dfid);
    expect(await findMiscounted()).toEqual([]);
  }
  for (const [place, known] of seen) {
    const [key, dfid] = place.split(' ') as [string, string];
    if (known.size === 0) continue;
    const versions = await listAll(dfid, key);
    expect(versions.map(({ version }) => version)).toEqual(versions.map((_, at) => versions.length - at));
    for (const [version, content] of known) {
      const told = await read<VersionDetails>(`/api/items/${dfid}/versions/${version}`, key);
      expect({ script, version, content: told.content && sorted(told.content) }).toEqual({
        script,
        version,
        content: told.content && content,
      });
    }
  }
  const broken = (await findBrokenRules(application.database)) as { rule: string }[];
  expect(broken.filter(({ rule }) => rule.includes('event'))).toEqual([]);
  return script.length;
}

const sorted = <Content extends Pick<Details, 'identifiers'>>({ identifiers, ...rest }: Content) => ({
  ...rest,
  identifiers: identifiers.toSorted((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1)),
});

/** Notes what a workspace sees of an item; nothing may look different without another version. */
async function look(seen: Map<string, Map<number, unknown>>, key: string, dfid: string): Promise<void> {
  const place = `${key} ${dfid}`;
  const response = await ask('GET', `/api/items/${dfid}`, undefined, key);
  const known = seen.get(place) ?? new Map<number, unknown>();
  seen.set(place, known);
  if (response.status === 404) {
    known.clear();
    return;
  }
  const { item: found, identifiers } = await readJson<Details>(response);
  const content = sorted({ metadata: found.metadata, identifiers });
  if (known.has(found.version)) expect(content).toEqual(known.get(found.version));
  known.set(found.version, content);
}

interface Stage {
  readonly key: string;
  readonly sisbovs: readonly object[];
  readonly chips: readonly object[];
  readonly dfids: string[];
}

async function perform(act: Act, { key, sisbovs, chips, dfids }: Stage): Promise<void> {
  const note = (dfid: string | undefined) => {
    if (dfid !== undefined && !dfids.includes(dfid)) dfids.push(dfid);
  };
  const noteAll = async () => {
    const { rows } = await application.database.pool.query<{ item_number: number }>('select item_number from items');
    for (const row of rows) {
      const id = `defa0000-0000-8000-8000-${row.item_number.toString(16).padStart(12, '0')}`;
      if (dfids.length > 0 && row.item_number > firstNumber(dfids)) note(id);
    }
  };
  const target = 'item' in act ? dfids[act.item % Math.max(1, dfids.length)] : undefined;
  const path = `/api/items/${target}`;
  switch (act.kind) {
    case 'send':
    case 'batch': {
      const identifiers = [...sisbovs.slice(act.sisbov, act.sisbov + 1), ...chips.slice(act.chip, act.chip + 1)];
      if (identifiers.length === 0) return;
      const record = { identifiers, value_chain: 'BEEF', country: 'BR', year: 2025, metadata: { weight: act.value } };
      if (act.kind === 'batch') {
        const other = { ...record, metadata: { weight: act.value + 1, colour: 'red' } };
        const response = await application.submit(JSON.stringify([record, other, record]), {
          'x-api-key': key,
          prefer: 'wait=20',
        });
        expect(response.status).toBe(200);
        const found = await ask('GET', '/api/items?limit=3', undefined, key);
        for (const each of (await readJson<{ items: { dfid: string }[] }>(found)).items)
          if (dfids.length === 0) note(each.dfid);
        return noteAll();
      }
      const timed = {
        ...record,
        occurred_at: `2025-03-0${act.day + 1}T00:00:00Z`,
        ...(act.hasEvent ? { events: [{ event_type: 'weighed', event_key: `k${act.value}` }] } : {}),
      };
      const sent = await readJson<Partial<Details>>(await ask('POST', '/api/items', timed, key));
      note(sent.item?.dfid);
      return;
    }
    case 'edit':
      await ask('PUT', path, { metadata: { weight: act.item, note: 'by hand' } }, key);
      return;
    case 'status':
      await ask('PUT', `${path}/status`, { status: act.item % 2 === 0 ? 'active' : 'inactive' }, key);
      return;
    case 'event':
      await ask('POST', '/api/events', { ...idOrDfid(target), event_type: 'item_merged', payload: {} }, key);
      await ask(
        'POST',
        `${path}/relationships`,
        { relationship_type: 'related', related: [{ dfid: dfids[0] ?? 'x' }] },
        key,
      );
      return;
    case 'divide':
      await ask(
        'POST',
        `${path}/split`,
        { value_chain: 'BEEF', country: 'BR', year: 2025, metadata: { part: 1 } },
        key,
      );
      return noteAll();
    case 'separate': {
      const details = await readJson<Partial<Details>>(await ask('GET', path, undefined, key));
      const [leaving] = details.identifiers ?? [];
      if (!leaving) return;
      const { identifier_type: identifierType, value } = leaving;
      const identifiers = [{ identifier_type: identifierType, value }];
      await ask('POST', `${path}/split`, { value_chain: 'BEEF', country: 'BR', year: 2025, identifiers }, key);
      return noteAll();
    }
    case 'withdraw': {
      const provenance = await readJson<{ identifiers?: { sources: { entry_id: string }[] }[] }>(
        await ask('GET', `${path}/provenance`, undefined, key),
      );
      const sources = (provenance.identifiers ?? []).flatMap((each) => each.sources);
      const source = sources[act.item % Math.max(1, sources.length)];
      if (source) await ask('POST', `${path}/corrections`, { entry_id: source.entry_id, reason: 'a test' }, key);
      return noteAll();
    }
    case 'withdraw link': {
      const { entries } = await readJson<{
        entries?: { how: string; entry_id: string; withdrawn_at: string | null }[];
      }>(await ask('GET', `${path}/explain`, undefined, key));
      const link = entries?.find((each) => each.how === 'linked_items' && each.withdrawn_at === null);
      if (link) await ask('POST', `${path}/corrections`, { entry_id: link.entry_id, reason: 'a test' }, key);
      return noteAll();
    }
    case 'unmerge':
      await ask('POST', `${path}/unmerge`, { reason: 'a test' }, key);
      return;
    case 'merge':
      await ask(
        'POST',
        `${path}/merge`,
        { secondary_dfid: dfids[act.other % Math.max(1, dfids.length)] ?? 'x', strategy: 'keep_first' },
        key,
      );
  }
}

const idOrDfid = (name: string | undefined) => (name?.startsWith('DFID-') ? { dfid: name } : { item_id: name });
const firstNumber = ([first]: readonly string[]) =>
  Number(/-(\d{6,})-[0-9a-f]{6}$/.exec(first!)?.[1] ?? Number.MAX_SAFE_INTEGER);

/** Contributions whose count differs from the versions that their events make. */
async function findMiscounted(): Promise<object[]> {
  const { rows } = await application.database.pool.query<object>(
    `select contributions.item_number, contributions.workspace_id, version, count(distinct coalesce(versioned_at, created_at)) as told,
            json_agg(json_build_array(event_type, created_at, versioned_at, withdrawn_at, entry_id)) as events
     from contributions
     left join events on events.item_number = contributions.item_number and events.workspace_id = contributions.workspace_id
       and versioned_at is distinct from '-infinity'
     group by contributions.item_number, contributions.workspace_id, version
     having version <> count(distinct coalesce(versioned_at, created_at))`,
  );
  return rows;
}
