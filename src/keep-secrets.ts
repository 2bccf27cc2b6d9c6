import { randomBytes } from 'node:crypto';
import { link, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Config } from './config.ts';
import { makeSigningKey } from '#domains/ledger/index.ts';

type GivenSecrets = Pick<
  Config,
  'LOG_CHECKPOINT_FILE' | 'LOG_SIGNING_KEY' | 'ENCRYPTION_KEY' | 'STORAGE_FOLDER' | 'STORAGE_ADAPTER'
>;

/**
 * The settings that make an embedded installation whole: it signs its log and encrypts with keys of its own, which are made
 * at the first start and which only its owner can read, and keeps the last checkpoint and stored contents beside the
 * database. What is set already stays.
 */
export async function keepSecrets(directory: string, config: GivenSecrets): Promise<Record<string, string>> {
  const settings: Record<string, string> = {
    LOG_CHECKPOINT_FILE: config.LOG_CHECKPOINT_FILE ?? join(directory, 'log-checkpoint'),
    STORAGE_FOLDER: config.STORAGE_FOLDER ?? join(directory, 'storage'),
    STORAGE_ADAPTER: config.STORAGE_ADAPTER ?? 'local',
  };
  const keep = async (key: string, name: string, make: () => string) => {
    const path = join(directory, name);
    await writeOnce(path, make);
    settings[`${key}_FILE`] = path;
  };
  if (config.LOG_SIGNING_KEY === undefined)
    await keep('LOG_SIGNING_KEY', 'log-signing-key', () =>
      makeSigningKey(`defarm.local/${randomBytes(8).toString('hex')}`),
    );
  if (config.ENCRYPTION_KEY === undefined)
    await keep('ENCRYPTION_KEY', 'encryption-key', () => randomBytes(32).toString('base64'));
  return settings;
}

/** Writes a file that only its owner can read, unless there is one: whole or not at all, and never over another one. */
async function writeOnce(path: string, makeText: () => string): Promise<void> {
  const written = `${path}.${randomBytes(8).toString('hex')}`;
  await writeFile(written, `${makeText()}\n`, { mode: 0o600, flag: 'wx', flush: true });
  try {
    await link(written, path);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
  } finally {
    await rm(written, { force: true });
  }
}
