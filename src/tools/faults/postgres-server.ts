import { Client, escapeIdentifier } from 'pg';
import { startEmbeddedPostgres, type EmbeddedPostgres } from '#platform/embedded-postgres.ts';
import { runMigrations } from '#platform/migrations.ts';
import { isAlive } from '#platform/process-life.ts';
import { waitFor } from './waiting.ts';

const templateName = 'faults_template';
const stopTimeoutMs = 20_000;

/** A real Postgres of the run's own that can be torn down as by a crash and started again at the same place. */
export class PostgresServer {
  readonly #directory: string;
  #server: EmbeddedPostgres | undefined;

  private constructor(directory: string) {
    this.#directory = directory;
  }

  /** Starts it, with a template database that has all migrations. */
  static async open(directory: string): Promise<PostgresServer> {
    const postgres = new PostgresServer(directory);
    await postgres.start();
    await postgres.#run(`create database ${templateName}`);
    await runMigrations(postgres.urlOf(templateName));
    return postgres;
  }

  /** The number of the server process; undefined while it is stopped. */
  get pid(): number | undefined {
    return this.#server?.pid;
  }

  /** The same before and after a stop. */
  urlOf(database: string): string {
    if (!this.#server) throw new Error('Postgres is stopped');
    return this.#server.url.replace(/\/[^/]*$/, `/${database}`);
  }

  /** Makes an empty, migrated database and returns its URL. */
  async createDatabase(name: string): Promise<string> {
    await this.#run(`create database ${escapeIdentifier(name)} template ${templateName}`);
    return this.urlOf(name);
  }

  async start(): Promise<void> {
    this.#server = await startEmbeddedPostgres({
      directory: this.#directory,
      settings: { max_connections: '200', log_min_messages: 'warning' },
    });
  }

  /** What `pg_ctl stop -m immediate` does: all sessions end at once, nothing is written, the next start recovers. */
  async stopImmediately(): Promise<void> {
    const { pid } = this.#server!;
    this.#server = undefined;
    process.kill(pid, 'SIGQUIT');
    await waitFor('the end of Postgres', stopTimeoutMs, () => !isAlive(pid));
  }

  async close(): Promise<void> {
    await this.#server?.stop();
    this.#server = undefined;
  }

  async #run(statement: string): Promise<void> {
    const client = new Client({ connectionString: this.urlOf('postgres') });
    await client.connect();
    try {
      await client.query(statement);
    } finally {
      await client.end();
    }
  }
}
