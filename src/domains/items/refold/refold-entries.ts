import type pg from 'pg';
import { removeEventsOfEntries, type RehomedEvents } from '#domains/events/index.ts';
import { describeContradictions } from '../item-rows.ts';
import { splitClaimKey } from '../judge-record.ts';
import type { Contradiction } from '../resolution-plan.ts';
import { finishedRecord, identifiersOfRecord } from '../stored-record.ts';
import type { NumberedItem } from './divided-entries.ts';
import { waitingAgain } from './entry-events.ts';
import { keyOfNode, type Evidence } from './refold-evidence.ts';
import type { ContestedEvidence, EvidenceEntry, RefoldPlan } from './refold-plan.ts';
import type { RefoldRequest, ResettledEntry } from './refold-request.ts';
import { writeFinishedEntries, type EvidenceEntryRow, type FinishedEntry } from './refold.store.ts';

/** The entry that a new item begins with, unless a person made the item or it is known as its creation before. */
function creationOf({ entries, isNew, root }: NumberedItem, { leaving }: RefoldRequest): EvidenceEntry | undefined {
  if (!isNew || root === leaving?.itemNumber || entries.some(({ isCreation }) => isCreation)) return undefined;
  return entries.find(({ isDivision }) => !isDivision);
}

/** The complete entries that go to another item than they were with. */
export function rehomedEntries(items: readonly NumberedItem[]): RehomedEvents[] {
  return items.flatMap(({ entries, itemNumbers, root }) =>
    entries.flatMap(({ entryId, home, isDivision }) =>
      isDivision || home === undefined || itemNumbers.includes(home) ? [] : [{ entryId, from: home, to: root }],
    ),
  );
}

/** Finishes entries that waited, and lets those wait that name things which stay apart. */
export async function writeEntries(
  client: pg.ClientBase,
  request: RefoldRequest,
  { contributions, items: itemRows, rows }: Evidence,
  plan: RefoldPlan,
  items: readonly NumberedItem[],
): Promise<ResettledEntry[]> {
  const { placed = new Map<string, number>(), placedBy } = request;
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
  for (const item of items) {
    const creation = creationOf(item, request);
    for (const entry of item.entries) {
      const isPlaced = !entry.isDivision && placed.has(entry.entryId);
      if (!isPlaced && entry !== creation) continue;
      const row = rows.get(entry)!;
      const outcome = entry === creation ? 'created' : 'enriched';
      const record = JSON.stringify(isPlaced ? finishedRecord(row.record, placedBy) : row.record);
      finish(row, { itemNumber: item.root, status: 'completed', outcome, record, error: null });
    }
  }
  const removed = await removeEventsOfEntries(
    client,
    plan.conflicted.map(({ entry }) => entry.entryId),
  );
  for (const contested of plan.conflicted) {
    const row = rows.get(contested.entry)!;
    const { value_chain, country, year } = itemRows.find((item) => item.item_number === row.item_number)!;
    finish(row, {
      itemNumber: null,
      status: 'conflicted',
      outcome: 'conflict',
      record: JSON.stringify(waitingAgain(row, removed, { value_chain, country, year })),
      error: JSON.stringify(errorOf(contested, row, contributions)),
    });
  }
  await writeFinishedEntries(client, finished);
  return resettled;
}

/** Why an entry waits again. */
function errorOf(
  { excluding, itemNumbers }: ContestedEvidence,
  row: EvidenceEntryRow,
  contributions: Evidence['contributions'],
) {
  const isOurs = contributions.every(
    (each) => each.workspace_id === row.workspace_id || !itemNumbers.includes(each.item_number),
  );
  const claims = excluding.map((node) => splitClaimKey(keyOfNode(node).key));
  const contradiction: Contradiction =
    claims.length === 0
      ? { reason: 'separated', claimType: '', values: [], isOurs: true }
      : { reason: 'values', claimType: claims[0]![0], values: claims.map(([, value]) => value), isOurs };
  const description = describeContradictions({ identifiers: identifiersOfRecord(row.record) }, [contradiction]);
  return { code: 'identifier_conflict', ...description, contradictions: [contradiction] };
}
