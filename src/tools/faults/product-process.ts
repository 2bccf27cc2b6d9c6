import { spawn, type ChildProcess } from 'node:child_process';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { waitFor } from './waiting.ts';

const repository = join(import.meta.dirname, '../../..');
const listenTimeoutMs = 20_000;
/** How long an end in order may take before the harness gives up on it; the product promises 10 s. */
const stopTimeoutMs = 15_000;
const againMs = 100;

interface ProductProcessOptions {
  /** For messages and the log's name, such as `worker-1`. */
  name: string;
  arguments: readonly string[];
  environment: NodeJS.ProcessEnv;
  folder: string;
  /** True for a process that says when it listens. */
  listens?: boolean;
}

/** How a process ended. */
export interface ProcessEnd {
  code: number | null;
  signal: NodeJS.Signals | null;
  tookMs: number;
}

/** One process of the product, which can be killed, frozen, ended and started again. Its log goes on across starts. */
export class ProductProcess {
  readonly name: string;
  /** Ends that no scenario asked for; there should be none. */
  readonly unexpectedEnds: string[] = [];
  readonly #options: ProductProcessOptions;
  #child: ChildProcess | undefined;

  constructor(options: ProductProcessOptions) {
    this.name = options.name;
    this.#options = options;
  }

  /** Undefined while it does not run. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  get isRunning(): boolean {
    return this.#child !== undefined;
  }

  async start(): Promise<void> {
    const { arguments: programArguments, environment, folder, listens } = this.#options;
    const log = await open(join(folder, `${this.name}.log`), 'a');
    // The message channel lets the process notice when the harness itself is gone.
    const child = spawn(process.execPath, programArguments, {
      cwd: repository,
      env: environment,
      stdio: ['ignore', log.fd, log.fd, 'ipc'],
    });
    await log.close();
    this.#child = child;
    let isListening = false;
    child.on('message', () => (isListening = true));
    child.once('exit', (code, signal) => {
      if (this.#child !== child) return;
      this.#child = undefined;
      this.unexpectedEnds.push(`${this.name} ended by itself (${signal ?? `code ${code}`})`);
    });
    if (!listens) return;
    await waitFor(`${this.name} listening`, listenTimeoutMs, () => {
      if (!this.isRunning) throw new Error(`${this.name} ended while it was starting`);
      return isListening;
    });
  }

  /** `kill -9`, which needs no consent. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL');
  }

  /** SIGTERM, as a platform sends it; SIGKILL when that takes much longer than it may. */
  async terminate(): Promise<ProcessEnd> {
    return this.#end('SIGTERM');
  }

  /** SIGTERM, and again until the process ended: two that are sent before it takes the first arrive as one. */
  async terminateImpatiently(): Promise<ProcessEnd> {
    const child = this.#child;
    const end = this.#end('SIGTERM');
    const again = setInterval(() => child?.kill('SIGTERM'), againMs);
    return end.finally(() => clearInterval(again));
  }

  /** SIGSTOP: to everybody else the process looks alive and does nothing. */
  freeze(): void {
    this.#child?.kill('SIGSTOP');
  }

  /** SIGCONT. */
  resume(): void {
    this.#child?.kill('SIGCONT');
  }

  async #end(signal: 'SIGKILL' | 'SIGTERM'): Promise<ProcessEnd> {
    const child = this.#child;
    if (!child) return { code: null, signal: null, tookMs: 0 };
    this.#child = undefined;
    const startedAt = performance.now();
    const ended = new Promise<ProcessEnd>((resolve) =>
      child.once('exit', (code, endSignal) =>
        resolve({ code, signal: endSignal, tookMs: performance.now() - startedAt }),
      ),
    );
    child.kill(signal);
    const force = setTimeout(() => child.kill('SIGKILL'), stopTimeoutMs);
    const end = await ended;
    clearTimeout(force);
    return end;
  }
}
