import { readFile } from 'node:fs/promises';
import os from 'node:os';
import type { Client } from 'pg';

/** Where and with what the figures were taken. */
export interface Machine {
  readonly date: string;
  readonly cpu: string;
  readonly cores: number;
  readonly memory_mib: number;
  readonly load_average_at_start: readonly number[];
  readonly node: string;
  readonly postgres: string;
  readonly postgres_settings: Readonly<Record<string, string>>;
  readonly redis: string;
  readonly redis_settings: Readonly<Record<string, string>>;
}

const shownSettings = ['fsync', 'synchronous_commit', 'shared_buffers', 'max_wal_size', 'wal_level', 'jit'];

/** Asks the machine and the server itself, so that what is printed is what was in force. */
export async function describeMachine(
  postgres: Client,
  redis: { readonly version: string; readonly settings: Readonly<Record<string, string>> },
): Promise<Machine> {
  const { rows: versions } = await postgres.query<{ server_version: string }>('show server_version');
  const { rows: settings } = await postgres.query<{ name: string; setting: string }>(
    'select name, current_setting(name) as setting from unnest($1::text[]) as name',
    [shownSettings],
  );
  return {
    date: new Date().toISOString(),
    cpu: await readCpuModel(),
    cores: os.availableParallelism(),
    memory_mib: Math.round(os.totalmem() / 1_048_576),
    load_average_at_start: os.loadavg(),
    node: process.version,
    postgres: versions[0]!.server_version,
    postgres_settings: Object.fromEntries(settings.map(({ name, setting }) => [name, setting])),
    redis: redis.version,
    redis_settings: redis.settings,
  };
}

/** On arm64 the kernel names no model. */
async function readCpuModel(): Promise<string> {
  const text = await readFile('/proc/cpuinfo', 'utf8').catch(() => '');
  return /^model name\s*:\s*(.+)$/m.exec(text)?.[1] ?? os.cpus()[0]?.model ?? os.arch();
}

/** The machine on a few lines. */
export function formatMachine(machine: Machine): string {
  const settings = (of: Readonly<Record<string, string>>) =>
    Object.entries(of)
      .map(([name, value]) => `${name} ${value === '' ? '""' : value}`)
      .join(', ');
  return [
    `  ${machine.date}, ${machine.cpu}, ${machine.cores} cores, ${machine.memory_mib} MiB`,
    `  load average ${machine.load_average_at_start.map((load) => load.toFixed(2)).join(' ')} before the start`,
    `  Node ${machine.node}, client and servers on this machine`,
    `  PostgreSQL ${machine.postgres}: ${settings(machine.postgres_settings)}`,
    `  Redis ${machine.redis}: ${settings(machine.redis_settings)}`,
  ].join('\n');
}
