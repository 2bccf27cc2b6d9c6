import { readConfig } from '../config.ts';
import { findWorkableQueues, startWorker, type RunningWorker } from '../start-worker.ts';
import { startWeb, type RunningWeb } from '../start-web.ts';
import { bootstrapInstallation, createApiKey, createWorkspace } from '#domains/accounts/index.ts';
import { openDatabase, type Database } from '#platform/database.ts';
import type { Route, Scope } from '#platform/route.ts';
import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { createTestDatabase } from './database.ts';
import { testRedis } from './redis.ts';

export const administrator = { email: 'administrator@example.com', password: 'correct horse battery' };

interface ApplicationOptions {
  /** Where the queues live. */
  backend: 'postgres' | 'redis';
  /** Without workers, receipts stay as they were received. */
  hasWorker?: boolean;
  /** The URL under which the application, but not the test, reaches the database; a link that can be cut, for instance. */
  leadToDatabase?(url: string): Promise<string>;
  /** Keys of the environment beside those that every test application has. */
  environment?: Readonly<Record<string, string>>;
}

/** The whole application in this process, on a database and a queue prefix of its own. */
export interface TestApplication {
  /** `http://127.0.0.1:<port>` */
  readonly url: string;
  readonly port: number;
  readonly routes: readonly Route[];
  /** A key of the first workspace with the scope admin. */
  readonly apiKey: string;
  /** The environment with which a process of its own joins this application. */
  readonly environment: Readonly<Record<string, string>>;
  /** For looking behind the API, and for putting things into a state that takes long to reach. */
  readonly database: Database;
  /** A request with the key of the first workspace, unless `headers` brings another. */
  fetch(path: string, options?: RequestInit): Promise<Response>;
  /** Sends a body to POST /api/receipts with the key of the first workspace. */
  submit(body: NonNullable<RequestInit['body']>, headers?: Record<string, string>, query?: string): Promise<Response>;
  /** Waits until a receipt is settled and returns it as the API shows it. */
  settle(receiptId: string): Promise<Receipt>;
  /** Another key, of a workspace of that name, which is created when there is none. */
  createKey(options: { scope: Scope; workspace?: string }): Promise<string>;
  close(): Promise<void>;
}

export interface Receipt {
  receipt_id: string;
  status: string;
  hash: string;
  size_bytes: number;
  content_type: string;
  received_at: string;
  entries: { total: number; pending: number; completed: number; rejected: number; failed: number; conflicted: number };
  items: { created: number; updated: number };
  unclassified_fields: string[];
  error: { code: string; detail: string } | null;
  finished_at: string | null;
}

export interface Entry {
  entry_id: string;
  position: number;
  line: number | null;
  status: string;
  outcome: string | null;
  dfid: string | null;
  merged_dfids: string[];
  error: { code: string; detail: string; pointer: string } | null;
}

/** A problem document (RFC 9457) with the members that ours have beside it. */
export interface ProblemDocument {
  type: string;
  title: string;
  status: number;
  detail: string;
  instance: string;
  requestId: string;
  error: string;
  message: string;
  errors?: { pointer: string; code: string; detail: string }[];
}

const settleTimeoutMs = 30_000;

/** Starts the application with one administrator, one workspace and one API key. Call `close()` in `afterAll`. */
export async function startApplication(options: ApplicationOptions): Promise<TestApplication> {
  const testDatabase = await createTestDatabase();
  const redis = options.backend === 'redis' ? await testRedis() : undefined;
  if (options.backend === 'redis' && !redis) throw new Error('there is no redis-server; skip what needs it');
  const apiKey = `dfm_${randomBytes(20).toString('hex')}`;
  await bootstrapInstallation(testDatabase.url, { ...administrator, apiKey });
  const databaseUrl = (await options.leadToDatabase?.(testDatabase.url)) ?? testDatabase.url;
  const environment = {
    DATABASE_URL: databaseUrl,
    ...(redis ? { REDIS_URL: redis.url } : {}),
    QUEUE_PREFIX: `test-${randomBytes(6).toString('hex')}`,
    PORT: '0',
    LOG_LEVEL: 'silent',
    SWEEP_INTERVAL_MS: '200',
    ...options.environment,
  };
  const config = readConfig(environment);
  const running: (RunningWeb | RunningWorker)[] = [];
  const web = await startWeb(config, databaseUrl, '127.0.0.1');
  running.push(web);
  if (options.hasWorker !== false) running.push(await startWorker(config, databaseUrl, findWorkableQueues()));
  const database = openDatabase({ url: testDatabase.url, poolSize: 4, applicationName: 'defarm-test' });
  const url = `http://127.0.0.1:${web.port}`;
  const fetchWithKey: TestApplication['fetch'] = (path, { headers, ...rest } = {}) =>
    fetch(`${url}${path}`, { ...rest, headers: { 'x-api-key': apiKey, ...(headers as Record<string, string>) } });
  return {
    url,
    port: web.port,
    routes: web.routes,
    apiKey,
    environment,
    database,
    fetch: fetchWithKey,
    submit: (body, headers = {}, query = '') =>
      fetchWithKey(`/api/receipts${query}`, {
        method: 'POST',
        body,
        headers: { 'content-type': 'application/json', ...headers },
      }),
    async settle(receiptId) {
      return waitFor(
        async () => {
          const receipt = await readJson<Receipt>(await fetchWithKey(`/api/receipts/${receiptId}`));
          return receipt.finished_at === null ? undefined : receipt;
        },
        `receipt ${receiptId} to settle`,
        settleTimeoutMs,
      );
    },
    createKey: ({ scope, workspace = 'Default' }) => createKey(database, scope, workspace),
    async close() {
      await Promise.all(running.map((process) => process.stop()));
      await database.close();
      await testDatabase.drop();
    },
  };
}

async function createKey({ knex }: Database, scope: Scope, workspaceName: string): Promise<string> {
  const known = await knex('workspaces')
    .select<{ workspace_id: string }[]>('workspace_id')
    .where({ name: workspaceName })
    .first();
  const { workspace_id: workspaceId } = known ?? (await createWorkspace(knex, workspaceName));
  return createApiKey(knex, { workspaceId, name: `${scope} key of a test`, scope });
}

/** The body of an answer, taken for what the test expects it to be. */
export async function readJson<Body>(response: Response): Promise<Body> {
  return (await response.json()) as Body;
}

/** Asks again and again until the answer is not undefined; fails after `timeoutMs`, saying what was waited for. */
export async function waitFor<Result>(
  ask: () => Promise<Result | undefined> | Result | undefined,
  what: string,
  timeoutMs = 30_000,
): Promise<Result> {
  const until = Date.now() + timeoutMs;
  for (;;) {
    const result = await ask();
    if (result !== undefined) return result;
    if (Date.now() > until) throw new Error(`waited ${timeoutMs} ms in vain for ${what}`);
    await delay(10);
  }
}
