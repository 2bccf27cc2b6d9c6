import { findFreePort } from '../../testing/free-port.ts';
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { Redis } from 'ioredis';
import { waitFor } from './waiting.ts';

const startTimeoutMs = 10_000;

/** A real redis-server of a scenario's own that can be killed, emptied and started again on the same port. */
export class RedisServer {
  readonly port: number;
  readonly #folder: string;
  readonly #isAppendOnly: boolean;
  #child: ChildProcess | undefined;

  private constructor(port: number, folder: string, isAppendOnly: boolean) {
    this.port = port;
    this.#folder = folder;
    this.#isAppendOnly = isAppendOnly;
  }

  /** Prepares a server; with `isAppendOnly` its jobs survive a restart, as in production, else it comes back empty. */
  static async prepare(folder: string, { isAppendOnly }: { isAppendOnly: boolean }): Promise<RedisServer> {
    await mkdir(folder, { recursive: true });
    return new RedisServer(await findFreePort(), folder, isAppendOnly);
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  /** Undefined while it is stopped. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  async start(): Promise<void> {
    const flags = {
      port: this.port,
      bind: '127.0.0.1',
      save: '',
      appendonly: this.#isAppendOnly ? 'yes' : 'no',
      'maxmemory-policy': 'noeviction',
      dir: this.#folder,
      logfile: 'redis.log',
    };
    const child = spawn(
      'redis-server',
      Object.entries(flags).flatMap(([name, value]) => [`--${name}`, String(value)]),
      { stdio: 'ignore' },
    );
    this.#child = child;
    let failure: Error | undefined;
    child.once('error', (error) => (failure = error));
    await waitFor('the start of redis-server', startTimeoutMs, async () => {
      if (failure) throw new Error('redis-server cannot be started; install it first', { cause: failure });
      if (child.exitCode !== null) throw new Error(`redis-server ended with ${child.exitCode}`);
      return this.run((redis) => redis.ping()).catch(() => undefined);
    });
  }

  /** `kill -9`. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (!child) return;
    this.#child = undefined;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await ended;
  }

  async flushAll(): Promise<void> {
    await this.run((redis) => redis.flushall());
  }

  /** Runs commands on a connection of their own. */
  async run<Result>(commands: (redis: Redis) => Promise<Result>): Promise<Result> {
    const redis = new Redis(this.url, { lazyConnect: true, maxRetriesPerRequest: 0, retryStrategy: () => null });
    redis.on('error', () => undefined);
    try {
      await redis.connect();
      return await commands(redis);
    } finally {
      redis.disconnect();
    }
  }
}
