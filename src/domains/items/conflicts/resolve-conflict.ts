import type pg from 'pg';
import { invalidRequestAt, Problem } from '#platform/errors.ts';
import { groupByShared } from '#platform/group-by-shared.ts';
import { isUuid } from '#platform/ids.ts';
import type { Principal } from '#platform/route.ts';
import { ContentionError } from '../absorption.ts';
import { participantsOf, tell, type ItemActs } from '../acts/item-acts.service.ts';
import { readDecidedItems, vouchFor } from '../acts/item-acts.store.ts';
import { dismissEntries, insertClaims, sortClaims } from '../deduplication.store.ts';
import { evidenceHash } from '../evidence.ts';
import { dfidOf, itemNumberOf } from '../item-names.ts';
import { removeSeparations, writeFinishedEntries } from '../refold/refold.store.ts';
import type { Refolded, RefoldRequest, ResettledEntry } from '../refold/refold-request.ts';
import { countEntriesOfCases } from './case-lists.store.ts';
import {
  findCase,
  findParticipants,
  findItemsOfCases,
  findOwnersOfKeys,
  findWaitingEntries,
  findWorkspaceClaimsOf,
  rememberDecisions,
  resolveCase,
  type WaitingEntry,
} from './conflicts.store.ts';

export type ConflictAction = 'merge' | 'attach' | 'separate' | 'reject';

/** What a person decides about a case. */
export interface ConflictResolution {
  readonly action: ConflictAction;
  /** The item that stays (merge) or that the records belong to (attach). */
  readonly dfid: string | undefined;
  readonly reason: string;
}

/** A case in the hands of the person who decides it. */
interface OpenCase {
  readonly conflictId: string;
  readonly waiting: readonly WaitingEntry[];
  /** The contested items, lowest number first. */
  readonly itemNumbers: readonly number[];
}

interface ResolverOptions {
  acts: ItemActs;
  takeNumbers(count: number): Promise<number[]>;
  nowMs(): number;
  /** Waiting records that can become part of items at once: others wait until they are. */
  entriesMax: number;
  recount(client: pg.ClientBase, entries: readonly ResettledEntry[]): Promise<void>;
}

/** Each new item is kept apart from every other new one and from every contested one. */
const separatedPairsMax = 10_000;

/** Makes the act by which a person ends a case: its entries are finished, and the same evidence does not ask again. */
export function makeConflictResolver({ acts, takeNumbers, nowMs, entriesMax, recount }: ResolverOptions) {
  const resolveWithin = async (
    client: pg.ClientBase,
    principal: Principal,
    openCase: OpenCase,
    resolution: ConflictResolution,
  ): Promise<void> => {
    const settle = settlement(client, principal, openCase, resolution, nowMs());
    const decide = (request: RefoldRequest, targetItem?: number): Promise<Refolded> =>
      acts.decide(client, principal, resolution.reason, request, () => settle(targetItem));
    const { waiting, itemNumbers, conflictId } = openCase;
    const remember = (numberOf: (entry: WaitingEntry) => number | null) =>
      rememberDecisions(
        client,
        conflictId,
        waiting.map((entry) => ({
          workspaceId: entry.workspaceId,
          evidenceHash: evidenceHash(entry.claims),
          itemNumber: numberOf(entry),
        })),
      );
    switch (resolution.action) {
      case 'merge': {
        const [first = (await takeNumbers(1))[0]!] = itemNumbers;
        const survivor =
          resolution.dfid === undefined ? first : await namedItem(client, principal, openCase, resolution.dfid);
        const losers = itemNumbers.filter((number) => number !== survivor);
        const placed = new Map(waiting.map((entry) => [entry.entryId, survivor]));
        const claimed = await claimFreeKeys(client, waiting, () => survivor);
        const roots = itemNumbers.length === 0 ? [] : [survivor, ...losers];
        const united = losers.length > 0 ? { united: { losers, strategy: 'append' as const } } : {};
        const refolded = await decide({ roots, placed, claimed, ...united }, survivor);
        await removeSeparations(client, [...refolded.currentOf.keys()]);
        await vouchFor(client, principal, [survivor]);
        if (losers.length > 0)
          await tellOfMerge(client, principal, nowMs(), openCase, resolution.reason, { refolded, survivor, losers });
        return;
      }
      case 'attach': {
        if (resolution.dfid === undefined) throw invalidRequestAt('/dfid', 'attach needs the DFID of the item');
        const target = await namedItem(client, principal, openCase, resolution.dfid);
        const claimed = await claimFreeKeys(client, waiting, () => target);
        const placed = new Map(waiting.map((entry) => [entry.entryId, target]));
        await decide({ roots: [target], placed, placedBy: conflictId, claimed }, target);
        await vouchFor(client, principal, [target]);
        return remember(() => target);
      }
      case 'separate': {
        const groups = await groupByFreeKeys(client, waiting);
        if (groups.length * (groups.length + itemNumbers.length) > separatedPairsMax)
          throw invalidRequestAt('/action', 'too many items would have to be kept apart; attach or reject the records');
        const numbers = await takeNumbers(groups.length);
        const numberOf = new Map(groups.flatMap((group, at) => group.map((entry) => [entry.entryId, numbers[at]!])));
        const claimed = await claimFreeKeys(client, waiting, (entry) => numberOf.get(entry.entryId)!);
        const separated = numbers.flatMap((number, at) =>
          [...itemNumbers, ...numbers.slice(at + 1)].map((other) => [number, other] as const),
        );
        await decide({ roots: [], placed: numberOf, placedBy: conflictId, claimed, separated });
        return remember((entry) => numberOf.get(entry.entryId)!);
      }
      case 'reject': {
        const resettled = await rejectEntries(client, waiting, resolution.reason);
        await settle();
        await remember(() => null);
        return recount(client, resettled);
      }
    }
  };

  return (principal: Principal, conflictId: string, resolution: ConflictResolution): Promise<void> =>
    acts.act(async (client) => {
      const waitingMax = resolution.action === 'reject' ? Infinity : entriesMax;
      const openCase = await readOpenCase(client, principal, conflictId, waitingMax);
      await resolveWithin(client, principal, openCase, resolution);
    });
}

/** Tells all who contribute to an item which others a decision made part of it. */
async function tellOfMerge(
  client: pg.ClientBase,
  principal: Principal,
  nowMs: number,
  { conflictId }: OpenCase,
  reason: string,
  { refolded, survivor, losers }: { refolded: Refolded; survivor: number; losers: readonly number[] },
): Promise<void> {
  const rows = await readDecidedItems(client, principal.workspaceId, losers);
  const mergedDfids = losers.map((loser) => dfidOf(rows.get(loser)!));
  await tell(client, nowMs, participantsOf(refolded, [survivor]), survivor, 'item_merged', (workspaceId) =>
    workspaceId === principal.workspaceId
      ? {
          merged_items: losers.length,
          merged_dfids: mergedDfids,
          conflict_id: conflictId,
          reason,
          by: principal.credentialId,
        }
      : { merged_items: losers.length, by: 'another participant' },
  );
}

/** Closes the case once what it was about is written, as the last lock, and tells who takes part in it. */
function settlement(
  client: pg.ClientBase,
  principal: Principal,
  { conflictId, waiting, itemNumbers }: OpenCase,
  { action, reason }: ConflictResolution,
  nowMs: number,
): (targetItem?: number) => Promise<void> {
  return async (targetItem) => {
    const isResolved = await resolveCase(client, {
      conflictId,
      entryIds: waiting.map((entry) => entry.entryId),
      itemNumbers,
      action,
      by: principal.credentialId,
      reason,
      targetItem: targetItem ?? null,
      contradictions: Object.fromEntries(waiting.map((entry) => [entry.entryId, entry.contradictions])),
    });
    // The case changed since it was read, or somebody else was faster: the next try tells.
    if (!isResolved) throw new ContentionError();
    const workspaceIds = new Set([principal.workspaceId, ...(await findParticipants(client, conflictId))]);
    await tell(client, nowMs, [...workspaceIds], null, 'conflict_resolved', (workspaceId) => ({
      conflict_id: conflictId,
      action,
      ...(workspaceId === principal.workspaceId
        ? { by: principal.credentialId, reason }
        : { by: 'another participant' }),
    }));
  };
}

/** @throws Problem not_found, conflict_resolved, case_too_large, administrator_required. */
async function readOpenCase(
  client: pg.ClientBase,
  principal: Principal,
  conflictId: string,
  waitingMax: number,
): Promise<OpenCase> {
  const isAdministrator = principal.scope === 'admin';
  const find = () =>
    isUuid(conflictId)
      ? findCase(client, isAdministrator ? null : principal.workspaceId, conflictId)
      : Promise.resolve(undefined);
  const found = await find();
  if (!found) throw new Problem('not_found', 'there is no conflict with this id that you may see');
  const [size] = await countEntriesOfCases(client, [found.conflict_id], null);
  if (found.status === 'open' && size && size.waiting > waitingMax)
    throw new Problem(
      'case_too_large',
      `${size.waiting} records wait, and at most ${waitingMax} become part of items at once: ` +
        'merge the items that are one, or reject the records and send those that are right again',
    );
  const waiting = await findWaitingEntries(client, [found.conflict_id]);
  const items = await findItemsOfCases(client, [found.conflict_id]);
  // Asked last: a case that is open now was open when its parts were read.
  if ((await find())?.status !== 'open') throw new Problem('conflict_resolved', 'this conflict was resolved before');
  const itemNumbers = items.map((row) => row.item_number);
  const rows = await readDecidedItems(client, principal.workspaceId, itemNumbers);
  const involved = [
    ...waiting.map((entry) => entry.workspaceId),
    ...[...rows.values()].flatMap((row) => row.contributors),
  ];
  if (!isAdministrator && involved.some((workspaceId) => workspaceId !== principal.workspaceId))
    throw new Problem('administrator_required', 'others take part in this conflict, so an administrator decides');
  return { conflictId: found.conflict_id, waiting, itemNumbers };
}

/** The contested item of that DFID, or the one that it is now. */
async function namedItem(
  client: pg.ClientBase,
  { workspaceId }: Principal,
  { itemNumbers }: OpenCase,
  dfid: string,
): Promise<number> {
  const number = itemNumberOf(dfid);
  const row = number === undefined ? undefined : (await readDecidedItems(client, workspaceId, [number])).get(number);
  const current = row && (row.merged_into ?? row.item_number);
  if (
    !row ||
    current === undefined ||
    !itemNumbers.includes(current) ||
    (dfid.startsWith('DFID-') && dfidOf(row) !== dfid)
  )
    throw invalidRequestAt('/dfid', 'this is none of the contested items');
  return current;
}

/** The keys of waiting entries that lead to no item yet. */
async function findFreeKeys(
  client: pg.ClientBase,
  waiting: readonly WaitingEntry[],
): Promise<Map<WaitingEntry, string[]>> {
  const keys = [...new Set(waiting.flatMap((entry) => entry.claims))];
  const owned = new Set((await findOwnersOfKeys(client, keys)).map(({ key }) => key));
  const ownOf = ({ workspaceId }: Pick<WaitingEntry, 'workspaceId'>, key: string) => `${workspaceId} ${key}`;
  const own = new Set((await findWorkspaceClaimsOf(client, keys)).map((claim) => ownOf(claim, claim.key)));
  return new Map(
    waiting.map((entry) => [entry, entry.claims.filter((key) => !owned.has(key) && !own.has(ownOf(entry, key)))]),
  );
}

/** Claims what the entries name and nobody owns, each for the item of the first entry that names it. */
async function claimFreeKeys(
  client: pg.ClientBase,
  waiting: readonly WaitingEntry[],
  targetOf: (entry: WaitingEntry) => number,
): Promise<ReadonlySet<string>> {
  const claims = new Map<string, { key: string; itemNumber: number; entryId: string }>();
  for (const [entry, keys] of await findFreeKeys(client, waiting)) {
    for (const key of keys) {
      if (!claims.has(key)) claims.set(key, { key, itemNumber: targetOf(entry), entryId: entry.entryId });
    }
  }
  const lost = await insertClaims(
    client,
    sortClaims(claims.keys()).map((key) => claims.get(key)!),
  );
  if (lost.length > 0) throw new ContentionError();
  return new Set(claims.keys());
}

/** Entries that name the same free identifiers, or just the same identifiers, speak of one thing. */
async function groupByFreeKeys(client: pg.ClientBase, waiting: readonly WaitingEntry[]): Promise<WaitingEntry[][]> {
  const free = await findFreeKeys(client, waiting);
  return groupByShared(waiting, (entry) => [
    ...free.get(entry)!,
    `${entry.workspaceId} ${evidenceHash(entry.claims).toString('hex')}`,
  ]);
}

async function rejectEntries(
  client: pg.ClientBase,
  waiting: readonly WaitingEntry[],
  reason: string,
): Promise<ResettledEntry[]> {
  const detail = 'the record contradicted what is known, and a person rejected it';
  const error = JSON.stringify({
    code: 'rejected_by_decision',
    detail: `${detail}: ${reason}`,
    pointer: '',
  });
  await writeFinishedEntries(
    client,
    waiting.map(({ entryId, record }) => ({
      entryId,
      itemNumber: null,
      status: 'rejected',
      outcome: null,
      record: JSON.stringify(record),
      error,
    })),
  );
  await dismissEntries(
    client,
    waiting.map(({ entryId }) => entryId),
  );
  return waiting.map(({ entryId, workspaceId }) => ({
    entryId,
    workspaceId,
    itemNumber: null,
    from: { status: 'conflicted', outcome: 'conflict' },
    to: { status: 'rejected', outcome: null },
  }));
}
