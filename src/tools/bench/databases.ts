import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { readConfig } from '../../config.ts';
import { prepareDatabase } from '../../prepare-database.ts';
import type { BenchServers } from './servers.ts';

/** The migrated database with one workspace that all databases of a run are copies of. */
const templateName = 'bench-template';

/** An API key with the scope admin of the only workspace; the same in every database of a run. */
export const apiKey = `dfm_${randomBytes(20).toString('hex')}`;

/** Makes the template. */
export async function createTemplate(servers: BenchServers): Promise<void> {
  await runStatement(servers, `create database ${pg.escapeIdentifier(templateName)}`);
  const url = servers.postgresUrl(templateName);
  await prepareDatabase(readConfig({ DATABASE_URL: url, BOOTSTRAP_API_KEY: apiKey }), url);
}

/** Makes a database as a copy of another, which nobody may be connected to; replaces one of the same name. */
export async function createDatabase(servers: BenchServers, name: string, template = templateName): Promise<void> {
  await dropDatabase(servers, name);
  // Copying files writes the new database past the write-ahead log, and begins and ends with a checkpoint.
  const [target, source] = [pg.escapeIdentifier(name), pg.escapeIdentifier(template)];
  await runStatement(servers, `create database ${target} template ${source} strategy file_copy`);
}

/** Removes a database, ending its sessions. */
export async function dropDatabase(servers: BenchServers, name: string): Promise<void> {
  await runStatement(servers, `drop database if exists ${pg.escapeIdentifier(name)} with (force)`);
}

/** A connection to a database, ended when `work` is done. bigint comes as a number: no count here is near 2^53. */
export async function withConnection<Result>(
  servers: BenchServers,
  database: string,
  work: (client: pg.Client) => Promise<Result>,
): Promise<Result> {
  const bigintOid: number = pg.types.builtins.INT8;
  const client = new pg.Client({
    connectionString: servers.postgresUrl(database),
    types: {
      getTypeParser: (oid: number, format?: 'text' | 'binary') =>
        oid === bigintOid ? Number : pg.types.getTypeParser(oid, format),
    },
  });
  // Without a listener the loss of the connection between two queries would end the process.
  client.on('error', () => undefined);
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

async function runStatement(servers: BenchServers, statement: string): Promise<void> {
  await withConnection(servers, 'postgres', (client) => client.query(statement));
}
