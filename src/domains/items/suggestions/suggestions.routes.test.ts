import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  readJson,
  startApplication,
  waitFor,
  type Entry,
  type ProblemDocument,
  type Receipt,
  type TestApplication,
} from '../../../testing/application.ts';
import { seedTypes } from '../../../testing/deduplication.ts';
import { makeSuggestionsWork } from './suggestions-work.ts';

interface Suggestions {
  suggestions: { id: string; score: number; items: { dfid: string }[]; reasons: { kind: string; detail: string }[] }[];
  count: number;
  total: number;
  next_cursor: string | null;
  is_complete: boolean;
}

let application: TestApplication;
let nextNumber = 740_000_000_000;

beforeAll(async () => {
  application = await startApplication({ backend: 'postgres' });
});
afterAll(() => application.close());

function newIdentifier(type: string) {
  const number = nextNumber++;
  return { identifier_type: type, value: type === 'chip' ? `982${number}` : `BR${number}` };
}

const alternating = ['sisbov', 'chip'];

async function openWorkspace(name: string) {
  const key = await application.createKey({ scope: 'write', workspace: name });
  const headers = { 'x-api-key': key, 'content-type': 'application/json' };
  const get = (path: string) => application.fetch(path, { headers });
  return {
    get,
    list: async (query = '') => readJson<Suggestions>(await get(`/api/items/suggestions${query}`)),
    ofItem: async (dfid: string, query = '') =>
      readJson<Suggestions>(await get(`/api/items/${dfid}/suggestions${query}`)),
    dismiss: (id: string, body: object = {}) =>
      application.fetch(`/api/items/suggestions/${id}/dismiss`, {
        method: 'POST',
        headers,
        body: JSON.stringify(body),
      }),
    /** The DFIDs of items with these names, each identified by another type than the one before. */
    send: async (types: readonly string[], ...names: string[]) => {
      const records = names.map((nome, at) => ({
        identifiers: [newIdentifier(types[at % types.length]!)],
        metadata: { nome },
      }));
      const answer = await application.submit(JSON.stringify(records), { ...headers, prefer: 'wait=20' });
      const { receipt_id: id } = await readJson<Receipt>(answer);
      const { entries } = await readJson<{ entries: Entry[] }>(await get(`/api/receipts/${id}/entries`));
      return entries.map((entry) => entry.dfid!);
    },
  };
}

/** Works until all workspaces are up to date, without waiting for events to settle as the application's worker does. */
async function catchUp(): Promise<void> {
  const { database } = application;
  const work = makeSuggestionsWork({ database, loadTypes: async () => seedTypes, nowMs: Date.now, settleMs: -1000 });
  await waitFor(async () => {
    await database.pool.query('update suggestion_states set next_run_at = now()');
    while (await work.workDirectly());
    const { rowCount } = await database.pool.query(
      `select from suggestion_states as states
       where completed_at is null
          or exists (select from events where events.workspace_id = states.workspace_id and event_id > last_event_id)`,
    );
    return rowCount === 0 ? true : undefined;
  }, 'all workspaces to be up to date');
}

describe('the list of suggestions', () => {
  test('shows pairs with score and reasons, the likeliest first, and says whether all are compared', async () => {
    const workspace = await openWorkspace('Lists');
    const dfids = await workspace.send(
      alternating,
      'Imperatriz Leopoldina',
      'Imperatriz Leopoldina',
      'Trovão do Cerrado',
      'Trovao do Serrado',
      'Boneca',
    );

    expect(await workspace.list()).toMatchObject({ suggestions: [], is_complete: false });
    await catchUp();

    const list = await workspace.list('?min_score=0.3');
    expect(list).toMatchObject({ count: 2, total: 2, next_cursor: null, is_complete: true });
    expect(list.suggestions.map(({ items }) => items.map(({ dfid }) => dfid))).toEqual([
      [dfids[0], dfids[1]],
      [dfids[2], dfids[3]],
    ]);
    expect(list.suggestions[0]).toMatchObject({
      score: 0.85,
      reasons: [
        { kind: 'name', detail: 'the names "Imperatriz Leopoldina" and "Imperatriz Leopoldina" are 100 % alike' },
      ],
    });
    expect((await workspace.list('?min_score=0.8')).total).toBe(1);
    const first = await workspace.list('?min_score=0.3&limit=1');
    const second = await workspace.list(`?min_score=0.3&limit=1&cursor=${first.next_cursor}`);
    expect([first, second].flatMap(({ suggestions }) => suggestions.map(({ id }) => id))).toEqual(
      list.suggestions.map(({ id }) => id),
    );
  });

  test('has no pair of items that contradict each other by their identifiers', async () => {
    const workspace = await openWorkspace('Contradictions');
    const [one] = await workspace.send(['sisbov'], 'Imperatriz Leopoldina', 'Imperatriz Leopoldina');

    await workspace.list();
    await catchUp();

    expect(await workspace.list('?min_score=0')).toMatchObject({ suggestions: [], total: 0 });
    expect((await workspace.ofItem(one!, '?min_score=0')).suggestions).toEqual([]);
  });

  test.each(['?min_score=2', '?min_score=x', '?cursor=abc', '?limit=0'])('refuses %s', async (query) => {
    const workspace = await openWorkspace('Queries');

    expect((await workspace.get(`/api/items/suggestions${query}`)).status).toBe(400);
  });
});

describe('the suggestions of one item', () => {
  test('are compared anew at each request, and are those of the other item as well', async () => {
    const workspace = await openWorkspace('Single items');
    await workspace.list();
    const [one, two] = await workspace.send(alternating, 'Princesa Isabel', 'Princeza Isabel');
    await catchUp();

    const ofOne = await workspace.ofItem(one!, '?min_score=0');
    const ofTwo = await workspace.ofItem(two!, '?min_score=0');

    expect(ofOne.suggestions.map(({ items }) => items.map(({ dfid }) => dfid))).toEqual([[one, two]]);
    expect(ofTwo).toEqual(ofOne);
  });

  test('are 404 for an item that the workspace does not know', async () => {
    const workspace = await openWorkspace('Owners');
    const stranger = await openWorkspace('Strangers');
    const [one] = await workspace.send(alternating, 'Princesa Isabel');

    for (const id of [one, 'DFID-BEEF-BR-2025-999999-000000', 'nonsense'])
      expect((await stranger.get(`/api/items/${id}/suggestions`)).status).toBe(404);
  });
});

describe('dismissing', () => {
  test('takes a pair out of all lists for good, and keeps the first reason', async () => {
    const workspace = await openWorkspace('Dismissals');
    const [one] = await workspace.send(alternating, 'Imperatriz Leopoldina', 'Imperatriz Leopoldina');
    await workspace.list();
    await catchUp();
    const [pair] = (await workspace.list()).suggestions;

    const dismissal = await workspace.dismiss(pair!.id, { reason: 'sisters' });
    const again = await workspace.dismiss(pair!.id, { reason: 'cousins' });

    expect([dismissal.status, again.status]).toEqual([200, 200]);
    const said = await readJson<object>(dismissal);
    expect(said).toMatchObject({ id: pair!.id, reason: 'sisters' });
    expect(await readJson<object>(again)).toEqual(said);
    expect((await workspace.list('?min_score=0')).total).toBe(0);
    expect((await workspace.ofItem(one!, '?min_score=0')).suggestions).toEqual([]);
  });

  test('is 404 for a pair of which the workspace does not know both, or that is none', async () => {
    const workspace = await openWorkspace('Owners of pairs');
    const stranger = await openWorkspace('Strangers to pairs');
    await workspace.send(alternating, 'Imperatriz Leopoldina', 'Imperatriz Leopoldina');
    await workspace.list();
    await catchUp();
    const { id } = (await workspace.list()).suggestions[0]!;
    const reversed = id.split('-').toReversed().join('-');

    for (const bad of [reversed, id.replace(/-.*/, ''), '1-1', '1-999999999999999', `${'9'.repeat(40)}-1`, 'x']) {
      const answer = await workspace.dismiss(bad);
      expect([bad, (await readJson<ProblemDocument>(answer)).status]).toEqual([bad, 404]);
    }
    expect((await stranger.dismiss(id)).status).toBe(404);
    expect((await workspace.list()).total).toBe(1);
  });
});
