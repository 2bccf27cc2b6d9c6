import { spawn, type ChildProcess } from 'node:child_process';

const maximumBackoffMs = 30_000;
/** A process that lived this long begins anew with the shortest backoff. */
const stableAfterMs = 60_000;
/** Leaves half of the ten seconds after which a container is killed to those who stop later, such as the database. */
const stopMs = 5000;

/** What {@link superviseProcess} runs. */
export interface SupervisedProcessOptions {
  /** For messages, for example `worker`. */
  readonly name: string;
  /** Handed to this very Node.js. */
  readonly arguments: readonly string[];
  readonly workingDirectory: string;
  readonly environment: NodeJS.ProcessEnv;
  /** Gets one line whenever the process ends unexpectedly. */
  readonly report: (line: string) => void;
}

/** A process that runs until it is stopped. */
export interface SupervisedProcess {
  /** SIGTERM, and SIGKILL after five seconds; resolves when the process is gone. */
  stop(): Promise<void>;
  /** SIGKILL, at once. */
  kill(): void;
}

/** Milliseconds before the next try after so many failures in a row: 1 s, doubling up to 30 s. */
export function backoffMs(failures: number): number {
  return Math.min(1000 * 2 ** (failures - 1), maximumBackoffMs);
}

/**
 * Runs the program and starts it again whenever it ends, until it is stopped. The child has a message channel to this
 * process, which closes when this process is killed; the child is expected to end then.
 */
export function superviseProcess(options: SupervisedProcessOptions): SupervisedProcess {
  const { name, report } = options;
  let child: ChildProcess | undefined;
  let restart: NodeJS.Timeout | undefined;
  let isStopping = false;
  let failures = 0;
  const run = () => {
    const startedAt = Date.now();
    const current = spawn(process.execPath, options.arguments, {
      cwd: options.workingDirectory,
      env: options.environment,
      // Out of the terminal's process group: Ctrl-C reaches the children through us only, once and in order.
      detached: true,
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    child = current;
    const onEnd = (reason: string) => {
      if (isStopping || child !== current) return;
      child = undefined;
      failures = Date.now() - startedAt > stableAfterMs ? 1 : failures + 1;
      report(`The ${name} process ended (${reason}); it starts again in ${backoffMs(failures) / 1000} s.`);
      restart = setTimeout(run, backoffMs(failures));
    };
    current.once('error', (error) => onEnd(error.message));
    current.once('exit', (code, signal) => onEnd(signal ?? `exit code ${code}`));
  };
  run();
  return {
    async stop() {
      isStopping = true;
      clearTimeout(restart);
      if (child) await endChild(child);
    },
    kill() {
      isStopping = true;
      clearTimeout(restart);
      child?.kill('SIGKILL');
    },
  };
}

async function endChild(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  child.kill('SIGTERM');
  const force = setTimeout(() => child.kill('SIGKILL'), stopMs);
  await ended;
  clearTimeout(force);
}
