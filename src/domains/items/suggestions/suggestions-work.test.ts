import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openDatabase, type Database, type Queryable } from '#platform/database.ts';
import { createTestDatabase, type TestDatabase } from '../../../testing/database.ts';
import {
  createWorkspace,
  makeAbsorber,
  receiptOf,
  seedTypes,
  type Absorber,
  type TestWorkspace,
} from '../../../testing/deduplication.ts';
import { compareWithOthers } from './compare-items.ts';
import { keysOf, profileOf } from './likeness.ts';
import { trigramSimilarity, trigramsOf } from './name-similarity.ts';
import { makeSuggestionsWork } from './suggestions-work.ts';
import { dismissPair, findStates, listSuggestions, askForSuggestions, writeKeys } from './suggestions.store.ts';

let testDatabase: TestDatabase;
let database: Database;
/** With the session of a web process, for which the planner is free to read whole tables. */
let webDatabase: Database;
let absorber: Absorber;
let nextNumber = 730_000_000_000;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  database = openDatabase({ url: testDatabase.url, poolSize: 3, applicationName: 'test', isWorker: true });
  webDatabase = openDatabase({ url: testDatabase.url, poolSize: 1, applicationName: 'test' });
  absorber = makeAbsorber(database);
});
afterAll(async () => {
  await absorber.close();
  await webDatabase.close();
  await database.close();
  await testDatabase.drop();
});

const newSisbov = () => ({ identifier_type: 'sisbov', value: `BR${nextNumber++}` });
const newChip = () => ({ identifier_type: 'chip', value: `982${nextNumber++}` });

/** Works until no workspace is due. */
async function catchUp(): Promise<void> {
  const work = makeSuggestionsWork({ database, loadTypes: async () => seedTypes, nowMs: Date.now, settleMs: -1000 });
  await database.pool.query('update suggestion_states set next_run_at = now()');
  while (await work.workDirectly());
}

async function send(workspace: TestWorkspace, ...records: object[]): Promise<void> {
  for (let from = 0; from < records.length; from += 500)
    await absorber.absorb(workspace, receiptOf(...records.slice(from, from + 500)));
}

const list = (workspace: TestWorkspace, scoreMin = 0) =>
  listSuggestions(database.pool, { workspaceId: workspace.id, scoreMin }, { limit: 1000, offset: 0, after: undefined });

async function newWorkspace(): Promise<TestWorkspace> {
  const workspace = await createWorkspace(database);
  await askForSuggestions(database.pool, workspace.id);
  return workspace;
}

async function itemOf({ value }: { value: string }): Promise<number> {
  const { rows } = await database.pool.query<{ item_number: number }>(
    'select item_number from identifier_claims where right(value, 12) = right($1, 12)',
    [value],
  );
  return rows[0]!.item_number;
}

async function candidatesOf(workspace: TestWorkspace, itemNumber: number, queryable: Queryable = webDatabase.pool) {
  const [own] = await findStates(queryable, workspace.id, [itemNumber]);
  return compareWithOthers(
    queryable,
    workspace.id,
    [{ itemNumber, profile: profileOf(own!.state, seedTypes) }],
    seedTypes,
  );
}

const twins = () => {
  const [sisbov, chip] = [newSisbov(), newChip()];
  const common = { data_nasc: '2024-03-01' };
  return {
    sisbov,
    chip,
    records: [
      { identifiers: [sisbov], metadata: { nome: `Imperatriz ${nextNumber}`, ...common } },
      { identifiers: [chip], metadata: { nome: `imperatris ${nextNumber}`, ...common } },
    ],
  };
};

describe('suggestions', () => {
  test('name two items that are alike, once, with what speaks for it, and change nothing of them', async () => {
    const workspace = await newWorkspace();
    const { sisbov, chip, records } = twins();
    await send(workspace, ...records, { identifiers: [newSisbov()], metadata: { nome: 'Trovão' } });

    await catchUp();
    await catchUp();

    const { rows, total } = await list(workspace);
    expect(total).toBe(1);
    expect([rows[0]!.lower_item, rows[0]!.higher_item]).toEqual([await itemOf(sisbov), await itemOf(chip)]);
    expect(rows[0]!.reasons.map(({ kind }) => kind)).toEqual(['name', 'date']);
    const merged = await database.pool.query('select from items where merged_into is not null');
    expect(merged.rowCount).toBe(0);
  });

  test('owe nothing to another workspace: neither pairs, nor values, nor how common something is there', async () => {
    const [workspace, other] = [await newWorkspace(), await newWorkspace()];
    const { sisbov, chip, records } = twins();
    const tag = { identifier_type: 'brinco', value: 'SHARED-1' };
    await send(other, ...records);
    await send(other, ...Array.from({ length: 80 }, () => ({ identifiers: [newSisbov(), tag] })));
    // The workspace knows both items, but not what the other one calls them.
    await send(workspace, { identifiers: [sisbov] }, { identifiers: [chip] });
    await send(workspace, { identifiers: [newSisbov(), tag] }, { identifiers: [newChip(), tag] });

    await catchUp();

    const found = (await list(workspace)).rows;
    expect(found.map((row) => row.reasons.map(({ detail }) => detail))).toEqual([['both have brinco SHARED-1']]);
    expect(await candidatesOf(workspace, await itemOf(sisbov))).toEqual([]);
    expect((await list(other)).rows.map((row) => row.reasons[0]!.kind)).toEqual(['name']);
  });

  test('leave out what very many items share', async () => {
    const workspace = await newWorkspace();
    const lot = { identifier_type: 'lote', value: '2025-1' };
    await send(
      workspace,
      ...Array.from({ length: 60 }, () => ({ identifiers: [newSisbov(), lot], metadata: { nome: 'Bezerro' } })),
    );

    await catchUp();

    expect((await list(workspace)).total).toBe(0);
  });

  test('follow what items become: new values, contradictions and merges', async () => {
    const workspace = await newWorkspace();
    const { sisbov, chip, records } = twins();
    await send(workspace, ...records);
    await catchUp();
    expect((await list(workspace, 500)).total).toBe(1);

    await send(workspace, { identifiers: [chip], metadata: { nome: 'Trovão', data_nasc: '2020-01-01' } });
    await catchUp();
    expect((await list(workspace, 500)).total).toBe(0);

    await send(workspace, { identifiers: [chip], metadata: records[1]!.metadata });
    await catchUp();
    expect((await list(workspace, 500)).total).toBe(1);

    await send(workspace, { identifiers: [sisbov, chip] });
    expect((await list(workspace)).total).toBe(0);
    await catchUp();
    const left = await database.pool.query('select from item_suggestions where workspace_id = $1', [workspace.id]);
    expect(left.rowCount).toBe(0);
  });

  test('that were dismissed stay away, whatever is found later, and the first reason stands', async () => {
    const workspace = await newWorkspace();
    const stranger = await newWorkspace();
    const { sisbov, chip, records } = twins();
    await send(workspace, ...records);
    await catchUp();
    const pair = { lowerItem: await itemOf(sisbov), higherItem: await itemOf(chip) };
    const decision = { reason: 'sisters', dismissedBy: workspace.id };

    expect(await dismissPair(database.pool, stranger.id, pair, decision)).toBeUndefined();
    const [first, second] = await Promise.all([
      dismissPair(database.pool, workspace.id, pair, decision),
      dismissPair(database.pool, workspace.id, pair, decision),
    ]);
    await send(
      workspace,
      { identifiers: [sisbov], metadata: { peso: 450 } },
      { identifiers: [chip], metadata: { peso: 450 } },
    );
    await catchUp();

    expect([first?.reason, second?.reason]).toEqual(['sisters', 'sisters']);
    expect((await list(workspace)).total).toBe(0);
  });

  test('leave out items of which so much is known that it would take the memory of others', async () => {
    const workspace = await newWorkspace();
    const { records } = twins();
    const [first, second] = records;
    const text = Object.fromEntries(Array.from({ length: 200 }, (_none, at) => [`field ${at}`, 'x'.repeat(100)]));
    await send(workspace, first!, { ...second, metadata: { ...second!.metadata, ...text } });

    await catchUp();

    expect((await list(workspace)).total).toBe(0);
  });

  test('are worked out soon again when somebody asks, without waiting for the background', async () => {
    const workspace = await newWorkspace();
    await catchUp();
    const isDue = async () =>
      (
        await database.pool.query('select from suggestion_states where workspace_id = $1 and next_run_at <= now()', [
          workspace.id,
        ])
      ).rowCount === 1;
    expect(await isDue()).toBe(false);

    await database.pool.query(`update suggestion_states set worked_at = now() - interval '1 minute'`);
    const client = await database.pool.connect();
    await client.query('begin');
    await client.query('select from suggestion_states for update');
    expect(await askForSuggestions(webDatabase.pool, workspace.id)).toEqual({ isComplete: true });
    await client.query('rollback');
    client.release();
    expect(await isDue()).toBe(false);
    await askForSuggestions(webDatabase.pool, workspace.id);

    expect(await isDue()).toBe(true);
  });

  test('wait for events that may still be on their way', async () => {
    const workspace = await newWorkspace();
    await send(workspace, ...twins().records);
    const work = makeSuggestionsWork({ database, loadTypes: async () => seedTypes, nowMs: Date.now, settleMs: 60_000 });

    while (await work.workDirectly());

    expect((await list(workspace)).total).toBe(0);
    await catchUp();
    expect((await list(workspace)).total).toBe(1);
  });
});

describe('among 20,000 items', () => {
  const itemsMax = 20_000;
  const misspeltMax = 300;

  test('the candidates of one are found by index in milliseconds', { timeout: 120_000 }, async () => {
    const workspace = await newWorkspace();
    const earTag = (value: string) => ({ identifier_type: 'brinco', value });
    const originals = makeNames(itemsMax).map((nome, at) => ({
      identifiers: [newSisbov(), earTag(`A${at}`)],
      metadata: { nome },
    }));
    const misspelt = originals.slice(0, misspeltMax).map(({ metadata }, at) => ({
      identifiers: [newChip(), earTag(`B${at}`)],
      metadata: { nome: misspell(metadata.nome, at) },
    }));
    await send(workspace, ...originals, ...misspelt);
    await fileAll(workspace);
    await database.pool.query('analyze');
    const numbersOf = await itemsByName(workspace);

    let alike = 0;
    let found = 0;
    const durationsMs: number[] = [];
    for (const [at, { metadata }] of misspelt.entries()) {
      const original = originals[at]!.metadata.nome;
      if (trigramSimilarity(trigramsOf(metadata.nome), trigramsOf(original)) < 0.5) continue;
      alike += 1;
      const began = performance.now();
      const candidates = await candidatesOf(workspace, numbersOf.get(metadata.nome)!);
      durationsMs.push(performance.now() - began);
      if (candidates.some(({ lowerItem }) => lowerItem === numbersOf.get(original))) found += 1;
    }
    const medianMs = durationsMs.toSorted((a, b) => a - b)[durationsMs.length >> 1]!;

    expect(alike).toBeGreaterThan(100);
    expect(found / alike).toBeGreaterThan(0.95);
    expect(medianMs).toBeLessThan(50);
    const plans = await plansOfCandidates(workspace, numbersOf.get(misspelt[0]!.metadata.nome)!);
    expect(plans).toMatch(/using suggestion_keys_pkey/);
    expect(plans).toMatch(/using identifier_mentions_pkey/);
    expect(plans).not.toMatch(/Seq Scan/);
  });
});

/** Files all items of a workspace under their keys, as the background does bit by bit. */
async function fileAll(workspace: TestWorkspace): Promise<void> {
  const numbers = [...(await itemsByName(workspace)).values()];
  for (let from = 0; from < numbers.length; from += 1000) {
    const states = await findStates(database.pool, workspace.id, numbers.slice(from, from + 1000));
    const items = states.map(({ item_number: itemNumber, state }) => ({
      itemNumber,
      keys: keysOf(profileOf(state, seedTypes)),
    }));
    await writeKeys(database.pool, workspace.id, items);
  }
}

async function itemsByName(workspace: TestWorkspace): Promise<Map<string, number>> {
  const { rows } = await database.pool.query<{ name: string; item_number: number }>(
    `select state -> 'fields' -> 'nome' ->> 0 as name, item_number from contributions where workspace_id = $1
     order by item_number desc`,
    [workspace.id],
  );
  return new Map(rows.map((row) => [row.name, row.item_number]));
}

/** How the database does what finding the candidates of an item takes. */
async function plansOfCandidates(workspace: TestWorkspace, itemNumber: number): Promise<string> {
  const plans: string[] = [];
  const explaining = {
    async query(text: string, values: unknown[]) {
      const { rows } = await webDatabase.pool.query<Record<string, string>>(`explain ${text}`, values);
      plans.push(...rows.map((row) => row['QUERY PLAN']!));
      return webDatabase.pool.query(text, values);
    },
  } as unknown as Queryable;
  await candidatesOf(workspace, itemNumber, explaining);
  return plans.join('\n');
}

/** Names as herds have them, the same at each run. */
function makeNames(count: number): string[] {
  let seed = 42;
  const next = (below: number) => ((seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648) % 65_536) % below;
  const syllables = [
    'ba',
    'be',
    'bo',
    'ca',
    'co',
    'da',
    'di',
    'fa',
    'fe',
    'ga',
    'la',
    'li',
    'lu',
    'ma',
    'me',
    'mi',
    'mo',
    'na',
    'ne',
    'pa',
    'pe',
    'pri',
    'ra',
    're',
    'ri',
    'sa',
    'se',
    'so',
    'ta',
    'te',
    'to',
    'tra',
    'va',
    've',
    'za',
  ];
  const word = () => Array.from({ length: 2 + next(2) }, () => syllables[next(syllables.length)]).join('');
  const words = Array.from({ length: 1500 }, word);
  return Array.from({ length: count }, () => {
    const last = next(3) === 0 ? String(next(1000)) : words[next(words.length)];
    return `${words[next(words.length)]} ${last}`;
  });
}

function misspell(name: string, at: number): string {
  const place = 1 + (at % (name.length - 2));
  const edits = [
    name.slice(0, place) + name.slice(place + 1),
    `${name.slice(0, place)}x${name.slice(place)}`,
    `${name.slice(0, place)}x${name.slice(place + 1)}`,
    name.slice(0, place) + name.charAt(place + 1) + name.charAt(place) + name.slice(place + 2),
  ];
  return edits[at % edits.length]!;
}
