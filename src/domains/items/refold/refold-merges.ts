import type pg from 'pg';
import { makeId } from '#platform/ids.ts';
import type { NumberedItem } from './divided-entries.ts';
import { chooseValues, overridesOf, type MergeStrategy, type Override } from './refold-contents.ts';
import type { Evidence } from './refold-evidence.ts';
import type { RefoldContext, RefoldRequest } from './refold-request.ts';
import { insertMerges, undoMerges } from './refold.store.ts';

/** Undoes merges that do not hold and writes those that do; gives what merges by hand chose as values. */
export async function writeMerges(
  client: pg.ClientBase,
  { decision, nowMicros }: RefoldContext,
  { roots, united, unmerged }: RefoldRequest,
  { contributions, merges }: Evidence,
  items: readonly NumberedItem[],
): Promise<Map<NumberedItem, Override[]>> {
  const overrides = new Map(items.map((item): [NumberedItem, Override[]] => [item, []]));
  const itemOf = (number: number) => items.find(({ itemNumbers }) => itemNumbers.includes(number))!;
  const isUndone = ({ survivor, loser }: { survivor: number; loser: number }) =>
    loser === unmerged || itemOf(survivor) !== itemOf(loser);
  const [undone, holding] = [merges.filter(isUndone), merges.filter((merge) => !isUndone(merge))];
  await undoMerges(
    client,
    undone.map(({ row }) => row.merge_id),
    decision.by,
  );
  for (const { loser, row } of holding) overrides.get(itemOf(loser))!.push(...overridesOf(row));
  for (const item of items) {
    for (const loser of item.itemNumbers) {
      if (loser === item.root || holding.some((merge) => merge.loser === loser)) continue;
      const isByHand = united?.losers.includes(loser) === true;
      const chosen = isByHand
        ? chooseForAll(united.strategy, contributions, roots[0]!, loser)
        : new Map<string, Record<string, unknown>>();
      const mergeId = makeId();
      for (const [workspaceId, values] of chosen)
        overrides.get(item)!.push({ workspaceId, mergeId, atMicros: nowMicros, values });
      await insertMerges(client, [
        {
          mergeId,
          survivor: item.root,
          loser,
          workspaceId: decision.workspaceId,
          entryId: isByHand ? null : (item.joins.find((join) => join.itemNumbers.includes(loser))?.entryId ?? null),
          decidedBy: isByHand ? decision.by : null,
          reason: isByHand ? decision.reason : null,
          strategy: isByHand ? united.strategy : null,
          overrides: chosen.size > 0 ? JSON.stringify(Object.fromEntries(chosen)) : null,
        },
      ]);
    }
  }
  return overrides;
}

/** What a strategy chooses for each workspace that knows both items, where the order of the entries would not. */
function chooseForAll(
  strategy: MergeStrategy,
  contributions: Evidence['contributions'],
  survivor: number,
  loser: number,
): Map<string, Record<string, unknown>> {
  const chosen = new Map<string, Record<string, unknown>>();
  for (const { item_number: itemNumber, workspace_id: workspaceId, state } of contributions) {
    if (itemNumber !== survivor) continue;
    const theirs = contributions.find((row) => row.item_number === loser && row.workspace_id === workspaceId)?.state;
    const values = chooseValues(strategy, state, theirs);
    if (Object.keys(values).length > 0) chosen.set(workspaceId, values);
  }
  return chosen;
}
