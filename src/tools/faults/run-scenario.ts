import { join } from 'node:path';
import { Cluster } from './cluster.ts';
import { Differences } from './differences.ts';
import { compareItems } from './item-comparison.ts';
import { compareAttempts, countDeadlocks, findLeftovers } from './leftovers.ts';
import { Load } from './load.ts';
import type { PostgresServer } from './postgres-server.ts';
import { compareReceipts } from './receipt-comparison.ts';
import { ScenarioContext, type Disturbed, type Scenario } from './scenario.ts';
import { SubmissionSource } from './submissions.ts';
import { computeTruth } from './truth.ts';
import { waitFor } from './waiting.ts';

export interface ScenarioResult {
  readonly done: string;
  readonly receipts: number;
  readonly records: number;
  /** From the end of the fault until all that had been acknowledged by then was settled. */
  readonly recoveryMs: number;
  readonly mostTries: number;
  readonly deadlocks: number;
  readonly differences: Differences;
}

interface RunOptions {
  postgres: PostgresServer;
  /** Where logs of the scenario go. */
  folder: string;
  /** Names the database and the keys. */
  id: string;
  isShort: boolean;
  /** Told of the cluster, so that it can be taken down when the harness is interrupted. */
  onCluster(cluster: Cluster): void;
}

const settleTimeoutMs = 60_000;
const drainTimeoutMs = 20_000;
const replayed = 30;
/** Receipts that are acknowledged before the fault begins, and again after it has ended. */
const undisturbedReceipts = 20;

/** Brings a cluster up, puts the fault to it under load, waits until all is settled and compares it with the truth. */
export async function runScenario(scenario: Scenario, options: RunOptions): Promise<ScenarioResult> {
  const { postgres, folder, id, isShort } = options;
  const cluster = await Cluster.prepare(postgres, folder, id, {
    workers: 2,
    isRedisAppendOnly: false,
    ...scenario.options,
  });
  options.onCluster(cluster);
  const load = new Load({
    baseUrl: cluster.baseUrl,
    apiKeys: cluster.workspaces.map(({ apiKey }) => apiKey),
    source: new SubmissionSource(id, { herd: isShort ? 3000 : 12_000, bulkMax: isShort ? 1000 : 2000 }),
    countUnsettled: () => cluster.countUnsettled(),
  });
  try {
    await (scenario.start ? scenario.start(cluster) : cluster.start());
    await load.send(await load.source.baseline());
    await waitUntilSettled(cluster, settleTimeoutMs);
    const context = new ScenarioContext(cluster, load, isShort);
    const { disturbed, healedAt } = await disturbUnderLoad(scenario, context);
    const differences = new Differences();
    for (const text of [...context.complaints, ...load.complaints.splice(0)]) differences.add(text);
    await waitUntilSettled(cluster, scenario.settleTimeoutMs ?? settleTimeoutMs).catch((error: unknown) =>
      differences.add(String(error)),
    );
    await compare(cluster, load, differences);
    const [recovery] = await cluster.query<{ ms: number }>(
      `select coalesce(greatest(extract(epoch from max(finished_at) - $1::timestamptz) * 1000, 0), 0)::int4 as ms
       from receipts where received_at <= $1`,
      [healedAt],
    );
    const mostTries = await compareAttempts(cluster, disturbed.disturbances, differences);
    return {
      done: disturbed.done,
      receipts: load.acknowledged.length,
      records: load.recordCount,
      recoveryMs: recovery!.ms,
      mostTries,
      deadlocks: await countDeadlocks(cluster),
      differences,
    };
  } finally {
    await cluster.close();
  }
}

async function disturbUnderLoad(
  scenario: Scenario,
  context: ScenarioContext,
): Promise<{ disturbed: Disturbed; healedAt: Date }> {
  const { load } = context;
  load.start();
  try {
    await context.waitForAcknowledged(undisturbedReceipts);
    const disturbed = await scenario.disturb(context);
    const healedAt = new Date();
    await context.waitForAcknowledged(undisturbedReceipts);
    return { disturbed, healedAt };
  } finally {
    await load.stop();
  }
}

/** Bounded: what is not settled by then counts as stuck, and is found by the comparison. */
async function waitUntilSettled(cluster: Cluster, timeoutMs: number): Promise<void> {
  await waitFor('settlement of all receipts', timeoutMs, async () => (await cluster.countUnsettled()) === 0);
}

async function compare(cluster: Cluster, load: Load, differences: Differences): Promise<void> {
  await waitFor('the end of waiting jobs', drainTimeoutMs, async () => (await cluster.countWaitingJobs()) === 0).catch(
    (error: unknown) => differences.add(String(error)),
  );
  await load.replay(load.acknowledged.slice(-replayed));
  for (const text of load.complaints.splice(0)) differences.add(text);
  for (const text of cluster.unexpectedEnds) differences.add(text);
  const health = await cluster.readHealth();
  differences.compare('the readiness of the API', health?.status, 200);
  const truth = computeTruth(load.acknowledged);
  await compareReceipts(cluster, load, truth, differences);
  await compareItems(cluster, load, truth, differences);
  await findLeftovers(cluster, differences);
}

/** The folder of a scenario's logs inside that of the run. */
export function folderOf(runFolder: string, id: string): string {
  return join(runFolder, id);
}
