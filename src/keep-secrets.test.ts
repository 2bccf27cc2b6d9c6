import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { readConfig } from './config.ts';
import { keepSecrets } from './keep-secrets.ts';

const unset = readConfig({});

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'defarm-secrets-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

test('an embedded installation makes its keys once, readable by its owner only, also by two starts at once', async () => {
  const starts = await Promise.all([keepSecrets(folder, unset), keepSecrets(folder, unset)]);
  const read = () =>
    ['LOG_SIGNING_KEY_FILE', 'ENCRYPTION_KEY_FILE'].map((key) => readFileSync(starts[0][key]!, 'utf8'));
  const kept = read();

  await keepSecrets(folder, unset);

  expect(starts[1]).toEqual(starts[0]);
  expect(read()).toEqual(kept);
  const config = readConfig(starts[0]);
  expect(config.LOG_SIGNING_KEY).toMatch(/^PRIVATE\+KEY\+defarm\.local\/[0-9a-f]{16}\+/);
  expect(config.ENCRYPTION_KEY).toHaveLength(32);
  const modes = ['LOG_SIGNING_KEY_FILE', 'ENCRYPTION_KEY_FILE'].map((key) => statSync(starts[0][key]!).mode & 0o777);
  expect(modes).toEqual([0o600, 0o600]);
});

test('an embedded installation stores in a folder of its own', async () => {
  const settings = await keepSecrets(folder, unset);
  expect(settings).toMatchObject({
    STORAGE_ADAPTER: 'local',
    STORAGE_FOLDER: join(folder, 'storage'),
    LOG_CHECKPOINT_FILE: join(folder, 'log-checkpoint'),
  });
});

test('what is set already stays', async () => {
  const given = readConfig({
    LOG_SIGNING_KEY: 'PRIVATE+KEY+example.com+00000000+AAAA',
    ENCRYPTION_KEY: Buffer.alloc(32).toString('base64'),
    STORAGE_ADAPTER: 'none',
    STORAGE_FOLDER: '/elsewhere',
    LOG_CHECKPOINT_FILE: '/elsewhere/checkpoint',
  });
  expect(await keepSecrets(folder, given)).toEqual({
    LOG_CHECKPOINT_FILE: '/elsewhere/checkpoint',
    STORAGE_ADAPTER: 'none',
    STORAGE_FOLDER: '/elsewhere',
  });
});
