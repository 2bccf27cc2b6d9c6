import knexFactory, { type Knex } from 'knex';
import pg from 'pg';
import { parseJson } from '#platform/json/parse-json.ts';

export type { Knex };

/** A connection or pool that runs SQL: what a store's function takes as its first parameter on hot paths. */
export type Queryable = Pick<pg.ClientBase, 'query'>;

export interface Database {
  /** For hot paths: named statements and binary arrays. */
  readonly pool: pg.Pool;
  /** For ordinary queries; shares the connections of `pool`. */
  readonly knex: Knex;
  close(): Promise<void>;
}

interface DatabaseOptions {
  url: string;
  poolSize: number;
  applicationName: string;
  /** True for workers: plans are kept, and never a hash join or a full scan on tables without statistics. */
  isWorker?: boolean;
  /** True when requests wait for what runs here, so that nothing may wait long. All but workers do, unless told otherwise. */
  answersRequests?: boolean;
}

/**
 * How columns are read: bigint columns of this schema are counters far below 2^53, so they are numbers; JSON goes past the
 * engine's fault with escaped names.
 */
const columnReaders = new Map<number, (text: string) => unknown>([
  [pg.types.builtins.INT8, Number],
  [pg.types.builtins.JSON, parseJson],
  [pg.types.builtins.JSONB, parseJson],
]);

const types: pg.CustomTypesConfig = {
  getTypeParser: (oid: number, format?: 'text' | 'binary') =>
    columnReaders.get(oid) ?? pg.types.getTypeParser(oid, format),
};

/**
 * Session settings of every connection. A frozen process must not hold claims for ever, and nothing waits without end.
 */
const sessionSettings = {
  idle_in_transaction_session_timeout: '15s',
  statement_timeout: '60s',
  lock_timeout: '10s',
  tcp_keepalives_idle: '10',
  tcp_keepalives_interval: '5',
  tcp_keepalives_count: '3',
};

/** What a web process adds: a request must not wait for one that holds a lock, nor for a server that fell silent. */
const webSettings = { lock_timeout: '2s' };
const webQueryTimeoutMs = 8000;

/**
 * Workers run few, always alike statements over arrays. On tables that were never analysed the planner takes hash joins
 * and full scans for them, which cost seconds per chunk; with generic nested-loop plans it cannot.
 */
const workerSettings = {
  plan_cache_mode: 'force_generic_plan',
  enable_hashjoin: 'off',
  enable_mergejoin: 'off',
  enable_seqscan: 'off',
  jit: 'off',
  max_parallel_workers_per_gather: '0',
};

/**
 * Keeps the process alive when connections break. The pool listens to those that are idle; one that somebody has in hand
 * fails its statement, and would end the process if nobody listened to it too.
 */
export function surviveLostConnections(pool: pg.Pool, onError: (error: Error) => void = () => {}): void {
  pool.on('error', onError);
  pool.on('connect', (client) => client.on('error', onError));
}

/** Opens a pool on first use; making it does not need the database to be there. */
export function openDatabase(options: DatabaseOptions): Database {
  const isWorker = options.isWorker === true;
  const { answersRequests = !isWorker } = options;
  const session = {
    ...sessionSettings,
    ...(isWorker ? workerSettings : {}),
    ...(answersRequests ? webSettings : {}),
  };
  const pool = new pg.Pool({
    connectionString: options.url,
    max: options.poolSize,
    application_name: options.applicationName,
    connectionTimeoutMillis: 3000,
    keepAlive: true,
    types,
    options: Object.entries(session)
      .map(([name, value]) => `-c ${name}=${value}`)
      .join(' '),
    ...(isWorker ? { pipeline: true } : {}),
    ...(answersRequests ? { query_timeout: webQueryTimeoutMs } : {}),
  });
  surviveLostConnections(pool);
  // What fails is thrown to the caller too; knex would also print it, between the lines of the log.
  const silent = { warn: () => {}, error: () => {}, deprecate: () => {}, debug: () => {} };
  const knex = knexFactory({ client: 'pg', connectionPool: pool, log: silent } as Knex.Config);
  return {
    pool,
    knex,
    close: async () => {
      await knex.destroy();
      if (!pool.ended) await pool.end();
    },
  };
}

/**
 * Runs `work` in one transaction on a connection of its own: commits when it returns, rolls back when it throws. `work`
 * may leave statements on their way; the caller then waits for them, and only if they succeed too is the work done: a
 * commit after a failed statement rolls back. A connection whose roll-back fails is thrown away.
 * @param end `rollback` only looks at what the work would do.
 */
export async function withTransaction<Result>(
  pool: pg.Pool,
  work: (client: pg.PoolClient) => Promise<Result>,
  end: 'commit' | 'rollback' = 'commit',
): Promise<Result> {
  const client = await pool.connect();
  let broken: Error | undefined;
  // Without a listener the loss of the connection between two statements would end the process.
  const onError = (error: Error) => (broken = error);
  client.on('error', onError);
  try {
    // Sent together with the first statement of the work; if it fails, so does that.
    const begun = client.query('begin');
    begun.catch(() => {});
    const result = await work(client);
    await begun;
    await client.query(end);
    return result;
  } catch (error) {
    // A server that did not answer in time would not answer this either.
    if (error instanceof Error && error.message === 'Query read timeout') broken = error;
    else await client.query('rollback').catch((rollbackError: Error) => (broken = rollbackError));
    throw error;
  } finally {
    client.off('error', onError);
    client.release(broken);
  }
}
