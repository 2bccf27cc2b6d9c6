import { fork } from 'node:child_process';
import { join } from 'node:path';
import type { BodiesOutcome, BodiesTask, LoadTask, RecordsOutcome, RecordsTask } from './load-client.ts';
import { BenchFault } from './report.ts';
import type { WatchedProcess } from './process-watch.ts';

/** The load client's process as the sections see it. */
export interface LoadProcess {
  readonly process: WatchedProcess;
  sendRecords(task: Omit<RecordsTask, 'kind'>): Promise<RecordsOutcome>;
  sendBodies(task: Omit<BodiesTask, 'kind'>): Promise<BodiesOutcome>;
  stop(): void;
}

/** No task of any section takes nearly so long. */
const taskTimeoutMs = 600_000;

type Reply = { readonly outcome: object } | { readonly fault: string };

/** Starts the load client. */
export function startLoadProcess(): LoadProcess {
  const child = fork(join(import.meta.dirname, 'load-client.ts'), { execArgv: [] });
  const run = (task: LoadTask) =>
    new Promise<object>((resolve, reject) => {
      const onExit = () => reject(new BenchFault('the load client ended'));
      const late = setTimeout(() => reject(new BenchFault('the load client does not answer')), taskTimeoutMs);
      child.once('exit', onExit);
      child.once('message', (reply: Reply) => {
        clearTimeout(late);
        child.off('exit', onExit);
        if ('outcome' in reply) resolve(reply.outcome);
        else reject(new BenchFault(`the load client failed: ${reply.fault}`));
      });
      child.send(task);
    });
  return {
    process: { name: 'client', pid: child.pid! },
    sendRecords: async (task) => (await run({ kind: 'records', ...task })) as RecordsOutcome,
    sendBodies: async (task) => (await run({ kind: 'bodies', ...task })) as BodiesOutcome,
    stop() {
      if (child.connected) child.disconnect();
    },
  };
}
