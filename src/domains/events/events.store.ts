import { byteaArray, int8Array, textArray, timestamptzArray, uuidArray } from '#platform/binary-arrays.ts';
import { countMatching, cutPage, type Page, type PagePosition } from '#platform/page.ts';
import type { Knex, Queryable } from '#platform/database.ts';
import type { EventVisibility } from './event-visibility.ts';

/** A fact about an item, as it is written. */
export interface NewEvent {
  readonly workspaceId: string;
  readonly eventId: string;
  /** Null for events of a case. */
  readonly itemNumber: number | null;
  readonly eventType: string;
  readonly entryId: string | null;
  readonly occurredAtMicros: number;
  readonly visibility: EventVisibility;
  /** JSON text. */
  readonly payload: string;
  readonly eventKey: Buffer | null;
}

export interface EventRow {
  event_id: string;
  item_number: number | null;
  event_type: string;
  entry_id: string | null;
  occurred_at: Date;
  visibility: EventVisibility;
  payload: unknown;
  created_at: Date;
}

/**
 * Writes facts in the transaction of the change that they tell of, and hands them on: those of items to the log, those of
 * workspaces that have endpoints to these. The caller holds the rows of the items and leaves out submitted events that they have already.
 */
export async function insertEvents(queryable: Queryable, events: readonly NewEvent[]): Promise<void> {
  if (events.length === 0) return;
  await queryable.query({
    name: 'insert_events',
    text: `with new as materialized (
             select * from unnest($1::uuid[], $2::uuid[], $3::int8[], $4::text[], $5::uuid[], $6::timestamptz[], $7::text[], $8::text[], $9::bytea[]) with ordinality
               as new (workspace_id, event_id, item_number, event_type, entry_id, occurred_at, visibility, payload, event_key, place)
           ), fed as (
             insert into event_feed (workspace_id, event_id, item_number)
             select workspace_id, event_id, item_number from new where item_number is not null
           ), told as (
             insert into webhook_feed (workspace_id, event_id, item_number)
             select workspace_id, event_id, item_number from new where workspace_id in (select workspace_id from webhook_workspaces) order by place
           )
           insert into events (workspace_id, event_id, item_number, event_type, entry_id, occurred_at, visibility, payload, event_key)
           select workspace_id, event_id, item_number, event_type, entry_id, occurred_at, visibility, payload::json, event_key from new`,
    values: [
      uuidArray(events.map((event) => event.workspaceId)),
      uuidArray(events.map((event) => event.eventId)),
      int8Array(events.map((event) => event.itemNumber)),
      textArray(events.map((event) => event.eventType)),
      uuidArray(events.map((event) => event.entryId)),
      timestamptzArray(events.map((event) => event.occurredAtMicros)),
      textArray(events.map((event) => event.visibility)),
      textArray(events.map((event) => event.payload)),
      byteaArray(events.map((event) => event.eventKey)),
    ],
  });
}

/** Takes back events that this transaction wrote for items that it does not create after all. */
export async function discardEvents(
  queryable: Queryable,
  workspaceId: string,
  eventIds: readonly string[],
): Promise<void> {
  await queryable.query({
    name: 'discard_events',
    text: 'delete from events where workspace_id = $1 and event_id = any($2::uuid[])',
    values: [workspaceId, uuidArray(eventIds)],
  });
}

export interface RemovedEvent {
  entry_id: string;
  event_type: string;
  occurred_at_micros: number;
  visibility: EventVisibility;
  payload: unknown;
  event_key: Buffer | null;
}

const removedColumns = `events.entry_id, event_type, (extract(epoch from occurred_at) * 1000000)::int8 as occurred_at_micros, visibility,
  payload, event_key`;

/** The events of an entry that goes from one item to another. */
export interface RehomedEvents {
  readonly entryId: string;
  readonly from: number;
  readonly to: number;
}

/**
 * What stays with an item of an event that leaves it: out of sight, of no entry and without content, but in the version that
 * it made. The id stands where that of the event does in the order of time.
 */
const remainderColumns = `workspace_id, event_id, item_number, event_type, occurred_at, visibility, payload, created_at, versioned_at, withdrawn_at`;
const remainderOfEvent = `events.workspace_id, (left(events.event_id::text, 24) || right(gen_random_uuid()::text, 12))::uuid,
  events.item_number, events.event_type, events.occurred_at, 'private', '{}'::json, events.created_at, events.versioned_at, now()`;

/** Takes away the events of entries that are not part of an item any longer, and gives what they were. */
export async function removeEventsOfEntries(
  queryable: Queryable,
  entryIds: readonly string[],
): Promise<RemovedEvent[]> {
  if (entryIds.length === 0) return [];
  const { rows } = await queryable.query<RemovedEvent>({
    name: 'remove_events_of_entries',
    text: `with remainders as (
             insert into events (${remainderColumns})
             select ${remainderOfEvent} from events join entries using (item_number, entry_id)
             where entries.entry_id = any($1::uuid[])
           )
           delete from events using entries
           where entries.entry_id = any($1::uuid[]) and events.item_number = entries.item_number and events.entry_id = entries.entry_id
           returning ${removedColumns}`,
    values: [uuidArray(entryIds)],
  });
  return rows;
}

/** Takes the events of entries that were withdrawn out of sight; they may be sent again. */
export async function withdrawEventsOfEntries(queryable: Queryable, entryIds: readonly string[]): Promise<void> {
  if (entryIds.length === 0) return;
  await queryable.query({
    name: 'withdraw_events_of_entries',
    text: `update events set withdrawn_at = now(), event_key = null, is_repeated = false from entries
           where entries.entry_id = any($1::uuid[]) and events.item_number = entries.item_number and events.entry_id = entries.entry_id`,
    values: [uuidArray(entryIds)],
  });
}

/**
 * Takes away submitted events of entries that go to other items where these have them already, or where several entries
 * bring them, and gives what they were.
 */
export async function removeRepeatedEvents(
  queryable: Queryable,
  rehomed: readonly RehomedEvents[],
): Promise<RemovedEvent[]> {
  if (rehomed.length === 0) return [];
  const { rows } = await queryable.query<RemovedEvent>({
    name: 'remove_repeated_events',
    text: `with moving as (
             select events.workspace_id, event_id, event_key, rehomed.new_item
             from unnest($1::uuid[], $2::int8[], $3::int8[]) as rehomed (entry_id, old_item, new_item)
             join events on events.item_number = rehomed.old_item and events.entry_id = rehomed.entry_id
             where event_key is not null
           ), repeated as (
             select workspace_id, event_id
             from (select moving.*, row_number() over (partition by new_item, workspace_id, event_key order by event_id) as place
                   from moving) as placed
             where place > 1 or exists (
               select 1 from events as known
               where known.item_number = placed.new_item and known.workspace_id = placed.workspace_id
                 and known.event_key = placed.event_key)
           ), remainders as (
             insert into events (${remainderColumns})
             select ${remainderOfEvent} from events join repeated using (workspace_id, event_id)
           )
           delete from events using repeated
           where events.workspace_id = repeated.workspace_id and events.event_id = repeated.event_id
           returning ${removedColumns}`,
    values: rehomedColumns(rehomed),
  });
  return rows;
}

/** Gives the events of entries to the items that the entries belong to now, where they are part of a version made now. */
export async function rehomeEvents(queryable: Queryable, rehomed: readonly RehomedEvents[]): Promise<void> {
  if (rehomed.length === 0) return;
  await queryable.query({
    name: 'rehome_events',
    text: `with rehomed as (
             select * from unnest($1::uuid[], $2::int8[], $3::int8[]) as rehomed (entry_id, old_item, new_item)
           ), remainders as (
             insert into events (${remainderColumns})
             select ${remainderOfEvent} from rehomed
             join events on events.item_number = rehomed.old_item and events.entry_id = rehomed.entry_id
           )
           update events set item_number = rehomed.new_item, versioned_at = now() from rehomed
           where events.item_number = rehomed.old_item and events.entry_id = rehomed.entry_id`,
    values: rehomedColumns(rehomed),
  });
}

function rehomedColumns(rehomed: readonly RehomedEvents[]): Buffer[] {
  return [
    uuidArray(rehomed.map(({ entryId }) => entryId)),
    int8Array(rehomed.map(({ from }) => from)),
    int8Array(rehomed.map(({ to }) => to)),
  ];
}

const markRepeatedEvents = `
  update events set is_repeated = ranked.place > 1 from ranked
  where events.workspace_id = ranked.workspace_id and events.event_id = ranked.event_id and events.is_repeated <> (ranked.place > 1)`;

/**
 * Lets submitted events that items have both count once when these are about to become part of `survivor`, where they came
 * first. The caller holds the rows of the items.
 */
export async function markEventsRepeatedByMerge(
  queryable: Queryable,
  survivor: number,
  losers: readonly number[],
): Promise<void> {
  await queryable.query({
    name: 'mark_events_repeated_by_merge',
    text: `with joining as materialized (
             select item_number from items where item_number = any($2::int8[]) or merged_into = any($2::int8[])
           ), members as (
             select item_number from joining union all select item_number from items where item_number = $1 or merged_into = $1
           ), keys as (
             select distinct workspace_id, event_key from joining join events using (item_number) where event_key is not null
           ), ranked as (
             select workspace_id, event_id, row_number() over (partition by workspace_id, event_key order by event_id) as place
             from keys cross join members join events using (item_number, workspace_id, event_key)
           ) ${markRepeatedEvents}`,
    values: [survivor, int8Array(losers)],
  });
}

/**
 * Lets each submitted event count once in each item as the items are now: where it came first.
 * @param members the items that each item is, itself included. The caller holds their rows.
 */
export async function markRepeatedEventsOf(
  queryable: Queryable,
  members: readonly { readonly itemNumber: number; readonly root: number }[],
): Promise<void> {
  await queryable.query({
    name: 'mark_repeated_events_of',
    text: `with ranked as (
             select workspace_id, event_id, row_number() over (partition by root, workspace_id, event_key order by event_id) as place
             from unnest($1::int8[], $2::int8[]) as members (item_number, root) join events using (item_number)
             where event_key is not null
           ) ${markRepeatedEvents}`,
    values: [int8Array(members.map(({ itemNumber }) => itemNumber)), int8Array(members.map(({ root }) => root))],
  });
}

/** Which of these submitted events a workspace's items have already, those first that count. */
export async function findKnownEvents(
  queryable: Queryable,
  workspaceId: string,
  itemNumbers: readonly number[],
  eventKeys: readonly Buffer[],
): Promise<{ item_number: number; event_key: Buffer; event_id: string }[]> {
  const { rows } = await queryable.query<{ item_number: number; event_key: Buffer; event_id: string }>({
    name: 'find_known_events',
    text: `select item_number, event_key, event_id from events
           where item_number = any($1::int8[]) and workspace_id = $2 and event_key = any($3::bytea[])
           order by is_repeated`,
    values: [int8Array(itemNumbers), workspaceId, byteaArray(eventKeys)],
  });
  return rows;
}

/** When events of these types occurred that workspaces told of items by themselves, without a record. */
export async function findToldEvents(
  queryable: Queryable,
  itemNumbers: readonly number[],
  eventTypes: readonly string[],
): Promise<{ item_number: number; workspace_id: string; occurred_at_micros: number }[]> {
  const { rows } = await queryable.query<{ item_number: number; workspace_id: string; occurred_at_micros: number }>({
    name: 'find_told_events',
    text: `select item_number, workspace_id, (extract(epoch from occurred_at) * 1000000)::int8 as occurred_at_micros from events
           where item_number = any($1::int8[]) and event_type = any($2::text[]) and entry_id is null and withdrawn_at is null`,
    values: [int8Array(itemNumbers), textArray(eventTypes)],
  });
  return rows;
}

export interface EventFilter {
  workspaceId: string;
  eventType?: string | undefined;
  itemNumbers?: readonly number[] | undefined;
  /** True for events of items, false for those of conflicts. */
  isAboutItems?: boolean | undefined;
  /** A condition on `events` that a later domain knows. */
  isWanted?: Knex.Raw | undefined;
}

const shownColumns = [
  'event_id',
  'item_number',
  'event_type',
  'entry_id',
  'occurred_at',
  'visibility',
  'payload',
  'created_at',
];

/** The events of a workspace, newest first. */
export async function listEvents(
  knex: Knex,
  filter: EventFilter,
  position: PagePosition,
): Promise<Omit<Page<EventRow>, 'nextPosition'>> {
  const matching = knex('events')
    .where({ workspace_id: filter.workspaceId, is_repeated: false })
    .whereNull('withdrawn_at');
  if (filter.eventType !== undefined) void matching.andWhere('event_type', filter.eventType);
  if (filter.itemNumbers !== undefined) void matching.whereIn('item_number', [...filter.itemNumbers]);
  if (filter.isAboutItems === true) void matching.whereNotNull('item_number');
  if (filter.isAboutItems === false) void matching.whereNull('item_number');
  if (filter.isWanted !== undefined) void matching.andWhere(filter.isWanted);
  const total = await countMatching(knex, matching);
  const rows = await cutPage(matching.select<EventRow[]>(shownColumns), 'event_id', 'desc', position);
  return { rows, total };
}

export async function findEvent(knex: Knex, workspaceId: string, eventId: string): Promise<EventRow | undefined> {
  return knex('events')
    .select(shownColumns)
    .where({ workspace_id: workspaceId, event_id: eventId, is_repeated: false })
    .whereNull('withdrawn_at')
    .first<EventRow | undefined>();
}

/** Events of an item that a workspace may see, oldest first, at most `limit`. */
export async function listEventsOfItems(
  knex: Knex,
  workspaceId: string,
  itemNumbers: readonly number[],
  limit: number,
): Promise<EventRow[]> {
  return knex('events')
    .select<EventRow[]>(shownColumns)
    .where({ workspace_id: workspaceId, is_repeated: false })
    .whereNull('withdrawn_at')
    .whereIn('item_number', [...itemNumbers])
    .orderBy('event_id')
    .limit(limit);
}
