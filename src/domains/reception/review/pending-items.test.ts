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
import { findBrokenRules } from '../../../testing/deduplication.ts';
import { codesOfReason } from './pending-reasons.ts';
import { listPending } from './pending-items.store.ts';

interface PendingItem {
  id: string;
  receipt_id: string;
  position: number;
  line: number | null;
  status: string;
  reason: string | null;
  severity: string | null;
  priority: string | null;
  priority_level: number | null;
  error: { code: string; detail: string; pointer: string } | null;
  suggested_actions: { action_type: string; automated: boolean }[];
  record: string | null;
  record_status: string;
  columns: string[] | null;
  retry_count: number;
  outcome: string | null;
  dfid: string | null;
  decisions: { action: string; result: string; reason: string | null; decided_by: string }[];
}

interface List {
  pending_items: PendingItem[];
  count: number;
  total: number;
  next_cursor: string | null;
}

let application: TestApplication;
let nextNumber = 710_000_000_000;
let nextWorkspace = 1;

beforeAll(async () => {
  application = await startApplication({ backend: 'postgres' });
});
afterAll(() => application.close());

const newSisbov = () => ({ identifier_type: 'sisbov', value: `BR${nextNumber++}` });

/** A workspace of its own, so that what other tests leave waiting is not in its lists. */
async function openWorkspace() {
  const key = await application.createKey({ scope: 'write', workspace: `Workspace ${nextWorkspace++}` });
  const headers = { 'x-api-key': key, 'content-type': 'application/json' };
  const get = async <Body>(path: string) => readJson<Body>(await application.fetch(path, { headers }));
  const post = (path: string, body: object) =>
    application.fetch(path, { method: 'POST', headers, body: JSON.stringify(body) });
  const receipt = (receiptId: string) => get<Receipt>(`/api/receipts/${receiptId}`);
  return {
    headers,
    get,
    post,
    receipt,
    async submit(body: string | object, contentType = 'application/json') {
      const text = typeof body === 'string' ? body : JSON.stringify(body);
      const response = await application.submit(text, { ...headers, 'content-type': contentType, prefer: 'wait=20' });
      expect(response.status).toBe(200);
      return readJson<Receipt>(response);
    },
    async addRule(rule: object): Promise<string> {
      const response = await post('/api/items/quality-rules', rule);
      expect(response.status).toBe(201);
      return (await readJson<{ id: string }>(response)).id;
    },
    list: (query = '') => get<List>(`/api/items/pending${query}`),
    one: (id: string) => get<PendingItem>(`/api/items/pending/${id}`),
    resolve: (id: string, decision: object) => post(`/api/items/pending/${id}/resolve`, decision),
    async resolved(id: string, decision: object): Promise<PendingItem> {
      const response = await post(`/api/items/pending/${id}/resolve`, decision);
      expect([response.status, id]).toEqual([200, id]);
      return readJson<PendingItem>(response);
    },
    /** Until the receipt is settled. */
    settled: (receiptId: string) =>
      waitFor(async () => {
        const answer = await receipt(receiptId);
        return answer.finished_at === null ? undefined : answer;
      }, `receipt ${receiptId} to settle`),
    entries: async (receiptId: string) =>
      (await get<{ entries: Entry[] }>(`/api/receipts/${receiptId}/entries`)).entries,
  };
}

type Workspace = Awaited<ReturnType<typeof openWorkspace>>;

const badChip = { identifiers: [{ identifier_type: 'chip', value: 'not a chip' }] };
const heavy = { name: 'peso', field: 'peso', condition: { check: 'number_between', maximum: 1500 }, severity: 'High' };

/** A record that waits because a rule of its workspace holds it. */
async function holdOne(workspace: Workspace, identifiers: object[] = [newSisbov()]) {
  const receipt = await workspace.submit({ identifiers, metadata: { peso: 4500 } });
  const { pending_items: items } = await workspace.list();
  return { receipt, item: items.find((item) => item.receipt_id === receipt.receipt_id)! };
}

async function problemOf(response: Response) {
  const { status, error, errors } = await readJson<ProblemDocument>(response);
  return { status, error, pointer: errors?.[0]?.pointer };
}

describe('the list of pending items', () => {
  test('shows each refused record with reason, priority, what helps and what was sent, the most urgent first', async () => {
    const workspace = await openWorkspace();
    await workspace.addRule({ name: 'raça', field: 'raca', condition: { check: 'required' }, severity: 'Critical' });
    const lines = [
      JSON.stringify({ identifiers: [newSisbov()], metadata: { raca: 'Nelore' } }),
      JSON.stringify({ identifiers: [newSisbov()], metadata: {} }),
      JSON.stringify({ identifiers: [], metadata: { raca: 'Nelore' } }),
      '{ broken',
      JSON.stringify({ ...badChip, metadata: { raca: 'São João' } }),
    ];
    const { receipt_id: receiptId } = await workspace.submit(lines.join('\n'), 'application/x-ndjson');

    const list = await workspace.list();

    expect([list.count, list.total, list.next_cursor]).toEqual([4, 4, null]);
    const shown = list.pending_items.map(({ position, line, reason, severity, priority, priority_level, record }) => ({
      position,
      line,
      reason,
      severity,
      priority,
      priority_level,
      record,
    }));
    const other = { severity: null };
    expect(shown).toEqual([
      {
        position: 1,
        line: 2,
        reason: 'DataQualityIssue',
        severity: 'Critical',
        priority: 'Critical',
        priority_level: 4,
        record: lines[1],
      },
      {
        position: 2,
        line: 3,
        reason: 'NoIdentifiers',
        ...other,
        priority: 'High',
        priority_level: 3,
        record: lines[2],
      },
      {
        position: 4,
        line: 5,
        reason: 'InvalidIdentifiers',
        ...other,
        priority: 'Normal',
        priority_level: 2,
        record: lines[4],
      },
      {
        position: 3,
        line: 4,
        reason: 'ValidationError',
        ...other,
        priority: 'Normal',
        priority_level: 2,
        record: lines[3],
      },
    ]);
    for (const item of list.pending_items) {
      expect(item).toMatchObject({
        receipt_id: receiptId,
        status: 'pending',
        record_status: 'complete',
        retry_count: 0,
        outcome: null,
        dfid: null,
      });
      expect(item.suggested_actions.length).toBeGreaterThan(0);
      expect(item.suggested_actions.every(({ automated }) => !automated)).toBe(true);
    }
    expect(list.pending_items[0]!.error).toMatchObject({ code: 'quality_rule', pointer: '/metadata/raca' });
    expect(list.pending_items[1]!.suggested_actions[0]!.action_type).toBe('add_identifiers');
  });

  test('is filtered by reason and least priority, in any case, by name or number', async () => {
    const workspace = await openWorkspace();
    await workspace.submit([badChip, { identifiers: [] }, { identifiers: [], nonsense: 1 }]);
    const codes = async (query: string) => {
      const { pending_items: items, total } = await workspace.list(query);
      expect(total).toBe(items.length);
      return items.map((item) => item.error!.code);
    };

    expect(await codes('?reason=noidentifiers')).toEqual(['no_identifying_identifier']);
    expect(await codes('?reason=ValidationError')).toEqual(['unknown_member']);
    expect(await codes('?reason=ConflictingDFIDs')).toEqual([]);
    expect(await codes('?priority_min=3')).toEqual(['no_identifying_identifier']);
    expect(await codes('?priority_min=normal')).toEqual([
      'no_identifying_identifier',
      'invalid_identifier',
      'unknown_member',
    ]);
    expect(await codes('?reason=InvalidIdentifiers&priority_min=Critical')).toEqual([]);
    for (const query of ['?reason=Boredom', '?priority_min=0', '?priority_min=5', '?cursor=abc', '?limit=0'])
      expect([query, (await application.fetch(`/api/items/pending${query}`)).status]).toEqual([query, 400]);
  });

  test.each(['', '&reason=InvalidIdentifiers'])(
    'is walked by cursor without gap or repeat, and by offset in the same order (%s)',
    async (filter) => {
      const workspace = await openWorkspace();
      await workspace.submit(Array.from({ length: 7 }, () => badChip));
      await workspace.submit([{ identifiers: [{ identifier_type: 'cpf', value: '11111111111' }] }]);
      const all = (await workspace.list(`?limit=100${filter}`)).pending_items.map((item) => item.id);
      const walked: string[] = [];
      let cursor: string | null = null;
      do {
        const query: string = `?limit=3${filter}${cursor === null ? '' : `&cursor=${cursor}`}`;
        const page: List = await workspace.list(query);
        walked.push(...page.pending_items.map((item) => item.id));
        cursor = page.next_cursor;
      } while (cursor !== null);

      expect(all).toHaveLength(8);
      expect(walked).toEqual(all);
      const second = await workspace.list(`?limit=3&offset=3${filter}`);
      expect(second.pending_items.map((item) => item.id)).toEqual(all.slice(3, 6));
    },
  );

  test('shows a CSV line with its header, and only the beginning of a record that is long', async () => {
    const workspace = await openWorkspace();
    await workspace.submit('chip;raça\nnada;Girolando\n', 'text/csv');
    const sent = { identifiers: [], metadata: { text: 'ã'.repeat(5000) } };
    await workspace.submit(sent);

    const { pending_items: items } = await workspace.list();

    const csv = items.find((item) => item.columns)!;
    expect(csv).toMatchObject({ record: 'nada;Girolando', columns: ['chip', 'raça'], line: 2 });
    const long = items.find((item) => !item.columns)!;
    expect(long.record_status).toBe('cut_short');
    expect(long.record).toMatch(/^\{"identifiers":\[\],"metadata":\{"text":"ã+$/);
    expect((await workspace.one(long.id)).record).toBe(JSON.stringify(sent));
  });

  test('holds nothing of another workspace, whose records answer 404 as if they did not exist', async () => {
    const workspace = await openWorkspace();
    const stranger = await openWorkspace();
    await workspace.submit(badChip);
    const [item] = (await workspace.list()).pending_items;

    expect(await stranger.list()).toMatchObject({ pending_items: [], total: 0 });
    for (const id of [item!.id, '018f0000-0000-7000-8000-000000000001', 'nonsense']) {
      const seen = await application.fetch(`/api/items/pending/${id}`, { headers: stranger.headers });
      expect((await problemOf(seen)).status).toBe(404);
      for (const action of ['approve', 'reject'])
        expect((await problemOf(await stranger.resolve(id, { action }))).status).toBe(404);
    }
    expect((await workspace.one(item!.id)).status).toBe('pending');
  });

  test('reads its first page from the index, also where a workspace has very many', async () => {
    const workspace = await openWorkspace();
    const { receipt_id: receiptId } = await workspace.submit(badChip);
    const { pool } = application.database;
    await pool.query(
      `insert into entries (workspace_id, entry_id, received_sequence, effective_at, byte_start, byte_length, status, error)
       select workspace_id, (left($1, 30) || lpad(to_hex(position + 1), 6, '0'))::uuid, received_sequence, now(), 0, 1, 'rejected',
              json_build_object('code', 'invalid_identifier', 'detail', '', 'pointer', '')
       from receipts cross join generate_series(1, 30000) as position where receipt_id = $1::uuid`,
      [receiptId],
    );
    await pool.query('analyze entries');
    const plans: string[] = [];
    const recorded = {
      async query(text: string, values: unknown[]) {
        const { rows } = await pool.query<Record<string, string>>(`explain ${text}`, values);
        plans.push(rows.map((row) => row['QUERY PLAN']).join('\n'));
        return pool.query(text, values);
      },
    } as unknown as Parameters<typeof listPending>[0];
    const { rows } = await pool.query<{ workspace_id: string }>(
      'select workspace_id from receipts where receipt_id = $1',
      [receiptId],
    );
    const workspaceId = rows[0]!.workspace_id;
    const page = { limit: 50, offset: 0, after: undefined };

    const all = await listPending(recorded, { workspaceId, codes: undefined, priorityMin: 1 }, page);
    const codes = codesOfReason('InvalidIdentifiers');
    const some = await listPending(recorded, { workspaceId, codes, priorityMin: 1 }, page);

    expect([all.rows.length, all.total, some.rows.length, some.total]).toEqual([50, 10_001, 50, 10_001]);
    for (const plan of [plans[0], plans[2]]) {
      expect(plan).toMatch(/Index Scan using entries_pending_idx/);
      expect(plan).not.toMatch(/Seq Scan/);
    }
    expect(plans[0]).not.toMatch(/Sort/);
  });
});

describe('approving', () => {
  test('lets a record through that a quality rule holds: one item, one entry, the receipt counted anew', async () => {
    const workspace = await openWorkspace();
    await workspace.addRule(heavy);
    const { receipt, item } = await holdOne(workspace);
    expect(receipt).toMatchObject({ status: 'completed_with_errors', entries: { rejected: 1, completed: 0 } });

    const resolved = await workspace.resolved(item.id, { action: 'approve', reason: 'weighed twice' });

    expect(resolved).toMatchObject({
      id: item.id,
      status: 'completed',
      outcome: 'created',
      error: null,
      priority: null,
    });
    expect(resolved.decisions).toMatchObject([{ action: 'approve', result: 'completed', reason: 'weighed twice' }]);
    const found = await workspace.get<{ item: { metadata: object } }>(`/api/items/${resolved.dfid}`);
    expect(found.item.metadata).toEqual({ peso: 4500 });
    const settled = await workspace.receipt(receipt.receipt_id);
    expect(settled).toMatchObject({
      status: 'completed',
      entries: { total: 1, pending: 0, completed: 1, rejected: 0 },
      items: { created: 1 },
      finished_at: receipt.finished_at,
    });
    expect(await workspace.entries(receipt.receipt_id)).toMatchObject([
      { entry_id: item.id, status: 'completed', outcome: 'created', dfid: resolved.dfid, error: null },
    ]);
    expect((await workspace.list()).total).toBe(0);
    const { rows } = await application.database.pool.query<{ decided_by: string }>(
      `select decided_by from pending_decisions join api_keys on api_key_id = decided_by where entry_id = $1`,
      [item.id],
    );
    expect(rows).toHaveLength(1);
  });

  test('what is still impossible leaves it waiting with a higher priority, up to the highest, and says why', async () => {
    const workspace = await openWorkspace();
    const receipt = await workspace.submit(badChip);
    const [item] = (await workspace.list()).pending_items;
    const levels: (number | null)[] = [];
    for (let tries = 1; tries <= 4; tries += 1) {
      const resolved = await workspace.resolved(item!.id, { action: 'approve' });
      expect(resolved).toMatchObject({ status: 'pending', retry_count: tries, error: { code: 'invalid_identifier' } });
      levels.push(resolved.priority_level);
    }

    expect(levels).toEqual([3, 4, 4, 4]);
    expect((await workspace.list('?priority_min=4')).pending_items.map(({ id }) => id)).toEqual([item!.id]);
    const after = await workspace.receipt(receipt.receipt_id);
    expect(after).toMatchObject({ status: 'completed_with_errors', entries: { rejected: 1, completed: 0 } });
  });

  test('what contradicts an item that is known makes it a conflict, which waits in another list', async () => {
    const workspace = await openWorkspace();
    await workspace.addRule(heavy);
    const chip = { identifier_type: 'chip', value: '982000000710001' };
    await workspace.submit({ identifiers: [newSisbov(), chip] });
    const { receipt, item } = await holdOne(workspace, [newSisbov(), chip]);

    const resolved = await workspace.resolved(item.id, { action: 'approve' });

    expect(resolved).toMatchObject({ status: 'conflicted', error: { code: 'identifier_conflict' } });
    expect((await workspace.list()).total).toBe(0);
    const counts = (await workspace.receipt(receipt.receipt_id)).entries;
    expect(counts).toMatchObject({ conflicted: 1, rejected: 0, completed: 0 });
  });

  test('enriches an item that exists by now, at the place in the order at which the record arrived', async () => {
    const workspace = await openWorkspace();
    await workspace.addRule(heavy);
    const identifiers = [newSisbov()];
    const { item } = await holdOne(workspace, identifiers);
    await workspace.submit({ identifiers, metadata: { peso: 450 } });

    const resolved = await workspace.resolved(item.id, { action: 'approve' });

    expect(resolved.outcome).toBe('enriched');
    const found = await workspace.get<{ item: { metadata: object } }>(`/api/items/${resolved.dfid}`);
    expect(found.item.metadata).toEqual({ peso: 450 });
  });
});

describe('rejecting', () => {
  test('dismisses a record for good: it leaves the list, stays in its receipt, and no later decision is taken', async () => {
    const workspace = await openWorkspace();
    const receipt = await workspace.submit(badChip);
    const [item] = (await workspace.list()).pending_items;

    const resolved = await workspace.resolved(item!.id, { action: 'REJECT', reason: 'a test' });

    expect(resolved).toMatchObject({ status: 'dismissed', suggested_actions: [] });
    expect((await workspace.list()).total).toBe(0);
    expect((await workspace.list('?reason=InvalidIdentifiers')).total).toBe(0);
    expect(await workspace.entries(receipt.receipt_id)).toMatchObject([{ entry_id: item!.id, status: 'rejected' }]);
    expect((await workspace.receipt(receipt.receipt_id)).entries).toMatchObject({ rejected: 1 });
    for (const action of ['approve', 'reject'])
      expect(await problemOf(await workspace.resolve(item!.id, { action }))).toMatchObject({
        status: 409,
        error: 'not_pending',
      });
    expect((await workspace.one(item!.id)).decisions).toHaveLength(1);
  });

  test('a failed record keeps it out of every later retry of its receipt', async () => {
    const workspace = await openWorkspace();
    const { receipt_id: receiptId } = await workspace.submit([badChip, badChip]);
    await makeFailed(receiptId);
    const [first, second] = (await workspace.list()).pending_items;
    await workspace.resolved(first!.id, { action: 'reject' });

    const retried = await workspace.post(`/api/receipts/${receiptId}/retry`, {});

    expect(await readJson<object>(retried)).toMatchObject({ retried: 1 });
    const settled = await workspace.settled(receiptId);
    expect(settled.entries).toMatchObject({ total: 2, pending: 0, failed: 1, rejected: 1 });
    expect((await workspace.list()).pending_items).toMatchObject([
      { id: second!.id, error: { code: 'invalid_identifier' } },
    ]);
  });
});

describe('modifying', () => {
  test('tries at once; what is still wrong waits with its new fault and keeps the change for the next try', async () => {
    const workspace = await openWorkspace();
    await workspace.addRule(heavy);
    const receipt = await workspace.submit({ ...badChip, metadata: { peso: 4500 } });
    const [item] = (await workspace.list()).pending_items;

    const first = await workspace.resolved(item!.id, { action: 'modify', new_identifiers: [newSisbov()] });
    expect(first).toMatchObject({
      status: 'pending',
      reason: 'DataQualityIssue',
      error: { code: 'quality_rule', pointer: '/metadata/peso' },
      retry_count: 1,
    });
    const second = await workspace.resolved(item!.id, { action: 'modify', new_enriched_data: { peso: 450 } });

    expect(second).toMatchObject({ status: 'completed', outcome: 'created' });
    expect(second.decisions.map(({ result }) => result)).toEqual(['still_pending', 'completed']);
    const provenance = await workspace.get<object>(`/api/items/${second.dfid}/provenance`);
    expect(provenance).toMatchObject({ fields: [{ field: 'peso', value: 450, source: { entry_id: item!.id } }] });
    const body = await application.fetch(`/api/receipts/${receipt.receipt_id}/body`, { headers: workspace.headers });
    expect(await body.json()).toEqual({ ...badChip, metadata: { peso: 4500 } });
  });

  test('gives identifiers to a line of a CSV, and to a record that cannot be read at all', async () => {
    const workspace = await openWorkspace();
    await workspace.submit('chip,raca\n12,Nelore\n', 'text/csv');
    await workspace.submit(`{ broken\n`, 'application/x-ndjson');
    const { pending_items: items } = await workspace.list();
    expect(items).toHaveLength(2);

    for (const { id, columns } of items) {
      const resolved = await workspace.resolved(id, { action: 'modify', new_identifiers: [newSisbov()] });
      expect(resolved.status).toBe('completed');
      const found = await workspace.get<{ item: { metadata: object } }>(`/api/items/${resolved.dfid}`);
      expect(found.item.metadata).toEqual(columns ? { raca: 'Nelore' } : {});
    }
  });

  test.each([
    ['nothing to change', { action: 'modify' }],
    ['values that only modify takes', { action: 'approve', new_identifiers: [] }],
    ['an action that nobody knows', { action: 'delete' }],
    ['identifiers that are none', { action: 'modify', new_identifiers: ['BR1'] }],
    ['no action', {}],
    ['more data than a record may have', { action: 'modify', new_enriched_data: { x: 'x'.repeat(1_048_576) } }],
  ])('with %s answers 422 and decides nothing', async (_what, decision) => {
    const workspace = await openWorkspace();
    await workspace.submit(badChip);
    const [item] = (await workspace.list()).pending_items;

    expect((await workspace.resolve(item!.id, decision)).status).toBe(422);
    expect((await workspace.one(item!.id)).decisions).toEqual([]);
  });

  test.each([
    ['an empty list', []],
    ['members that an identifier does not have', [{ identifier_type: 'sisbov', value: 'BR1', colour: 'red' }]],
    ['a value that is no text', [{ identifier_type: 'sisbov', value: 1 }]],
    ['a text that only Postgres minds', [{ identifier_type: 'brinco', value: '\u0001' }]],
  ])('to %s leaves the record waiting', async (_what, identifiers) => {
    const workspace = await openWorkspace();
    await workspace.submit(badChip);
    const [item] = (await workspace.list()).pending_items;

    const resolved = await workspace.resolved(item!.id, { action: 'modify', new_identifiers: identifiers });

    expect(resolved.status).toBe('pending');
  });
});

describe('a record whose bytes were erased', () => {
  test('says so, cannot be approved as it was, and can still get identifiers or be dismissed', async () => {
    const workspace = await openWorkspace();
    const { receipt_id: receiptId } = await workspace.submit([badChip, badChip]);
    const { pool } = application.database;
    await pool.query('delete from receipt_bodies where receipt_id = $1', [receiptId]);
    await pool.query('update receipts set body_erased_at = now() where receipt_id = $1', [receiptId]);
    const [first, second] = (await workspace.list()).pending_items;

    expect(first).toMatchObject({ record: null, record_status: 'erased' });
    for (const decision of [{ action: 'approve' }, { action: 'modify', new_enriched_data: {} }])
      expect(await problemOf(await workspace.resolve(first!.id, decision))).toMatchObject({ error: 'body_erased' });
    const mended = await workspace.resolved(first!.id, { action: 'modify', new_identifiers: [newSisbov()] });
    expect(mended.status).toBe('completed');
    expect((await workspace.resolved(second!.id, { action: 'reject' })).status).toBe('dismissed');
  });
});

describe('at the same time', () => {
  test('of many decisions about one record, one is taken and the others answer 409', async () => {
    const workspace = await openWorkspace();
    await workspace.addRule(heavy);
    const { item } = await holdOne(workspace);

    const answers = await Promise.all(
      Array.from({ length: 8 }, (_none, at) =>
        workspace.resolve(item.id, { action: at % 2 === 0 ? 'approve' : 'reject' }),
      ),
    );

    expect(answers.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([
      200,
      ...Array.from({ length: 7 }, () => 409),
    ]);
    expect((await workspace.one(item.id)).decisions).toHaveLength(1);
  });

  test('a retry of the receipt and decisions make one item and one entry of each record, counted once', async () => {
    const workspace = await openWorkspace();
    const rule = await workspace.addRule(heavy);
    const records = Array.from({ length: 12 }, () => ({ identifiers: [newSisbov()], metadata: { peso: 4500 } }));
    const { receipt_id: receiptId } = await workspace.submit(records);
    await makeFailed(receiptId);
    await application.fetch(`/api/items/quality-rules/${rule}`, { method: 'DELETE', headers: workspace.headers });
    const { pending_items: items } = await workspace.list();
    expect(items.map((item) => item.reason)).toEqual(records.map(() => 'ProcessingError'));

    const answers = await Promise.all([
      ...items.slice(0, 6).map(({ id }) => workspace.resolve(id, { action: 'approve' })),
      workspace.post(`/api/receipts/${receiptId}/retry`, {}),
      ...items.slice(6).map(({ id }) => workspace.resolve(id, { action: 'approve' })),
    ]);

    expect(answers.every(({ status }) => [200, 202, 409].includes(status))).toBe(true);
    const settled = await workspace.settled(receiptId);
    expect(settled).toMatchObject({
      status: 'completed',
      entries: { total: 12, pending: 0, completed: 12, rejected: 0, failed: 0 },
      items: { created: 12, updated: 0 },
    });
    const entries = await workspace.entries(receiptId);
    expect(new Set(entries.map((entry) => entry.dfid)).size).toBe(12);
    expect(entries.every((entry) => entry.outcome === 'created')).toBe(true);
  });

  test('decisions and receipts about the same items end, and leave nothing that contradicts itself', async () => {
    const workspace = await openWorkspace();
    const rule = await workspace.addRule(heavy);
    const animals = Array.from({ length: 8 }, (_none, at) => [
      newSisbov(),
      { identifier_type: 'chip', value: `98200000071100${at}` },
    ]);
    const held = animals.flatMap(([sisbov, chip]) => [
      { identifiers: [sisbov!], metadata: { peso: 4500 } },
      { identifiers: [chip!], metadata: { peso: 4600 } },
    ]);
    const first = await workspace.submit(held);
    const { pending_items: items } = await workspace.list();
    const linking = animals.map((identifiers, at) => ({ identifiers, metadata: { peso: 400 + at } }));

    const deciding = items.map(({ id }) => workspace.resolve(id, { action: 'approve' }));
    const sending = Array.from({ length: 6 }, () => workspace.submit(linking.toReversed()));
    const answers = await Promise.all(deciding);
    const receipts = await Promise.all(sending);

    expect(answers.map(({ status }) => status).filter((status) => status !== 200 && status !== 503)).toEqual([]);
    for (const { id } of (await workspace.list()).pending_items) await workspace.resolved(id, { action: 'approve' });
    for (const { receipt_id: id } of [first, ...receipts])
      expect((await workspace.settled(id)).entries).toMatchObject({
        pending: 0,
        rejected: 0,
        failed: 0,
        conflicted: 0,
      });
    await application.fetch(`/api/items/quality-rules/${rule}`, { method: 'DELETE', headers: workspace.headers });
    const found = await workspace.get<{ total: number }>('/api/items');
    expect(found.total).toBe(animals.length);
    expect(await findBrokenRules(application.database)).toEqual([]);
  });

  test('decisions about records of one item join it, each counted once', async () => {
    const workspace = await openWorkspace();
    await workspace.addRule(heavy);
    const identifiers = [newSisbov()];
    const held = [];
    for (let count = 0; count < 5; count += 1) held.push((await holdOne(workspace, identifiers)).item);

    const answers = await Promise.all(held.map(({ id }) => workspace.resolve(id, { action: 'approve' })));

    const late = answers.map(({ status }) => status).filter((status) => status !== 200);
    expect(late.every((status) => status === 503)).toBe(true);
    for (const [at, answer] of answers.entries())
      if (answer.status === 503) await workspace.resolved(held[at]!.id, { action: 'approve' });
    const shown = await Promise.all(held.map(({ id }) => workspace.one(id)));
    expect(new Set(shown.map(({ dfid }) => dfid)).size).toBe(1);
    expect(shown.filter(({ outcome }) => outcome === 'created')).toHaveLength(1);
  });
});

/** Turns the refused records of a receipt into failed ones, as if the worker had ended on each of them twice. */
async function makeFailed(receiptId: string): Promise<void> {
  const { pool } = application.database;
  await pool.query(
    `update entries set status = 'failed', error = '{"code":"processing_failed","detail":"","pointer":""}'
     where left(entry_id::text, 30) = left($1, 30)`,
    [receiptId],
  );
  await pool.query('update receipt_chunks set failed = rejected, rejected = 0 where receipt_id = $1', [receiptId]);
}
