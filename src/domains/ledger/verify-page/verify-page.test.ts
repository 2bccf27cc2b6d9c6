import { generateKeyPairSync, hash as nodeHash, sign } from 'node:crypto';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { chromium, type Browser, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readJson, waitFor, type TestApplication } from '../../../testing/application.ts';
import { startAnchoredApplication, type AnchoredApplication } from '../../../testing/anchored-application.ts';
import type { ProofBundle } from '../ledger.schema.ts';
import * as browserCrypto from './browser-crypto.ts';

describe('the crypto of the page', () => {
  test('hashes as that of Node does', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.string(), (bytes, text) => {
        expect(browserCrypto.hash('sha256', bytes, 'hex')).toBe(nodeHash('sha256', bytes, 'hex'));
        expect(browserCrypto.hash('sha256', text, 'hex')).toBe(nodeHash('sha256', text, 'hex'));
      }),
    );
  });

  test('takes signatures that Node made, and none of which a bit was changed', () => {
    const { publicKey, privateKey } = generateKeyPairSync('ed25519');
    const key = browserCrypto.createPublicKey({ key: publicKey.export({ format: 'der', type: 'spki' }) });
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(511), (data, bit) => {
        const signature = sign(null, data, privateKey);
        expect(browserCrypto.verify(null, data, key, signature)).toBe(true);
        signature[bit >> 3]! ^= 1 << (bit & 7);
        expect(browserCrypto.verify(null, data, key, signature)).toBe(false);
      }),
      { numRuns: 30 },
    );
    expect(browserCrypto.verify(null, Buffer.alloc(3), key, Buffer.alloc(7))).toBe(false);
  });
});

const executablePath = '/usr/bin/chromium';

describe.skipIf(!existsSync(executablePath))('the page in a browser', () => {
  let anchored: AnchoredApplication;
  let application: TestApplication;
  let browser: Browser;
  let folder: string;
  let bundle: ProofBundle;
  let key: string;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'defarm-verify-'));
    anchored = await startAnchoredApplication();
    ({ application } = anchored);
    const response = await application.fetch('/api/items', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        value_chain: 'BEEF',
        country: 'BR',
        year: 2025,
        identifiers: [{ identifier_type: 'sisbov', value: 'BR105000000001' }],
        metadata: { fazenda: 'São João' },
      }),
    });
    const { dfid } = (await readJson<{ item: { dfid: string } }>(response)).item;
    const readProof = async () => readJson<ProofBundle>(await application.fetch(`/api/items/${dfid}/proof`));
    bundle = await waitFor(async () => {
      const proof = await readProof();
      return proof.anchor ? proof : undefined;
    }, 'an anchored proof');
    key = (await (await application.fetch('/log/key')).text()).trim();
    browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });
  });
  afterAll(async () => {
    await browser.close();
    await anchored.close();
    rmSync(folder, { recursive: true });
  });

  async function drop(page: Page, proof: object | string): Promise<void> {
    const path = join(folder, 'proof.json');
    writeFileSync(path, typeof proof === 'string' ? proof : JSON.stringify(proof));
    await page.setInputFiles('#file', path);
  }

  const verdictOf = (page: Page) => page.locator('#summary').textContent();
  const resultsOf = async (page: Page) =>
    Object.fromEntries(
      await page
        .locator('#steps tr')
        .evaluateAll((rows) => rows.map((row) => [row.getAttribute('data-step'), row.getAttribute('data-result')])),
    ) as Record<string, string>;

  test('checks a proof without a network: by hashes alone, and by the key and the account that are given', async () => {
    const context = await browser.newContext();
    const page = await context.newPage();
    const faults: string[] = [];
    page.on('pageerror', (error) => faults.push(error.message));
    page.on('console', (message) => faults.push(message.text()));
    await page.goto(`${application.url}/verify`);
    await context.setOffline(true);

    await drop(page, bundle);
    await expect.poll(() => verdictOf(page)).toBe('proof.json: consistent; signer not authenticated');
    await page.fill('#keys', key);
    await page.fill('#accounts', anchored.account);

    await expect.poll(() => verdictOf(page)).toBe('proof.json: consistent; signed by who is trusted');
    expect(await resultsOf(page)).toEqual({
      format: 'holds',
      content: 'holds',
      checkpoint: 'holds',
      inclusion: 'holds',
      log_signature: 'holds',
      anchor: 'holds',
      account_signature: 'holds',
      ledger_inclusion: 'not checked',
    });
    expect(faults).toEqual([]);
    await context.close();
  });

  test('refuses what was tampered with, and names the step', async () => {
    const page = await browser.newPage();
    await page.goto(`${application.url}/verify`);
    await page.fill('#keys', key);
    const fields = {
      ...bundle.fields!,
      'metadata.0': { ...bundle.fields!['metadata.0']!, value: { name: 'fazenda', value: 'Outra' } },
    };
    const tampered: [object | string, string][] = [
      [{ ...bundle, fields }, 'refused at content'],
      [{ ...bundle, index: bundle.index + 1 }, 'refused at inclusion'],
      [
        { ...bundle, checkpoint: bundle.checkpoint!.replace('example.com/log\n', 'example.com/lag\n') },
        'refused at log_signature',
      ],
      [{ ...bundle, anchor: { ...bundle.anchor!, hash: '0'.repeat(64) } }, 'refused at anchor'],
      ['<script>alert(1)</script>', 'refused at format'],
    ];

    for (const [proof, verdict] of tampered) {
      await drop(page, proof);
      await expect.poll(() => verdictOf(page)).toContain(verdict);
    }
    await page.fill('#keys', 'nonsense');
    await expect.poll(() => verdictOf(page)).toBe('This is no verifier key: nonsense');
    await page.close();
  });

  test('may load, send and run nothing but itself', async () => {
    const response = await fetch(`${application.url}/verify`);
    const policy = response.headers.get('content-security-policy')!;
    expect(policy).toContain("default-src 'none'");
    expect(policy).not.toContain('unsafe');
    expect(await response.text()).not.toMatch(/<(?:script|link|img)[^>]*(?:src|href)=/);
  });
});
