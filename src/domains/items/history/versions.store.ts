import type { Queryable } from '#platform/database.ts';
import type { EntryOutcome } from '../deduplication.store.ts';
import type { StoredRecord } from '../stored-record.ts';
import { systemEventTypes } from '../item-message-types.ts';

const isOfSystem = `event_key is null and event_type in (${[...systemEventTypes].map((type) => `'${type}'`).join(', ')})`;

/**
 * The events of an item ($1) for a workspace ($2) and the versions that they make: each transaction one. Transactions get
 * the item one after another and make ids of events while they have it, so the last id tells their order; the time at
 * which they began does not.
 */
const versionedEvents = `
  own as materialized (
    select event_id, event_type, entry_id, withdrawn_at, versioned_at, ${isOfSystem} as is_of_system,
           coalesce(versioned_at, created_at) as made_at,
           case when ${isOfSystem} and event_type in ('item_split', 'entry_withdrawn') then payload end as payload
    from events where item_number = $1 and workspace_id = $2 and versioned_at is distinct from '-infinity'
  ),
  numbered as (
    select made_at, row_number() over (order by max(event_id::text collate "C")) as version from own group by made_at
  )`;

/** One change of a version; a version has as many rows as changes are shown. */
export interface VersionChangeRow {
  version: number;
  made_at: Date;
  /** Versions in all. */
  total: number;
  /** Changes of this version in all. */
  changes: number;
  event_type: string;
  entry_id: string | null;
  by: string | null;
  reason: string | null;
  fields_changed: string[] | null;
}

/**
 * Versions of what a workspace knows of an item, the newest first, each with its changes in their order.
 * @param page `before`: only versions lower than this one; `changes`: how many of each are given at most.
 */
export async function listVersionChanges(
  queryable: Queryable,
  workspaceId: string,
  itemNumber: number,
  page: { before: number | null; versions: number; changes: number },
): Promise<VersionChangeRow[]> {
  // `offset 0` keeps the lookup of payloads one of each event shown, whatever the planner takes their number for.
  const { rows } = await queryable.query<VersionChangeRow>({
    name: 'list_version_changes',
    text: `with ${versionedEvents},
           page as (
             select * from numbered where $3::int8 is null or version < $3 order by version desc limit $4
           ),
           placed as (
             select page.version, own.*, row_number() over by_version as place, count(*) over (partition by page.version) as changes
             from page join own on own.made_at = page.made_at
             window by_version as (partition by page.version order by own.event_id)
           )
           select placed.version, page.made_at, (select count(*) from numbered) as total, placed.changes, placed.event_type, placed.entry_id,
                  case when is_of_system then events.payload ->> 'by' end as by,
                  case when is_of_system then events.payload ->> 'reason' end as reason,
                  case when is_of_system and placed.event_type = 'item_updated' then events.payload -> 'changed' end as fields_changed
           from placed join page on page.version = placed.version
           cross join lateral (
             select payload from events where events.workspace_id = $2 and events.event_id = placed.event_id offset 0
           ) as events
           where placed.place <= $5
           order by placed.version desc, placed.place`,
    values: [itemNumber, workspaceId, page.before, page.versions, page.changes],
  });
  return rows;
}

/** An entry of an item, and the versions with which it came and went. */
export interface VersionedEntryRow {
  entry_id: string;
  effective_at_micros: number;
  received_sequence: number;
  outcome: EntryOutcome;
  record: StoredRecord;
  /** The version that tells of it; null for one that changed nothing. */
  arrived: number | null;
  /** The version in which it was withdrawn. */
  withdrawn: number | null;
}

/**
 * The entries of a workspace for an item with their versions; undefined when they are too many, or when up to that version
 * something else than entries of this very item made it what it was.
 */
export async function findVersionedEntries(
  queryable: Queryable,
  workspaceId: string,
  itemNumber: number,
  version: number,
  limits: { rows: number; bytes: number },
): Promise<VersionedEntryRow[] | undefined> {
  const { rows } = await queryable.query<VersionedEntryRow & { is_plain: boolean; found: number; is_last: boolean }>({
    name: 'find_versioned_entries',
    text: `with ${versionedEvents},
           placed as materialized (select numbered.version, own.* from own join numbered on numbered.made_at = own.made_at),
           arrivals as (select entry_id, min(version) as version from placed where entry_id is not null group by entry_id),
           withdrawals as (
             select payload ->> 'entry_id' as entry_id, min(version) as version from placed
             where is_of_system and event_type = 'entry_withdrawn' group by 1
           ),
           plain as (
             select not exists (
               select from placed where version <= $3 and (
                 versioned_at is not null or (withdrawn_at is not null and entry_id is null)
                 or (is_of_system and (event_type in ('item_merged', 'item_unmerged')
                                       or (event_type = 'item_split' and payload ->> 'kind' = 'correction')
                                       or (event_type in ('item_created', 'item_updated') and entry_id is null)))
               )
             ) as is_plain
           ),
           entries_so_far as (
             select entries.*, sum(octet_length(record::text)) over (order by entry_id) as bytes_so_far, count(*) over () as found
             from entries where item_number = $1 and workspace_id = $2 and status = 'completed'
             order by entry_id limit $4
           )
           select entries_so_far.entry_id, (extract(epoch from effective_at) * 1000000)::int8 as effective_at_micros, received_sequence,
                  outcome, record, arrivals.version as arrived, withdrawals.version as withdrawn, is_plain, found
           from plain cross join entries_so_far
           left join arrivals on arrivals.entry_id = entries_so_far.entry_id
           left join withdrawals on withdrawals.entry_id = entries_so_far.entry_id::text
           where is_plain and bytes_so_far <= $5`,
    values: [itemNumber, workspaceId, version, limits.rows, limits.bytes],
  });
  return rows.length > 0 && rows.length === rows[0]!.found ? rows : undefined;
}
