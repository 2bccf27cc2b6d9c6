import { spawn, type ChildProcess } from 'node:child_process';
import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readProcfile } from '../../procfile.ts';
import { setTimeout as delay } from 'node:timers/promises';
import { apiKey } from './databases.ts';
import { readResidentBytes, type WatchedProcess } from './process-watch.ts';
import { BenchFault } from './report.ts';
import type { BenchServers } from './servers.ts';
import { median } from './statistics.ts';

const repository = join(import.meta.dirname, '../../..');
const startTimeoutMs = 30_000;
/** The processes end by themselves after 9 s; profiles may have to be written after that. */
const stopTimeoutMs = 30_000;
const memorySampleMs = 200;

/** Resident memory of one process from its start to its end, in bytes. */
export interface ProcessMemory {
  readonly section: string;
  readonly process: string;
  /** Over samples of all of its life. */
  readonly median: number;
  /** As the kernel kept it, so that no moment is missed. */
  readonly peak: number;
}

interface SystemOptions {
  readonly servers: BenchServers;
  readonly database: string;
  readonly section: string;
  readonly folder: string;
  /** Filled as processes end. */
  readonly memory: ProcessMemory[];
}

interface Member {
  readonly name: string;
  readonly child: ChildProcess;
  readonly pid: number;
  readonly logFile: string;
  readonly exited: Promise<unknown>;
  readonly samples: number[];
  peak: number;
}

/** The product's web and worker processes on one database, with the product's default configuration. */
export class System {
  readonly #options: SystemOptions;
  readonly #members: Member[] = [];
  readonly #sampler: NodeJS.Timeout;
  #fault: BenchFault | undefined;
  #started = 0;
  #baseUrl = '';

  private constructor(options: SystemOptions) {
    this.#options = options;
    this.#sampler = setInterval(() => this.#members.forEach(sampleMemory), memorySampleMs);
  }

  /** Starts one web process, the bench's own that serves the comparison routes too, and workers. */
  static async start(options: SystemOptions, workers: number): Promise<System> {
    const system = new System(options);
    try {
      const web = await system.#spawn('web', join(import.meta.dirname, 'server.ts'));
      const port = await Promise.race([
        listeningPort(web.child),
        web.exited,
        delay(startTimeoutMs, 'late', { ref: false }),
      ]);
      if (typeof port !== 'number') throw await system.#failure(web, 'did not start to listen');
      system.#baseUrl = `http://127.0.0.1:${port}`;
      await system.startWorkers(workers);
      return system;
    } catch (error) {
      await system.stop().catch(() => undefined);
      throw error;
    }
  }

  get baseUrl(): string {
    return this.#baseUrl;
  }

  get headers(): Readonly<Record<string, string>> {
    return { 'x-api-key': apiKey };
  }

  get processes(): WatchedProcess[] {
    return [
      ...this.#members.map(({ name, pid }) => ({ name: name.replace(/-\d+$/, ''), pid })),
      ...this.#options.servers.processes,
      { name: 'client', pid: process.pid },
    ];
  }

  /** @throws BenchFault when a process has died. */
  checkAlive(): void {
    if (this.#fault) throw this.#fault;
  }

  async startWorkers(count: number): Promise<void> {
    const workers: Member[] = [];
    for (let at = 0; at < count; at += 1) {
      workers.push(await this.#spawn(`worker-${at + 1}`, join(repository, 'workers', 'main.ts')));
    }
    await Promise.all(workers.map((worker) => this.#waitUntilWorking(worker)));
  }

  async stopWorkers(): Promise<void> {
    await Promise.all(this.#members.filter(({ name }) => name !== 'web').map((member) => this.#end(member)));
  }

  /** Ends all processes. @throws BenchFault when one had died, or does not end. */
  async stop(): Promise<void> {
    // Workers first: they may still ring for what web processes stored.
    await this.stopWorkers();
    await Promise.all([...this.#members].map((member) => this.#end(member)));
    clearInterval(this.#sampler);
    this.checkAlive();
  }

  async #spawn(name: string, script: string): Promise<Member> {
    const { servers, database, folder, section } = this.#options;
    this.#started += 1;
    const logFile = join(folder, `${section}-${database}-${this.#started}-${name}.log`);
    const log = await open(logFile, 'w');
    const { PATH, HOME, NODE_OPTIONS } = process.env;
    // The flags that keep a process small are part of how it is started in production.
    const [line] = await readProcfile([name.replace(/-\d+$/, '')]);
    const flags = line!.arguments.filter((argument) => argument.startsWith('--'));
    const child = spawn(process.execPath, [...flags, script], {
      cwd: repository,
      env: {
        ...(PATH === undefined ? {} : { PATH }),
        ...(HOME === undefined ? {} : { HOME }),
        ...(NODE_OPTIONS === undefined ? {} : { NODE_OPTIONS }),
        NODE_ENV: 'production',
        DATABASE_URL: servers.postgresUrl(database),
        REDIS_URL: servers.redisUrl,
        QUEUE_PREFIX: database,
        PORT: '0',
      },
      // The channel ends the process when this one is gone.
      stdio: ['ignore', log.fd, log.fd, 'ipc'],
    });
    const exited = new Promise((resolve) => child.once('exit', resolve));
    const spawned = new Promise((resolve, reject) =>
      child.once('spawn', () => resolve(undefined)).once('error', reject),
    );
    await log.close();
    await spawned;
    const member: Member = { name, child, pid: child.pid!, logFile, exited, samples: [], peak: 0 };
    this.#members.push(member);
    void this.#noticeDeath(member);
    return member;
  }

  /** A process that is still a member when it ends was not asked to. */
  async #noticeDeath(member: Member): Promise<void> {
    await member.exited;
    if (this.#members.includes(member)) this.#fault ??= await this.#failure(member, 'died');
  }

  async #waitUntilWorking(worker: Member): Promise<void> {
    const deadline = Date.now() + startTimeoutMs;
    // The log is written once a second; nothing else of a worker tells that it has begun.
    while (!(await readFile(worker.logFile, 'utf8')).includes('"msg":"working"')) {
      if (Date.now() > deadline || worker.child.exitCode !== null) throw await this.#failure(worker, 'did not start');
      await delay(50);
    }
  }

  async #end(member: Member): Promise<void> {
    const at = this.#members.indexOf(member);
    if (at === -1) return;
    sampleMemory(member);
    this.#members.splice(at, 1);
    this.#options.memory.push({
      section: this.#options.section,
      process: member.name,
      median: median(member.samples),
      peak: member.peak,
    });
    if (member.child.exitCode !== null || member.child.signalCode !== null) return;
    member.child.kill('SIGTERM');
    const ended = await Promise.race([member.exited, delay(stopTimeoutMs, 'late', { ref: false })]);
    if (ended !== 'late') return;
    member.child.kill('SIGKILL');
    this.#fault ??= await this.#failure(member, 'did not end');
  }

  async #failure({ name, child, logFile }: Member, what: string): Promise<BenchFault> {
    const lines = (await readFile(logFile, 'utf8').catch(() => '')).trim().split('\n').slice(-5);
    const how = `exit code ${String(child.exitCode)}, signal ${String(child.signalCode)}`;
    return new BenchFault(`${name} ${what} (${how}). Its last lines:\n${lines.join('\n')}`);
  }
}

function sampleMemory(member: Member): void {
  const resident = readResidentBytes(member.pid);
  if (!resident) return;
  member.samples.push(resident.now);
  member.peak = Math.max(member.peak, resident.peak);
}

function listeningPort(child: ChildProcess): Promise<number> {
  return new Promise((resolve) => {
    child.once('message', (message: { listening: number }) => resolve(message.listening));
  });
}
