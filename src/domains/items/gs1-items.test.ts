import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  readJson,
  startApplication,
  type Entry,
  type Receipt,
  type TestApplication,
} from '../../testing/application.ts';

let application: TestApplication;
beforeAll(async () => {
  application = await startApplication({ backend: 'postgres' });
});
afterAll(() => application.close());

async function submit(body: string, contentType = 'application/json'): Promise<Entry[]> {
  const response = await application.submit(body, { 'content-type': contentType, prefer: 'wait=20' });
  const { receipt_id: id } = await readJson<Receipt>(response);
  const { entries } = await readJson<{ entries: Entry[] }>(await application.fetch(`/api/receipts/${id}/entries`));
  return entries;
}

async function find(typeName: string, value: string): Promise<string[]> {
  const query = new URLSearchParams({ identifier_type: typeName, value }).toString();
  const { items } = await readJson<{ items: { dfid: string }[] }>(await application.fetch(`/api/items?${query}`));
  return items.map(({ dfid }) => dfid);
}

const gtin = '09506000134352';
const forms = [
  `(01)${gtin}(21)A-7`,
  `\u001d21A-7\u001d01${gtin}`,
  `]C101${gtin}21A-7`,
  'urn:epc:id:sgtin:9506000.013435.A-7',
  `https://id.gs1.org/01/${gtin}/21/A-7`,
];

test('an item is one whichever form of its GS1 key is sent, as which type, in which chain, as JSON or CSV', async () => {
  const records = forms.flatMap((value, at) =>
    ['sgtin', 'gs1'].map((identifier_type) => ({
      value_chain: at % 2 === 0 ? 'BEEF' : 'COFFEE',
      identifiers: [{ identifier_type, value }],
    })),
  );
  const entries = [
    ...(await submit(JSON.stringify(records))),
    ...(await submit(`gs1\n${forms.map((value) => `"${value}"`).join('\n')}\n`, 'text/csv')),
  ];
  expect(entries).toHaveLength(forms.length * 3);
  expect(entries.every(({ status }) => status === 'completed')).toBe(true);
  const dfids = new Set(entries.map(({ dfid }) => dfid));
  expect(dfids.size).toBe(1);
  for (const form of forms) expect(await find('gs1', form)).toEqual([...dfids]);
});

test('a scanned value is returned as it was scanned', async () => {
  const scanned = `\u001d21B-8\u001d01${gtin}`;
  const [entry] = await submit(JSON.stringify({ identifiers: [{ identifier_type: 'gs1', value: scanned }] }));
  const { identifiers } = await readJson<{ identifiers: object[] }>(
    await application.fetch(`/api/items/${entry!.dfid}`),
  );
  expect(identifiers).toEqual([
    {
      identifier_type: 'gs1',
      value: scanned,
      is_canonical: true,
      normalized_type: 'sgtin',
      normalized_value: `(01)${gtin}(21)B-8`,
    },
  ]);
});

test('a place and a class beside an item are kept with it, and join no two items', async () => {
  const beside = [
    { identifier_type: 'gs1', value: '(414)9506000111315' },
    { identifier_type: 'gtin', value: gtin },
  ];
  const entries = await submit(
    JSON.stringify(
      ['C-1', 'C-2'].map((serial) => ({
        identifiers: [{ identifier_type: 'sgtin', value: `(01)${gtin}(21)${serial}` }, ...beside],
      })),
    ),
  );
  const dfids = entries.map(({ dfid }) => dfid);
  expect(new Set(dfids).size).toBe(2);
  expect(new Set(await find('gln', 'https://id.gs1.org/414/9506000111315'))).toEqual(new Set(dfids));
});
