import { readRunningPostgresUrl, startEmbeddedPostgres, type EmbeddedPostgres } from '#platform/embedded-postgres.ts';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { lstat, mkdir, mkdtemp, readFile, readlink, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { Client } from 'pg';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';

let parent: string;
let directory: string;
const servers = new Set<EmbeddedPostgres>();

beforeAll(async () => {
  parent = await mkdtemp(join(tmpdir(), 'defarm-embedded-'));
  // Long enough that no socket would fit beside the data.
  directory = join(parent, 'a'.repeat(150), 'installation');
  if (process.getuid?.() === 0) await promisify(execFile)('chmod', ['755', parent]);
});

afterEach(async () => {
  await Promise.all(Array.from(servers, (server) => server.stop()));
  servers.clear();
});

afterAll(() => rm(parent, { recursive: true, force: true }));

async function startOn(folder: string): Promise<EmbeddedPostgres> {
  const server = await startEmbeddedPostgres({ directory: folder, settings: { max_connections: '10' } });
  servers.add(server);
  return server;
}

async function ask(url: string, statement: string): Promise<Record<string, unknown>> {
  const client = new Client({ connectionString: url });
  client.on('error', () => undefined);
  await client.connect();
  try {
    const { rows } = await client.query<Record<string, unknown>>(statement);
    return rows[0] ?? {};
  } finally {
    await client.end();
  }
}

function socketFolderOf({ url }: EmbeddedPostgres): string {
  return decodeURIComponent(new URL(url).hostname);
}

function isRunning(pid: number): boolean {
  // A process that ended and was not collected yet has no working folder.
  return existsSync(`/proc/${pid}/cwd`);
}

it('listens on a private socket only, behind a random password, and writes through to the disk', async () => {
  const server = await startOn(directory);
  const facts = `select current_setting('listen_addresses') listen, current_setting('fsync') fsync,
    current_setting('data_checksums') checksums, current_setting('max_connections') connections,
    pg_encoding_to_char(encoding) encoding, rolpassword ~ '^SCRAM-SHA-256' scram
    from pg_database, pg_authid where datname = 'defarm' and rolname = 'defarm'`;
  expect(await ask(server.url, facts)).toEqual({
    listen: '',
    fsync: 'on',
    checksums: 'on',
    connections: '10',
    encoding: 'UTF8',
    scram: true,
  });
  const hostBased = await readFile(join(server.dataDirectory, 'pg_hba.conf'), 'utf8');
  expect(hostBased).not.toMatch(/^[^#].*\btrust\b/m);
  const folder = await stat(socketFolderOf(server));
  expect(folder.mode & 0o777).toBe(0o700);
  expect((await stat(join(directory, 'postgres.password'))).mode & 0o777).toBe(0o600);
  await expect(ask(server.url.replace(/:[^:@]+@/, ':wrong@'), 'select 1')).rejects.toMatchObject({ code: '28P01' });
});

it('gives its URL to others while it runs, and leaves neither process nor socket when it stops', async () => {
  const server = await startOn(directory);
  expect(await readRunningPostgresUrl(directory)).toBe(server.url);
  await Promise.all([server.stop(), server.stop()]);
  expect(isRunning(server.pid)).toBe(false);
  expect(existsSync(socketFolderOf(server))).toBe(false);
  expect(await readRunningPostgresUrl(directory)).toBeUndefined();
  expect(await readRunningPostgresUrl(join(parent, 'never-made'))).toBeUndefined();
});

it('keeps what was committed through a kill -9 of the server', async () => {
  const killed = await startOn(directory);
  await ask(killed.url, 'create table kept (word text)');
  await ask(killed.url, `insert into kept values ('kept')`);
  process.kill(killed.pid, 'SIGKILL');
  const next = await startOn(directory);
  expect(next.pid).not.toBe(killed.pid);
  expect(next.url).toBe(killed.url);
  expect(await ask(next.url, 'select word from kept')).toEqual({ word: 'kept' });
});

it('takes over a server whose starter was killed', async () => {
  const module = join(import.meta.dirname, 'embedded-postgres.ts');
  const script = `const { startEmbeddedPostgres } = await import(${JSON.stringify(module)});
    const { pid } = await startEmbeddedPostgres({ directory: ${JSON.stringify(directory)} });
    process.stdout.write(String(pid), () => process.kill(process.pid, 'SIGKILL'));`;
  const starter = spawn(process.execPath, ['--input-type=module', '--eval', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let printed = '';
  starter.stdout.on('data', (data: Buffer) => (printed += data.toString()));
  await once(starter, 'close');
  expect(starter.signalCode).toBe('SIGKILL');
  const server = await startOn(directory);
  expect(server.pid).toBe(Number(printed));
  await server.stop();
  expect(isRunning(server.pid)).toBe(false);
});

it('is one server for starts at the same moment', async () => {
  const started = await Promise.all([startOn(directory), startOn(directory), startOn(directory)]);
  expect(new Set(started.map(({ pid }) => pid)).size).toBe(1);
});

it('never harms a stranger that has the process number of a stale postmaster.pid', async () => {
  const stranger = spawn('sleep', ['60']);
  try {
    const { pid } = stranger;
    if (pid === undefined) throw new Error('sleep did not start');
    await writeFile(
      join(directory, 'postgres', 'postmaster.pid'),
      `${pid}\n${directory}/postgres\n1\n5432\n/tmp\n\n\nready\n`,
    );
    expect(await readRunningPostgresUrl(directory)).toBeUndefined();
    const server = await startOn(directory);
    expect(server.pid).not.toBe(pid);
    await server.stop();
    expect(stranger.exitCode ?? stranger.signalCode).toBeNull();
    expect(isRunning(pid)).toBe(true);
  } finally {
    stranger.kill();
  }
});

it('refuses a socket folder that somebody else laid out', async () => {
  const first = await startOn(directory);
  await first.stop();
  const folder = socketFolderOf(first);
  await symlink(parent, folder);
  try {
    await expect(startOn(directory)).rejects.toThrow('not a private folder');
    expect(await readlink(folder)).toBe(parent);
  } finally {
    await rm(folder);
  }
});

it('says what the server said when it does not come up', async () => {
  const start = startEmbeddedPostgres({ directory, settings: { shared_buffers: 'plenty' } });
  await expect(start).rejects.toThrow(/invalid value for parameter "shared_buffers"/);
  expect(await readRunningPostgresUrl(directory)).toBeUndefined();
});

it.runIf(process.getuid?.() === 0)(
  'keeps the data of root where the user that runs the server can reach them',
  async () => {
    const closed = join(parent, 'closed');
    await mkdir(closed, { mode: 0o700 });
    const first = await startOn(join(closed, 'installation'));
    const home = dirname(first.dataDirectory);
    try {
      expect(home).toMatch(/^\/var\/lib\/defarm\/[0-9a-f]{16}$/);
      expect((await lstat(first.dataDirectory)).uid).not.toBe(0);
      await ask(first.url, 'create table kept (word text)');
      await first.stop();
      const second = await startOn(join(closed, 'installation'));
      expect(second.dataDirectory).toBe(first.dataDirectory);
      expect(await ask(second.url, 'select count(*)::int from kept')).toEqual({ count: 0 });
      await second.stop();
      await rm(home, { recursive: true });
      await expect(startOn(join(closed, 'installation'))).rejects.toThrow('which does not exist');
    } finally {
      await rm(home, { recursive: true, force: true });
    }
  },
);
