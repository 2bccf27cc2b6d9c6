import type pg from 'pg';
import { withTransaction } from '#platform/database.ts';
import type { FingerprintRule } from '../identifier-types.ts';
import { dfidOf } from '../item-names.ts';
import type { ItemRow } from '../items.store.ts';
import { explainEntries } from './explain-entries.ts';
import type { ExplainedEntry, NamedValue, ShownDecision } from './explained-entry.ts';
import { because, counted, dayOf, deciderInWords, joined, listed, otherDecider } from './explanation-sentences.ts';
import {
  findExplainedItems,
  findOwnCredentials,
  listExplainedEntries,
  listExplainedMerges,
  listExplainedSeparations,
  listOpenConflicts,
  type ExplainedEntryRow,
  type ExplainedItemRow,
  type ExplainedMergeRow,
  type ExplainedSeparationRow,
} from './explanation.store.ts';

const decisionsMax = 10_000;

interface Gathered {
  readonly itemNumbers: readonly number[];
  readonly entries: readonly ExplainedEntryRow[];
  readonly merges: readonly ExplainedMergeRow[];
  readonly separations: readonly ExplainedSeparationRow[];
  readonly conflicts: readonly { conflict_id: string; opened_at: Date }[];
  readonly items: ReadonlyMap<number, ExplainedItemRow>;
  /** Those credentials met that are of the asking workspace. */
  readonly ownCredentials: ReadonlySet<string>;
  readonly isComplete: boolean;
}

/** Reads all that explains an item, as it was at one moment. */
export function gatherExplanation(
  pool: pg.Pool,
  workspaceId: string,
  itemNumbers: readonly number[],
  limits: { rows: number; bytes: number },
): Promise<Gathered> {
  return withTransaction(pool, async (client) => {
    await client.query('set transaction isolation level repeatable read, read only');
    const { entries, isComplete } = await listExplainedEntries(client, workspaceId, itemNumbers, limits);
    const merges = await listExplainedMerges(client, workspaceId, itemNumbers, decisionsMax);
    const separations = await listExplainedSeparations(client, workspaceId, itemNumbers, decisionsMax);
    const conflicts = await listOpenConflicts(client, workspaceId, itemNumbers);
    const mentioned = [
      ...itemNumbers,
      ...merges.flatMap(({ survivor, loser }) => [survivor, loser]),
      ...separations.map((each) => each.other_item),
    ];
    const items = await findExplainedItems(client, workspaceId, [...new Set(mentioned)]);
    const credentials = [
      ...merges.flatMap((merge) => [merge.decided_by, merge.undone_by]),
      ...entries.map((entry) => entry.resolved_by),
    ].filter((each) => each !== null);
    const ownCredentials = await findOwnCredentials(client, workspaceId, [...new Set(credentials)]);
    const isAll = isComplete && merges.length < decisionsMax && separations.length < decisionsMax;
    return { itemNumbers, entries, merges, separations, conflicts, items, ownCredentials, isComplete: isAll };
  });
}

interface Explained extends Gathered {
  /** The item that was asked for. */
  readonly asked: ItemRow;
  readonly rules: readonly Pick<FingerprintRule, 'name' | 'identifierTypes'>[];
  readonly otherParticipants: number;
}

/** An explanation as the API shows it. */
export function showExplanation(explained: Explained) {
  const { asked, items, itemNumbers, rules, otherParticipants } = explained;
  const dfid = dfidOf(items.get(itemNumbers[0]!)!);
  const entries = explainEntries(explained.entries, {
    rules,
    hasOthers: otherParticipants > 0,
    dfidOf: (itemNumber) => dfidOf(items.get(itemNumber)!),
    linkedBy: linksOf(explained),
    separationOf: (itemNumber) => separationOf(explained, itemNumber),
    resolutionOf: (row) => resolutionOf(explained, row),
  });
  const merges = explained.merges.map((merge) => showMerge(explained, merge));
  const shown = {
    dfid,
    asked_dfid: dfidOf(asked),
    is_merged: asked.merged_into !== null,
    entries,
    merges: merges.filter((merge) => merge.undone_at === null),
    undone_merges: merges.filter((merge) => merge.undone_at !== null),
    separations: explained.separations.map((separation) => showSeparation(explained, separation)),
    ended_identifiers: explained.entries.filter((entry) => entry.withdrawn_at === null).flatMap(showEnds),
    withdrawn_entries: explained.entries.filter((entry) => entry.withdrawn_at !== null).map(showWithdrawal),
    open_conflicts: explained.conflicts.map((conflict) => ({
      conflict_id: conflict.conflict_id,
      opened_at: conflict.opened_at.toISOString(),
      sentence: `Since ${dayOf(conflict.opened_at.toISOString())} records wait for a person to decide whether they are about this item.`,
    })),
    other_participants: otherParticipants,
    is_complete: explained.isComplete,
  };
  return { ...shown, summary: summarise(shown) };
}

/** The DFIDs of the items that entries of the asking workspace joined. */
function linksOf({ merges, items }: Explained): (entryId: string) => string[] {
  const byEntry = Map.groupBy(
    merges.filter((merge) => merge.own_entry_id !== null && merge.undone_at === null),
    (merge) => merge.own_entry_id!,
  );
  return (entryId) => {
    const numbers = (byEntry.get(entryId) ?? []).flatMap(({ survivor, loser }) => [survivor, loser]);
    return [...new Set(numbers)].map((itemNumber) => dfidOf(items.get(itemNumber)!));
  };
}

/** The decision that made an item out of another one: both were written in one transaction, which has one time. */
function separationOf({ separations, items }: Explained, itemNumber: number): ShownDecision | undefined {
  const separation = separations.find(
    (each) =>
      each.item_number === itemNumber && each.decided_at.getTime() === items.get(itemNumber)!.created_at.getTime(),
  );
  return separation && { ...decisionOf(separation), conflict_id: null };
}

function decisionOf({ is_own: isOwn, decided_by: by, decided_at: at, reason }: ExplainedSeparationRow) {
  return { decided_by: isOwn ? by : otherDecider, decided_at: at.toISOString(), reason: isOwn ? reason : null };
}

function resolutionOf({ ownCredentials }: Explained, row: ExplainedEntryRow): ShownDecision {
  const isOwn = row.resolved_by !== null && ownCredentials.has(row.resolved_by);
  return {
    decided_by: isOwn ? row.resolved_by! : otherDecider,
    decided_at: row.resolved_at!.toISOString(),
    reason: isOwn ? row.conflict_reason : null,
    conflict_id: row.conflict_id,
  };
}

/** The DFID of an item, if the asking workspace has a part in it or decided about it. */
function dfidIfKnown({ items }: Explained, itemNumber: number, isOwnDecision: boolean): string | null {
  const item = items.get(itemNumber)!;
  return item.is_own || isOwnDecision ? dfidOf(item) : null;
}

interface ShownMerge {
  survivor_dfid: string | null;
  merged_dfid: string | null;
  by: 'record' | 'person';
  decided_by: string | null;
  entry_id: string | null;
  strategy: string | null;
  reason: string | null;
  merged_at: string;
  undone_at: string | null;
  undone_by: string | null;
  sentence: string;
}

function showMerge(explained: Explained, merge: ExplainedMergeRow): ShownMerge {
  const { ownCredentials } = explained;
  const deciderOf = (by: string | null) => by && (ownCredentials.has(by) ? by : otherDecider);
  const isByPerson = merge.decided_by !== null;
  const isOwnDecision = merge.own_entry_id !== null || (isByPerson && merge.is_own);
  const isReasonOwn = isByPerson && merge.is_own;
  const shown = {
    survivor_dfid: dfidIfKnown(explained, merge.survivor, isOwnDecision),
    merged_dfid: dfidIfKnown(explained, merge.loser, isOwnDecision),
    by: isByPerson ? ('person' as const) : ('record' as const),
    decided_by: deciderOf(merge.decided_by),
    entry_id: merge.own_entry_id,
    strategy: isReasonOwn ? merge.strategy : null,
    reason: isReasonOwn ? merge.reason : null,
    merged_at: merge.merged_at.toISOString(),
    undone_at: merge.undone_at?.toISOString() ?? null,
    undone_by: deciderOf(merge.undone_by),
  };
  return { ...shown, sentence: mergeSentence(shown) };
}

function mergeSentence(merge: Omit<ShownMerge, 'sentence'>): string {
  const [survivor, loser] = [merge.survivor_dfid ?? 'another item', merge.merged_dfid ?? 'another item'];
  const record = merge.entry_id === null ? 'a record of another participant' : 'a record of yours';
  const cause =
    merge.decided_by === null
      ? `because ${record} named identifiers of both`
      : `because ${deciderInWords(merge.decided_by)} decided so${because(merge.reason)}`;
  const ending =
    merge.undone_at === null
      ? ''
      : ` This was taken back on ${dayOf(merge.undone_at)} by ${deciderInWords(merge.undone_by ?? otherDecider)}.`;
  return `On ${dayOf(merge.merged_at)} ${loser} became part of ${survivor}, ${cause}.${ending}`;
}

function showSeparation(explained: Explained, separation: ExplainedSeparationRow) {
  const dfid = dfidIfKnown(explained, separation.other_item, separation.is_own);
  const decision = decisionOf(separation);
  return {
    dfid,
    ...decision,
    sentence: `It is kept apart from ${dfid ?? 'another item'} since ${dayOf(decision.decided_at)}, because ${deciderInWords(decision.decided_by)} decided so${because(decision.reason)}.`,
  };
}

/** The identifiers that an entry tells to be replaced. */
function showEnds({ entry_id: entryId, ended, identifiers, received_at: receivedAt }: ExplainedEntryRow) {
  return (ended ?? []).map(([claimType, value, endedAtMicros]) => {
    const endedAt = new Date(endedAtMicros / 1000).toISOString();
    const named = identifiers.find((each) => each[2] === claimType && each[3] === value);
    const identifier = { identifier_type: named?.[0] ?? claimType, value: named?.[1] ?? value };
    return {
      ...identifier,
      ended_at: endedAt,
      entry_id: entryId,
      sentence: `Since ${dayOf(endedAt)} another identifier is in the place of ${listed([identifier])}, as your record of ${dayOf(receivedAt.toISOString())} tells; it still leads to this item.`,
    };
  });
}

/** Only the workspace that sent an entry withdraws it. */
function showWithdrawal(entry: ExplainedEntryRow) {
  const withdrawnAt = entry.withdrawn_at!.toISOString();
  const by = entry.withdrawn_by!;
  return {
    entry_id: entry.entry_id,
    withdrawn_at: withdrawnAt,
    withdrawn_by: by,
    reason: entry.withdrawal_reason,
    sentence: `On ${dayOf(withdrawnAt)} ${deciderInWords(by)} withdrew your record of ${dayOf(entry.received_at.toISOString())}${because(entry.withdrawal_reason)}.`,
  };
}

interface Summarised {
  readonly dfid: string;
  readonly asked_dfid: string;
  readonly is_merged: boolean;
  readonly entries: readonly ExplainedEntry[];
  readonly merges: readonly { by: 'record' | 'person' }[];
  readonly ended_identifiers: readonly NamedValue[];
  readonly separations: readonly { dfid: string | null }[];
  readonly withdrawn_entries: readonly unknown[];
  readonly open_conflicts: readonly unknown[];
  readonly other_participants: number;
  readonly is_complete: boolean;
}

function summarise(explained: Summarised): string {
  const { dfid, merges, ended_identifiers: ended, is_complete: isComplete } = explained;
  const entries = explained.entries.filter((entry) => entry.withdrawn_at === null);
  const placed = entries.filter(({ how }) => how === 'placed_by_person');
  const decided = merges.filter(({ by }) => by === 'person');
  const records = `${isComplete ? '' : 'At least '}${counted(entries.length, 'record')} of yours`;
  const shared = entries.flatMap((entry) => [
    ...entry.shared_identifiers.filter((each) => each.with === 'you'),
    ...entry.shared_sets.flatMap(({ identifiers }) => identifiers),
  ]);
  const sentences = [
    explained.is_merged && `${explained.asked_dfid} was merged; it is part of ${dfid} now, which is explained here.`,
    `${records} ${entries.length === 1 ? 'is' : 'are'} about ${dfid}.`,
    shared.length > 0 && `They belong together because they share ${listed(shared)}.`,
    placed.length > 0 &&
      `${counted(placed.length, 'record')} contradicted what was known and came in because a person decided so.`,
    merges.length > decided.length &&
      `${counted(merges.length - decided.length, 'item')} turned out to be the same thing and became part of it.`,
    decided.length > 0 && `${counted(decided.length, 'item')} became part of it because a person decided so.`,
    ended.length > 0 && `Another identifier took the place of ${listed(ended)}.`,
    explained.separations.length > 0 &&
      `It is kept apart from ${joined([...new Set(explained.separations.map((each) => each.dfid ?? 'another item'))].slice(0, 5))}.`,
    explained.withdrawn_entries.length > 0 &&
      `${counted(explained.withdrawn_entries.length, 'record')} withdrawn since then no longer count${explained.withdrawn_entries.length === 1 ? 's' : ''}.`,
    explained.open_conflicts.length > 0 &&
      `${counted(explained.open_conflicts.length, 'conflict')} about it wait${explained.open_conflicts.length === 1 ? 's' : ''} for a decision.`,
    explained.other_participants > 0 &&
      `${counted(explained.other_participants, 'other participant')} sent records of it too; you do not see what they sent.`,
  ];
  return sentences.filter((sentence) => sentence !== false).join(' ');
}
