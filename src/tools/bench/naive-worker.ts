import { makeId, makeReceiptId, entryIdAt } from '#platform/ids.ts';
import { Worker } from 'bullmq';
import { Redis } from 'ioredis';
import pg from 'pg';
import { naiveConcurrency, naiveRecordQueue, type NaiveJob } from './naive-job.ts';

/*
 * The naive worker: one job per record, one transaction per job, one row per statement, on the product's tables. It tells
 * its parent when it has done as many records as its only argument says.
 */

interface State {
  entries: [string, number, number][];
  identifiers: [string, string, string, string, number, number][];
  fields: Record<string, [unknown, number, number]>;
}

const { DATABASE_URL, REDIS_URL } = process.env;
const expected = Number(process.argv[2]);
const uniqueViolation = '23505';

const pool = new pg.Pool({ connectionString: DATABASE_URL!, max: naiveConcurrency });
const connection = new Redis(REDIS_URL!, { maxRetriesPerRequest: null });
const { rows: workspaces } = await pool.query<{ workspace_id: string }>('select workspace_id from workspaces');
const workspaceId = workspaces[0]!.workspace_id;
const receiptId = makeReceiptId();
let done = 0;

const worker = new Worker<NaiveJob>(
  naiveRecordQueue,
  async ({ data }) => {
    await keepRecord(data);
    done += 1;
    if (done === expected) process.send!({ finishedAtMs: performance.timeOrigin + performance.now() });
  },
  { connection, concurrency: naiveConcurrency },
);
worker.on('failed', (_job, error) => process.send!({ fault: error.message }));
await worker.waitUntilReady();
process.send!({ ready: true });

process.once('disconnect', () => process.exit());

async function keepRecord(job: NaiveJob): Promise<void> {
  const client = await pool.connect();
  try {
    for (;;) {
      await client.query('begin');
      try {
        await insertRecord(client, job);
        await client.query('commit');
        return;
      } catch (error) {
        await client.query('rollback');
        // Two jobs created the same animal at once; the slower one finds it the next time.
        if (!(error instanceof pg.DatabaseError && error.code === uniqueViolation)) throw error;
      }
    }
  } finally {
    client.release();
  }
}

async function insertRecord(client: pg.PoolClient, { position, record }: NaiveJob): Promise<void> {
  const entryId = entryIdAt(receiptId, position);
  const known = await findItem(client, record);
  const itemNumber = known ?? (await insertItem(client, record, entryId));
  const isChanged = await keepContribution(client, itemNumber, record, entryId, known === undefined);
  const outcome = known === undefined ? 'created' : isChanged ? 'enriched' : 'duplicate';
  await client.query(
    `insert into entries (entry_id, workspace_id, item_number, received_sequence, effective_at, line, byte_start, byte_length,
                          status, outcome, record)
     values ($1, $2, $3, 1, now(), $4, 0, 0, 'completed', $5, $6)`,
    [entryId, workspaceId, itemNumber, position + 1, outcome, JSON.stringify(recordOf(record))],
  );
  if (outcome === 'duplicate') return;
  await client.query(
    `insert into events (workspace_id, event_id, item_number, event_type, entry_id, occurred_at, visibility, payload)
     values ($1, $2, $3, $4, $5, now(), 'private', '{}')`,
    [workspaceId, makeId(), itemNumber, `item_${outcome}`, entryId],
  );
}

async function findItem(client: pg.PoolClient, record: NaiveJob['record']): Promise<string | undefined> {
  for (const identifier of record.identifiers) {
    const { rows } = await client.query<{ item_number: string }>(
      'select item_number from identifier_claims where identifier_type = $1 and value = $2',
      [identifier.identifier_type, identifier.value],
    );
    if (rows[0]) return rows[0].item_number;
  }
  return undefined;
}

async function insertItem(client: pg.PoolClient, record: NaiveJob['record'], entryId: string): Promise<string> {
  const { rows } = await client.query<{ item_number: string }>(
    `insert into items (item_number, value_chain, country, year) values (nextval('item_numbers'), $1, $2, $3)
     returning item_number`,
    [record.value_chain, record.country, record.year],
  );
  const itemNumber = rows[0]!.item_number;
  for (const identifier of record.identifiers) {
    await client.query(
      'insert into identifier_claims (identifier_type, value, item_number, entry_id) values ($1, $2, $3, $4)',
      [identifier.identifier_type, identifier.value, itemNumber, entryId],
    );
  }
  return itemNumber;
}

/** True when the record says something new of the item. */
async function keepContribution(
  client: pg.PoolClient,
  itemNumber: string,
  record: NaiveJob['record'],
  entryId: string,
  isNew: boolean,
): Promise<boolean> {
  if (isNew) {
    await client.query('insert into contributions (item_number, workspace_id, state) values ($1, $2, $3)', [
      itemNumber,
      workspaceId,
      JSON.stringify(stateOf(record, entryId)),
    ]);
    return true;
  }
  await client.query('select 1 from items where item_number = $1 for no key update', [itemNumber]);
  const { rows } = await client.query<{ state: State }>(
    'select state from contributions where item_number = $1 and workspace_id = $2',
    [itemNumber, workspaceId],
  );
  const { state } = rows[0]!;
  const entry = state.entries.push([entryId, Date.now() * 1000, 1]) - 1;
  let isChanged = false;
  for (const [name, value] of Object.entries(record.metadata)) {
    const field = state.fields[name];
    isChanged ||= field?.[0] !== value;
    state.fields[name] = [value, entry, field?.[2] ?? entry];
  }
  await client.query(
    `update contributions set state = $3, version = version + 1, updated_at = now()
     where item_number = $1 and workspace_id = $2`,
    [itemNumber, workspaceId, JSON.stringify(state)],
  );
  return isChanged;
}

function recordOf({ identifiers, metadata }: NaiveJob['record']) {
  return {
    identifiers: identifiers.map(({ identifier_type: type, value }) => [type, value, type, value, 1]),
    fields: metadata,
  };
}

function stateOf({ identifiers, metadata }: NaiveJob['record'], entryId: string): State {
  return {
    entries: [[entryId, Date.now() * 1000, 1]],
    identifiers: identifiers.map(({ identifier_type: type, value }) => [type, value, type, value, 1, 0]),
    fields: Object.fromEntries(Object.entries(metadata).map(([name, value]) => [name, [value, 0, 0]])),
  };
}
