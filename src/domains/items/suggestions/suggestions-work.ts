import type pg from 'pg';
import { withTransaction, type Database } from '#platform/database.ts';
import type { QueueWork } from '#platform/queue/definition.ts';
import { findChangedItems } from '#domains/events/index.ts';
import { suggestionsQueue } from '../suggestions.jobs.ts';
import type { TypeRegistry } from '../type-registry.ts';
import { compareWithOthers } from './compare-items.ts';
import { keysOf, profileOf } from './likeness.ts';
import {
  advanceWorkspace,
  claimWorkspace,
  findDueWorkspaces,
  findStates,
  findSurvivors,
  replaceSuggestions,
  writeKeys,
  type DueWorkspace,
} from './suggestions.store.ts';

interface SuggestionsWorkOptions {
  database: Database;
  loadTypes(): Promise<TypeRegistry>;
  nowMs(): number;
  /** Events younger than this are left for later: some with smaller ids may not be committed yet. */
  settleMs: number;
}

/** Events of one step; its transaction takes a fraction of a second. */
const eventsPerStep = 200;
/** When a workspace that is up to date is looked at again: soon after a change, else late, unless somebody asks. */
const pauseSeconds = { afterChange: 30, whenIdle: 600 };
/** Kept for the list are pairs of which more speaks for than against it. In thousandths. */
const keptScoreMin = 300;

/**
 * Makes the work behind the queue `suggestions`. A step follows the events of one workspace for a while, files the items
 * that they tell of, and compares each with at most 100 others: the cost of an item does not grow with their number.
 */
export function makeSuggestionsWork(options: SuggestionsWorkOptions): QueueWork<{ workspace_id: string }> {
  const { pool } = options.database;

  const workNext = async () => {
    const types = await options.loadTypes();
    const beforeMs = options.nowMs() - options.settleMs;
    return withTransaction(pool, async (client) => {
      const workspace = await claimWorkspace(client);
      return workspace && workStep(client, workspace, beforeMs, types);
    });
  };

  return {
    queue: suggestionsQueue,
    concurrency: 1,
    process: async () => (await workNext()) ?? { workspace: 'nothing was due' },
    findOverdue: (limit) => findDueWorkspaces(pool, limit),
    workDirectly: async () => (await workNext()) !== undefined,
  };
}

async function workStep(client: pg.ClientBase, workspace: DueWorkspace, beforeMs: number, types: TypeRegistry) {
  const { workspace_id: workspaceId, last_event_id: after } = workspace;
  const changed = await findChangedItems(client, workspaceId, after, smallestIdAt(beforeMs), eventsPerStep);
  const isUpToDate = changed?.isLast ?? true;
  // What the workspace had when it asked has settled.
  const isComplete = isUpToDate && workspace.asked_at_ms <= beforeMs;
  const itemNumbers = changed ? await findSurvivors(client, changed.itemNumbers) : [];
  const items = (await findStates(client, workspaceId, itemNumbers)).map(({ item_number: itemNumber, state }) => {
    const profile = profileOf(state, types);
    return { itemNumber, profile, keys: keysOf(profile) };
  });
  await writeKeys(client, workspaceId, items);
  const likenesses = await compareWithOthers(client, workspaceId, items, types);
  const kept = likenesses.filter(({ score }) => score >= keptScoreMin);
  // Also those of items that were merged away: their pairs are no longer any.
  await replaceSuggestions(client, workspaceId, [...(changed?.itemNumbers ?? []), ...itemNumbers], kept);
  const isIdle = isComplete && !changed;
  await advanceWorkspace(client, {
    workspaceId,
    lastEventId: changed?.lastEventId ?? after,
    isComplete,
    pauseSeconds: !isUpToDate ? 0 : isIdle ? pauseSeconds.whenIdle : pauseSeconds.afterChange,
  });
  return { workspace_id: workspaceId, items: items.length, suggested: kept.length, is_up_to_date: isUpToDate };
}

/** The id before all UUIDv7 of that millisecond. */
function smallestIdAt(ms: number): string {
  const hex = Math.max(0, Math.floor(ms)).toString(16).padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8)}-7000-8000-000000000000`;
}
