import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  readJson,
  startApplication,
  type Entry,
  type Receipt,
  type TestApplication,
} from '../../testing/application.ts';
import { findBrokenRules } from '../../testing/deduplication.ts';

interface Item {
  dfid: string;
  status: string;
  metadata: object;
  version: number;
}

let application: TestApplication;
let ours: string;
let theirs: string;

beforeAll(async () => {
  application = await startApplication({ backend: 'postgres' });
  ours = await application.createKey({ scope: 'write', workspace: 'Producer' });
  theirs = await application.createKey({ scope: 'write', workspace: 'Hostile' });
});
afterAll(() => application.close());

const animals = 20;
const sisbov = (animal: number) => ({ identifier_type: 'sisbov', value: `BR${700_000_000_000 + animal}` });
const chip = (animal: number) => ({ identifier_type: 'chip', value: `982${700_000_000_000 + animal}` });
const foreignChip = (number: number) => ({ identifier_type: 'chip', value: `985${700_000_000_000 + number}` });
const earTag = (animal: number) => ({ identifier_type: 'brinco', value: `SECRET-TAG-${animal}` });

const ask = (key: string, path: string, options: RequestInit = {}) =>
  application.fetch(path, {
    ...options,
    headers: { 'x-api-key': key, ...(options.headers as Record<string, string>) },
  });

/** Sends records in one receipt and waits until they are settled. */
async function send(key: string, records: object[]): Promise<Entry[]> {
  const response = await ask(key, '/api/receipts', {
    method: 'POST',
    headers: { 'content-type': 'application/json', prefer: 'wait=30' },
    body: JSON.stringify(records),
  });
  const receipt = await readJson<Receipt>(response);
  expect(receipt.finished_at).not.toBeNull();
  const list = await ask(key, `/api/receipts/${receipt.receipt_id}/entries?limit=1000`);
  return (await readJson<{ entries: Entry[] }>(list)).entries;
}

/** Everything that a workspace reads of its items, but for who else takes part. */
async function readItems(key: string): Promise<object[]> {
  const { items } = await readJson<{ items: Item[] }>(await ask(key, '/api/items?limit=1000'));
  const all: object[] = [];
  for (const { dfid } of items.toSorted((a, b) => (a.dfid < b.dfid ? -1 : 1))) {
    const details = await readJson<object>(await ask(key, `/api/items/${dfid}`));
    const { contributors: _contributors, ...provenance } = await readJson<{ contributors: object[] }>(
      await ask(key, `/api/items/${dfid}/provenance`),
    );
    const relationships = await readJson<object>(await ask(key, `/api/items/${dfid}/relationships`));
    all.push({ details, provenance, relationships });
  }
  return all;
}

/** Animals of ours: half with one identifier each, half with two that we tied together ourselves. */
const ourRecords = Array.from({ length: animals }, (_nothing, animal) => ({
  identifiers: [sisbov(animal), ...(animal % 2 === 0 ? [chip(animal), earTag(animal)] : [])],
  metadata: { name: `SECRET-NAME-${animal}`, weight: animal },
  events: [{ event_type: 'weighed', occurred_at: '2025-01-01T00:00:00Z', payload: { note: `SECRET-NOTE-${animal}` } }],
}));

const attacks = fc.sample(
  fc.oneof(
    fc.record({ kind: fc.constant('guess' as const), one: fc.nat(animals - 1), other: fc.nat(animals - 1) }),
    fc.record({ kind: fc.constant('link' as const), one: fc.nat(animals - 1), other: fc.nat(animals - 1) }),
    fc.record({ kind: fc.constant('squat' as const), one: fc.nat(animals - 1), other: fc.nat(animals - 1) }),
    fc.record({ kind: fc.constant('number' as const), one: fc.nat(animals - 1), other: fc.nat(500) }),
  ),
  { seed: 42, numRuns: 300 },
);

function attackRecord({ kind, one, other }: (typeof attacks)[number]): object {
  const metadata = { name: 'stolen', weight: -1 };
  const events = [{ event_type: 'slaughter', occurred_at: '2025-06-01T00:00:00Z' }];
  if (kind === 'guess') return { identifiers: [sisbov(one)], metadata, events };
  if (kind === 'link') return { identifiers: [sisbov(one), chip(other & ~1)], metadata };
  // A chip that the odd animals will get only later, named by a stranger before.
  if (kind === 'squat') return { identifiers: [sisbov(one), chip(other | 1)], metadata };
  return { identifiers: [sisbov(one), foreignChip(other)], metadata, occurred_at: '2025-05-01T00:00:00Z' };
}

describe('what a hostile workspace sends', () => {
  test('changes nothing that we read, joins none of our items, and tells it nothing of what we stored', async () => {
    const ourEntries = await send(ours, ourRecords);
    const before = await readItems(ours);

    const theirEntries = [
      ...(await send(theirs, attacks.map(attackRecord))),
      ...(await send(
        theirs,
        Array.from({ length: 1000 }, (_nothing, at) => ({ identifiers: [sisbov(3)], metadata: { at } })),
      )),
    ];

    expect(await readItems(ours)).toEqual(before);
    expect(before).toHaveLength(animals);
    expect(new Set(ourEntries.map((entry) => entry.dfid)).size).toBe(animals);
    const read = [
      ...(await readItems(theirs)),
      ...theirEntries,
      await readJson<object>(await ask(theirs, '/api/conflicts?limit=100')),
      await readJson<object>(await ask(theirs, '/api/events?limit=1000')),
      await readJson<object>(await ask(theirs, '/api/items/suggestions')),
    ];
    expect(JSON.stringify(read)).not.toContain('SECRET');
    for (const entry of ourEntries) expect(JSON.stringify(read)).not.toContain(entry.entry_id);
    expect(await findBrokenRules(application.database)).toEqual([]);
  });

  test('does not keep our later records from our items', async () => {
    const first = await send(
      ours,
      ourRecords.map(({ identifiers }) => ({ identifiers, metadata: { later: true } })),
    );
    const second = await send(
      ours,
      Array.from({ length: animals }, (_nothing, animal) => ({
        identifiers: [sisbov(animal)],
        metadata: { again: true },
      })),
    );

    expect(new Set([...first, ...second].map((entry) => entry.status))).toEqual(new Set(['completed']));
    expect(second.map((entry) => entry.dfid)).toEqual(first.map((entry) => entry.dfid));
  });

  test('does not join two of our animals by what it said before us', async () => {
    const odd = Array.from({ length: animals / 2 }, (_nothing, at) => 2 * at + 1);

    const entries = await send(
      ours,
      odd.map((animal) => ({ identifiers: [chip(animal)], metadata: { chipped: animal } })),
    );

    const known = await send(
      ours,
      odd.map((animal) => ({ identifiers: [sisbov(animal)] })),
    );
    const [chipped, numbered] = [entries.map((entry) => entry.dfid), known.map((entry) => entry.dfid)];
    expect(entries.map((entry) => entry.status)).toEqual(odd.map(() => 'completed'));
    expect(chipped.filter((dfid) => numbered.includes(dfid))).toEqual([]);
    expect(await findBrokenRules(application.database)).toEqual([]);
  });

  test('does not join two of our animals by merging by hand what it named before us', async () => {
    const [one, other] = [foreignChip(8001), { identifier_type: 'sisbov', value: 'BR799999999999' }];
    const [first, second] = await send(theirs, [{ identifiers: [one] }, { identifiers: [other] }]);
    const merged = await ask(theirs, `/api/items/${first!.dfid}/merge`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ secondary_dfid: second!.dfid, strategy: 'append' }),
    });
    expect(merged.status).toBe(200);

    const entries = [
      ...(await send(ours, [{ identifiers: [one] }])),
      ...(await send(ours, [{ identifiers: [other] }])),
    ];

    expect(entries.map((entry) => entry.status)).toEqual(['completed', 'conflicted']);
  });

  test('is refused where it acts on what it does not know, or what others contributed to', async () => {
    const [entry] = await send(ours, [{ identifiers: [foreignChip(9999)] }]);
    const shared = (await send(ours, [{ identifiers: [sisbov(3)] }]))[0]!.dfid!;
    const act = async (path: string, body: object) =>
      (
        await ask(theirs, path, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify(body),
        })
      ).status;
    const nature = { value_chain: 'BEEF', country: 'BR', year: 2025, metadata: {} };

    expect(await act(`/api/items/${entry!.dfid}/merge`, { secondary_dfid: shared, strategy: 'append' })).toBe(404);
    expect(await act(`/api/items/${shared}/merge`, { secondary_dfid: entry!.dfid, strategy: 'append' })).toBe(404);
    expect(await act(`/api/items/${entry!.dfid}/split`, nature)).toBe(404);
    expect(await act(`/api/items/${shared}/split`, { ...nature, metadata: null, identifiers: [sisbov(3)] })).toBe(403);
    expect(await act(`/api/items/${entry!.dfid}/corrections`, { entry_id: entry!.entry_id, reason: 'x' })).toBe(404);
    expect(await act(`/api/items/${shared}/corrections`, { entry_id: entry!.entry_id, reason: 'x' })).toBe(404);
    expect(
      await act(`/api/items/${entry!.dfid}/relationships`, {
        relationship_type: 'related',
        related: [{ dfid: shared }],
      }),
    ).toBe(404);
  });
});
