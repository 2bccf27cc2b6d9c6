import type pg from 'pg';
import { byteaArray, int2Array, int4Array, int8Array, textArray, uuidArray } from '#platform/binary-arrays.ts';
import type { Queryable } from '#platform/database.ts';
import type { ValueChain } from '#domains/items/index.ts';

/** An event as the log commits to it. */
export interface LoggedEventRow {
  workspace_id: string;
  event_id: string;
  item_number: number;
  event_type: string;
  /** RFC 3339 with microseconds, in UTC, as are all times here. */
  occurred_at: string;
  recorded_at: string;
  visibility: string;
  /** JSON text. */
  payload: string;
  value_chain: ValueChain;
  country: string;
  year: number;
}

/** A column of times as RFC 3339 with microseconds, in UTC. */
export const timeText = (column: string) => `to_char(${column} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`;

/** Columns of an event as `LoggedEventRow` has them. */
export const eventColumns = `event_type, ${timeText('occurred_at')} as occurred_at, ${timeText('events.created_at')} as recorded_at, visibility,
  payload::text as payload`;
/** Columns of `LoggedEventRow` but the ids and the item number. */
const loggedColumns = `${eventColumns}, value_chain, country, year`;

/**
 * Takes the log for this transaction, and gives its size. Undefined when another transaction has it.
 */
export async function lockLog(queryable: Queryable): Promise<number | undefined> {
  const { rows } = await queryable.query<{ size: number }>({
    name: 'lock_log',
    text: 'select size from log_state for update skip locked',
  });
  return rows[0]?.size;
}

/** A version of an item as the log commits to it. */
export interface LoggedVersionRow {
  workspace_id: string;
  item_number: number;
  version: number;
  recorded_at: string;
  /** JSON of `VersionContent`, canonical. */
  content: string;
  value_chain: ValueChain;
  country: string;
  year: number;
}

/** The next thing to log: an event, and behind the last of an item the version that the item has then. */
export interface FedRow {
  readonly event: LoggedEventRow | undefined;
  readonly version: (Omit<LoggedVersionRow, 'content'> & { status: string; state: string }) | undefined;
}

type FoundRow = Nullable<LoggedEventRow> & {
  workspace_id: string;
  item_number: number;
  version: number | null;
  version_recorded_at: string;
  status: string;
  state: string;
  found: number;
  taken: number;
};

/**
 * Takes the oldest events of the feed, in their order, with the newest versions of their items as far as these are not in
 * the log. Events that are no more, since nothing came of them, are left out.
 * @param limits how many, and how many bytes before the last one, are taken at most.
 */
export async function takeFeed(
  queryable: Queryable,
  limits: { rows: number; bytes: number },
): Promise<{ rows: FedRow[]; hasMore: boolean }> {
  const { rows } = await queryable.query<FoundRow>({
    name: 'take_feed',
    text: `with found as materialized (
             select feed.position, feed.workspace_id, feed.event_id, feed.item_number, ${loggedColumns},
                    own.version, own.recorded_at as version_recorded_at, own.status, own.state,
                    sum(coalesce(octet_length(payload::text), 0) + coalesce(octet_length(own.state), 0)) over (order by feed.position)
                      - coalesce(octet_length(payload::text), 0) - coalesce(octet_length(own.state), 0) as bytes_before
             from (
               select *, lead(position) over (partition by item_number, workspace_id order by position) is null as is_last
               from (select * from event_feed order by position limit $1::int4) as oldest
             ) as feed
             left join lateral (
               select * from events where events.workspace_id = feed.workspace_id and events.event_id = feed.event_id offset 0
             ) as events on true
             left join lateral (
               select value_chain, country, year from items where items.item_number = feed.item_number offset 0
             ) as items on true
             left join lateral (
               select version, status, state::text as state, ${timeText('updated_at')} as recorded_at from contributions
               where feed.is_last and contributions.item_number = feed.item_number and contributions.workspace_id = feed.workspace_id
                 and not exists (
                   select from item_versions as logged
                   where logged.item_number = feed.item_number and logged.workspace_id = feed.workspace_id
                     and logged.version >= contributions.version)
               offset 0
             ) as own on true
           ), taken as (
             delete from event_feed using found where event_feed.position = found.position and bytes_before < $2
           )
           select found.*, (select count(*) from found) as found, count(*) over () as taken
           from found where bytes_before < $2 order by position`,
    values: [limits.rows, limits.bytes],
  });
  const [first] = rows;
  return {
    // Items that are no more have no country; nothing is told of them.
    rows: rows.filter((row) => row.country !== null).map((row) => fedRow(row as FoundRow & Nature)),
    hasMore: first !== undefined && (first.found === limits.rows || first.taken < first.found),
  };
}

type Nature = Pick<LoggedVersionRow, 'value_chain' | 'country' | 'year'>;

function fedRow(row: FoundRow & Nature): FedRow {
  const { workspace_id, item_number, version, version_recorded_at, status, state, value_chain, country, year } = row;
  const nature = { value_chain, country, year };
  return {
    event: row.event_type === null ? undefined : (row as LoggedEventRow),
    version:
      version === null
        ? undefined
        : { workspace_id, item_number, version, recorded_at: version_recorded_at, status, state, ...nature },
  };
}

type Nullable<Row> = { [Column in keyof Row]: Row[Column] | null };

/** An entry of the log. */
export interface NewLogEntry {
  readonly index: number;
  /** What it is about: an event, a version of an item, or neither. */
  readonly subject: Partial<Pick<LoggedEventRow, 'workspace_id' | 'item_number' | 'event_id'>>;
  readonly commitment: Uint8Array;
  readonly seed: Uint8Array;
}

export async function insertLogEntries(queryable: Queryable, entries: readonly NewLogEntry[]): Promise<void> {
  await queryable.query({
    name: 'insert_log_entries',
    text: `insert into log_entries (index, workspace_id, event_id, item_number, commitment, seed)
           select * from unnest($1::int8[], $2::uuid[], $3::uuid[], $4::int8[], $5::bytea[], $6::bytea[])`,
    values: [
      int8Array(entries.map(({ index }) => index)),
      uuidArray(entries.map(({ subject }) => subject.workspace_id ?? null)),
      uuidArray(entries.map(({ subject }) => subject.event_id ?? null)),
      int8Array(entries.map(({ subject }) => subject.item_number ?? null)),
      byteaArray(entries.map(({ commitment }) => commitment)),
      byteaArray(entries.map(({ seed }) => seed)),
    ],
  });
}

/** Keeps what versions were, each with its entry. */
export async function insertItemVersions(
  queryable: Queryable,
  versions: readonly { readonly index: number; readonly version: LoggedVersionRow }[],
): Promise<void> {
  if (versions.length === 0) return;
  await queryable.query({
    name: 'insert_item_versions',
    text: `insert into item_versions (index, item_number, workspace_id, version, recorded_at, content)
           select * from unnest($1::int8[], $2::int8[], $3::uuid[], $4::int4[], $5::timestamptz[], $6::text[])`,
    values: [
      int8Array(versions.map(({ index }) => index)),
      int8Array(versions.map(({ version }) => version.item_number)),
      uuidArray(versions.map(({ version }) => version.workspace_id)),
      int4Array(versions.map(({ version }) => version.version)),
      versions.map(({ version }) => version.recorded_at),
      textArray(versions.map(({ version }) => version.content)),
    ],
  });
}

/** A full tile: 256 hashes of one level, and the root over them. */
export interface LogTile {
  readonly level: number;
  readonly number: number;
  readonly hashes: Buffer;
  readonly root: Buffer;
}

export async function insertTiles(queryable: Queryable, tiles: readonly LogTile[]): Promise<void> {
  if (tiles.length === 0) return;
  await queryable.query({
    name: 'insert_log_tiles',
    text: `insert into log_tiles (level, number, hashes, root)
           select * from unnest($1::int2[], $2::int8[], $3::bytea[], $4::bytea[])`,
    values: [
      int2Array(tiles.map(({ level }) => level)),
      int8Array(tiles.map(({ number }) => number)),
      byteaArray(tiles.map(({ hashes }) => hashes)),
      byteaArray(tiles.map(({ root }) => root)),
    ],
  });
}

/**
 * Lets the log grow from one size to another.
 * @throws Error when it has not that size, which cannot be while its row is locked.
 */
export async function growLog(queryable: Queryable, from: number, to: number): Promise<void> {
  const { rowCount } = await queryable.query({
    name: 'grow_log',
    text: 'update log_state set size = $2 where size = $1',
    values: [from, to],
  });
  if (rowCount !== 1) throw new Error(`the log had not the size ${from} when it was to grow to ${to}`);
}

/** The commitments of entries from `begin` to before `end`, in their order. */
export async function findCommitments(queryable: Queryable, begin: number, end: number): Promise<Buffer[]> {
  if (begin >= end) return [];
  const { rows } = await queryable.query<{ commitment: Buffer }>({
    name: 'find_commitments',
    text: 'select commitment from log_entries where index >= $1 and index < $2 order by index',
    values: [begin, end],
  });
  return rows.map((row) => row.commitment);
}

/** The roots of full tiles of a level, from `begin` to before `end`, in their order. */
export async function findTileRoots(
  queryable: Queryable,
  level: number,
  begin: number,
  end: number,
): Promise<Buffer[]> {
  if (begin >= end) return [];
  const { rows } = await queryable.query<{ root: Buffer }>({
    name: 'find_tile_roots',
    text: 'select root from log_tiles where level = $1 and number >= $2 and number < $3 order by number',
    values: [level, begin, end],
  });
  return rows.map((row) => row.root);
}

/** Full tiles by level and number. */
export async function findTiles(
  queryable: Queryable,
  wanted: readonly { level: number; number: number }[],
): Promise<{ level: number; number: number; hashes: Buffer }[]> {
  if (wanted.length === 0) return [];
  const { rows } = await queryable.query<{ level: number; number: number; hashes: Buffer }>({
    name: 'find_log_tiles',
    text: `select level, number, hashes from log_tiles
           join unnest($1::int2[], $2::int8[]) as wanted (level, number) using (level, number)`,
    values: [int2Array(wanted.map(({ level }) => level)), int8Array(wanted.map(({ number }) => number))],
  });
  return rows;
}

export interface LogStateRow {
  size: number;
  refusal: string | null;
  anchor_refusal: string | null;
  /** The account that pays for anchors, and what it had when it was last looked at. */
  anchor_account: string | null;
  anchor_balance_stroops: number | null;
}

export async function readLogState(queryable: Queryable): Promise<LogStateRow> {
  const { rows } = await queryable.query<LogStateRow>({
    name: 'read_log_state',
    text: 'select size, refusal, anchor_refusal, anchor_account, anchor_balance_stroops from log_state',
  });
  return rows[0]!;
}

/** Notes why nothing is signed, or that all is well. */
export async function writeRefusal(queryable: Queryable, refusal: string | null): Promise<void> {
  await queryable.query({
    name: 'write_log_refusal',
    text: 'update log_state set refusal = $1 where refusal is distinct from $1',
    values: [refusal],
  });
}

export interface CheckpointRow {
  size: number;
  root: Buffer;
  note: string;
  signed_at: Date;
}

/** The newest checkpoint that is signed. */
export async function findCheckpoint(queryable: Queryable): Promise<CheckpointRow | undefined> {
  const { rows } = await queryable.query<CheckpointRow>({
    name: 'find_checkpoint',
    text: 'select size, root, note, signed_at from log_checkpoints order by size desc limit 1',
  });
  return rows[0];
}

/** Keeps a checkpoint in the place of those before it. */
export async function writeCheckpoint(
  queryable: Queryable,
  { size, root, note }: Omit<CheckpointRow, 'signed_at'>,
): Promise<void> {
  await queryable.query({
    name: 'write_checkpoint',
    text: `insert into log_checkpoints (size, root, note) values ($1, $2, $3)
           on conflict (size) do update set root = excluded.root, note = excluded.note, signed_at = now()`,
    values: [size, root, note],
  });
  await queryable.query({
    name: 'delete_older_checkpoints',
    text: 'delete from log_checkpoints where size < $1',
    values: [size],
  });
}

/** Whether events wait for the log. */
export async function hasFeed(queryable: Queryable): Promise<boolean> {
  const { rows } = await queryable.query<{ has_feed: boolean }>({
    name: 'has_feed',
    text: 'select exists (select from event_feed) as has_feed',
  });
  return rows[0]!.has_feed;
}

/** Whether the event that has waited longest for its entry is not older than this; false when none waits. */
export async function isFeedYoung(queryable: Queryable, ageMs: number): Promise<boolean> {
  const { rows } = await queryable.query<{ is_young: boolean }>({
    name: 'is_feed_young',
    text: `select events.created_at > now() - make_interval(secs => $1::float8 / 1000) as is_young
           from (select workspace_id, event_id from event_feed order by position limit 1) as oldest
           join events on events.workspace_id = oldest.workspace_id and events.event_id = oldest.event_id`,
    values: [ageMs],
  });
  return rows[0]?.is_young === true;
}

/** An entry of the log with the event that it commits to. */
export interface ProvenEventRow extends LoggedEventRow {
  index: number;
  commitment: Buffer;
  seed: Buffer | null;
}

const provenColumns = `log_entries.index, log_entries.commitment, log_entries.seed, log_entries.workspace_id, log_entries.event_id,
    log_entries.item_number`;
/**
 * What is logged of items for a workspace, the newest events first, in the tree of `size` entries. Costs as much as it gives,
 * however many events the items have.
 * @param client in a transaction, whose other statements must not need to sort much.
 * @param page `before`: only events with smaller ids.
 */
export async function findProvenEvents(
  client: pg.ClientBase,
  workspaceId: string,
  itemNumbers: readonly number[],
  { size, before, limit }: { size: number; before: string | undefined; limit: number },
): Promise<ProvenEventRow[]> {
  // The planner takes the events of any item for few, reads them all and sorts them; the index has them in their order.
  await client.query(`select set_config('enable_sort', 'off', true), set_config('enable_bitmapscan', 'off', true)`);
  const { rows } = await client.query<ProvenEventRow>({
    name: 'find_proven_events',
    text: `select proven.*, value_chain, country, year
           from unnest($1::int8[]) as members (item_number)
           cross join lateral (
             select ${provenColumns}, ${eventColumns}
             from events
             -- one lookup for each event, newest first, whatever the planner takes their number for
             cross join lateral (
               select * from log_entries where log_entries.event_id = events.event_id and log_entries.workspace_id = events.workspace_id offset 0
             ) as log_entries
             where events.item_number = members.item_number and events.workspace_id = $2 and log_entries.index < $3
               and events.event_id < coalesce($4::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
             order by events.event_id desc limit $5::int4
           ) as proven
           join items on items.item_number = proven.item_number
           order by proven.event_id desc limit $5::int4`,
    values: [int8Array(itemNumbers), workspaceId, size, before ?? null, limit],
  });
  return rows;
}

/** What is logged of one event of a workspace. */
export async function findProvenEvent(
  queryable: Queryable,
  workspaceId: string,
  eventId: string,
): Promise<ProvenEventRow | undefined> {
  const { rows } = await queryable.query<ProvenEventRow>({
    name: 'find_proven_event',
    text: `select ${provenColumns}, ${loggedColumns} from events join log_entries using (event_id, workspace_id)
           join items on items.item_number = log_entries.item_number
           where workspace_id = $1 and event_id = $2`,
    values: [workspaceId, eventId],
  });
  return rows[0];
}

/** An entry of the log with the version that it commits to. */
export interface ProvenVersionRow extends LoggedVersionRow {
  index: number;
  commitment: Buffer;
  seed: Buffer | null;
}

/**
 * A version of items of a workspace that is in the tree of `size` entries: the one with this number of the first item that is
 * named, or without a number the one that was logged last of all items.
 */
export async function findProvenVersion(
  queryable: Queryable,
  workspaceId: string,
  itemNumbers: readonly number[],
  { size, version }: { size: number; version: number | undefined },
): Promise<ProvenVersionRow | undefined> {
  const { rows } = await queryable.query<ProvenVersionRow>({
    name: 'find_proven_version',
    text: `select newest.index, commitment, seed, newest.workspace_id, newest.item_number, newest.version,
                  ${timeText('newest.recorded_at')} as recorded_at, newest.content, value_chain, country, year
           from unnest($1::int8[]) as members (item_number)
           cross join lateral (
             select * from item_versions
             where item_versions.item_number = members.item_number and item_versions.workspace_id = $2 and index < $3::int8
               and item_versions.version = coalesce($4::int4, item_versions.version)
             order by version desc limit 1
           ) as newest
           join log_entries on log_entries.index = newest.index
           join items on items.item_number = newest.item_number
           order by newest.index desc limit 1`,
    values: [int8Array(itemNumbers), workspaceId, size, version ?? null],
  });
  return rows[0];
}

/** Versions of items of workspaces whose entries are in a range of the log, in its order. */
export async function findProvenVersionsBetween(
  queryable: Queryable,
  workspaceIds: readonly string[],
  { begin, end }: { begin: number; end: number },
  limit: number,
): Promise<ProvenVersionRow[]> {
  const { rows } = await queryable.query<ProvenVersionRow>({
    name: 'find_proven_versions_between',
    text: `select versions.index, commitment, seed, versions.workspace_id, versions.item_number, versions.version,
                  ${timeText('versions.recorded_at')} as recorded_at, versions.content, value_chain, country, year
           from item_versions as versions
           join log_entries on log_entries.index = versions.index
           join items on items.item_number = versions.item_number
           where versions.index >= $2::int8 and versions.index < $3::int8 and versions.workspace_id = any($1::uuid[])
           order by versions.index limit $4::int4`,
    values: [uuidArray(workspaceIds), begin, end, limit],
  });
  return rows;
}

/** Keeps entries from being erased in this transaction. @returns those that were. */
export async function holdSeeds(queryable: Queryable, indexes: readonly number[]): Promise<ReadonlySet<number>> {
  const { rows } = await queryable.query<{ index: number; is_erased: boolean }>({
    name: 'hold_seeds',
    text: `select index, seed is null as is_erased from log_entries where index = any($1::int8[]) order by index for share`,
    values: [int8Array(indexes)],
  });
  return new Set(rows.filter((row) => row.is_erased).map((row) => row.index));
}

/** The entries of versions of items of a workspace, the newest first. */
export async function listVersionEntries(
  queryable: Queryable,
  workspaceId: string,
  itemNumbers: readonly number[],
  limit: number,
): Promise<number[]> {
  const { rows } = await queryable.query<{ index: number }>({
    name: 'list_version_entries',
    text: `select index from item_versions where item_number = any($1::int8[]) and workspace_id = $2
           order by index desc limit $3::int4`,
    values: [int8Array(itemNumbers), workspaceId, limit],
  });
  return rows.map((row) => row.index);
}
