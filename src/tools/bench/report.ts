/** What one process used during one measurement. `others` is what the rest of the machine used meanwhile. */
export type CpuSeconds = Readonly<Record<string, number>>;

/** One measurement of one repeat, as it goes into the results. */
export interface Run {
  readonly variant: string;
  /** From 1. */
  readonly repeat: number;
  readonly figures: Readonly<Record<string, number>>;
  readonly wallSeconds: number;
  readonly cpuSeconds: CpuSeconds;
}

/** `undecided` only where a target names a condition that this machine did not fulfil. */
export type Verdict = 'met' | 'missed' | 'undecided';

/** A figure beside what it has to be. */
export interface Target {
  readonly wanted: string;
  readonly figure: string;
  readonly verdict: Verdict;
}

/** What a section found. */
export interface SectionReport {
  readonly name: string;
  readonly title: string;
  /** Sentences without which the figures cannot be read. */
  readonly conditions: readonly string[];
  readonly columns: readonly string[];
  readonly rows: readonly (readonly string[])[];
  readonly targets: readonly Target[];
  readonly runs: readonly Run[];
}

/** The run, or what it measured, is not what it was meant to be; its figures are worth nothing. */
export class BenchFault extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'BenchFault';
  }
}

const wholeNumbers = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 });

/** A count or a rate: `12,345`. */
export function showCount(value: number): string {
  return wholeNumbers.format(value);
}

/** A number with so many digits after the point. */
export function showDecimal(value: number, digits = 2): string {
  return value.toFixed(digits);
}

/** A target that asks for at least, or at most, a bound. */
export function judge(
  wanted: string,
  value: number,
  bound: { least: number } | { most: number },
  figure: string,
): Target {
  const isMet = 'least' in bound ? value >= bound.least : value <= bound.most;
  return { wanted, figure, verdict: isMet ? 'met' : 'missed' };
}

/** CPU seconds per process on one line. */
export function showCpu(cpuSeconds: CpuSeconds): string {
  return Object.entries(cpuSeconds)
    .map(([name, seconds]) => `${name} ${seconds.toFixed(1)}`)
    .join(', ');
}

/** A table with left-aligned first column, right-aligned others. */
export function formatTable(columns: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [columns, ...rows];
  const widths = columns.map((_, at) => Math.max(...all.map((row) => (row[at] ?? '').length)));
  return all
    .map((row) =>
      `  ${widths.map((width, at) => (at === 0 ? (row[at] ?? '').padEnd(width) : (row[at] ?? '').padStart(width))).join('  ')}`.trimEnd(),
    )
    .join('\n');
}

/** A section as people read it. */
export function formatSection(section: SectionReport): string {
  return [
    `\n${section.title}`,
    ...section.conditions.map((condition) => `  ${condition}`),
    '',
    formatTable(section.columns, section.rows),
    ...(section.targets.length > 0 ? ['', formatTargets(section.targets)] : []),
  ].join('\n');
}

/** Targets with their figures and verdicts. */
export function formatTargets(targets: readonly Target[]): string {
  return targets
    .map(({ wanted, figure, verdict }) => `  ${verdict.toUpperCase().padEnd(9)} ${wanted}: ${figure}`)
    .join('\n');
}
