import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  readJson,
  startApplication,
  type Entry,
  type ProblemDocument,
  type Receipt,
  type TestApplication,
} from '../../testing/application.ts';

let application: TestApplication;
beforeAll(async () => {
  application = await startApplication({ backend: 'postgres' });
});
afterAll(() => application.close());

let nextNumber = 200_000_000_000;

/** A record of cattle that nothing is wrong with, but for the members given. */
function record(members = ''): string {
  return `{"identifiers":[{"identifier_type":"sisbov","value":"BR${nextNumber++}"}]${members && `,${members}`}}`;
}

async function refusal(body: NonNullable<RequestInit['body']>, headers: Record<string, string> = {}, query = '') {
  const response = await application.submit(body, headers, query);
  expect(response.headers.get('content-type')).toBe('application/problem+json');
  const problem = await readJson<ProblemDocument>(response);
  expect(problem).toMatchObject({
    type: `/docs/errors#${problem.error}`,
    status: response.status,
    instance: '/api/receipts',
    message: problem.detail,
    requestId: response.headers.get('x-request-id'),
  });
  return problem;
}

/** What became of each record of a body that is accepted as a whole. */
async function outcomes(body: NonNullable<RequestInit['body']>, contentType = 'application/json') {
  const response = await application.submit(body, { 'content-type': contentType });
  expect(response.status).toBe(202);
  const receipt = await application.settle((await readJson<Receipt>(response)).receipt_id);
  const { entries } = await readJson<{ entries: Entry[] }>(
    await application.fetch(`/api/receipts/${receipt.receipt_id}/entries`),
  );
  return { receipt, entries };
}

describe('a body that cannot be split into records is refused', () => {
  test.each([
    ['an object that does not end', '{"identifiers":[', 16],
    ['a trailing comma', '[{},]', 4],
    ['a second document', '{} {}', 3],
    ['a comment', '[] // end', 3],
    ['a number with a leading zero', '[01]', 2],
    ['an empty line alone', '\n', 1],
  ])('%s: 400 with the position', async (_name, body, position) => {
    const problem = await refusal(body);
    expect(problem).toMatchObject({ status: 400, error: 'malformed_json' });
    expect(problem.detail).toContain(`byte ${position}`);
  });

  test('malformed JSON deep in a large body: 400 with the position', async () => {
    const good = `[${Array.from({ length: 2000 }, () => record()).join(',')}`;
    const problem = await refusal(`${good},}]`);
    expect(problem).toMatchObject({ status: 400, error: 'malformed_json' });
    expect(problem.detail).toContain(`byte ${good.length + 1}`);
  });

  test.each(['null', 'true', '1', '"text"'])('%s is neither an object nor an array: 400', async (body) => {
    expect(await refusal(body)).toMatchObject({ status: 400, error: 'malformed_json' });
  });

  test('bytes that are not UTF-8: 400 with the position', async () => {
    const problem = await refusal(Buffer.from('[{"a":"\xff"}]', 'latin1'));
    expect(problem).toMatchObject({ status: 400, error: 'malformed_json' });
    expect(problem.detail).toContain('byte 7');
  });

  test.each(['application/json', 'application/x-ndjson', 'text/csv'])('nothing as %s: 400', async (type) => {
    expect(await refusal('', { 'content-type': type })).toMatchObject({ status: 400, error: 'empty_body' });
  });

  test.each([
    'text/plain',
    'application/xml',
    'application/json; charset=utf-16',
    'text/csv; charset=utf-7',
    'json',
    'constructor',
  ])('%s: 415 with the types that are taken', async (type) => {
    const response = await application.submit('[]', { 'content-type': type });
    expect(response.status).toBe(415);
    expect(response.headers.get('accept')).toBe('application/json, application/x-ndjson, text/csv');
  });

  test.each(['/api/receipts', '/api/dfid/validate', '/api/receipts/018f0000-0000-7000-8000-000000000000/verify'])(
    'a compressed body to %s: 415, unread',
    async (path) => {
      const response = await application.fetch(path, {
        method: 'POST',
        body: gzipSync('[]'),
        headers: { 'content-type': 'application/json', 'content-encoding': 'gzip' },
      });
      expect(response.status).toBe(415);
      expect(response.headers.get('accept-encoding')).toBe('identity');
    },
  );

  test.each([
    'sisbov,peso,sisbov\n1,2,3\n',
    'sisbov,Sisbov\n1,2\n',
    'sisbov,peso,metadata.peso\n1,2,3\n',
    'chip,__proto__,metadata.__proto__\n1,2,3\n',
  ])('two columns of one name: 400', async (body) => {
    expect(await refusal(body, { 'content-type': 'text/csv' })).toMatchObject({
      status: 400,
      error: 'invalid_csv_header',
    });
  });

  test.each([
    ['value_chain', '?value_chain=WHEAT'],
    ['value_chain', '?value_chain=%00'],
    ['value_chain', '?value_chain=%FF'],
    ['country', '?country=XX'],
    ['country', '?country=%00'],
    ['year', '?year=0'],
    ['year', '?year=1899'],
    ['year', '?year=2101'],
    ['year', '?year=20.5'],
    ['year', '?year=2020&year=2021'],
  ])('a wrong default for %s (%s): 400 by name', async (parameter, query) => {
    expect(await refusal('[]', {}, query)).toMatchObject({
      status: 400,
      error: 'invalid_query',
      errors: [{ pointer: parameter }],
    });
  });

  test('a path that is not valid percent-encoding is 400, U+0000 in a path is 404', async () => {
    expect((await application.fetch('/api/items/%E0%A4%A')).status).toBe(400);
    expect((await application.fetch('/api/items/a%00b')).status).toBe(404);
    expect((await application.fetch('/api/receipts/%00')).status).toBe(404);
    expect((await application.fetch('/api/events/%00')).status).toBe(404);
  });

  test.each([
    ['malformed', '{"dfid":', 400, 'malformed_json'],
    ['not UTF-8', Buffer.from('{"dfid":"\xff"}', 'latin1'), 400, 'malformed_json'],
    ['empty', '', 400, 'empty_body'],
    ['with a key twice', '{"dfid":"a","dfid":"b"}', 422, 'invalid_request'],
    ['of the wrong shape', '{"dfid":1}', 422, 'invalid_request'],
  ])('a JSON body %s is refused by every other route too', async (_name, body, status, error) => {
    const response = await application.fetch('/api/dfid/validate', {
      method: 'POST',
      body,
      headers: { 'content-type': 'application/json' },
    });
    expect([response.status, (await readJson<ProblemDocument>(response)).error]).toEqual([status, error]);
  });
});

describe('a bad record costs only itself', () => {
  const identifier = (value: string) => `{"identifiers":[{"identifier_type":"sisbov","value":${value}}]}`;
  const badRecords: [name: string, text: string, code: string, pointer: string][] = [
    ['without any member', '{}', 'no_identifying_identifier', ''],
    ['that is a number', '7', 'not_an_object', ''],
    ['that is an array', '[]', 'not_an_object', ''],
    ['with a key twice', record('"year":2020,"year":2021'), 'duplicate_key', '/year'],
    ['with a key twice inside its metadata', record('"metadata":{"a":1,"\\u0061":2}'), 'duplicate_key', '/metadata/a'],
    ['with __proto__ as a member', record('"__proto__":{"value_chain":"BEEF"}'), 'unknown_member', '/__proto__'],
    ['with constructor as a member', record('"constructor":{}'), 'unknown_member', '/constructor'],
    ['with an unknown member', record('"colour":"red"'), 'unknown_member', '/colour'],
    ['with U+0000', record('"metadata":{"a":"\\u0000"}'), 'null_character', '/metadata/a'],
    ['with half of a surrogate pair', record('"metadata":{"a":"\\ud800"}'), 'lone_surrogate', '/metadata/a'],
    ['with a number too large', record('"metadata":{"a":1e400}'), 'number_not_interoperable', '/metadata/a'],
    ['with a number too small', record('"metadata":{"a":1e-400}'), 'number_not_interoperable', '/metadata/a'],
    [
      'with an integer beyond 2^53',
      record('"metadata":{"a":9007199254740993}'),
      'number_not_interoperable',
      '/metadata/a',
    ],
    [
      '200 levels deep',
      record(`"metadata":${'{"a":'.repeat(200)}1${'}'.repeat(200)}`),
      'too_deep',
      `/metadata${'/a'.repeat(63)}`,
    ],
    ['with no identifiers', '{"identifiers":[]}', 'no_identifying_identifier', ''],
    ['with an empty identifier', identifier('""'), 'blank_identifier', '/identifiers/0/value'],
    ['with a blank identifier', identifier('" \\t\\u00a0"'), 'blank_identifier', '/identifiers/0/value'],
    ['with 10,000 characters', identifier(`"${'1'.repeat(10_000)}"`), 'identifier_too_long', '/identifiers/0/value'],
    ['over 1 MiB', record(`"metadata":{"a":"${'a'.repeat(1_048_576)}"}`), 'record_too_large', ''],
    [
      'with 1,001 identifiers',
      `{"identifiers":[${Array.from({ length: 1001 }, (_none, at) => `{"identifier_type":"lote","value":"${at}"}`).join()}]}`,
      'too_many_members',
      '/identifiers',
    ],
    [
      'with 1,001 fields',
      record(`"metadata":{${Array.from({ length: 1001 }, (_none, at) => `"${at}":1`).join()}}`),
      'too_many_members',
      '/metadata',
    ],
    [
      'with 1,001 events',
      record(`"events":[${Array.from({ length: 1001 }, () => '{"event_type":"a"}').join()}]`),
      'too_many_members',
      '/events',
    ],
    ['of an unknown value chain', record('"value_chain":"WHEAT"'), 'unknown_value_chain', '/value_chain'],
    ['of the year 0', record('"year":0'), 'invalid_year', '/year'],
    ['of no country', record('"country":"XX"'), 'invalid_country', '/country'],
  ];

  test('in a JSON array: each has its code and pointer, and its neighbours go on', async () => {
    const texts = badRecords.flatMap(([, text]) => [text, record()]);
    const { receipt, entries } = await outcomes(`[${texts.join(',')}]`);
    expect(receipt).toMatchObject({
      status: 'completed_with_errors',
      entries: { total: texts.length, completed: badRecords.length, rejected: badRecords.length },
    });
    const seen = entries
      .filter((entry) => entry.position % 2 === 0)
      .map(({ error }, at) => [badRecords[at]![0], error?.code, error?.pointer]);
    expect(seen).toEqual(badRecords.map(([name, , code, pointer]) => [name, code, pointer]));
    expect(entries.filter((entry) => entry.position % 2 === 1).every((entry) => entry.outcome === 'created')).toBe(
      true,
    );
  });

  test('in NDJSON: a line that is no JSON or not UTF-8 is rejected with its number', async () => {
    const body = Buffer.concat([
      Buffer.from(`${record()}\n{"identifiers":[\n`),
      Buffer.from('{"a":"\xff"}\n', 'latin1'),
      Buffer.from(`${record()}\nnull\n${record()}`),
    ]);
    const { entries } = await outcomes(body, 'application/x-ndjson');
    expect(entries.map(({ line, status, error }) => [line, status, error?.code])).toEqual([
      [1, 'completed', undefined],
      [2, 'rejected', 'invalid_json'],
      [3, 'rejected', 'invalid_utf8'],
      [4, 'completed', undefined],
      [5, 'rejected', 'not_an_object'],
      [6, 'completed', undefined],
    ]);
  });

  test('in CSV: unequal columns, stray and open quotes are rejected with their line, and the lines after go on', async () => {
    const sisbov = () => `BR${nextNumber++}`;
    const lines = [
      'sisbov,peso',
      `${sisbov()},400`,
      `${sisbov()},400,more`,
      sisbov(),
      `${sisbov()},4"0"0`,
      `${sisbov()},"four\nhundred"`,
      `${sisbov()},410`,
      `${sisbov()},"open`,
      `${sisbov()},420`,
    ];
    const { entries } = await outcomes(lines.join('\n'), 'text/csv');
    expect(entries.map(({ line, status, error }) => [line, status, error?.code])).toEqual([
      [2, 'completed', undefined],
      [3, 'rejected', 'csv_column_count'],
      [4, 'rejected', 'csv_column_count'],
      [5, 'rejected', 'csv_stray_quote'],
      [6, 'completed', undefined],
      [8, 'completed', undefined],
      [9, 'rejected', 'csv_unterminated_quote'],
      [10, 'completed', undefined],
    ]);
  });

  test.each(['chip,metadata.x\n982000000123477,"a\nb"\r\r\n', 'chip\n"a\n b"\r\r\n', 'chip\n982000000123477\r\r\n'])(
    'in CSV: strange ends of lines never leave a line without its entry (%j)',
    async (body) => {
      const answer = await application.submit(body, { 'content-type': 'text/csv' });
      const receipt = await application.settle((await readJson<Receipt>(answer)).receipt_id);

      expect(receipt.entries.pending).toBe(0);
      expect(receipt.entries.completed + receipt.entries.rejected).toBe(receipt.entries.total);
    },
  );

  test('in CSV: damage by a spreadsheet and wrong cells are rejected with their column', async () => {
    const { entries } = await outcomes(
      `rfid,year,value_chain\n"1,0555E+14",,\n,2020,\n982000000000001,0,\n982000000000002,,WHEAT\n`,
      'text/csv',
    );
    expect(entries.map(({ error }) => [error?.code, error?.pointer])).toEqual([
      ['spreadsheet_damage', '/rfid'],
      ['no_identifying_identifier', ''],
      ['invalid_year', '/year'],
      ['unknown_value_chain', '/value_chain'],
    ]);
  });

  test('a body of nested brackets is one rejected record, not a crash', async () => {
    const { receipt, entries } = await outcomes(`${'['.repeat(30_000)}${']'.repeat(30_000)}`);
    expect(receipt).toMatchObject({ status: 'completed_with_errors', entries: { total: 1, rejected: 1 } });
    expect(['too_deep', 'not_an_object']).toContain(entries[0]!.error!.code);
  });
});
