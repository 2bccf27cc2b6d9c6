import pg from 'pg';
import type { Database } from '#platform/database.ts';
import { surviveLostConnections, withTransaction } from '#platform/database.ts';
import { isTransientConflict, sqlStateOf } from '#platform/errors.ts';
import { entryIdAt, makeId, makeReceiptId } from '#platform/ids.ts';
import { canonicalJson } from '#platform/json/canonical.ts';
import {
  absorbRecords,
  ContentionError,
  judgeRecord,
  makeCaseRetries,
  makeItemNumberSource,
  readJsonRecord,
  type IncomingRecord,
  type Verdict,
} from '#domains/items/index.ts';
import { claimKey } from '#domains/items/judge-record.ts';
import { claimsOfRecord, type StoredRecord } from '#domains/items/stored-record.ts';
import { readTypesOfNewInstallation } from './identifier-types.ts';

/** The identifier types and rules that a new installation has. */
export const { registry: seedTypes } = await readTypesOfNewInstallation();

/** A workspace that submits records. */
export interface TestWorkspace {
  readonly id: string;
  readonly mayLinkItems: boolean;
}

/** A record with its place in the order of arrival. */
export interface TestRecord {
  readonly entryId: string;
  readonly receivedSequence: number;
  readonly receivedAtMicros: number;
  /** The record as a client sends it. */
  readonly json: object;
}

/** Puts a workspace into the database. */
export async function createWorkspace(database: Database, mayLinkItems = false): Promise<TestWorkspace> {
  const id = makeId();
  await database.pool.query(
    'insert into workspaces (workspace_id, name, slug, may_link_items) values ($1::uuid, $1::text, $1::text, $2)',
    [id, mayLinkItems],
  );
  return { id, mayLinkItems };
}

/** Forgets all that was absorbed, and the workspaces. */
export async function emptyIdentityTables({ pool }: Database): Promise<void> {
  await pool.query(
    `truncate items, identifier_claims, workspace_claims, identifier_mentions, contributions, entries, entry_divisions, item_merges,
              item_relationships, events, workspaces, conflicts, conflict_entries, conflict_participants, contested_claims,
              contested_items, remembered_decisions, item_separations, case_retries cascade`,
  );
}

let lastSequence = 0;

/** The records of one receipt that arrived now. */
export function receiptOf(...records: object[]): TestRecord[] {
  const receiptId = makeReceiptId();
  const receivedSequence = (lastSequence += 1);
  return records.map((json, position) => ({
    entryId: entryIdAt(receiptId, position),
    receivedSequence,
    receivedAtMicros: 1_760_000_000_000_000 + receivedSequence,
    json,
  }));
}

/** The record as reception hands it to deduplication. */
function judged(workspace: TestWorkspace, record: TestRecord): IncomingRecord {
  const submitted = readJsonRecord(JSON.parse(JSON.stringify(record.json)));
  const judgement = submitted.ok
    ? judgeRecord(submitted.value, {
        workspaceId: workspace.id,
        defaults: { valueChain: null, country: null, year: null },
        types: seedTypes,
        nowMicros: record.receivedAtMicros,
      })
    : submitted;
  const { entryId, receivedSequence, receivedAtMicros } = record;
  return { entryId, receivedSequence, receivedAtMicros, line: null, byteStart: 0, byteLength: 1, judgement };
}

/** Absorbs records in transactions, as a worker does. */
export interface Absorber {
  /** Tries again for as long as other transactions are in the way. */
  absorb(workspace: TestWorkspace, records: readonly TestRecord[]): Promise<readonly Verdict[]>;
  /** Absorbs on a connection that is in a transaction already, without trying again. */
  absorbWithin(
    client: pg.ClientBase,
    workspace: TestWorkspace,
    records: readonly TestRecord[],
  ): Promise<readonly Verdict[]>;
  /** Tries again what waits for that, as a sweep does. */
  retryDue(): Promise<void>;
  /** What was in the way so far. */
  readonly obstacles: { deadlocks: number; contentions: number };
  close(): Promise<void>;
}

/** Makes an absorber on the connections of a worker's pool. */
export function makeAbsorber(database: Database): Absorber {
  const numbersPool = new pg.Pool({ ...database.pool.options, max: 1 });
  surviveLostConnections(numbersPool);
  const takeNumbers = makeItemNumberSource(numbersPool);
  const obstacles = { deadlocks: 0, contentions: 0 };

  const { retryDue } = makeCaseRetries({
    pool: database.pool,
    takeNumbers,
    loadTypes: () => Promise.resolve(seedTypes),
    identifiersMax: 100,
    recount: () => Promise.resolve(),
  });

  const absorbOnce = async (client: pg.ClientBase, workspace: TestWorkspace, records: readonly TestRecord[]) => {
    const absorbed = await absorbRecords(
      client,
      {
        workspaceId: workspace.id,
        mayLinkItems: workspace.mayLinkItems,
        identifiersMax: 100,
        types: seedTypes,
        takeNumbers,
      },
      records.map((record) => judged(workspace, record)),
    );
    await absorbed.written;
    return absorbed;
  };

  return {
    obstacles,
    retryDue,
    absorbWithin: async (client, workspace, records) => (await absorbOnce(client, workspace, records)).verdicts,
    async absorb(workspace, records) {
      for (let attempt = 1; ; attempt += 1) {
        try {
          const { verdicts, hasRetries } = await withTransaction(database.pool, (client) =>
            absorbOnce(client, workspace, records),
          );
          if (hasRetries) await retryDue();
          return verdicts;
        } catch (error) {
          if (sqlStateOf(error) === '40P01') obstacles.deadlocks += 1;
          else if (error instanceof ContentionError) obstacles.contentions += 1;
          else if (!isTransientConflict(error)) throw error;
          if (attempt === 100) throw error;
        }
      }
    },
    close: () => numbersPool.end(),
  };
}

/** Rules that hold after every commit, as queries for what breaks them. */
const brokenRules: Readonly<Record<string, string>> = {
  'an entry waits if and only if it is in an open case':
    "select e.entry_id from entries e left join conflict_entries c using (entry_id) left join conflicts k using (conflict_id) where (e.status = 'conflicted') <> (k.status is not distinct from 'open')",
  'a workspace claim leads to an item that exists and is not merged':
    'select c.* from workspace_claims c left join items i using (item_number) where i.item_number is null or i.merged_into is not null',
  'a claim belongs to an item that exists and is not merged':
    'select c.* from identifier_claims c left join items i using (item_number) where i.item_number is null or i.merged_into is not null',
  'a claim names an entry of its item': `select c.* from identifier_claims c left join entries e using (entry_id) left join items i on i.item_number = e.item_number
     where (i.item_number is null or coalesce(i.merged_into, i.item_number) <> c.item_number)
       and not exists (select from entry_divisions d join items h on h.item_number = d.item_number
                       where d.entry_id = c.entry_id and coalesce(h.merged_into, h.item_number) = c.item_number)`,
  'an item has one value at a time of each type of which it has one at most, unless a person said otherwise': `select item_number, identifier_type
     from identifier_claims join items using (item_number)
     where vouched_at is null
       and not exists (select from item_merges m where m.survivor = item_number and m.decided_by is not null)
       and not exists (select from items o
                       join (select item_number, entry_id from entries union all select item_number, entry_id from entry_divisions) p on p.item_number = o.item_number
                       join entries e on e.entry_id = p.entry_id left join conflict_entries c on c.entry_id = e.entry_id left join conflicts k using (conflict_id)
                       where coalesce(o.merged_into, o.item_number) = items.item_number
                         and (e.record ->> 'placed' is not null or k.action in ('merge', 'attach', 'separate')))
       and not exists (select from items o join entry_divisions d on d.item_number = o.item_number
                       where coalesce(o.merged_into, o.item_number) = items.item_number)
       and ended_at is null
       and identifier_type in (select name from identifier_types where subject = 'item' and cardinality = 'one')
     group by 1, 2 having count(*) > 1`,
  'merged items point at one that is not merged':
    'select l.* from items l left join items s on s.item_number = l.merged_into where l.merged_into is not null and (s.item_number is null or s.merged_into is not null)',
  'the lowest number survives where no person decided': `select * from items where merged_into > item_number
     and not exists (select from item_merges m where m.survivor = items.merged_into and m.decided_by is not null)`,
  'each item was created by one entry, or by a person who separated it from another': `select i.item_number from items i
     left join entries e on e.item_number = i.item_number and e.outcome = 'created'
     group by i.item_number having count(e.entry_id) <> 1
       and not exists (select from item_separations s where i.item_number in (s.lower_item, s.higher_item))
       and not exists (select from items o join events v on v.item_number = o.item_number and v.event_type = 'item_split'
                       where coalesce(o.merged_into, o.item_number) = coalesce(i.merged_into, i.item_number))`,
  'an entry belongs to an item that exists':
    'select e.* from entries e left join items i using (item_number) where e.item_number is not null and i.item_number is null',
  'an entry has an item if and only if it is completed':
    "select * from entries where (status = 'completed') <> (item_number is not null)",
  'a contribution belongs to an item that exists':
    'select c.* from contributions c left join items i using (item_number) where i.item_number is null',
  'each entry has a contribution of its workspace to the item as it is now': `select e.* from entries e join items i using (item_number)
     left join contributions c on c.item_number = coalesce(i.merged_into, i.item_number) and c.workspace_id = e.workspace_id where c.item_number is null`,
  'a contribution comes from an entry': `select c.* from contributions c where not exists (
     select from items own join items i on coalesce(i.merged_into, i.item_number) = coalesce(own.merged_into, own.item_number)
     join (select item_number, entry_id from entries union all select item_number, entry_id from entry_divisions) p on p.item_number = i.item_number
     join entries e on e.entry_id = p.entry_id where own.item_number = c.item_number and e.workspace_id = c.workspace_id)`,
  'an event belongs to an item that exists':
    'select e.* from events e left join items i using (item_number) where e.item_number is not null and i.item_number is null',
  'an event belongs to an entry of its item': `select v.* from events v left join entries e using (entry_id) left join items i on i.item_number = e.item_number
     join items o on o.item_number = v.item_number
     where v.entry_id is not null and coalesce(i.merged_into, i.item_number) is distinct from coalesce(o.merged_into, o.item_number)`,
  'a submitted event counts once in an item': `select coalesce(merged_into, item_number), workspace_id, event_key from events join items using (item_number)
     where event_key is not null group by 1, 2, 3 having count(*) filter (where not is_repeated) <> 1`,
  'a mention belongs to an item that exists':
    'select m.* from identifier_mentions m left join items i using (item_number) where i.item_number is null',
  'each merged item has exactly one merge that holds': `select i.item_number from items i
     left join item_merges m on m.loser = i.item_number and m.undone_at is null
     group by i.item_number, i.merged_into having count(m.merge_id) <> (i.merged_into is not null)::int`,
  'a merge that holds names the entry that joined the two, or the person':
    "select m.* from item_merges m left join entries e using (entry_id) where m.undone_at is null and m.decided_by is null and e.status is distinct from 'completed'",
};

/** The rules that the database breaks, each with some of the rows. Empty when all is well. */
export async function findBrokenRules(database: Database): Promise<object[]> {
  const found = await withTransaction(database.pool, async (client) => {
    // A worker's connections are set for small statements; these look at everything.
    await client.query(
      `set local enable_hashjoin = on; set local enable_mergejoin = on; set local enable_seqscan = on; set local statement_timeout = '10min'`,
    );
    const broken: object[] = [];
    for (const [rule, query] of Object.entries(brokenRules)) {
      const { rows } = await client.query(`${query} limit 3`);
      if (rows.length > 0) broken.push({ rule, rows: rows as unknown[] });
    }
    return broken;
  });
  return [...found, ...(await findWrongCases(database))];
}

/** Entries that wait in another case than those they hang together with, by identifiers and items, and vice versa. */
async function findWrongCases({ pool }: Database): Promise<object[]> {
  const { rows: waiting } = await pool.query<{ entry_id: string; conflict_id: string | null; record: StoredRecord }>(
    `select entry_id, conflict_id, record from entries left join conflict_entries using (entry_id) where entries.status = 'conflicted'`,
  );
  const { rows: claims } = await pool.query<{ identifier_type: string; value: string; item_number: number }>(
    `select identifier_type, value, item_number from identifier_claims
     union all select identifier_type, value, item_number from workspace_claims`,
  );
  const parents = new Map<string, string>();
  const rootOf = (node: string): string => {
    let root = node;
    for (let parent = parents.get(root); parent !== undefined && parent !== root; parent = parents.get(root))
      root = parent;
    return root;
  };
  for (const claim of claims)
    parents.set(rootOf(claimKey(claim.identifier_type, claim.value)), rootOf(`item ${claim.item_number}`));
  for (const { entry_id: entryId, record } of waiting)
    for (const key of claimsOfRecord(record)) parents.set(rootOf(key), rootOf(`entry ${entryId}`));
  const components = Map.groupBy(waiting, (row) => rootOf(`entry ${row.entry_id}`));
  const wrong = [...components.values()].filter((rows) => new Set(rows.map((row) => row.conflict_id)).size > 1);
  const cases = Map.groupBy(waiting, (row) => row.conflict_id);
  const torn = [...cases.values()].filter(
    (rows) => new Set(rows.map((row) => rootOf(`entry ${row.entry_id}`))).size > 1,
  );
  return [...wrong, ...torn].map((rows) => ({ rule: 'a contested component is one case', rows: rows.slice(0, 3) }));
}

/** What a database or a model says of records: who belongs together, and what each workspace knows of each item. */
export interface Outcome {
  /** Sorted entry ids of each item, sorted. */
  readonly partition: string[][];
  /** By workspace and first entry id of the item: field values in canonical JSON. */
  readonly values: Map<string, Record<string, string>>;
  readonly identifiers: Map<string, string[]>;
}

/** Reads from the database what became of completed records. */
export async function readOutcome(database: Database): Promise<Outcome> {
  const { rows: entries } = await database.pool.query<{ entry_id: string; item_number: number }>(
    `select entry_id, coalesce(merged_into, item_number) as item_number from entries join items using (item_number)
     where status = 'completed' order by entry_id`,
  );
  const members = Map.groupBy(entries, (row) => row.item_number);
  const { rows: contributions } = await database.pool.query<{
    item_number: number;
    workspace_id: string;
    state: { fields: Record<string, [unknown]>; identifiers: [string, string, string, string][] };
  }>(
    'select item_number, workspace_id, state from contributions join items using (item_number) where merged_into is null',
  );
  const keyOf = (row: { item_number: number; workspace_id: string }) =>
    `${row.workspace_id} ${members.get(row.item_number)![0]!.entry_id}`;
  return {
    partition: sortedPartition([...members.values()].map((rows) => rows.map((row) => row.entry_id))),
    values: new Map(
      contributions.map((row) => [
        keyOf(row),
        Object.fromEntries(Object.entries(row.state.fields).map(([name, [value]]) => [name, canonicalJson(value)])),
      ]),
    ),
    identifiers: new Map(
      contributions.map((row) => [
        keyOf(row),
        row.state.identifiers.map(([, , type, value]) => `${type} ${value}`).toSorted(),
      ]),
    ),
  };
}

/**
 * Says what records that do not contradict each other must become, whatever the order in which they are worked: items are
 * the sets that share claims, directly or through others, and a field has the value of its last record in time.
 */
export function computeOutcome(submissions: readonly { workspace: TestWorkspace; record: TestRecord }[]): Outcome {
  const parents = new Map<string, string>();
  const rootOf = (node: string): string => {
    const path: string[] = [];
    let root = node;
    for (let parent = parents.get(root); parent !== undefined && parent !== root; parent = parents.get(root)) {
      path.push(root);
      root = parent;
    }
    for (const each of path) parents.set(each, root);
    return root;
  };
  const good = submissions.flatMap(({ workspace, record }) => {
    const { judgement } = judged(workspace, record);
    return judgement.ok ? [{ workspace, record, content: judgement.value }] : [];
  });
  for (const { record, content } of good) {
    for (const claim of content.claims) parents.set(rootOf(`claim ${claim}`), rootOf(record.entryId));
  }
  const sets = [...Map.groupBy(good, ({ record }) => rootOf(record.entryId)).values()];
  const values: Outcome['values'] = new Map();
  const identifiers: Outcome['identifiers'] = new Map();
  for (const set of sets) {
    const [first] = set.map(({ record }) => record.entryId).toSorted();
    const timeOf = ({ record, content }: (typeof set)[number]) => content.occurredAtMicros ?? record.receivedAtMicros;
    const inTime = set.toSorted(
      (a, b) =>
        timeOf(a) - timeOf(b) ||
        a.record.receivedSequence - b.record.receivedSequence ||
        (a.record.entryId < b.record.entryId ? -1 : 1),
    );
    for (const [workspaceId, own] of Map.groupBy(inTime, ({ workspace }) => workspace.id)) {
      const key = `${workspaceId} ${first}`;
      values.set(key, Object.fromEntries(own.flatMap(({ content }) => content.fields)));
      const named = own.flatMap(({ content }) =>
        content.identifiers.map(({ claimType, value }) => `${claimType} ${value}`),
      );
      identifiers.set(key, [...new Set(named)].toSorted());
    }
  }
  return {
    partition: sortedPartition(sets.map((set) => set.map(({ record }) => record.entryId))),
    values,
    identifiers,
  };
}

function sortedPartition(sets: readonly (readonly string[])[]): string[][] {
  return sets.map((set) => set.toSorted()).toSorted((a, b) => (a[0]! < b[0]! ? -1 : 1));
}

/** Waits until a connection waits for a lock of another one. */
export async function waitUntilBlocked(database: Database, backendPid: number, timeoutMs = 30_000): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const { rows } = await database.pool.query<{ blockers: number }>(
      'select cardinality(pg_blocking_pids($1)) as blockers',
      [backendPid],
    );
    if (rows[0]!.blockers > 0) return;
    if (Date.now() > deadline) throw new Error('the connection waits for nobody');
  }
}

/** An open transaction that the test ends when it wants. */
export interface OpenTransaction {
  readonly client: pg.PoolClient;
  readonly backendPid: number;
  commit(): Promise<void>;
  rollback(): Promise<void>;
}

export async function beginTransaction(database: Database): Promise<OpenTransaction> {
  const client = await database.pool.connect();
  await client.query('begin');
  const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid');
  const end = async (statement: string) => {
    await client.query(statement);
    client.release();
  };
  return { client, backendPid: rows[0]!.pid, commit: () => end('commit'), rollback: () => end('rollback') };
}
