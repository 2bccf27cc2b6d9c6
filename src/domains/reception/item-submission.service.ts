import { Problem, type ProblemCode } from '#platform/errors.ts';
import { entryIdAt } from '#platform/ids.ts';
import { principalOf, type RouteRequest, type RouteResponse } from '#platform/route.ts';
import type pg from 'pg';
import type { z } from 'zod';
import { withTransaction } from '#platform/database.ts';
import {
  answerSplit,
  changeOf,
  editItem,
  findEntry,
  findSplitSource,
  itemAnswer,
  itemIdOf,
  judgeNature,
  readEditedFields,
  readJsonRecord,
  splitOff,
  type EntryRow,
  type ItemActs,
  type ItemsService,
  type Judgement,
  type ShownEntry,
  type TypeRegistry,
} from '#domains/items/index.ts';
import type { splitItemBody } from './item-submission.schema.ts';
import type { RecordSubmitter, SubmissionResult } from './submit-record.ts';

interface ItemSubmissionsOptions {
  pool: pg.Pool;
  items: ItemsService;
  acts: ItemActs;
  submitter: RecordSubmitter;
  takeItemNumbers(count: number): Promise<number[]>;
  loadTypes(): Promise<TypeRegistry>;
}

export type ItemSubmissions = ReturnType<typeof makeItemSubmissions>;

/** Creates, enriches and edits single items while the request waits. */
export function makeItemSubmissions({
  pool,
  items,
  acts,
  submitter,
  takeItemNumbers,
  loadTypes,
}: ItemSubmissionsOptions) {
  const answer = async (workspaceId: string, { receiptId, entry }: SubmissionResult): Promise<RouteResponse> => {
    if (entry.item_number === null) throw waiting(receiptId, entry, (await items.describeEntries([entry]))[0]!);
    const isNew = entry.outcome === 'created';
    const details = await items.get(workspaceId, itemIdOf(entry.item_number));
    return {
      status: isNew ? 201 : 200,
      headers: isNew ? { location: `/api/items/${details.item.dfid}` } : {},
      body: { ...details, was_deduplicated: !isNew },
    };
  };

  /** The answer to a division that was made before. */
  const recallSplit = async (workspaceId: string, receiptId: string): Promise<RouteResponse> =>
    withTransaction(pool, async (client) => {
      const { item_number: itemNumber } = await findEntry(client, entryIdAt(receiptId, 0));
      return answerSplit(client, workspaceId, (await findSplitSource(client, itemNumber!))!, itemNumber!);
    });

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
      return answer(workspaceId, { receiptId, entry: await findEntry(pool, entryIdAt(receiptId, 0)) });
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

    /** Divides an item, or separates identifiers from it: 201 with both. */
    async split(request: RouteRequest<unknown, z.output<typeof splitItemBody>>): Promise<RouteResponse> {
      const { body } = request;
      const change = changeOf(request, 'dfid');
      const defaults = { valueChain: null, country: null, year: null };
      const context = { workspaceId: change.workspaceId, defaults, types: await loadTypes(), nowMicros: 0 };
      const nature = goodOf(judgeNature(body, context));
      const reason = body.reason ?? null;
      if (body.identifiers) {
        const { identifiers } = body;
        const { idOrDfid } = change;
        const separation = { idOrDfid, identifiers, nature, reason, idempotency: request.idempotency };
        return acts.separateIdentifiers(principalOf(request), separation);
      }
      const fields = goodOf(readEditedFields(body.metadata ?? {}));
      const [itemNumber] = await takeItemNumbers(1);
      const submitted = await submitter.submit(
        {
          workspaceId: change.workspaceId,
          requestId: request.id,
          body: request.bodyBytes,
          idempotency: request.idempotency,
        },
        (client, place) =>
          splitOff(client, {
            ...change,
            ...place,
            itemNumber: itemNumber!,
            nature,
            fields,
            quantity: body.quantity ?? null,
            unit: body.unit ?? null,
            reason,
            byteLength: request.bodyBytes.length,
          }),
      );
      return recallSplit(change.workspaceId, submitted.receiptId);
    },

    recallSplit,
  };
}

function goodOf<Value>(judgement: Judgement<Value>): Value {
  if (judgement.ok) return judgement.value;
  const { code, detail } = judgement.fault;
  throw new Problem(code, detail, { errors: [judgement.fault] });
}

/** The record is kept all the same: a person decides what becomes of it. */
function waiting(receiptId: string, { entry_id: entryId, status }: EntryRow, shown: ShownEntry): Problem {
  const { code, detail, pointer, conflict_id: conflictId } = shown.error!;
  return new Problem(status === 'conflicted' ? 'record_conflicted' : (code as ProblemCode), detail, {
    errors: [{ code, detail, pointer }],
    members: {
      receipt_id: receiptId,
      entry_id: entryId,
      ...(conflictId === undefined ? {} : { conflict_id: conflictId }),
    },
  });
}
