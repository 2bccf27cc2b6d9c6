import { groupByShared } from '#platform/group-by-shared.ts';
import { makeId } from '#platform/ids.ts';
import type { Queryable } from '#platform/database.ts';
import {
  addContributors,
  clearCases,
  closeCases,
  findCasesTouching,
  findOwnersOfKeys,
  findWaitingEntries,
  findWorkspaceLinks,
  insertCases,
  insertCaseParts,
  joinCases,
  lockCases,
  type CaseParts,
  type TouchedCase,
} from './conflicts.store.ts';

/** Something that belongs to a contested component. */
export interface Finding {
  /** The entry that waits; undefined when a complete one ties identifiers or items to a case. */
  readonly entryId: string | undefined;
  readonly keys: readonly string[];
  readonly itemNumbers: readonly number[];
  /** Workspaces that contributed to the items, and the one of the entry. */
  readonly participants: readonly string[];
}

/** A case that was opened, for those who have to be told. */
export interface OpenedCase {
  readonly conflictId: string;
  readonly workspaceIds: readonly string[];
}

interface CaseDraft extends Omit<CaseParts, 'conflictId'> {
  readonly known: Set<string>;
}

/**
 * Puts findings into open cases, one for each contested component: findings that share an identifier, an item or a case
 * are one, and cases that they tie together become one. The caller holds the claims and the rows of the items.
 */
export async function recordFindings(queryable: Queryable, findings: readonly Finding[]): Promise<OpenedCase[]> {
  if (findings.length === 0) return [];
  const links = await findWorkspaceLinks(
    queryable,
    findings.flatMap((finding) => finding.keys),
    findings.flatMap((finding) => finding.itemNumbers),
  );
  const widened = [...findings, ...links.map(findingOfLink)];
  const keys = [...new Set(widened.flatMap((finding) => finding.keys))];
  const itemNumbers = [...new Set(widened.flatMap((finding) => finding.itemNumbers))];
  // What makes items or identifiers contested holds their locks, so what we hold cannot become contested now.
  const isWaiting = findings.some(({ entryId }) => entryId !== undefined);
  if (!isWaiting && (await findCasesTouching(queryable, keys, itemNumbers)).length === 0) return [];
  await lockCases(queryable);
  const touched = await findCasesTouching(queryable, keys, itemNumbers);
  const opened: OpenedCase[] = [];
  const parts: CaseParts[] = [];
  const joined: { from: string[]; into: string }[] = [];
  for (const draft of draftCases(widened, touched)) {
    const [first, ...others] = [...draft.known].toSorted();
    // A complete entry alone contests nothing; it only widens a case that is open.
    if (first === undefined && draft.entries.length === 0) continue;
    const conflictId = first ?? makeId();
    if (first === undefined) opened.push({ ...draft, conflictId });
    if (others.length > 0) joined.push({ from: others, into: conflictId });
    parts.push({ ...draft, conflictId });
  }
  await insertCases(
    queryable,
    opened.map((each) => each.conflictId),
  );
  await joinCases(queryable, joined);
  await insertCaseParts(queryable, parts);
  return opened;
}

/** What leads one workspace from an identifier to an item ties the two for a case as well. */
function findingOfLink({ key, itemNumber }: { key: string; itemNumber: number }): Finding {
  return { entryId: undefined, keys: [key], itemNumbers: [itemNumber], participants: [] };
}

/** The components that findings and the cases they touch form together. */
function draftCases(findings: readonly Finding[], touched: readonly TouchedCase[]): CaseDraft[] {
  const touching = Map.groupBy(touched, (each) => each.key ?? each.itemNumber!);
  const nodesOf = ({ keys, itemNumbers }: Finding) => [...keys, ...itemNumbers];
  const casesOf = (finding: Finding) =>
    nodesOf(finding).flatMap((node) => (touching.get(node) ?? []).map(({ conflictId }) => conflictId));
  return groupByShared(findings, (finding) => [...nodesOf(finding), ...casesOf(finding)]).map((group) => ({
    keys: [...new Set(group.flatMap(({ keys }) => keys))],
    itemNumbers: [...new Set(group.flatMap(({ itemNumbers }) => itemNumbers))],
    entries: group.flatMap(({ entryId }) => entryId ?? []),
    workspaceIds: [...new Set(group.flatMap(({ participants }) => participants))],
    known: new Set(group.flatMap(casesOf)),
  }));
}

/**
 * Brings open cases that touch items or identifiers in line with what the items are now: a case may have fallen into
 * several, and one of which nothing waits any longer is closed. The caller holds the rows of the items.
 */
export async function regroupCases(
  queryable: Queryable,
  itemNumbers: readonly number[],
  named: readonly string[] = [],
): Promise<void> {
  const isTouched = await findCasesTouching(queryable, named, itemNumbers);
  if (isTouched.length === 0) return;
  await lockCases(queryable);
  const touched = await findCasesTouching(queryable, named, itemNumbers);
  const conflictIds = [...new Set(touched.map((each) => each.conflictId))];
  const waiting = await findWaitingEntries(queryable, conflictIds);
  const keys = [...new Set(waiting.flatMap((entry) => entry.claims))];
  const links = [...(await findOwnersOfKeys(queryable, keys)), ...(await findWorkspaceLinks(queryable, keys, []))];
  const findings = [
    ...waiting.map((entry): Finding => ({
      entryId: entry.entryId,
      keys: entry.claims,
      itemNumbers: [],
      participants: [entry.workspaceId],
    })),
    ...links.map(findingOfLink),
  ];
  const caseOf = new Map(waiting.map((entry) => [entry.entryId, entry.conflictId]));
  const free = new Set(conflictIds);
  const opened: string[] = [];
  const parts = draftCases(findings, []).flatMap((draft): CaseParts[] => {
    if (draft.entries.length === 0) return [];
    const known = draft.entries.map((entryId) => caseOf.get(entryId)!).find((conflictId) => free.has(conflictId));
    const conflictId = known ?? makeId();
    if (known === undefined) opened.push(conflictId);
    else free.delete(known);
    return [{ ...draft, conflictId }];
  });
  await clearCases(queryable, conflictIds);
  await insertCases(queryable, opened);
  await insertCaseParts(queryable, parts);
  await addContributors(
    queryable,
    parts.map((part) => part.conflictId),
  );
  await closeCases(queryable, [...free]);
}
