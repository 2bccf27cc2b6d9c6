import { byteaArray, int2Array, int8Array } from '#platform/binary-arrays.ts';
import type { Queryable } from '#platform/database.ts';
import type { ConfirmedAnchorRow } from './anchors.store.ts';
import { eventColumns, timeText, type LoggedEventRow, type LogTile } from './log.store.ts';

/** An entry of the log with all that explains it, as far as it is there. */
export interface CheckedEntryRow extends LoggedEventRow {
  index: number;
  commitment: Buffer;
  seed: Buffer | null;
  /** Null for an entry of an event, or of a version that is not there. */
  version: number | null;
  version_recorded_at: string | null;
  content: string | null;
  is_event_there: boolean;
}

/** Entries from `begin` to before `end`, in their order. */
export async function readCheckedEntries(queryable: Queryable, begin: number, end: number): Promise<CheckedEntryRow[]> {
  const { rows } = await queryable.query<CheckedEntryRow>({
    name: 'read_checked_entries',
    text: `select entries.index, entries.commitment, entries.seed, entries.workspace_id, entries.event_id, entries.item_number,
                  versions.version, ${timeText('versions.recorded_at')} as version_recorded_at, versions.content,
                  events.event_id is not null as is_event_there, ${eventColumns}, value_chain, country, year
           from log_entries as entries
           left join events on events.workspace_id = entries.workspace_id and events.event_id = entries.event_id
           left join item_versions as versions
             on entries.event_id is null and versions.item_number = entries.item_number
                and versions.workspace_id = entries.workspace_id and versions.index = entries.index
           left join items on items.item_number = entries.item_number
           where entries.index >= $1 and entries.index < $2
           order by entries.index`,
    values: [begin, end],
  });
  return rows;
}

/** Stored tiles with their roots. */
export async function findWholeTiles(
  queryable: Queryable,
  wanted: readonly Pick<LogTile, 'level' | 'number'>[],
): Promise<LogTile[]> {
  const { rows } = await queryable.query<LogTile>({
    name: 'find_whole_tiles',
    text: `select level, number, hashes, root from log_tiles
           join unnest($1::int2[], $2::int8[]) as wanted (level, number) using (level, number)`,
    values: [int2Array(wanted.map(({ level }) => level)), int8Array(wanted.map(({ number }) => number))],
  });
  return rows;
}

/** Puts tiles in the place of those that are missing or wrong. */
export async function replaceTiles(queryable: Queryable, tiles: readonly LogTile[]): Promise<void> {
  await queryable.query({
    name: 'replace_log_tiles',
    text: `insert into log_tiles (level, number, hashes, root)
           select * from unnest($1::int2[], $2::int8[], $3::bytea[], $4::bytea[])
           on conflict (level, number) do update set hashes = excluded.hashes, root = excluded.root`,
    values: [
      int2Array(tiles.map(({ level }) => level)),
      int8Array(tiles.map(({ number }) => number)),
      byteaArray(tiles.map(({ hashes }) => hashes)),
      byteaArray(tiles.map(({ root }) => root)),
    ],
  });
}

/** An anchor with one of its transactions, confirmed or not. */
export type CheckedAnchorRow = Omit<ConfirmedAnchorRow, 'ledger' | 'closed_at'>;

/** Anchors with each of their transactions, the smallest first. */
export async function listCheckedAnchors(
  queryable: Queryable,
  after: number,
  limit: number,
): Promise<CheckedAnchorRow[]> {
  const { rows } = await queryable.query<CheckedAnchorRow>({
    name: 'list_checked_anchors',
    text: `select size, root, note, anchors.network_passphrase, source, envelope_xdr, hash
           from (select * from log_anchors where size > $1 order by size limit $2::int4) as anchors
           join log_anchor_attempts as attempts using (anchor_id)
           order by size, attempt`,
    values: [after, limit],
  });
  return rows;
}
