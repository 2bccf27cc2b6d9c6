import type pg from 'pg';
import { findToldEvents } from '#domains/events/index.ts';
import { ContentionError } from '../absorption.ts';
import { findContributions, type ContributionRow } from '../contributors.store.ts';
import { lockItems, lockMerging } from '../deduplication.store.ts';
import { claimKey } from '../judge-record.ts';
import { endingEventTypes } from '../record-times.ts';
import { claimsOfRecord, endedOfRecord, type StoredRecord } from '../stored-record.ts';
import type { EvidenceEntry, EvidenceMerge } from './refold-plan.ts';
import {
  findDivisions,
  findEntriesOfItems,
  findItemsWithMembers,
  findKeysOfItems,
  findMerges,
  findSeparationsOf,
  lockEntries,
  type EvidenceEntryRow,
  type EvidenceItemRow,
  type MergeRow,
  type OwnedKey,
} from './refold.store.ts';

/** Identifiers of an entry that belong to another item than the rest of it. */
export interface Division {
  readonly entryId: string;
  readonly itemNumber: number;
  readonly keys: readonly string[];
}

/** Everything that is known of items that may come apart or together, read under their locks. */
export interface Evidence {
  readonly items: readonly EvidenceItemRow[];
  readonly merges: readonly (EvidenceMerge & { row: MergeRow })[];
  readonly separations: readonly [number, number][];
  readonly keys: readonly OwnedKey[];
  readonly contributions: readonly ContributionRow[];
  readonly divisions: readonly Division[];
  /** Ends of items that workspaces told without a record. */
  readonly toldEnds: readonly { item_number: number; workspace_id: string; occurred_at_micros: number }[];
  /** Each piece of evidence with the row that it stands for. */
  readonly rows: ReadonlyMap<EvidenceEntry, EvidenceEntryRow>;
}

interface EvidenceQuestion {
  /** Items that exist and are not merged, as far as the caller knows. */
  readonly roots: readonly number[];
  /** Entries that wait and shall become part of them. */
  readonly waiting: readonly string[];
  /** Keys that the caller claimed for the waiting entries. */
  readonly claimed: ReadonlySet<string>;
}

/**
 * Locks items and reads all that tells what they are.
 * @throws ContentionError when one of the roots is merged by now, or an entry does not wait any longer.
 */
export async function gatherEvidence(client: pg.ClientBase, question: EvidenceQuestion): Promise<Evidence> {
  await lockMerging(client);
  const roots = question.roots.toSorted((a, b) => a - b);
  const locked = await lockItems(client, roots, true);
  if (locked.filter(({ merged_into: mergedInto }) => mergedInto === null).length !== roots.length)
    throw new ContentionError();
  const items = await findItemsWithMembers(client, roots);
  const numbers = items.map((row) => row.item_number);
  const [complete, divided, merges, separations, keys, contributions, toldEnds, waiting] = await Promise.all([
    findEntriesOfItems(client, numbers),
    findDivisions(client, numbers),
    findMerges(client, numbers),
    findSeparationsOf(client, numbers),
    findKeysOfItems(client, numbers),
    findContributions(client, numbers),
    findToldEvents(client, numbers, endingEventTypes),
    lockEntries(client, question.waiting),
  ]);
  if (waiting.some(({ status }) => status !== 'conflicted')) throw new ContentionError();
  const nodes = nodesOf(keys, question.claimed);
  const rows = new Map<EvidenceEntry, EvidenceEntryRow>();
  const divisions = divided.map(({ entry_id: entryId, division_item: itemNumber, claims }): Division => ({
    entryId,
    itemNumber,
    keys: claims.map(([type, value]) => claimKey(type, value)),
  }));
  const elsewhere = new Map<string, Set<string>>();
  for (const { entryId, keys: parts } of divisions) {
    elsewhere.set(entryId, new Set([...(elsewhere.get(entryId) ?? []), ...parts]));
  }
  const wholeOf = (row: EvidenceEntryRow, home: number | undefined) =>
    evidenceOf(row, home, nodesOfEntry(row, nodes, elsewhere.get(row.entry_id)));
  for (const row of complete) rows.set(wholeOf(row, row.item_number!), row);
  for (const row of waiting) rows.set(wholeOf(row, undefined), row);
  divided.forEach((row, at) => {
    if (!numbers.includes(row.division_item)) return;
    const parts = new Set(divisions[at]!.keys);
    const entry = evidenceOf(row, row.division_item, []);
    for (const key of parts) {
      const node = nodesOfEntry(row, nodes).find((each) => keyOfNode(each).key === key);
      rows.set(...partOfEntry(entry, row, node ?? nodeOf({ key, workspaceId: row.workspace_id }), row.division_item));
    }
  });
  return {
    items,
    merges: merges.map((row) => ({ survivor: row.survivor, loser: row.loser, entryId: row.entry_id, row })),
    separations,
    keys,
    contributions,
    toldEnds,
    divisions,
    rows,
  };
}

/** One identifier of an entry that is with another item than the rest, as evidence of its own. */
export function partOfEntry(
  entry: EvidenceEntry,
  row: EvidenceEntryRow,
  node: string,
  home: number,
): [part: EvidenceEntry, row: EvidenceEntryRow] {
  const record = onlyIdentifier(row.record, keyOfNode(node).key);
  return [
    { ...entry, home, isCreation: false, isDivision: true, isPlaced: false, keys: [node] },
    { ...row, record },
  ];
}

function onlyIdentifier({ identifiers, fingerprints = [], ended = [] }: StoredRecord, key: string): StoredRecord {
  const isIt = (claimType: string, value: string) => claimKey(claimType, value) === key;
  return {
    fields: {},
    identifiers: identifiers.filter(([, , claimType, value]) => isIt(claimType, value)),
    fingerprints: fingerprints.filter(([claimType, value]) => isIt(claimType, value)),
    ended: ended.filter(([claimType, value]) => isIt(claimType, value)),
  };
}

const ownSeparator = '\u0001';

/** How a key stands in a plan: one that leads one workspace alone is not the same as that key of others. */
export function nodeOf({ key, workspaceId }: Pick<OwnedKey, 'key' | 'workspaceId'>): string {
  return workspaceId === null ? key : `${workspaceId}${ownSeparator}${key}`;
}

/** The key that stands in a plan as `node`. */
export function keyOfNode(node: string): Pick<OwnedKey, 'key' | 'workspaceId'> {
  const at = node.indexOf(ownSeparator);
  return at < 0 ? { key: node, workspaceId: null } : { key: node.slice(at + 1), workspaceId: node.slice(0, at) };
}

function nodesOf(keys: readonly OwnedKey[], claimed: ReadonlySet<string>): ReadonlySet<string> {
  return new Set([...keys.map(nodeOf), ...claimed]);
}

/** Only what leads to these items ties entries together; what leads to another item ties them to nothing here. */
function nodesOfEntry(row: EvidenceEntryRow, nodes: ReadonlySet<string>, without?: ReadonlySet<string>): string[] {
  return claimsOfRecord(row.record).flatMap((key) => {
    if (without?.has(key)) return [];
    const node = nodeOf({ key, workspaceId: row.workspace_id });
    if (nodes.has(key)) return [key];
    return nodes.has(node) ? [node] : [];
  });
}

function evidenceOf(row: EvidenceEntryRow, home: number | undefined, keys: readonly string[]): EvidenceEntry {
  return {
    entryId: row.entry_id,
    order: {
      entryId: row.entry_id,
      effectiveAtMicros: row.effective_at_micros,
      receivedSequence: row.received_sequence,
    },
    home,
    isCreation: row.outcome === 'created',
    isDivision: false,
    isPlaced: row.record.placed !== undefined,
    keys,
    ended: endedOfRecord(row.record).flatMap(({ key }) => [key, nodeOf({ key, workspaceId: row.workspace_id })]),
  };
}
