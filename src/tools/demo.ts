import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { chmod, mkdtemp, open, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { z } from 'zod';

/*
 * `npm run demo`: starts the whole system in a temporary folder, sends it a file of cattle records over HTTP and compares
 * what became of them with what the file was made to become. Exits with 1 when a number differs. `--keep` leaves the
 * system running.
 */

const repository = join(import.meta.dirname, '../..');
const samplesFolder = join(repository, 'samples');
const startTimeoutMs = 180_000;
const stopTimeoutMs = 30_000;
const killTimeoutMs = 5000;
const settleTimeoutMs = 300_000;
const pollMs = 100;
const entriesPerPage = 1000;
const itemsAskedAtOnce = 8;
const shownAtMost = 5;

const credentialsShape = z.object({
  base_url: z.string(),
  api_key: z.string(),
  email: z.string(),
  password: z.string(),
});
const truthShape = z.object({
  file: z.string(),
  lines: z.number(),
  records: z.number(),
  accepted: z.number(),
  duplicates: z.number(),
  conflicted: z.number(),
  rejected: z.number(),
  items: z.number(),
  rejected_lines: z.array(z.object({ line: z.number(), code: z.string() })),
  sampled_items: z.array(
    z.object({ identifier_type: z.string(), value: z.string(), fields: z.record(z.string(), z.string()) }),
  ),
});
const acknowledgementShape = z.object({ receipt_id: z.string(), hash: z.string(), size_bytes: z.number() });
const receiptShape = z.object({
  status: z.enum(['received', 'processing', 'completed', 'completed_with_errors', 'failed']),
  entries: z.object({
    total: z.number(),
    pending: z.number(),
    completed: z.number(),
    rejected: z.number(),
    failed: z.number(),
    conflicted: z.number(),
  }),
});
const entryShape = z.object({
  line: z.number().nullable(),
  status: z.string(),
  outcome: z.string().nullable(),
  error: z.object({ code: z.string(), detail: z.string() }).nullish(),
});
const entryPageShape = z.object({ entries: z.array(entryShape), next_cursor: z.string().nullable() });
const itemPageShape = z.object({
  items: z.array(z.object({ dfid: z.string(), metadata: z.record(z.string(), z.unknown()).nullish() })),
  total: z.number(),
});

type Truth = z.infer<typeof truthShape>;
type SampledItem = Truth['sampled_items'][number];
type Credentials = z.infer<typeof credentialsShape>;
type Receipt = z.infer<typeof receiptShape>;
type Entry = z.infer<typeof entryShape>;

/** The system as a child process, and the way to it. */
interface RunningSystem {
  credentials: Credentials;
  process: ChildProcess;
  folder: string;
  startedInMs: number;
  stop(): Promise<void>;
}

/** A number of the product beside the number of the truth. */
interface Comparison {
  name: string;
  got: number;
  expected: number;
}

/** What a file was found to have become, as far as the truth speaks of it. */
interface Findings {
  comparisons: Comparison[];
  /** Sentences about what differs beyond the numbers. */
  differences: string[];
  rejected: Entry[];
  exampleDfid: string | undefined;
}

const numberFormat = new Intl.NumberFormat('en-US');
const seconds = (milliseconds: number) => `${(milliseconds / 1000).toFixed(1)} s`;

function printRow(name: string, text: string): void {
  console.log(`  ${name.padEnd(12)}${text}`);
}

/** A bar on a terminal, a line every few seconds elsewhere. */
function makeProgress(label: string, total: number) {
  const barWidth = 30;
  const lineEveryMs = 3000;
  const isTerminal = process.stderr.isTTY;
  let nextLineAtMs = 0;
  return {
    show(done: number) {
      const portion = total === 0 ? 1 : Math.min(done / total, 1);
      const counts = `${numberFormat.format(done)} of ${numberFormat.format(total)}`;
      if (isTerminal) {
        const filled = Math.round(portion * barWidth);
        process.stderr.write(`\r  ${label} [${'#'.repeat(filled)}${'-'.repeat(barWidth - filled)}] ${counts} `);
      } else if (Date.now() >= nextLineAtMs) {
        nextLineAtMs = Date.now() + lineEveryMs;
        process.stderr.write(`  ${label}: ${counts}\n`);
      }
    },
    clear() {
      if (isTerminal) process.stderr.write('\r\u001B[K');
    },
  };
}

/** Asks again until there is an answer other than undefined. */
async function waitFor<Answer>(
  what: string,
  timeoutMs: number,
  signal: AbortSignal,
  ask: () => Promise<Answer | undefined>,
): Promise<Answer> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    if (Date.now() > deadline) throw new Error(`${what} took more than ${seconds(timeoutMs)}.`);
    await delay(pollMs, undefined, { signal });
  }
}

const hasEnded = (child: ChildProcess) => child.exitCode !== null || child.signalCode !== null;

async function stopProcess(child: ChildProcess): Promise<void> {
  if (hasEnded(child) || child.pid === undefined) return;
  const ended = once(child, 'exit').then(() => true);
  const endsWithin = (timeoutMs: number) => Promise.race([ended, delay(timeoutMs, false, { ref: false })]);
  child.kill('SIGTERM');
  if (await endsWithin(stopTimeoutMs)) return;
  // Asked a second time, it ends its processes without waiting for them.
  child.kill('SIGTERM');
  if (await endsWithin(killTimeoutMs)) return;
  process.kill(-child.pid, 'SIGKILL');
  await ended;
}

async function launch(folder: string): Promise<ChildProcess> {
  // Set in the shell, these would make the demo write to a database that somebody uses.
  const { DATABASE_URL: _database, DATABASE_URL_FILE: _databaseFile, ...rest } = process.env;
  const { REDIS_URL: _redis, REDIS_URL_FILE: _redisFile, ...environment } = rest;
  const log = await open(join(folder, 'system.log'), 'w', 0o600);
  try {
    return spawn(process.execPath, ['src/start.ts', '--data', join(folder, 'data')], {
      cwd: repository,
      // The operating system picks a free port; `base_url` of the credentials names it.
      env: { ...environment, PORT: '0' },
      // In a group of its own: Ctrl-C reaches the demo alone, which then stops the system in good order.
      detached: true,
      stdio: ['ignore', log.fd, log.fd],
    });
  } finally {
    await log.close();
  }
}

async function readCredentials(folder: string): Promise<Credentials | undefined> {
  try {
    return credentialsShape.parse(JSON.parse(await readFile(join(folder, 'data', 'credentials.json'), 'utf8')));
  } catch (error) {
    // Not yet there, or not yet written to its end.
    if (error instanceof SyntaxError || (error instanceof Error && 'code' in error && error.code === 'ENOENT'))
      return undefined;
    throw error;
  }
}

async function isReady(credentials: Credentials, signal: AbortSignal): Promise<boolean> {
  try {
    const response = await fetch(new URL('/health/ready', credentials.base_url), { signal });
    await response.arrayBuffer();
    return response.status === 200;
  } catch (error) {
    if (signal.aborted) throw error;
    return false;
  }
}

async function startSystem(signal: AbortSignal): Promise<RunningSystem> {
  const startedAtMs = performance.now();
  const folder = await mkdtemp(join(tmpdir(), 'defarm-demo-'));
  // When root runs the demo, Postgres runs as another user, who must get through to the folder inside.
  await chmod(folder, 0o711);
  let child: ChildProcess | undefined;
  const stop = async () => {
    if (child) await stopProcess(child);
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  };
  try {
    const started = await launch(folder);
    child = started;
    started.on('error', () => undefined);
    const credentials = await waitFor('Starting the system', startTimeoutMs, signal, async () => {
      if (hasEnded(started) || started.pid === undefined) throw new Error('The system ended while it was starting.');
      const found = await readCredentials(folder);
      return found && (await isReady(found, signal)) ? found : undefined;
    });
    return { credentials, process: started, folder, startedInMs: performance.now() - startedAtMs, stop };
  } catch (error) {
    if (!signal.aborted) await printEndOfLog(folder);
    await stop();
    throw error;
  }
}

async function printEndOfLog(folder: string): Promise<void> {
  const log = await readFile(join(folder, 'system.log'), 'utf8').catch(() => '');
  console.error(`The last lines of the system:\n${log.trimEnd().split('\n').slice(-15).join('\n')}`);
}

/** The API as the owner of one key sees it. */
class ApiClient {
  readonly #credentials: Credentials;
  readonly #signal: AbortSignal;

  constructor(credentials: Credentials, signal: AbortSignal) {
    this.#credentials = credentials;
    this.#signal = signal;
  }

  async get<Shape extends z.ZodType>(path: string, shape: Shape): Promise<z.infer<Shape>> {
    const response = await this.#request(path, {});
    return shape.parse(await response.json());
  }

  async sendCsv(csv: Uint8Array<ArrayBuffer>, idempotencyKey: string) {
    const response = await this.#request('/api/receipts?value_chain=BEEF&country=BR&year=2025', {
      method: 'POST',
      headers: { 'Content-Type': 'text/csv', 'Idempotency-Key': idempotencyKey },
      body: csv,
    });
    return {
      status: response.status,
      isReplay: response.headers.get('Idempotency-Replayed') === 'true',
      acknowledgement: acknowledgementShape.parse(await response.json()),
    };
  }

  async #request(path: string, init: RequestInit): Promise<Response> {
    const headers = new Headers(init.headers);
    headers.set('X-API-Key', this.#credentials.api_key);
    const response = await fetch(new URL(path, this.#credentials.base_url), { ...init, headers, signal: this.#signal });
    if (response.ok) return response;
    throw new Error(
      `${init.method ?? 'GET'} ${path} answered ${response.status}: ${(await response.text()).slice(0, 500)}`,
    );
  }
}

async function settle(client: ApiClient, receiptId: string, records: number, signal: AbortSignal): Promise<Receipt> {
  const progress = makeProgress('working', records);
  try {
    return await waitFor('Working on the receipt', settleTimeoutMs, signal, async () => {
      const receipt = await client.get(`/api/receipts/${receiptId}`, receiptShape);
      progress.show(receipt.entries.total - receipt.entries.pending);
      return receipt.status === 'received' || receipt.status === 'processing' ? undefined : receipt;
    });
  } finally {
    progress.clear();
  }
}

async function readEntries(client: ApiClient, receiptId: string, status: string): Promise<Entry[]> {
  const entries: Entry[] = [];
  let cursor: string | null = null;
  do {
    const query = new URLSearchParams({ status, limit: String(entriesPerPage), ...(cursor !== null && { cursor }) });
    const page: z.infer<typeof entryPageShape> = await client.get(
      `/api/receipts/${receiptId}/entries?${query.toString()}`,
      entryPageShape,
    );
    entries.push(...page.entries);
    cursor = page.next_cursor;
  } while (cursor !== null);
  return entries;
}

function compareRejectedLines(rejected: readonly Entry[], truth: Truth) {
  const got = new Map(rejected.map(({ line, error }) => [line, error?.code ?? 'no code']));
  const expected = new Map<number | null, string>(truth.rejected_lines.map(({ line, code }) => [line, code]));
  const wrong = [...expected].filter(([line, code]) => got.get(line) !== code);
  const unexpected = [...got].filter(([line]) => !expected.has(line));
  return {
    correct: expected.size - wrong.length,
    differences: [
      ...wrong.map(([line, code]) => `line ${line} is rejected for ${got.get(line) ?? 'nothing'}, expected ${code}`),
      ...unexpected.map(([line, code]) => `line ${line} is rejected for ${code}, expected to be accepted`),
    ],
  };
}

async function compareItem(client: ApiClient, sampled: SampledItem): Promise<{ dfid?: string; differences: string[] }> {
  const query = new URLSearchParams({ identifier_type: sampled.identifier_type, value: sampled.value });
  const { items } = await client.get(`/api/items?${query.toString()}`, itemPageShape);
  const [item] = items;
  if (!item || items.length > 1) return { differences: [`${sampled.value} is ${items.length} items, expected 1`] };
  const differences: string[] = [];
  for (const [field, expected] of Object.entries(sampled.fields)) {
    const got = item.metadata?.[field];
    if (got !== expected) {
      differences.push(`${field} of ${sampled.value} is ${JSON.stringify(got)}, expected ${JSON.stringify(expected)}`);
    }
  }
  return { dfid: item.dfid, differences };
}

async function compareItems(client: ApiClient, truth: Truth) {
  const compared: Awaited<ReturnType<typeof compareItem>>[] = [];
  for (let start = 0; start < truth.sampled_items.length; start += itemsAskedAtOnce) {
    const together = truth.sampled_items.slice(start, start + itemsAskedAtOnce);
    compared.push(...(await Promise.all(together.map((sampled) => compareItem(client, sampled)))));
  }
  return {
    correct: compared.filter(({ differences }) => differences.length === 0).length,
    differences: compared.flatMap(({ differences }) => differences),
    // The last ones were reported several times, so that there is a history to show.
    exampleDfid: compared.at(-1)?.dfid,
  };
}

async function findOut(client: ApiClient, receiptId: string, receipt: Receipt, truth: Truth): Promise<Findings> {
  const [rejected, completed, { total: items }, sampled] = await Promise.all([
    readEntries(client, receiptId, 'rejected'),
    readEntries(client, receiptId, 'completed'),
    client.get('/api/items?limit=1', itemPageShape),
    compareItems(client, truth),
  ]);
  const { entries } = receipt;
  const rejectedLines = compareRejectedLines(rejected, truth);
  const duplicates = completed.filter(({ outcome }) => outcome === 'duplicate').length;
  return {
    comparisons: [
      { name: 'records', got: entries.total, expected: truth.records },
      { name: 'accepted', got: entries.completed, expected: truth.accepted },
      { name: 'duplicates', got: duplicates, expected: truth.duplicates },
      { name: 'conflicted', got: entries.conflicted, expected: truth.conflicted },
      { name: 'rejected', got: entries.rejected, expected: truth.rejected },
      { name: 'failed', got: entries.failed, expected: 0 },
      { name: 'items', got: items, expected: truth.items },
      {
        name: 'lines named with the right reason',
        got: rejectedLines.correct,
        expected: truth.rejected,
      },
      { name: 'sampled animals with the right values', got: sampled.correct, expected: truth.sampled_items.length },
    ],
    differences: [...rejectedLines.differences, ...sampled.differences],
    rejected,
    exampleDfid: sampled.exampleDfid,
  };
}

function printComparisons(comparisons: readonly Comparison[]): void {
  console.log(`\n  ${''.padEnd(38)}${'found'.padStart(10)}${'expected'.padStart(10)}`);
  for (const { name, got, expected } of comparisons) {
    const columns = [got, expected].map((value) => numberFormat.format(value).padStart(10));
    const mark = got === expected ? '' : '  <- differs';
    console.log(`  ${name.padEnd(38)}${columns.join('')}${mark}`);
  }
}

/** One rejected record for each of the first reasons: the same reason many times would teach nothing. */
function printReasons(rejected: readonly Entry[]): void {
  const firstByCode = new Map<string, Entry>();
  for (const entry of rejected) {
    const code = entry.error?.code ?? '';
    if (!firstByCode.has(code)) firstByCode.set(code, entry);
  }
  console.log('\n  Why lines were rejected, for example');
  for (const [code, { line, error }] of [...firstByCode].slice(0, shownAtMost)) {
    console.log(shorten(`  line ${String(line).padStart(6)}  ${code}: ${error?.detail ?? ''}`));
  }
}

function shorten(text: string): string {
  const width = 118;
  return text.length > width ? `${text.slice(0, width - 1)}…` : text;
}

async function printProvenance(client: ApiClient, dfid: string): Promise<void> {
  const provenance = await client.get(`/api/items/${dfid}/provenance`, z.record(z.string(), z.unknown()));
  const steps = Object.values(provenance).find((member) => Array.isArray(member)) ?? [];
  console.log(`\n  One animal: ${dfid}, provenance (GET /api/items/${dfid}/provenance)`);
  for (const step of steps.slice(0, shownAtMost)) console.log(shorten(`    ${JSON.stringify(step)}`));
}

async function runDemo(system: RunningSystem, signal: AbortSignal): Promise<string[]> {
  const truth = truthShape.parse(JSON.parse(await readFile(join(samplesFolder, 'truth.json'), 'utf8')));
  const csv = new Uint8Array(await readFile(join(samplesFolder, truth.file)));
  const client = new ApiClient(system.credentials, signal);
  console.log('\nDeFarm Engines: from a file of cattle records to items\n');
  printRow(
    'system',
    `API, workers and Postgres ready after ${seconds(system.startedInMs)} at ${system.credentials.base_url}`,
  );

  const idempotencyKey = randomUUID();
  const sentAtMs = performance.now();
  const first = await client.sendCsv(csv, idempotencyKey);
  const answeredInMs = performance.now() - sentAtMs;
  const { receipt_id: receiptId, hash } = first.acknowledgement;
  const size = `${(csv.length / 1e6).toFixed(1)} MB, ${numberFormat.format(truth.lines)} lines`;
  printRow('sent', `samples/${truth.file}, ${size}: answered ${first.status} after ${Math.round(answeredInMs)} ms`);
  printRow('receipt', `${receiptId}, BLAKE3 ${hash.slice(0, 16)}…`);

  const receipt = await settle(client, receiptId, truth.records, signal);
  const workedMs = performance.now() - sentAtMs;
  const speed = numberFormat.format(Math.round((receipt.entries.total / workedMs) * 1000));
  printRow('settled', `${receipt.status} ${seconds(workedMs)} after it was sent: ${speed} records/s`);

  const second = await client.sendCsv(csv, idempotencyKey);
  const isSameAnswer = second.isReplay && second.acknowledgement.receipt_id === receiptId;
  printRow(
    'sent again',
    `same Idempotency-Key: ${isSameAnswer ? 'answered from the first, nothing done twice' : 'taken as new'}`,
  );

  const findings = await findOut(client, receiptId, receipt, truth);
  printComparisons(findings.comparisons);
  printReasons(findings.rejected);
  if (findings.exampleDfid !== undefined) await printProvenance(client, findings.exampleDfid);
  return listDifferences(findings, isSameAnswer);
}

function listDifferences({ comparisons, differences }: Findings, isReplayAnswered: boolean): string[] {
  const numbers = comparisons
    .filter(({ got, expected }) => got !== expected)
    .map(({ name, got, expected }) => `${name}: found ${got}, expected ${expected}`);
  if (!isReplayAnswered)
    numbers.push('the second sending with the same Idempotency-Key was not answered from the first');
  const further = differences.length - shownAtMost;
  return [
    ...numbers,
    ...differences.slice(0, shownAtMost),
    ...(further > 0 ? [`and ${further} further differences`] : []),
  ];
}

function leaveRunning({ credentials, folder, process: child }: RunningSystem): void {
  child.unref();
  console.log('\n  The system goes on.');
  printRow('API', credentials.base_url);
  printRow('docs', `${credentials.base_url}/docs`);
  printRow('queues', `${credentials.base_url}/admin/queues`);
  // Credentials go to a terminal only, never into a log.
  if (process.stdout.isTTY) {
    printRow('login', `${credentials.email}  ${credentials.password}`);
    printRow('API key', credentials.api_key);
  } else {
    printRow('credentials', join(folder, 'data', 'credentials.json'));
  }
  printRow('to end it', `kill ${child.pid}, then remove ${folder}`);
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { keep: { type: 'boolean', default: false } } });
  const interruption = new AbortController();
  // npm passes a signal on that the terminal has sent already; the second one must not cut the stopping short.
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, () => interruption.abort());
  let system: RunningSystem | undefined;
  let isKept = false;
  try {
    system = await startSystem(interruption.signal);
    const differences = await runDemo(system, interruption.signal);
    console.log(differences.length === 0 ? '\n  Everything is as it must be.' : `\n  Not as it must be:`);
    for (const difference of differences) console.log(`  - ${difference}`);
    if (differences.length > 0) process.exitCode = 1;
    isKept = values.keep;
    if (isKept) leaveRunning(system);
  } catch (error) {
    process.exitCode = 1;
    if (interruption.signal.aborted) console.error('\nInterrupted; stopping the system.');
    else {
      console.error(`\nThe demo failed: ${error instanceof Error ? error.message : String(error)}`);
      if (system) await printEndOfLog(system.folder);
    }
  } finally {
    if (!isKept) await system?.stop();
  }
}

await main();
// Idle keep-alive connections would hold the process for seconds.
process.exit();
