import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

interface Check {
  name: string;
  run(): Promise<{ isGood: boolean; output: string }>;
}

const repository = join(import.meta.dirname, '../..');

function command(name: string, program: string, ...programArguments: string[]): Check {
  return { name, run: () => execute(program, programArguments) };
}

async function execute(program: string, programArguments: string[]): Promise<{ isGood: boolean; output: string }> {
  const child = spawn(program, programArguments, { cwd: repository, stdio: ['ignore', 'pipe', 'pipe'] });
  const chunks: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => chunks.push(chunk));
  const code = await new Promise<number | null>((resolve, reject) =>
    child.once('close', resolve).once('error', reject),
  );
  return { isGood: code === 0, output: Buffer.concat(chunks).toString('utf8') };
}

/** Without a parser for TypeScript the tool reads no module and finds no fault, so the number of modules is checked too. */
async function checkLayers(): Promise<{ isGood: boolean; output: string }> {
  const args = ['--config', '.dependency-cruiser.cjs', 'src', 'workers', 'migrations'];
  const found = await execute('depcruise', args);
  if (!found.isGood) return found;
  const { output } = await execute('depcruise', [...args, '--output-type', 'json']);
  const { summary } = JSON.parse(output.slice(output.indexOf('{'))) as { summary: { totalCruised: number } };
  return summary.totalCruised > 50
    ? found
    : { isGood: false, output: `only ${summary.totalCruised} modules were read` };
}

/** `npm ci` fails elsewhere when the lock file lacks the binaries of another platform, which `npm install` leaves out silently. */
async function checkLockFile(): Promise<{ isGood: boolean; output: string }> {
  interface LockedPackage {
    optionalDependencies?: Record<string, string>;
    resolved?: string;
    license?: string;
  }
  const { packages } = JSON.parse(await readFile(join(repository, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, LockedPackage>;
  };
  const names = new Set(Object.keys(packages).map((path) => path.replace(/^.*node_modules\//, '')));
  const faults: string[] = [];
  for (const [path, { optionalDependencies = {}, resolved }] of Object.entries(packages)) {
    for (const name of Object.keys(optionalDependencies))
      if (!names.has(name)) faults.push(`${path || 'package.json'} wants ${name}, which has no entry`);
    if (resolved !== undefined) faults.push(`${path} names a registry`);
  }
  return { isGood: faults.length === 0, output: faults.join('\n') };
}

/** Every dependency is pinned to one version. */
async function checkPins(): Promise<{ isGood: boolean; output: string }> {
  const description = JSON.parse(await readFile(join(repository, 'package.json'), 'utf8')) as Record<
    string,
    Record<string, string> | undefined
  >;
  const faults = ['dependencies', 'devDependencies', 'optionalDependencies'].flatMap((group) =>
    Object.entries(description[group] ?? {}).filter(([, version]) => !/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version)),
  );
  return {
    isGood: faults.length === 0,
    output: faults.map(([name, version]) => `${name} ${version} is not exact`).join('\n'),
  };
}

const checks: readonly Check[] = [
  command('types', 'tsc', '--noEmit'),
  command('types of the page', 'tsc', '--noEmit', '--project', 'src/domains/ledger/verify-page'),
  command('lint', 'oxlint'),
  command('format', 'oxfmt', '--check', '.'),
  { name: 'layers', run: checkLayers },
  command('unused', 'knip'),
  command('generated pages', 'node', 'src/tools/generate.ts', '--check'),
  { name: 'lock file', run: checkLockFile },
  { name: 'exact versions', run: checkPins },
];

let failed = 0;
for (const { name, run } of checks) {
  const { isGood, output } = await run();
  process.stdout.write(`${isGood ? 'ok    ' : 'FAILED'} ${name}\n`);
  if (isGood) continue;
  failed += 1;
  process.stdout.write(`${output}\n`);
}
process.exitCode = failed > 0 ? 1 : 0;
