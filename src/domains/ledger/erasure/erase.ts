import type pg from 'pg';
import {
  itemIdOf,
  lockMerging,
  normaliseIdentifier,
  type ItemActs,
  type ItemsService,
  type StoredContributionState,
  type StoredRecord,
  type TypeRegistry,
} from '#domains/items/index.ts';
import { releaseBatches } from '#domains/storage/index.ts';
import type { Principal } from '#platform/route.ts';
import {
  countWaiting,
  deleteTreesOfItems,
  eraseBodies,
  eraseSnapshots,
  eraseTables,
  eraseTreeMetadata,
  findBatchesOfVersions,
  findEntriesOfItems,
  findMatching,
  findMatchingSnapshots,
  findRestOfItems,
  findSnapshotsOfItems,
  rewriteContributions,
  rewriteEntries,
  type ErasedTable,
  type ErasureTarget,
  type StoredEntryRow,
} from './erasure.store.ts';

interface ErasureOptions {
  acts: ItemActs;
  items: ItemsService;
  loadTypes(): Promise<TypeRegistry>;
}

export interface Erased {
  readonly tables: readonly ErasedTable[];
  readonly itemNumbers: readonly number[];
}

/** Something that keeps an erasure from being carried out, in words for whoever asked for it. */
export class ErasureRefused extends Error {}

const emptyRecord: StoredRecord = { identifiers: [], fields: {} };
const emptyContribution: StoredContributionState = { entries: [], identifiers: [], fields: {} };

/**
 * Erases what one workspace said of an item or of a person, in one transaction. The log stays what it is: of what was erased
 * it holds commitments whose salts are gone, from which nobody learns anything.
 */
export function makeErasure({ acts, items, loadTypes }: ErasureOptions) {
  /**
   * @param entries what they hold is rewritten; those that are left without anything are withdrawn.
   */
  const carryOut = async (
    client: pg.ClientBase,
    principal: Principal,
    entries: readonly (StoredEntryRow & { readonly rewritten: StoredRecord })[],
    target: ErasureTarget,
    {
      isWhole,
      eraseContributions,
      eraseTrees,
      findSnapshots,
    }: {
      isWhole: boolean;
      eraseContributions(): Promise<number>;
      eraseTrees(): Promise<number>;
      findSnapshots(): Promise<string[]>;
    },
  ): Promise<ErasedTable[]> => {
    const waiting = await countWaiting(client, target.entryIds);
    if (waiting > 0)
      throw new ErasureRefused(
        `${waiting} of the records wait in open conflicts; decide these first, such as by reject`,
      );
    const bodies = await eraseBodies(client, target.entryIds);
    const roots = await findRoots(client, [
      ...target.itemNumbers,
      ...entries.flatMap((entry) => entry.item_number ?? []),
    ]);
    const counted = entries.filter((entry) => entry.withdrawn_at === null && entry.item_number !== null);
    const withdrawn = isWhole ? counted.map((entry) => entry.entry_id) : [];
    const rewrite = () =>
      rewriteEntries(
        client,
        entries.map(({ entry_id: entryId, rewritten }) => ({ entryId, record: rewritten })),
      );
    // Items are told anew from what the entries hold then: of an item that goes whole, before they are emptied.
    if (!isWhole) await rewrite();
    if (roots.length > 0) await acts.decide(client, principal, 'erasure', { roots, withdrawn });
    if (isWhole) await rewrite();
    const contributions = await eraseContributions();
    const trees = await eraseTrees();
    const snapshots = await eraseSnapshots(client, principal.workspaceId, await findSnapshots());
    const batches = await findBatchesOfVersions(client, target);
    const tables = await eraseTables(client, target);
    await releaseBatches(client, batches, 0);
    return [
      { table: 'entries', rows: entries.length },
      { table: 'receipt_bodies', rows: bodies },
      { table: 'contributions', rows: contributions },
      { table: 'merkle_trees', rows: trees },
      { table: 'snapshots', rows: snapshots },
      ...tables,
      { table: 'storage_batches', rows: batches.length },
    ];
  };

  return {
    /** @throws Problem not_found; ErasureRefused */
    async eraseItem(principal: Principal, idOrDfid: string): Promise<Erased> {
      const { itemNumbers } = await items.membersOf(principal.workspaceId, idOrDfid);
      const tables = await acts.act(async (client) => {
        await lockMerging(client);
        const entries = await findEntriesOfItems(client, principal.workspaceId, itemNumbers);
        // What the decision tells belongs to the item as well, so the rest is looked for after it.
        const rest = await findRestOfItems(client, principal.workspaceId, itemNumbers);
        const target = {
          workspaceId: principal.workspaceId,
          itemNumbers,
          entryIds: entries.map((entry) => entry.entry_id),
          ...rest,
        };
        const rewritten = entries.map((entry) => ({ ...entry, rewritten: emptyRecord }));
        return carryOut(client, principal, rewritten, target, {
          isWhole: true,
          eraseContributions: () =>
            rewriteContributions(client, principal.workspaceId, { itemNumbers }, () => emptyContribution),
          eraseTrees: () =>
            deleteTreesOfItems(
              client,
              principal.workspaceId,
              itemNumbers.map((each) => itemIdOf(each)),
            ),
          findSnapshots: () => findSnapshotsOfItems(client, principal.workspaceId, itemNumbers),
        });
      });
      return { tables, itemNumbers };
    },

    /**
     * Erases the number of a person or a company, with every field and payload that holds it.
     * @throws ErasureRefused for text that is no such number.
     */
    async erasePerson(principal: Principal, text: string): Promise<Erased> {
      const number = readPartyNumber(text, await loadTypes());
      if (number === undefined) throw new ErasureRefused('this is no number of a person or a company (CPF, CNPJ)');
      return acts.act(async (client) => {
        await lockMerging(client);
        const found = await findMatching(client, principal.workspaceId, patternOf(number));
        const entries = found.entries.map((entry) => ({ ...entry, rewritten: withoutNumber(entry.record!, number) }));
        const target = {
          workspaceId: principal.workspaceId,
          itemNumbers: [],
          entryIds: entries.map((entry) => entry.entry_id),
          eventIds: found.eventIds,
          versions: found.versions,
          localIds: found.localIds,
        };
        const pattern = patternOf(number);
        const tables = await carryOut(client, principal, entries, target, {
          isWhole: false,
          eraseContributions: () =>
            rewriteContributions(client, principal.workspaceId, { pattern }, (state) => withoutNumber(state, number)),
          eraseTrees: () => eraseTreeMetadata(client, principal.workspaceId, pattern),
          findSnapshots: () => findMatchingSnapshots(client, principal.workspaceId, pattern),
        });
        return { tables, itemNumbers: [...new Set(entries.flatMap((entry) => entry.item_number ?? []))] };
      });
    },
  };
}

async function findRoots(client: pg.ClientBase, itemNumbers: readonly number[]): Promise<number[]> {
  const { rows } = await client.query<{ root: number }>(
    'select distinct coalesce(merged_into, item_number) as root from items where item_number = any($1::int8[]) order by root',
    [itemNumbers],
  );
  return rows.map((row) => row.root);
}

function readPartyNumber(text: string, types: TypeRegistry): string | undefined {
  for (const name of ['cpf', 'cnpj']) {
    const type = types.find(name);
    const result = type ? normaliseIdentifier(type, name, text) : undefined;
    if (result?.ok) return result.value;
  }
  return undefined;
}

/** Matches a number however it is written: between its characters may stand a few that are none. */
function patternOf(number: string): string {
  return number.split('').join('[^0-9A-Za-z]{0,3}');
}

/** A record or a contribution without the identifiers, fields and events that hold a number. */
function withoutNumber<Stored extends StoredRecord | StoredContributionState>(stored: Stored, number: string): Stored {
  const pattern = new RegExp(patternOf(number), 'i');
  const isClean = (value: unknown) => !pattern.test(JSON.stringify(value).normalize('NFKC'));
  const { repeated, waiting } = stored as StoredRecord;
  return {
    ...stored,
    identifiers: (stored.identifiers as unknown[]).filter(isClean),
    fields: Object.fromEntries(Object.entries(stored.fields).filter(isClean)),
    ...(repeated ? { repeated: repeated.filter(isClean) } : {}),
    ...(waiting ? { waiting: { ...waiting, events: waiting.events.filter(isClean) } } : {}),
  };
}
