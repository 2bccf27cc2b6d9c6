import { setTimeout as delay } from 'node:timers/promises';
import type { Config } from './config.ts';
import { bootstrapInstallation } from '#domains/accounts/index.ts';
import { runMigrations } from '#platform/migrations.ts';

const bootstrapAgainMs = 5000;

/**
 * Brings the database that DATABASE_URL names to the newest schema, and creates the first credentials that the
 * configuration gives. Returns lines that say what was done.
 */
export async function prepareDatabase(config: Config, databaseUrl: string): Promise<string[]> {
  const migrations = await runMigrations(databaseUrl);
  const isCreated = await bootstrapInstallation(databaseUrl, firstCredentials(config));
  return [
    migrations.length === 0
      ? 'The database is up to date.'
      : `Brought the database up to date (${migrations.length} migrations).`,
    ...(isCreated ? ['Created the first workspace with the credentials given.'] : []),
  ];
}

/**
 * Creates the first credentials that the configuration gives as soon as the database is there and migrated, for an
 * installation whose release step was not given them. Ends early when `signal` is aborted.
 */
export async function bootstrapWhenMigrated(config: Config, databaseUrl: string, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    try {
      await bootstrapInstallation(databaseUrl, firstCredentials(config));
      return;
    } catch {
      await delay(bootstrapAgainMs, undefined, { signal, ref: false }).catch(() => {});
    }
  }
}

function firstCredentials(config: Config) {
  return {
    email: config.BOOTSTRAP_ADMIN_EMAIL,
    password: config.BOOTSTRAP_ADMIN_PASSWORD,
    apiKey: config.BOOTSTRAP_API_KEY,
  };
}
