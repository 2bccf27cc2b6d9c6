import {
  dataDirectoryOf,
  findPostgresHome,
  isMissing,
  passwordFileOf,
  preparePostgresHost,
  prepareSocketFolder,
  readIfPresent,
  runAs,
  statIfPresent,
  type PostgresHost,
  type ServerAccount,
} from '#platform/embedded-postgres-host.ts';
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import {
  chown,
  mkdir,
  mkdtemp,
  open,
  readFile,
  readdir,
  readlink,
  realpath,
  rename,
  rm,
  rmdir,
  writeFile,
} from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { basename, dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { Client, escapeIdentifier } from 'pg';

const superuser = 'defarm';
/** Created when missing. */
const databaseName = 'defarm';
const stagingPrefix = 'postgres.new-';
const pollMs = 25;
/** Recovery after a crash replays up to max_wal_size of log; nothing answers until it is done. */
const readyTimeoutMs = 600_000;
/** After this long a fast shutdown is turned into an immediate one, which costs a recovery at the next start and no data. */
const fastShutdownMs = 4000;
const immediateShutdownMs = 6000;
/** Server processes whose postmaster was killed notice it by themselves; until then they hold the data folder. */
const staleLockTimeoutMs = 90_000;
const maximumLogBytes = 16 * 1024 * 1024;

const defaultSettings: Record<string, string> = {
  shared_buffers: '128MB',
  max_connections: '100',
  max_wal_size: '2GB',
  wal_compression: 'off',
  jit: 'off',
  timezone: 'UTC',
  log_timezone: 'UTC',
  log_line_prefix: '%m [%p] ',
};

/** What {@link startEmbeddedPostgres} starts. */
export interface EmbeddedPostgresOptions {
  /** The folder of the installation, made with mode 0700 when missing; data, password and log lie in it. */
  readonly directory: string;
  /** Server settings on top of the defaults, for example `{ max_connections: '300' }`. */
  readonly settings?: Record<string, string>;
  /** False only for tests: a crash of the machine may then ruin the data. */
  readonly fsync?: boolean;
}

/** A server that accepts connections. It outlives this process unless {@link EmbeddedPostgres.stop} is called. */
export interface EmbeddedPostgres {
  /** `postgres://user:password@%2Fsocket%2Ffolder:5432/database`, understood by pg, knex and libpq. */
  readonly url: string;
  readonly dataDirectory: string;
  readonly pid: number;
  /** Ends all sessions, writes a checkpoint and waits until the server is gone. Further calls wait for the first. */
  stop(): Promise<void>;
}

/** What postmaster.pid says of a server that was found to run on its data folder. */
interface RunningServer {
  readonly pid: number;
  readonly socketFolder: string;
}

/**
 * Starts PostgreSQL on the folder, or takes over the server that already runs on it, such as one whose starter was killed.
 * Whoever needs to be alone takes an advisory lock in the database. Starts on one folder at the same moment wait for each
 * other. Rejects with the last lines of the server's log when it does not come up.
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  // Only the folder itself is closed: parents with mode 0700 would shut out the user that runs the server for root.
  await mkdir(dirname(options.directory), { recursive: true });
  await mkdir(options.directory, { recursive: true, mode: 0o700 });
  const directory = await realpath(options.directory);
  const startLock = await waitForStartLock(directory);
  try {
    const host = await preparePostgresHost(directory);
    const password = await readOrMakePassword(host);
    await initialiseData(host, options);
    const server = await launchOrAdopt(host, password, options);
    await createDatabaseIfMissing(makeUrl(password, server.socketFolder, 'postgres'));
    const dataDirectory = dataDirectoryOf(host.home);
    let stopping: Promise<void> | undefined;
    return {
      url: makeUrl(password, server.socketFolder, databaseName),
      dataDirectory,
      pid: server.pid,
      stop: () => (stopping ??= stopServer(server, directory, dataDirectory)),
    };
  } finally {
    startLock.close();
  }
}

/**
 * The URL of the database of the server that runs on the folder; undefined when none runs or none was ever made there.
 * Rejects when the folder belongs to another user.
 */
export async function readRunningPostgresUrl(directory: string): Promise<string | undefined> {
  let home: string;
  try {
    home = await findPostgresHome(await realpath(directory));
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
  const password = await readIfPresent(passwordFileOf(home));
  const server = await findRunningServer(dataDirectoryOf(home));
  return password === undefined || !server ? undefined : makeUrl(password.trim(), server.socketFolder, databaseName);
}

/** The port is written out because it names the socket's file, and PGPORT would replace an absent one. */
function makeUrl(password: string, socketFolder: string, database: string): string {
  return `postgres://${superuser}:${password}@${encodeURIComponent(socketFolder)}:5432/${encodeURIComponent(database)}`;
}

/** An abstract socket as a lock: the kernel frees it with its holder, so that no stale lock can remain. */
function tryStartLock(directory: string): Promise<Server | undefined> {
  const name = createHash('sha256').update(directory).digest('hex').slice(0, 32);
  const { promise, resolve, reject } = Promise.withResolvers<Server | undefined>();
  const server = createServer((socket) => socket.destroy());
  server.once('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EADDRINUSE') resolve(undefined);
    else reject(error);
  });
  server.listen({ path: `\0defarm-postgres-${name}` }, () => resolve(server.unref()));
  return promise;
}

async function waitForStartLock(directory: string): Promise<Server> {
  const deadline = Date.now() + readyTimeoutMs;
  for (;;) {
    const lock = await tryStartLock(directory);
    if (lock) return lock;
    if (Date.now() > deadline) throw new Error(`Another start on ${directory} has not ended for ${readyTimeoutMs} ms.`);
    await delay(pollMs);
  }
}

async function readOrMakePassword(host: PostgresHost): Promise<string> {
  const path = passwordFileOf(host.home);
  const known = (await readIfPresent(path))?.trim();
  if (known) return known;
  if (await isInitialised(host)) {
    throw new Error(
      `${path} is missing, and without it the database in ${dataDirectoryOf(host.home)} cannot be opened.`,
    );
  }
  const password = randomBytes(32).toString('base64url');
  // By way of a second file, so that a kill in between leaves no empty password behind.
  await writeFile(`${path}.new`, `${password}\n`, { mode: 0o600, flush: true });
  await rename(`${path}.new`, path);
  return password;
}

async function isInitialised(host: PostgresHost): Promise<boolean> {
  return (await statIfPresent(dataDirectoryOf(host.home))) !== undefined;
}

/** Fills a folder beside the final one and renames it, so that an interrupted initdb never looks like a database. */
async function initialiseData(host: PostgresHost, { fsync = true }: EmbeddedPostgresOptions): Promise<void> {
  if (await isInitialised(host)) return;
  const leftovers = (await readdir(host.home)).filter((name) => name.startsWith(stagingPrefix));
  await Promise.all(leftovers.map((name) => rm(join(host.home, name), { recursive: true, force: true })));
  const staging = await mkdtemp(join(host.home, stagingPrefix));
  const passwordFile = join(staging, 'password');
  const data = join(staging, 'data');
  try {
    await writeFile(passwordFile, await readFile(passwordFileOf(host.home)), { mode: 0o600 });
    if (host.account) {
      const { uid, gid } = host.account;
      await Promise.all([chown(passwordFile, uid, gid), chown(staging, uid, gid)]);
    }
    await runInitdb(host, [
      `--pgdata=${data}`,
      `--pwfile=${passwordFile}`,
      `--username=${superuser}`,
      '--auth=scram-sha-256',
      '--encoding=UTF8',
      '--locale=C.UTF-8',
      '--data-checksums',
      ...(fsync ? [] : ['--no-sync']),
    ]);
    await rename(data, dataDirectoryOf(host.home));
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
}

async function runInitdb(host: PostgresHost, flags: string[]): Promise<void> {
  try {
    await promisify(execFile)(join(host.installation, 'bin', 'initdb'), flags, runAs(host.account));
  } catch (cause) {
    const said = cause instanceof Error && 'stderr' in cause ? String(cause.stderr).trim() : String(cause);
    throw new Error(`PostgreSQL could not set up its data folder: ${said}`, { cause });
  }
}

async function launchOrAdopt(
  host: PostgresHost,
  password: string,
  options: EmbeddedPostgresOptions,
): Promise<RunningServer> {
  const dataDirectory = dataDirectoryOf(host.home);
  const deadline = Date.now() + staleLockTimeoutMs;
  for (;;) {
    const running = await findRunningServer(dataDirectory);
    // One that is shutting down turns into none, and then ours is launched.
    if (running && (await waitUntilReady(running, password, dataDirectory))) return running;
    if (running) continue;
    const launched = await launch(host, password, options);
    if (typeof launched !== 'string') return launched;
    const isHeldByDyingProcesses = /pre-existing shared memory block/.test(launched);
    if (!isHeldByDyingProcesses || Date.now() > deadline)
      throw new Error(`PostgreSQL did not start. It said:\n${launched}`);
    await delay(10 * pollMs);
  }
}

/** Resolves to the end of the log when the server ends instead of becoming ready. */
async function launch(
  host: PostgresHost,
  password: string,
  options: EmbeddedPostgresOptions,
): Promise<RunningServer | string> {
  const dataDirectory = dataDirectoryOf(host.home);
  const socketFolder = await prepareSocketFolder(dataDirectory, password, host.account);
  await removeStaleLocks(dataDirectory, socketFolder);
  const logFile = join(host.home, 'postgres.log');
  const { child, logStart } = await spawnServer(host, socketFolder, logFile, options);
  if (child.pid !== undefined) {
    const server = { pid: child.pid, socketFolder };
    const hasEnded = () => child.exitCode !== null || child.signalCode !== null;
    if (await waitUntilReady(server, password, dataDirectory, hasEnded)) return server;
  }
  await rmdir(socketFolder).catch(() => undefined);
  return readLogFrom(logFile, logStart);
}

async function spawnServer(
  host: PostgresHost,
  socketFolder: string,
  logFile: string,
  options: EmbeddedPostgresOptions,
): Promise<{ child: ChildProcess; logStart: number }> {
  const settings: Record<string, string> = {
    ...defaultSettings,
    ...(options.fsync === false && { fsync: 'off' }),
    ...options.settings,
    listen_addresses: '',
    port: '5432',
    unix_socket_directories: `"${socketFolder.replaceAll('"', '""')}"`,
    unix_socket_permissions: '0700',
  };
  const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const log = await openLog(logFile, host.account);
  try {
    const { size: logStart } = await log.stat();
    const child = spawn(join(host.installation, 'bin', 'postgres'), ['-D', dataDirectoryOf(host.home), ...flags], {
      ...runAs(host.account),
      // A session of its own: Ctrl-C in the terminal must not stop the server before those who still write to it.
      detached: true,
      stdio: ['ignore', log.fd, log.fd],
    });
    child.unref();
    await new Promise((resolve, reject) => child.once('spawn', () => resolve(undefined)).once('error', reject));
    return { child, logStart };
  } finally {
    await log.close();
  }
}

async function openLog(logFile: string, account: ServerAccount | undefined) {
  const known = await statIfPresent(logFile);
  if (known && known.size > maximumLogBytes) await rename(logFile, `${logFile}.1`);
  const log = await open(logFile, 'a', 0o600);
  if (account) await log.chown(account.uid, account.gid);
  return log;
}

async function readLogFrom(logFile: string, start: number): Promise<string> {
  const log = await readFile(logFile);
  return log.subarray(start).toString('utf8').trim().split('\n').slice(-20).join('\n');
}

/** False when the server ended, or is on its way to it, before it let us in. */
async function waitUntilReady(
  { pid, socketFolder }: RunningServer,
  password: string,
  dataDirectory: string,
  hasEnded?: () => boolean,
): Promise<boolean> {
  const url = makeUrl(password, socketFolder, 'postgres');
  const deadline = Date.now() + readyTimeoutMs;
  while (Date.now() < deadline) {
    if (hasEnded ? hasEnded() : !(await isServerOn(pid, dataDirectory))) return false;
    // Every connection that comes too early is a line in the server's log.
    const { isReady } = await readPidFile(dataDirectory);
    if (isReady && (await canConnect(url))) return true;
    await delay(pollMs);
  }
  throw new Error(`PostgreSQL on ${dataDirectory} accepted no connection for ${readyTimeoutMs} ms.`);
}

async function canConnect(url: string): Promise<boolean> {
  try {
    await withClient(url, (client) => client.query('select 1'));
    return true;
  } catch (error) {
    if (isNotYetReady(error)) return false;
    throw error;
  }
}

function isNotYetReady(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  // 57P03: starting up, recovering or shutting down. 53300: the previous owner's sessions are not gone yet.
  if (['ENOENT', 'ECONNREFUSED', 'ECONNRESET', 'EPIPE', '57P01', '57P02', '57P03', '53300'].includes(String(code))) {
    return true;
  }
  return error instanceof Error && /Connection terminated|timeout expired/.test(error.message);
}

async function withClient<Result>(url: string, use: (client: Client) => Promise<Result>): Promise<Result> {
  const client = new Client({ connectionString: url, ssl: false, connectionTimeoutMillis: 10_000 });
  // Without a listener a server that ends in between would end this process too; the query rejects in any case.
  client.on('error', () => undefined);
  await client.connect();
  try {
    return await use(client);
  } finally {
    await client.end();
  }
}

async function createDatabaseIfMissing(url: string): Promise<void> {
  await withClient(url, async (client) => {
    const { rowCount } = await client.query('select 1 from pg_database where datname = $1', [databaseName]);
    if (rowCount === 0) await client.query(`create database ${escapeIdentifier(databaseName)}`);
  });
}

async function findRunningServer(dataDirectory: string): Promise<RunningServer | undefined> {
  const { pid, socketFolder } = await readPidFile(dataDirectory);
  if (pid === undefined || !(await isServerOn(pid, dataDirectory))) return undefined;
  if (socketFolder) return { pid, socketFolder };
  // The server adds the lines as it comes up; without that of the socket it has only just begun.
  await delay(pollMs);
  return findRunningServer(dataDirectory);
}

async function readPidFile(dataDirectory: string) {
  const lines = (await readIfPresent(join(dataDirectory, 'postmaster.pid')))?.split('\n') ?? [];
  const pid = Number(lines[0]);
  return {
    pid: Number.isSafeInteger(pid) && pid > 0 ? pid : undefined,
    socketFolder: lines[4],
    isReady: lines[7]?.trim() === 'ready',
  };
}

/**
 * Whether the process is a postmaster on this very data folder. A number in a file proves nothing: after a crash it may
 * belong to any other program. The working folder proves it where the data were moved while the server ran, the command
 * line where the kernel shows us no working folder of another user's process.
 */
async function isServerOn(pid: number, dataDirectory: string): Promise<boolean> {
  const [program = '', ...flags] = ((await readProcessFile(pid, 'cmdline')) ?? '').split('\0');
  if (basename(program) !== 'postgres') return false;
  if (flags[0] === '-D' && flags[1] === dataDirectory) return true;
  return (await readlink(`/proc/${pid}/cwd`).catch(() => undefined)) === dataDirectory;
}

/** Undefined for a process that is gone; empty for one that ended and was not collected yet. */
async function readProcessFile(pid: number, name: string): Promise<string | undefined> {
  return readFile(`/proc/${pid}/${name}`, 'utf8').catch(() => undefined);
}

/**
 * Removes the lock files of a server that is gone. PostgreSQL refuses to start while the process numbers in them are in use,
 * be it by a stranger or by a dead process that nobody collected. It recognises real leftovers of its own by the shared
 * memory of the data folder as well, so this takes no protection away.
 */
async function removeStaleLocks(dataDirectory: string, socketFolder: string): Promise<void> {
  const pidFile = join(dataDirectory, 'postmaster.pid');
  const socket = join(socketFolder, '.s.PGSQL.5432');
  await Promise.all([pidFile, socket, `${socket}.lock`].map((path) => rm(path, { force: true })));
}

async function stopServer({ pid, socketFolder }: RunningServer, directory: string, dataDirectory: string) {
  const isGone = async (signal: NodeJS.Signals, withinMs: number) => {
    if (await isServerOn(pid, dataDirectory)) sendSignal(pid, signal);
    const deadline = Date.now() + withinMs;
    while (await isServerOn(pid, dataDirectory)) {
      if (Date.now() > deadline) return false;
      await delay(pollMs);
    }
    return true;
  };
  if (!(await isGone('SIGINT', fastShutdownMs)) && !(await isGone('SIGQUIT', immediateShutdownMs))) {
    throw new Error(`PostgreSQL (process ${pid}) on ${dataDirectory} does not stop.`);
  }
  // Whoever holds the lock is starting a new server, whose socket lies in the same folder.
  const startLock = await tryStartLock(directory);
  if (!startLock) return;
  try {
    if (!(await findRunningServer(dataDirectory))) await rmdir(socketFolder).catch(() => undefined);
  } finally {
    startLock.close();
  }
}

function sendSignal(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    // It may end between the look and the signal.
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}
