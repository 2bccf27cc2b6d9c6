import type { Config } from './config.ts';
import { bootstrapInstallation } from '#domains/accounts/index.ts';
import { runMigrations } from '#platform/migrations.ts';

/**
 * Brings the database that DATABASE_URL names to the newest schema, and creates the first credentials that the
 * configuration gives. Returns lines that say what was done.
 */
export async function prepareDatabase(config: Config, databaseUrl: string): Promise<string[]> {
  const migrations = await runMigrations(databaseUrl);
  const isCreated = await bootstrapInstallation(databaseUrl, {
    email: config.BOOTSTRAP_ADMIN_EMAIL,
    password: config.BOOTSTRAP_ADMIN_PASSWORD,
    apiKey: config.BOOTSTRAP_API_KEY,
  });
  return [
    migrations.length === 0
      ? 'The database is up to date.'
      : `Brought the database up to date (${migrations.length} migrations).`,
    ...(isCreated ? ['Created the first workspace with the credentials given.'] : []),
  ];
}
