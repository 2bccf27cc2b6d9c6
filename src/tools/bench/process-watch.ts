import { readdirSync, readFileSync } from 'node:fs';
import { BenchFault, type CpuSeconds } from './report.ts';

/** A process whose CPU time is told apart. Several of one name are added up. */
export interface WatchedProcess {
  readonly name: string;
  readonly pid: number;
  /** Also counts its children, living and collected: a Postgres server is one. */
  readonly withChildren?: boolean;
}

/** The unit of times in /proc, fixed at 1/100 s for programs whatever the kernel uses (proc(5), USER_HZ). */
const ticksPerSecond = 100;
const kibibyte = 1024;

interface ProcessTimes {
  readonly parent: number;
  readonly own: number;
  readonly collectedChildren: number;
}

function readTimes(pid: number): ProcessTimes | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return undefined;
  }
  // The name in parentheses may itself hold blanks and parentheses.
  const fields = text
    .slice(text.lastIndexOf(')') + 2)
    .split(' ')
    .map(Number);
  return { parent: fields[1]!, own: fields[11]! + fields[12]!, collectedChildren: fields[13]! + fields[14]! };
}

function readCpuTicks({ name, pid, withChildren }: WatchedProcess): number {
  const times = readTimes(pid);
  if (!times) throw new BenchFault(`${name} (process ${pid}) ended during the measurement`);
  if (!withChildren) return times.own;
  const children = readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .flatMap((entry) => readTimes(Number(entry)) ?? [])
    .filter((child) => child.parent === pid);
  return children.reduce((sum, child) => sum + child.own, times.own + times.collectedChildren);
}

/** What all processors worked, for whomever, since the machine started. */
function readBusyTicks(): number {
  const [user, nice, system, , , interrupts, softInterrupts] = /^cpu +(.*)$/m
    .exec(readFileSync('/proc/stat', 'utf8'))![1]!
    .split(' ')
    .map(Number) as [number, number, number, number, number, number, number];
  return user + nice + system + interrupts + softInterrupts;
}

/** Runs `work` and tells how long it took and what each process used meanwhile. */
export async function measure<Result>(
  processes: readonly WatchedProcess[],
  work: () => Promise<Result>,
): Promise<{ result: Result; wallSeconds: number; cpuSeconds: CpuSeconds }> {
  // Garbage of the preparation must not be collected on the clock.
  globalThis.gc?.();
  const before = processes.map(readCpuTicks);
  const busyBefore = readBusyTicks();
  const startedAtMs = performance.now();
  const result = await work();
  const wallSeconds = (performance.now() - startedAtMs) / 1000;
  const busyTicks = readBusyTicks() - busyBefore;
  const cpuSeconds: Record<string, number> = {};
  for (const [at, watched] of processes.entries()) {
    const used = (readCpuTicks(watched) - before[at]!) / ticksPerSecond;
    cpuSeconds[watched.name] = (cpuSeconds[watched.name] ?? 0) + used;
  }
  const ours = Object.values(cpuSeconds).reduce((sum, seconds) => sum + seconds, 0);
  cpuSeconds['others'] = Math.max(0, busyTicks / ticksPerSecond - ours);
  return { result, wallSeconds, cpuSeconds };
}

/** Resident bytes of a process now, and the most it ever had, as the kernel counts them; undefined once it ended. */
export function readResidentBytes(pid: number): { now: number; peak: number } | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/status`, 'utf8');
  } catch {
    return undefined;
  }
  const read = (name: string) => new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(text)?.[1];
  const [now, peak] = [read('VmRSS'), read('VmHWM')];
  return now === undefined || peak === undefined
    ? undefined
    : { now: Number(now) * kibibyte, peak: Number(peak) * kibibyte };
}
