import type pg from 'pg';
import { insertEvents, type NewEvent } from '#domains/events/index.ts';
import { withTransaction } from '#platform/database.ts';
import { invalidRequestAt, Problem } from '#platform/errors.ts';
import { keepIdempotencyKey, type IdempotencyClaim, type KeptAnswer } from '#platform/idempotency.store.ts';
import { isUuid, makeId } from '#platform/ids.ts';
import type { Principal } from '#platform/route.ts';
import { insertRetriesAbout } from '../conflicts/case-retries.store.ts';
import { recordFindings, regroupCases } from '../conflicts/conflict-cases.ts';
import { findMergedItems, lockMerging } from '../deduplication.store.ts';
import { countVersionsOfTold, findUntoldVersions, leaveOutOfVersions } from '../history/version-counts.store.ts';
import { normaliseIdentifier } from '../identifier-normalisers.ts';
import { readOwnItem } from '../item-changes.store.ts';
import { dfidOf, itemNumberOf } from '../item-names.ts';
import { showItem } from '../items.service.ts';
import { claimKey } from '../judge-record.ts';
import { findCircuitsOfItems } from '../named-circuits.store.ts';
import { isDerivedFrom } from './item-relationships.store.ts';
import type { MergeStrategy } from '../refold/refold-contents.ts';
import { findKeysOfItems, removeSeparations } from '../refold/refold.store.ts';
import { refold } from '../refold/refold.ts';
import type { Decision, ItemNature, Refolded, RefoldRequest, ResettledEntry } from '../refold/refold-request.ts';
import type { TypeRegistry } from '../type-registry.ts';
import { untilFree } from '../until-free.ts';
import {
  findFingerprintsNaming,
  findMergeOf,
  findOwnEntry,
  readDecidedItems,
  stopVouching,
  vouchFor,
  type DecidedItemRow,
} from './item-acts.store.ts';

export interface ItemActsOptions {
  /** Connections like those of a worker. */
  pool: pg.Pool;
  takeNumbers(count: number): Promise<number[]>;
  loadTypes(): Promise<TypeRegistry>;
  nowMs(): number;
  /** Told, inside the transaction, which entries changed their state after their receipt was settled. */
  recount(client: pg.ClientBase, entries: readonly ResettledEntry[]): Promise<void>;
}

/** An identifier as a client names it. */
export interface NamedIdentifier {
  readonly identifier_type: string;
  readonly value: string;
}

export type ItemActs = ReturnType<typeof makeItemActs>;

/** What persons decide about who is who; each decision is one transaction that tells the items anew. */
export function makeItemActs({ pool, takeNumbers, loadTypes, nowMs, recount }: ItemActsOptions) {
  /** What each transaction decided, until everybody is told. */
  const decided = new WeakMap<pg.ClientBase, { decision: Decision; itemNumbers: number[] }>();

  const act = <Result>(work: (client: pg.ClientBase) => Promise<Result>): Promise<Result> =>
    untilFree(() =>
      withTransaction(pool, async (client) => {
        decided.delete(client);
        const result = await work(client);
        const told = decided.get(client);
        if (told) await tellTheRest(client, nowMs(), told.decision, told.itemNumbers);
        return result;
      }),
    );

  /** An act that claims nothing: what it reads is true to its end, since no other merges or tells items anew meanwhile. */
  const actAlone = <Result>(work: (client: pg.ClientBase) => Promise<Result>): Promise<Result> =>
    act(async (client) => {
      await lockMerging(client);
      return work(client);
    });

  /**
   * Tells items anew, and brings the counts of receipts and the open cases in line with them.
   * @param settleCase closes the case that the decision is about, before others are looked at.
   */
  const decide = async (
    client: pg.ClientBase,
    principal: Principal,
    reason: string | null,
    request: RefoldRequest,
    settleCase?: () => Promise<void>,
  ): Promise<Refolded> => {
    const decision = { workspaceId: principal.workspaceId, by: principal.credentialId, reason };
    const { singleClaimTypes } = await loadTypes();
    const context = { decision, nowMicros: nowMs() * 1000, singleClaimTypes, takeNumbers };
    const refolded = await refold(client, context, request);
    requireOwnChange(principal, refolded);
    const itemNumbers = [...(decided.get(client)?.itemNumbers ?? []), ...refolded.currentOf.keys()];
    decided.set(client, { decision, itemNumbers });
    await tellOfFinishedEntries(client, nowMs(), refolded);
    await settleCase?.();
    await recordFindings(
      client,
      refolded.conflicted.map((entry) => ({
        ...entry,
        participants: [entry.workspaceId, ...participantsOf(refolded, entry.itemNumbers)],
      })),
    );
    await insertRetriesAbout(client, [...refolded.currentOf.keys()]);
    await regroupCases(client, [...refolded.currentOf.keys()]);
    await recount(client, refolded.resettled);
    return refolded;
  };

  return {
    act,
    decide,

    /** Makes the second item part of the first; gives what that is then. */
    merge(
      principal: Principal,
      {
        primary,
        secondary,
        strategy,
        reason,
      }: { primary: string; secondary: string; strategy: MergeStrategy; reason: string | null },
    ): Promise<ShownItem> {
      return actAlone(async (client) => {
        const [survivor, loser] = await readDecidable(client, principal, [primary, secondary]);
        if (survivor!.item_number === loser!.item_number)
          throw new Problem('invalid_request', 'an item cannot be merged with itself');
        for (const item of [survivor!, loser!]) requireUnmerged(item);
        const [first, second] = [[survivor!.item_number], [loser!.item_number]];
        const isMade =
          (await isDerivedFrom(client, principal.workspaceId, first, second)) ||
          (await isDerivedFrom(client, principal.workspaceId, second, first));
        if (isMade)
          throw new Problem('invalid_request', 'one of the items was made of the other; they are not one thing');
        const members = await findMergedItems(client, [survivor!.item_number, loser!.item_number]);
        const roots = [survivor!.item_number, loser!.item_number];
        // The merge lock comes before these rows; a person's later word outweighs the earlier one.
        const united = { losers: [loser!.item_number], strategy };
        const refolded = await decide(client, principal, reason, { roots, united });
        await removeSeparations(client, [...roots, ...members.map((member) => member.item_number)]);
        await vouchFor(client, principal, [survivor!.item_number]);
        await recordFindings(client, [{ entryId: undefined, keys: [], itemNumbers: roots, participants: [] }]);
        await tell(
          client,
          nowMs(),
          participantsOf(refolded, roots),
          survivor!.item_number,
          'item_merged',
          (workspaceId) =>
            workspaceId === principal.workspaceId
              ? { merged_items: 1, merged_dfids: [dfidOf(loser!)], strategy, reason, by: principal.credentialId }
              : { merged_items: 1, by: 'another participant' },
        );
        return showDecidedItem(client, principal.workspaceId, survivor!.item_number);
      });
    },

    /** Takes an item out of the one that it became, as if the two had never been one; gives both. */
    unmerge(
      principal: Principal,
      idOrDfid: string,
      reason: string | null,
    ): Promise<{ restored: ShownItem; survivor: ShownItem }> {
      return actAlone(async (client) => {
        const [item] = await readDecidable(client, principal, [idOrDfid]);
        if (item!.merged_into === null) throw new Problem('item_not_merged', 'this item is not merged into another');
        const merge = await findMergeOf(client, item!.item_number);
        if (merge?.survivor !== item!.merged_into)
          throw new Problem('primary_merged', 'the item that it became was merged itself; take that one out first');
        const survivor = (await readDecidedItems(client, principal.workspaceId, [merge.survivor])).get(merge.survivor)!;
        if (survivor.own_status === 'archived')
          throw new Problem('item_archived', 'the item that it became is archived');
        const roots = [merge.survivor];
        const refolded = await decide(client, principal, reason, {
          roots,
          unmerged: merge.loser,
          separated: [[merge.survivor, merge.loser]],
        });
        await stopVouching(client, [merge.survivor, merge.loser]);
        for (const itemNumber of [merge.survivor, merge.loser]) {
          await tell(
            client,
            nowMs(),
            participantsOf(refolded, [itemNumber]),
            itemNumber,
            'item_unmerged',
            (workspaceId) =>
              workspaceId === principal.workspaceId
                ? { survivor_dfid: dfidOf(survivor), restored_dfid: dfidOf(item!), reason, by: principal.credentialId }
                : { by: 'another participant' },
          );
        }
        return {
          restored: await showDecidedItem(client, principal.workspaceId, merge.loser),
          survivor: await showDecidedItem(client, principal.workspaceId, merge.survivor),
        };
      });
    },

    /** Gives identifiers, with what came with them, to a new item. */
    separateIdentifiers(principal: Principal, request: IdentifierSeparation): Promise<KeptAnswer> {
      const { idOrDfid, identifiers, nature, reason, idempotency } = request;
      return actAlone(async (client) => {
        const types = await loadTypes();
        const [source] = await readDecidable(client, principal, [idOrDfid]);
        requireUnmerged(source!);
        const keys = await findLeavingKeys(client, principal.workspaceId, source!.item_number, identifiers, types);
        const [itemNumber] = await takeNumbers(1);
        const refolded = await decide(client, principal, reason, {
          roots: [source!.item_number],
          leaving: { keys, itemNumber: itemNumber!, nature },
          separated: [[source!.item_number, itemNumber!]],
        });
        await stopVouching(client, [source!.item_number]);
        const answer = await answerSplit(client, principal.workspaceId, source!.item_number, itemNumber!);
        for (const each of [source!.item_number, itemNumber!]) {
          await tell(client, nowMs(), participantsOf(refolded, [each]), each, 'item_split', (workspaceId) =>
            workspaceId === principal.workspaceId
              ? {
                  kind: 'correction',
                  source_dfid: answer.body.source_item.dfid,
                  new_dfid: answer.body.new_item.dfid,
                  reason,
                  by: principal.credentialId,
                }
              : { kind: 'correction', by: 'another participant' },
          );
        }
        await keepIdempotencyKey(client, idempotency, { answer });
        return answer;
      });
    },

    /** Takes back what one entry brought. */
    withdraw(principal: Principal, idOrDfid: string, entryId: string, reason: string): Promise<ShownItem> {
      return actAlone(async (client) => {
        const [item] = await readDecidable(client, principal, [idOrDfid], false);
        requireUnmerged(item!);
        const entry = isUuid(entryId) ? await findOwnEntry(client, principal.workspaceId, entryId) : undefined;
        if (!entry?.item_numbers.includes(item!.item_number))
          throw new Problem('not_found', 'your workspace sent no entry with this id for this item');
        if (entry.is_withdrawn) throw new Problem('entry_withdrawn', 'this entry was withdrawn before');
        const roots = [item!.item_number, ...entry.item_numbers.filter((number) => number !== item!.item_number)];
        const refolded = await decide(client, principal, reason, { roots, withdrawn: [entryId] });
        const current = refolded.currentOf.get(item!.item_number)!;
        await tell(client, nowMs(), [principal.workspaceId], current, 'entry_withdrawn', () => ({
          entry_id: entryId,
          reason,
          by: principal.credentialId,
        }));
        return showDecidedItem(client, principal.workspaceId, item!.item_number);
      });
    },
  };
}

/** Identifiers that leave an item, and what the new one is. */
export interface IdentifierSeparation {
  readonly idOrDfid: string;
  readonly identifiers: readonly NamedIdentifier[];
  readonly nature: ItemNature;
  readonly reason: string | null;
  readonly idempotency: IdempotencyClaim | undefined;
}

export type ShownItem = ReturnType<typeof showItem>;

/** An item as the deciding workspace sees it; an administrator may decide about items that the own workspace has no part in. */
async function showDecidedItem(client: pg.ClientBase, workspaceId: string, itemNumber: number): Promise<ShownItem> {
  const own = await readOwnItem(client, workspaceId, itemNumber);
  const item = (await readDecidedItems(client, workspaceId, [itemNumber])).get(itemNumber)!;
  const survivor =
    item.merged_into === null
      ? undefined
      : (await readDecidedItems(client, workspaceId, [item.merged_into])).get(item.merged_into);
  const circuits = await findCircuitsOfItems(client, workspaceId, [itemNumber]);
  const now = new Date();
  const state = { entries: [], identifiers: [], fields: {} };
  return showItem(
    own ?? { ...item, status: 'active', version: 0, state, registered_at: now, updated_at: now },
    survivor,
    circuits.get(item.merged_into ?? itemNumber),
  );
}

/** The answer to a split: what was there, and what is new. */
export async function answerSplit(client: pg.ClientBase, workspaceId: string, source: number, created: number) {
  const newItem = await showDecidedItem(client, workspaceId, created);
  return {
    status: 201,
    headers: { location: `/api/items/${newItem.dfid}` },
    body: {
      source_item: await showDecidedItem(client, workspaceId, source),
      new_item: newItem,
      message: 'The item was split',
    },
  };
}

/** Entries that waited and are part of an item now tell of it as all others do. */
async function tellOfFinishedEntries(client: pg.ClientBase, nowMs: number, { resettled }: Refolded): Promise<void> {
  const finished = resettled.flatMap(({ entryId, workspaceId, itemNumber, to }) =>
    itemNumber === null ? [] : [{ entryId, workspaceId, itemNumber, outcome: to.outcome }],
  );
  await insertEvents(
    client,
    finished.map(({ entryId, workspaceId, itemNumber, outcome }) => ({
      workspaceId,
      eventId: makeId(),
      itemNumber,
      eventType: outcome === 'created' ? 'item_created' : 'item_enriched',
      entryId,
      occurredAtMicros: nowMs * 1000,
      visibility: 'private',
      payload: '{}',
      eventKey: null,
    })),
  );
}

/** What others contributed to comes together or apart by an administrator's word only. */
function requireOwnChange({ scope, workspaceId }: Principal, refolded: Refolded): void {
  if (scope === 'admin' || !refolded.isRepartitioned) return;
  if ([...refolded.participantsOf.values()].flat().some((participant) => participant !== workspaceId))
    throw administratorRequired();
}

/** The workspaces that contribute to any of the items now. */
export function participantsOf(refolded: Refolded, itemNumbers: readonly number[]): string[] {
  const current = itemNumbers.map((number) => refolded.currentOf.get(number) ?? number);
  return [...new Set(current.flatMap((number) => refolded.participantsOf.get(number) ?? []))];
}

/** Tells those for whom a decision changed an item of which no other event tells them. */
async function tellTheRest(
  client: pg.ClientBase,
  nowMs: number,
  { workspaceId: ours, by, reason }: Decision,
  itemNumbers: readonly number[],
): Promise<void> {
  const payloadFor = (workspaceId: string) => (workspaceId === ours ? { by, reason } : { by: 'another participant' });
  for (const { item_number: itemNumber, workspace_id: workspaceId, is_new: isNew } of await findUntoldVersions(
    client,
    itemNumbers,
  ))
    await tell(client, nowMs, [workspaceId], itemNumber, isNew ? 'item_created' : 'item_updated', payloadFor);
}

/**
 * Writes one event for each workspace, in the words meant for it; it makes a version of the item for those who have a part
 * in it, unless they have one of this transaction.
 * @param isVersion false for what is told of the item and is not part of it.
 */
export async function tell(
  client: pg.ClientBase,
  nowMs: number,
  workspaceIds: readonly string[],
  itemNumber: number | null,
  eventType: string,
  payloadFor: (workspaceId: string) => object,
  isVersion = true,
): Promise<void> {
  const events = workspaceIds.map((workspaceId): NewEvent => ({
    workspaceId,
    eventId: makeId(),
    itemNumber,
    eventType,
    entryId: null,
    occurredAtMicros: nowMs * 1000,
    visibility: 'private',
    payload: JSON.stringify(payloadFor(workspaceId)),
    eventKey: null,
  }));
  await insertEvents(client, events);
  if (itemNumber === null) return;
  const eventIds = events.map(({ eventId }) => eventId);
  if (isVersion) await countVersionsOfTold(client, itemNumber, workspaceIds, eventIds);
  else await leaveOutOfVersions(client, workspaceIds, eventIds);
}

/**
 * The items that a person names, if the person may decide about them.
 * @throws Problem not_found, or administrator_required when others contributed too.
 */
export async function readDecidable(
  client: pg.ClientBase,
  principal: Principal,
  idsOrDfids: readonly string[],
  decidesForAll = true,
): Promise<DecidedItemRow[]> {
  const numbers = idsOrDfids.map((each) => itemNumberOf(each));
  const rows = await readDecidedItems(
    client,
    principal.workspaceId,
    numbers.filter((number) => number !== undefined),
  );
  const isAdministrator = principal.scope === 'admin';
  const found = idsOrDfids.map((idOrDfid, at) => {
    const row = rows.get(numbers[at] ?? 0);
    const isKnown = row && (row.own_status !== null || isAdministrator);
    if (!isKnown || (idOrDfid.startsWith('DFID-') && dfidOf(row) !== idOrDfid))
      throw new Problem('not_found', 'your workspace knows no item with this id or DFID');
    return row;
  });
  const isShared = found.some((row) => row.contributors.some((each) => each !== principal.workspaceId));
  if (decidesForAll && isShared && !isAdministrator) throw administratorRequired();
  return found;
}

function administratorRequired(): Problem {
  return new Problem('administrator_required', 'others contributed to this item, so an administrator decides');
}

function requireUnmerged({ merged_into: mergedInto }: DecidedItemRow): void {
  if (mergedInto !== null)
    throw new Problem('item_merged', 'this item was merged; GET tells into which, and changes go there');
}

/** The keys that the named identifiers are for an item; at least one other must stay. */
async function findLeavingKeys(
  client: pg.ClientBase,
  workspaceId: string,
  itemNumber: number,
  identifiers: readonly NamedIdentifier[],
  types: TypeRegistry,
): Promise<ReadonlySet<string>> {
  const owned = await findKeysOfItems(client, [itemNumber]);
  const nodes = new Map(
    owned
      .filter((each) => each.workspaceId === null || each.workspaceId === workspaceId)
      .map((each) => [each.key, each.workspaceId === null ? each.key : `${each.workspaceId}\u0001${each.key}`]),
  );
  const members = await findMergedItems(client, [itemNumber]);
  const itemNumbers = [itemNumber, ...members.map((member) => member.item_number)];
  const leaving = new Set<string>();
  for (const [at, { identifier_type: typeName, value }] of identifiers.entries()) {
    const result = normaliseIdentifier(types.find(typeName), typeName, value);
    const named = result.ok ? [claimKey(result.claimType, result.value)] : [];
    const fingerprints = result.ok ? await findFingerprintsNaming(client, itemNumbers, result) : [];
    const keys = [...named, ...fingerprints.map(([type, fingerprint]) => claimKey(type, fingerprint))].flatMap(
      (key) => nodes.get(key) ?? [],
    );
    if (keys.length === 0)
      throw invalidRequestAt(`/identifiers/${at}`, 'the item is not identified by this identifier');
    for (const key of keys) leaving.add(key);
  }
  if ([...nodes.values()].every((node) => leaving.has(node)))
    throw new Problem('invalid_request', 'at least one identifier has to stay with the item');
  return leaving;
}
