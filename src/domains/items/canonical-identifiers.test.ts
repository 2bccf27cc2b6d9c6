import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  readJson,
  startApplication,
  waitFor,
  type Entry,
  type ProblemDocument,
  type Receipt,
  type TestApplication,
} from '../../testing/application.ts';

interface CanonicalIdentifier {
  id: string;
  value_chain: string;
  identifier_type: string;
  is_active: boolean;
  created_at: string;
  subject: string;
  cardinality: string;
  aliases: string[];
  scope: string;
  normaliser: string;
}

const path = '/api/admin/canonical-identifiers';

let application: TestApplication;
let writeKey: string;
beforeAll(async () => {
  application = await startApplication({ backend: 'postgres' });
  writeKey = await application.createKey({ scope: 'write', workspace: 'Another' });
});
afterAll(() => application.close());

function send(method: 'POST' | 'PATCH', to: string, body: object): Promise<Response> {
  const headers = { 'content-type': 'application/json' };
  return application.fetch(to, { method, headers, body: JSON.stringify(body) });
}

async function create(body: object): Promise<CanonicalIdentifier> {
  const response = await send('POST', path, body);
  expect(response.status).toBe(201);
  return readJson(response);
}

async function list(valueChain: string): Promise<CanonicalIdentifier[]> {
  return readJson(await application.fetch(`${path}/value-chain/${valueChain}`));
}

async function refusal(method: 'POST' | 'PATCH', to: string, body: object): Promise<ProblemDocument> {
  const response = await send(method, to, body);
  expect(response.headers.get('content-type')).toBe('application/problem+json');
  return readJson(response);
}

/** Sends records of one identifier each and returns their DFIDs. */
async function submit(
  valueChain: string,
  identifiers: readonly (readonly [typeName: string, value: string])[],
  key = application.apiKey,
): Promise<(string | null)[]> {
  const records = identifiers.map(([identifier_type, value]) => ({
    value_chain: valueChain,
    identifiers: [{ identifier_type, value }],
  }));
  const response = await application.submit(JSON.stringify(records), { 'x-api-key': key, prefer: 'wait=20' });
  expect(response.status).toBe(200);
  const receipt = await readJson<Receipt>(response);
  const entries = await application.fetch(`/api/receipts/${receipt.receipt_id}/entries`, {
    headers: { 'x-api-key': key },
  });
  return (await readJson<{ entries: Entry[] }>(entries)).entries.map(({ dfid }) => dfid);
}

let lastValue = 0;
const freshValue = () => `mark ${(lastValue += 1)}`;

/** Waits until the workers take two records with one value of the type for one item, or for two. */
async function untilIdentifies(valueChain: string, typeName: string, identifies: boolean): Promise<void> {
  await waitFor(
    async () => {
      const value = freshValue();
      const [first, second] = await submit(valueChain, [
        [typeName, value],
        [typeName, value],
      ]);
      return (first === second) === identifies ? true : undefined;
    },
    `${typeName} ${identifies ? 'to identify' : 'not to identify'} in ${valueChain}`,
  );
}

describe('POST /api/admin/canonical-identifiers', () => {
  test('makes a type that nobody knew, with the usual meaning', async () => {
    const created = await create({ value_chain: 'coffee', identifier_type: ' Marca_ICO ' });
    expect(created).toEqual({
      id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      value_chain: 'COFFEE',
      identifier_type: 'marca_ico',
      is_active: true,
      created_at: expect.stringMatching(/^\d{4}-.*Z$/),
      subject: 'item',
      cardinality: 'one',
      aliases: [],
      scope: 'global',
      normaliser: 'free_text',
    });
  });

  test('says the same again, under the same id, and enables what was disabled', async () => {
    const created = await create({ value_chain: 'SOY', identifier_type: 'seal' });
    expect(await create({ value_chain: 'soja', identifier_type: 'SEAL' })).toEqual(created);
    await send('PATCH', `${path}/${created.id}`, { is_active: false });
    expect(await create({ value_chain: 'Soy', identifier_type: 'seal' })).toEqual(created);
  });

  test('gives each pair of type and chain an id of its own', async () => {
    const [soy, corn] = [
      await create({ value_chain: 'SOY', identifier_type: 'bag_tag' }),
      await create({ value_chain: 'milho', identifier_type: 'bag_tag' }),
    ];
    expect(corn).toEqual({ ...soy, id: corn.id, value_chain: 'CORN', created_at: corn.created_at });
    expect(corn.id).not.toBe(soy.id);
  });

  test('takes an alias for its type', async () => {
    expect(await create({ value_chain: 'BEEF', identifier_type: 'RFID' })).toMatchObject({
      identifier_type: 'chip',
      normaliser: 'transponder',
    });
  });

  test('takes what is said of the type, the aliases folded and each once', async () => {
    const body = {
      value_chain: 'MILK',
      identifier_type: 'tank_owner',
      subject: 'Party',
      cardinality: 'MANY',
      aliases: ['Proprietário', 'proprietario', 'Tank_Owner'],
      normaliser: 'cnpj',
      scope: 'global',
    };
    expect(await create(body)).toMatchObject({
      subject: 'party',
      cardinality: 'many',
      aliases: ['proprietario'],
      normaliser: 'cnpj',
    });
  });

  test.each([
    ['no chain', { identifier_type: 'seal' }, '/value_chain'],
    ['no type', { value_chain: 'BEEF' }, '/identifier_type'],
    ['another chain', { value_chain: 'FISH', identifier_type: 'seal' }, '/value_chain'],
    [
      'a chain of ten thousand characters',
      { value_chain: 'B'.repeat(10_000), identifier_type: 'seal' },
      '/value_chain',
    ],
    ['an empty name', { value_chain: 'BEEF', identifier_type: '' }, '/identifier_type'],
    ['a name of 65 characters', { value_chain: 'BEEF', identifier_type: 'x'.repeat(65) }, '/identifier_type'],
    ['a name like a fingerprint', { value_chain: 'BEEF', identifier_type: 'fingerprint:lot' }, '/identifier_type'],
    ['a name in other letters', { value_chain: 'BEEF', identifier_type: 'ѕisbov' }, '/identifier_type'],
    ['a name with a hidden character', { value_chain: 'BEEF', identifier_type: 'sis\u200bbov' }, '/identifier_type'],
    ['a number for a name', { value_chain: 'BEEF', identifier_type: 5 }, '/identifier_type'],
    ['another subject', { value_chain: 'BEEF', identifier_type: 'seal', subject: 'animal' }, '/subject'],
    ['another cardinality', { value_chain: 'BEEF', identifier_type: 'seal', cardinality: 2 }, '/cardinality'],
    ['another normaliser', { value_chain: 'BEEF', identifier_type: 'seal', normaliser: 'toString' }, '/normaliser'],
    ['the other scope', { value_chain: 'BEEF', identifier_type: 'seal', scope: 'workspace' }, '/scope'],
    ['a text of aliases', { value_chain: 'BEEF', identifier_type: 'seal', aliases: 'a' }, '/aliases'],
    ['an alias of no letters', { value_chain: 'BEEF', identifier_type: 'seal', aliases: ['ok', '__'] }, '/aliases/1'],
    ['many aliases', { value_chain: 'BEEF', identifier_type: 'seal', aliases: Array(51).fill('a') }, '/aliases'],
  ])('refuses %s and points at it', async (_what, body, pointer) => {
    expect(await refusal('POST', path, body)).toMatchObject({
      status: 422,
      error: 'invalid_request',
      errors: [{ pointer }],
    });
  });

  test('refuses an alias that means another type', async () => {
    const body = { value_chain: 'BEEF', identifier_type: 'collar', aliases: ['colar', 'SISBOV', 'ear_tag'] };
    expect(await refusal('POST', path, body)).toMatchObject({
      status: 409,
      error: 'identifier_type_name_taken',
      errors: [{ detail: 'sisbov means the type sisbov' }, { detail: 'ear_tag means the type brinco' }],
    });
    expect(await readJson(await application.fetch('/api/admin/identifier-types'))).toMatchObject({
      identifier_types: expect.not.arrayContaining([expect.objectContaining({ identifier_type: 'collar' })]),
    });
  });

  test('makes one type and one pair when it is asked by many at once', async () => {
    const body = { value_chain: 'COTTON', identifier_type: 'bale', aliases: ['fardo'] };
    const created = await Promise.all(Array.from({ length: 30 }, () => create(body)));
    expect(new Set(created.map(({ id }) => id)).size).toBe(1);
    const pairs = await list('COTTON');
    expect(pairs.filter(({ identifier_type: name }) => name === 'bale')).toHaveLength(1);
  });

  test('gives a name that many want at once to one of them', async () => {
    const responses = await Promise.all(
      Array.from({ length: 20 }, (_, at) =>
        send('POST', path, { value_chain: 'PORK', identifier_type: `tattoo_${at}`, aliases: ['tatuagem'] }),
      ),
    );
    const statuses = Map.groupBy(responses, ({ status }) => status);
    expect([...statuses].map(([status, { length }]) => [status, length])).toEqual(
      expect.arrayContaining([
        [201, 1],
        [409, 19],
      ]),
    );
  });
});

describe('GET /api/admin/canonical-identifiers/value-chain/{value_chain}', () => {
  test('lists all pairs of the chain by name, by its code or Portuguese name', async () => {
    const pairs = await list('BEEF');
    const names = pairs.map(({ identifier_type: name }) => name);
    expect(names).toEqual(names.toSorted());
    expect(names).toEqual(
      expect.arrayContaining(['car', 'chip', 'gln', 'gs1', 'gtin', 'lgtin', 'sgtin', 'sisbov', 'sscc']),
    );
    expect(names).not.toContain('brinco');
    expect(new Set(pairs.map(({ id }) => id)).size).toBe(pairs.length);
    expect(await list('bovino')).toEqual(pairs);
  });

  test('answers 404 for a chain that does not exist', async () => {
    expect((await application.fetch(`${path}/value-chain/FISH`)).status).toBe(404);
  });
});

describe('PATCH /api/admin/canonical-identifiers/{id}', () => {
  test('disables and enables a type in its chain alone', async () => {
    const beef = await create({ value_chain: 'BEEF', identifier_type: 'brand' });
    const milk = await create({ value_chain: 'MILK', identifier_type: 'brand' });
    const disabled = await send('PATCH', `${path}/${beef.id}`, { is_active: false });
    expect([disabled.status, await disabled.json()]).toEqual([200, { ...beef, is_active: false }]);
    expect(await list('BEEF')).toContainEqual({ ...beef, is_active: false });
    expect(await list('MILK')).toContainEqual(milk);
    expect(await readJson(await send('PATCH', `${path}/${beef.id}`, { is_active: true }))).toEqual(beef);
  });

  test('changes a type that tells no items apart yet, in all its chains', async () => {
    const beef = await create({ value_chain: 'BEEF', identifier_type: 'farm_code' });
    const milk = await create({ value_chain: 'MILK', identifier_type: 'farm_code' });
    const meaning = { subject: 'place', cardinality: 'many', normaliser: 'gln', aliases: ['fazenda_codigo'] };
    expect(await readJson(await send('PATCH', `${path}/${beef.id}`, meaning))).toEqual({ ...beef, ...meaning });
    expect(await list('MILK')).toContainEqual({ ...milk, ...meaning });
  });

  test('changes aliases of a type by which items were told apart, but nothing that its claims rest on', async () => {
    const sisbov = (await list('BEEF')).find(({ identifier_type: name }) => name === 'sisbov')!;
    await submit('BEEF', [['sisbov', 'BR105000000001']]);
    for (const [member, value] of [
      ['subject', 'party'],
      ['cardinality', 'many'],
      ['normaliser', 'free_text'],
    ] as const) {
      for (const problem of [
        await refusal('PATCH', `${path}/${sisbov.id}`, { [member]: value }),
        await refusal('POST', path, { value_chain: 'BEEF', identifier_type: 'sisbov', [member]: value }),
      ])
        expect(problem).toMatchObject({
          status: 409,
          error: 'identifier_type_in_use',
          errors: [{ pointer: `/${member}` }],
        });
    }
    const same = { subject: 'item', cardinality: 'one', normaliser: 'sisbov', aliases: ['numero_sisbov'] };
    const changed = await send('PATCH', `${path}/${sisbov.id}`, same);
    expect([changed.status, await changed.json()]).toEqual([200, { ...sisbov, ...same }]);
  });

  test('leaves a type alone whose values are claimed as those of another type, or as part of a set', async () => {
    const transponders = (await list('BEEF')).find(({ identifier_type: name }) => name === 'official_transponder')!;
    await submit('BEEF', [['chip', '982000000000077']]);
    const response = await application.submit(
      JSON.stringify({
        value_chain: 'SOY',
        identifiers: [
          { identifier_type: 'lote', value: '7' },
          { identifier_type: 'safra', value: '2025/26' },
        ],
      }),
      { prefer: 'wait=20' },
    );
    expect(response.status).toBe(200);
    for (const problem of [
      await refusal('PATCH', `${path}/${transponders.id}`, { normaliser: 'free_text' }),
      await refusal('POST', path, { value_chain: 'MILK', identifier_type: 'lot', normaliser: 'lgtin' }),
    ])
      expect(problem).toMatchObject({ status: 409, error: 'identifier_type_in_use' });
    expect(await list('MILK')).not.toContainEqual(expect.objectContaining({ identifier_type: 'lote' }));
  });

  test('refuses an alias that means another type', async () => {
    const { id } = await create({ value_chain: 'BEEF', identifier_type: 'freeze_brand' });
    expect(await refusal('PATCH', `${path}/${id}`, { aliases: ['lot'] })).toMatchObject({
      status: 409,
      error: 'identifier_type_name_taken',
    });
  });

  test.each(['018f0000-0000-7000-8000-000000000000', 'sisbov', '%00', '..%2f'])('answers 404 for %s', async (id) => {
    expect((await send('PATCH', `${path}/${id}`, { is_active: true })).status).toBe(404);
  });

  test.each([{}, { is_active: 'yes' }, { is_active: null }, { aliases: [7] }])('refuses %j', async (body) => {
    const { id } = await create({ value_chain: 'BEEF', identifier_type: 'notch' });
    expect(await refusal('PATCH', `${path}/${id}`, body)).toMatchObject({ status: 422, error: 'invalid_request' });
  });
});

test('GET /api/admin/identifier-types lists all types, contextual ones too', async () => {
  await create({ value_chain: 'CORN', identifier_type: 'silo_bag' });
  const body = await readJson<{ identifier_types: object[]; count: number; total: number; next_cursor: null }>(
    await application.fetch('/api/admin/identifier-types'),
  );
  expect(body).toMatchObject({ count: body.identifier_types.length, total: body.count, next_cursor: null });
  const usual = { subject: 'item', normaliser: 'free_text', is_active: true };
  expect(body.identifier_types).toEqual(
    expect.arrayContaining([
      {
        ...usual,
        identifier_type: 'silo_bag',
        cardinality: 'one',
        aliases: [],
        scope: 'global',
        value_chains: ['CORN'],
      },
      {
        ...usual,
        identifier_type: 'brinco',
        cardinality: 'many',
        aliases: ['ear_tag', 'brinco_visual'],
        scope: 'workspace',
        value_chains: [],
      },
    ]),
  );
});

test('what identifiers mean is decided with the scope admin alone', async () => {
  const { id } = (await list('BEEF'))[0]!;
  for (const [method, to] of [
    ['POST', path],
    ['GET', `${path}/value-chain/BEEF`],
    ['PATCH', `${path}/${id}`],
    ['GET', '/api/admin/identifier-types'],
    ['GET', '/api/admin/fingerprint-rules'],
    ['POST', '/api/admin/fingerprint-rules'],
  ] as const) {
    const response = await fetch(`${application.url}${to}`, {
      method,
      headers: { 'x-api-key': writeKey, 'content-type': 'application/json' },
      ...(method === 'GET' ? {} : { body: '{}' }),
    });
    expect([method, to, response.status]).toEqual([method, to, 403]);
  }
});

describe('a type that an administrator made', () => {
  test('identifies one item for all workspaces in its chain, and nothing in the others', async () => {
    await create({ value_chain: 'COFFEE', identifier_type: 'sack_seal', aliases: ['lacre'] });
    await untilIdentifies('COFFEE', 'sack_seal', true);
    const value = freshValue();
    const [mine] = await submit('COFFEE', [['sack_seal', value]]);
    expect(await submit('COFFEE', [['Lacre', value.toUpperCase()]], writeKey)).toEqual([mine]);
    const [one, other] = await submit('GENERIC', [
      ['sack_seal', value],
      ['sack_seal', value],
    ]);
    expect(new Set([mine, one, other]).size).toBe(3);
  });

  test('is kept and found, but identifies nothing, once it is disabled; and what it identified stays', async () => {
    const { id } = await create({ value_chain: 'COFFEE', identifier_type: 'sack_number' });
    await untilIdentifies('COFFEE', 'sack_number', true);
    const value = freshValue();
    const [before] = await submit('COFFEE', [['sack_number', value]]);
    await send('PATCH', `${path}/${id}`, { is_active: false });
    await untilIdentifies('COFFEE', 'sack_number', false);
    const [after] = await submit('COFFEE', [['sack_number', value]]);
    expect(after).not.toBe(before);
    const { items } = await readJson<{ items: { dfid: string }[] }>(
      await application.fetch(`/api/items?identifier_type=sack_number&value=${encodeURIComponent(value)}`),
    );
    expect(items).toHaveLength(2);
    expect(new Set(items.map(({ dfid }) => dfid))).toEqual(new Set([before, after]));
  });

  test('is found by what it was called before it was known, and in the form it had then', async () => {
    const gln = '9506000111315';
    const [before] = await submit('GENERIC', [['warehouse', `(414)${gln}`]]);
    const meaning = { subject: 'place', normaliser: 'gln', aliases: ['warehouse'] };
    await create({ value_chain: 'GENERIC', identifier_type: 'depot', ...meaning });
    const find = async (typeName: string, value: string) => {
      const query = new URLSearchParams({ identifier_type: typeName, value });
      const { items } = await readJson<{ items: { dfid: string }[] }>(
        await application.fetch(`/api/items?${query.toString()}`),
      );
      return items.map(({ dfid }) => dfid);
    };
    const after = await waitFor(async () => {
      const response = await application.submit(
        JSON.stringify({
          identifiers: [
            { identifier_type: 'brinco', value: freshValue() },
            { identifier_type: 'depot', value: gln },
          ],
        }),
        { prefer: 'wait=20' },
      );
      expect(response.status).toBe(200);
      const found = await find('depot', `(414)${gln}`);
      return found.length > 0 ? found : undefined;
    }, 'the type to be known');
    expect(after).not.toContain(before);
    expect(await find('warehouse', `(414)${gln}`)).toEqual(expect.arrayContaining([before, ...after]));
  });
});
