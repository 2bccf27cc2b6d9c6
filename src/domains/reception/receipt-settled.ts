import { insertNotices } from '#domains/events/index.ts';

/** Columns of receipts that are told when they are settled. */
export const settledColumns = 'receipts.workspace_id, receipts.receipt_id, receipts.outcome, receipts.entry_total';

/** The statement that tells workspaces that the receipts of a relation, which has those columns, are settled. */
export const receiptSettled = (source: string): string =>
  insertNotices({
    type: 'receipt_settled',
    source,
    data: `json_build_object('receipt_id', receipt_id, 'status', outcome, 'entries', entry_total)`,
    thinData: `json_build_object('receipt_id', receipt_id)`,
  });
