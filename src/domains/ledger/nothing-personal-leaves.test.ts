import { afterAll, beforeAll, expect, test } from 'vitest';
import { startPinata, type PinningService } from '../../testing/pinning-services.ts';
import { readJson, type TestApplication } from '../../testing/application.ts';
import { startAnchoredApplication, type AnchoredApplication } from '../../testing/anchored-application.ts';

const jwt = 'header.payload.signature';
let anchored: AnchoredApplication;
let pinata: PinningService;
let application: TestApplication;

beforeAll(async () => {
  pinata = await startPinata(jwt);
  anchored = await startAnchoredApplication({
    STORAGE_ADAPTER: 'pinata',
    STORAGE_BATCH_MAX_AGE_MS: '0',
    PINATA_JWT: jwt,
    PINATA_API_URL: pinata.url,
    PINATA_UPLOAD_URL: pinata.url,
    PINATA_REQUESTS_PER_MINUTE: '100000',
    ENCRYPTION_KEY: Buffer.alloc(32, 3).toString('base64'),
  });
  ({ application } = anchored);
});
afterAll(async () => {
  await anchored.close();
  await pinata.close();
});

const cpfs = ['529.982.247-25', '52998224725', '529 982 247 25', '５２９.９８２.２４７-２５'];
const cnpjs = ['11.222.333/0001-81', '11222333000181', '12.ABC.345/01DE-35', '12abc34501de35'];
const privateWords = ['Fazenda Segredo', 'vaccinated-in-private', 'João da Silva'];

let nextNumber = 620_000_000_000;
const newSisbov = () => ({ identifier_type: 'sisbov', value: `BR${nextNumber++}` });

/** Records that hold personal data in every place that a record has, most of it declared public. */
const records = () =>
  [...cpfs, ...cnpjs].flatMap((number) => [
    { metadata: { raca: 'Nelore', dono: number } },
    { metadata: { raca: 'Nelore', dono: `o dono é ${number}, de Goiás` } },
    { metadata: { raca: 'Nelore', dono: { nome: 'x', documentos: [{ numero: number }] } } },
    { metadata: { raca: 'Nelore', dono: { [number]: 1 } } },
    { metadata: { raca: 'Nelore', notas: `João da Silva ${number}` } },
    { metadata: { raca: number } },
    { events: [{ event_type: 'vaccinated', payload: { by: number, note: 'vaccinated-in-private' } }] },
  ]);

async function ask<Body>(method: string, path: string, body?: object): Promise<Body> {
  const response = await application.fetch(path, {
    method,
    headers: body ? { 'content-type': 'application/json' } : {},
    ...(body ? { body: JSON.stringify(body) } : {}),
  });
  expect(response.ok).toBe(true);
  return readJson<Body>(response);
}

/** Everything that anybody outside can read: what was pinned, what stands on the ledger, the public pages of the log. */
async function readAllThatIsPublic(): Promise<Buffer[]> {
  const blocks = [...pinata.pinned.values()].flatMap((dag) => dag.blocks.map(({ bytes }) => Buffer.from(bytes)));
  const { rows } = await application.database.pool.query<{ envelope_xdr: string }>(
    'select envelope_xdr from log_anchor_attempts',
  );
  const { size } = await ask<{ size: number }>('GET', '/api/log');
  const tiles = Array.from(
    { length: Math.ceil(size / 256) },
    (_, at) =>
      `/log/tile/entries/${String(at).padStart(3, '0')}${size - at * 256 >= 256 ? '' : `.p/${size - at * 256}`}`,
  );
  const pages = await Promise.all(
    ['/log/checkpoint', '/log/anchors', ...tiles].map(async (path) =>
      Buffer.from(await (await fetch(`${application.url}${path}`)).arrayBuffer()),
    ),
  );
  return [...blocks, ...rows.map((row) => Buffer.from(row.envelope_xdr, 'base64')), ...pages];
}

test('no byte that reaches IPFS, Stellar or the public log tells who a person is or what was private', async () => {
  await ask('PUT', '/api/storage/settings', {
    enabled: true,
    public_fields: ['raca', 'dono'],
    public_identifier_types: ['sisbov'],
    encrypted_content: true,
  });
  const sent = records().map((record) => ({
    value_chain: 'BEEF',
    country: 'BR',
    year: 2025,
    identifiers: [newSisbov(), { identifier_type: 'cpf', value: '529.982.247-25' }],
    ...record,
    metadata: { fazenda: 'Fazenda Segredo', ...('metadata' in record ? record.metadata : {}) },
  }));
  const response = await application.fetch('/api/receipts', {
    method: 'POST',
    headers: { 'content-type': 'application/json', prefer: 'wait=20' },
    body: JSON.stringify(sent),
  });
  expect(await readJson<object>(response)).toMatchObject({ status: 'completed' });
  const isOutside = async () => {
    const { rows } = await application.database.pool.query<{ is_done: boolean }>(
      `select (select count(*) from storage_history where state = 'stored') = 2 * $1::int
              and exists (select from log_anchors join log_state on log_state.size = log_anchors.size where confirmed_attempt is not null) as is_done`,
      [sent.length],
    );
    return rows[0]!.is_done;
  };
  await expect.poll(isOutside, { timeout: 30_000, interval: 50 }).toBe(true);

  const all = await readAllThatIsPublic();

  const text = Buffer.concat(all).toString('utf8').normalize('NFKC').toLowerCase();
  const plain = text.replace(/[\s./-]/g, '');
  for (const number of [...cpfs, ...cnpjs])
    expect(plain).not.toContain(
      number
        .normalize('NFKC')
        .toLowerCase()
        .replace(/[\s./-]/g, ''),
    );
  for (const word of privateWords) expect(text).not.toContain(word.toLowerCase());
  expect(text).toContain('nelore');
  expect(text).toContain('620000000000');
});
