import type { Cluster } from './cluster.ts';
import type { Differences } from './differences.ts';
import type { Load } from './load.ts';
import type { ExpectedReceipt, Truth } from './truth.ts';

interface StoredReceipt {
  receipt_id: string;
  workspace_id: string;
  hash: string;
  size_bytes: number;
  is_finished: boolean;
}

interface ShownReceipt {
  hash: string;
  status: string;
  size_bytes: number;
  finished_at: string | null;
  entries: Record<'total' | 'pending' | 'completed' | 'rejected' | 'failed' | 'conflicted', number>;
}

const askedAtOnce = 8;
const bodiesAtOnce = 100;

/**
 * Compares what is stored and shown of receipts with what was sent: each that was acknowledged is there once, with its
 * bytes, settled, with the right counts; and nothing else is there.
 */
export async function compareReceipts(
  cluster: Cluster,
  load: Load,
  truth: Truth,
  differences: Differences,
): Promise<void> {
  await compareStored(cluster, load, truth, differences);
  await compareBodies(cluster, load, truth, differences);
  await compareShown(cluster, load, truth, differences);
}

async function compareStored(cluster: Cluster, load: Load, truth: Truth, differences: Differences): Promise<void> {
  const rows = await cluster.query<StoredReceipt>(
    `select receipt_id, workspace_id, encode(hash, 'hex') as hash, size_bytes, finished_at is not null as is_finished from receipts`,
  );
  const byId = new Map(rows.map((row) => [row.receipt_id, row]));
  differences.compare('the number of receipts', rows.length, truth.receipts.length);
  for (const { submission } of truth.receipts) {
    const receiptId = load.receiptIdOf(submission);
    const row = byId.get(receiptId);
    if (!row) {
      differences.add(`receipt ${receiptId} was acknowledged and does not exist`);
      continue;
    }
    differences.compare(`the hash of ${receiptId}`, row.hash, submission.hash);
    differences.compare(`the size of ${receiptId}`, row.size_bytes, submission.body.length);
    differences.compare(
      `the workspace of ${receiptId}`,
      row.workspace_id,
      cluster.workspaces[submission.workspace]!.workspaceId,
    );
    if (!row.is_finished) differences.add(`receipt ${receiptId} is not settled`);
  }
  const keys = await cluster.query<{ key: string; receipt_id: string }>('select key, receipt_id from idempotency_keys');
  differences.compareSets(
    'the idempotency keys',
    keys.map((row) => `${row.key} of ${row.receipt_id}`),
    truth.receipts.map(({ submission }) => `${submission.key} of ${load.receiptIdOf(submission)}`),
  );
}

async function compareBodies(cluster: Cluster, load: Load, truth: Truth, differences: Differences): Promise<void> {
  for (let start = 0; start < truth.receipts.length; start += bodiesAtOnce) {
    const batch = truth.receipts.slice(start, start + bodiesAtOnce);
    const rows = await cluster.query<{ receipt_id: string; bytes: Buffer }>(
      'select receipt_id, bytes from receipt_bodies where receipt_id = any($1::uuid[]) order by receipt_id, part',
      [batch.map(({ submission }) => load.receiptIdOf(submission))],
    );
    const parts = Map.groupBy(rows, (row) => row.receipt_id);
    for (const { submission } of batch) {
      const receiptId = load.receiptIdOf(submission);
      const bytes = Buffer.concat((parts.get(receiptId) ?? []).map((row) => row.bytes));
      if (!bytes.equals(submission.body)) differences.add(`the body of ${receiptId} is not what was sent`);
    }
  }
}

async function compareShown(cluster: Cluster, load: Load, truth: Truth, differences: Differences): Promise<void> {
  const waiting = truth.receipts.values();
  const lane = async () => {
    for (const expected of waiting) await compareShownReceipt(cluster, load, expected, differences);
  };
  await Promise.all(Array.from({ length: askedAtOnce }, lane));
}

async function compareShownReceipt(
  cluster: Cluster,
  load: Load,
  { submission, counts }: ExpectedReceipt,
  differences: Differences,
): Promise<void> {
  const receiptId = load.receiptIdOf(submission);
  const response = await fetch(`${cluster.baseUrl}/api/receipts/${receiptId}`, {
    headers: { 'X-API-Key': cluster.workspaces[submission.workspace]!.apiKey },
  });
  if (!response.ok) {
    await response.arrayBuffer();
    differences.add(`GET of receipt ${receiptId} answers ${response.status}`);
    return;
  }
  const shown = (await response.json()) as ShownReceipt;
  const expectedEntries = { total: submission.records.length, pending: 0, ...counts };
  for (const [name, expected] of Object.entries(expectedEntries))
    differences.compare(`entries.${name} of ${receiptId}`, shown.entries[name as keyof typeof shown.entries], expected);
  differences.compare(
    `the status of ${receiptId}`,
    shown.status,
    counts.completed === submission.records.length ? 'completed' : 'completed_with_errors',
  );
  if (shown.finished_at === null) differences.add(`receipt ${receiptId} shows no finished_at`);
}
