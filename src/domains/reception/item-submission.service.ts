import { Problem } from '#platform/errors.ts';
import { entryIdAt } from '#platform/ids.ts';
import { principalOf, type RouteRequest, type RouteResponse } from '#platform/route.ts';
import type { Queryable } from '#platform/database.ts';
import {
  changeOf,
  editItem,
  findEntry,
  itemAnswer,
  itemIdOf,
  readEditedFields,
  readJsonRecord,
  type EntryRow,
  type ItemsService,
  type Judgement,
} from '#domains/items/index.ts';
import type { RecordSubmitter, SubmissionResult } from './submit-record.ts';

interface ItemSubmissionsOptions {
  reads: Queryable;
  items: ItemsService;
  submitter: RecordSubmitter;
}

export type ItemSubmissions = ReturnType<typeof makeItemSubmissions>;

/** Creates, enriches and edits single items while the request waits. */
export function makeItemSubmissions({ reads, items, submitter }: ItemSubmissionsOptions) {
  const answer = async (workspaceId: string, { receiptId, entry }: SubmissionResult): Promise<RouteResponse> => {
    if (entry.item_number === null) throw conflicted(receiptId, entry);
    const isNew = entry.outcome === 'created';
    const details = await items.get(workspaceId, itemIdOf(entry.item_number));
    return {
      status: isNew ? 201 : 200,
      headers: isNew ? { location: `/api/items/${details.item.dfid}` } : {},
      body: { ...details, was_deduplicated: !isNew },
    };
  };

  return {
    /** Absorbs one record: 201 with the new item, or 200 with the one that it enriched. */
    async create(request: RouteRequest<unknown, Readonly<Record<string, unknown>>>): Promise<RouteResponse> {
      const { workspaceId } = principalOf(request);
      const submitted = await submitter.submitRecord({
        workspaceId,
        requestId: request.id,
        body: request.bodyBytes,
        record: goodOf(readJsonRecord(request.body)),
        idempotency: request.idempotency,
      });
      return answer(workspaceId, submitted);
    },

    /** The answer to a record that was absorbed before. */
    async recall(workspaceId: string, receiptId: string): Promise<RouteResponse> {
      return answer(workspaceId, { receiptId, entry: await findEntry(reads, entryIdAt(receiptId, 0)) });
    },

    /** Sets fields of an item by hand, with a receipt that keeps who sent what. */
    async edit(request: RouteRequest<unknown, { metadata: unknown }>): Promise<RouteResponse> {
      const change = changeOf(request);
      const fields = goodOf(readEditedFields(request.body.metadata));
      const submission = { workspaceId: change.workspaceId, requestId: request.id, body: request.bodyBytes };
      await submitter.submit(submission, (client, place) =>
        editItem(client, { ...change, ...place, fields, byteLength: request.bodyBytes.length }),
      );
      return itemAnswer(items, request);
    },
  };
}

function goodOf<Value>(judgement: Judgement<Value>): Value {
  if (judgement.ok) return judgement.value;
  const { code, detail } = judgement.fault;
  throw new Problem(code, detail, { errors: [judgement.fault] });
}

/** The record is kept all the same: a review decides what becomes of it. */
function conflicted(receiptId: string, { entry_id: entryId, error }: EntryRow): Problem {
  const { code, detail, pointer } = error!;
  return new Problem('record_conflicted', detail, {
    errors: [{ code, detail, pointer }],
    members: { receipt_id: receiptId, entry_id: entryId },
  });
}
