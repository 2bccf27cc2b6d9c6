import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  readJson,
  startApplication,
  type Entry,
  type Receipt,
  type TestApplication,
} from '../../testing/application.ts';
import { readTypesOfNewInstallation } from '../../testing/identifier-types.ts';
import { gs1CheckDigit } from '../items/identifiers/gs1-check-digit.ts';

const { types } = await readTypesOfNewInstallation();

const hostileTexts: Readonly<Record<string, string>> = {
  nothing: '',
  NUL: '\u0000',
  'line feed': '\n',
  tab: '\t',
  escape: '\u001b[31m',
  delete: '\u007f',
  'next line': '\u0085',
  'group separator': '\u001d',
  'right-to-left override': '\u202e',
  'right-to-left mark': '\u200f',
  'Arabic letter mark': '\u061c',
  'full-width digits': '１２３',
  'Arabic-Indic digits': '١٢٣',
  'full-width letters': 'ＢＲ',
  'zero-width space': '\u200b',
  'zero-width joiner': '\u200d',
  'byte order mark': '\ufeff',
  'soft hyphen': '\u00ad',
  'no-break space': '\u00a0',
  'line separator': '\u2028',
  'combining accent': '\u0301',
  'dotless i': 'ı',
  'sharp s': 'ß',
  'Kelvin sign': '\u212a',
  'ligature that is three letters in upper case': 'ﬃ',
  'high surrogate': '\ud83d',
  'low surrogate': '\ude00',
  'surrogates in the wrong order': '\ude00\ud83d',
  emoji: '👩‍🌾🐄',
  'ten thousand digits': '1'.repeat(10_000),
  'ten thousand blanks': ' '.repeat(10_000),
  'ten thousand brackets': '(01)'.repeat(2500),
  'two hundred sharp s': 'ß'.repeat(200),
  SQL: `'; drop table items; --`,
  HTML: '<script>alert(1)</script>',
  template: '${process.exit()}{{7*7}}%s%n',
  path: '../../etc/passwd',
  escapes: '%00%0a%ff\\u0000\\',
  quotes: `"'\``,
  prototype: '__proto__',
  formula: '=1+1',
  'rounded number': '1,0555E+14',
  noncharacter: '\uffff',
  'last character of all': '\u{10ffff}',
};

const gtin = '09506000134352';

/** Good values by normaliser; those that identify differ with each number, so that every record is an item of its own. */
const goodValues: Readonly<Record<string, (number: number) => string>> = {
  sisbov: (number) => `BR${String(number).padStart(12, '0')}`,
  transponder: (number) => `982${String(number).padStart(12, '0')}`,
  cpf: () => '529.982.247-25',
  cnpj: () => '11.222.333/0001-81',
  ie: () => '110.042.490.114',
  car: () => 'MT-5107602-5E5B4B5AF7B64F9A8D8E1F2A3B4C5D6E',
  nirf: () => 'A3N8Z4F-Y',
  gta: () => 'SP A 123456',
  gtin: () => gtin,
  gln: () => '9506000111315',
  sscc: (number) => {
    const body = String(number).padStart(17, '1');
    return `${body}${gs1CheckDigit(body)}`;
  },
  sgtin: (number) => `(01)${gtin}(21)S${number}`,
  lgtin: (number) => `(01)${gtin}(10)L${number}`,
  gs1: (number) => `https://id.gs1.org/01/${gtin}/21/G${number}`,
  crop_season: (number) => `Season ${number}`,
  free_text: (number) => `Name ${number}`,
};

interface SentValue {
  typeName: string;
  value: string;
}

let application: TestApplication;
const sent: SentValue[] = [];
let receipt: Receipt;
let entries: Entry[];
let accepted: Entry[];
let refused: Entry[];

beforeAll(async () => {
  application = await startApplication({ backend: 'postgres' });
  for (const { name: typeName, normaliser } of types) {
    for (const text of Object.values(hostileTexts)) {
      const goodValue = () => goodValues[normaliser]!(sent.length + 1);
      for (const place of [(good: string) => good.length, (good: string) => good.length >> 1, () => 0]) {
        const good = goodValue();
        sent.push({ typeName, value: good.slice(0, place(good)) + text + good.slice(place(good)) });
      }
      sent.push({ typeName, value: text });
    }
  }
  const records = sent.map(({ typeName, value }, at) => ({
    identifiers: [
      { identifier_type: 'ear_tag', value: `beside ${at}` },
      { identifier_type: typeName, value },
    ],
  }));
  const response = await application.submit(JSON.stringify(records));
  receipt = await application.settle((await readJson<Receipt>(response)).receipt_id);
  entries = await readAll(`/api/receipts/${receipt.receipt_id}/entries`);
  accepted = entries.filter(({ status }) => status === 'completed');
  refused = entries.filter(({ status }) => status !== 'completed');
});
afterAll(() => application.close());

async function readAll(path: string): Promise<Entry[]> {
  const rows: Entry[] = [];
  for (let cursor: string | null = ''; cursor !== null;) {
    const response = await application.fetch(`${path}?limit=1000${cursor && `&cursor=${cursor}`}`);
    const page: { entries: Entry[]; next_cursor: string | null } = await readJson(response);
    rows.push(...page.entries);
    cursor = page.next_cursor;
  }
  return rows;
}

function find(query: Record<string, string>): Promise<Response> {
  return application.fetch(`/api/items?${new URLSearchParams(query).toString()}`);
}

/** Asks for each a few at a time. */
async function forEach<Subject>(subjects: readonly Subject[], ask: (subject: Subject) => Promise<void>): Promise<void> {
  for (let from = 0; from < subjects.length; from += 8) await Promise.all(subjects.slice(from, from + 8).map(ask));
}

describe('a hostile text alone or inside a good value of every built-in type', () => {
  test('is accepted or refused, record by record, and the receipt settles', () => {
    expect(receipt).toMatchObject({
      status: 'completed_with_errors',
      entries: {
        total: sent.length,
        completed: accepted.length,
        rejected: refused.length,
        pending: 0,
        failed: 0,
        conflicted: 0,
      },
    });
    expect(entries.map(({ position }) => position)).toEqual(sent.map((_, at) => at));
  });

  test('is named by the pointer where it is refused', () => {
    for (const { position, error } of refused) {
      expect([sent[position], error]).toEqual([
        sent[position],
        { code: expect.any(String), detail: expect.any(String), pointer: '/identifiers/1/value' },
      ]);
    }
  });

  test('leaves good values of every type acceptable', () => {
    const acceptedTypes = new Set(accepted.map(({ position }) => sent[position]!.typeName));
    expect(acceptedTypes).toEqual(new Set(types.map(({ name }) => name)));
  });

  test('is returned byte for byte as the value of the identifier where it was accepted, and found by it', async () => {
    await forEach(accepted, async ({ position, dfid }) => {
      const { typeName, value } = sent[position]!;
      const details = await application.fetch(`/api/items/${dfid}`);
      expect(details.status).toBe(200);
      const { identifiers } = await readJson<{ identifiers: { identifier_type: string; value: string }[] }>(details);
      expect(identifiers.map((identifier) => [identifier.identifier_type, identifier.value])).toEqual([
        ['ear_tag', `beside ${position}`],
        [typeName, value],
      ]);
      const found = await find({ identifier_type: typeName, value, dfid: dfid! });
      expect([typeName, value, found.status, await found.json()]).toEqual([
        typeName,
        value,
        200,
        expect.objectContaining({ count: 1 }),
      ]);
    });
  });

  test('is answered or refused, and breaks nothing, when it is asked for where it was refused', async () => {
    await forEach(refused, async ({ position }) => {
      const { typeName, value } = sent[position]!;
      const { status } = await find({ identifier_type: typeName, value });
      expect([typeName, value, status]).toEqual([typeName, value, expect.toBeOneOf([200, 400, 431])]);
    });
  });
});
