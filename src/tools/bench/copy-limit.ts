import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import type { BenchServers } from './servers.ts';
import { BenchFault } from './report.ts';

/** Everything that the pipeline writes; bodies lie in a table of their own and are not among them. */
const tables = [
  'entries',
  'items',
  'identifier_claims',
  'contributions',
  'events',
  'identifier_mentions',
  'receipt_chunks',
  'receipts',
] as const;

/** What loading the rows of a database took. */
export interface CopyLimit {
  readonly rows: number;
  /** The sum over the tables, filled one after another. */
  readonly seconds: number;
  readonly secondsByTable: Readonly<Record<string, number>>;
}

/**
 * Writes the rows that a run produced to files on the server, and measures `COPY FROM` of these files into empty tables
 * with the same columns, constraints, indexes and storage options: as fast as the rows can enter tables at all.
 */
export async function measureCopyLimit(servers: BenchServers, client: pg.Client): Promise<CopyLimit> {
  const files = tables.map((table) => ({ table, file: join(servers.postgresFolder, `bench-${table}.copy`) }));
  const secondsByTable: Record<string, number> = {};
  let rows = 0;
  // Otherwise the server may do this by itself at the moment of the measurement, which would flatter the pipeline.
  await client.query('vacuum (analyze)');
  try {
    const filled: { table: string; file: string; rows: number }[] = [];
    for (const { table, file } of files) {
      const { rowCount } = await client.query(`copy ${table} to ${pg.escapeLiteral(file)}`);
      if (!rowCount) continue;
      await createEmptyCopy(client, table);
      filled.push({ table, file, rows: rowCount });
    }
    await client.query('checkpoint');
    for (const { table, file, rows: expected } of filled) {
      const startedAtMs = performance.now();
      const { rowCount } = await client.query(`copy limit_${table} from ${pg.escapeLiteral(file)}`);
      secondsByTable[table] = (performance.now() - startedAtMs) / 1000;
      if (rowCount !== expected) throw new BenchFault(`COPY put ${rowCount} of ${expected} rows into ${table}`);
      rows += expected;
    }
  } finally {
    await Promise.all(files.map(({ file }) => rm(file, { force: true })));
  }
  return { rows, seconds: Object.values(secondsByTable).reduce((sum, seconds) => sum + seconds, 0), secondsByTable };
}

async function createEmptyCopy(client: pg.Client, table: string): Promise<void> {
  await client.query(`create table limit_${table} (like ${table} including all)`);
  // LIKE leaves storage options of the table itself, such as the fill factor, out.
  const { rows } = await client.query<{ option: string }>(
    'select unnest(reloptions) as option from pg_class where oid = $1::regclass',
    [table],
  );
  if (rows.length > 0)
    await client.query(`alter table limit_${table} set (${rows.map(({ option }) => option).join(', ')})`);
}
