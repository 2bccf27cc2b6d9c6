import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { readSigningKey } from '#domains/ledger/index.ts';
import { keepLogKey } from './keep-log-key.ts';

const unset = { LOG_CHECKPOINT_FILE: undefined, LOG_SIGNING_KEY: undefined };
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'defarm-key-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

test('an embedded installation makes one key, which only its owner can read, also when it starts twice at once', async () => {
  const starts = await Promise.all([keepLogKey(folder, unset), keepLogKey(folder, unset)]);
  const path = join(folder, 'log-signing-key');
  const key = readFileSync(path, 'utf8').trim();

  await keepLogKey(folder, unset);

  expect(starts.map((settings) => settings['LOG_SIGNING_KEY_FILE'])).toEqual([path, path]);
  expect(readFileSync(path, 'utf8').trim()).toBe(key);
  expect(readSigningKey(key)?.verifier.name).toMatch(/^defarm\.local\/[0-9a-f]{16}$/);
  expect(statSync(path).mode & 0o777).toBe(0o600);
});

test('a key that is given is the one that signs', async () => {
  expect(await keepLogKey(folder, { ...unset, LOG_SIGNING_KEY: 'given' })).toEqual({
    LOG_CHECKPOINT_FILE: join(folder, 'log-checkpoint'),
  });
});
