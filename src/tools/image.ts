import { findFreePort } from '../testing/free-port.ts';
import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, cpSync, globSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { startEmbeddedPostgres } from '#platform/embedded-postgres.ts';

/**
 * Performs what the Dockerfile says in an empty folder, where no Docker engine is at hand: copies what .dockerignore lets
 * through, runs the install step, and starts the release, web and worker commands against a fresh Postgres. It reads the
 * steps from the Dockerfile and railway files themselves, so that what is tested is what they say.
 */
const repository = join(import.meta.dirname, '../..');
const lines = readFileSync(join(repository, 'Dockerfile'), 'utf8').split('\n');
const install = find(/^RUN (npm ci .*)$/);
const imageEnvironment = Object.fromEntries(
  find(/^ENV (.+)$/)
    .split(' ')
    .map((setting) => setting.split(/=(.*)/).slice(0, 2) as [string, string]),
);
const start = JSON.parse(find(/^CMD (\[.*\])$/)) as string[];
const copied = lines.flatMap((line) => /^COPY (?!--from)(.+) \S+$/.exec(line)?.[1]?.split(' ') ?? []);
const release = readDeploy('railway.json').preDeployCommand![0]!;
const worker = readDeploy('railway.worker.json').startCommand;

function find(pattern: RegExp): string {
  const found = lines.map((line) => pattern.exec(line)?.[1]).find((text) => text !== undefined);
  if (found === undefined) throw new Error(`the Dockerfile has no line like ${pattern}`);
  return found;
}

function readDeploy(file: string): { startCommand: string; preDeployCommand?: string[] } {
  return (
    JSON.parse(readFileSync(join(repository, file), 'utf8')) as {
      deploy: { startCommand: string; preDeployCommand?: string[] };
    }
  ).deploy;
}

/** What .dockerignore lets into the build: it refuses everything and then names what may come. */
function isInContext(path: string): boolean {
  const rules = readFileSync(join(repository, '.dockerignore'), 'utf8').split('\n').filter(Boolean);
  let isRefused = false;
  for (const rule of rules) {
    const pattern = rule
      .replace(/^!/, '')
      .replaceAll('.', '\\.')
      .replaceAll('**/', '(.*/)?')
      .replaceAll(/(?<!\.)\*(?!\/)/g, '[^/]*');
    if (new RegExp(`^${pattern}(/.*)?$`).test(path)) isRefused = !rule.startsWith('!');
  }
  return !isRefused;
}

function copyContext(folder: string): void {
  for (const name of copied) {
    const files = globSync([name, `${name}/**/*`], { cwd: repository, withFileTypes: true }).filter((entry) =>
      entry.isFile(),
    );
    for (const entry of files) {
      const source = join(entry.parentPath, entry.name);
      const path = source.slice(repository.length + 1);
      if (!isInContext(path)) continue;
      mkdirSync(dirname(join(folder, path)), { recursive: true });
      cpSync(source, join(folder, path));
    }
  }
}

async function waitForStatus(url: string, options: RequestInit, wanted: number): Promise<void> {
  for (let attempt = 0; attempt < 100; attempt += 1) {
    const status = await fetch(url, options).then(
      (response) => response.status,
      () => 0,
    );
    if (status === wanted) return;
    await delay(200);
  }
  throw new Error(`${url} did not answer ${wanted}`);
}

const folder = mkdtempSync(join(tmpdir(), 'defarm-image-'));
// As root, Postgres runs as another user, who has to get through.
chmodSync(folder, 0o711);
const postgres = await startEmbeddedPostgres({ directory: join(folder, 'database'), fsync: false });
const children: ReturnType<typeof spawn>[] = [];
try {
  const app = join(folder, 'app');
  mkdirSync(app);
  copyContext(app);
  const run = (command: string, environment: NodeJS.ProcessEnv) =>
    execFileSync('/bin/sh', ['-c', command], { cwd: app, stdio: ['ignore', 'inherit', 'inherit'], env: environment });
  run(install, process.env);
  const key = `dfm_${'i'.repeat(40)}`;
  const port = await findFreePort();
  const environment = {
    PATH: `${dirname(process.execPath)}:${process.env['PATH']}`,
    ...imageEnvironment,
    DATABASE_URL: postgres.url,
    PORT: String(port),
    BOOTSTRAP_API_KEY: key,
  };
  run(release, environment);
  for (const [program, ...programArguments] of [start, worker.split(' ')]) {
    children.push(
      spawn(program!, programArguments, { cwd: app, env: environment, stdio: ['ignore', 'ignore', 'inherit'] }),
    );
  }
  const url = `http://127.0.0.1:${port}`;
  await waitForStatus(`${url}/health/ready`, {}, 200);
  const body = JSON.stringify({ identifiers: [{ identifier_type: 'sisbov', value: 'BR105000000001' }] });
  const headers = { 'x-api-key': key, 'content-type': 'application/json', prefer: 'wait=20' };
  await waitForStatus(`${url}/api/receipts`, { method: 'POST', headers, body }, 200);
  const codes = children.map((child) => new Promise((resolve) => child.once('exit', resolve)));
  for (const child of children) child.kill('SIGTERM');
  const ended = await Promise.all(codes);
  if (ended.some((code) => code !== 0)) throw new Error(`the processes ended with ${ended.join(' and ')} on SIGTERM`);
  process.stdout.write('The steps of the Dockerfile install, migrate, serve, work and stop.\n');
} finally {
  for (const child of children) child.kill('SIGKILL');
  await postgres.stop();
  rmSync(folder, { recursive: true, force: true });
}
