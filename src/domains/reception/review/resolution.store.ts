import type { Queryable } from '#platform/database.ts';
import type { DecisionRow } from './pending-items.store.ts';

export interface LockedReceipt {
  received_sequence: number;
  entry_total: number | null;
  is_erased: boolean;
}

/**
 * Locks the row of a receipt, as a retry of its entries does: of all that takes up entries again, one goes at a time. Whoever
 * holds this lock may wait for claims and items; nobody who holds those waits for it.
 */
export async function lockReceipt(
  queryable: Queryable,
  workspaceId: string,
  receiptId: string,
): Promise<LockedReceipt | undefined> {
  const { rows } = await queryable.query<LockedReceipt>(
    `select received_sequence, entry_total, body_erased_at is not null as is_erased from receipts
     where receipt_id = $1 and workspace_id = $2 for no key update`,
    [receiptId, workspaceId],
  );
  return rows[0];
}

export async function dismissEntry(queryable: Queryable, entryId: string): Promise<void> {
  await queryable.query('update entries set dismissed_at = now() where entry_id = $1', [entryId]);
}

/** Makes room for the entry in its next final state. */
export async function deleteEntry(queryable: Queryable, entryId: string): Promise<void> {
  await queryable.query('delete from entries where entry_id = $1', [entryId]);
}

/** Keeps with a fault by how much the priority of its entry is raised. */
export async function raisePriority(queryable: Queryable, entryId: string, raised: number): Promise<void> {
  await queryable.query(
    `update entries set error = (error::jsonb || jsonb_build_object('raised', $2::int4))::json where entry_id = $1`,
    [entryId, raised],
  );
}

export interface NewDecision extends Pick<DecisionRow, 'action' | 'result' | 'reason'> {
  readonly decisionId: string;
  readonly workspaceId: string;
  readonly entryId: string;
  readonly newIdentifiers: unknown;
  readonly newEnrichedData: unknown;
  readonly decidedBy: string;
}

export async function insertDecision(queryable: Queryable, decision: NewDecision): Promise<void> {
  const json = (value: unknown) => (value === undefined ? null : JSON.stringify(value));
  await queryable.query(
    `insert into pending_decisions (decision_id, workspace_id, entry_id, action, result, reason, new_identifiers, new_enriched_data,
                                    decided_by)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
    [
      decision.decisionId,
      decision.workspaceId,
      decision.entryId,
      decision.action,
      decision.result,
      decision.reason,
      json(decision.newIdentifiers),
      json(decision.newEnrichedData),
      decision.decidedBy,
    ],
  );
}
