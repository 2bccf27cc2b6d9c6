import { afterAll, beforeAll, describe, expect, test } from 'vitest';
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
import { findBrokenRules } from '../../testing/deduplication.ts';

interface IngestionReceipt {
  receipt_id: string;
  status: string;
  processing_time_ms: number;
  summary: Record<string, unknown>;
  error_message: string | null;
}

interface Preview {
  status: string;
  previewed: number;
  is_cut: boolean;
  summary: Record<string, unknown>;
  entries: Omit<Entry, 'entry_id'>[];
  error_message: string | null;
}

let nextNumber = 600_000_000_000;
const newSisbov = () => `BR${nextNumber++}`;
const newChip = () => `982${nextNumber++}`;

let application: TestApplication;
beforeAll(async () => {
  application = await startApplication({ backend: 'postgres', environment: { RECEIPT_MAX_BYTES: '2000000' } });
});
afterAll(() => application.close());

type Part = [name: string, value: string, filename?: string, type?: string];

/** A form as a browser sends it. */
function formOf(...parts: Part[]): FormData {
  const form = new FormData();
  for (const [name, value, filename, type] of parts) {
    if (filename === undefined) form.append(name, value);
    else form.append(name, new Blob([value], type === undefined ? {} : { type }), filename);
  }
  return form;
}

const csvForm = (csv: string) => formOf(['file', csv, 'gado.csv', 'text/csv']);

const writtenFormType = 'multipart/form-data; boundary="----4bc1"';

/** A form whose bytes are the same each time. */
function writtenForm(csv: string): string {
  return `------4bc1\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n${csv}\r\n------4bc1--\r\n`;
}

function upload(
  body: FormData | string,
  { query = '', headers = {} }: { query?: string; headers?: Record<string, string> } = {},
): Promise<Response> {
  return application.fetch(`/api/items/bulk${query}`, { method: 'POST', body, headers });
}

async function ingested(body: FormData, query = ''): Promise<IngestionReceipt> {
  const response = await upload(body, { query });
  expect(response.status).toBe(201);
  return readJson<IngestionReceipt>(response);
}

async function problemOf(response: Response): Promise<[number, string, string | undefined]> {
  const { error, errors } = await readJson<ProblemDocument>(response);
  return [response.status, error, errors?.[0]?.pointer];
}

async function snapshot(): Promise<unknown[]> {
  const tables = ['receipts', 'receipt_bodies', 'receipt_chunks', 'entries', 'items', 'events', 'contributions'];
  const rest = ['identifier_claims', 'identifier_mentions', 'item_merges', 'idempotency_keys'];
  const counts: unknown[] = [];
  for (const table of [...tables, ...rest]) {
    const { rows } = await application.database.pool.query<{ rows: number; text: string }>(
      `select count(*) as rows, md5(coalesce(string_agg(t::text, ' ' order by t::text), '')) as text from ${table} as t`,
    );
    counts.push([table, rows[0]]);
  }
  return counts;
}

describe('POST /api/items/bulk', () => {
  test('answers 201 with what became of the records of a CSV, once they are settled', async () => {
    const known = newSisbov();
    await ingested(csvForm(`sisbov\n${known}\n`));
    const response = await upload(
      csvForm(
        `sisbov,chip,value_chain,peso,cor do brinco\n${known},${newChip()},BEEF,410,azul\n${newSisbov()},,BEEF,420,\n`,
      ),
    );
    const receipt = await readJson<IngestionReceipt>(response);
    expect(response.status).toBe(201);
    expect(response.headers.get('location')).toBe(`/api/receipts/${receipt.receipt_id}`);
    expect(receipt).toEqual({
      receipt_id: receipt.receipt_id,
      status: 'completed',
      processing_time_ms: expect.any(Number) as number,
      summary: {
        rows_total: 2,
        rows_processed: 2,
        rows_failed: 0,
        items_created: 1,
        items_updated: 1,
        events_created: 2,
        identifiers_resolved: { sisbov: 2, chip: 1 },
        unclassified_fields: ['cor do brinco'],
      },
      error_message: null,
    });
  });

  test('keeps the bytes of the file, not of the form, as an ordinary receipt', async () => {
    const csv = `sisbov;fazenda\r\n${newSisbov()};São João\r\n`;
    const { receipt_id: id } = await ingested(csvForm(csv));
    const receipt = await readJson<Receipt>(await application.fetch(`/api/receipts/${id}`));
    expect(receipt).toMatchObject({ status: 'completed', hash: blake3Hex(csv), content_type: 'text/csv' });
    expect(await (await application.fetch(`/api/receipts/${id}/body`)).text()).toBe(csv);
  });

  test.each([
    ['text/csv', 'x', (value: string) => `sisbov\n${value}\n`, 'text/csv'],
    ['application/vnd.ms-excel', 'x.csv', (value: string) => `sisbov\n${value}\n`, 'text/csv'],
    ['', 'X.CSV', (value: string) => `sisbov\n${value}\n`, 'text/csv'],
    ['text/plain; charset=windows-1252', 'x.csv', (value: string) => `sisbov\n${value}\n`, 'text/csv'],
    [
      'application/json',
      'x',
      (value: string) => `[{"identifiers":[{"identifier_type":"sisbov","value":"${value}"}]}]`,
      'application/json',
    ],
    [
      'application/octet-stream',
      'x.json',
      (value: string) => `{"identifiers":[{"identifier_type":"sisbov","value":"${value}"}]}`,
      'application/json',
    ],
    [
      'application/x-ndjson',
      'x',
      (value: string) => `{"identifiers":[{"identifier_type":"sisbov","value":"${value}"}]}\n`,
      'application/x-ndjson',
    ],
    [
      '',
      'x.jsonl',
      (value: string) => `{"identifiers":[{"identifier_type":"sisbov","value":"${value}"}]}\n`,
      'application/x-ndjson',
    ],
  ])('takes a part of type %j named %j for what it is', async (type, name, write, contentType) => {
    const receipt = await ingested(formOf(['file', write(newSisbov()), name, type]));
    expect(receipt).toMatchObject({ status: 'completed', summary: { rows_total: 1, items_created: 1 } });
    const kept = await readJson<Receipt>(await application.fetch(`/api/receipts/${receipt.receipt_id}`));
    expect(kept.content_type).toBe(contentType);
  });

  test('judges each record by itself: partial when some were taken, failed when none was', async () => {
    const partial = await ingested(csvForm(`sisbov\n${newSisbov()}\nBR1\n`));
    expect(partial).toMatchObject({
      status: 'partial',
      summary: { rows_total: 2, rows_processed: 1, rows_failed: 1, items_created: 1 },
      error_message: expect.stringContaining(partial.receipt_id) as string,
    });
    expect(await ingested(csvForm('sisbov\nBR1\n'))).toMatchObject({ status: 'failed', summary: { rows_failed: 1 } });
    expect(await ingested(csvForm('sisbov\n'))).toMatchObject({ status: 'completed', summary: { rows_total: 0 } });
  });

  test('takes a file of several parts of a body, as a receipt and as a preview', async () => {
    const note = 'x'.repeat(5000);
    const csv = ['sisbov,nota', ...Array.from({ length: 300 }, () => `${newSisbov()},${note}`)].join('\n');
    expect(csv.length).toBeGreaterThan(1_048_576);
    const preview = await readJson<Preview>(await upload(csvForm(csv), { query: '?dry_run=true' }));
    expect(preview).toMatchObject({ previewed: 300, is_cut: false, summary: { items_created: 300 } });
    expect((await ingested(csvForm(csv))).summary).toEqual(preview.summary);
  });

  test('counts the events of the records, and takes defaults from the query', async () => {
    const record = {
      identifiers: [{ identifier_type: 'sisbov', value: newSisbov() }],
      events: [
        { event_type: 'weighed', event_key: '1' },
        { event_type: 'weighed', event_key: '2' },
      ],
    };
    const form = formOf(['file', JSON.stringify([record, record]), 'x.json']);
    const { receipt_id: id, summary } = await ingested(form, '?value_chain=soja&country=py&year=2020');
    expect(summary).toMatchObject({
      events_created: 3,
      items_created: 1,
      items_updated: 0,
      identifiers_resolved: { sisbov: 2 },
    });
    const { entries } = await readJson<{ entries: Entry[] }>(await application.fetch(`/api/receipts/${id}/entries`));
    expect(entries[0]!.dfid).toMatch(/^DFID-SOY-PY-2020-/);
  });

  test.each<[string, FormData, string]>([
    ['no file', formOf(['circuit_id', '018f0000-0000-7000-8000-000000000000']), 'file'],
    ['two files', formOf(['file', 'a\n', 'a.csv'], ['file', 'a\n', 'b.csv']), 'file'],
    ['a file that is a text', formOf(['file', 'sisbov\nBR1\n']), 'file'],
    ['a circuit that is no UUID', formOf(['file', 'sisbov\n', 'a.csv'], ['circuit_id', 'north']), 'circuit_id'],
  ])('refuses a form with %s: 400 with the part as pointer', async (_what, form, pointer) => {
    expect(await problemOf(await upload(form))).toEqual([400, 'invalid_form', pointer]);
  });

  test.each([
    ['another boundary', 'multipart/form-data; boundary=other', '--this\r\n\r\n--this--\r\n'],
    ['no boundary', 'multipart/form-data', 'x'],
    [
      'a form that does not end',
      writtenFormType,
      '------4bc1\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\nsisbov\n',
    ],
    ['nothing', writtenFormType, ''],
  ])('refuses a body with %s: 400', async (_what, type, body) => {
    expect(await problemOf(await upload(body, { headers: { 'content-type': type } }))).toEqual([
      400,
      'invalid_form',
      '',
    ]);
  });

  test('refuses files by the rules of receipts, and keeps nothing of them', async () => {
    const before = await snapshot();
    const refused: [FormData, number, string][] = [
      [formOf(['file', '', 'a.csv']), 400, 'empty_body'],
      [formOf(['file', '{"a":', 'a.json']), 400, 'malformed_json'],
      [formOf(['file', 'sisbov,sisbov\n', 'a.csv']), 400, 'invalid_csv_header'],
      [
        formOf(['file', 'PK', 'a.xlsx', 'application/vnd.openxmlformats-officedocument.spreadsheetml.sheet']),
        415,
        'unsupported_media_type',
      ],
      [csvForm(`sisbov\n${'x'.repeat(2_000_000)}`), 413, 'body_too_large'],
    ];
    for (const [form, status, code] of refused) {
      expect((await problemOf(await upload(form))).slice(0, 2)).toEqual([status, code]);
    }
    const notForm = await upload('sisbov\n', { headers: { 'content-type': 'text/csv' } });
    expect((await problemOf(notForm)).slice(0, 2)).toEqual([415, 'unsupported_media_type']);
    expect((await problemOf(await upload(csvForm('sisbov\n'), { query: '?year=1' }))).slice(0, 2)).toEqual([
      400,
      'invalid_query',
    ]);
    expect(await snapshot()).toEqual(before);
  });

  test('is not the item named bulk, and other methods of its path are 405', async () => {
    const response = await application.fetch('/api/items/bulk');
    expect([response.status, response.headers.get('allow')]).toEqual([405, 'POST, OPTIONS']);
  });

  test('with an Idempotency-Key keeps one receipt, and replays the settled answer', async () => {
    const body = writtenForm(`sisbov\n${newSisbov()}\n`);
    const headers = { 'content-type': writtenFormType, 'idempotency-key': 'bulk' };
    const first = await upload(body, { headers });
    const text = await first.text();
    const before = await snapshot();
    const again = await upload(body, { headers });
    expect([again.status, again.headers.get('location'), again.headers.get('idempotency-replayed')]).toEqual([
      201,
      first.headers.get('location'),
      'true',
    ]);
    expect(await again.text()).toBe(text);
    expect(await snapshot()).toEqual(before);
    // The process ended after the receipt was kept, before the answer was.
    await application.database.pool.query(`update idempotency_keys set answer = null where key = 'bulk'`);
    const recalled = await upload(body, { headers });
    expect([recalled.status, recalled.headers.get('location'), await recalled.text()]).toEqual([
      201,
      first.headers.get('location'),
      text,
    ]);
  });
});

describe('POST /api/items/bulk?dry_run=true', () => {
  async function previewOf(form: FormData, key = application.apiKey): Promise<Preview> {
    const response = await upload(form, { query: '?dry_run=true', headers: { 'x-api-key': key } });
    expect([response.status, response.headers.get('location')]).toEqual([200, null]);
    return readJson<Preview>(response);
  }

  /** A preview opens no case that it could name. */
  const withoutCase = (entry: Pick<Entry, 'error'>) => {
    if (!entry.error) return entry;
    const { conflict_id: _id, ...error } = entry.error as typeof entry.error & { conflict_id?: string };
    return { ...entry, error };
  };

  test('tells for each record what would happen, as it then does happen, and stores nothing', async () => {
    const [known, chip, other] = [newSisbov(), newChip(), newSisbov()];
    await ingested(csvForm(`sisbov,chip,peso\n${known},${chip},1\n`));
    const fresh = newSisbov();
    const csv = [
      'sisbov,chip,peso,cor',
      `${fresh},,10,azul`,
      `${known},,2,`,
      `${known},,2,`,
      `${known},${newChip()},3,`,
      `BR1,,3,`,
      `${other},,"oops`,
    ].join('\n');
    const before = await snapshot();
    const preview = await previewOf(csvForm(csv));
    expect(await snapshot()).toEqual(before);
    expect(preview).toMatchObject({
      status: 'preview',
      previewed: 6,
      is_cut: false,
      summary: {
        rows_total: 6,
        rows_processed: 3,
        rows_failed: 3,
        items_created: 1,
        items_updated: 1,
        events_created: 2,
        identifiers_resolved: { sisbov: 3 },
        unclassified_fields: ['cor'],
      },
      error_message: null,
    });
    expect(
      preview.entries.map(({ line, status, outcome, error }) => [line, status, outcome, error?.code, error?.pointer]),
    ).toEqual([
      [2, 'completed', 'created', undefined, undefined],
      [3, 'completed', 'enriched', undefined, undefined],
      [4, 'completed', 'duplicate', undefined, undefined],
      [5, 'conflicted', 'conflict', 'identifier_conflict', '/chip'],
      [6, 'rejected', null, 'invalid_identifier', '/sisbov'],
      [7, 'rejected', null, 'csv_unterminated_quote', ''],
    ]);
    expect([preview.entries[0]!.dfid, preview.entries[1]!.dfid]).toEqual([null, expect.stringMatching(/^DFID-/)]);

    const { receipt_id: id, summary } = await ingested(csvForm(csv));
    expect(summary).toEqual(preview.summary);
    const { entries } = await readJson<{ entries: Entry[] }>(await application.fetch(`/api/receipts/${id}/entries`));
    expect(entries[3]!.error).toHaveProperty('conflict_id');
    expect(entries.map(({ entry_id: _id, dfid: _dfid, ...entry }) => withoutCase(entry))).toEqual(
      preview.entries.map(({ dfid: _dfid, ...entry }) => entry),
    );
  });

  test('tells which items would become one', async () => {
    const [sisbov, chip] = [newSisbov(), newChip()];
    await ingested(csvForm(`sisbov,chip\n${sisbov},\n,${chip}\n`));
    const before = await snapshot();
    const preview = await previewOf(csvForm(`sisbov,chip\n${sisbov},${chip}\n`));
    expect(preview.entries).toMatchObject([{ outcome: 'enriched', merged_dfids: [expect.stringMatching(/^DFID-/)] }]);
    expect(await snapshot()).toEqual(before);
  });

  test('tries the first thousand records, says that there are more, and counts them all', async () => {
    const csv = ['sisbov', ...Array.from({ length: 1234 }, () => newSisbov())].join('\n');
    const before = await snapshot();
    const preview = await previewOf(csvForm(csv));
    expect(await snapshot()).toEqual(before);
    expect(preview).toMatchObject({
      previewed: 1000,
      is_cut: true,
      summary: { rows_total: 1234, items_created: 1000 },
    });
    expect(preview.entries).toHaveLength(1000);
  });

  test.each<[string, FormData]>([
    ['JSON', formOf(['file', ' [ {"identifiers":[]}, 3 ] ', 'a.json'])],
    ['NDJSON', formOf(['file', '{"identifiers":[]}\n\n3', 'a.ndjson'])],
  ])('judges %s', async (_format, form) => {
    const preview = await previewOf(form);
    expect(preview.entries.map(({ status, error }) => [status, error?.code])).toEqual([
      ['rejected', 'no_identifying_identifier'],
      ['rejected', 'not_an_object'],
    ]);
  });

  test('of no records tells that there are none, and of a bad file what is wrong', async () => {
    expect(await previewOf(formOf(['file', '[]', 'a.json']))).toMatchObject({
      previewed: 0,
      is_cut: false,
      entries: [],
    });
    const response = await upload(formOf(['file', '[', 'a.json']), { query: '?dry_run=true' });
    expect(await problemOf(response)).toEqual([400, 'malformed_json', '']);
  });

  test('leaves an Idempotency-Key free, and tells a workspace nothing of what others know', async () => {
    const key = await application.createKey({ scope: 'write', workspace: 'Neighbours' });
    const sisbov = newSisbov();
    await ingested(csvForm(`sisbov,chip,peso\n${sisbov},${newChip()},1\n`));
    const preview = await previewOf(csvForm(`sisbov,chip\n${sisbov},${newChip()}\n`), key);
    expect(preview.entries).toMatchObject([
      { status: 'conflicted', error: { detail: expect.not.stringContaining('chip') as string } },
    ]);
    const headers = { 'idempotency-key': 'dry', 'content-type': writtenFormType };
    const body = writtenForm(`sisbov\n${newSisbov()}\n`);
    expect((await upload(body, { headers, query: '?dry_run=true' })).status).toBe(200);
    const second = await upload(body, { headers, query: '?dry_run=true' });
    expect([second.status, second.headers.get('idempotency-replayed')]).toEqual([200, null]);
  });
});

test('many files and previews about the same animals at once end well', async () => {
  const animals = Array.from({ length: 30 }, () => [newSisbov(), newChip()] as const);
  const csv = (at: number) =>
    [
      'sisbov,chip,peso',
      ...animals.map(([sisbov, chip], n) =>
        (n + at) % 3 === 0 ? `${sisbov},,${at}` : (n + at) % 3 === 1 ? `,${chip},${at}` : `${sisbov},${chip},${at}`,
      ),
    ].join('\n');
  const answers = await Promise.all(
    Array.from({ length: 12 }, (_, at) => upload(csvForm(csv(at)), { query: at % 2 === 0 ? '?dry_run=true' : '' })),
  );
  expect(new Set(answers.map((answer) => answer.status))).toEqual(new Set([200, 201]));
  const { items } = await readJson<{ items: object[] }>(
    await application.fetch(`/api/items?identifier_type=sisbov&value=${animals[0]![0]}`),
  );
  expect(items).toHaveLength(1);
});

test('after all of this, no rule of the stored items is broken', async () => {
  expect(await findBrokenRules(application.database)).toEqual([]);
});

test('without a worker, the answer after the wait is processing, with the receipt to look at', async () => {
  const idle = await startApplication({ backend: 'postgres', hasWorker: false });
  try {
    const answer = idle.fetch('/api/items/bulk', { method: 'POST', body: csvForm(`sisbov\n${newSisbov()}\n`) });
    await waitFor(async () => {
      const { rows } = await idle.database.pool.query('select 1 from receipts');
      return rows.length > 0 ? true : undefined;
    }, 'the receipt to be kept');
    // A process that stops answers those who wait at once.
    const closing = idle.close();
    const response = await answer;
    const receipt = await readJson<IngestionReceipt>(response);
    expect([response.status, receipt.status, response.headers.get('location')]).toEqual([
      201,
      'processing',
      `/api/receipts/${receipt.receipt_id}`,
    ]);
    expect(receipt.summary).toMatchObject({ rows_total: 0, rows_processed: 0 });
    await closing;
  } catch (error) {
    await idle.close().catch(() => {});
    throw error;
  }
});
