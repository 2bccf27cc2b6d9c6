import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ConfigurationError, readConfig, settings } from './config.ts';

function faultsOf(environment: NodeJS.ProcessEnv): string[] {
  try {
    readConfig(environment);
    return [];
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error;
    return error.message.split('\n').slice(1);
  }
}

test('an empty environment gives the documented defaults', () => {
  const config = readConfig({});
  for (const [key, { defaultText }] of Object.entries(settings) as [keyof typeof settings, { defaultText?: string }][])
    expect([key, config[key] === undefined ? undefined : String(config[key])]).toEqual([key, defaultText]);
});

test('an empty value counts as not set', () => {
  expect(readConfig({ PORT: '', DATABASE_URL: '', LOG_LEVEL: '' })).toEqual(readConfig({}));
});

test('the configuration cannot be changed afterwards', () => {
  expect(Object.isFrozen(readConfig({}))).toBe(true);
});

test('all faults are told at once, each with its key, what was found and what is expected', () => {
  const faults = faultsOf({
    PORT: '70000',
    LOG_LEVEL: 'loud',
    BULL_BOARD_WRITABLE: 'yes',
    RECEIPT_MAX_BYTES: '1.5',
    QUEUE_PREFIX: 'a b',
    BOOTSTRAP_ADMIN_EMAIL: 'nobody',
  });
  expect(faults.map((fault) => fault.trim())).toEqual([
    'PORT: found "70000", expected a whole number from 0 to 65535',
    'LOG_LEVEL: found "loud", expected one of fatal, error, warn, info, debug, trace, silent',
    'QUEUE_PREFIX: found "a b", expected 1 to 40 of the characters a–z, 0–9 and -',
    'RECEIPT_MAX_BYTES: found "1.5", expected a whole number from 1024 to 268435456',
    'BULL_BOARD_WRITABLE: found "yes", expected true or false',
    'BOOTSTRAP_ADMIN_EMAIL: found "nobody", expected an e-mail address',
    'BOOTSTRAP_ADMIN_EMAIL and BOOTSTRAP_ADMIN_PASSWORD: found one of them, expected both or none',
  ]);
});

test('an e-mail that is wrong is not told to be missing beside its password', () => {
  expect(faultsOf({ BOOTSTRAP_ADMIN_EMAIL: 'nobody', BOOTSTRAP_ADMIN_PASSWORD: 'a long password' })).toEqual([
    '  BOOTSTRAP_ADMIN_EMAIL: found "nobody", expected an e-mail address',
  ]);
});

test('every key that holds a secret is named in a fault without its value', () => {
  const secrets = Object.entries(settings).filter(([, setting]) => 'secret' in setting && setting.secret);
  expect(secrets.map(([key]) => key)).toEqual([
    'DATABASE_URL',
    'REDIS_URL',
    'LOG_SIGNING_KEY',
    'LOG_SIGNING_KEY_PREVIOUS',
    'STELLAR_RPC_URLS',
    'STELLAR_SECRET_KEY',
    'PINATA_JWT',
    'KUBO_RPC_URL',
    'ENCRYPTION_KEY',
    'ENCRYPTION_KEY_PREVIOUS',
    'BOOTSTRAP_ADMIN_PASSWORD',
    'BOOTSTRAP_API_KEY',
  ]);
  for (const [key] of secrets) {
    const faults = faultsOf({ [key]: 'hunter2 of ours' });
    expect(faults.join('\n')).toContain(key);
    expect(faults.join('\n')).not.toContain('hunter2');
  }
});

test.each([
  ['DATABASE_URL', 'mysql://host/db'],
  ['DATABASE_URL', 'host'],
  ['REDIS_URL', 'http://host'],
  ['REDIS_URL', 'redis://host:port'],
  ['BOOTSTRAP_API_KEY', `dfm_${'a'.repeat(31)}`],
  ['BOOTSTRAP_API_KEY', `key_${'a'.repeat(40)}`],
  ['BOOTSTRAP_API_KEY', `dfm_${'a'.repeat(40)}!`],
  ['DATABASE_POOL_SIZE', '1'],
  ['SWEEP_INTERVAL_MS', '-5'],
  ['PORT', '0x50'],
  ['WEBHOOK_ALLOWED_NETWORKS', '10.0.0.0/33'],
  ['WEBHOOK_ALLOWED_NETWORKS', '10.0.0.0/8,fd00::/129'],
  ['WEBHOOK_DNS_SERVERS', '1.1.1.1:99999'],
  ['WEBHOOK_DNS_SERVERS', 'dns.example.com'],
])('%s does not take %s', (key, value) => {
  expect(faultsOf({ [key]: value })).toEqual([expect.stringContaining(`${key}: found`)]);
});

test.each([
  ['DATABASE_URL', 'postgres://user:p%40ss@%2Fvar%2Frun%2Fpostgres:5432/db'],
  ['DATABASE_URL', 'postgresql://db.example.com/db?sslmode=require'],
  ['REDIS_URL', 'rediss://:secret@redis.example.com:6380/2'],
  ['BOOTSTRAP_API_KEY', `dfm_${'a'.repeat(32)}`],
] as const)('%s takes %s', (key, value) => {
  expect(readConfig({ [key]: value })[key]).toBe(value);
});

test('a buffer that cannot hold one receipt of the largest size is a fault', () => {
  expect(faultsOf({ RECEIPT_MAX_BYTES: '20000', RECEPTION_BUFFER_BYTES: '19999' })).toEqual([
    expect.stringContaining('RECEPTION_BUFFER_BYTES: found 19999, expected at least RECEIPT_MAX_BYTES (20000)'),
  ]);
  expect(faultsOf({ RECEIPT_MAX_BYTES: '20000', RECEPTION_BUFFER_BYTES: '20000' })).toEqual([]);
});

test('the commit is also taken from where Railway puts it', () => {
  expect(readConfig({ RAILWAY_GIT_COMMIT_SHA: 'abc' }).GIT_COMMIT).toBe('abc');
  expect(readConfig({ RAILWAY_GIT_COMMIT_SHA: 'abc', GIT_COMMIT: 'def' }).GIT_COMMIT).toBe('def');
});

describe('a secret in a file', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'defarm-config-'));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  const fileWith = async (text: string) => {
    const file = join(folder, `${text.length}.txt`);
    await writeFile(file, text);
    return file;
  };

  test('is read from the path in <KEY>_FILE, without the line end that editors add', async () => {
    const url = 'postgres://user:secret@db/defarm';
    expect(readConfig({ DATABASE_URL_FILE: await fileWith(`${url}\n`) }).DATABASE_URL).toBe(url);
  });

  test('gives way to the key itself', async () => {
    const config = readConfig({ REDIS_URL: 'redis://direct', REDIS_URL_FILE: await fileWith('redis://from-file') });
    expect(config.REDIS_URL).toBe('redis://direct');
  });

  test('that cannot be read is a fault that names the file, and one with a wrong value a fault that does not show it', async () => {
    const missing = join(folder, 'missing');
    expect(faultsOf({ DATABASE_URL_FILE: missing, BOOTSTRAP_API_KEY_FILE: await fileWith('hunter2') })).toEqual([
      `  DATABASE_URL_FILE: found "${missing}", expected the path of a readable file`,
      '  BOOTSTRAP_API_KEY: found a value that is not shown, expected dfm_ and at least 32 more letters and digits',
    ]);
  });

  test('may hold the value of any key', async () => {
    expect(readConfig({ PORT_FILE: await fileWith('4000\n') }).PORT).toBe(4000);
  });
});
