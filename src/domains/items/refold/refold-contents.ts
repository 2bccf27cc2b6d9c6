import { canonicalJson } from '#platform/json/canonical.ts';
import {
  compareEntryOrder,
  ContributionState,
  type EntryContent,
  type EntryOrder,
  type StoredContributionState,
} from '../contribution-state.ts';
import { claimKey } from '../judge-record.ts';
import { fieldsOfRecord, identifiersOfRecord, lifeOfStored } from '../stored-record.ts';
import type { Division, Evidence } from './refold-evidence.ts';
import type { RefoldedItem } from './refold-plan.ts';
import type { MergeRow } from './refold.store.ts';

/** Which of two values a merge by hand keeps: joined or the later one, the survivor's, or the other's. */
export type MergeStrategy = 'append' | 'keep_first' | 'overwrite';

/** Values that a merge by hand chose, as if one more entry had brought them when it was decided. */
export interface Override {
  readonly workspaceId: string;
  readonly mergeId: string;
  readonly atMicros: number;
  readonly values: Readonly<Record<string, unknown>>;
}

export function overridesOf(row: MergeRow): Override[] {
  return Object.entries(row.overrides ?? {}).map(([workspaceId, values]) => ({
    workspaceId,
    mergeId: row.merge_id,
    atMicros: row.merged_at_micros,
    values,
  }));
}

interface OrderedContent {
  readonly order: EntryOrder;
  readonly content: EntryContent;
}

/** What each workspace knows of an item, folded from its entries in their order. */
export function statesOf(
  item: RefoldedItem,
  { rows, divisions, toldEnds }: Evidence,
  overrides: readonly Override[],
): Map<string, ContributionState> {
  const contents = new Map<string, OrderedContent[]>();
  const add = (workspaceId: string, order: EntryOrder, content: EntryContent) => {
    const known = contents.get(workspaceId);
    if (known) known.push({ order, content });
    else contents.set(workspaceId, [{ order, content }]);
  };
  for (const entry of item.entries) {
    const row = rows.get(entry)!;
    const elsewhere = entry.isDivision ? new Set<string>() : keysElsewhere(entry.entryId, item, divisions);
    const identifiers = identifiersOfRecord(row.record).filter(
      ({ claimType, value }) => !elsewhere.has(claimKey(claimType, value)),
    );
    const life = lifeOfStored(row.record);
    add(row.workspace_id, entry.order, { identifiers, fields: fieldsOfRecord(row.record), life });
  }
  for (const { item_number: told, workspace_id: workspaceId, occurred_at_micros: endedAtMicros } of toldEnds) {
    if (!item.itemNumbers.includes(told) || !contents.has(workspaceId)) continue;
    const order = { entryId: '', effectiveAtMicros: endedAtMicros, receivedSequence: 0 };
    add(workspaceId, order, { identifiers: [], fields: [], life: { endedAtMicros, latestMicros: endedAtMicros } });
  }
  for (const { workspaceId, mergeId, atMicros, values } of overrides) {
    const fields = fieldsOfRecord({ identifiers: [], fields: { ...values } });
    add(
      workspaceId,
      { entryId: mergeId, effectiveAtMicros: atMicros, receivedSequence: 0 },
      { identifiers: [], fields },
    );
  }
  return new Map([...contents].map(([workspaceId, ofWorkspace]) => [workspaceId, fold(ofWorkspace)]));
}

function keysElsewhere(entryId: string, { itemNumbers }: RefoldedItem, divisions: readonly Division[]): Set<string> {
  const elsewhere = divisions.filter((each) => each.entryId === entryId && !itemNumbers.includes(each.itemNumber));
  return new Set(elsewhere.flatMap(({ keys }) => keys));
}

function fold(contents: readonly OrderedContent[]): ContributionState {
  const state = new ContributionState();
  for (const { order, content } of contents.toSorted((a, b) => compareEntryOrder(a.order, b.order)))
    state.apply(order, content);
  return state;
}

/** What a workspace can see of a state: equal texts need no new version. */
export function visiblePart({ identifiers, fields }: StoredContributionState): string {
  return canonicalJson({
    identifiers: identifiers.map(([, , claimType, value]) => claimKey(claimType, value)).toSorted(),
    fields: Object.fromEntries(Object.entries(fields).map(([name, [value]]) => [name, value])),
  });
}

/** The values that a strategy wants and that the order of the entries alone would not give. */
export function chooseValues(
  strategy: MergeStrategy,
  ours: StoredContributionState | undefined,
  theirs: StoredContributionState | undefined,
): Record<string, unknown> {
  if (!ours || !theirs) return {};
  const joined = ContributionState.fromStored(ours, canonicalJson);
  joined.mergeFrom(ContributionState.fromStored(theirs, canonicalJson));
  const latest = (JSON.parse(joined.toJson()) as StoredContributionState).fields;
  const chosen: Record<string, unknown> = {};
  for (const name of Object.keys(ours.fields)) {
    if (!Object.hasOwn(theirs.fields, name)) continue;
    const byOrder = latest[name]![0];
    const value = chooseValue(strategy, ours.fields[name]![0], theirs.fields[name]![0], byOrder);
    if (canonicalJson(value) !== canonicalJson(byOrder)) chosen[name] = value;
  }
  return chosen;
}

function chooseValue(strategy: MergeStrategy, ours: unknown, theirs: unknown, byOrder: unknown): unknown {
  if (strategy === 'keep_first') return ours;
  if (strategy === 'overwrite') return theirs;
  if (Array.isArray(ours) && Array.isArray(theirs)) {
    const known = new Set(ours.map((value: unknown) => canonicalJson(value)));
    return [...(ours as unknown[]), ...theirs.filter((value: unknown) => !known.has(canonicalJson(value)))];
  }
  return isObject(ours) && isObject(theirs) ? { ...ours, ...theirs } : byOrder;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
