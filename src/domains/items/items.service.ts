import { withTransaction, type Database } from '#platform/database.ts';
import { Problem } from '#platform/errors.ts';
import { keepIdempotencyKey, type IdempotencyClaim } from '#platform/idempotency.store.ts';
import { isUuid, positionOfEntry } from '#platform/ids.ts';
import { decodeCursor, type Page } from '#platform/page.ts';
import type { RouteResponse } from '#platform/route.ts';
import { findEvent, listEvents, listEventsOfItems, type EventRow } from '#domains/events/index.ts';
import { findCasesOfEntries } from './conflicts/conflicts.store.ts';
import { takeItemNumbers } from './deduplication.store.ts';
import { formatDfid } from './dfid.ts';
import { listMergesOfEntries, type EntryMerge, type EntryRow, type ShownEntry } from './entries.store.ts';
import { normaliseIdentifier } from './identifier-normalisers.ts';
import type { NormalisationResult } from './identifiers/result.ts';
import { itemIdOf } from './item-id.ts';
import { findOwnItem } from './find-own-item.ts';
import { dfidOf, itemNumberOf } from './item-names.ts';
import {
  countOtherContributors,
  findClaimOwners,
  findDfidParts,
  findItem,
  findMembers,
  findMentioningItems,
  findOwnDivisions,
  listItemEntries,
  listItems,
  type DfidPartsRow,
  type ItemFilter,
  type ItemRow,
} from './items.store.ts';
import { claimKey } from './judge-record.ts';
import { findCircuitsOfItems, findCircuitsOfSources, isEventOfCircuit } from './named-circuits.store.ts';
import { divideEntries, foldProvenance } from './provenance.ts';
import { overridesOf } from './refold/refold-contents.ts';
import { findMerges } from './refold/refold.store.ts';
import type { TypeRegistry } from './type-registry.ts';
import type { ValueChain } from './value-chain.ts';
import { showIdentifiers, showMetadata } from './version-content.ts';

interface ItemsServiceOptions {
  database: Database;
  loadTypes(): Promise<TypeRegistry>;
}

type PageRequest = { limit: number; offset: number; cursor?: string | undefined };
type ListFilter = Omit<ItemFilter, 'itemNumbers'> & {
  dfid?: string | undefined;
  identifierType?: string | undefined;
  value?: string | undefined;
};

const detailEventsMax = 200;
/** What one answer tells of the past: an item that was sent very often has more. */
const provenanceMax = { rows: 10_000, bytes: 16_777_216 };
const mentioningItemsMax = 1000;

export type ItemsService = ReturnType<typeof makeItemsService>;

/** Reads items as one workspace may see them: its own contribution, and the DFID. */
export function makeItemsService({ database, loadTypes }: ItemsServiceOptions) {
  const { knex } = database;

  const findOwn = (workspaceId: string, idOrDfid: string) => findOwnItem(knex, workspaceId, idOrDfid);

  const show = async (workspaceId: string, rows: readonly ItemRow[]) => {
    const survivors = await findDfidParts(
      knex,
      rows.flatMap((row) => row.merged_into ?? []),
    );
    const circuits = await findCircuitsOfItems(
      database.pool,
      workspaceId,
      rows.map((row) => row.item_number),
    );
    return rows.map((row) => {
      const survivor = row.merged_into === null ? undefined : survivors.get(row.merged_into);
      return showItem(row, survivor, circuits.get(row.merged_into ?? row.item_number));
    });
  };

  const showEvents = async (workspaceId: string, rows: readonly EventRow[]) => {
    const parts = await findDfidParts(
      knex,
      rows.flatMap((row) => row.item_number ?? []),
    );
    const sources = rows.flatMap((row) => [row.event_id, row.entry_id ?? []]).flat();
    const circuits = await findCircuitsOfSources(database.pool, workspaceId, sources);
    return rows.map((row) => {
      const circuitId = circuits.get(row.event_id) ?? circuits.get(row.entry_id ?? '');
      return showEvent(row, row.item_number === null ? undefined : parts.get(row.item_number), circuitId);
    });
  };

  /** Items that own or mention an identifier; only those that the workspace itself sent it for are shown. */
  const findByIdentifier = async (workspaceId: string, typeName: string, value: string): Promise<number[]> => {
    const types = await loadTypes();
    const result = normaliseIdentifier(types.find(typeName), typeName, value);
    // Records from before the type was known had it as free text.
    const asUnknown = normaliseIdentifier(undefined, typeName, value);
    const found: number[] = [];
    if (result.ok) {
      for (const owner of await findClaimOwners(knex, workspaceId, result.claimType, result.value))
        if (await isMentionedBy(workspaceId, owner, result.claimType, result.value)) found.push(owner);
    }
    for (const { claimType, value: normalValue } of distinctReadings([result, asUnknown]))
      found.push(...(await findMentioningItems(knex, workspaceId, claimType, normalValue, mentioningItemsMax)));
    return found;
  };

  const isMentionedBy = async (
    workspaceId: string,
    itemNumber: number,
    claimType: string,
    value: string,
  ): Promise<boolean> => {
    const item = await findItem(knex, workspaceId, itemNumber);
    return item?.state.identifiers.some(([, , type, known]) => type === claimType && known === value) ?? false;
  };

  return {
    async list({ dfid, identifierType, value, ...filter }: ListFilter, page: PageRequest) {
      const position = { ...page, after: decodeCursor(page.cursor, 'number') };
      let itemNumbers: number[] | undefined;
      if (value !== undefined && identifierType !== undefined)
        itemNumbers = await findByIdentifier(filter.workspaceId, identifierType, value);
      else if (value !== undefined || identifierType !== undefined)
        throw missingBeside(value === undefined ? 'value' : 'identifier_type');
      if (dfid !== undefined) {
        const itemNumber = itemNumberOf(dfid);
        itemNumbers =
          itemNumber === undefined
            ? []
            : itemNumbers
              ? itemNumbers.filter((number) => number === itemNumber)
              : [itemNumber];
      }
      const found = await listItems(knex, { ...filter, itemNumbers }, position);
      const rows =
        dfid === undefined
          ? found.rows
          : found.rows.filter((row) => dfidOf(row) === dfid || itemIdOf(row.item_number) === dfid);
      const last = found.rows.at(-1);
      const nextPosition = found.rows.length === page.limit && last ? String(last.item_number) : undefined;
      return {
        rows: await show(filter.workspaceId, rows),
        total: found.total - (found.rows.length - rows.length),
        nextPosition,
      };
    },

    async get(workspaceId: string, idOrDfid: string) {
      const row = await findOwn(workspaceId, idOrDfid);
      const members = await findMembers(knex, row.item_number);
      const events = await listEventsOfItems(knex, workspaceId, members, detailEventsMax);
      const identifiers = showIdentifiers(row.state);
      const [item] = await show(workspaceId, [row]);
      return {
        item: item!,
        identifiers,
        canonical_identifier: identifiers.find((identifier) => identifier.is_canonical) ?? null,
        events: await showEvents(workspaceId, events),
      };
    },

    /** The item that a workspace knows by this name, as it is now, and all items that it is. */
    async membersOf(workspaceId: string, idOrDfid: string): Promise<{ dfid: string; itemNumbers: number[] }> {
      const row = await findOwn(workspaceId, idOrDfid);
      const root = row.merged_into ?? row.item_number;
      const parts = await findDfidParts(knex, [root]);
      return { dfid: dfidOf(parts.get(root)!), itemNumbers: await findMembers(knex, root) };
    },

    /** An item that exists, by its DFID, as it is now, and all items that it is; who asks need not know anything of it. */
    async findByDfid(dfid: string) {
      const itemNumber = itemNumberOf(dfid);
      const named = itemNumber === undefined ? undefined : (await findDfidParts(knex, [itemNumber])).get(itemNumber);
      if (!named || dfidOf(named) !== dfid) return undefined;
      const root = named.merged_into ?? named.item_number;
      const parts = (await findDfidParts(knex, [root])).get(root)!;
      return { ...parts, dfid: dfidOf(parts), itemNumbers: await findMembers(knex, root) };
    },

    /** The number of the item with this name, whether it is part of another one now or not. */
    ownNumberOf: async (workspaceId: string, idOrDfid: string) => (await findOwn(workspaceId, idOrDfid)).item_number,

    /** DFIDs by the numbers of items, as they were given. */
    async dfidsOf(itemNumbers: readonly number[]): Promise<Map<number, string>> {
      const parts = await findDfidParts(knex, itemNumbers);
      return new Map([...parts].map(([itemNumber, row]) => [itemNumber, dfidOf(row)]));
    },

    async provenance(workspaceId: string, idOrDfid: string) {
      const row = await findOwn(workspaceId, idOrDfid);
      const members = await findMembers(knex, row.item_number);
      const { entries, isComplete } = await listItemEntries(knex, workspaceId, members, provenanceMax);
      const divisions = await findOwnDivisions(knex, workspaceId, members);
      const merges = await findMerges(database.pool, members);
      const others = await countOtherContributors(knex, workspaceId, members);
      return {
        dfid: dfidOf(row),
        ...foldProvenance(
          divideEntries(entries, members, divisions),
          merges.flatMap((merge) => overridesOf(merge)).filter((override) => override.workspaceId === workspaceId),
        ),
        contributors: [
          { participant: 'you' },
          ...Array.from({ length: others }, () => ({ participant: 'another participant' })),
        ],
        is_complete: isComplete,
      };
    },

    async listEvents(
      filter: {
        workspaceId: string;
        eventType?: string | undefined;
        item?: string | undefined;
        isAboutItems?: boolean | undefined;
        circuitId?: string | undefined;
        matchesNothing: boolean;
      },
      page: PageRequest,
    ) {
      const position = { ...page, after: decodeCursor(page.cursor, 'uuid') };
      if (filter.matchesNothing) return { rows: [], total: 0, nextPosition: undefined };
      const itemNumber = filter.item === undefined ? undefined : itemNumberOf(filter.item);
      if (filter.item !== undefined && itemNumber === undefined) return { rows: [], total: 0, nextPosition: undefined };
      const itemNumbers = itemNumber === undefined ? undefined : await findMembers(knex, itemNumber);
      const { circuitId } = filter;
      const isWanted = circuitId === undefined ? undefined : isEventOfCircuit(knex, filter.workspaceId, circuitId);
      const found = await listEvents(knex, { ...filter, itemNumbers, isWanted }, position);
      const last = found.rows.at(-1);
      const result: Page<ReturnType<typeof showEvent>> = {
        rows: await showEvents(filter.workspaceId, found.rows),
        total: found.total,
        nextPosition: found.rows.length === page.limit && last ? last.event_id : undefined,
      };
      return result;
    },

    async getEvent(workspaceId: string, eventId: string) {
      const row = isUuid(eventId) ? await findEvent(knex, workspaceId, eventId) : undefined;
      if (!row) throw new Problem('not_found', 'there is no event with this id that you may see');
      const [event] = await showEvents(workspaceId, [row]);
      return event!;
    },

    /**
     * Entries as the API shows them, with the DFIDs that their items have now; none for items that do not exist.
     * @param knownMerges what the entries merged, when the database does not say it.
     */
    async describeEntries(rows: readonly EntryRow[], knownMerges?: readonly EntryMerge[]): Promise<ShownEntry[]> {
      const enriched = rows.filter((row) => row.outcome === 'enriched').map((row) => row.entry_id);
      const merges = knownMerges ?? (await listMergesOfEntries(database.pool, enriched));
      const contested = rows.flatMap((row) => contestedItems(row));
      const waiting = rows.filter((row) => row.status === 'conflicted').map((row) => row.entry_id);
      const cases = await findCasesOfEntries(database.pool, waiting);
      const parts = await findDfidParts(knex, [
        ...rows.flatMap((row) => row.item_number ?? []),
        ...merges.map((merge) => merge.loser),
        ...contested,
      ]);
      const survivors = await findDfidParts(
        knex,
        [...parts.values()].flatMap((part) => part.merged_into ?? []),
      );
      const currentDfid = (itemNumber: number) => {
        const part = parts.get(itemNumber);
        const current = part?.merged_into == null ? part : survivors.get(part.merged_into);
        return current ? dfidOf(current) : null;
      };
      return rows.map((row) => ({
        entry_id: row.entry_id,
        position: positionOfEntry(row.entry_id),
        line: row.line,
        status: row.status,
        outcome: row.outcome,
        dfid: row.item_number === null ? null : currentDfid(row.item_number),
        merged_dfids: merges.flatMap(({ entry_id: entryId, loser }) =>
          entryId === row.entry_id && parts.has(loser) ? [dfidOf(parts.get(loser)!)] : [],
        ),
        error: row.error && {
          code: row.error.code,
          detail: row.error.detail,
          pointer: row.error.pointer,
          ...(cases.has(row.entry_id) ? { conflict_id: cases.get(row.entry_id)! } : {}),
          ...(row.error.contested
            ? { dfids: [...new Set(contestedItems(row).map(currentDfid))].filter((dfid) => dfid !== null) }
            : {}),
        },
      }));
    },

    /** A DFID with a fresh number; it belongs to no item. A request with a key gets the same one again. */
    async generateDfid(
      parts: { valueChain: ValueChain; country: string; year: number },
      idempotency: IdempotencyClaim | undefined,
    ): Promise<RouteResponse> {
      return withTransaction(database.pool, async (client) => {
        const [sequence] = await takeItemNumbers(client, 1);
        const answer = { status: 200, body: { dfid: formatDfid({ ...parts, sequence: sequence! }) } };
        await keepIdempotencyKey(client, idempotency, { answer });
        return answer;
      });
    },
  };
}

function contestedItems({ error }: EntryRow): number[] {
  return error?.contested ?? [];
}

/** An item as the API shows it to the workspace whose contribution `row` holds. */
export function showItem(row: ItemRow, survivor: DfidPartsRow | undefined, circuitId: string | undefined) {
  return {
    id: itemIdOf(row.item_number),
    dfid: dfidOf(row),
    value_chain: row.value_chain,
    country: row.country,
    year: row.year,
    status: row.merged_into === null ? row.status : 'merged',
    metadata: showMetadata(row.state),
    version: row.version,
    merged_into: row.merged_into === null ? null : itemIdOf(row.merged_into),
    merged_into_dfid: survivor ? dfidOf(survivor) : null,
    circuit_id: circuitId ?? null,
    registered_at: row.registered_at.toISOString(),
    last_updated_at: row.updated_at.toISOString(),
    created_at: row.registered_at.toISOString(),
    updated_at: row.updated_at.toISOString(),
  };
}

/** An event as the API shows it, with the DFID of the item that it was sent for. */
export function showEvent(row: EventRow, item: DfidPartsRow | undefined, circuitId: string | undefined) {
  const itemId = row.item_number === null ? null : itemIdOf(row.item_number);
  return {
    id: row.event_id,
    event_type: row.event_type,
    source_type: itemId === null ? 'conflict' : 'item',
    source_id: itemId ?? (row.payload as { conflict_id: string }).conflict_id,
    payload: row.payload,
    // A fact that is stored is complete; nothing about it is processed later.
    status: 'completed',
    visibility: row.visibility,
    is_duplicate: false,
    item_id: itemId,
    dfid: item ? dfidOf(item) : null,
    circuit_id: circuitId ?? null,
    user_id: null,
    metadata: row.entry_id === null ? null : { entry_id: row.entry_id },
    occurred_at: row.occurred_at.toISOString(),
    created_at: row.created_at.toISOString(),
    processed_at: row.created_at.toISOString(),
    error_message: null,
  };
}

function distinctReadings(results: readonly NormalisationResult[]) {
  const readings = results.filter((result) => result.ok);
  return [...new Map(readings.map((reading) => [claimKey(reading.claimType, reading.value), reading])).values()];
}

function missingBeside(parameter: 'value' | 'identifier_type'): Problem {
  return new Problem('invalid_query', 'identifier_type and value find an item together', {
    errors: [{ pointer: parameter, code: 'invalid_query', detail: 'missing beside the other' }],
  });
}
