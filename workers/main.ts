import { readConfigOrExit } from '../src/config.ts';
import { requireDatabaseUrl } from '../src/require-database-url.ts';
import { findWorkableQueues, startWorker } from '../src/start-worker.ts';
import { keepHeapSmall } from '#platform/heap-growth.ts';
import { endOnSignal } from '#platform/process-life.ts';

keepHeapSmall();
const available = findWorkableQueues();
const named = process.argv.slice(2);
const unknown = named.filter((name) => !available.includes(name));
if (unknown.length > 0) {
  process.stderr.write(`There is no queue named ${unknown.join(', ')}. Queues are ${available.join(', ')}.\n`);
  process.exit(64);
}

const config = readConfigOrExit();
endOnSignal(await startWorker(config, requireDatabaseUrl(config), named.length > 0 ? named : available));
