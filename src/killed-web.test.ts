import { spawn, type ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readJson, startApplication, waitFor, type TestApplication } from './testing/application.ts';
import { findBrokenRules } from './testing/deduplication.ts';

const server = join(import.meta.dirname, 'server.ts');

let application: TestApplication;
let child: ChildProcess | undefined;
beforeAll(async () => {
  application = await startApplication({ backend: 'postgres', hasWorker: false });
});
afterAll(async () => {
  child?.kill('SIGKILL');
  await application.close();
});

/** Starts a web process of its own; what it answers comes from no other. */
async function startProcess(): Promise<{ url: string; kill(): Promise<unknown> }> {
  const started = spawn(process.execPath, [server], {
    env: { PATH: process.env['PATH'], ...application.environment, LOG_LEVEL: 'info' },
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  child = started;
  let output = '';
  started.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
  const ended = new Promise((resolve) => started.once('close', resolve));
  const port = await waitFor(() => /"port":(\d+)/.exec(output)?.[1], 'the web process to listen');
  return {
    url: `http://127.0.0.1:${port}`,
    kill() {
      started.kill('SIGKILL');
      return ended;
    },
  };
}

/** Creates items one after the other, each with its key, until the process is gone; tells which keys were tried. */
async function createUntilGone(url: string, client: number, acknowledged: string[]): Promise<number> {
  for (let at = 0; ; at += 1) {
    try {
      const response = await create(url, client, at);
      const { item } = await readJson<{ item: { dfid: string } }>(response);
      acknowledged.push(item.dfid);
    } catch {
      return at;
    }
  }
}

function create(url: string, client: number, at: number): Promise<Response> {
  const value = `BR7${String(client).padStart(3, '0')}${String(at).padStart(8, '0')}`;
  return fetch(`${url}/api/items`, {
    method: 'POST',
    headers: {
      'x-api-key': application.apiKey,
      'content-type': 'application/json',
      'idempotency-key': `${client}-${at}`,
    },
    body: JSON.stringify({
      value_chain: 'BEEF',
      country: 'BR',
      year: 2025,
      identifiers: [{ identifier_type: 'sisbov', value }],
    }),
  });
}

test('a web process that is killed leaves each key with its whole effect or none, and sending again completes it', async () => {
  const victim = await startProcess();
  const acknowledged: string[] = [];
  const clients = Array.from({ length: 12 }, (_, client) => createUntilGone(victim.url, client, acknowledged));
  await waitFor(() => (acknowledged.length > 150 ? true : undefined), 'some items');
  await victim.kill();
  const cutOff = await Promise.all(clients);

  const answers = await Promise.all(cutOff.map((at, client) => create(application.url, client, at)));
  const bodies = await Promise.all(
    answers.map((answer) => readJson<{ item: { version: number }; was_deduplicated: boolean }>(answer)),
  );

  expect(answers.map((answer) => answer.status)).toEqual(cutOff.map(() => 201));
  for (const body of bodies) expect(body).toMatchObject({ item: { version: 1 }, was_deduplicated: false });
  const { rows } = await application.database.pool.query(
    `select (select count(*) from receipts) as receipts, (select count(*) from entries) as entries,
            (select count(*) from items) as items, (select count(*) from idempotency_keys) as keys,
            (select count(*) from receipts where finished_at is null) as unsettled`,
  );
  const tried = cutOff.reduce((sum, at) => sum + at + 1, 0);
  expect(rows[0]).toMatchObject({ receipts: tried, entries: tried, items: tried, keys: tried, unsettled: 0 });
  expect(await findBrokenRules(application.database)).toEqual([]);
});
