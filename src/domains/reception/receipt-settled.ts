import { z } from 'zod';
import { insertNotices, type NoticeType } from '#domains/events/index.ts';

/** What endpoints are told of a receipt, by `receiptSettled`. */
export const receiptSettledType = {
  name: 'receipt_settled',
  description:
    'All records of a receipt are worked on, or it could not be read. Items that are sent one by one are answered at once, and have none.',
  data: z.object({
    receipt_id: z.uuid(),
    status: z.enum(['completed', 'completed_with_errors', 'failed']),
    entries: z.number().int().nullable(),
  }),
  thinData: z.object({ receipt_id: z.uuid() }),
} as const satisfies NoticeType;

/** Columns of receipts that are told when they are settled. */
export const settledColumns = 'receipts.workspace_id, receipts.receipt_id, receipts.outcome, receipts.entry_total';

/** The statement that tells workspaces that the receipts of a relation, which has those columns, are settled. */
export const receiptSettled = (source: string): string =>
  insertNotices({
    type: receiptSettledType.name,
    source,
    data: `json_build_object('receipt_id', receipt_id, 'status', outcome, 'entries', entry_total)`,
    thinData: `json_build_object('receipt_id', receipt_id)`,
  });
