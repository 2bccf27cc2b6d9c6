import { int2Array, int8Array, textArray } from '#platform/binary-arrays.ts';
import type { Queryable } from '#platform/database.ts';
import { countedAtMost } from '#platform/page.ts';
import type { StoredContributionState } from '../contribution-state.ts';
import type { LikenessReason } from './likeness.ts';

/** What more items than these share is no sign that two of them are one. */
const rareMax = 50;
/** Items that one item is compared with, those first that share the most. */
const comparedMax = 100;
/** What is known of an item that is compared; what is longer would take memory that belongs to all. */
const stateBytesMax = 16_384;

/**
 * Makes a workspace one whose items are compared in the background, and soon if that was not done for half a minute. Never
 * waits for the background.
 */
export async function askForSuggestions(queryable: Queryable, workspaceId: string): Promise<{ isComplete: boolean }> {
  const { rows } = await queryable.query<{ is_complete: boolean; is_stale: boolean }>(
    `select completed_at is not null as is_complete, next_run_at > now() and worked_at < now() - interval '30 seconds' as is_stale
     from suggestion_states where workspace_id = $1`,
    [workspaceId],
  );
  const [state] = rows;
  if (!state)
    await queryable.query('insert into suggestion_states (workspace_id) values ($1) on conflict do nothing', [
      workspaceId,
    ]);
  else if (state.is_stale)
    await queryable.query(
      `update suggestion_states set next_run_at = now() where workspace_id in (
         select workspace_id from suggestion_states where workspace_id = $1 for no key update skip locked)`,
      [workspaceId],
    );
  return { isComplete: state?.is_complete ?? false };
}

export interface DueWorkspace {
  workspace_id: string;
  last_event_id: string;
  asked_at_ms: number;
}

/** Locks the workspace that has waited the longest. The lock is the claim. */
export async function claimWorkspace(queryable: Queryable): Promise<DueWorkspace | undefined> {
  const { rows } = await queryable.query<DueWorkspace>(
    `select workspace_id, last_event_id, (extract(epoch from asked_at) * 1000)::float8 as asked_at_ms
     from suggestion_states where next_run_at <= now()
     order by next_run_at limit 1 for no key update skip locked`,
  );
  return rows[0];
}

export async function findDueWorkspaces(queryable: Queryable, limit: number): Promise<{ workspace_id: string }[]> {
  const { rows } = await queryable.query<{ workspace_id: string }>(
    'select workspace_id from suggestion_states where next_run_at <= now() order by next_run_at limit $1',
    [limit],
  );
  return rows;
}

/** Notes how far a workspace is worked out, whether that is all that it had when it asked, and when to look again. */
export async function advanceWorkspace(
  queryable: Queryable,
  state: { workspaceId: string; lastEventId: string; isComplete: boolean; pauseSeconds: number },
): Promise<void> {
  await queryable.query(
    `update suggestion_states
     set last_event_id = $2, worked_at = now(), next_run_at = now() + make_interval(secs => $4),
         completed_at = case when $3 then now() else completed_at end
     where workspace_id = $1`,
    [state.workspaceId, state.lastEventId, state.isComplete, state.pauseSeconds],
  );
}

export interface ItemState {
  item_number: number;
  state: StoredContributionState;
}

/** What a workspace knows of items that are items still, not merged nor archived; those of which it knows very much are left out. */
export async function findStates(
  queryable: Queryable,
  workspaceId: string,
  itemNumbers: readonly number[],
): Promise<ItemState[]> {
  if (itemNumbers.length === 0) return [];
  const { rows } = await queryable.query<ItemState>(
    `select contributions.item_number, state from contributions join items on items.item_number = contributions.item_number
     where contributions.item_number = any($2::int8[]) and workspace_id = $1 and merged_into is null
       and contributions.status <> 'archived' and octet_length(state::text) <= ${stateBytesMax}`,
    [workspaceId, int8Array(itemNumbers)],
  );
  return rows;
}

/** Items as they are found, with whatever they became. */
export async function findSurvivors(queryable: Queryable, itemNumbers: readonly number[]): Promise<number[]> {
  const { rows } = await queryable.query<{ item_number: number }>(
    `select distinct coalesce(merged_into, item_number) as item_number from items where item_number = any($1::int8[])`,
    [int8Array(itemNumbers)],
  );
  return rows.map((row) => row.item_number);
}

/** Files items under these keys and no others. */
export async function writeKeys(
  queryable: Queryable,
  workspaceId: string,
  items: readonly { itemNumber: number; keys: readonly string[] }[],
): Promise<void> {
  if (items.length === 0) return;
  await queryable.query(
    `with listed as materialized (
       select item_number, keys::int8[] as keys from unnest($2::int8[], $3::text[]) as listed (item_number, keys)
     ), former as materialized (
       select item_number, unnest(keys) as key from suggestion_profiles
       where workspace_id = $1 and item_number = any($2::int8[])
     ), wanted as materialized (
       select item_number, unnest(keys) as key from listed
     ), gone as (
       delete from suggestion_keys using (table former except table wanted) as stale
       where suggestion_keys.workspace_id = $1 and suggestion_keys.key = stale.key and suggestion_keys.item_number = stale.item_number
     ), come as (
       insert into suggestion_keys (workspace_id, key, item_number)
       select $1, key, item_number from (table wanted except table former) as fresh
       on conflict do nothing
     )
     insert into suggestion_profiles (workspace_id, item_number, keys) select $1, item_number, keys from listed
     on conflict (workspace_id, item_number) do update set keys = excluded.keys`,
    [
      workspaceId,
      int8Array(items.map((item) => item.itemNumber)),
      textArray(items.map(({ keys }) => `{${keys.join(',')}}`)),
    ],
  );
}

export interface Probe {
  readonly itemNumber: number;
  readonly keys: readonly string[];
  readonly contextual: readonly (readonly [type: string, value: string])[];
}

/**
 * Which other items of a workspace share something rare with items: a key of their names, or an identifier that identifies
 * nothing by itself. Each key costs one probe of an index and at most `rareMax` + 1 rows, however many items there are.
 */
export async function findCandidates(
  queryable: Queryable,
  workspaceId: string,
  probes: readonly Probe[],
): Promise<{ item_number: number; candidate: number }[]> {
  if (probes.length === 0) return [];
  const names = probes.flatMap(({ itemNumber, keys }) => keys.map((key) => ({ itemNumber, key })));
  const mentions = probes.flatMap(({ itemNumber, contextual }) =>
    contextual.map(([type, value]) => ({ itemNumber, type, value })),
  );
  const { rows } = await queryable.query<{ item_number: number; candidate: number }>(
    `with shared as (
       select probe.item_number, found.others
       from unnest($2::int8[], $3::text[]) as probe (item_number, key)
       cross join lateral (
         select array_agg(item_number) as others from (
           select suggestion_keys.item_number from suggestion_keys
           where workspace_id = $1 and suggestion_keys.key = probe.key::int8 limit ${rareMax + 1}
         ) as few
       ) as found
       union all
       select probe.item_number, found.others
       from unnest($4::int8[], $5::text[], $6::text[]) as probe (item_number, identifier_type, value)
       cross join lateral (
         select array_agg(item_number) as others from (
           select mentions.item_number from identifier_mentions as mentions
           where workspace_id = $1 and mentions.identifier_type = probe.identifier_type collate "C"
             and mentions.value = probe.value collate "C" limit ${rareMax + 1}
         ) as few
       ) as found
     ), counted as (
       -- a query for each, not a join, for which the planner might read all items
       select shared.item_number, count(*) as common,
              (select coalesce(merged_into, items.item_number) from items where items.item_number = other.item_number) as candidate
       from shared cross join unnest(shared.others) as other (item_number)
       where cardinality(shared.others) <= ${rareMax}
       group by shared.item_number, candidate
     ), ranked as (
       select item_number, candidate, row_number() over (partition by item_number order by common desc, candidate) as place
       from counted where candidate <> item_number
     )
     select item_number, candidate from ranked where place <= ${comparedMax}`,
    [
      workspaceId,
      int8Array(names.map((probe) => probe.itemNumber)),
      textArray(names.map((probe) => probe.key)),
      int8Array(mentions.map((probe) => probe.itemNumber)),
      textArray(mentions.map((probe) => probe.type)),
      textArray(mentions.map((probe) => probe.value)),
    ],
  );
  return rows;
}

export interface Suggestion {
  readonly lowerItem: number;
  readonly higherItem: number;
  /** In thousandths. */
  readonly score: number;
  readonly reasons: readonly LikenessReason[];
}

/** Puts these in place of all suggestions that name one of the items; pairs that were dismissed stay away. */
export async function replaceSuggestions(
  queryable: Queryable,
  workspaceId: string,
  itemNumbers: readonly number[],
  suggestions: readonly Suggestion[],
): Promise<void> {
  if (itemNumbers.length === 0) return;
  const numbers = int8Array(itemNumbers);
  await queryable.query(
    'delete from item_suggestions where workspace_id = $1 and (lower_item = any($2::int8[]) or higher_item = any($2::int8[]))',
    [workspaceId, numbers],
  );
  if (suggestions.length === 0) return;
  await queryable.query(
    `insert into item_suggestions (workspace_id, lower_item, higher_item, score, reasons)
     select $1, lower_item, higher_item, score, reasons::json
     from unnest($2::int8[], $3::int8[], $4::int2[], $5::text[]) as found (lower_item, higher_item, score, reasons)
     where not exists (select from suggestion_dismissals as dismissed
                       where dismissed.workspace_id = $1 and dismissed.lower_item = found.lower_item
                         and dismissed.higher_item = found.higher_item)
     on conflict do nothing`,
    [
      workspaceId,
      int8Array(suggestions.map((suggestion) => suggestion.lowerItem)),
      int8Array(suggestions.map((suggestion) => suggestion.higherItem)),
      int2Array(suggestions.map((suggestion) => suggestion.score)),
      textArray(suggestions.map((suggestion) => JSON.stringify(suggestion.reasons))),
    ],
  );
}

export interface SuggestionRow {
  lower_item: number;
  higher_item: number;
  score: number;
  reasons: LikenessReason[];
}

export interface SuggestionPosition {
  readonly score: number;
  readonly lowerItem: number;
  readonly higherItem: number;
}

const places = 'score, lower_item, higher_item';
/** Both are items still, and nobody dismissed the pair while it was being worked out. */
const isStanding = `not exists (select from items where items.item_number in (lower_item, higher_item) and merged_into is not null)
  and not exists (select from suggestion_dismissals as dismissed
                  where dismissed.workspace_id = $1 and dismissed.lower_item = item_suggestions.lower_item
                    and dismissed.higher_item = item_suggestions.higher_item)`;

/** A page of the suggestions of a workspace, the likeliest first. */
export async function listSuggestions(
  queryable: Queryable,
  filter: { workspaceId: string; scoreMin: number },
  page: { limit: number; offset: number; after: SuggestionPosition | undefined },
): Promise<{ rows: SuggestionRow[]; total: number }> {
  const { workspaceId, scoreMin } = filter;
  const { limit, offset, after } = page;
  const matching = `from item_suggestions where workspace_id = $1 and score >= $2::int2 and ${isStanding}`;
  const { rows } = await queryable.query<SuggestionRow>(
    `select lower_item, higher_item, score, reasons ${matching}
       ${after ? `and (${places}) < ($5::int2, $6::int8, $7::int8)` : ''}
     order by score desc, lower_item desc, higher_item desc limit $3 offset $4`,
    [workspaceId, scoreMin, limit, offset, ...(after ? [after.score, after.lowerItem, after.higherItem] : [])],
  );
  const counted = await queryable.query<{ count: number }>(
    `select count(*)::int4 as count from (select ${matching} limit ${countedAtMost + 1}) as counted`,
    [workspaceId, scoreMin],
  );
  return { rows, total: counted.rows[0]!.count };
}

/** The higher and lower numbers of those pairs of an item that were dismissed. */
export async function findDismissedPartners(
  queryable: Queryable,
  workspaceId: string,
  itemNumber: number,
  candidates: readonly number[],
): Promise<Set<number>> {
  const { rows } = await queryable.query<{ candidate: number }>(
    `select candidate from unnest($3::int8[]) as compared (candidate)
     where exists (select from suggestion_dismissals where workspace_id = $1
                   and lower_item = least($2::int8, candidate) and higher_item = greatest($2::int8, candidate))`,
    [workspaceId, itemNumber, int8Array(candidates)],
  );
  return new Set(rows.map((row) => row.candidate));
}

export interface Dismissal {
  reason: string | null;
  dismissed_at: Date;
}

/** Dismisses a pair for good; the first dismissal stands. Undefined when the workspace does not know both items. */
export async function dismissPair(
  queryable: Queryable,
  workspaceId: string,
  pair: { lowerItem: number; higherItem: number },
  decision: { reason: string | null; dismissedBy: string },
): Promise<Dismissal | undefined> {
  const { lowerItem, higherItem } = pair;
  const known = await queryable.query('select from contributions where workspace_id = $1 and item_number in ($2, $3)', [
    workspaceId,
    lowerItem,
    higherItem,
  ]);
  if (known.rowCount !== 2) return undefined;
  await queryable.query(
    `insert into suggestion_dismissals (workspace_id, lower_item, higher_item, reason, dismissed_by)
     values ($1, $2, $3, $4, $5) on conflict do nothing`,
    [workspaceId, lowerItem, higherItem, decision.reason, decision.dismissedBy],
  );
  await queryable.query(
    'delete from item_suggestions where workspace_id = $1 and lower_item = $2 and higher_item = $3',
    [workspaceId, lowerItem, higherItem],
  );
  const { rows } = await queryable.query<Dismissal>(
    `select reason, dismissed_at from suggestion_dismissals
     where workspace_id = $1 and lower_item = $2 and higher_item = $3`,
    [workspaceId, lowerItem, higherItem],
  );
  return rows[0];
}
