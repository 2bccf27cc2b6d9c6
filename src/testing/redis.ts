import { findFreePort } from './free-port.ts';
import { spawn } from 'node:child_process';
import { rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { inject } from 'vitest';

const startTimeoutMs = 10_000;

/** A redis-server of the tests' own, without persistence. */
export interface RedisServer {
  readonly url: string;
  readonly pid: number;
  /** Ends it at once and waits until it is gone. Safe to repeat. */
  stop(): Promise<void>;
}

/** A logical database of the Redis that all tests share. */
export interface TestRedis {
  readonly url: string;
  /** Empties this database, as FLUSHALL would empty a server. */
  flush(): Promise<void>;
}

/**
 * Starts a redis-server on a free port of 127.0.0.1 with the given working folder; undefined when none is installed. Tests
 * that kill, stop or flush a whole server start one for themselves.
 */
export async function startRedisServer(folder: string): Promise<RedisServer | undefined> {
  // Another program may take the port between the choice and the start.
  for (let attempt = 1; ; attempt += 1) {
    const server = await tryRedisServer(folder, await findFreePort());
    if (server !== 'ended') return server;
    if (attempt === 5) throw new Error('redis-server is installed but does not start.');
  }
}

async function tryRedisServer(folder: string, port: number): Promise<RedisServer | 'ended' | undefined> {
  const flags = { port, bind: '127.0.0.1', save: '', appendonly: 'no', 'maxmemory-policy': 'noeviction', dir: folder };
  const child = spawn(
    'redis-server',
    Object.entries(flags).flatMap(([name, value]) => [`--${name}`, String(value)]),
    { cwd: folder, stdio: 'ignore' },
  );
  const ended = new Promise<'ended' | undefined>((resolve) => {
    child.once('error', () => resolve(undefined));
    child.once('exit', () => resolve('ended'));
  });
  const isUp = await Promise.race([ended, waitForPong(port).then(() => true)]);
  const { pid } = child;
  if (isUp !== true || pid === undefined) return isUp === 'ended' ? 'ended' : undefined;
  await writeFile(join(folder, 'redis.pid'), String(pid));
  return {
    url: `redis://127.0.0.1:${port}`,
    pid,
    async stop() {
      child.kill('SIGKILL');
      await ended;
      await rm(join(folder, 'redis.pid'), { force: true });
    },
  };
}

async function waitForPong(port: number): Promise<void> {
  const deadline = Date.now() + startTimeoutMs;
  while (Date.now() < deadline) {
    if (
      await sendRedisCommands(port, ['PING']).then(
        () => true,
        () => false,
      )
    )
      return;
    await delay(20);
  }
}

/** Sends inline commands and resolves when each has a one-line answer that is no error. */
function sendRedisCommands(port: number, commands: readonly string[]): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let answers = '';
  const socket = connect({ port, host: '127.0.0.1', timeout: 5000 });
  socket.on('connect', () => socket.write(commands.map((command) => `${command}\r\n`).join('')));
  socket.on('timeout', () => socket.destroy(new Error('Redis does not answer.')));
  socket.on('error', reject);
  socket.on('close', () => reject(new Error('Redis closed the connection.')));
  socket.on('data', (data) => {
    answers += data.toString();
    const lines = answers.split('\r\n').slice(0, -1);
    const refusal = lines.find((line) => line.startsWith('-'));
    if (refusal) reject(new Error(`Redis refused: ${refusal}`));
    else if (lines.length >= commands.length) resolve();
    else return;
    socket.destroy();
  });
  return promise;
}

/**
 * An empty logical database that belongs to this test file while it runs; undefined when no redis-server is installed, and
 * then the tests that need it are to be skipped. Its `url` carries the number of the database.
 */
export async function testRedis(): Promise<TestRedis | undefined> {
  const serverUrl = inject('redisUrl');
  if (serverUrl === null) return undefined;
  // Files that share this number run one after another.
  const database = Number(process.env['VITEST_POOL_ID'] ?? 1) % 16;
  const flush = () => sendRedisCommands(Number(new URL(serverUrl).port), [`SELECT ${database}`, 'FLUSHDB']);
  await flush();
  return { url: `${serverUrl}/${database}`, flush };
}
