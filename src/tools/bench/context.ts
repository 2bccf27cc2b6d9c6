import type { BenchServers } from './servers.ts';
import type { Sizes } from './sizes.ts';
import { System, type ProcessMemory } from './system.ts';

/** What every section is given. */
export interface BenchContext {
  readonly sizes: Sizes;
  readonly repeats: number;
  /** Worker processes beside the web process. */
  readonly workers: number;
  readonly servers: BenchServers;
  /** For logs. */
  readonly folder: string;
  /** Filled by all sections. */
  readonly memory: ProcessMemory[];
  /** Tells the person who waits what is being done. */
  say(line: string): void;
}

/** Runs `work` with the product's processes on a database, and ends them afterwards. */
export async function withSystem<Result>(
  context: BenchContext,
  options: { section: string; database: string; workers: number },
  work: (system: System) => Promise<Result>,
): Promise<Result> {
  const { servers, folder, memory } = context;
  const { section, database, workers } = options;
  const system = await System.start({ servers, folder, memory, section, database }, workers);
  let result: Result;
  try {
    result = await work(system);
  } catch (error) {
    await system.stop().catch(() => undefined);
    throw error;
  }
  await system.stop();
  return result;
}
