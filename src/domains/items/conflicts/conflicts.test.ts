import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  readJson,
  startApplication,
  type Entry,
  type ProblemDocument,
  type Receipt,
  type TestApplication,
} from '../../../testing/application.ts';
import { findBrokenRules } from '../../../testing/deduplication.ts';

interface Conflict {
  conflict_id: string;
  status: string;
  items: { dfid: string }[];
  waiting_entries: number;
  other_participants: number;
  can_resolve: boolean;
  resolution: { action: string; reason: string | null } | null;
}

interface Details extends Conflict {
  summary: string;
  contradictions: { reason: string; identifier_type: string | null; values: string[]; sentence: string }[];
  evidence: {
    entries: { entry_id: string; participant: string; names_items: string[]; identifiers: { value: string }[] }[];
    items: { dfid: string; identifiers: { identifier_type: string; value: string; participant: string }[] }[];
  };
  actions: string[];
}

let application: TestApplication;
let ownKey: string;
let strangersKey: string;

beforeAll(async () => {
  application = await startApplication({ backend: 'postgres' });
  ownKey = await application.createKey({ scope: 'write', workspace: 'Producer' });
  strangersKey = await application.createKey({ scope: 'write', workspace: 'Stranger' });
});
afterAll(() => application.close());

let nextNumber = 500_000_000_000;
const newSisbov = () => ({ identifier_type: 'sisbov', value: `BR${nextNumber++}` });
const newChip = () => ({ identifier_type: 'chip', value: `982${nextNumber++}` });

const ask = (method: string, path: string, body?: object, key = ownKey) =>
  application.fetch(path, {
    method,
    headers: { 'x-api-key': key, ...(body ? { 'content-type': 'application/json' } : {}) },
    ...(body ? { body: JSON.stringify(body) } : {}),
  });

/** Sends records in one receipt and gives what became of each. */
async function send(records: object[], key = ownKey): Promise<{ entries: Entry[]; receiptId: string }> {
  const response = await application.fetch('/api/receipts', {
    method: 'POST',
    headers: { 'x-api-key': key, 'content-type': 'application/json', prefer: 'wait=20' },
    body: JSON.stringify(records),
  });
  const { receipt_id: receiptId } = await readJson<Receipt>(response);
  const { entries } = await readJson<{ entries: Entry[] }>(
    await ask('GET', `/api/receipts/${receiptId}/entries`, undefined, key),
  );
  return { entries, receiptId };
}

const statusesOf = async (receiptId: string, key = ownKey) => {
  const { entries } = await readJson<{ entries: Entry[] }>(
    await ask('GET', `/api/receipts/${receiptId}/entries`, undefined, key),
  );
  return entries.map((entry) => [entry.status, entry.outcome, entry.dfid]);
};

/** Two animals of ours, and a record that names both although each has a number of its own. */
async function contest(key = ownKey) {
  const [one, other, chip] = [newSisbov(), newSisbov(), newChip()];
  const { entries } = await send(
    [
      { identifiers: [one], metadata: { name: 'one' } },
      { identifiers: [other, chip], metadata: { name: 'other' } },
    ],
    key,
  );
  const record = { identifiers: [one, chip], metadata: { weight: 7 }, events: [{ event_type: 'weighed' }] };
  const { receiptId, entries: waiting } = await send([record], key);
  expect(waiting[0]!.status).toBe('conflicted');
  const conflictId = await conflictAbout(one, key);
  const dfids = entries.map((entry) => entry.dfid!) as [string, string];
  return { one, other, chip, record, receiptId, conflictId, dfids };
}

async function conflictAbout(identifier: { identifier_type: string; value: string }, key = ownKey): Promise<string> {
  const query = new URLSearchParams({ ...identifier, status: 'open' });
  const list = await readJson<{ conflicts: Conflict[] }>(
    await ask('GET', `/api/conflicts?${query.toString()}`, undefined, key),
  );
  expect(list.conflicts).toHaveLength(1);
  return list.conflicts[0]!.conflict_id;
}

const read = async (conflictId: string, key = ownKey) =>
  readJson<Details>(await ask('GET', `/api/conflicts/${conflictId}`, undefined, key));

const reason = 'a person looked at it';

async function resolve(conflictId: string, body: object, key = ownKey): Promise<Details> {
  const response = await ask('POST', `/api/conflicts/${conflictId}/resolve`, { reason, ...body }, key);
  const answer = await readJson<Details>(response);
  expect({ status: response.status, answer }).toEqual({ status: 200, answer });
  return answer;
}

const refusal = async (response: Response) => {
  const problem = await readJson<ProblemDocument>(response);
  return [response.status, problem.error];
};

const metadataOf = async (dfid: string, key = ownKey) =>
  (await readJson<{ item: { metadata: object } }>(await ask('GET', `/api/items/${dfid}`, undefined, key))).item
    .metadata;

describe('a contested component', () => {
  test('is one open case that shows which records and which identifiers contradict', async () => {
    const { one, chip, conflictId, dfids } = await contest();

    const details = await read(conflictId);

    expect(details).toMatchObject({
      status: 'open',
      waiting_entries: 1,
      other_participants: 0,
      can_resolve: true,
      actions: ['merge', 'attach', 'separate', 'reject'],
    });
    expect(details.items.map((item) => item.dfid)).toEqual(dfids);
    expect(details.contradictions).toMatchObject([{ reason: 'values', identifier_type: 'sisbov' }]);
    expect(details.contradictions[0]!.values).toHaveLength(2);
    expect(details.evidence.entries[0]).toMatchObject({ participant: 'you', names_items: dfids });
    expect(details.evidence.entries[0]!.identifiers.map(({ value }) => value)).toEqual([one.value, chip.value]);
    expect(details.evidence.items.map((item) => item.identifiers.length)).toEqual([1, 2]);
  });

  test('says that an item ended to who said so, and not to others', async () => {
    const animal = newSisbov();
    const seen = { identifiers: [animal], occurred_at: '2025-01-04T00:00:00Z' };
    await send([{ identifiers: [animal], events: [{ event_type: 'death', occurred_at: '2025-01-03T00:00:00Z' }] }]);
    await send([seen]);
    await send([{ ...seen, metadata: { note: 'n' } }], strangersKey);
    const [ours, theirs] = [
      await read(await conflictAbout(animal)),
      await read(await conflictAbout(animal), strangersKey),
    ];

    expect(ours.contradictions).toEqual([
      {
        reason: 'ended',
        identifier_type: null,
        values: [],
        sentence: 'A record tells of something later than the end of its item.',
      },
    ]);
    expect(theirs.contradictions).toMatchObject([
      { reason: 'values', sentence: 'A record contradicts what others sent of the same item.' },
    ]);
  });

  test('stays one case when more evidence comes, also by other identifiers', async () => {
    const { one, other, conflictId } = await contest();
    const third = newChip();

    await send([{ identifiers: [one, third] }, { identifiers: [other, third] }]);

    const details = await read(conflictId);
    expect(details.waiting_entries).toBe(2);
    expect(await conflictAbout(other)).toBe(conflictId);
    expect(await findBrokenRules(application.database)).toEqual([]);
  });
});

test('events of conflicts are found by their source', async () => {
  const { conflictId } = await contest();

  const events = async (type: string) =>
    (
      await readJson<{ events: { source_type: string; source_id: string }[] }>(
        await ask('GET', `/api/events?source_type=${type}&limit=1000`),
      )
    ).events;

  expect((await events('conflict')).map((event) => event.source_id)).toContain(conflictId);
  expect(new Set((await events('conflict')).map((event) => event.source_type))).toEqual(new Set(['conflict']));
  expect(new Set((await events('item')).map((event) => event.source_type))).toEqual(new Set(['item']));
});

describe('POST /api/conflicts/{id}/resolve', () => {
  test('merge makes the items one, although their numbers differ, and finishes the record', async () => {
    const { one, other, conflictId, dfids, receiptId } = await contest();

    const answer = await resolve(conflictId, { action: 'MERGE', reason: 'registered twice' });

    expect(answer).toMatchObject({
      status: 'resolved',
      resolution: { action: 'merge', reason: 'registered twice', dfid: dfids[0] },
      contradictions: [{ reason: 'values', identifier_type: 'sisbov' }],
    });
    expect(answer.items.map((item) => item.dfid)).toEqual(dfids);
    expect(await statusesOf(receiptId)).toEqual([['completed', 'enriched', dfids[0]]]);
    expect(await metadataOf(dfids[0])).toEqual({ name: 'other', weight: 7 });
    const later = await send([{ identifiers: [one] }, { identifiers: [other] }, { identifiers: [one, other] }]);
    expect(later.entries.map((entry) => entry.dfid)).toEqual([dfids[0], dfids[0], dfids[0]]);
    expect(await findBrokenRules(application.database)).toEqual([]);
  });

  test('merge keeps the item that it names', async () => {
    const { conflictId, dfids, receiptId } = await contest();
    await resolve(conflictId, { action: 'merge', dfid: dfids[1] });
    expect(await statusesOf(receiptId)).toEqual([['completed', 'enriched', dfids[1]]]);
  });

  test('attach gives the records to one item, and the same identifiers do not ask again', async () => {
    const { record, conflictId, dfids, receiptId } = await contest();

    await resolve(conflictId, { action: 'attach', dfid: dfids[0] });

    expect(await statusesOf(receiptId)).toEqual([['completed', 'enriched', dfids[0]]]);
    expect(await metadataOf(dfids[0])).toEqual({ name: 'one', weight: 7 });
    expect(await metadataOf(dfids[1])).toEqual({ name: 'other' });
    const again = await send([{ ...record, metadata: { weight: 8 } }]);
    expect(again.entries.map((entry) => [entry.status, entry.dfid])).toEqual([['completed', dfids[0]]]);
    expect(await metadataOf(dfids[0])).toEqual({ name: 'one', weight: 8 });
    expect(await findBrokenRules(application.database)).toEqual([]);
  });

  test('attach is told as a decision, also for records that it leads to the item later', async () => {
    const { record, conflictId, dfids } = await contest();
    await resolve(conflictId, { action: 'attach', dfid: dfids[0], reason: 'seen in the field' });

    await send([{ ...record, metadata: { weight: 8 } }]);

    const { entries } = await readJson<{ entries: object[] }>(await ask('GET', `/api/items/${dfids[0]}/explain`));
    const decision = { conflict_id: conflictId, reason: 'seen in the field' };
    expect(entries.slice(1)).toMatchObject([
      { how: 'placed_by_person', decision },
      { how: 'placed_by_person', decision },
    ]);
  });

  test('attach holds when the items are made one and taken apart afterwards', async () => {
    const { conflictId, dfids, receiptId } = await contest();
    await resolve(conflictId, { action: 'attach', dfid: dfids[0] });

    const merge = { secondary_dfid: dfids[0], strategy: 'append' };
    expect((await ask('POST', `/api/items/${dfids[1]}/merge`, merge)).status).toBe(200);
    expect((await ask('POST', `/api/items/${dfids[0]}/unmerge`, {})).status).toBe(200);

    expect(await statusesOf(receiptId)).toEqual([['completed', 'enriched', dfids[0]]]);
    expect(await metadataOf(dfids[0])).toEqual({ name: 'one', weight: 7 });
    expect(await metadataOf(dfids[1])).toEqual({ name: 'other' });
    expect(await findBrokenRules(application.database)).toEqual([]);
  });

  test('attach asks again when what it was about left the item', async () => {
    const [one, ownChip, other, chip] = [newSisbov(), newChip(), newSisbov(), newChip()];
    const { entries } = await send([{ identifiers: [one, ownChip] }, { identifiers: [other, chip] }]);
    const record = { identifiers: [one, chip] };
    await send([record]);
    await resolve(await conflictAbout(one), {
      action: 'attach',
      dfid: entries[0]!.dfid,
      reason,
    });
    const split = { value_chain: 'BEEF', country: 'BR', year: 2025, identifiers: [one] };
    expect((await ask('POST', `/api/items/${entries[0]!.dfid}/split`, split)).status).toBe(201);

    const again = await send([record]);

    expect(again.entries[0]!.status).toBe('conflicted');
    expect(await findBrokenRules(application.database)).toEqual([]);
  });

  test('separate makes a new item of the records, which the same identifiers lead to from then on', async () => {
    const { record, conflictId, dfids, receiptId } = await contest();

    await resolve(conflictId, { action: 'separate' });

    const [[status, outcome, dfid]] = (await statusesOf(receiptId)) as [[string, string, string]];
    expect([status, outcome]).toEqual(['completed', 'created']);
    expect(dfids).not.toContain(dfid);
    expect(await metadataOf(dfid)).toEqual({ weight: 7 });
    const again = await send([record]);
    expect(again.entries.map((entry) => entry.dfid)).toEqual([dfid]);
    expect(await findBrokenRules(application.database)).toEqual([]);
  });

  test('reject ends the records, and the same identifiers are rejected from then on', async () => {
    const { record, conflictId, dfids, receiptId } = await contest();

    await resolve(conflictId, { action: 'reject', reason: 'read wrong' });

    expect(await statusesOf(receiptId)).toEqual([['rejected', null, null]]);
    expect(await metadataOf(dfids[0])).toEqual({ name: 'one' });
    const again = await send([record]);
    expect(again.entries[0]).toMatchObject({ status: 'rejected', error: { code: 'rejected_by_decision' } });
    const pending = await readJson<{ pending_items?: object[] }>(await ask('GET', '/api/items/pending?limit=100'));
    expect(JSON.stringify(pending)).not.toContain('rejected_by_decision');
  });

  test('reject holds for a record that contradicts only itself', async () => {
    const record = { identifiers: [newSisbov(), newSisbov()] };
    await send([record]);
    await resolve(await conflictAbout(record.identifiers[0]!), { action: 'reject' });

    const again = await send([record, { identifiers: [newSisbov()] }]);

    expect(again.entries.map((entry) => entry.status)).toEqual(['rejected', 'completed']);
    expect(await findBrokenRules(application.database)).toEqual([]);
  });

  test('changes the counts of the receipt but not when it was finished', async () => {
    const { conflictId, dfids, receiptId } = await contest();
    const before = await readJson<Receipt>(await ask('GET', `/api/receipts/${receiptId}`));

    await resolve(conflictId, { action: 'attach', dfid: dfids[0] });

    expect(before).toMatchObject({ status: 'completed_with_errors', entries: { conflicted: 1, completed: 0 } });
    expect(await readJson(await ask('GET', `/api/receipts/${receiptId}`))).toMatchObject({
      status: 'completed',
      entries: { conflicted: 0, completed: 1 },
      items: { created: 0, updated: 1 },
      finished_at: before.finished_at,
    });
  });

  test('finishes the events of the records once', async () => {
    const { conflictId, dfids } = await contest();
    await resolve(conflictId, { action: 'attach', dfid: dfids[0] });
    const { events } = await readJson<{ events: { event_type: string }[] }>(
      await ask('GET', `/api/events?dfid=${dfids[0]}&event_type=weighed`),
    );
    expect(events).toHaveLength(1);
  });

  test('is told to who decided, with who and why, as an event of no item', async () => {
    const { conflictId } = await contest();

    await resolve(conflictId, { action: 'separate', reason: 'two animals' });

    const { events } = await readJson<{ events: { payload: object; dfid: string | null }[] }>(
      await ask('GET', '/api/events?event_type=conflict_resolved&limit=1'),
    );
    expect(events).toMatchObject([
      { dfid: null, payload: { conflict_id: conflictId, action: 'separate', reason: 'two animals' } },
    ]);
    expect(events[0]!.payload).toHaveProperty('by');
  });

  test('takes in nothing that has left the case meanwhile', async () => {
    const [chip, sisbov] = [newChip(), newSisbov()];
    const serial = () => ({ identifier_type: 'sgtin', value: `urn:epc:id:sgtin:7891234.056789.${nextNumber++}` });
    const { entries } = await send([{ identifiers: [chip, serial()] }]);
    const link = await send([{ identifiers: [chip, sisbov] }]);
    const waiting = await send([{ identifiers: [chip, serial()] }, { identifiers: [sisbov, serial()] }]);
    expect(waiting.entries.map((entry) => entry.status)).toEqual(['conflicted', 'conflicted']);
    const conflictId = await conflictAbout(chip);
    const holder = await application.database.pool.connect();
    const waitingForLocks = async (count: number) => {
      await expect
        .poll(async () => {
          const { rows } = await application.database.pool.query<{ count: number }>(
            `select count(*) as count from pg_locks where locktype = 'advisory' and not granted`,
          );
          return rows[0]!.count;
        })
        .toBe(count);
    };
    await holder.query('begin');
    // The lock of those who merge items, so that both acts read before either may go on.
    await holder.query('select pg_advisory_xact_lock($1)', [0x6d65_7267]);
    const body = { entry_id: link.entries[0]!.entry_id, reason: 'another animal' };
    const withdrawn = ask('POST', `/api/items/${entries[0]!.dfid}/corrections`, body);
    await waitingForLocks(1);
    const resolved = ask('POST', `/api/conflicts/${conflictId}/resolve`, {
      action: 'attach',
      dfid: entries[0]!.dfid,
      reason,
    });
    await waitingForLocks(2);

    await holder.query('commit');
    holder.release();

    expect((await withdrawn).status).toBe(200);
    expect([200, 409, 422]).toContain((await resolved).status);
    const statuses = await statusesOf(waiting.receiptId);
    expect(statuses[1]![2]).not.toBe(entries[0]!.dfid);
    expect(await findBrokenRules(application.database)).toEqual([]);
  });

  test('is done once, also by eight at the same time', async () => {
    const { conflictId, dfids } = await contest();

    const answers = await Promise.all(
      Array.from({ length: 8 }, (_nothing, at) =>
        ask('POST', `/api/conflicts/${conflictId}/resolve`, { action: 'attach', dfid: dfids[at % 2], reason }),
      ),
    );

    expect(answers.map((answer) => answer.status).toSorted((a, b) => a - b)).toEqual([
      200,
      ...Array.from({ length: 7 }, () => 409),
    ]);
    expect(
      await refusal(await ask('POST', `/api/conflicts/${conflictId}/resolve`, { action: 'reject', reason })),
    ).toEqual([409, 'conflict_resolved']);
    expect(await findBrokenRules(application.database)).toEqual([]);
  });

  test('refuses what it cannot do: no such item, no item to attach to, no such action', async () => {
    const { conflictId } = await contest();
    const { dfids } = await contest();
    const attempt = (body: object) => ask('POST', `/api/conflicts/${conflictId}/resolve`, { reason, ...body });

    expect(await refusal(await attempt({ action: 'attach' }))).toEqual([422, 'invalid_request']);
    expect(await refusal(await attempt({ action: 'attach', dfid: dfids[0] }))).toEqual([422, 'invalid_request']);
    expect(await refusal(await attempt({ action: 'guess' }))).toEqual([422, 'invalid_request']);
    expect(await refusal(await attempt({ action: 'merge', reason: ' ' }))).toEqual([422, 'invalid_request']);
    expect((await read(conflictId)).status).toBe('open');
  });

  test('settles a record that contradicts only itself as an item of its own', async () => {
    const [one, other] = [newSisbov(), newSisbov()];
    const { receiptId } = await send([{ identifiers: [one, other] }]);

    await resolve(await conflictAbout(one), { action: 'merge' });

    const [[status, outcome, dfid]] = (await statusesOf(receiptId)) as [[string, string, string]];
    expect([status, outcome]).toEqual(['completed', 'created']);
    const later = await send([{ identifiers: [other] }]);
    expect(later.entries[0]!.dfid).toBe(dfid);
  });
});

describe('a case between strangers', () => {
  test('is decided by an administrator, and each sees its own evidence only', async () => {
    const [one, other] = [newSisbov(), newChip()];
    const ours = await send([{ identifiers: [one], metadata: { secret: 'ours' } }, { identifiers: [other] }]);
    const theirs = await send([{ identifiers: [one, other], metadata: { secret: 'theirs' } }], strangersKey);
    const conflictId = await conflictAbout(one);

    const [seenByUs, seenByThem] = [await read(conflictId), await read(conflictId, strangersKey)];
    expect(seenByUs).toMatchObject({ can_resolve: false, other_participants: 1, actions: [] });
    expect(seenByUs.evidence.entries).toEqual([]);
    expect(seenByThem.evidence.entries).toHaveLength(1);
    const everything = JSON.stringify([seenByUs, seenByThem]);
    expect(everything).not.toContain('secret');
    expect(JSON.stringify(seenByThem)).not.toContain(ours.entries[0]!.entry_id);
    for (const key of [ownKey, strangersKey]) {
      const attempt = await ask('POST', `/api/conflicts/${conflictId}/resolve`, { action: 'reject', reason }, key);
      expect(await refusal(attempt)).toEqual([403, 'administrator_required']);
    }

    await resolve(conflictId, { action: 'attach', dfid: ours.entries[0]!.dfid }, application.apiKey);

    expect(await statusesOf(theirs.receiptId, strangersKey)).toEqual([
      ['completed', 'enriched', ours.entries[0]!.dfid],
    ]);
    expect(await metadataOf(ours.entries[0]!.dfid!)).toEqual({ secret: 'ours' });
    const later = await send([{ identifiers: [one] }]);
    expect(later.entries[0]!.status).toBe('completed');
    expect(await findBrokenRules(application.database)).toEqual([]);
  });

  test('is not found by those who have no part in it', async () => {
    const { conflictId } = await contest();
    expect(await refusal(await ask('GET', `/api/conflicts/${conflictId}`, undefined, strangersKey))).toEqual([
      404,
      'not_found',
    ]);
    const list = await readJson<{ conflicts: Conflict[] }>(
      await ask('GET', '/api/conflicts?limit=100', undefined, strangersKey),
    );
    expect(list.conflicts.map((each) => each.conflict_id)).not.toContain(conflictId);
  });
});
