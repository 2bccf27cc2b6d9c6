import { insertEvents } from '#domains/events/index.ts';
import type { Queryable } from '#platform/database.ts';
import { makeId } from '#platform/ids.ts';
import { canonicalJson } from '#platform/json/canonical.ts';
import { parseJson } from '#platform/json/parse-json.ts';
import { ContributionState, type StoredContributionState } from './contribution-state.ts';
import { insertEntries, upsertContributions } from './deduplication.store.ts';
import { recallFieldHistory } from './field-history.ts';
import { holdItem, type ItemChange } from './hold-item.ts';
import type { Verdict } from './item-rows.ts';
import { judgeFields, type JudgedRecord } from './judge-record.ts';
import { completedRecordJson } from './stored-record.ts';
import { readJsonRecord, type Judgement } from './submitted-record.ts';

/** Fields to be set by hand, and where the entry of it stands among those of the item. */
export interface ItemEdit extends ItemChange {
  readonly fields: JudgedRecord['fields'];
  readonly entryId: string;
  readonly receivedSequence: number;
  readonly receivedAtMicros: number;
  /** Bytes of the receipt's body, all of which are the entry's. */
  readonly byteLength: number;
}

/** Reads the metadata of an edit. The value must come from `parseInteroperableJson`. */
export function readEditedFields(metadata: unknown): Judgement<JudgedRecord['fields']> {
  const record = readJsonRecord({ metadata });
  return record.ok ? judgeFields(record.value) : record;
}

/**
 * Folds an edit into what its workspace knows of an item, in the caller's transaction: an entry that names no identifier
 * but belongs to the item, with the time of its reception. Fields that it does not name stay.
 * @throws Problem of `holdItem`.
 */
export async function editItem(client: Queryable, edit: ItemEdit): Promise<Verdict> {
  const { workspaceId, fields, entryId, receivedSequence, receivedAtMicros, byteLength } = edit;
  const item = await holdItem(client, edit);
  const itemNumber = item.item_number;
  const order = { entryId, effectiveAtMicros: receivedAtMicros, receivedSequence };
  const content = { identifiers: [], fields };
  const state = ContributionState.fromStored(item.state, canonicalJson);
  await recallFieldHistory(client, workspaceId, [{ state, itemNumbers: [itemNumber], entries: [{ order, content }] }]);
  const hasNewContent = state.apply(order, content);
  const verdict: Verdict = { status: 'completed', outcome: hasNewContent ? 'enriched' : 'duplicate' };
  const stateText = state.toJson();
  const entry = {
    entryId,
    itemNumber,
    receivedSequence,
    effectiveAtMicros: receivedAtMicros,
    line: null,
    byteStart: 0,
    byteLength,
    ...verdict,
    record: completedRecordJson({ ...content, claims: [] }, []),
    error: null,
  };
  await insertEntries(client, workspaceId, [entry]);
  await upsertContributions(client, [{ itemNumber, workspaceId, state: stateText, isNewVersion: hasNewContent }]);
  if (!hasNewContent) return verdict;
  const after = parseJson(stateText) as StoredContributionState;
  const changed = fields.map(([name]) => name).filter((name) => valueIn(item.state, name) !== valueIn(after, name));
  await insertEvents(client, [
    {
      workspaceId,
      eventId: makeId(),
      itemNumber,
      eventType: 'item_updated',
      entryId,
      occurredAtMicros: receivedAtMicros,
      visibility: 'private',
      payload: JSON.stringify({ changed, by: edit.changedBy }),
      eventKey: null,
    },
  ]);
  return verdict;
}

function valueIn({ fields }: StoredContributionState, name: string): string | undefined {
  return Object.hasOwn(fields, name) ? canonicalJson(fields[name]![0]) : undefined;
}
