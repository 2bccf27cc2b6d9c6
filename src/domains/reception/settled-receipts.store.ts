import type { Queryable } from '#platform/database.ts';
import { smallLane } from './cut-receipts.ts';
import type { ChunkCounts } from './work.store.ts';

/** What must be known before a record is judged inside a request. */
export interface SubmissionStart {
  /** Its place in the order of arrival. */
  received_sequence: number;
  /** The time of the transaction, in microseconds since the Unix epoch. */
  received_at_micros: number;
  may_link_items: boolean;
  /** Of the workspace; 0 when it has no rules. */
  quality_rules_version: number;
}

/** Takes a place in the order of arrival for a submission of a workspace. */
export async function startSubmission(queryable: Queryable, workspaceId: string): Promise<SubmissionStart> {
  const { rows } = await queryable.query<SubmissionStart>({
    name: 'start_submission',
    text: `select nextval('received_sequence') as received_sequence,
                  (extract(epoch from now()) * 1000000)::int8 as received_at_micros, may_link_items, quality_rules_version
           from workspaces where workspace_id = $1`,
    values: [workspaceId],
  });
  return rows[0]!;
}

/** A JSON receipt of one record that was worked in the transaction that keeps it. */
export interface SettledReceipt {
  readonly receiptId: string;
  readonly workspaceId: string;
  readonly receivedSequence: number;
  /** BLAKE3 of the bytes. */
  readonly hash: Buffer;
  /** The bytes as sent, one part of a body at most. */
  readonly body: Buffer;
  readonly requestId: string;
  readonly counts: ChunkCounts;
}

/** Keeps a receipt in its final state, with its body and the one chunk that counts its record. */
export async function insertSettledReceipt(queryable: Queryable, receipt: SettledReceipt): Promise<void> {
  const { completed, rejected, failed, conflicted, created, enriched } = receipt.counts;
  await queryable.query({
    name: 'insert_settled_receipt',
    text: `with stored as (
             insert into receipts (receipt_id, workspace_id, received_sequence, hash, size_bytes, content_type, format, charset,
                                   request_id, cut_at, entry_total, finished_at, outcome)
             values ($1, $2, $3, $4, $5, 'application/json', 'json', 'utf-8', $6, now(), 1, now(),
                     case when $7::int4 = 1 then 'completed' else 'completed_with_errors' end)
           ), bodies as (
             insert into receipt_bodies (receipt_id, part, bytes) values ($1, 0, $8)
           )
           insert into receipt_chunks (receipt_id, chunk_number, workspace_id, received_sequence, lane, byte_start, byte_length,
                                       first_position, entry_count, is_done, completed, rejected, failed, conflicted, created, enriched)
           values ($1, 0, $2, $3, ${smallLane}, 0, $5, 0, 1, true, $7, $9, $10, $11, $12, $13)`,
    values: [
      receipt.receiptId,
      receipt.workspaceId,
      receipt.receivedSequence,
      receipt.hash,
      receipt.body.length,
      receipt.requestId,
      completed,
      receipt.body,
      rejected,
      failed,
      conflicted,
      created,
      enriched,
    ],
  });
}
