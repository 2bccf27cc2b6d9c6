import type pg from 'pg';
import { markRepeatedEventsOf, rehomeEvents, withdrawEventsOfEntries } from '#domains/events/index.ts';
import { findAcceptedEntries, forgetDecisionsFor, forgetDecisionsOn } from '../conflicts/conflicts.store.ts';
import { ContributionState, type StoredContributionState } from '../contribution-state.ts';
import {
  earliestEnds,
  insertItems,
  upsertContributions,
  type ClaimEnd,
  type WrittenContribution,
} from '../deduplication.store.ts';
import { evidenceHash } from '../evidence.ts';
import { countVersionsOfEvents, endVersions } from '../history/version-counts.store.ts';
import { splitClaimKey } from '../judge-record.ts';
import { claimsOfRecord, endedOfRecord } from '../stored-record.ts';
import { divideEntries, type NumberedItem } from './divided-entries.ts';
import { keepRepeatedEvents, restoreEvents } from './entry-events.ts';
import { statesOf, visiblePart, type Override } from './refold-contents.ts';
import { rehomedEntries, writeEntries } from './refold-entries.ts';
import { gatherEvidence, keyOfNode, nodeOf, type Evidence } from './refold-evidence.ts';
import { writeMerges } from './refold-merges.ts';
import { planRefold, type RefoldDecisions, type RefoldPlan, type Exclusion } from './refold-plan.ts';
import type { ItemNature, RefoldContext, Refolded, RefoldRequest } from './refold-request.ts';
import {
  deleteContributions,
  findWithdrawingWorkspaces,
  insertSeparations,
  rehomeEntries,
  rewriteMentions,
  withdrawEntries,
  writeCurrentItems,
  writeDivisions,
  writeKeys,
  type EvidenceEntryRow,
  type GivenKey,
  type OwnedKey,
} from './refold.store.ts';

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
  const plan = await planWithEnds(client, context, request, gathered);
  const numbered = await numberItems(context, request, gathered, plan);
  const leaving = request.leaving && { from: request.roots[0]!, to: request.leaving.itemNumber };
  const { evidence: divided, items, gone, written } = divideEntries(gathered, leaving, numbered);
  const rehomed = rehomedEntries(items);
  const evidence = { ...divided, rows: await keepRepeatedEvents(client, rehomed, divided.rows) };
  await writeItems(client, request, items, evidence);
  await insertSeparations(client, pairsOfSides(separated, items), context.decision);
  const overrides = await writeMerges(client, context, request, evidence, items);
  await writeKeys(client, ...keysToWrite(evidence, items, claimed));
  await writeDivisions(client, gone, written);
  await rehomeEntries(client, rehomed);
  await rehomeEvents(client, rehomed);
  const resettled = await writeEntries(client, request, evidence, plan, items);
  await withdrawEntries(client, request.withdrawn ?? [], context.decision);
  await forgetDecisions(client, request, gathered);
  await withdrawEventsOfEntries(client, request.withdrawn ?? []);
  await rewriteMentions(client, [...existing, ...items.map(({ root }) => root)]);
  await restoreEvents(
    client,
    items.map((item) => ({ ...item, rows: wholeEntriesOf(item, evidence) })),
  );
  await markRepeatedEventsOf(
    client,
    items.flatMap(({ root, itemNumbers }) => itemNumbers.map((itemNumber) => ({ itemNumber, root }))),
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

/** Plans until nothing waits any longer that what was planned before took for told: an entry that waits ends nothing. */
async function planWithEnds(
  client: pg.ClientBase,
  context: RefoldContext,
  request: RefoldRequest,
  gathered: Evidence,
): Promise<RefoldPlan> {
  const { placed = new Map<string, number>(), separated = [], unmerged, withdrawn = [] } = request;
  const evidence = {
    items: [...new Set([...gathered.items.map((row) => row.item_number), ...placed.values()])],
    merges: gathered.merges,
    separations: [...gathered.separations, ...separated],
    entries: [...gathered.rows.keys()],
  };
  let unheard: ReadonlySet<string> = new Set();
  for (;;) {
    const uncounted = new Set([...withdrawn, ...unheard]);
    const isUndoing = uncounted.size > 0 || unmerged !== undefined;
    const exclusion = isUndoing ? await findExclusion(client, context, uncounted, gathered) : undefined;
    const plan = planRefold(evidence, { ...decisionsOf(request, gathered), unheard, exclusion });
    const waiting = plan.conflicted.filter(({ entry }) => entry.ended.length > 0 && !unheard.has(entry.entryId));
    if (waiting.length === 0) return plan;
    unheard = unheard.union(new Set(waiting.map(({ entry }) => entry.entryId)));
  }
}

function decisionsOf(request: RefoldRequest, { merges }: Evidence): Omit<RefoldDecisions, 'unheard' | 'exclusion'> {
  const { unmerged, united, withdrawn = [], placed = new Map<string, number>(), leaving, roots } = request;
  return {
    undone: merges.filter(({ loser }) => loser === unmerged),
    united: united?.losers.map((loser) => [roots[0]!, loser] as const) ?? [],
    withdrawn: new Set(withdrawn),
    placed,
    leaving: leaving && { ...leaving, from: roots[0]! },
  };
}

/**
 * What may not be valid at once where something does not count any longer, since that may have made the difference. What
 * persons took in stays, and what others sent: they lose nothing by what a workspace takes back.
 */
async function findExclusion(
  client: pg.ClientBase,
  { decision, singleClaimTypes }: RefoldContext,
  uncounted: ReadonlySet<string>,
  { rows }: Evidence,
): Promise<Exclusion> {
  const counting = [...rows.values()].filter((row) => !uncounted.has(row.entry_id));
  const accepted = await findAcceptedEntries(
    client,
    counting.map((row) => row.entry_id),
  );
  const ofOthers = counting.filter((row) => row.workspace_id !== decision.workspaceId);
  return {
    accepted: accepted.union(new Set(ofOthers.map((row) => row.entry_id))),
    typeOf(node) {
      const [type] = splitClaimKey(keyOfNode(node).key);
      return singleClaimTypes.has(type) ? type : undefined;
    },
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

/** The entries that an item has as a whole, with the item that each was sent for or is given to. */
function wholeEntriesOf(item: NumberedItem, { rows }: Evidence): EvidenceEntryRow[] {
  return item.entries.filter(({ isDivision }) => !isDivision).map((entry) => rows.get(entry)!);
}

/** What was decided about evidence of items does not hold when persons take these items, or that evidence, apart. */
async function forgetDecisions(
  client: pg.ClientBase,
  { leaving, unmerged, withdrawn = [] }: RefoldRequest,
  { items, rows }: Evidence,
): Promise<void> {
  if (leaving || unmerged !== undefined)
    await forgetDecisionsFor(
      client,
      items.map((row) => row.item_number),
    );
  const placed = [...rows.values()].filter((row) => withdrawn.includes(row.entry_id) && row.record.placed);
  await forgetDecisionsOn(
    client,
    placed.map((row) => ({ workspaceId: row.workspace_id, evidenceHash: evidenceHash(claimsOfRecord(row.record)) })),
  );
}

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
  // Who withdrew everything still knows the item, of which it says nothing any longer.
  const withdrawing = await findWithdrawingWorkspaces(
    client,
    items.flatMap(({ itemNumbers }) => itemNumbers),
  );
  const knowing = (item: NumberedItem) =>
    new Set(item.itemNumbers.flatMap((number) => before.get(number) ?? []).map((row) => row.workspace_id));
  const isSilent = (item: NumberedItem, workspaceId: string) =>
    withdrawing.has(workspaceId) && !participantsOf.get(item.root)!.includes(workspaceId);
  await upsertContributions(
    client,
    items.flatMap((item) =>
      [...knowing(item)]
        .filter((workspaceId) => isSilent(item, workspaceId))
        .map((workspaceId) => ({
          itemNumber: item.root,
          workspaceId,
          state: new ContributionState().toJson(),
          isNewVersion: true,
        })),
    ),
  );
  const gone = items.flatMap((item) =>
    (before.get(item.root) ?? []).filter(
      (row) => !participantsOf.get(item.root)!.includes(row.workspace_id) && !withdrawing.has(row.workspace_id),
    ),
  );
  await deleteContributions(client, gone);
  await endVersions(client, gone);
  return participantsOf;
}
