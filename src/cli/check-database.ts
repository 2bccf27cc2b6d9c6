import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { checkDatabase, type DatabaseReport } from '#domains/ledger/index.ts';
import type { Database } from '#platform/database.ts';
import { trustOf, type TrustOptions } from './trust.ts';

export interface CheckDatabaseOptions extends TrustOptions {
  readonly repair?: boolean;
  readonly state?: string;
  readonly json?: boolean;
}

const barWidth = 30;

/**
 * Checks everything that the log of a database stands on, and says what does not fit.
 * @param write shows progress to whoever waits; nothing is shown where nobody looks.
 */
export async function checkWholeDatabase(
  database: Database,
  options: CheckDatabaseOptions,
  write: ((text: string) => void) | undefined,
): Promise<{ isGood: boolean; text: string }> {
  const { state } = options;
  const report = await checkDatabase({
    database,
    keys: trustOf(options).keys,
    repairs: options.repair === true,
    from: state === undefined ? 0 : readState(state),
    onProgress(checked, total, clean) {
      if (state !== undefined) writeState(state, clean);
      write?.(`\r${barOf(checked, total)} ${checked} of ${total} entries`);
    },
  });
  write?.('\n');
  const isGood = report.faultsTotal === 0;
  // The next run begins anew once this one came to its end.
  if (state !== undefined) writeState(state, 0);
  return { isGood, text: options.json === true ? JSON.stringify(report, undefined, 2) : inWords(report) };
}

function barOf(checked: number, total: number): string {
  const done = total === 0 ? barWidth : Math.floor((checked / total) * barWidth);
  return `[${'#'.repeat(done)}${'.'.repeat(barWidth - done)}]`;
}

function inWords(report: DatabaseReport): string {
  const { faults, faultsTotal } = report;
  const lines = [
    `${report.entries} entries of the log: ${report.explained} are what their events and versions lead to, ${report.unexplained} can be explained by nobody any more`,
    `${report.tiles} tiles, ${report.anchors} anchored checkpoints, ${report.contents} contents and ${report.batches} batches were computed again`,
    ...(report.repaired === 0 ? [] : [`${report.repaired} tiles were put in their place again`]),
    ...(report.treesForgotten ? ['The roots of items were wrong; workers make them again.'] : []),
    ...faults.map(({ step, detail }) => `FAULT  ${step.padEnd(10)}  ${detail}`),
    ...(faultsTotal > faults.length ? [`and ${faultsTotal - faults.length} more`] : []),
    faultsTotal === 0 ? 'Everything fits together.' : `${faultsTotal} things do not fit.`,
  ];
  return lines.join('\n');
}

function readState(path: string): number {
  try {
    const { checked } = JSON.parse(readFileSync(path, 'utf8')) as { checked?: unknown };
    return Number.isSafeInteger(checked) && Number(checked) >= 0 ? Number(checked) : 0;
  } catch {
    return 0;
  }
}

function writeState(path: string, checked: number): void {
  writeFileSync(`${path}.new`, `${JSON.stringify({ checked })}\n`);
  renameSync(`${path}.new`, path);
}
