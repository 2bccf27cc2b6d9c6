import { int8Array, textArray, timestamptzArray, uuidArray } from '#platform/binary-arrays.ts';
import type { Queryable } from '#platform/database.ts';
import type { EntryOrder } from './contribution-state.ts';

/** A stretch of the entries of one item in their order, read from its end towards its beginning. */
export interface Stretch {
  readonly itemNumber: number;
  /** The place before which it ends. */
  readonly before: EntryOrder;
  /** The first place that may belong to it. */
  readonly from: EntryOrder;
}

/** An entry of a stretch. */
export interface PastEntryRow {
  /** Which stretch it belongs to, from 1. */
  stretch: number;
  /** How many entries of the stretch come after it and were read, itself counted. */
  rank: number;
  entry_id: string;
  effective_at_micros: number;
  received_sequence: number;
  /** The wanted fields that the entry has; null when it has none or was withdrawn. */
  fields: Record<string, unknown> | null;
}

/**
 * The last `limit` entries of a workspace in each stretch: those that have one of the wanted fields and, as the place up to
 * which a stretch was read when it goes on, the one whose rank is `limit`.
 */
export async function findPastEntries(
  queryable: Queryable,
  workspaceId: string,
  stretches: readonly Stretch[],
  { fieldNames, limit }: { fieldNames: readonly string[]; limit: number },
): Promise<PastEntryRow[]> {
  const { rows } = await queryable.query<PastEntryRow>({
    name: 'find_past_entries',
    text: `select stretches.stretch, past.rank, past.entry_id, past.received_sequence, past.fields,
                  (extract(epoch from past.effective_at) * 1000000)::int8 as effective_at_micros
           from unnest($1::int8[], $2::timestamptz[], $3::int8[], $4::uuid[], $5::timestamptz[], $6::int8[], $7::uuid[])
             with ordinality as stretches (item_number, before_at, before_sequence, before_entry, from_at, from_sequence, from_entry, stretch)
           cross join lateral (
             select row_number() over () as rank, page.*
             from (
               select entry_id, effective_at, received_sequence,
                      case when withdrawn_at is null then (
                        select json_object_agg(field.key, field.value) from json_each(entries.record -> 'fields') as field
                        where field.key = any($8::text[])
                      ) end as fields
               from entries
               where entries.item_number = stretches.item_number and entries.workspace_id = $9
                 and (effective_at, received_sequence, entry_id) < (stretches.before_at, stretches.before_sequence, stretches.before_entry)
                 and (effective_at, received_sequence, entry_id) >= (stretches.from_at, stretches.from_sequence, stretches.from_entry)
               order by item_number desc, workspace_id desc, effective_at desc, received_sequence desc, entry_id desc
               limit $10
             ) as page
           ) as past
           where past.fields is not null or past.rank = $10`,
    values: [
      int8Array(stretches.map(({ itemNumber }) => itemNumber)),
      ...placeColumns(stretches.map(({ before }) => before)),
      ...placeColumns(stretches.map(({ from }) => from)),
      textArray(fieldNames),
      workspaceId,
      limit,
    ],
  });
  return rows;
}

function placeColumns(places: readonly EntryOrder[]): [effectiveAt: Buffer, receivedSequence: Buffer, entryId: Buffer] {
  return [
    timestamptzArray(places.map(({ effectiveAtMicros }) => effectiveAtMicros)),
    int8Array(places.map(({ receivedSequence }) => receivedSequence)),
    uuidArray(places.map(({ entryId }) => entryId)),
  ];
}

/** Values that a merge by hand chose for a workspace. */
export interface ChosenValuesRow {
  /** The item that was merged away. */
  loser: number;
  merge_id: string;
  merged_at_micros: number;
  values: Record<string, unknown>;
}

/** What the merges of items chose for a workspace, as far as they hold. */
export async function findChosenValues(
  queryable: Queryable,
  workspaceId: string,
  losers: readonly number[],
): Promise<ChosenValuesRow[]> {
  if (losers.length === 0) return [];
  const { rows } = await queryable.query<ChosenValuesRow>({
    name: 'find_chosen_values',
    text: `select loser, merge_id, (extract(epoch from merged_at) * 1000000)::int8 as merged_at_micros,
                  overrides -> ($2::uuid)::text as values
           from item_merges
           where loser = any($1::int8[]) and undone_at is null and overrides -> ($2::uuid)::text is not null`,
    values: [int8Array(losers), workspaceId],
  });
  return rows;
}
