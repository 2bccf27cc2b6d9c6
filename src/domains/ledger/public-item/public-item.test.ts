import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readJson, waitFor, type TestApplication } from '../../../testing/application.ts';
import { startAnchoredApplication, type AnchoredApplication } from '../../../testing/anchored-application.ts';
import { addressOf } from '#domains/storage/content-address.ts';
import type { ProofBundle } from '../ledger.schema.ts';
import { readVerifierKey } from '../signed-note.ts';
import { verifyBundle } from '../verify-bundle.ts';
import { wordsFor } from './page-words.ts';
import { drawPublicItem } from './page.ts';

let anchored: AnchoredApplication;
let application: TestApplication;
let openKey: string;
let silentKey: string;
beforeAll(async () => {
  anchored = await startAnchoredApplication({ PUBLIC_URL: 'https://trace.example.com/' });
  ({ application } = anchored);
  openKey = await application.createKey({ scope: 'write', workspace: 'Open' });
  silentKey = await application.createKey({ scope: 'write', workspace: 'Silent' });
  await ask('PUT', '/api/storage/settings', openKey, {
    enabled: true,
    public_fields: ['raca'],
    public_identifier_types: ['sisbov'],
  });
});
afterAll(async () => {
  await anchored.close();
});

let nextNumber = 440_000_000_000;
const newSisbov = () => ({ identifier_type: 'sisbov', value: `BR${nextNumber++}` });

async function ask<Body>(method: string, path: string, key: string, body?: object): Promise<Body> {
  const response = await application.fetch(path, {
    method,
    headers: { 'x-api-key': key, ...(body ? { 'content-type': 'application/json' } : {}) },
    ...(body ? { body: JSON.stringify(body) } : {}),
  });
  return readJson<Body>(response);
}

const send = async (key: string, record: object): Promise<string> =>
  (
    await ask<{ item: { dfid: string } }>('POST', '/api/items', key, {
      value_chain: 'BEEF',
      country: 'BR',
      year: 2025,
      ...record,
    })
  ).item.dfid;

const read = async (path: string, language = 'en') => {
  const response = await fetch(`${application.url}${path}`, { headers: { 'accept-language': language } });
  return { status: response.status, headers: response.headers, text: await response.text() };
};

const whenPageSays = (dfid: string, words: string) =>
  waitFor(async () => {
    const { text } = await read(`/public/items/${dfid}`);
    return text.includes(words) ? text : undefined;
  }, `the page to say ${words}`);

describe('the public page of an item', () => {
  test('shows what was made public, how it is proven, and where it is by a QR code; and nothing else', async () => {
    const sisbov = newSisbov();
    const dfid = await send(openKey, {
      identifiers: [sisbov],
      metadata: { raca: 'Nelore', fazenda: 'Fazenda Segredo' },
    });
    await send(silentKey, { identifiers: [sisbov], metadata: { raca: 'Angus silencioso' } });

    const page = await whenPageSays(dfid, 'and anchored on a network of its own');

    expect(page).toContain('Nelore');
    expect(page).toContain(`105${sisbov.value.slice(2)}`);
    expect(page).toContain('which is no proof in public');
    expect(page).toContain('<svg');
    expect(page).toContain(`https://trace.example.com/public/items/${dfid}`);
    expect(page).not.toMatch(/segredo|silencioso|<script/i);
    const portuguese = await read(`/public/items/${dfid}`, 'pt-BR,pt;q=0.9,en;q=0.8');
    expect(portuguese.text).toContain('o que não é prova pública');
    expect(portuguese.headers.get('content-security-policy')).toContain("default-src 'none'");
  });

  test('gives a proof of the address of the content that holds by key and account, and shows nothing else', async () => {
    const dfid = await send(openKey, {
      identifiers: [newSisbov()],
      metadata: { raca: 'Gir', segredo: 'Fazenda Segredo' },
    });
    await whenPageSays(dfid, 'and anchored on');

    const { text } = await read(`/public/items/${dfid}/proofs/0`);
    const bundle = JSON.parse(text) as ProofBundle;

    const key = readVerifierKey((await read('/log/key')).text.trim())!;
    const verdict = await verifyBundle(text, { keys: [key], accounts: [anchored.account] });
    expect([verdict.authenticated, verdict.summary]).toEqual([true, 'consistent; signed by who is trusted']);
    expect(text).not.toMatch(/segredo/i);
    const shown = Object.entries(bundle.fields!).flatMap(([name, field]) => ('value' in field ? [name] : []));
    expect(shown).toEqual(['cid', 'dfid', 'kind', 'recorded_at', 'version']);
    const content = {
      dfid,
      identifiers: [{ identifier_type: 'sisbov', value: expect.any(String) }],
      metadata: { raca: 'Gir' },
      version: 1,
    };
    const { rows } = await application.database.pool.query<{ bytes: Buffer }>(
      'select bytes from storage_contents where cid = $1',
      [bundleValue(bundle, 'cid')],
    );
    expect(JSON.parse(rows[0]!.bytes.toString())).toEqual(content);
    expect((await addressOf(rows[0]!.bytes)).toString()).toBe(bundleValue(bundle, 'cid'));
    expect(JSON.parse((await read(`/ipfs/${bundleValue(bundle, 'cid')}`)).text)).toEqual(content);
  });

  test('is not there for items of which nothing is public, or that do not exist', async () => {
    const silent = await send(silentKey, { identifiers: [newSisbov()] });
    const paths = [silent, 'DFID-BEEF-BR-2025-999999-000000', 'nonsense', '%00', `${silent.slice(0, -1)}x`];
    const answers = await Promise.all(paths.map((name) => read(`/public/items/${name}`)));
    expect(answers.map(({ status }) => status)).toEqual(paths.map(() => 404));
    expect((await read(`/public/items/${silent}/proofs/0`)).status).toBe(404);
  });

  test('is gone when its workspace switches storage off', async () => {
    const key = await application.createKey({ scope: 'write', workspace: 'Fickle' });
    await ask('PUT', '/api/storage/settings', key, { enabled: true });
    const dfid = await send(key, { identifiers: [newSisbov()] });
    await whenPageSays(dfid, dfid);
    await ask('PUT', '/api/storage/settings', key, { enabled: false });
    expect((await read(`/public/items/${dfid}`)).status).toBe(404);
  });

  test('shows whatever strangers sent as text', async () => {
    const hostile = `<img src=x onerror="alert('1')">&`;
    const { html } = await drawPublicItem(
      {
        dfid: 'DFID-BEEF-BR-2025-000001-0e193e',
        valueChain: 'BEEF',
        country: 'BR',
        year: 2025,
        parts: [
          {
            version: 1,
            cid: 'bafy',
            identifiers: [{ identifier_type: hostile, value: hostile }],
            metadata: { [hostile]: { [hostile]: [hostile] } },
            proof: undefined,
          },
        ],
      },
      wordsFor('en'),
      'https://example.com/"><script>',
    );
    expect(html).not.toMatch(/<img|<script/);
    expect(html).toContain('&lt;img src=x');
  });
});

function bundleValue({ fields }: ProofBundle, name: string): string {
  const field = fields![name]!;
  return 'value' in field ? String(field.value) : '';
}

test.each([
  [undefined, 'en'],
  ['pt', 'pt-BR'],
  ['pt-PT', 'pt-BR'],
  ['de, pt;q=0.3', 'pt-BR'],
  ['en-US,en;q=0.9,pt;q=0.8', 'en'],
  ['en;q=0.2, pt;q=0.3', 'pt-BR'],
  ['de', 'en'],
  [';;;,,q=', 'en'],
])('whoever prefers %j reads %s', (header, language) => {
  expect(wordsFor(header).language).toBe(language);
});
