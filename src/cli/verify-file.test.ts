import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { commitmentTo, disclose, entryOf } from '#domains/ledger/entry-commitment.ts';
import { checkpointBody } from '#domains/ledger/checkpoint.ts';
import { leafHash } from '#domains/ledger/log-tree.ts';
import { makeSigningKey, readSigningKey, signNote } from '#domains/ledger/signed-note.ts';

const run = promisify(execFile);
let folder: string;
const signer = readSigningKey(makeSigningKey('example.com/log'))!;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'defarm-verify-'));
  const [fields, seed] = [{ dfid: 'DFID-BEEF-BR-2025-000001-0e193e' }, Buffer.alloc(32, 1)];
  const entry = entryOf(commitmentTo(fields, seed));
  const root = leafHash(entry);
  const bundle = {
    format: 'defarm-proof-v1',
    entry: entry.toString('base64'),
    ...disclose(fields, seed),
    index: 0,
    inclusion: [],
    checkpoint: signNote(checkpointBody({ origin: 'example.com/log', size: 1, root }), signer),
    tree_size: 1,
    root: root.toString('base64'),
    anchor: null,
  };
  writeFileSync(join(folder, 'good.json'), JSON.stringify(bundle));
  writeFileSync(join(folder, 'bad.json'), JSON.stringify({ ...bundle, index: 1 }));
  writeFileSync(join(folder, 'trust'), `# the log of the co-operative\n\n${signer.verifier.text}\n`);
});
afterAll(() => rmSync(folder, { recursive: true }));

/** Runs the command as somebody without any installation does. */
async function verify(...parameters: string[]): Promise<[code: number, output: string]> {
  const command = [join(import.meta.dirname, 'main.ts'), 'verify', ...parameters];
  try {
    const { stdout } = await run(process.execPath, command, { cwd: folder, env: { PATH: process.env['PATH'] } });
    return [0, stdout];
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
    return [code, stdout + stderr];
  }
}

test('defarm verify tells what holds and what was not checked, and ends with 0 or 1', async () => {
  const [code, output] = await verify('good.json');
  expect([code, output]).toEqual([0, expect.stringContaining('consistent; signer not authenticated')]);
  expect(output).toContain('not checked  log_signature');
  expect((await verify('good.json', '--strict'))[0]).toBe(1);
  expect(await verify('good.json', '--strict', '--key', signer.verifier.text)).toEqual([
    0,
    expect.stringContaining('signed by who is trusted'),
  ]);
  expect((await verify('good.json', '--strict', '--trust', 'trust'))[0]).toBe(0);
  expect(await verify('bad.json')).toEqual([1, expect.stringContaining('refused at inclusion')]);
  const [, json] = await verify('good.json', '--json');
  expect(JSON.parse(json)).toMatchObject({ consistent: true, authenticated: false });
});

test('defarm verify ends with 1 for a file that is not there and for a key that is none', async () => {
  expect((await verify('none.json'))[0]).toBe(1);
  expect(await verify('good.json', '--key', 'nonsense')).toEqual([1, expect.stringContaining('no verifier key')]);
});
