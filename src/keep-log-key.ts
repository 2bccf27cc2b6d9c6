import { randomBytes } from 'node:crypto';
import { link, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Config } from './config.ts';
import { makeSigningKey } from '#domains/ledger/index.ts';

/**
 * The settings that make an embedded installation sign its log: with a key of its own, which is made at the first start and
 * which only its owner can read, and with the last checkpoint kept beside the database. What is set already stays.
 */
export async function keepLogKey(
  directory: string,
  config: Pick<Config, 'LOG_CHECKPOINT_FILE' | 'LOG_SIGNING_KEY'>,
): Promise<Record<string, string>> {
  const settings = { LOG_CHECKPOINT_FILE: config.LOG_CHECKPOINT_FILE ?? join(directory, 'log-checkpoint') };
  if (config.LOG_SIGNING_KEY !== undefined) return settings;
  const path = join(directory, 'log-signing-key');
  await writeOnce(path, () => makeSigningKey(`defarm.local/${randomBytes(8).toString('hex')}`));
  return { ...settings, LOG_SIGNING_KEY_FILE: path };
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
