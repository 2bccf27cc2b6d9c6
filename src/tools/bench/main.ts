import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import type { BenchContext } from './context.ts';
import { createTemplate, withConnection } from './databases.ts';
import { benchFlatness } from './flatness-section.ts';
import { benchHttp } from './http-section.ts';
import { describeMachine, formatMachine, type Machine } from './machine.ts';
import { benchLog } from './log-section.ts';
import { benchMemory, reportMemory } from './memory-section.ts';
import { benchPipeline } from './pipeline-section.ts';
import { BenchFault, formatSection, formatTargets, type SectionReport, type Target } from './report.ts';
import { benchResolver } from './resolver-section.ts';
import { benchRest } from './rest-section.ts';
import { benchStorage } from './storage-section.ts';
import { startServers, type BenchServers } from './servers.ts';
import { benchWebhooks } from './webhooks-section.ts';
import { fullSizes, quickSizes } from './sizes.ts';
import type { ProcessMemory } from './system.ts';

/*
 * `npm run bench`: measures the product as real processes against its targets, prints the tables and writes
 * bench/results.json; a run with --only or --quick is no complete measurement, and writes bench/partial/results.json. Exits
 * with 1 only when something broke or came out wrong, not for a target that is missed.
 */

const sections = {
  http: benchHttp,
  pipeline: benchPipeline,
  flatness: benchFlatness,
  memory: benchMemory,
  rest: benchRest,
  resolver: benchResolver,
  log: benchLog,
  storage: benchStorage,
  webhooks: benchWebhooks,
} as const;
type SectionName = keyof typeof sections;

const repository = join(import.meta.dirname, '../../..');
const workFolder = join(repository, 'bench', 'partial');
const usage = `Options: --only ${Object.keys(sections).join('|')} (may be repeated), --repeats N (3), --workers N (1), --quick`;

interface Options {
  readonly only: readonly SectionName[];
  readonly repeats: number;
  readonly workers: number;
  readonly isQuick: boolean;
}

function readOptions(): Options {
  const { values } = parseArgs({
    options: {
      only: { type: 'string', multiple: true, default: [] },
      repeats: { type: 'string', default: '3' },
      workers: { type: 'string', default: '1' },
      quick: { type: 'boolean', default: false },
    },
  });
  const unknown = values.only.filter((name) => !Object.hasOwn(sections, name));
  if (unknown.length > 0) throw new BenchFault(`There is no section ${unknown.join(', ')}. ${usage}`);
  const wholeNumber = (name: string, text: string) => {
    if (!/^[1-9]\d?$/.test(text)) throw new BenchFault(`--${name} is a whole number from 1 to 99. ${usage}`);
    return Number(text);
  };
  return {
    only: values.only as SectionName[],
    repeats: wholeNumber('repeats', values.repeats),
    workers: wholeNumber('workers', values.workers),
    isQuick: values.quick,
  };
}

async function runSections(options: Options, servers: BenchServers): Promise<void> {
  await createTemplate(servers);
  const redis = { version: servers.redisVersion, settings: servers.redisSettings };
  const machine = await withConnection(servers, 'postgres', (client) => describeMachine(client, redis));
  console.log(`\nDeFarm Engines, ${options.isQuick ? 'quick bench: sizes too small to judge by' : 'bench'}\n`);
  console.log(formatMachine(machine));
  const memory: ProcessMemory[] = [];
  const context: BenchContext = {
    sizes: options.isQuick ? quickSizes : fullSizes,
    repeats: options.repeats,
    workers: options.workers,
    servers,
    folder: workFolder,
    memory,
    say: (line) => process.stderr.write(`${line}\n`),
  };
  const reports: SectionReport[] = [];
  const names = Object.keys(sections) as SectionName[];
  for (const name of names.filter((each) => options.only.length === 0 || options.only.includes(each))) {
    const report = await sections[name](context);
    reports.push(report);
    console.log(formatSection(report));
  }
  const ofMemory = reportMemory(memory);
  console.log(ofMemory.text);
  const targets = [...reports.flatMap((report) => report.targets), ...ofMemory.targets];
  const missed = targets.filter(({ verdict }) => verdict !== 'met');
  console.log(`\n${targets.length - missed.length} of ${targets.length} targets met.`);
  if (missed.length > 0) console.log(formatTargets(missed));
  const file = await writeResults(options, machine, { reports, memory, targets });
  console.log(`\nEvery single figure: ${file}`);
}

async function writeResults(
  options: Options,
  machine: Machine,
  found: { reports: readonly SectionReport[]; memory: readonly ProcessMemory[]; targets: readonly Target[] },
): Promise<string> {
  const isComplete = options.only.length === 0 && !options.isQuick;
  const file = isComplete ? join(repository, 'bench', 'results.json') : join(workFolder, 'results.json');
  const results = {
    machine,
    options: { only: options.only, repeats: options.repeats, workers: options.workers, quick: options.isQuick },
    targets: found.targets,
    sections: found.reports.map(({ name, title, conditions, runs }) => ({ name, title, conditions, runs })),
    memory_bytes: found.memory,
  };
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, `${JSON.stringify(results, null, 2)}\n`);
  return file;
}

/** Stops the servers also when the run is interrupted; whatever else was started ends with its channel to this process. */
function stopOnSignal(servers: BenchServers): void {
  let isStopping = false;
  const stop = () => {
    if (isStopping) return;
    isStopping = true;
    process.stderr.write('Interrupted; stopping the servers.\n');
    servers.stop().then(
      () => process.exit(130),
      () => process.exit(1),
    );
  };
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, stop);
}

async function main(): Promise<void> {
  let servers: BenchServers | undefined;
  try {
    const options = readOptions();
    servers = await startServers(workFolder);
    stopOnSignal(servers);
    await runSections(options, servers);
  } catch (error) {
    process.exitCode = 1;
    const text = error instanceof BenchFault ? error.message : error instanceof Error ? error.stack : String(error);
    console.error(`\nThe bench failed: ${text ?? ''}`);
  } finally {
    await servers?.stop();
  }
}

await main();
// Idle keep-alive connections would hold the process for seconds.
process.exit();
