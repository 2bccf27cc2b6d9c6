import type pg from 'pg';
import { Problem } from '#platform/errors.ts';
import { isUuid, receiptIdOfEntry } from '#platform/ids.ts';
import { countedAtMost, decodeCursor } from '#platform/page.ts';
import type { Principal } from '#platform/route.ts';
import { readDecidedItems, type DecidedItemRow } from '../acts/item-acts.store.ts';
import { normaliseIdentifier } from '../identifier-normalisers.ts';
import { itemIdOf } from '../item-id.ts';
import { dfidOf, itemNumberOf } from '../item-names.ts';
import { claimKey, isFingerprint } from '../judge-record.ts';
import type { Contradiction } from '../resolution-plan.ts';
import { claimsOfRecord } from '../stored-record.ts';
import type { TypeRegistry } from '../type-registry.ts';
import {
  countEntriesOfCases,
  findEntriesOfCases,
  listCases,
  type CaseEntryRow,
  type CaseSize,
} from './case-lists.store.ts';
import {
  findCase,
  findClaimsWithEntries,
  findItemsOfCases,
  type CaseRow,
  type ContestedClaimRow,
} from './conflicts.store.ts';

interface ConflictsServiceOptions {
  pool: pg.Pool;
  loadTypes(): Promise<TypeRegistry>;
}

interface ListFilter {
  readonly status?: 'open' | 'resolved' | undefined;
  readonly dfid?: string | undefined;
  readonly identifierType?: string | undefined;
  readonly value?: string | undefined;
}

/** Entries of a case that its details show. */
const entriesShownMax = 1000;
/** Entries of each case that tell, in a list, which items a workspace named. */
const entriesReadMax = 100;
const you = 'you';
const another = 'another participant';

export type ConflictsService = ReturnType<typeof makeConflictsService>;

/** Shows cases to those who take part in them, each its own evidence; an administrator sees all of it. */
export function makeConflictsService({ pool, loadTypes }: ConflictsServiceOptions) {
  const load = async (principal: Principal, rows: readonly CaseRow[], limit: number): Promise<LoadedCase[]> => {
    const conflictIds = rows.map((row) => row.conflict_id);
    const workspaceId = workspaceOf(principal);
    const entries = Map.groupBy(
      await findEntriesOfCases(pool, conflictIds, { workspaceId, limit }),
      (entry) => entry.conflict_id,
    );
    const sizes = new Map(
      (await countEntriesOfCases(pool, conflictIds, workspaceId)).map((size) => [size.conflict_id, size]),
    );
    const contested = await findItemsOfCases(pool, conflictIds);
    const contestedOf = Map.groupBy(contested, (each) => each.conflict_id);
    const itemNumbers = [
      ...new Set([...contested.map((row) => row.item_number), ...rows.flatMap((row) => row.item_numbers)]),
    ];
    const items = await readDecidedItems(pool, principal.workspaceId, itemNumbers);
    const claimsOf = Map.groupBy(await findClaimsWithEntries(pool, itemNumbers), (claim) => claim.item_number);
    return rows.map((row) => {
      const numbers =
        row.status === 'open'
          ? (contestedOf.get(row.conflict_id) ?? []).map((each) => each.item_number)
          : row.item_numbers;
      return {
        row,
        size: sizes.get(row.conflict_id),
        entries: entries.get(row.conflict_id) ?? [],
        items: numbers.flatMap((number) => items.get(number) ?? []),
        claims: numbers.flatMap((number) => claimsOf.get(number) ?? []),
      };
    });
  };

  return {
    async list(
      principal: Principal,
      filter: ListFilter,
      page: { limit: number; offset: number; cursor?: string | undefined },
    ) {
      const types = await loadTypes();
      const found = await listCases(
        pool,
        {
          workspaceId: workspaceOf(principal),
          status: filter.status,
          itemNumbers: filter.dfid === undefined ? undefined : [itemNumberOf(filter.dfid) ?? -1],
          keys: readKeys(filter, types),
        },
        { ...page, after: decodeCursor(page.cursor, 'uuid'), countedMax: countedAtMost + 1 },
      );
      const last = found.rows.at(-1);
      return {
        rows: (await load(principal, found.rows, entriesReadMax)).map((each) => showCase(each, principal)),
        total: found.total,
        nextPosition: found.rows.length === page.limit && last ? last.conflict_id : undefined,
      };
    },

    async get(principal: Principal, conflictId: string) {
      const row = isUuid(conflictId) ? await findCase(pool, workspaceOf(principal), conflictId) : undefined;
      if (!row) throw new Problem('not_found', 'there is no conflict with this id that you may see');
      const [loaded] = await load(principal, [row], entriesShownMax);
      return showDetails(loaded!, principal);
    },
  };
}

interface LoadedCase {
  readonly row: CaseRow;
  /** Undefined for a case without entries. */
  readonly size: CaseSize | undefined;
  /** The first of those that may be shown. */
  readonly entries: readonly CaseEntryRow[];
  readonly items: readonly DecidedItemRow[];
  readonly claims: readonly ContestedClaimRow[];
}

/** Null for an administrator, who sees the cases of all workspaces. */
function workspaceOf({ scope, workspaceId }: Principal): string | null {
  return scope === 'admin' ? null : workspaceId;
}

function readKeys({ identifierType, value }: ListFilter, types: TypeRegistry): string[] | undefined {
  if (identifierType === undefined && value === undefined) return undefined;
  if (identifierType === undefined || value === undefined) {
    const pointer = value === undefined ? 'value' : 'identifier_type';
    throw new Problem('invalid_query', 'identifier_type and value find a conflict together', {
      errors: [{ pointer, code: 'invalid_query', detail: 'missing beside the other' }],
    });
  }
  const result = normaliseIdentifier(types.find(identifierType), identifierType, value);
  return result.ok ? [claimKey(result.claimType, result.value)] : [];
}

/** What the asking workspace may know of a case. */
function viewOf({ entries, items, claims, size }: LoadedCase, { scope, workspaceId }: Principal) {
  const seesAll = scope === 'admin';
  const own = entries.filter((entry) => entry.workspace_id === workspaceId);
  const named = new Set(own.flatMap((entry) => claimsOfRecord(entry.record)));
  const isNamed = (claim: ContestedClaimRow) => named.has(claimKey(claim.identifier_type, claim.value));
  const visibleItems = items.filter(
    (item) =>
      seesAll ||
      item.own_status !== null ||
      claims.some((claim) => claim.item_number === item.item_number && isNamed(claim)),
  );
  const involved = new Set([...(size?.workspace_ids ?? []), ...items.flatMap((item) => item.contributors)]);
  return {
    visibleItems,
    visibleEntries: seesAll ? entries : own,
    isVisibleClaim: (claim: ContestedClaimRow) => seesAll || claim.workspace_id === workspaceId || isNamed(claim),
    others: [...involved].filter((each) => each !== workspaceId).length,
    canDecide: seesAll || [...involved].every((each) => each === workspaceId),
    participantOf: (entryWorkspaceId: string) => (entryWorkspaceId === workspaceId ? you : another),
  };
}

function showCase(loaded: LoadedCase, principal: Principal) {
  const { row, size } = loaded;
  const view = viewOf(loaded, principal);
  const target = view.visibleItems.find((item) => item.item_number === row.target_item);
  const isOwnDecision = row.resolved_by === principal.credentialId || principal.scope === 'admin';
  return {
    conflict_id: row.conflict_id,
    status: row.status === 'open' ? ('open' as const) : ('resolved' as const),
    opened_at: row.opened_at.toISOString(),
    items: view.visibleItems.map((item) => ({ item_id: itemIdOf(item.item_number), dfid: dfidOf(item) })),
    waiting_entries: size?.waiting ?? 0,
    other_participants: view.others,
    can_resolve: row.status === 'open' && view.canDecide,
    resolution:
      row.resolved_at === null
        ? null
        : {
            action: row.action!,
            dfid: target ? dfidOf(target) : null,
            reason: view.canDecide || isOwnDecision ? row.reason : null,
            resolved_at: row.resolved_at.toISOString(),
            resolved_by: isOwnDecision ? row.resolved_by : null,
          },
  };
}

function showDetails(loaded: LoadedCase, principal: Principal) {
  const shown = showCase(loaded, principal);
  const view = viewOf(loaded, principal);
  const { claims, row } = loaded;
  const itemsNamed = (entry: CaseEntryRow) => {
    const named = new Set(claimsOfRecord(entry.record));
    const numbers = new Set(
      claims
        .filter((claim) => named.has(claimKey(claim.identifier_type, claim.value)))
        .map((claim) => claim.item_number),
    );
    return view.visibleItems.filter((item) => numbers.has(item.item_number)).map((item) => dfidOf(item));
  };
  const contradictions = view.visibleEntries.flatMap((entry) =>
    (row.contradictions?.[entry.entry_id] ?? entry.error?.contradictions ?? []).map((each) =>
      showContradiction(each, principal.scope === 'admin'),
    ),
  );
  return {
    ...shown,
    summary: summarise(shown, contradictions),
    contradictions: distinct(contradictions),
    evidence: {
      entries: view.visibleEntries.map((entry) => ({
        entry_id: entry.entry_id,
        receipt_id: receiptIdOfEntry(entry.entry_id),
        received_at: entry.received_at.toISOString(),
        participant: view.participantOf(entry.workspace_id),
        status: entry.status,
        identifiers: entry.record.identifiers.map(([identifier_type, value]) => ({ identifier_type, value })),
        names_items: itemsNamed(entry),
      })),
      is_complete: loaded.entries.length >= (loaded.size?.shown ?? 0),
      items: view.visibleItems.map((item) => ({
        dfid: dfidOf(item),
        identifiers: claims
          .filter((claim) => claim.item_number === item.item_number && view.isVisibleClaim(claim))
          .filter((claim) => !isFingerprint(claim.identifier_type))
          .map((claim) => ({
            identifier_type: claim.identifier_type,
            value: claim.value,
            entry_id:
              claim.workspace_id === principal.workspaceId || principal.scope === 'admin' ? claim.entry_id : null,
            participant: view.participantOf(claim.workspace_id),
          })),
      })),
    },
    actions: shown.can_resolve ? ['merge', ...(shown.items.length > 0 ? ['attach'] : []), 'separate', 'reject'] : [],
  };
}

const sentences: Readonly<Record<Exclude<Contradiction['reason'], 'values'>, string>> = {
  strangers:
    'A record ties together what different participants contributed, and nobody they trust says that it is one.',
  separated: 'A record names two items that a person keeps apart.',
  ended: 'A record tells of something later than the end of its item.',
  size: 'With a record an item would have more identifiers than one thing is likely to have.',
};

function showContradiction({ reason, claimType, values, isOurs }: Contradiction, seesAll: boolean) {
  const isShown = isOurs || seesAll;
  if (reason === 'ended' && !isShown) {
    // Perhaps only others said that the item ended.
    const sentence = 'A record contradicts what others sent of the same item.';
    return { reason: 'values' as const, identifier_type: null, values: [], sentence };
  }
  const sentence =
    reason !== 'values'
      ? sentences[reason]
      : isShown
        ? `One thing has one ${claimType}, and these are named: ${values.join(', ')}.`
        : 'The identifiers of a record contradict what others sent of the same item.';
  return {
    reason,
    identifier_type: isShown && claimType !== '' ? claimType : null,
    values: isShown ? values : [],
    sentence,
  };
}

function distinct<Value>(values: readonly Value[]): Value[] {
  return [...new Map(values.map((value) => [JSON.stringify(value), value])).values()];
}

function summarise(
  shown: ReturnType<typeof showCase>,
  contradictions: readonly ReturnType<typeof showContradiction>[],
): string {
  const [reason] = contradictions;
  if (shown.resolution)
    return `A person decided: ${shown.resolution.action}. ${reason?.sentence ?? 'What others sent contradicted each other.'}`;
  const records = shown.waiting_entries === 1 ? '1 record waits' : `${shown.waiting_entries} records wait`;
  const items = shown.items.length === 1 ? '1 item' : `${shown.items.length} items`;
  const about = shown.items.length === 0 ? '' : `, about ${items} that you know`;
  const [first] = contradictions;
  return `${records}${about}. ${first?.sentence ?? 'What others sent contradicts each other.'}`;
}
