import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { request } from 'undici';
import {
  firstValuesSql,
  identifierSql,
  ndjsonRecordBytes,
  placeholderRecordText,
  placeholderValues,
} from './cattle-records.ts';
import { BenchFault } from './report.ts';
import { receiptRecords } from './sizes.ts';
import type { System } from './system.ts';

const chunkRecords = 1000;
const insertedAtOnce = 100_000;
const sampledTables = [
  'receipts',
  'receipt_chunks',
  'items',
  'contributions',
  'entries',
  'events',
  'identifier_mentions',
] as const;
type SampledTable = (typeof sampledTables)[number];

/** Sends the one record that stored items are made from, and waits until it is settled. */
export async function sendSample(
  system: System,
  client: pg.Client,
  placeholderRecord = placeholderRecordText(),
): Promise<void> {
  const response = await request(`${system.baseUrl}/api/receipts`, {
    method: 'POST',
    headers: { ...system.headers, 'content-type': 'application/json' },
    body: placeholderRecord,
  });
  const text = await response.body.text();
  if (response.statusCode !== 202) throw new BenchFault(`the sample was answered ${response.statusCode}: ${text}`);
  for (const deadline = Date.now() + 30_000; ;) {
    const { rows } = await client.query<{ outcome: string | null }>('select outcome from receipts');
    if (rows[0]?.outcome === 'completed') return;
    if (rows[0]?.outcome || Date.now() > deadline) throw new BenchFault('the sample does not become an item');
    await delay(20);
  }
}

/**
 * Fills a database that holds nothing but the sample with the items of animals 0 to `animals` - 1, as if they had been
 * received long ago: the sample's own rows with other values, so that whatever a row holds has the shape that the product
 * gives it. Their bodies are gone, as after the time of retention. Ends with a vacuum and a checkpoint.
 */
export async function storeItems(client: pg.Client, animals: number): Promise<void> {
  if (animals % chunkRecords !== 0) throw new BenchFault(`${animals} animals are no whole number of chunks`);
  const sample = await takeSample(client);
  const receipts = Math.ceil(animals / receiptRecords);
  await insertLike(client, 'receipts', [0, receipts], receiptColumns(animals));
  await insertLike(client, 'receipt_chunks', [0, animals / chunkRecords], chunkColumns);
  for (let from = 0; from < animals; from += insertedAtOnce) {
    const range: Range = [from, Math.min(from + insertedAtOnce, animals)];
    await insertLike(client, 'items', range, { item_number: 'n + 1' });
    await insertClaims(client, range);
    await insertLike(client, 'contributions', range, {
      item_number: 'n + 1',
      state: jsonLike('sample.state', sample.stateEntry),
    });
    await insertLike(client, 'entries', range, {
      entry_id: entryId,
      item_number: 'n + 1',
      received_sequence: receiptNumber('n'),
      byte_start: `(n % ${receiptRecords}) * ${ndjsonRecordBytes + 1}`,
      byte_length: String(ndjsonRecordBytes),
      record: jsonLike('sample.record'),
    });
    await insertLike(client, 'events', range, {
      event_id: timeOrderedId('n'),
      item_number: 'n + 1',
      entry_id: entryId,
    });
    // Only where the sample has an identifier that identifies nothing, which is its ear tag.
    await insertLike(client, 'identifier_mentions', range, {
      value: firstValuesSql('n').ear_tag,
      item_number: 'n + 1',
    });
  }
  await client.query(`select setval('item_numbers', $1), setval('received_sequence', $2)`, [animals + 1, receipts + 1]);
  await client.query('vacuum (freeze, analyze)');
  await client.query('checkpoint');
}

type Range = readonly [from: number, to: number];

interface Sample {
  /** How the sample's state names its entry, as JSON text. */
  readonly stateEntry: string;
}

/** Moves the sample's rows out of the way; temporary tables of this connection keep them. */
async function takeSample(client: pg.Client): Promise<Sample> {
  const { rows } = await client.query<{ state: string; entry_id: string }>(
    'select contributions.state::text as state, entries.entry_id from contributions, entries',
  );
  const [row] = rows;
  const stateEntry = /\["[0-9a-f-]{36}",\d+,\d+\]/.exec(row?.state ?? '')?.[0];
  if (!row || rows.length > 1 || !stateEntry?.includes(row.entry_id))
    throw new BenchFault(`the sample is not one item of one entry: ${JSON.stringify(rows)}`);
  for (const table of sampledTables) await client.query(`create temporary table sample_${table} as table ${table}`);
  await client.query(`create temporary table sample_claims as table identifier_claims`);
  await client.query(
    `truncate receipts, receipt_bodies, receipt_chunks, work_attempts, items, identifier_claims, identifier_mentions, contributions, entries, events`,
  );
  return { stateEntry };
}

/** Inserts one row per `n` of the range: the sample's row but for the columns that are given as expressions. */
async function insertLike(
  client: pg.Client,
  table: SampledTable,
  [from, to]: Range,
  changed: Readonly<Record<string, string>>,
): Promise<void> {
  const { rows } = await client.query<{ name: string }>(
    `select attname as name from pg_attribute
     where attrelid = $1::regclass and attnum > 0 and not attisdropped and attgenerated = '' order by attnum`,
    [table],
  );
  const names = rows.map(({ name }) => name);
  const unknown = Object.keys(changed).filter((name) => !names.includes(name));
  if (unknown.length > 0) throw new BenchFault(`${table} has no column ${unknown.join(', ')}`);
  const values = names.map((name) => changed[name] ?? `sample.${name}`);
  await client.query(
    `insert into ${table} (${names.join(', ')})
     select ${values.join(', ')} from sample_${table} as sample cross join generate_series(${from}, ${to - 1}) as n`,
  );
}

async function insertClaims(client: pg.Client, [from, to]: Range): Promise<void> {
  for (const name of ['sisbov', 'chip'] as const) {
    const { rowCount } = await client.query(
      `insert into identifier_claims (identifier_type, value, item_number, entry_id)
       select sample.identifier_type, ${identifierSql(name, 'n')}, n + 1, ${entryId}
       from sample_claims as sample cross join generate_series(${from}, ${to - 1}) as n
       where sample.value = ${pg.escapeLiteral(placeholderValues[name])}`,
    );
    if (rowCount !== to - from) throw new BenchFault(`the sample claims no ${name}`);
  }
}

/** 2023-11-14, in milliseconds since 1970: before all ids that are made during the run. */
const firstIdMs = 1_700_000_000_000;

/** A UUIDv7 that grows with `n`, as SQL. */
function timeOrderedId(n: string): string {
  return `(lpad(to_hex(${firstIdMs} + ${n}), 12, '0') || '70008000' || lpad(to_hex(${n}), 12, '0'))::uuid`;
}

/** The number of the receipt (from 1) that brought animal `n`; receipts arrived in this order. */
function receiptNumber(n: string): string {
  return `(${n} / ${receiptRecords} + 1)`;
}

function receiptPrefix(receipt: string): string {
  return `lpad(to_hex(${firstIdMs} + ${receipt}), 12, '0') || '70008000' || lpad(to_hex(${receipt}), 6, '0')`;
}

/** The low 24 bits of a receipt's id are zero, and those of an entry's its position plus one. */
const receiptId = (receipt: string) => `(${receiptPrefix(receipt)} || '000000')::uuid`;
const entryId = `(${receiptPrefix(`n / ${receiptRecords}`)} || lpad(to_hex(n % ${receiptRecords} + 1), 6, '0'))::uuid`;

/** The sample's JSON with the values of animal `n` in the places of the placeholders. */
function jsonLike(column: string, stateEntry?: string): string {
  const values = firstValuesSql('n');
  let text = `${column}::text`;
  for (const [name, placeholder] of Object.entries(placeholderValues)) {
    text = `replace(${text}, ${pg.escapeLiteral(placeholder)}, ${values[name as keyof typeof values]})`;
  }
  if (stateEntry !== undefined) {
    const [, microseconds] = JSON.parse(stateEntry) as [string, number, number];
    const entry = `'["' || ${entryId} || '",${microseconds},' || ${receiptNumber('n')} || ']'`;
    text = `replace(${text}, ${pg.escapeLiteral(stateEntry)}, ${entry})`;
  }
  return `(${text})::json`;
}

function receiptColumns(animals: number): Record<string, string> {
  const records = `least(${receiptRecords}, ${animals} - n * ${receiptRecords})`;
  return {
    receipt_id: receiptId('n'),
    received_sequence: 'n + 1',
    content_type: `'application/x-ndjson'`,
    format: `'ndjson'`,
    entry_total: records,
    size_bytes: `${records} * ${ndjsonRecordBytes + 1}`,
    body_erased_at: 'now()',
  };
}

const chunksPerReceipt = receiptRecords / chunkRecords;
const chunkColumns: Record<string, string> = {
  receipt_id: receiptId(`n / ${chunksPerReceipt}`),
  chunk_number: `n % ${chunksPerReceipt}`,
  received_sequence: `n / ${chunksPerReceipt} + 1`,
  lane: '1',
  byte_start: `n % ${chunksPerReceipt} * ${chunkRecords * (ndjsonRecordBytes + 1)}`,
  byte_length: String(chunkRecords * (ndjsonRecordBytes + 1)),
  first_position: `n % ${chunksPerReceipt} * ${chunkRecords}`,
  entry_count: String(chunkRecords),
  completed: String(chunkRecords),
  created: String(chunkRecords),
};
