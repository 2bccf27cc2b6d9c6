import { findFreePort } from '../../testing/free-port.ts';
import { readRunningPostgresUrl, startEmbeddedPostgres } from '#platform/embedded-postgres.ts';
import { Redis } from 'ioredis';
import { spawn } from 'node:child_process';
import { mkdir, readFile, readlink, rm, writeFile } from 'node:fs/promises';
import { totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { BenchFault } from './report.ts';
import type { WatchedProcess } from './process-watch.ts';

/** A quarter of the memory, as PostgreSQL's manual advises for a server of its own (19.4.1, shared_buffers). */
const sharedBuffersMib = Math.floor(totalmem() / 4 / 1_048_576);
const postgresSettings = { shared_buffers: `${sharedBuffersMib}MB`, max_wal_size: '4GB', max_connections: '200' };
const redisSettings = { save: '', appendonly: 'yes', appendfsync: 'everysec', 'maxmemory-policy': 'noeviction' };
const redisStartMs = 10_000;

/** The Postgres and the Redis of a bench run, which nobody else uses. */
export interface BenchServers {
  /** The URL of a database, which need not exist yet. */
  postgresUrl(database: string): string;
  /** Where the server itself may write files. */
  readonly postgresFolder: string;
  readonly redis: Redis;
  readonly redisUrl: string;
  readonly redisVersion: string;
  readonly redisSettings: Readonly<Record<string, string>>;
  readonly processes: readonly WatchedProcess[];
  stop(): Promise<void>;
}

/** Starts both on an empty folder; what an earlier run that was killed left there is stopped and removed. */
export async function startServers(folder: string): Promise<BenchServers> {
  await removeLeftovers(folder);
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'bench.pid'), String(process.pid));
  const directory = join(folder, 'database');
  const postgres = await startEmbeddedPostgres({ directory, settings: postgresSettings });
  const stopPostgres = async () => {
    await postgres.stop();
    await removeDatabase(directory, postgres.dataDirectory);
  };
  try {
    const redis = await startRedis(join(folder, 'redis'));
    const version = /redis_version:(\S+)/.exec(await redis.connection.info('server'))?.[1] ?? 'unknown';
    return {
      postgresUrl: (database) => postgres.url.replace(/\/[^/]*$/, `/${encodeURIComponent(database)}`),
      postgresFolder: postgres.dataDirectory,
      redis: redis.connection,
      redisUrl: redis.url,
      redisVersion: version,
      redisSettings,
      processes: [
        { name: 'postgres', pid: postgres.pid, withChildren: true },
        { name: 'redis', pid: redis.pid },
      ],
      async stop() {
        await redis.stop();
        await stopPostgres();
      },
    };
  } catch (error) {
    await stopPostgres();
    throw error;
  }
}

/** Root's data may lie elsewhere, where the user that runs the server can reach them. */
async function removeDatabase(directory: string, dataDirectory: string): Promise<void> {
  for (const path of [dirname(dataDirectory), directory]) await rm(path, { recursive: true, force: true });
}

async function removeLeftovers(folder: string): Promise<void> {
  const holder = Number(await readFile(join(folder, 'bench.pid'), 'utf8').catch(() => '0'));
  if (await isProcessIn(holder, process.cwd(), 'bench')) {
    throw new BenchFault(`Another bench (process ${holder}) runs on ${folder}.`);
  }
  const directory = join(folder, 'database');
  if ((await readRunningPostgresUrl(directory)) !== undefined) {
    // Taking it over is the way to get at its stop.
    const left = await startEmbeddedPostgres({ directory });
    await left.stop();
    await removeDatabase(directory, left.dataDirectory);
  }
  const redisPid = Number(await readFile(join(folder, 'redis', 'redis.pid'), 'utf8').catch(() => '0'));
  if (await isProcessIn(redisPid, join(folder, 'redis'), 'redis-server')) process.kill(redisPid, 'SIGKILL');
  await rm(folder, { recursive: true, force: true });
}

/** A number in a file may belong to any other process by now; its working folder and command line tell. */
async function isProcessIn(pid: number, workingFolder: string, word: string): Promise<boolean> {
  if (!(pid > 0)) return false;
  const cwd = await readlink(`/proc/${pid}/cwd`).catch(() => undefined);
  const commandLine = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
  return cwd === workingFolder && commandLine.includes(word);
}

async function startRedis(folder: string) {
  await mkdir(folder, { recursive: true });
  const port = await findFreePort();
  const flags = { port, bind: '127.0.0.1', dir: folder, ...redisSettings };
  const child = spawn(
    'redis-server',
    Object.entries(flags).flatMap(([name, value]) => [`--${name}`, String(value)]),
    { cwd: folder, stdio: 'ignore' },
  );
  const ended = new Promise<Error>((resolve) => {
    child.once('error', (error) => resolve(new BenchFault(`redis-server does not start: ${error.message}`)));
    child.once('exit', (code) => resolve(new BenchFault(`redis-server ended with ${String(code)}`)));
  });
  const url = `redis://127.0.0.1:${port}`;
  const connection = new Redis(url, { maxRetriesPerRequest: null, retryStrategy: () => 50 });
  connection.on('error', () => undefined);
  const late = delay(redisStartMs, new BenchFault('redis-server does not answer'), { ref: false });
  const fault = await Promise.race([connection.ping().then(() => undefined), ended, late]);
  const stop = async () => {
    connection.disconnect();
    child.kill('SIGKILL');
    await ended;
  };
  if (fault || child.pid === undefined) {
    await stop();
    throw fault ?? new BenchFault('redis-server does not start');
  }
  await writeFile(join(folder, 'redis.pid'), String(child.pid));
  return { connection, url, pid: child.pid, stop };
}
