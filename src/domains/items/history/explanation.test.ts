import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readJson, startApplication, type TestApplication } from '../../../testing/application.ts';
import type { ExplainedEntry } from './explained-entry.ts';

interface Item {
  id: string;
  dfid: string;
}

interface Merge {
  survivor_dfid: string | null;
  merged_dfid: string | null;
  by: string;
  decided_by: string | null;
  entry_id: string | null;
  reason: string | null;
  undone_at: string | null;
  undone_by: string | null;
  sentence: string;
}

interface Explanation {
  dfid: string;
  asked_dfid: string;
  is_merged: boolean;
  summary: string;
  ended_identifiers: object[];
  entries: ExplainedEntry[];
  merges: Merge[];
  undone_merges: Merge[];
  separations: { dfid: string | null; decided_by: string; reason: string | null; sentence: string }[];
  withdrawn_entries: { entry_id: string; withdrawn_by: string; reason: string | null; sentence: string }[];
  open_conflicts: { conflict_id: string }[];
  other_participants: number;
  is_complete: boolean;
}

const otherDecider = 'an administrator or another participant';

let application: TestApplication;
let ownKey: string;
let otherKey: string;
let adminKey: string;

beforeAll(async () => {
  application = await startApplication({ backend: 'postgres', hasWorker: false });
  ownKey = await application.createKey({ scope: 'write', workspace: 'Producer' });
  otherKey = await application.createKey({ scope: 'write', workspace: 'Slaughterhouse' });
  adminKey = await application.createKey({ scope: 'admin', workspace: 'Operator' });
});
afterAll(() => application.close());

let nextNumber = 600_000_000_000;
const newSisbov = () => ({ identifier_type: 'sisbov', value: `BR${nextNumber++}` });
const newChip = () => ({ identifier_type: 'chip', value: `982${nextNumber++}` });

function ask(method: string, path: string, body?: object, key = ownKey) {
  return application.fetch(path, {
    method,
    headers: { 'x-api-key': key, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
}

async function done<Body>(response: Response, status: number): Promise<Body> {
  const body = await readJson<Body>(response);
  expect({ status: response.status, body }).toEqual({ status, body });
  return body;
}

async function send(record: object, key = ownKey): Promise<Item> {
  const body = { value_chain: 'BEEF', country: 'BR', year: 2025, ...record };
  const response = await ask('POST', '/api/items', body, key);
  expect([200, 201]).toContain(response.status);
  return (await readJson<{ item: Item }>(response)).item;
}

const explain = async (dfid: string, key = ownKey) =>
  done<Explanation>(await ask('GET', `/api/items/${dfid}/explain`, undefined, key), 200);

describe('an identifier in whose place another came', () => {
  test('is told with the time and the record that told it', async () => {
    const [sisbov, old, next] = [newSisbov(), newChip(), newChip()];
    await send({ identifiers: [sisbov, old] });
    const replaced = { event_type: 'identifier_replaced', payload: { old, new: next } };
    const { dfid } = await send({
      identifiers: [sisbov],
      events: [{ ...replaced, occurred_at: '2025-03-01T00:00:00Z' }],
    });

    const { ended_identifiers: ended, entries, summary } = await explain(dfid);

    expect(ended).toMatchObject([{ ...old, ended_at: '2025-03-01T00:00:00.000Z', entry_id: entries[1]!.entry_id }]);
    expect(summary).toContain(`Another identifier took the place of chip ${old.value}.`);
  });
});

describe('how an entry came to its item', () => {
  test('is told for the first record, for shared identifiers, for edits and for what links items', async () => {
    const [sisbov, chip] = [newSisbov(), newChip()];
    const first = await send({ identifiers: [sisbov], metadata: { weight: 1 } });
    await send({ identifiers: [sisbov], metadata: { weight: 2 } });
    const second = await send({ identifiers: [chip] });
    await send({ identifiers: [sisbov, chip], metadata: { weight: 3 } });
    await done(await ask('PUT', `/api/items/${first.dfid}`, { metadata: { weight: 4 } }), 200);

    const { entries, ...explanation } = await explain(first.id);

    expect(entries.map((entry) => entry.how)).toEqual([
      'first_record',
      'same_identifier',
      'first_record',
      'linked_items',
      'edited_by_hand',
    ]);
    expect(entries[1]!.shared_identifiers).toEqual([{ ...sisbov, with: 'you', with_entry_id: entries[0]!.entry_id }]);
    expect(entries[3]).toMatchObject({
      linked_dfids: [first.dfid, second.dfid],
      shared_identifiers: [
        { ...sisbov, with_entry_id: entries[0]!.entry_id },
        { ...chip, with_entry_id: entries[2]!.entry_id },
      ],
    });
    expect(entries[2]!.dfid).toBe(second.dfid);
    expect(explanation).toMatchObject({
      dfid: first.dfid,
      asked_dfid: first.dfid,
      is_merged: false,
      is_complete: true,
      other_participants: 0,
      merges: [{ survivor_dfid: first.dfid, merged_dfid: second.dfid, by: 'record', entry_id: entries[3]!.entry_id }],
    });
    expect(explanation.summary).toContain(`5 records of yours are about ${first.dfid}. They belong together because`);
    for (const { sentence } of entries) expect(sentence).toMatch(/^[A-Z].*\.$/);
  });

  test('is told for contextual sets, with the rule and what it consists of', async () => {
    const set = [
      { identifier_type: 'lote', value: `L${nextNumber++}` },
      { identifier_type: 'safra', value: '2024/25' },
    ];
    const { dfid } = await send({ value_chain: 'SOY', identifiers: set, metadata: { weight: 1 } });
    await send({ value_chain: 'SOY', identifiers: set, metadata: { weight: 2 } });

    const { entries } = await explain(dfid);

    expect(entries.map((entry) => entry.how)).toEqual(['first_record', 'same_set']);
    expect(entries[1]!.shared_sets).toEqual([
      { rule: expect.any(String) as string, identifiers: set, with_entry_id: entries[0]!.entry_id },
    ]);
    expect(entries[1]!.sentence).toContain(`lote ${set[0]!.value} and safra 2024/25`);
  });

  test('is told for what a person divided, on both sides', async () => {
    const [sisbov, chip] = [newSisbov(), newChip()];
    const { dfid } = await send({ identifiers: [sisbov] });
    await send({ identifiers: [sisbov, chip], metadata: { weight: 2 } });
    const split = { value_chain: 'BEEF', country: 'BR', year: 2025, identifiers: [chip], reason: 'two animals' };
    const { new_item: created } = await done<{ new_item: Item }>(
      await ask('POST', `/api/items/${dfid}/split`, split),
      201,
    );

    const [source, part] = [await explain(dfid), await explain(created.dfid)];

    expect(source.entries.map((entry) => entry.how)).toEqual(['first_record', 'divided']);
    expect(part.entries).toMatchObject([{ how: 'divided', decision: { reason: 'two animals' } }]);
    expect(source.separations).toMatchObject([{ dfid: created.dfid, reason: 'two animals' }]);
    expect(part.separations).toMatchObject([{ dfid, reason: 'two animals' }]);
    expect(source.separations[0]!.decided_by).not.toBe(otherDecider);
  });

  test('is told for what a person placed after a conflict; the reason of another workspace is not', async () => {
    const sisbov = newSisbov();
    const { dfid } = await send({ identifiers: [sisbov] });
    await send({ identifiers: [sisbov], metadata: { weight: 2 } });
    const before = await explain(dfid);
    const entryId = before.entries[1]!.entry_id;
    const { rows } = await application.database.pool.query<{ id: string }>(
      `select api_key_id::text as id from api_keys join workspaces using (workspace_id) where workspaces.name = any($1) order by workspaces.name`,
      [['Operator', 'Producer']],
    );
    const [operator, producer] = rows.map((row) => row.id);
    const resolve = async (by: string) => {
      await application.database.pool.query(
        `with resolved as (
           insert into conflicts (conflict_id, status, resolved_at, resolved_by, action, reason)
           values (gen_random_uuid(), 'resolved', now(), $1, 'attach', 'the ear tag was misread') returning conflict_id
         )
         insert into conflict_entries (entry_id, conflict_id) select $2, conflict_id from resolved
         on conflict (entry_id) do update set conflict_id = excluded.conflict_id`,
        [by, entryId],
      );
      return (await explain(dfid)).entries[1]!;
    };

    expect(await resolve(producer!)).toMatchObject({
      how: 'placed_by_person',
      decision: { decided_by: producer, reason: 'the ear tag was misread' },
    });
    expect(await resolve(operator!)).toMatchObject({ decision: { decided_by: otherDecider, reason: null } });
  });

  test('stays told for entries that were withdrawn, by whom and why', async () => {
    const sisbov = newSisbov();
    const { dfid } = await send({ identifiers: [sisbov] });
    await send({ identifiers: [sisbov], metadata: { weight: 2 } });
    const { entry_id: entryId } = (await explain(dfid)).entries[1]!;
    await done(await ask('POST', `/api/items/${dfid}/corrections`, { entry_id: entryId, reason: 'wrong scale' }), 200);

    const explanation = await explain(dfid);

    expect(explanation.withdrawn_entries).toMatchObject([{ entry_id: entryId, reason: 'wrong scale' }]);
    expect(explanation.entries[1]).toMatchObject({
      how: 'same_identifier',
      withdrawn_at: expect.any(String) as string,
    });
    expect(explanation.summary).toContain('1 record withdrawn');
  });
});

describe('what persons decided', () => {
  test('is told of merges and of those taken back; a merged item is explained as what it is part of', async () => {
    const primary = await send({ identifiers: [newSisbov()] });
    const secondary = await send({ identifiers: [newChip()] });
    const body = { secondary_dfid: secondary.dfid, strategy: 'append', reason: 'same animal' };
    await done(await ask('POST', `/api/items/${primary.dfid}/merge`, body), 200);

    const merged = await explain(secondary.dfid);
    expect(merged).toMatchObject({ dfid: primary.dfid, asked_dfid: secondary.dfid, is_merged: true });
    expect(merged.merges).toMatchObject([{ by: 'person', reason: 'same animal', strategy: 'append', entry_id: null }]);
    expect(merged.summary).toContain(`${secondary.dfid} was merged; it is part of ${primary.dfid} now`);
    expect(merged.summary).toContain('1 item became part of it because a person decided so.');

    await done(await ask('POST', `/api/items/${secondary.dfid}/unmerge`, { reason: 'another animal' }), 200);
    const restored = await explain(secondary.dfid);
    expect(restored).toMatchObject({ dfid: secondary.dfid, is_merged: false, merges: [] });
    expect(restored.undone_merges).toMatchObject([
      { merged_dfid: secondary.dfid, undone_at: expect.any(String) as string },
    ]);
    expect(restored.undone_merges[0]!.undone_by).not.toBe(otherDecider);
    expect(restored.separations).toMatchObject([{ dfid: primary.dfid, reason: 'another animal' }]);
  });

  test('is told of open conflicts about the item', async () => {
    const [one, other] = [newSisbov(), newSisbov()];
    const chip = newChip();
    const { dfid } = await send({ identifiers: [one, chip] });
    const response = await ask('POST', '/api/items', {
      value_chain: 'BEEF',
      country: 'BR',
      year: 2025,
      identifiers: [other, chip],
    });
    expect(response.status).toBe(409);

    const { open_conflicts: conflicts, summary } = await explain(dfid);

    expect(conflicts).toHaveLength(1);
    expect(summary).toContain('1 conflict about it waits for a decision.');
  });
});

describe('what another workspace sent and decided', () => {
  test('is nowhere in an explanation, however the items are tied together', async () => {
    const [sisbov, chip, secretChip] = [newSisbov(), newChip(), newChip()];
    const theirs = await send({ identifiers: [sisbov, chip], metadata: { secret: 'price' } }, otherKey);
    const hidden = await send({ identifiers: [secretChip], metadata: { secret: 'colour' } }, otherKey);
    const ours = await send({ identifiers: [sisbov], metadata: { weight: 1 } });
    expect(ours.dfid).toBe(theirs.dfid);
    const merge = { secondary_dfid: hidden.dfid, strategy: 'append', reason: 'a secret reason' };
    await done(await ask('POST', `/api/items/${ours.dfid}/merge`, merge, adminKey), 200);
    const { entry_id: withdrawn } = (await explain(theirs.dfid, otherKey)).entries[1]!;

    const merged = await explain(ours.dfid);
    await done(await ask('POST', `/api/items/${hidden.dfid}/unmerge`, { reason: 'a secret reason' }, adminKey), 200);
    const correction = { entry_id: withdrawn, reason: 'a secret reason' };
    await done(await ask('POST', `/api/items/${hidden.dfid}/corrections`, correction, otherKey), 200);
    const unmerged = await explain(ours.dfid);

    expect(merged.entries).toMatchObject([
      {
        how: 'same_identifier',
        shared_identifiers: [{ ...sisbov, with: 'another participant', with_entry_id: null }],
        sentence: expect.stringContaining('which another participant sent too') as string,
      },
    ]);
    expect(merged.merges).toMatchObject([
      { merged_dfid: null, decided_by: otherDecider, reason: null, strategy: null },
    ]);
    expect(unmerged.undone_merges).toMatchObject([{ merged_dfid: null, undone_by: otherDecider }]);
    expect(unmerged.separations).toMatchObject([{ dfid: null, decided_by: otherDecider, reason: null }]);
    expect([merged.other_participants, unmerged.withdrawn_entries]).toEqual([1, []]);
    const { rows } = await application.database.pool.query<{ id: string }>(
      `select entry_id::text as id from entries join workspaces using (workspace_id) where name <> 'Producer'
       union all select workspace_id::text from workspaces union all select workspaces.name from workspaces
       union all select api_key_id::text from api_keys`,
    );
    const told = JSON.stringify([merged, unmerged]);
    for (const secret of ['secret', 'price', 'colour', chip.value, secretChip.value, hidden.dfid, hidden.id])
      expect(told).not.toContain(secret);
    for (const { id } of rows) expect(told).not.toContain(id);
  });

  test('does not confirm which of several guessed identifiers others sent', async () => {
    const [sisbov, chip] = [newSisbov(), newChip()];
    await send({ identifiers: [sisbov, chip] }, otherKey);
    const ours = await send({ identifiers: [sisbov, chip] });

    const { entries } = await explain(ours.dfid);

    expect(entries[0]!.sentence).toContain('names at least one of');
    expect(entries[0]!.shared_identifiers.map((each) => each.with)).toEqual([
      'another participant',
      'another participant',
    ]);
  });
});

describe('an item with very many entries', () => {
  test('is explained from the oldest 10,000 of them, and says so', async () => {
    const sisbov = newSisbov();
    const { dfid } = await send({ identifiers: [sisbov] });
    const { pool } = application.database;
    await pool.query(
      `with first as (
         select entries.*, receipts.receipt_id from entries join receipts using (received_sequence, workspace_id)
         where entry_id = $1
       )
       insert into entries (entry_id, workspace_id, item_number, received_sequence, effective_at, byte_start, byte_length, status, outcome, record)
       select (left(entry_id::text, 30) || lpad(to_hex(position), 6, '0'))::uuid, workspace_id, item_number, received_sequence, effective_at,
              0, 1, status, 'duplicate', record
       from first cross join generate_series(2, 12000) as position`,
      [(await explain(dfid)).entries[0]!.entry_id],
    );

    const { entries, is_complete: isComplete, summary } = await explain(dfid);

    expect([entries.length, isComplete]).toEqual([10_000, false]);
    expect(entries.at(-1)!.how).toBe('same_identifier');
    expect(summary).toContain('At least 10000 records');
  });
});
