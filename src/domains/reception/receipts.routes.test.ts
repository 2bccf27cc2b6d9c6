import { createHash, randomBytes } from 'node:crypto';
import { request } from 'node:http';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { blake3Hex } from '#platform/blake3.ts';
import {
  readJson,
  startApplication,
  waitFor,
  type Entry,
  type ProblemDocument,
  type Receipt,
  type TestApplication,
} from '../../testing/application.ts';

interface List<Row> {
  receipts: Row[];
  entries: Row[];
  count: number;
  total: number;
  next_cursor: string | null;
}

let nextNumber = 100_000_000_000;

/** A SISBOV number that no other record of this file has. */
function newSisbov(): string {
  return `BR${nextNumber++}`;
}

function cattle(more: object = {}) {
  return { identifiers: [{ identifier_type: 'sisbov', value: newSisbov() }], ...more };
}

async function accepted(response: Response): Promise<Receipt> {
  expect(response.status).toBe(202);
  return readJson<Receipt>(response);
}

const backends = [
  { backend: 'postgres' as const, isThere: true },
  { backend: 'redis' as const, isThere: inject('redisUrl') !== null },
];

describe.each(backends)('receipts with the queues in $backend', ({ backend, isThere }) => {
  describe.runIf(isThere)('on this machine', () => {
    let application: TestApplication;
    beforeAll(async () => {
      application = await startApplication({ backend });
    });
    afterAll(() => application.close());

    const entriesOf = async (receiptId: string, query = '') =>
      readJson<List<Entry>>(await application.fetch(`/api/receipts/${receiptId}/entries${query}`));

    test('Idempotency-Key is 409 while the first request is under way, and free again when that one was refused', async () => {
      const key = { 'idempotency-key': 'under-way' };
      const first = openSubmission(application, { ...key, 'content-length': '2' });
      first.write('{');
      await waitForBufferedBytes(application, 1);

      const second = await application.submit('[]', key);
      first.write(' ');
      const { status } = await first.answer;
      const third = await application.submit('[]', key);

      expect([second.status, second.headers.get('retry-after')]).toEqual([409, '1']);
      expect((await readJson<ProblemDocument>(second)).error).toBe('idempotency_key_in_use');
      expect(status).toBe(400);
      expect([third.status, third.headers.get('idempotency-replayed')]).toEqual([202, null]);
    });

    test('an acknowledgement names the receipt, its BLAKE3 hash, size and type, and where to look', async () => {
      const body = JSON.stringify(cattle());
      const response = await application.submit(body);
      const receipt = await accepted(response);
      expect(receipt).toEqual({
        receipt_id: expect.stringMatching(/^[0-9a-f-]{36}$/) as string,
        status: 'received',
        hash: blake3Hex(body),
        size_bytes: Buffer.byteLength(body),
        content_type: 'application/json',
        received_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/) as string,
      });
      expect(response.headers.get('location')).toBe(`/api/receipts/${receipt.receipt_id}`);
      const stored = await application.database.pool.query('select 1 from receipts where receipt_id = $1', [
        receipt.receipt_id,
      ]);
      expect(stored.rowCount).toBe(1);
    });

    test('one JSON record becomes one item with a DFID that can be read', async () => {
      const { receipt_id: id } = await accepted(
        await application.submit(JSON.stringify(cattle({ value_chain: 'BEEF', country: 'BR', year: 2024 }))),
      );
      expect(await application.settle(id)).toMatchObject({
        status: 'completed',
        entries: { total: 1, pending: 0, completed: 1, rejected: 0, failed: 0, conflicted: 0 },
        items: { created: 1, updated: 0 },
        unclassified_fields: [],
        error: null,
      });
      const { entries } = await entriesOf(id);
      expect(entries[0]).toMatchObject({
        position: 0,
        line: null,
        status: 'completed',
        outcome: 'created',
        error: null,
      });
      expect(entries[0]!.dfid).toMatch(/^DFID-BEEF-BR-2024-\d{6,}-[0-9a-f]{6}$/);
      expect((await application.fetch(`/api/items/${entries[0]!.dfid}`)).status).toBe(200);
    });

    test('a JSON array, NDJSON and CSV with comma, semicolon or tab each give one entry per record', async () => {
      const [a, b] = [newSisbov(), newSisbov()];
      const table = (delimiter: string) =>
        [`sisbov${delimiter}peso`, `${newSisbov()}${delimiter}410`, `${newSisbov()}${delimiter}420`].join('\r\n');
      const bodies: [string, string, (number | null)[]][] = [
        ['application/json', JSON.stringify([cattle(), cattle()]), [null, null]],
        ['application/x-ndjson', `${JSON.stringify(cattle())}\n\n${JSON.stringify(cattle())}\n`, [1, 3]],
        ['text/csv', `sisbov,peso\n${a},410\n${b},420\n`, [2, 3]],
        ['text/csv', table(';'), [2, 3]],
        ['text/csv', table('\t'), [2, 3]],
        ['text/csv; charset=utf-8', `\uFEFF${table(';')}`, [2, 3]],
      ];
      for (const [type, body, lines] of bodies) {
        const receipt = await accepted(await application.submit(body, { 'content-type': type }));
        expect({ body, ...(await application.settle(receipt.receipt_id)) }).toMatchObject({
          body,
          status: 'completed',
          entries: { total: 2, completed: 2 },
          items: { created: 2 },
        });
        const { entries } = await entriesOf(receipt.receipt_id);
        expect(entries.map((entry) => entry.line)).toEqual(lines);
      }
    });

    test('a CSV in windows-1252 keeps its letters, in the item, in the export and in the bytes', async () => {
      const sisbov = newSisbov();
      const text = `sisbov;fazenda\r\n${sisbov};São João\r\n;Água Fria\r\n`;
      const bytes = Buffer.from(text, 'latin1');
      const { receipt_id: id } = await accepted(
        await application.submit(bytes, { 'content-type': 'text/csv; charset=windows-1252' }),
      );
      await application.settle(id);
      const { entries } = await entriesOf(id);
      const item = await readJson<{ item: { metadata: Record<string, string> } }>(
        await application.fetch(`/api/items/${entries[0]!.dfid}`),
      );
      expect(item.item.metadata).toEqual({ fazenda: 'São João' });
      expect(await (await application.fetch(`/api/receipts/${id}/entries.csv?status=rejected`)).text()).toContain(
        'Água Fria',
      );
      const sent = await application.fetch(`/api/receipts/${id}/body`);
      expect(sent.headers.get('content-type')).toBe('text/csv; charset=windows-1252');
      expect(Buffer.from(await sent.arrayBuffer())).toEqual(bytes);
    });

    test('columns that are unknown are kept as metadata and listed as unclassified', async () => {
      const { receipt_id: id } = await accepted(
        await application.submit(`sisbov,raca,cor do brinco\n${newSisbov()},Nelore,azul\n`, {
          'content-type': 'text/csv',
        }),
      );
      expect((await application.settle(id)).unclassified_fields).toEqual(['cor do brinco']);
    });

    test('value chain, country and year of the query are the defaults of the records, which may say otherwise', async () => {
      const { receipt_id: id } = await accepted(
        await application.submit(
          JSON.stringify([cattle(), cattle({ value_chain: 'PORK', country: 'AR', year: 2020 })]),
          {},
          '?value_chain=bovino&country=py&year=2023',
        ),
      );
      await application.settle(id);
      const { entries } = await entriesOf(id);
      expect(entries.map((entry) => entry.dfid!.slice(0, 'DFID-BEEF-PY-2023'.length))).toEqual([
        'DFID-BEEF-PY-2023',
        'DFID-PORK-AR-2020',
      ]);
    });

    test('Prefer: wait answers 200 with the settled receipt, and at most 30 seconds are promised', async () => {
      const response = await application.submit(JSON.stringify(cattle()), { prefer: 'respond-async, wait=100' });
      expect(response.status).toBe(200);
      expect(response.headers.get('preference-applied')).toBe('wait=30');
      const receipt = await readJson<Receipt>(response);
      expect(receipt).toMatchObject({ status: 'completed', items: { created: 1 } });
      expect(receipt.finished_at).not.toBeNull();
    });

    test('a replay of a request that waited gives the same settled answer', async () => {
      const body = JSON.stringify(cattle());
      const headers = { prefer: 'wait=20', 'idempotency-key': 'waited' };
      const first = await application.submit(body, headers);
      const firstBody = await first.text();
      const again = await application.submit(body, headers);
      expect([again.status, await again.text()]).toEqual([200, firstBody]);
      expect(again.headers.get('idempotency-replayed')).toBe('true');
    });

    test('an array without elements and a CSV of only a header are accepted, settled, and hold nothing', async () => {
      for (const [type, body] of [
        ['application/json', '[]'],
        ['text/csv', 'sisbov,peso\n'],
      ] as const) {
        const receipt = await accepted(await application.submit(body, { 'content-type': type }));
        expect(await application.settle(receipt.receipt_id)).toMatchObject({
          status: 'completed',
          entries: { total: 0, pending: 0 },
        });
      }
    });

    test('entries are read page by page with a cursor, each once, and filtered by status', async () => {
      const records = Array.from({ length: 25 }, (_, at) => (at % 5 === 2 ? {} : cattle()));
      const { receipt_id: id } = await accepted(await application.submit(JSON.stringify(records)));
      expect(await application.settle(id)).toMatchObject({
        status: 'completed_with_errors',
        entries: { total: 25, completed: 20, rejected: 5 },
      });
      const positions: number[] = [];
      let cursor: string | null = '';
      while (cursor !== null) {
        const page: List<Entry> = await entriesOf(id, `?limit=10${cursor ? `&cursor=${cursor}` : ''}`);
        expect(page).toMatchObject({ count: page.entries.length, total: 25 });
        positions.push(...page.entries.map((entry) => entry.position));
        cursor = page.next_cursor;
      }
      expect(positions).toEqual(records.map((_, at) => at));
      const rejected = await entriesOf(id, '?status=rejected');
      expect(rejected.total).toBe(5);
      expect(rejected.entries.map(({ position, status, error }) => [position, status, error!.code])).toEqual(
        [2, 7, 12, 17, 22].map((position) => [position, 'rejected', 'no_identifying_identifier']),
      );
      expect((await entriesOf(id, '?status=pending')).entries).toEqual([]);
      expect((await application.fetch(`/api/receipts/${id}/entries?cursor=nonsense`)).status).toBe(400);
      expect((await application.fetch(`/api/receipts/${id}/entries?status=unknown`)).status).toBe(400);
    });

    test('rejected lines come back as CSV with their reasons and the text that was sent', async () => {
      const { receipt_id: id } = await accepted(
        await application.submit(`sisbov,peso\n${newSisbov()},400\n,"1 ""meia"" arroba"\n`, {
          'content-type': 'text/csv',
        }),
      );
      await application.settle(id);
      const response = await application.fetch(`/api/receipts/${id}/entries.csv?status=rejected`);
      expect(response.headers.get('content-type')).toMatch(/^text\/csv; charset=utf-8/);
      const [header, line, ...rest] = (await response.text()).split('\r\n');
      expect(header).toMatch(/^sisbov,peso,_position,_line,_status,_outcome,_dfid,_error_code,/);
      expect(line).toMatch(/^,"1 ""meia"" arroba",1,3,rejected,,,no_identifying_identifier,/);
      expect(rest).toEqual(['']);
    });

    test('rejected lines that were mended can be sent again as they came, without their reasons becoming data', async () => {
      const sisbov = newSisbov();
      const { receipt_id: id } = await accepted(
        await application.submit(`sisbov;peso\n;401\n`, { 'content-type': 'text/csv' }),
      );
      await application.settle(id);
      const exported = await (await application.fetch(`/api/receipts/${id}/entries.csv?status=rejected`)).text();

      const again = await accepted(
        await application.submit(exported.replace('\r\n,401', `\r\n${sisbov},401`), { 'content-type': 'text/csv' }),
      );

      await application.settle(again.receipt_id);
      const found = await readJson<{ items: { metadata: object }[] }>(
        await application.fetch(`/api/items?identifier_type=sisbov&value=${sisbov}`),
      );
      expect(found.items.map((item) => item.metadata)).toEqual([{ peso: '401' }]);
    });

    test('failed entries are worked again on demand, others are not', async () => {
      const { receipt_id: id } = await accepted(
        await application.submit(JSON.stringify([cattle(), cattle(), {}]), { prefer: 'wait=0' }),
      );
      await application.settle(id);
      const { entries } = await entriesOf(id);
      await failEntry(application, entries[1]!.entry_id);
      expect(await readJson<Receipt>(await application.fetch(`/api/receipts/${id}`))).toMatchObject({
        entries: { completed: 1, rejected: 1, failed: 1 },
      });

      const retry = await application.fetch(`/api/receipts/${id}/retry`, { method: 'POST' });

      expect([retry.status, await retry.json()]).toEqual([202, { receipt_id: id, retried: 1 }]);
      expect(await application.settle(id)).toMatchObject({
        status: 'completed_with_errors',
        entries: { total: 3, pending: 0, completed: 2, rejected: 1, failed: 0 },
      });
      const again = await entriesOf(id);
      expect(again.entries.map(({ position, status }) => [position, status])).toEqual([
        [0, 'completed'],
        [1, 'completed'],
        [2, 'rejected'],
      ]);
      expect(await (await application.fetch(`/api/receipts/${id}/retry`, { method: 'POST' })).json()).toEqual({
        receipt_id: id,
        retried: 0,
      });
    });
  });
});

/** Puts a settled entry into the state in which a worker that died several times on it leaves it. */
async function failEntry({ database: { pool } }: TestApplication, entryId: string): Promise<void> {
  await pool.query(
    `with failed as (update entries set status = 'failed', outcome = null where entry_id = $1)
     update receipt_chunks set completed = completed - 1, failed = failed + 1
     where receipt_id = ($2::text || '000000')::uuid and chunk_number = 0`,
    [entryId, entryId.slice(0, -6)],
  );
}

describe('receipts', () => {
  const maxBytes = 6_000_000;
  let application: TestApplication;
  beforeAll(async () => {
    application = await startApplication({
      backend: 'postgres',
      hasWorker: false,
      environment: { RECEIPT_MAX_BYTES: String(maxBytes), RECEPTION_BUFFER_BYTES: '10000000' },
    });
  });
  afterAll(() => application.close());

  const problemOf = async (response: Response) => {
    expect(response.headers.get('content-type')).toBe('application/problem+json');
    return readJson<ProblemDocument>(response);
  };
  const countReceipts = async () => {
    const { rows } = await application.database.pool.query<{ count: number }>('select count(*) as count from receipts');
    return rows[0]!.count;
  };

  describe('Idempotency-Key', () => {
    test('the same request again gets the first answer, marked as a replay, and keeps nothing more', async () => {
      const body = JSON.stringify(cattle());
      const first = await application.submit(body, { 'idempotency-key': 'same' });
      const firstText = await first.text();
      const before = await countReceipts();
      const again = await application.submit(body, { 'idempotency-key': '"same"' });
      expect([again.status, await again.text()]).toEqual([202, firstText]);
      expect(again.headers.get('location')).toBe(first.headers.get('location'));
      expect(again.headers.get('idempotency-replayed')).toBe('true');
      expect(first.headers.get('idempotency-replayed')).toBeNull();
      expect(await countReceipts()).toBe(before);
    });

    test.each([
      ['another body', JSON.stringify(cattle()), {}, ''],
      ['another query', undefined, {}, '?year=2020'],
      ['another content type', undefined, { 'content-type': 'application/x-ndjson' }, ''],
    ])('%s under the same key is 422', async (name, otherBody, headers, query) => {
      const key = { 'idempotency-key': name };
      const body = JSON.stringify(cattle());
      await accepted(await application.submit(body, key));
      const response = await application.submit(otherBody ?? body, { ...key, ...headers }, query);
      expect(response.status).toBe(422);
      expect((await problemOf(response)).error).toBe('idempotency_key_reused');
    });

    test('a request that was refused does not use it up', async () => {
      const key = { 'idempotency-key': 'refused-first' };
      expect((await application.submit('{', key)).status).toBe(400);
      expect((await application.submit('[]', { ...key, 'content-type': 'text/plain' })).status).toBe(415);
      await accepted(await application.submit('[]', key));
    });

    test('belongs to one workspace', async () => {
      const other = await application.createKey({ scope: 'write', workspace: 'Idempotent neighbours' });
      const mine = await accepted(await application.submit('[]', { 'idempotency-key': 'shared' }));
      const theirs = await application.submit('[1]', { 'idempotency-key': 'shared', 'x-api-key': other });
      expect((await accepted(theirs)).receipt_id).not.toBe(mine.receipt_id);
    });

    test.each([
      ['nothing', ''],
      ['a letter outside ASCII', 'ü'],
      ['more than 255 characters', 'a'.repeat(256)],
    ])('%s is not a key', async (_name, key) => {
      const response = await application.submit('[]', { 'idempotency-key': Buffer.from(key).toString('latin1') });
      expect(response.status).toBe(400);
      expect((await problemOf(response)).error).toBe('invalid_header');
    });

    test('two processes that race with one key keep one receipt, small and large', async () => {
      const second = await startApplicationBeside(application);
      try {
        for (const [key, body] of [
          ...Array.from({ length: 10 }, (_, at) => [`race-${at}`, JSON.stringify(cattle())] as const),
          ['race-large', JSON.stringify({ ...cattle(), metadata: { text: 'x'.repeat(300_000) } })] as const,
        ]) {
          const before = await countReceipts();
          const answers = await Promise.all(
            [application.url, second.url].map((url) =>
              fetch(`${url}/api/receipts`, {
                method: 'POST',
                body,
                headers: {
                  'content-type': 'application/json',
                  'x-api-key': application.apiKey,
                  'idempotency-key': key,
                },
              }),
            ),
          );
          const receipts = await Promise.all(answers.map(accepted));
          expect(receipts[0]).toEqual(receipts[1]);
          expect(answers.filter((answer) => answer.headers.get('idempotency-replayed')).length).toBe(1);
          expect(await countReceipts()).toBe(before + 1);
        }
      } finally {
        await second.stop();
      }
    });
  });

  test('Prefer: wait answers 202 with what was kept when the receipt does not settle in time', async () => {
    const response = await application.submit('[]', { prefer: 'wait=1' });
    expect((await accepted(response)).status).toBe('received');
    expect(response.headers.get('preference-applied')).toBe('wait=1');
  });

  describe('limits', () => {
    test('OPTIONS tells the limit, the methods and the media types, without credentials', async () => {
      const response = await fetch(`${application.url}/api/receipts`, { method: 'OPTIONS' });
      expect(await response.json()).toEqual({ max_body_bytes: maxBytes });
      expect(response.headers.get('allow')).toBe('POST, GET, HEAD, OPTIONS');
      expect(response.headers.get('accept-post')).toBe('application/json, application/x-ndjson, text/csv');
    });

    test('a body announced as too large is 413 naming the limit before it is read', async () => {
      const outcome = openSubmission(application, { 'content-length': String(maxBytes + 1) });
      outcome.write('[');
      const { status, problem } = await outcome.answer;
      expect(status).toBe(413);
      expect(problem.detail).toContain(String(maxBytes));
    });

    test('a body in chunks is 413 as soon as it is too large', async () => {
      const outcome = openSubmission(application, { 'transfer-encoding': 'chunked' });
      outcome.write(`[${' '.repeat(maxBytes)}]`);
      const { status, problem } = await outcome.answer;
      expect([status, problem.error]).toEqual([413, 'body_too_large']);
      expect(problem.detail).toContain(String(maxBytes));
    });

    test('when the buffer for bodies is full, requests are told to come again, and a cut-off body gives its room back', async () => {
      const rest = 5_500_000;
      const first = openSubmission(application, { 'content-length': String(rest + 1) });
      first.write(' '.repeat(rest));
      await waitForBufferedBytes(application, rest);

      const refused = await application.submit(' '.repeat(1_000_000));

      expect([refused.status, refused.headers.get('retry-after')]).toEqual([503, '2']);
      expect((await problemOf(refused)).error).toBe('overloaded');
      first.abort();
      await waitForBufferedBytes(application, 0);
      expect((await application.submit('[]')).status).toBe(202);
    });

    test('a body that is cut off in the middle keeps nothing and leaves its key free', async () => {
      const before = await countReceipts();
      const outcome = openSubmission(application, { 'content-length': '100', 'idempotency-key': 'cut-off' });
      outcome.write('[{');
      await waitForBufferedBytes(application, 2);
      outcome.abort();
      await waitForBufferedBytes(application, 0);
      const response = await application.submit('[]', { 'idempotency-key': 'cut-off' });
      expect(response.status).toBe(202);
      expect(response.headers.get('idempotency-replayed')).toBeNull();
      expect(await countReceipts()).toBe(before + 1);
    });
  });

  describe('a body that is slow', () => {
    let impatient: TestApplication;
    beforeAll(async () => {
      const environment = { BODY_GRACE_MS: '300' };
      impatient = await startApplication({ backend: 'postgres', hasWorker: false, environment });
    });
    afterAll(() => impatient.close());

    test('is 408, and nothing of it is kept', async () => {
      const outcome = openSubmission(impatient, { 'content-length': '100' });
      outcome.write('[');

      const { status, problem } = await outcome.answer;

      expect([status, problem.error]).toEqual([408, 'slow_body']);
      const { rows } = await impatient.database.pool.query('select from receipts');
      expect(rows.length).toBe(0);
    });

    test('is 408 all the same when it came fast at first, and gives its room back', async () => {
      const outcome = openSubmission(impatient, { 'content-length': '2000000' });
      outcome.write(' '.repeat(1_900_000));

      const { status, problem } = await outcome.answer;

      expect([status, problem.error]).toEqual([408, 'slow_body']);
      await waitForBufferedBytes(impatient, 0);
    });
  });

  describe('what was sent', () => {
    test.each([
      ['a few bytes', 0],
      ['64 KiB and more', 70_000],
      ['5 MiB in parts', 5_242_880],
    ])('%s come back as they were, with their hash', async (_name, padding) => {
      const body = Buffer.from(`\r\n[ { } ,\t{"metadata" : "${randomBytes(padding / 2).toString('hex')}" } ]\n`);
      const receipt = await accepted(await application.submit(body));
      const response = await application.fetch(`/api/receipts/${receipt.receipt_id}/body`);
      expect(response.headers.get('content-type')).toBe('application/json');
      const sent = Buffer.from(await response.arrayBuffer());
      expect(digest(sent)).toBe(digest(body));
      expect(receipt).toMatchObject({ hash: blake3Hex(body), size_bytes: body.length });
    });

    test('verify says whether bytes are those that were received', async () => {
      const body = JSON.stringify([cattle()]);
      const { receipt_id: id } = await accepted(await application.submit(body));
      const verify = async (bytes: string) => {
        const response = await application.fetch(`/api/receipts/${id}/verify`, { method: 'POST', body: bytes });
        expect(response.status).toBe(200);
        return response.json();
      };
      const original = { original_hash: blake3Hex(body) };
      expect(await verify(body)).toEqual({ is_valid: true, ...original, provided_hash: blake3Hex(body) });
      expect(await verify(`${body} `)).toEqual({ is_valid: false, ...original, provided_hash: blake3Hex(`${body} `) });
    });

    test('bytes erased after their retention time are 410, and their hash stays', async () => {
      const { receipt_id: id, hash } = await accepted(await application.submit(JSON.stringify(cattle())));
      await application.database.pool.query('update receipts set body_erased_at = now() where receipt_id = $1', [id]);
      const response = await application.fetch(`/api/receipts/${id}/body`);
      expect([response.status, (await problemOf(response)).error]).toEqual([410, 'body_erased']);
      expect((await readJson<Receipt>(await application.fetch(`/api/receipts/${id}`))).hash).toBe(hash);
    });
  });

  describe('the list', () => {
    let key: string;
    const ids: string[] = [];
    beforeAll(async () => {
      key = await application.createKey({ scope: 'write', workspace: 'List' });
      for (let at = 0; at < 7; at += 1)
        ids.push((await accepted(await application.submit('[]', { 'x-api-key': key }))).receipt_id);
      await application.database.pool.query(
        `update receipts set cut_at = now(), entry_total = 0, finished_at = now(), outcome = 'completed' where receipt_id = $1`,
        [ids[0]],
      );
      await application.database.pool.query(
        'update receipts set cut_at = now(), entry_total = 0 where receipt_id = $1',
        [ids[1]],
      );
    });
    const list = async (query: string) => {
      const response = await application.fetch(`/api/receipts?${query}`, { headers: { 'x-api-key': key } });
      expect(response.status).toBe(200);
      return readJson<List<Receipt>>(response);
    };
    const idsOf = (page: List<Receipt>) => page.receipts.map((receipt) => receipt.receipt_id);

    test('goes from the newest to the oldest, page by page, and misses none', async () => {
      const seen: string[] = [];
      let cursor: string | null = '';
      while (cursor !== null) {
        const page: List<Receipt> = await list(`limit=3${cursor ? `&cursor=${cursor}` : ''}`);
        expect(page).toMatchObject({ count: page.receipts.length, total: 7 });
        seen.push(...idsOf(page));
        cursor = page.next_cursor;
      }
      expect(seen).toEqual(ids.toReversed());
      expect(idsOf(await list('limit=2&offset=1'))).toEqual([ids[5], ids[4]]);
    });

    test('is filtered by status and by time', async () => {
      expect(idsOf(await list('status=completed'))).toEqual([ids[0]]);
      expect(idsOf(await list('status=processing'))).toEqual([ids[1]]);
      expect((await list('status=received')).total).toBe(5);
      const [newest] = (await list('limit=1')).receipts;
      expect((await list('received_before=2020-01-01T00:00:00Z')).receipts).toEqual([]);
      expect(idsOf(await list(`received_after=${newest!.received_at}`))).toContain(ids[6]);
    });

    test.each([
      'limit=0',
      'limit=1001',
      'limit=x',
      'cursor=!',
      'status=done',
      'received_after=yesterday',
      'limit=1&limit=2',
    ])('%s is refused by name', async (query) => {
      const response = await application.fetch(`/api/receipts?${query}`);
      expect(response.status).toBe(400);
      const problem = await problemOf(response);
      expect(problem.error).toBe('invalid_query');
      expect(problem.errors![0]!.pointer).toBe(query.split('=')[0]);
    });
  });
});

function digest(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

async function startApplicationBeside({ environment }: TestApplication) {
  const { readConfig } = await import('../../config.ts');
  const { startWeb } = await import('../../start-web.ts');
  const web = await startWeb(readConfig(environment), environment['DATABASE_URL']!, '127.0.0.1');
  return { url: `http://127.0.0.1:${web.port}`, stop: () => web.stop() };
}

/** Waits until the web process holds so many bytes of bodies that are still arriving. */
async function waitForBufferedBytes(application: TestApplication, bytes: number): Promise<void> {
  await waitFor(async () => {
    const metrics = await (await application.fetch('/metrics')).text();
    return metrics.includes(`\ndefarm_reception_buffer_bytes ${bytes}\n`) ? true : undefined;
  }, `${bytes} bytes in the buffer`);
}

/** A submission whose body the test sends piece by piece, and may never end. */
function openSubmission(application: TestApplication, headers: Record<string, string>) {
  const message = request(`${application.url}/api/receipts`, {
    method: 'POST',
    agent: false,
    headers: { 'content-type': 'application/json', 'x-api-key': application.apiKey, ...headers },
  });
  const answer = new Promise<{ status: number; problem: ProblemDocument }>((resolve, reject) => {
    message.on('error', reject);
    message.on('response', (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (piece: string) => (text += piece));
      response.on('end', () => resolve({ status: response.statusCode!, problem: JSON.parse(text) as ProblemDocument }));
    });
  });
  // Tests that cut the connection do not wait for an answer.
  answer.catch(() => {});
  return { answer, write: (text: string) => message.write(text), abort: () => message.destroy() };
}
