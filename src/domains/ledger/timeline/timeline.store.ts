import { int8Array, textArray, timestamptzArray } from '#platform/binary-arrays.ts';
import type { Queryable } from '#platform/database.ts';
import { dfidOfRow } from '../logged-version.ts';

/** Who follows what checkpoints anchor: the timeline of items, and those who are told of it. */
export type LogFollower = 'log' | 'webhooks';

/** A content that a transaction put on a ledger. */
export interface TimelineEntry {
  readonly itemNumber: number;
  readonly cid: string;
  readonly transactionHash: string;
  readonly ledger: number;
  readonly closedAtMs: number;
}

/** Takes the progress of one of them on a network for this transaction; undefined when another one has it. */
export async function lockLogProgress(
  queryable: Queryable,
  network: string,
  follower: LogFollower,
): Promise<number | undefined> {
  await queryable.query({
    name: 'begin_log_progress',
    text: 'insert into timeline_progress (network, subject, position) values ($1, $2, 0) on conflict do nothing',
    values: [network, follower],
  });
  const { rows } = await queryable.query<{ position: number }>({
    name: 'lock_log_progress',
    text: 'select position from timeline_progress where network = $1 and subject = $2 for update skip locked',
    values: [network, follower],
  });
  return rows[0]?.position;
}

/** Whether a checkpoint is anchored on a network that one of them has not come to. */
export async function isBehindAnchors(queryable: Queryable, network: string, follower: LogFollower): Promise<boolean> {
  const { rows } = await queryable.query<{ is_behind: boolean }>({
    name: 'is_behind_anchors',
    text: `select coalesce((select max(size) from log_anchors where network_passphrase = $1 and confirmed_attempt is not null), 0)
             > coalesce((select position from timeline_progress where network = $1 and subject = $2), 0) as is_behind`,
    values: [network, follower],
  });
  return rows[0]!.is_behind;
}

/** The smallest checkpoint that is anchored on a network and has more entries than so many; its size, or undefined. */
export async function findAnchoredSize(
  queryable: Queryable,
  network: string,
  above: number,
): Promise<number | undefined> {
  const { rows } = await queryable.query<{ size: number | null }>({
    name: 'find_anchored_size',
    text: `select min(size) as size from log_anchors
           where network_passphrase = $1 and size > $2 and confirmed_attempt is not null`,
    values: [network, above],
  });
  return rows[0]?.size ?? undefined;
}

/** New ranges of versions are not known to the index of their entries before, and would all be read. */
export async function summarizeNewVersions(queryable: Queryable): Promise<void> {
  await queryable.query(`select brin_summarize_new_values('item_versions_index_brin')`);
}

/**
 * Notes the contents of versions whose entries are from `begin` to before `end`, under the transaction of the checkpoint of
 * `size`, which covers them.
 */
export async function writeAnchoredContents(
  queryable: Queryable,
  network: string,
  { begin, end, size }: { begin: number; end: number; size: number },
): Promise<void> {
  await summarizeNewVersions(queryable);
  await queryable.query({
    name: 'write_anchored_contents',
    text: `insert into item_timeline (item_number, cid, network, transaction_hash, ledger, closed_at, source)
           select versions.item_number, contents.cid, $1, attempts.hash, anchors.ledger, anchors.closed_at, 'anchor'
           from log_anchors as anchors
           join log_anchor_attempts as attempts on attempts.anchor_id = anchors.anchor_id and attempts.attempt = anchors.confirmed_attempt
           cross join item_versions as versions
           join storage_contents as contents using (item_number, workspace_id, version)
           where anchors.network_passphrase = $1 and anchors.size = $4 and versions.index >= $2 and versions.index < $3
           order by versions.index, contents.kind
           on conflict do nothing`,
    values: [network, begin, end, size],
  });
}

/** Notes how far one of them came. */
export async function writeLogProgress(
  queryable: Queryable,
  network: string,
  follower: LogFollower,
  position: number,
): Promise<void> {
  await queryable.query({
    name: 'write_log_progress',
    text: 'update timeline_progress set position = $3 where network = $1 and subject = $2',
    values: [network, follower, position],
  });
}

/** Takes the progress of a contract, so that nobody else reads its events for a while; undefined when it is not due. */
export async function takeContractProgress(
  queryable: Queryable,
  { network, contract }: { network: string; contract: string },
  leaseMs: number,
): Promise<{ position: number } | undefined> {
  const { rows } = await queryable.query<{ position: number }>({
    name: 'take_contract_progress',
    text: `insert into timeline_progress as known (network, subject, position, due_at)
           values ($1, $2, 0, now() + make_interval(secs => $3::float8 / 1000))
           on conflict (network, subject) do update set due_at = excluded.due_at where known.due_at <= now()
           returning position`,
    values: [network, contract, leaseMs],
  });
  return rows[0];
}

/** Whether events of a contract are to be read now. */
export async function isContractDue(
  queryable: Queryable,
  { network, contract }: { network: string; contract: string },
): Promise<boolean> {
  const { rows } = await queryable.query<{ is_due: boolean }>({
    name: 'is_contract_due',
    text: 'select not exists (select from timeline_progress where network = $1 and subject = $2 and due_at > now()) as is_due',
    values: [network, contract],
  });
  return rows[0]!.is_due;
}

/**
 * Notes what the events of a contract told, and how far they were read.
 * @returns false when somebody else has read them meanwhile: then nothing is noted.
 */
export async function writeContractEvents(
  queryable: Queryable,
  { network, contract }: { network: string; contract: string },
  read: {
    readonly from: number;
    readonly to: number;
    readonly entries: readonly TimelineEntry[];
    readonly ignored: number;
  },
): Promise<boolean> {
  const { entries } = read;
  const { rows } = await queryable.query<{ moved: number }>({
    name: 'write_contract_events',
    text: `with moved as (
             update timeline_progress set position = $4, ignored_events = ignored_events + $5, refusal = null
             where network = $1 and subject = $2 and position = $3 returning 1
           ), written as (
             insert into item_timeline (item_number, cid, network, transaction_hash, ledger, closed_at, source)
             select told.*, 'contract'
             from (select item_number, cid, $1, hash, ledger, closed_at
                   from unnest($6::int8[], $7::text[], $8::text[], $9::int8[], $10::timestamptz[]) with ordinality as told (item_number, cid, hash, ledger, closed_at, place)
                   order by place) as told
             where exists (select from moved)
             on conflict do nothing
           )
           select count(*) as moved from moved`,
    values: [
      network,
      contract,
      read.from,
      read.to,
      read.ignored,
      int8Array(entries.map(({ itemNumber }) => itemNumber)),
      textArray(entries.map(({ cid }) => cid)),
      textArray(entries.map(({ transactionHash }) => transactionHash)),
      int8Array(entries.map(({ ledger }) => ledger)),
      timestamptzArray(entries.map(({ closedAtMs }) => closedAtMs * 1000)),
    ],
  });
  return rows[0]!.moved === 1;
}

/** Notes ledgers of which nobody can tell any longer, and goes on behind them. */
export async function skipLedgers(
  queryable: Queryable,
  { network, contract }: { network: string; contract: string },
  { from, to }: { from: number; to: number },
): Promise<void> {
  await queryable.query({
    name: 'skip_ledgers',
    text: `with moved as (
             update timeline_progress set position = $4 where network = $1 and subject = $2 and position = $3 returning 1
           )
           insert into timeline_gaps (network, subject, from_ledger, to_ledger)
           select $1, $2, $3, $4::int8 - 1 from moved where $3::int8 > 0
           on conflict do nothing`,
    values: [network, contract, from, to],
  });
}

/** Notes how far the network is and whether its events can be read, and when to look again. */
export async function noteContract(
  queryable: Queryable,
  { network, contract }: { network: string; contract: string },
  { latestLedger, refusal, delayMs }: { latestLedger: number | null; refusal: string | null; delayMs: number },
): Promise<void> {
  await queryable.query({
    name: 'note_contract',
    text: `update timeline_progress set latest_ledger = coalesce($3, latest_ledger), refusal = $4,
                                        due_at = now() + make_interval(secs => $5::float8 / 1000)
           where network = $1 and subject = $2`,
    values: [network, contract, latestLedger, refusal, delayMs],
  });
}

/** What is known of a content of an item. */
export interface TimelineRow {
  sequence: number;
  cid: string;
  network: string;
  transaction_hash: string;
  ledger: number;
  closed_at: Date;
  source: 'anchor' | 'contract';
  created_at: Date;
}

/**
 * What a workspace may see of the timeline of items, in the order in which it was noted: its own contents, and what contracts
 * told everybody. Rows only come behind others, so the number of one never changes.
 */
export async function listTimeline(
  queryable: Queryable,
  workspaceId: string,
  itemNumbers: readonly number[],
  page: { after: number; limit: number },
): Promise<{ rows: TimelineRow[]; total: number }> {
  const { rows } = await queryable.query<TimelineRow & { total: number }>({
    name: 'list_timeline',
    text: `select * from (
             select row_number() over (order by timeline_id) as sequence, count(*) over () as total,
                    cid, network, transaction_hash, ledger, closed_at, source, created_at
             from item_timeline as timeline
             where item_number = any($2::int8[]) and (source = 'contract' or exists (
               select from storage_contents as contents
               where contents.item_number = timeline.item_number and contents.workspace_id = $1 and contents.cid = timeline.cid))
           ) as seen
           where sequence > $3 order by sequence limit $4::int4`,
    values: [workspaceId, int8Array(itemNumbers), page.after, page.limit],
  });
  return { rows, total: rows[0]?.total ?? 0 };
}

export interface ProgressRow {
  subject: string;
  position: number;
  latest_ledger: number | null;
  ignored_events: number;
  refusal: string | null;
}

/** How far a network was followed, by what was read there. */
export async function listProgress(queryable: Queryable, network: string): Promise<ProgressRow[]> {
  const { rows } = await queryable.query<ProgressRow>({
    name: 'list_timeline_progress',
    text: `select subject, position, latest_ledger, ignored_events, refusal from timeline_progress where network = $1 order by subject`,
    values: [network],
  });
  return rows;
}

/** Ledgers of a network that were missed, the newest first. */
export async function listGaps(
  queryable: Queryable,
  network: string,
): Promise<{ subject: string; from_ledger: number; to_ledger: number; found_at: Date }[]> {
  const { rows } = await queryable.query<{ subject: string; from_ledger: number; to_ledger: number; found_at: Date }>({
    name: 'list_timeline_gaps',
    text: `select subject, from_ledger, to_ledger, found_at from timeline_gaps where network = $1 order by from_ledger desc limit 100`,
    values: [network],
  });
  return rows;
}

/** DFIDs by the numbers of items, of those that exist. */
export async function findDfids(queryable: Queryable, itemNumbers: readonly number[]): Promise<Map<number, string>> {
  const { rows } = await queryable.query<Parameters<typeof dfidOfRow>[0]>({
    name: 'find_dfids_of_timeline',
    text: 'select item_number, value_chain, country, year from items where item_number = any($1::int8[])',
    values: [int8Array(itemNumbers)],
  });
  return new Map(rows.map((row) => [row.item_number, dfidOfRow(row)]));
}
