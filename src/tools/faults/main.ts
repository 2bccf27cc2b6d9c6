import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { Cluster } from './cluster.ts';
import { poisonScenarios } from './poison-scenarios.ts';
import { PostgresServer } from './postgres-server.ts';
import { processScenarios } from './process-scenarios.ts';
import { folderOf, runScenario } from './run-scenario.ts';
import type { Scenario } from './scenario.ts';
import { serverScenarios } from './server-scenarios.ts';

/*
 * `npm run test:faults`: puts faults to the product as it runs in production, with processes, Postgres and Redis of its
 * own, while receipts come in, and compares what became of them with what had to. `--short` repeats less and leaves out
 * what takes long; `--only TEXT` runs the scenarios whose names hold the text; `--keep` keeps the folder in any case.
 */

const { values: options } = parseArgs({
  options: {
    short: { type: 'boolean', default: false },
    only: { type: 'string' },
    keep: { type: 'boolean', default: false },
  },
});
const shownAtMost = 12;

/** Ends what would outlive this process: the product's processes notice its end by themselves. */
class Undo {
  postgres: PostgresServer | undefined;
  cluster: Cluster | undefined;

  atExit(): void {
    for (const pid of [this.cluster?.redis.pid, this.postgres?.pid]) {
      try {
        if (pid !== undefined) process.kill(pid, 'SIGQUIT');
      } catch {
        // It ended by itself.
      }
    }
  }
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`;

/** Runs one scenario and prints its line; false when anything was not as it must be. */
async function judge(scenario: Scenario, id: string, postgres: PostgresServer, runFolder: string): Promise<boolean> {
  const startedAt = performance.now();
  try {
    const result = await runScenario(scenario, {
      postgres,
      folder: folderOf(runFolder, id),
      id,
      isShort: options.short,
      onCluster: (cluster) => (undo.cluster = cluster),
    });
    const { differences } = result;
    print(
      `${differences.count === 0 ? 'passed' : 'FAILED'}  ${scenario.name}: ${result.done}; ` +
        `${result.receipts} receipts acknowledged, ${result.records} records settled, ` +
        `recovered in ${seconds(result.recoveryMs)}, at most ${result.mostTries} tries, ${result.deadlocks} deadlocks [${seconds(performance.now() - startedAt)}]`,
    );
    for (const text of differences.texts.slice(0, shownAtMost)) print(`        ${text}`);
    if (differences.count > shownAtMost) print(`        and ${differences.count - shownAtMost} more`);
    return differences.count === 0;
  } catch (error) {
    print(`FAILED  ${scenario.name} [${seconds(performance.now() - startedAt)}]`);
    print(`        ${error instanceof Error ? error.stack : String(error)}`);
    for (const text of undo.cluster?.unexpectedEnds ?? []) print(`        ${text}`);
    return false;
  }
}

const undo = new Undo();
process.once('exit', () => undo.atExit());
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));

const scenarios = [...processScenarios, ...serverScenarios, ...poisonScenarios].filter(
  ({ name, isShort }) => (isShort || !options.short) && name.includes(options.only ?? ''),
);
const runFolder = await mkdtemp(join(tmpdir(), 'defarm-faults-'));
// When root runs it, Postgres runs as another user, who must get through to the folder inside.
await chmod(runFolder, 0o711);
const postgres = await PostgresServer.open(join(runFolder, 'postgres'));
undo.postgres = postgres;
let passed = 0;
let failed = 0;
for (const [at, scenario] of scenarios.entries()) {
  if (postgres.pid === undefined) await postgres.start();
  if (await judge(scenario, `scenario_${at + 1}`, postgres, runFolder)) passed += 1;
  else failed += 1;
}
await postgres.close();
if (failed === 0 && !options.keep) await rm(runFolder, { recursive: true, force: true });
else print(`Logs and data are in ${runFolder}.`);
print(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 && passed > 0 ? 0 : 1;
