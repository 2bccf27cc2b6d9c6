import type pg from 'pg';
import { blake3Hex } from '#platform/blake3.ts';
import { withTransaction } from '#platform/database.ts';
import { isDataError, Problem } from '#platform/errors.ts';
import { keepIdempotencyKey, type IdempotencyClaim } from '#platform/idempotency.store.ts';
import { entryIdAt, makeReceiptId } from '#platform/ids.ts';
import {
  absorbRecords,
  findEntry,
  untilFree,
  type AbsorbContext,
  type EntryRow,
  type IncomingRecord,
  type QualityRulesCache,
  type SubmittedRecord,
  type TypeRegistry,
  type Verdict,
} from '#domains/items/index.ts';
import { countVerdicts } from './verdict-counts.ts';
import { makeJudge, recordBytesMax } from './read-chunk.ts';
import { insertSettledReceipt, startSubmission } from './settled-receipts.store.ts';

export interface SubmissionOptions {
  /** For work on records inside requests, and nothing else: connections like those of a worker. */
  submissionPool: pg.Pool;
  /** Another pool: numbers are taken while transactions wait for them. */
  takeItemNumbers: AbsorbContext['takeNumbers'];
  /** A record that would give an item more distinct identifying identifiers waits for a person. */
  identifiersPerItemMax: number;
  loadTypes(): Promise<TypeRegistry>;
  loadQualityRules: QualityRulesCache;
  /** Told what became of a record whose transaction was committed. */
  observeRecords?(verdicts: readonly Verdict[]): void;
}

/** One record that a request wants absorbed before it is answered. */
export interface RecordSubmission {
  readonly workspaceId: string;
  readonly requestId: string;
  /** The bytes that the receipt keeps: the request's body as sent. */
  readonly body: Buffer;
  readonly record: SubmittedRecord;
  readonly idempotency?: IdempotencyClaim | undefined;
}

/** What became of such a record. One that is in conflict has an error and no item. */
export interface SubmissionResult {
  readonly receiptId: string;
  readonly entry: EntryRow;
}

/** The receipt of what a request does at once, and where its one entry stands in time. */
export interface SubmissionPlace {
  readonly receiptId: string;
  readonly entryId: string;
  readonly receivedSequence: number;
  readonly receivedAtMicros: number;
  readonly mayLinkItems: boolean;
  readonly qualityRulesVersion: number;
}

/** Works on records of requests, each with a receipt of its own, in one transaction and without a worker. */
export type RecordSubmitter = ReturnType<typeof makeRecordSubmitter>;

export function makeRecordSubmitter(options: SubmissionOptions) {
  const { submissionPool, takeItemNumbers, identifiersPerItemMax, loadTypes, loadQualityRules } = options;

  /**
   * Runs work that makes one entry of a receipt which holds a request's body; the receipt is kept with it, settled. Tries
   * again while other transactions move the same items.
   * @param work writes the entry, and returns the verdict on it.
   * @throws Problem record_too_large, unprocessable_record, unavailable.
   */
  const submit = async (
    { workspaceId, requestId, body, idempotency }: Omit<RecordSubmission, 'record'>,
    work: (client: pg.ClientBase, place: SubmissionPlace) => Promise<Verdict>,
  ): Promise<SubmissionResult> => {
    if (body.length > recordBytesMax)
      throw new Problem('record_too_large', `a record has at most ${recordBytesMax} bytes`);
    const receiptId = makeReceiptId();
    const entryId = entryIdAt(receiptId, 0);
    const hash = Buffer.from(blake3Hex(body), 'hex');
    const settle = async (client: pg.ClientBase): Promise<EntryRow> => {
      const start = await startSubmission(client, workspaceId);
      const receivedSequence = start.received_sequence;
      const verdict = await work(client, {
        receiptId,
        entryId,
        receivedSequence,
        receivedAtMicros: start.received_at_micros,
        mayLinkItems: start.may_link_items,
        qualityRulesVersion: start.quality_rules_version,
      });
      const counts = countVerdicts([verdict]);
      await insertSettledReceipt(client, { receiptId, workspaceId, receivedSequence, hash, body, requestId, counts });
      // A conflict is answered with an error, and an error leaves the key free.
      if (verdict.status === 'completed') await keepIdempotencyKey(client, idempotency, { receiptId });
      return findEntry(client, entryId);
    };
    const entry = await untilFree(() => withTransaction(submissionPool, settle)).catch((error: unknown) => {
      if (!isDataError(error)) throw error;
      throw new Problem('unprocessable_record', 'the database cannot hold a value of this record', { cause: error });
    });
    options.observeRecords?.([entry]);
    return { receiptId, entry };
  };

  return {
    submit,

    /**
     * Judges a record and absorbs it as a worker would.
     * @throws Problem with the code, detail and pointer of the fault when the record is refused: then nothing is kept.
     */
    async submitRecord({ record, ...submission }: RecordSubmission): Promise<SubmissionResult> {
      const types = await loadTypes();
      const { workspaceId, body } = submission;
      return submit(submission, async (client, place) => {
        const judge = makeJudge(
          { csv_layout: null },
          {
            workspaceId,
            defaults: { valueChain: null, country: null, year: null },
            types,
            nowMicros: place.receivedAtMicros,
          },
          await loadQualityRules(client, workspaceId, place.qualityRulesVersion),
        );
        const judgement = judge(record);
        // What breaks a rule of the workspace is kept and waits for a person; what cannot be understood is not.
        if (!judgement.ok && judgement.fault.code !== 'quality_rule') {
          const { code, detail } = judgement.fault;
          throw new Problem(code, detail, { errors: [judgement.fault] });
        }
        const incoming: IncomingRecord = { ...place, line: null, byteStart: 0, byteLength: body.length, judgement };
        const context = {
          workspaceId,
          mayLinkItems: place.mayLinkItems,
          identifiersMax: identifiersPerItemMax,
          types,
          takeNumbers: takeItemNumbers,
        };
        const { verdicts, written } = await absorbRecords(client, context, [incoming]);
        await written;
        return verdicts[0]!;
      });
    },
  };
}
