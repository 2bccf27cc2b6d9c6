import { bootstrapInstallation, makeUpCredentials } from '#domains/accounts/index.ts';
import { startEmbeddedPostgres, type EmbeddedPostgres } from '#platform/embedded-postgres.ts';
import { isAlive } from '#platform/process-life.ts';
import { backoffMs, superviseProcess, type SupervisedProcess } from '#platform/supervised-process.ts';
import { Command } from 'commander';
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join, resolve as resolvePath } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Client } from 'pg';
import { readConfigOrExit } from './config.ts';
import { keepSecrets } from './keep-secrets.ts';
import { prepareDatabase } from './prepare-database.ts';
import { readProcfile, type ProcessLine } from './procfile.ts';

const repository = join(import.meta.dirname, '..');
const processNames = ['web', 'worker'];
/** The web process of a start that was killed may hold the port until it notices. */
const portWaitMs = 10_000;
/** npm passes Ctrl-C on to us although the terminal sent it to us already: one key press, two signals. */
const repeatedSignalMs = 200;
/** Any two numbers that nobody else in this database locks: "defa" and "rm" as ASCII. */
const installationLock = [0x64_65_66_61, 0x72_6d];

/** Another process holds the installation; nothing of it may be touched. */
class AlreadyRunningError extends Error {
  constructor(directory: string, holder: number | undefined) {
    super(`DeFarm is already running on ${directory}${holder === undefined ? '' : ` (process ${holder})`}.`);
  }
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

function complain(error: unknown): void {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
}

/** Everything that runs, in the order in which it has to stop. */
class Installation {
  readonly #children: SupervisedProcess[] = [];
  readonly #stopping = new AbortController();
  #postgres: EmbeddedPostgres | undefined;
  #opening: Promise<string> | undefined;
  #stopped: Promise<void> | undefined;

  /** Aborted when the installation begins to stop. */
  get signal(): AbortSignal {
    return this.#stopping.signal;
  }

  /** Starts the database of the folder and takes the folder for this process; throws {@link AlreadyRunningError}. */
  openDatabase(directory: string): Promise<string> {
    this.#opening = this.#openDatabase(directory);
    return this.#opening;
  }

  async #openDatabase(directory: string): Promise<string> {
    const postgres = await startEmbeddedPostgres({ directory });
    const lock = await takeInstallationLock(postgres.url, directory);
    // Only now is it ours to stop: without the lock it serves somebody else.
    this.#postgres = postgres;
    lock.once('end', () => {
      if (!this.signal.aborted) void this.#reopenDatabase(directory);
    });
    return postgres.url;
  }

  async #reopenDatabase(directory: string): Promise<void> {
    say('The database went away; bringing it back.');
    for (let attempt = 1; !this.signal.aborted; attempt += 1) {
      try {
        await this.openDatabase(directory);
        say('The database is back.');
        return;
      } catch (error) {
        complain(error);
        if (error instanceof AlreadyRunningError) {
          process.exitCode = 1;
          this.#postgres = undefined;
          return void endWith(this);
        }
        await delay(backoffMs(attempt), undefined, { signal: this.signal }).catch(() => undefined);
      }
    }
  }

  run(line: ProcessLine, environment: NodeJS.ProcessEnv): void {
    this.#children.push(superviseProcess({ ...line, workingDirectory: repository, environment, report: say }));
  }

  /** First those who write, then the database. Further calls wait for the first. */
  stop(): Promise<void> {
    this.#stopping.abort();
    this.#stopped ??= (async () => {
      await Promise.all(this.#children.map((child) => child.stop()));
      // A database that is just coming up has to be up before it can be stopped.
      await this.#opening?.catch(() => undefined);
      await this.#postgres?.stop();
      this.#postgres = undefined;
    })();
    return this.#stopped;
  }

  /** Leaves no process behind, in no order; the database recovers at the next start. */
  kill(): void {
    for (const child of this.#children) child.kill();
    if (!this.#postgres) return;
    try {
      process.kill(this.#postgres.pid, 'SIGQUIT');
    } catch {
      // It has ended already.
    }
  }
}

/**
 * A session lock of Postgres vanishes with its holder, however that ends. The holder's process number travels in the name of
 * its session, for the message to others.
 */
async function takeInstallationLock(url: string, directory: string): Promise<Client> {
  const client = new Client({ connectionString: url, ssl: false, application_name: `defarm start ${process.pid}` });
  client.on('error', () => undefined);
  await client.connect();
  try {
    for (let attempt = 0; ; attempt += 1) {
      const { rows } = await client.query<{ locked: boolean }>(
        'select pg_try_advisory_lock($1, $2) locked',
        installationLock,
      );
      if (rows[0]?.locked) return client;
      const holder = await findLockHolder(client);
      // The session of a holder that was killed a moment ago may still be on its way out.
      if (attempt >= 20 || (holder !== undefined && isAlive(holder))) throw new AlreadyRunningError(directory, holder);
      await delay(100);
    }
  } catch (error) {
    await client.end();
    throw error;
  }
}

async function findLockHolder(client: Client): Promise<number | undefined> {
  const { rows } = await client.query<{ application_name: string }>(
    `select application_name from pg_locks join pg_stat_activity using (pid)
     where locktype = 'advisory' and classid = $1 and objid = $2 and objsubid = 2 and granted
       and pg_locks.database = (select oid from pg_database where datname = current_database())`,
    installationLock,
  );
  const holder = /^defarm start (\d+)$/.exec(rows[0]?.application_name ?? '')?.[1];
  return holder === undefined ? undefined : Number(holder);
}

/** The port itself, or for 0 one that is free; says so before any process starts when a stranger has it. */
async function reservePort(port: number): Promise<number> {
  const deadline = Date.now() + portWaitMs;
  for (;;) {
    const found = await tryPort(port);
    if (found !== undefined) return found;
    if (Date.now() > deadline) {
      throw new Error(
        `Port ${port} is in use by another program. Choose another one, for example: PORT=${port + 1} npm start`,
      );
    }
    await delay(200);
  }
}

function tryPort(port: number): Promise<number | undefined> {
  const { promise, resolve, reject } = Promise.withResolvers<number | undefined>();
  const server = createServer();
  server.once('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EADDRINUSE') resolve(undefined);
    else if (error.code === 'EACCES')
      reject(new Error(`Port ${port} may not be used by this user; choose one above 1023.`));
    else reject(error);
  });
  server.listen(port, () => {
    const address = server.address();
    server.close(() => resolve(address !== null && typeof address === 'object' ? address.port : port));
  });
  return promise;
}

interface KeptCredentials {
  base_url: string;
  api_key: string;
  email: string;
  password: string;
}

/**
 * Makes the first administrator of an empty database and keeps the credentials in a file that only its owner can read.
 * The file is written before they are created and gets its name afterwards, so that a stop in between loses neither.
 */
async function keepCredentials(databaseUrl: string, directory: string, baseUrl: string): Promise<void> {
  const path = join(directory, 'credentials.json');
  const kept = await readCredentials(path);
  if (kept) {
    if (kept.base_url !== baseUrl) await writeCredentials(path, { ...kept, base_url: baseUrl });
    return;
  }
  const prepared = await readCredentials(`${path}.new`);
  const madeUp = makeUpCredentials();
  const credentials = prepared ?? {
    base_url: baseUrl,
    api_key: madeUp.apiKey,
    email: madeUp.email,
    password: madeUp.password,
  };
  await writeCredentials(`${path}.new`, { ...credentials, base_url: baseUrl });
  const isCreated = await bootstrapInstallation(databaseUrl, {
    email: credentials.email,
    password: credentials.password,
    apiKey: credentials.api_key,
  });
  if (!isCreated && !prepared) {
    // The database has its credentials from before; those just made up open nothing.
    await rm(`${path}.new`, { force: true });
    return;
  }
  await rename(`${path}.new`, path);
  say(`The first credentials are kept in ${path}`);
  // Output that is not a terminal ends in log files.
  if (!process.stdout.isTTY) return;
  say(
    `  e-mail    ${credentials.email}\n  password  ${credentials.password}\n  API key   ${credentials.api_key}\nThey are shown this once only.`,
  );
}

async function readCredentials(path: string): Promise<KeptCredentials | undefined> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as KeptCredentials;
  } catch {
    return undefined;
  }
}

/** By way of a new file: one that lies there already may be readable by others. */
async function writeCredentials(path: string, credentials: KeptCredentials): Promise<void> {
  const written = `${path}.${process.pid}`;
  await rm(written, { force: true });
  await writeFile(written, `${JSON.stringify(credentials, undefined, 2)}\n`, { mode: 0o600, flag: 'wx', flush: true });
  await rename(written, path);
}

async function announceWhenReady(baseUrl: string, signal: AbortSignal): Promise<void> {
  const startedAt = Date.now();
  let hasComplained = false;
  while (!signal.aborted) {
    const answer = await askReadiness(baseUrl, signal);
    if (answer === true) {
      say(`DeFarm is ready.\n  API     ${baseUrl}\n  Docs    ${baseUrl}/docs\n  Queues  ${baseUrl}/admin/queues`);
      return;
    }
    if (!hasComplained && Date.now() - startedAt > 20_000) {
      hasComplained = true;
      say(`Not ready after 20 s; still waiting. ${baseUrl}/health/ready says: ${answer}`);
    }
    await delay(200, undefined, { signal }).catch(() => undefined);
  }
}

async function askReadiness(baseUrl: string, signal: AbortSignal): Promise<true | string> {
  try {
    const response = await fetch(`${baseUrl}/health/ready`, {
      signal: AbortSignal.any([signal, AbortSignal.timeout(5000)]),
    });
    const body = await response.text();
    return response.status === 200 || `${response.status} ${body.slice(0, 500)}`;
  } catch {
    return 'no answer';
  }
}

function stopOnSignals(installation: Installation): void {
  let firstAt: number | undefined;
  const onSignal = () => {
    const now = Date.now();
    if (firstAt === undefined) {
      firstAt = now;
      say('Stopping.');
      void endWith(installation);
    } else if (now - firstAt > repeatedSignalMs) {
      installation.kill();
      process.exit(1);
    }
  };
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, onSignal);
}

async function endWith(installation: Installation): Promise<never> {
  try {
    await installation.stop();
  } catch (error) {
    complain(error);
    process.exitCode = 1;
    installation.kill();
  }
  process.exit();
}

async function start(installation: Installation, directory: string): Promise<void> {
  const config = readConfigOrExit();
  const lines = await readProcfile(processNames);
  // The lock comes before the port: a second start should hear of the first one, not of a port.
  const databaseUrl = config.DATABASE_URL ?? (await installation.openDatabase(directory));
  const port = await reservePort(config.PORT);
  const baseUrl = `http://localhost:${port}`;
  for (const line of await prepareDatabase(config, databaseUrl)) say(line);
  const isEmbedded = config.DATABASE_URL === undefined;
  if (isEmbedded) await keepCredentials(databaseUrl, directory, baseUrl);
  const kept = isEmbedded ? await keepSecrets(directory, config) : {};
  if (installation.signal.aborted) return;
  for (const line of lines) {
    installation.run(line, { ...process.env, ...kept, DATABASE_URL: databaseUrl, PORT: String(port) });
  }
  await announceWhenReady(baseUrl, installation.signal);
}

const command = new Command('npm start --')
  .description('Runs DeFarm on this machine: an embedded PostgreSQL, the API and the workers.')
  .option('--data <folder>', 'where everything is kept', '.defarm')
  .parse();
const installation = new Installation();
stopOnSignals(installation);
try {
  await start(installation, resolvePath(command.opts<{ data: string }>().data));
} catch (error) {
  if (!installation.signal.aborted) {
    complain(error);
    process.exitCode = 1;
    await endWith(installation);
  }
}
