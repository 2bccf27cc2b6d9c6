import type pg from 'pg';
import { rehomeEvents, removeEventsOfEntries, withdrawEventsOfEntries } from '#domains/events/index.ts';
import { makeId } from '#platform/ids.ts';
import {
  earliestEnds,
  insertItems,
  upsertContributions,
  type ClaimEnd,
  type WrittenContribution,
} from '../deduplication.store.ts';
import { ContributionState, type StoredContributionState } from '../contribution-state.ts';
import { countVersionsOfEvents, endVersions } from '../history/version-counts.store.ts';
import { claimsOfRecord, endedOfRecord, finishedRecord } from '../stored-record.ts';
import type { ValueChain } from '../value-chain.ts';
import { restoreEvents, waitingAgain } from './entry-events.ts';
import {
  chooseValues,
  overridesOf,
  statesOf,
  visiblePart,
  type MergeStrategy,
  type Override,
} from './refold-contents.ts';
import { gatherEvidence, keyOfNode, nodeOf, onlyIdentifiers, type Division, type Evidence } from './refold-evidence.ts';
import {
  planRefold,
  type EvidenceEntry,
  type RefoldDecisions,
  type RefoldedItem,
  type RefoldPlan,
} from './refold-plan.ts';
import {
  deleteContributions,
  findWithdrawingWorkspaces,
  insertDivisions,
  insertMerges,
  insertSeparations,
  rehomeEntries,
  rewriteMentions,
  undoMerges,
  withdrawEntries,
  writeCurrentItems,
  writeFinishedEntries,
  writeKeys,
  type EvidenceEntryRow,
  type FinishedEntry,
  type GivenKey,
  type OwnedKey,
} from './refold.store.ts';

/** Who decides, and why. */
export interface Decision {
  readonly workspaceId: string;
  /** The credential that decided. */
  readonly by: string;
  readonly reason: string | null;
}

export interface RefoldContext {
  readonly decision: Decision;
  readonly nowMicros: number;
  takeNumbers(count: number): Promise<number[]>;
}

/** What the DFID of a new item is made of beside its number. */
export interface ItemNature {
  readonly valueChain: ValueChain;
  readonly country: string;
  readonly year: number;
}

/** What a person wants to be believed from now on about items that are not merged into others. */
export interface RefoldRequest {
  /** Items that exist; where several become one, the first of them stays. */
  readonly roots: readonly number[];
  /** An item to take out of the one that it became. */
  readonly unmerged?: number;
  /** Items to make part of the first root, and how their values join. */
  readonly united?: { readonly losers: readonly number[]; readonly strategy: MergeStrategy };
  /** Entries that shall not count any longer. */
  readonly withdrawn?: readonly string[];
  /** Waiting entries, and the item that each shall belong to, which may be new. */
  readonly placed?: ReadonlyMap<string, number>;
  /** Keys that the caller claimed for the placed entries. */
  readonly claimed?: ReadonlySet<string>;
  /** Keys that leave the first root for a new item. */
  readonly leaving?: { readonly keys: ReadonlySet<string>; readonly itemNumber: number; readonly nature: ItemNature };
  /** Items to keep apart from now on. */
  readonly separated?: readonly (readonly [number, number])[];
}

/** An entry whose counted state changed after its chunk was worked. */
export interface RecountedEntry {
  readonly entryId: string;
  readonly from: Pick<EvidenceEntryRow, 'status' | 'outcome'>;
  readonly to: Pick<EvidenceEntryRow, 'status' | 'outcome'>;
}

/** An entry that a person settled otherwise. */
export interface ResettledEntry extends RecountedEntry {
  readonly workspaceId: string;
  /** The item that it is part of now, if it is. */
  readonly itemNumber: number | null;
}

/** An entry that waits now, and what it ties together. */
export interface ContestedEntry {
  readonly entryId: string;
  readonly workspaceId: string;
  readonly keys: readonly string[];
  readonly itemNumbers: readonly number[];
}

/** What a refold changed. */
export interface Refolded {
  /** Items that were not there before. */
  readonly created: readonly number[];
  readonly conflicted: readonly ContestedEntry[];
  /** True when another set of items is one than before, or new ones exist. */
  readonly isRepartitioned: boolean;
  readonly resettled: readonly ResettledEntry[];
  /** What each item is now; itself when it is not merged. */
  readonly currentOf: ReadonlyMap<number, number>;
  /** The workspaces that contribute to each item that is not merged. */
  readonly participantsOf: ReadonlyMap<number, readonly string[]>;
}

/** A planned item with the number that it goes by. */
interface NumberedItem extends RefoldedItem {
  readonly root: number;
  readonly isNew: boolean;
}

/**
 * Tells items anew from their entries and from what persons decided, inside the caller's transaction, which holds the
 * claims of what is placed. Everything that follows is written: which item each entry and identifier belongs to, what
 * each workspace knows, what became of entries that name things which stay apart.
 * @throws ContentionError when a root is merged by now.
 */
export async function refold(client: pg.ClientBase, context: RefoldContext, request: RefoldRequest): Promise<Refolded> {
  const { placed = new Map<string, number>(), claimed = new Set<string>(), separated = [] } = request;
  const gathered = await gatherEvidence(client, { roots: request.roots, waiting: [...placed.keys()], claimed });
  const existing = gathered.items.map((row) => row.item_number);
  const plan = planRefold(
    {
      items: [...new Set([...existing, ...placed.values()])],
      merges: gathered.merges,
      separations: [...gathered.separations, ...separated],
      entries: [...gathered.rows.keys()],
    },
    decisionsOf(request, gathered),
  );
  const numbered = await numberItems(context, request, gathered, plan);
  const { evidence, items, divisions } = divideEntries(gathered, request, numbered);
  await writeItems(client, request, items, evidence);
  await insertSeparations(client, pairsOfSides(separated, items), context.decision);
  const overrides = await writeMerges(client, context, request, evidence, items);
  await writeKeys(client, ...keysToWrite(evidence, items, claimed));
  await insertDivisions(client, divisions);
  const resettled = await writeEntries(client, placed, evidence, plan, items);
  await withdrawEntries(client, request.withdrawn ?? [], context.decision);
  await withdrawEventsOfEntries(client, request.withdrawn ?? []);
  await rewriteMentions(client, [...existing, ...items.map(({ root }) => root)]);
  await restoreEvents(
    client,
    items.map((item) => ({ ...item, rows: wholeEntriesOf(item, evidence) })),
  );
  const participantsOf = await writeContributions(client, evidence, items, overrides);
  await countVersionsOfEvents(client, [...new Set([...existing, ...items.map(({ root }) => root)])]);
  const wasBefore = new Map(evidence.items.map((row) => [row.item_number, row.merged_into ?? row.item_number]));
  const currentOf = new Map(items.flatMap(({ root, itemNumbers }) => itemNumbers.map((number) => [number, root])));
  return {
    created: items.filter(({ isNew }) => isNew).map(({ root }) => root),
    conflicted: plan.conflicted.map(({ entry, itemNumbers }) => {
      const row = evidence.rows.get(entry)!;
      return {
        entryId: entry.entryId,
        workspaceId: row.workspace_id,
        keys: claimsOfRecord(row.record),
        itemNumbers: [...new Set(itemNumbers.map((number) => currentOf.get(number)!))],
      };
    }),
    isRepartitioned: items.some(
      ({ isNew, itemNumbers, root }) => isNew || itemNumbers.some((number) => wasBefore.get(number) !== root),
    ),
    resettled,
    currentOf,
    participantsOf,
  };
}

/** Whatever is one with the one item stays apart from whatever is one with the other. */
function pairsOfSides(
  separated: readonly (readonly [number, number])[],
  items: readonly NumberedItem[],
): (readonly [number, number])[] {
  const sideOf = (number: number) =>
    items.find(({ itemNumbers }) => itemNumbers.includes(number))?.itemNumbers ?? [number];
  return separated.flatMap(([one, other]) =>
    sideOf(one).flatMap((each) => sideOf(other).map((apart) => [each, apart] as const)),
  );
}

function decisionsOf(request: RefoldRequest, { merges }: Evidence): RefoldDecisions {
  const { unmerged, united, withdrawn = [], placed = new Map<string, number>(), leaving, roots } = request;
  return {
    undone: merges.filter(({ loser }) => loser === unmerged),
    united: united?.losers.map((loser) => [roots[0]!, loser] as const) ?? [],
    withdrawn: new Set(withdrawn),
    placed,
    leaving: leaving && { ...leaving, from: roots[0]! },
  };
}

async function numberItems(
  { takeNumbers }: RefoldContext,
  { roots, unmerged }: RefoldRequest,
  { items }: Evidence,
  plan: RefoldPlan,
): Promise<NumberedItem[]> {
  const existing = new Set(items.map((row) => row.item_number));
  const preferred = [...roots, ...(unmerged === undefined ? [] : [unmerged])];
  const numberless = plan.items.filter(({ itemNumbers }) => itemNumbers.length === 0);
  const numbers = await takeNumbers(numberless.length);
  return plan.items.map((item) => {
    const number = item.itemNumbers[0] ?? numbers[numberless.indexOf(item)]!;
    const root = preferred.find((each) => item.itemNumbers.includes(each)) ?? number;
    const itemNumbers = item.itemNumbers.length === 0 ? [root] : item.itemNumbers;
    return { ...item, itemNumbers, root, isNew: !existing.has(root) };
  });
}

/** Creates items that are new, and makes the others point at what they are now. */
async function writeItems(
  client: pg.ClientBase,
  { leaving }: RefoldRequest,
  items: readonly NumberedItem[],
  evidence: Evidence,
): Promise<void> {
  const created = items.filter(({ isNew }) => isNew);
  await insertItems(
    client,
    created.map((item) => ({
      itemNumber: item.root,
      ...(item.root === leaving?.itemNumber ? leaving.nature : natureOf(item, evidence)),
    })),
  );
  const current = items.flatMap(({ root, itemNumbers }) =>
    itemNumbers.map((number): [number, number | null] => [number, number === root ? null : root]),
  );
  await writeCurrentItems(client, new Map(current));
}

/** What a new item is: what its waiting entry says, else the same as the item that it came out of. */
function natureOf(item: NumberedItem, { rows, items }: Evidence): ItemNature {
  const [waiting] = item.entries.flatMap((entry) => rows.get(entry)!.record.waiting ?? []);
  const home = item.entries.flatMap((entry) => entry.home ?? [])[0];
  const nature = waiting ?? items.find((row) => row.item_number === home) ?? items[0]!;
  return { valueChain: nature.value_chain, country: nature.country, year: nature.year };
}

/** Undoes merges that do not hold and writes those that do; gives what merges by hand chose as values. */
async function writeMerges(
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
  const stateOf = (itemNumber: number) =>
    contributions.find((row) => row.item_number === itemNumber && row.workspace_id === decision.workspaceId)?.state;
  for (const item of items) {
    for (const loser of item.itemNumbers) {
      if (loser === item.root || holding.some((merge) => merge.loser === loser)) continue;
      const isByHand = united?.losers.includes(loser) === true;
      const values = isByHand ? chooseValues(united.strategy, stateOf(roots[0]!), stateOf(loser)) : {};
      const hasValues = Object.keys(values).length > 0;
      const mergeId = makeId();
      if (hasValues)
        overrides.get(item)!.push({ workspaceId: decision.workspaceId, mergeId, atMicros: nowMicros, values });
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
          overrides: hasValues ? JSON.stringify({ [decision.workspaceId]: values }) : null,
        },
      ]);
    }
  }
  return overrides;
}

function keysToWrite(
  { keys, rows }: Evidence,
  items: readonly NumberedItem[],
  claimed: ReadonlySet<string>,
): [given: GivenKey[], released: OwnedKey[]] {
  const ends = endsOfNodes(items, rows);
  const given = items.flatMap(({ root, keys: named }) =>
    [...named].map(([node, entryId]): GivenKey => ({
      ...keyOfNode(node),
      itemNumber: root,
      entryId,
      end: ends.get(node),
    })),
  );
  const named = new Set(given.map(nodeOf));
  const before: OwnedKey[] = [...keys, ...[...claimed].map((key) => ({ key, workspaceId: null, itemNumber: 0 }))];
  return [given, before.filter((owned) => !named.has(nodeOf(owned)))];
}

/** The ends that the entries of items tell, by what they end: for all where the identifier leads all to the item. */
function endsOfNodes(items: readonly NumberedItem[], rows: Evidence['rows']): Map<string, ClaimEnd> {
  const shared = new Set(items.flatMap(({ keys }) => [...keys.keys()]));
  const ends = items.flatMap(({ entries }) =>
    entries.flatMap((entry) => {
      const { workspace_id: workspaceId, record } = rows.get(entry)!;
      return endedOfRecord(record).map(({ key, endedAtMicros }): ClaimEnd => ({
        key: shared.has(key) ? key : nodeOf({ key, workspaceId }),
        endedAtMicros,
        entryId: entry.entryId,
      }));
    }),
  );
  return earliestEnds(ends);
}

/** Lets identifiers stay behind when the rest of their entry leaves; they are evidence of their own from then on. */
function divideEntries(evidence: Evidence, { leaving }: RefoldRequest, items: readonly NumberedItem[]): DividedItems {
  if (!leaving) return { evidence, items, divisions: [] };
  const target = items.find(({ root }) => root === leaving.itemNumber)!;
  const source = items.find(({ root }) => root !== leaving.itemNumber)!;
  const rows = new Map(evidence.rows);
  const divisions: Division[] = [];
  const staying: EvidenceEntry[] = [];
  for (const entry of target.entries) {
    const kept = entry.keys.filter((node) => source.keys.has(node));
    if (kept.length === 0 || entry.isDivision) continue;
    const keys = kept.map((node) => keyOfNode(node).key);
    const division = { ...entry, home: source.root, isCreation: false, isDivision: true, keys: kept };
    const row = rows.get(entry)!;
    rows.set(division, { ...row, record: onlyIdentifiers(row.record, new Set(keys)) });
    divisions.push({ entryId: entry.entryId, itemNumber: source.root, keys });
    staying.push(division);
  }
  const divided = { ...source, entries: [...source.entries, ...staying] };
  return {
    evidence: { ...evidence, rows, divisions: [...evidence.divisions, ...divisions] },
    items: items.map((item) => (item === source ? divided : item)),
    divisions,
  };
}

interface DividedItems {
  readonly evidence: Evidence;
  readonly items: readonly NumberedItem[];
  /** Those that are new. */
  readonly divisions: readonly Division[];
}

/** The entries that an item has as a whole, with the item that each was sent for or is given to. */
function wholeEntriesOf(item: NumberedItem, { rows }: Evidence): EvidenceEntryRow[] {
  return item.entries.filter(({ isDivision }) => !isDivision).map((entry) => rows.get(entry)!);
}

/** Gives entries to their items, finishes those that waited, and lets those wait that name things which stay apart. */
async function writeEntries(
  client: pg.ClientBase,
  placed: ReadonlyMap<string, number>,
  { items: itemRows, rows }: Evidence,
  plan: RefoldPlan,
  items: readonly NumberedItem[],
): Promise<ResettledEntry[]> {
  const finished: FinishedEntry[] = [];
  const resettled: ResettledEntry[] = [];
  const finish = (row: EvidenceEntryRow, to: Omit<FinishedEntry, 'entryId'>) => {
    finished.push({ entryId: row.entry_id, ...to });
    resettled.push({
      entryId: row.entry_id,
      workspaceId: row.workspace_id,
      itemNumber: to.itemNumber,
      from: row,
      to,
    });
  };
  const rehomed: { entryId: string; from: number; to: number }[] = [];
  for (const item of items) {
    const whole = item.entries.filter(({ isDivision }) => !isDivision);
    whole.forEach((entry, at) => {
      const row = rows.get(entry)!;
      if (placed.has(entry.entryId)) {
        const outcome = item.isNew && at === 0 ? 'created' : 'enriched';
        const record = JSON.stringify(finishedRecord(row.record));
        finish(row, { itemNumber: item.root, status: 'completed', outcome, record, error: null });
      } else if (!item.itemNumbers.includes(entry.home!))
        rehomed.push({ entryId: entry.entryId, from: entry.home!, to: item.root });
    });
  }
  await rehomeEntries(client, rehomed);
  await rehomeEvents(client, rehomed);
  const apart = plan.conflicted.map(({ entry }) => rows.get(entry)!);
  const removed = await removeEventsOfEntries(
    client,
    apart.map((row) => row.entry_id),
  );
  for (const row of apart) {
    const { value_chain, country, year } = itemRows.find((item) => item.item_number === row.item_number)!;
    finish(row, {
      itemNumber: null,
      status: 'conflicted',
      outcome: 'conflict',
      record: JSON.stringify(waitingAgain(row, removed, { value_chain, country, year })),
      error: JSON.stringify(separatedError),
    });
  }
  await writeFinishedEntries(client, finished);
  return resettled;
}

const separatedError = {
  code: 'identifier_conflict',
  detail: 'the record names two items that a person keeps apart',
  pointer: '',
  contradictions: [{ reason: 'separated', claimType: '', values: [], isOurs: true }],
};

/** Writes what each workspace knows of each item now; gives who contributes to which. */
async function writeContributions(
  client: pg.ClientBase,
  evidence: Evidence,
  items: readonly NumberedItem[],
  overrides: ReadonlyMap<NumberedItem, readonly Override[]>,
): Promise<Map<number, readonly string[]>> {
  const before = Map.groupBy(evidence.contributions, (row) => row.item_number);
  const participantsOf = new Map<number, readonly string[]>();
  const written: WrittenContribution[] = [];
  for (const item of items) {
    const states = statesOf(item, evidence, overrides.get(item)!);
    participantsOf.set(item.root, [...states.keys()]);
    const known = before.get(item.root) ?? [];
    for (const [workspaceId, folded] of states) {
      const state = folded.toJson();
      const row = known.find((each) => each.workspace_id === workspaceId);
      const isNewVersion = !row || visiblePart(JSON.parse(state) as StoredContributionState) !== visiblePart(row.state);
      written.push({ itemNumber: item.root, workspaceId, state, isNewVersion });
    }
  }
  await upsertContributions(client, written);
  const without = items.flatMap(({ root }) =>
    (before.get(root) ?? []).filter((row) => !participantsOf.get(root)!.includes(row.workspace_id)),
  );
  // Who withdrew everything still knows the item, of which it says nothing any longer.
  const withdrawing = await findWithdrawingWorkspaces(
    client,
    items.flatMap(({ itemNumbers }) => itemNumbers),
  );
  const isSilent = (row: { workspace_id: string }) => withdrawing.has(row.workspace_id);
  await upsertContributions(
    client,
    without.filter(isSilent).map((row) => ({
      itemNumber: row.item_number,
      workspaceId: row.workspace_id,
      state: new ContributionState().toJson(),
      isNewVersion: true,
    })),
  );
  const gone = without.filter((row) => !isSilent(row));
  await deleteContributions(client, gone);
  await endVersions(client, gone);
  return participantsOf;
}
