import { createPostgresQueueSchema } from '#platform/queue/postgres-schema.ts';
import knexFactory from 'knex';
import { fileURLToPath } from 'node:url';

/**
 * Where the migrations lie. A database may be ahead of this code: during a deployment the version before goes on, and after
 * a roll-back it is back.
 */
export const migrationOptions = {
  directory: fileURLToPath(new URL('../../migrations', import.meta.url)),
  extension: 'ts',
  loadExtensions: ['.ts'],
  disableMigrationsListValidation: true,
};

/**
 * Brings the database to the newest schema, that of the queues included, and returns the names of the migrations that it
 * ran. Safe while the previous version still works on the database, and when two processes do it at once.
 */
export async function runMigrations(databaseUrl: string): Promise<string[]> {
  const knex = knexFactory({ client: 'pg', connection: databaseUrl, pool: { min: 0, max: 2 } });
  try {
    const [, names] = (await knex.migrate.latest(migrationOptions)) as [number, string[]];
    await createPostgresQueueSchema(databaseUrl);
    return names.map((name) => name.replace(/^.*\//, ''));
  } finally {
    await knex.destroy();
  }
}

/** The migrations in this code that the database does not have yet; throws when the database cannot be asked. */
export async function findPendingMigrations(databaseUrl: string): Promise<string[]> {
  const knex = knexFactory({
    client: 'pg',
    connection: databaseUrl,
    pool: { min: 0, max: 1 },
    acquireConnectionTimeout: 3000,
  });
  try {
    const [, pending] = (await knex.migrate.list(migrationOptions)) as [unknown, { file: string }[]];
    return pending.map(({ file }) => file);
  } finally {
    await knex.destroy();
  }
}
