import type pg from 'pg';
import { insertEvents } from '#domains/events/index.ts';
import { makeId } from '#platform/ids.ts';
import { canonicalJson } from '#platform/json/canonical.ts';
import { ContributionState } from '../contribution-state.ts';
import { insertContributions, insertEntries, insertItems } from '../deduplication.store.ts';
import { holdItem, type ItemChange } from '../hold-item.ts';
import { advanceContribution } from '../item-changes.store.ts';
import { dfidOf } from '../item-names.ts';
import type { JudgedRecord } from '../judge-record.ts';
import type { Verdict } from '../item-rows.ts';
import type { ItemNature } from '../refold/refold-request.ts';
import { completedRecordJson } from '../stored-record.ts';
import { writeRelationships } from './item-relationships.store.ts';

/** A part that was taken off an item and is one of its own now. */
export interface SplitOff extends ItemChange {
  /** The number of the new item. */
  readonly itemNumber: number;
  readonly nature: ItemNature;
  /** What is known of the part beside what is known of the whole, and instead of it. */
  readonly fields: JudgedRecord['fields'];
  readonly quantity: string | null;
  readonly unit: string | null;
  readonly reason: string | null;
  readonly entryId: string;
  readonly receivedSequence: number;
  readonly receivedAtMicros: number;
  readonly byteLength: number;
}

/**
 * Makes a part of an item an item of its own, in the caller's transaction: with the values that the workspace knows of the
 * whole, without its identifiers, derived from it. The values of the whole stay as they are.
 * @throws Problem of `holdItem`.
 */
export async function splitOff(client: pg.ClientBase, split: SplitOff): Promise<Verdict> {
  const { workspaceId, itemNumber, nature, entryId, receivedSequence, receivedAtMicros, changedBy: by } = split;
  const source = await holdItem(client, split);
  const inherited = Object.entries(source.state.fields).map(([name, [value]]) => [name, canonicalJson(value)] as const);
  const content = { identifiers: [], fields: [...new Map([...inherited, ...split.fields])] };
  const state = new ContributionState();
  state.apply({ entryId, effectiveAtMicros: receivedAtMicros, receivedSequence }, content);
  await insertItems(client, [{ itemNumber, ...nature }]);
  await insertContributions(client, [{ itemNumber, workspaceId, state: state.toJson(), isNewVersion: false }]);
  await advanceContribution(client, workspaceId, source.item_number, null);
  const verdict: Verdict = { status: 'completed', outcome: 'created' };
  await insertEntries(client, workspaceId, [
    {
      entryId,
      itemNumber,
      receivedSequence,
      effectiveAtMicros: receivedAtMicros,
      line: null,
      byteStart: 0,
      byteLength: split.byteLength,
      ...verdict,
      record: completedRecordJson({ ...content, claims: [] }, []),
      error: null,
    },
  ]);
  await writeRelationships(client, { workspaceId, type: 'derived', origin: 'split', by }, [
    {
      relationshipId: makeId(),
      primaryItem: source.item_number,
      relatedItem: itemNumber,
      quantity: split.quantity,
      unit: split.unit,
    },
  ]);
  const created = {
    value_chain: nature.valueChain,
    country: nature.country,
    year: nature.year,
    item_number: itemNumber,
  };
  const payload = {
    kind: 'division',
    source_dfid: dfidOf(source),
    new_dfid: dfidOf(created),
    quantity: split.quantity,
    unit: split.unit,
    reason: split.reason,
    by,
  };
  const event = { workspaceId, occurredAtMicros: receivedAtMicros, visibility: 'private' as const, eventKey: null };
  await insertEvents(client, [
    { ...event, eventId: makeId(), itemNumber, eventType: 'item_created', entryId, payload: '{}' },
    { ...event, eventId: makeId(), itemNumber, eventType: 'item_split', entryId, payload: JSON.stringify(payload) },
    {
      ...event,
      eventId: makeId(),
      itemNumber: source.item_number,
      eventType: 'item_split',
      entryId: null,
      payload: JSON.stringify(payload),
    },
  ]);
  return verdict;
}
