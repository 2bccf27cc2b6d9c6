import { int4Array, int8Array, textArray, uuidArray } from '#platform/binary-arrays.ts';
import type { Queryable } from '#platform/database.ts';
import type { StoredContributionState, StoredRecord } from '#domains/items/index.ts';
import { deleteSnapshots } from '../snapshots/snapshots.store.ts';

/** What of one workspace is to be erased. */
export interface ErasureTarget {
  readonly workspaceId: string;
  readonly entryIds: readonly string[];
  readonly eventIds: readonly string[];
  /** Items of which nothing may be left. */
  readonly itemNumbers: readonly number[];
  /** Versions of items whose content is erased. */
  readonly versions: readonly { readonly itemNumber: number; readonly version: number }[];
  readonly localIds: readonly string[];
}

/** How many rows of a table were changed or deleted. */
export interface ErasedTable {
  readonly table: string;
  readonly rows: number;
}

interface Step {
  readonly table: string;
  /** The parts of the target that the statement takes, in the order of its parameters. */
  readonly takes: readonly ('workspace' | 'entries' | 'events' | 'items' | 'versions' | 'locals')[];
  readonly text: string;
}

const versionsOf = 'unnest($2::int8[], $3::int4[]) as erased (item_number, version)';

/**
 * The tables that hold what a workspace said of items, and what erases it there. What identifies an item for everybody (its
 * number and DFID), when something came and how large it was, hashes of whole receipts and commitments without their salts
 * stay. Claims, mentions and contributions follow from the entries: who erases tells the items anew first.
 */
const steps: readonly Step[] = [
  {
    table: 'idempotency_keys',
    takes: ['workspace', 'entries', 'events'],
    text: `delete from idempotency_keys
           where workspace_id = $1 and (
             receipt_id in (select receipt_id from entries
                            join receipts on receipts.received_sequence = entries.received_sequence and receipts.workspace_id = entries.workspace_id
                            where entry_id = any($2::uuid[]))
             or answer -> 'body' ->> 'id' = any($3::uuid[]::text[]))`,
  },
  {
    table: 'events',
    takes: ['workspace', 'events'],
    text: `update events set payload = '{}', event_key = null, is_repeated = false, withdrawn_at = coalesce(withdrawn_at, now())
           where workspace_id = $1 and event_id = any($2::uuid[])`,
  },
  {
    table: 'webhook_attempts',
    takes: ['workspace', 'events'],
    // A receiver may have said again what it was told.
    text: `update webhook_attempts set response_body = null, response_headers = null
           from webhook_deliveries join webhook_messages using (message_id)
           where webhook_attempts.delivery_id = webhook_deliveries.delivery_id and workspace_id = $1 and message_id = any($2::uuid[])`,
  },
  {
    table: 'webhook_messages',
    takes: ['workspace', 'events'],
    text: 'update webhook_messages set body = null where workspace_id = $1 and message_id = any($2::uuid[])',
  },
  {
    table: 'log_entries',
    takes: ['workspace', 'events'],
    text: 'update log_entries set seed = null where workspace_id = $1 and event_id = any($2::uuid[])',
  },
  {
    table: 'log_entries',
    takes: ['workspace', 'versions'],
    text: `update log_entries set seed = null
           from item_versions join ${versionsOf} using (item_number, version)
           where item_versions.workspace_id = $1 and log_entries.index = item_versions.index`,
  },
  {
    table: 'webhook_messages',
    takes: ['workspace', 'versions'],
    // A proof discloses the content of its version; one that is being told holds the entry above.
    text: `update webhook_messages set body = null from ${versionsOf}
           where workspace_id = $1 and message_type = 'item_anchored' and webhook_messages.item_number = erased.item_number`,
  },
  {
    table: 'webhook_attempts',
    takes: ['workspace', 'versions'],
    text: `update webhook_attempts set response_body = null, response_headers = null
           from webhook_deliveries join webhook_messages using (message_id) join ${versionsOf} using (item_number)
           where webhook_attempts.delivery_id = webhook_deliveries.delivery_id and workspace_id = $1 and message_type = 'item_anchored'`,
  },
  {
    table: 'item_versions',
    takes: ['workspace', 'versions'],
    text: `update item_versions set content = null from ${versionsOf}
           where workspace_id = $1 and item_versions.item_number = erased.item_number and item_versions.version = erased.version`,
  },
  {
    table: 'storage_contents',
    takes: ['workspace', 'versions'],
    text: `update storage_contents set bytes = null, sealed_key = null, key_id = null from ${versionsOf}
           where workspace_id = $1 and storage_contents.item_number = erased.item_number and storage_contents.version = erased.version`,
  },
  {
    table: 'named_circuits',
    takes: ['entries', 'events'],
    text: 'delete from named_circuits where source_id = any($1::uuid[]) or source_id = any($2::uuid[])',
  },
  {
    table: 'pending_decisions',
    takes: ['workspace', 'entries'],
    text: `update pending_decisions set reason = null, new_identifiers = null, new_enriched_data = null
           where workspace_id = $1 and entry_id = any($2::uuid[])`,
  },
  {
    table: 'entry_divisions',
    takes: ['entries'],
    text: 'delete from entry_divisions where entry_id = any($1::uuid[])',
  },
  {
    table: 'conflicts',
    takes: ['entries'],
    text: `update conflicts set contradictions = null, reason = null
           where status <> 'open' and conflict_id in (select conflict_id from conflict_entries where entry_id = any($1::uuid[]))`,
  },
  {
    table: 'remembered_decisions',
    takes: ['workspace', 'items'],
    text: 'delete from remembered_decisions where workspace_id = $1 and item_number = any($2::int8[])',
  },
  {
    table: 'item_merges',
    takes: ['items'],
    // Claims that nobody has any more are nobody's to get back.
    text: `update item_merges set reason = null, overrides = null, moved_claims = coalesce((
             select json_agg(claim) from json_array_elements(moved_claims) as claim
             where exists (select from identifier_claims as claims where claims.identifier_type = claim ->> 0 and claims.value = claim ->> 1)
           ), '[]'::json)
           where survivor = any($1::int8[]) or loser = any($1::int8[])`,
  },
  {
    table: 'item_relationships',
    takes: ['workspace', 'items'],
    text: `delete from item_relationships
           where workspace_id = $1 and (primary_item = any($2::int8[]) or related_item = any($2::int8[]))`,
  },
  {
    table: 'item_separations',
    takes: ['workspace', 'items'],
    text: `update item_separations set reason = null
           where workspace_id = $1 and (lower_item = any($2::int8[]) or higher_item = any($2::int8[]))`,
  },
  ...['item_suggestions', 'suggestion_dismissals'].map((table): Step => ({
    table,
    takes: ['workspace', 'items'],
    text: `delete from ${table} where workspace_id = $1 and (lower_item = any($2::int8[]) or higher_item = any($2::int8[]))`,
  })),
  ...['suggestion_keys', 'suggestion_profiles'].map((table): Step => ({
    table,
    takes: ['workspace', 'items'],
    text: `delete from ${table} where workspace_id = $1 and item_number = any($2::int8[])`,
  })),
  {
    table: 'local_item_identifiers',
    takes: ['workspace', 'locals'],
    text: 'delete from local_item_identifiers where workspace_id = $1 and local_id = any($2::uuid[])',
  },
  {
    table: 'local_items',
    takes: ['workspace', 'locals'],
    text: `update local_items set content = '{}', content_bytes = 2, content_hash = '\\x00', folded = null, folded_bytes = null
           where workspace_id = $1 and local_id = any($2::uuid[])`,
  },
];

/** The tables that the steps name, and those that are told anew from the entries. */
export const erasedTables: ReadonlySet<string> = new Set([
  ...steps.map(({ table }) => table),
  'entries',
  'receipt_bodies',
  'merkle_trees',
  'merkle_verifications',
  'snapshots',
  'snapshot_comparisons',
  'snapshot_restorations',
  'contributions',
  'identifier_claims',
  'workspace_claims',
  'identifier_mentions',
  'contested_claims',
]);

/** Carries the steps out, in the caller's transaction; says what was done to each table. */
export async function eraseTables(queryable: Queryable, target: ErasureTarget): Promise<ErasedTable[]> {
  const parts = {
    workspace: [target.workspaceId],
    entries: [uuidArray(target.entryIds)],
    events: [uuidArray(target.eventIds)],
    items: [int8Array(target.itemNumbers)],
    versions: [
      int8Array(target.versions.map(({ itemNumber }) => itemNumber)),
      int4Array(target.versions.map(({ version }) => version)),
    ],
    locals: [uuidArray(target.localIds)],
  };
  // Nobody makes a message of an event while it is erased.
  await queryable.query('select from webhook_lane for update');
  const counts = new Map<string, number>();
  for (const { table, takes, text } of steps) {
    const { rowCount } = await queryable.query(
      text,
      takes.flatMap((part): unknown[] => parts[part]),
    );
    counts.set(table, (counts.get(table) ?? 0) + (rowCount ?? 0));
  }
  return [...counts].map(([table, rows]) => ({ table, rows }));
}

const bodyPartBytes = 1_048_576;
const blank = 0x20;

/** Blanks what entries were cut from in the bodies of their receipts, as far as these are kept; gives how many parts were. */
export async function eraseBodies(queryable: Queryable, entryIds: readonly string[]): Promise<number> {
  const { rows: parts } = await queryable.query<{ receipt_id: string; part: number; begins: number[]; ends: number[] }>(
    `select bodies.receipt_id, bodies.part, array_agg(byte_start) as begins, array_agg(byte_start + byte_length) as ends
     from entries
     join receipts on receipts.received_sequence = entries.received_sequence and receipts.workspace_id = entries.workspace_id
     join receipt_bodies as bodies
       on bodies.receipt_id = receipts.receipt_id and byte_start < (part + 1) * ${bodyPartBytes} and byte_start + byte_length > part * ${bodyPartBytes}
     where entry_id = any($1::uuid[])
     group by bodies.receipt_id, bodies.part`,
    [uuidArray(entryIds)],
  );
  for (const { receipt_id: receiptId, part, begins, ends } of parts) {
    const { rows } = await queryable.query<{ bytes: Buffer }>(
      'select bytes from receipt_bodies where receipt_id = $1 and part = $2',
      [receiptId, part],
    );
    const bytes = Buffer.from(rows[0]!.bytes);
    const offset = part * bodyPartBytes;
    begins.forEach((begin, at) => bytes.fill(blank, Math.max(begin - offset, 0), Math.max(ends[at]! - offset, 0)));
    await queryable.query('update receipt_bodies set bytes = $3 where receipt_id = $1 and part = $2', [
      receiptId,
      part,
      bytes,
    ]);
  }
  return parts.length;
}

/** An entry of a workspace, as it is stored. */
export interface StoredEntryRow {
  entry_id: string;
  item_number: number | null;
  record: StoredRecord | null;
  withdrawn_at: Date | null;
}

/** All entries that a workspace sent for items, those that waited for a decision about them too. */
export async function findEntriesOfItems(
  queryable: Queryable,
  workspaceId: string,
  itemNumbers: readonly number[],
): Promise<StoredEntryRow[]> {
  const { rows } = await queryable.query<StoredEntryRow>(
    `select entry_id, item_number, record, withdrawn_at from entries
     where workspace_id = $1 and (
       item_number = any($2::int8[]) or entry_id in (
         select entry_id from conflict_entries join conflicts using (conflict_id)
         where item_numbers && $2::int8[]
            or conflict_id in (select conflict_id from contested_items where item_number = any($2::int8[]))))
     order by entry_id`,
    [workspaceId, int8Array(itemNumbers)],
  );
  return rows;
}

/**
 * Rewrites what contributions of a workspace hold. Those of items that became part of others stay as they were then, so they
 * are not told anew with the entries.
 * @param which of items, or those that match a regular expression.
 */
export async function rewriteContributions(
  queryable: Queryable,
  workspaceId: string,
  which: { readonly itemNumbers: readonly number[] } | { readonly pattern: string },
  rewrite: (state: StoredContributionState) => StoredContributionState,
): Promise<number> {
  const { rows } = await queryable.query<{ item_number: number; state: StoredContributionState }>(
    `select item_number, state from contributions where workspace_id = $1 and
       ${'pattern' in which ? `${plain('state')} ~* $2` : 'item_number = any($2::int8[])'}`,
    [workspaceId, 'pattern' in which ? which.pattern : int8Array(which.itemNumbers)],
  );
  await queryable.query(
    `update contributions set state = rewritten.state::json${'pattern' in which ? '' : ', canonical_claims = null, life = null'}
     from unnest($2::int8[], $3::text[]) as rewritten (item_number, state)
     where contributions.workspace_id = $1 and contributions.item_number = rewritten.item_number`,
    [
      workspaceId,
      int8Array(rows.map((row) => row.item_number)),
      textArray(rows.map((row) => JSON.stringify(rewrite(row.state)))),
    ],
  );
  return rows.length;
}

/** Takes away what trees of a workspace say of themselves where it matches; hashes of leaves tell nothing by themselves. */
export async function eraseTreeMetadata(queryable: Queryable, workspaceId: string, pattern: string): Promise<number> {
  const { rowCount } = await queryable.query(
    `update merkle_trees set metadata = null where workspace_id = $1 and ${plain('metadata')} ~* $2`,
    [workspaceId, pattern],
  );
  return rowCount ?? 0;
}

/** Deletes the trees that a workspace made about items. */
export async function deleteTreesOfItems(
  queryable: Queryable,
  workspaceId: string,
  itemIds: readonly string[],
): Promise<number> {
  const { rowCount } = await queryable.query(
    `with deleted as (delete from merkle_trees where workspace_id = $1 and resource_id = any($2::uuid[]) returning tree_id),
          forgotten as (delete from merkle_verifications using deleted where merkle_verifications.tree_id = deleted.tree_id)
     select tree_id from deleted`,
    [workspaceId, uuidArray(itemIds)],
  );
  return rowCount ?? 0;
}

/** The snapshots that a workspace keeps of items. */
export async function findSnapshotsOfItems(
  queryable: Queryable,
  workspaceId: string,
  itemNumbers: readonly number[],
): Promise<string[]> {
  const { rows } = await queryable.query<{ snapshot_id: string }>(
    'select snapshot_id from snapshots where workspace_id = $1 and item_number = any($2::int8[])',
    [workspaceId, int8Array(itemNumbers)],
  );
  return rows.map((row) => row.snapshot_id);
}

/** The snapshots of a workspace of which anything matches, also what was said when they were restored. */
export async function findMatchingSnapshots(
  queryable: Queryable,
  workspaceId: string,
  pattern: string,
): Promise<string[]> {
  const texts = ['snapshot_data', 'metadata', 'snapshot_name', 'description'];
  const { rows } = await queryable.query<{ snapshot_id: string }>(
    `select snapshot_id from snapshots where workspace_id = $1 and (${texts.map((text) => `${plain(text)} ~* $2`).join(' or ')})
     union
     select snapshot_id from snapshot_restorations where workspace_id = $1 and ${plain('restore_metadata')} ~* $2`,
    [workspaceId, pattern],
  );
  return rows.map((row) => row.snapshot_id);
}

/** Deletes snapshots with all that was made from them, and the answers that told of it; gives how many there were. */
export async function eraseSnapshots(
  queryable: Queryable,
  workspaceId: string,
  snapshotIds: readonly string[],
): Promise<number> {
  await queryable.query(
    `delete from idempotency_keys where workspace_id = $1 and answer -> 'body' ->> 'id' in (
       select unnest($2::uuid[])::text
       union all
       select comparison_id::text from snapshot_comparisons where snapshot_a_id = any($2::uuid[]) or snapshot_b_id = any($2::uuid[])
       union all
       select restoration_id::text from snapshot_restorations where snapshot_id = any($2::uuid[]))`,
    [workspaceId, uuidArray(snapshotIds)],
  );
  return deleteSnapshots(queryable, workspaceId, snapshotIds);
}

/** Whether entries wait in open cases: those have to be decided first. */
export async function countWaiting(queryable: Queryable, entryIds: readonly string[]): Promise<number> {
  const { rows } = await queryable.query<{ waiting: number }>(
    `select count(*) as waiting from conflict_entries join conflicts using (conflict_id)
     where entry_id = any($1::uuid[]) and status = 'open'`,
    [uuidArray(entryIds)],
  );
  return rows[0]!.waiting;
}

/** Puts records in the place of what entries hold. */
export async function rewriteEntries(
  queryable: Queryable,
  entries: readonly { readonly entryId: string; readonly record: StoredRecord }[],
): Promise<void> {
  await queryable.query(
    `update entries set record = rewritten.record::json, error = null, withdrawal_reason = null
     from unnest($1::uuid[], $2::text[]) as rewritten (entry_id, record) where entries.entry_id = rewritten.entry_id`,
    [uuidArray(entries.map(({ entryId }) => entryId)), textArray(entries.map(({ record }) => JSON.stringify(record)))],
  );
}

/** The events, versions and local items of a workspace that are about items. */
export async function findRestOfItems(
  queryable: Queryable,
  workspaceId: string,
  itemNumbers: readonly number[],
): Promise<Pick<ErasureTarget, 'eventIds' | 'versions' | 'localIds'>> {
  const values = [workspaceId, int8Array(itemNumbers)];
  const events = await queryable.query<{ event_id: string }>(
    'select event_id from events where workspace_id = $1 and item_number = any($2::int8[])',
    values,
  );
  const versions = await queryable.query<{ itemNumber: number; version: number }>(
    `select item_number as "itemNumber", version from item_versions where workspace_id = $1 and item_number = any($2::int8[])`,
    values,
  );
  const locals = await queryable.query<{ local_id: string }>(
    'select local_id from local_items where workspace_id = $1 and item_number = any($2::int8[])',
    values,
  );
  return {
    eventIds: events.rows.map((row) => row.event_id),
    versions: versions.rows,
    localIds: locals.rows.map((row) => row.local_id),
  };
}

/** Texts with digits of other scripts as ASCII ones. */
const plain = (expression: string) => `translate(${expression}::text, '０１２３４５６７８９', '0123456789')`;

/**
 * What of a workspace holds a text that matches a regular expression. Reads all that the workspace ever sent.
 */
export async function findMatching(
  queryable: Queryable,
  workspaceId: string,
  pattern: string,
): Promise<Pick<ErasureTarget, 'eventIds' | 'versions' | 'localIds'> & { entries: StoredEntryRow[] }> {
  const values = [workspaceId, pattern];
  const entries = await queryable.query<StoredEntryRow>(
    `select entry_id, item_number, record, withdrawn_at from entries
     where workspace_id = $1 and record is not null and ${plain('record')} ~* $2 order by entry_id`,
    values,
  );
  const events = await queryable.query<{ event_id: string }>(
    `select event_id from events where workspace_id = $1 and ${plain('payload')} ~* $2`,
    values,
  );
  const versions = await queryable.query<{ itemNumber: number; version: number }>(
    `select item_number as "itemNumber", version from item_versions where workspace_id = $1 and ${plain('content')} ~* $2`,
    values,
  );
  const locals = await queryable.query<{ local_id: string }>(
    `select local_id from local_items where workspace_id = $1 and (${plain('content')} ~* $2 or ${plain('folded')} ~* $2)`,
    values,
  );
  return {
    entries: entries.rows,
    eventIds: events.rows.map((row) => row.event_id),
    versions: versions.rows,
    localIds: locals.rows.map((row) => row.local_id),
  };
}

/** The batches that hold contents of versions of items. */
export async function findBatchesOfVersions(
  queryable: Queryable,
  { workspaceId, versions }: ErasureTarget,
): Promise<string[]> {
  const { rows } = await queryable.query<{ batch_id: string }>(
    `select distinct batch_id from storage_contents join ${versionsOf} using (item_number, version)
     join storage_history using (content_id) where workspace_id = $1 and batch_id is not null`,
    [
      workspaceId,
      int8Array(versions.map(({ itemNumber }) => itemNumber)),
      int4Array(versions.map(({ version }) => version)),
    ],
  );
  return rows.map((row) => row.batch_id);
}
