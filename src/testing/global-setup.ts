import { readRunningPostgresUrl, startEmbeddedPostgres } from '#platform/embedded-postgres.ts';
import { runMigrations } from '#platform/migrations.ts';
import { isAlive } from '#platform/process-life.ts';
import { rmSync } from 'node:fs';
import { mkdtemp, readFile, readdir, readlink, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { TestProject } from 'vitest/node';
import { createTemplate } from './database.ts';
import { startRedisServer } from './redis.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** The server of the tests; databases are made with `createTestDatabase`. */
    postgresUrl: string;
    /** Null when no redis-server is installed. */
    redisUrl: string | null;
  }
}

const folderPrefix = 'defarm-tests-';
const undo: (() => Promise<unknown>)[] = [];

/** Starts what the tests need before the first file runs. What was started stays known to {@link teardown} if a later step fails. */
export async function setup(project: TestProject): Promise<void> {
  try {
    await removeLeftovers();
    const folder = await mkdtemp(join(tmpdir(), `${folderPrefix}${process.pid}-`));
    undo.push(() => rm(folder, { recursive: true, force: true }));
    project.provide('postgresUrl', await startPostgres(folder));
    project.provide('redisUrl', await startRedis(folder));
  } catch (error) {
    await teardown();
    throw error;
  }
}

/** Stops and removes all that {@link setup} made, last things first. */
export async function teardown(): Promise<void> {
  for (let step = undo.pop(); step; step = undo.pop()) await step();
}

async function startPostgres(folder: string): Promise<string> {
  const postgres = await startEmbeddedPostgres({
    directory: folder,
    fsync: false,
    settings: { max_connections: '300' },
  });
  // Root's data may lie elsewhere, where the user that runs the server can reach them.
  undo.push(() => rm(dirname(postgres.dataDirectory), { recursive: true, force: true }));
  undo.push(() => postgres.stop());
  endWithThisProcess(postgres.pid, [folder, dirname(postgres.dataDirectory), socketFolderOf(postgres.url)]);
  await createTemplate(postgres.url, runMigrations);
  return postgres.url;
}

async function startRedis(folder: string): Promise<string | null> {
  const redis = await startRedisServer(folder);
  if (!redis) {
    const line = '!'.repeat(100);
    process.stderr.write(
      `\n${line}\nNo redis-server on the PATH: THE REDIS HALF OF THE QUEUE TESTS IS SKIPPED.\n${line}\n\n`,
    );
    return null;
  }
  undo.push(() => redis.stop());
  endWithThisProcess(redis.pid, []);
  return redis.url;
}

/** Ctrl-C ends vitest without a teardown; nothing but the last moment of the process is left then, which cannot wait. */
function endWithThisProcess(pid: number, folders: readonly string[]): void {
  const onExit = () => {
    process.kill(pid, 'SIGKILL');
    for (const folder of folders) rmSync(folder, { recursive: true, force: true });
  };
  process.once('exit', onExit);
  undo.push(async () => process.off('exit', onExit));
}

function socketFolderOf(url: string): string {
  return decodeURIComponent(new URL(url).hostname);
}

/** Ends the servers and removes the folders of runs that were killed. */
async function removeLeftovers(): Promise<void> {
  const names = await readdir(tmpdir());
  await Promise.all(
    names.map(async (name) => {
      const pid = new RegExp(`^${folderPrefix}(\\d+)-`).exec(name)?.[1];
      if (pid === undefined || isAlive(Number(pid))) return;
      const folder = join(tmpdir(), name);
      await stopLeftPostgres(folder);
      await stopLeftRedis(folder);
      await rm(folder, { recursive: true, force: true });
    }),
  );
}

async function stopLeftPostgres(directory: string): Promise<void> {
  if ((await readRunningPostgresUrl(directory)) === undefined) return;
  // Taking it over is the way to get at its stop.
  const postgres = await startEmbeddedPostgres({ directory, fsync: false });
  await postgres.stop();
}

async function stopLeftRedis(folder: string): Promise<void> {
  const pid = Number(await readFile(join(folder, 'redis.pid'), 'utf8').catch(() => '0'));
  // The number may belong to another process by now; the working folder tells.
  const workingFolder = pid > 0 ? await readlink(`/proc/${pid}/cwd`).catch(() => undefined) : undefined;
  if (workingFolder === folder) process.kill(pid, 'SIGKILL');
}
