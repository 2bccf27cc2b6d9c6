import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import { createApiKey, createWorkspace } from '#domains/accounts/index.ts';
import { openDatabase } from '#platform/database.ts';
import type { PostgresServer } from './postgres-server.ts';
import { ProductProcess } from './product-process.ts';
import { findFreePort } from '../../testing/free-port.ts';
import { RedisServer } from './redis-server.ts';
import { waitFor } from './waiting.ts';

export interface ClusterOptions {
  readonly workers: number;
  /** Whether Redis keeps its jobs across a restart, as in production. */
  readonly isRedisAppendOnly: boolean;
}

export interface Workspace {
  readonly workspaceId: string;
  readonly apiKey: string;
}

/** Fixed by the name that the product gives its queues' keys when QUEUE_PREFIX is not set. */
export const queuePrefix = '{defarm}';

/** The product as it runs in production: a web process, workers, a database of its own and a Redis of its own. */
export class Cluster {
  readonly postgres: PostgresServer;
  readonly redis: RedisServer;
  readonly web: ProductProcess;
  readonly workers: readonly ProductProcess[];
  readonly databaseUrl: string;
  readonly baseUrl: string;
  readonly workspaces: readonly Workspace[];
  readonly #pool: pg.Pool;

  private constructor(
    parts: Pick<Cluster, 'postgres' | 'redis' | 'web' | 'workers' | 'databaseUrl' | 'baseUrl' | 'workspaces'>,
  ) {
    ({
      postgres: this.postgres,
      redis: this.redis,
      web: this.web,
      workers: this.workers,
      databaseUrl: this.databaseUrl,
      baseUrl: this.baseUrl,
      workspaces: this.workspaces,
    } = parts);
    this.#pool = new pg.Pool({ connectionString: this.databaseUrl, max: 4, connectionTimeoutMillis: 5000 });
    this.#pool.on('error', () => undefined);
  }

  /** Makes database and configuration; nothing runs yet. */
  static async prepare(
    postgres: PostgresServer,
    folder: string,
    name: string,
    options: ClusterOptions,
  ): Promise<Cluster> {
    await mkdir(folder, { recursive: true });
    const databaseUrl = await postgres.createDatabase(name);
    const workspaces = await createWorkspaces(databaseUrl);
    const redis = await RedisServer.prepare(join(folder, 'redis'), {
      isAppendOnly: options.isRedisAppendOnly,
    });
    const port = await findFreePort();
    const environment = environmentOf({ DATABASE_URL: databaseUrl, REDIS_URL: redis.url, PORT: String(port) });
    const process = (processName: string, file: string, listens: boolean) =>
      new ProductProcess({ name: processName, arguments: [file], environment, folder, listens });
    return new Cluster({
      postgres,
      redis,
      web: process('web', 'src/server.ts', true),
      workers: Array.from({ length: options.workers }, (_unused, at) =>
        process(`worker-${at + 1}`, 'workers/main.ts', false),
      ),
      databaseUrl,
      baseUrl: `http://127.0.0.1:${port}`,
      workspaces,
    });
  }

  /** Starts Redis and all processes, and waits until the API is ready. */
  async start(): Promise<void> {
    await this.redis.start();
    await this.startProcesses();
    await this.waitUntilReady();
  }

  async startProcesses(): Promise<void> {
    await Promise.all([this.web, ...this.workers].map((process) => process.start()));
  }

  /** Waits until the API says that it can do its work. */
  async waitUntilReady(): Promise<void> {
    await waitFor('readiness of the API', 20_000, async () => (await this.readHealth())?.status === 200);
  }

  /** The readiness as the API tells it; undefined when nobody answers. */
  async readHealth(): Promise<{ status: number; text: string } | undefined> {
    try {
      const response = await fetch(`${this.baseUrl}/health/ready`, { signal: AbortSignal.timeout(8000) });
      return { status: response.status, text: await response.text() };
    } catch {
      return undefined;
    }
  }

  /** Runs a query of the harness itself. */
  async query<Row extends pg.QueryResultRow>(text: string, values: unknown[] = []): Promise<Row[]> {
    return (await this.#pool.query<Row>(text, values)).rows;
  }

  /** Receipts that are acknowledged and not settled. */
  async countUnsettled(): Promise<number> {
    const [row] = await this.query<{ count: number }>('select count(*)::int4 from receipts where finished_at is null');
    return row!.count;
  }

  async countSettled(): Promise<number> {
    const [row] = await this.query<{ count: number }>(
      'select count(*)::int4 from receipts where finished_at is not null',
    );
    return row!.count;
  }

  /** Jobs that wait in the queues, as Redis holds them. */
  async countWaitingJobs(): Promise<number> {
    const lengths = await this.redis.run((redis) =>
      Promise.all(['ingestion', 'deduplication'].map((queue) => redis.llen(`${queuePrefix}:${queue}:wait`))),
    );
    return lengths.reduce((sum, length) => sum + length, 0);
  }

  /** Ends of processes that no scenario asked for. */
  get unexpectedEnds(): string[] {
    return [this.web, ...this.workers].flatMap((process) => process.unexpectedEnds);
  }

  async close(): Promise<void> {
    await Promise.all([this.web, ...this.workers].map((process) => process.kill()));
    await this.redis.kill();
    await this.#pool.end();
  }
}

/** Two workspaces that trust each other's links, so that the outcome depends on the records alone and not on their order. */
async function createWorkspaces(databaseUrl: string): Promise<Workspace[]> {
  const database = openDatabase({ url: databaseUrl, poolSize: 1, applicationName: 'faults' });
  try {
    const workspaces: Workspace[] = [];
    for (const name of ['North', 'South']) {
      const { workspace_id: workspaceId } = await createWorkspace(database.knex, name);
      const apiKey = await createApiKey(database.knex, { workspaceId, name: 'Load', scope: 'write' });
      workspaces.push({ workspaceId, apiKey });
    }
    await database.knex('workspaces').update({ may_link_items: true });
    return workspaces;
  } finally {
    await database.close();
  }
}

/** What the caller set for its own installation must not reach this one. */
function environmentOf(settings: Record<string, string>): NodeJS.ProcessEnv {
  const { PATH, HOME, TMPDIR } = process.env;
  return { PATH, HOME, TMPDIR, LOG_LEVEL: 'info', ...settings };
}
