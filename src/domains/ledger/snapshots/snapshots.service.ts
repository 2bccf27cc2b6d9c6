import type pg from 'pg';
import type { z } from 'zod';
import { editItem, holdItemState, itemIdOf, readEditedFields, type HeldItemState } from '#domains/items/index.ts';
import type { RecordSubmitter } from '#domains/reception/index.ts';
import { blake3Hex } from '#platform/blake3.ts';
import { withTransaction, type Database, type Queryable } from '#platform/database.ts';
import { invalidRequestAt, Problem } from '#platform/errors.ts';
import { keepIdempotencyKey, type IdempotencyClaim, type KeptAnswer } from '#platform/idempotency.store.ts';
import { isUuid, makeId } from '#platform/ids.ts';
import { canonicalJson } from '#platform/json/canonical.ts';
import { parseJson } from '#platform/json/parse-json.ts';
import { decodeCursor } from '#platform/page.ts';
import type { Principal } from '#platform/route.ts';
import { findMemberTrees } from '../item-trees/item-trees.store.ts';
import { compareJson } from './compare-snapshots.ts';
import type {
  createComparisonBody,
  createRestorationBody,
  createRetentionPolicyBody,
  createSnapshotBody,
} from './snapshots.schema.ts';
import {
  applyPolicies,
  findPolicyFor,
  hasPolicy,
  insertPolicy,
  listPolicies,
  type RetentionPolicyRow,
} from './retention.store.ts';
import {
  archiveSnapshot,
  deleteSnapshots,
  findComparison,
  findRestoration,
  findSnapshot,
  insertComparison,
  insertRestoration,
  insertSnapshot,
  listSnapshots,
  type ComparisonRow,
  type NewSnapshot,
  type RestorationRow,
  type SnapshotFilter,
  type SnapshotRow,
} from './snapshots.store.ts';

export type SnapshotsService = ReturnType<typeof makeSnapshotsService>;

interface SnapshotsOptions {
  database: Database;
  submitter: RecordSubmitter;
}

/** A request that makes a restoration: its bytes are kept as what the item was told. */
interface RestorationRequest {
  readonly principal: Principal;
  readonly requestId: string;
  readonly bodyBytes: Buffer;
  readonly idempotency: IdempotencyClaim | undefined;
  readonly body: z.output<typeof createRestorationBody>;
}

const dataBytesMax = 262_144;
const itemResource = 'item';
const appliedAtOnce = 10_000;

/** States of items, and of anything else, as they were at some time, for workspaces to compare and to go back to. */
export function makeSnapshotsService({ database: { pool, knex }, submitter }: SnapshotsOptions) {
  const find = async (queryable: Queryable, workspaceId: string, id: string): Promise<SnapshotRow> => {
    const row = isUuid(id) ? await findSnapshot(queryable, workspaceId, id) : undefined;
    if (!row) throw new Problem('not_found', 'there is no snapshot with this id in your workspace');
    return row;
  };

  return {
    async create(
      principal: Principal,
      body: z.output<typeof createSnapshotBody>,
      idempotency: IdempotencyClaim | undefined,
    ): Promise<KeptAnswer> {
      const { workspaceId } = principal;
      const snapshotId = makeId();
      return withTransaction(pool, async (client) => {
        const resource = await readResource(client, workspaceId, body);
        await insertSnapshot(client, {
          ...newSnapshot(principal, snapshotId, resource.data),
          snapshot_type: body.snapshot_type,
          resource_type: resource.itemNumber === null ? body.resource_type : itemResource,
          resource_id: resource.id,
          item_number: resource.itemNumber,
          circuit_id: body.circuit_id ?? null,
          snapshot_name: body.snapshot_name,
          description: body.description ?? null,
          metadata: body.metadata ?? null,
          expires_at: body.expires_at ?? null,
        });
        const snapshot = showSnapshot((await findSnapshot(client, workspaceId, snapshotId))!);
        return keepAnswer(client, idempotency, snapshot, `/api/snapshots/${snapshotId}`);
      });
    },

    async list(filter: SnapshotFilter, page: { limit: number; offset: number; cursor?: string | undefined }) {
      const found = await listSnapshots(knex, filter, { ...page, after: decodeCursor(page.cursor, 'uuid') });
      const last = found.rows.at(-1);
      return {
        rows: found.rows.map(showSnapshot),
        total: found.total,
        nextPosition: found.rows.length === page.limit && last ? last.snapshot_id : undefined,
      };
    },

    get: async (workspaceId: string, id: string) => showSnapshot(await find(pool, workspaceId, id)),

    async archive(workspaceId: string, id: string) {
      const { snapshot_id: snapshotId } = await find(pool, workspaceId, id);
      await archiveSnapshot(pool, workspaceId, snapshotId);
      return showSnapshot(await find(pool, workspaceId, snapshotId));
    },

    async remove(workspaceId: string, id: string): Promise<void> {
      const { snapshot_id: snapshotId } = await find(pool, workspaceId, id);
      await deleteSnapshots(pool, workspaceId, [snapshotId]);
    },

    /** Compares two snapshots of one thing. @throws Problem not_found, invalid_request */
    async compare(
      workspaceId: string,
      id: string,
      body: z.output<typeof createComparisonBody>,
      idempotency: IdempotencyClaim | undefined,
    ): Promise<KeptAnswer> {
      const a = await find(pool, workspaceId, id);
      const b = await find(pool, workspaceId, body.snapshot_b_id);
      if (a.resource_type !== b.resource_type || a.resource_id !== b.resource_id || a.circuit_id !== b.circuit_id)
        throw invalidRequestAt('/snapshot_b_id', 'the snapshots are of two different things');
      const [before, after] = body.comparison_type === 'backward' ? [b, a] : [a, b];
      const found = compareJson(parseJson(before.snapshot_data), parseJson(after.snapshot_data));
      const differences =
        body.comparison_type === 'merge_conflict' ? { added: [], removed: [], modified: found.modified } : found;
      const row = {
        comparison_id: makeId(),
        workspaceId,
        snapshot_a_id: a.snapshot_id,
        snapshot_b_id: b.snapshot_id,
        comparison_type: body.comparison_type,
        diff_data: differences,
        summary: {
          added: differences.added.length,
          removed: differences.removed.length,
          modified: differences.modified.length,
          checksums_match: [a, b].every(isUndamaged),
        },
      };
      return withTransaction(pool, async (client) => {
        await insertComparison(client, row);
        const comparison = showComparison((await findComparison(client, workspaceId, row.comparison_id))!);
        return keepAnswer(client, idempotency, comparison, `/api/snapshots/comparisons/${row.comparison_id}`);
      });
    },

    async comparison(workspaceId: string, id: string) {
      const row = isUuid(id) ? await findComparison(pool, workspaceId, id) : undefined;
      if (!row) throw new Problem('not_found', 'there is no comparison with this id in your workspace');
      return showComparison(row);
    },

    /**
     * Makes an item what it was: an edit by hand, in one transaction with a snapshot of the item as it is before.
     * @throws Problem not_found, invalid_request, snapshot_damaged, and those of an edit.
     */
    async restore(
      id: string,
      { principal, requestId, bodyBytes, body, idempotency }: RestorationRequest,
    ): Promise<KeptAnswer> {
      const { workspaceId } = principal;
      const restorationId = makeId();
      const submission = { workspaceId, requestId, body: bodyBytes };
      let answer: KeptAnswer | undefined;
      await submitter.submit(submission, async (client, place) => {
        const snapshot = await find(client, workspaceId, id);
        const itemId = requireItem(snapshot, body.target_resource_id);
        if (!isUndamaged(snapshot))
          throw new Problem('snapshot_damaged', 'the data of the snapshot does not lead to its checksum any more');
        const change = { workspaceId, changedBy: principal.credentialId, idOrDfid: itemId, headers: {} };
        const before = await holdItemState(client, change);
        const preRestoreId = makeId();
        await insertSnapshot(client, {
          ...newSnapshot(principal, preRestoreId, await stateOf(client, workspaceId, before)),
          snapshot_type: 'pre_restore',
          resource_type: itemResource,
          resource_id: itemId,
          item_number: before.itemNumber,
          circuit_id: snapshot.circuit_id,
          snapshot_name: `Before the restoration of ${snapshot.snapshot_name}`.slice(0, 300),
          description: null,
          metadata: { snapshot_id: snapshot.snapshot_id, restoration_id: restorationId },
          expires_at: null,
        });
        const fields = fieldsToSet(metadataOf(snapshot), before.metadata, body);
        const verdict = await editItem(client, { ...change, ...place, fields, byteLength: bodyBytes.length });
        await insertRestoration(client, {
          restoration_id: restorationId,
          workspaceId,
          snapshot_id: snapshot.snapshot_id,
          pre_restore_snapshot_id: preRestoreId,
          target_resource_id: itemId,
          restoration_type: body.restoration_type,
          restore_metadata: body.restore_metadata ?? null,
          restored_by: creatorOf(principal),
        });
        const restoration = showRestoration((await findRestoration(client, workspaceId, restorationId))!);
        answer = await keepAnswer(client, idempotency, restoration);
        return verdict;
      });
      return answer!;
    },

    /** Restorations are complete when they are there, so nothing but that can be said of one. */
    async noteRestoration(workspaceId: string, id: string, status: string) {
      const row = isUuid(id) ? await findRestoration(pool, workspaceId, id) : undefined;
      if (!row) throw new Problem('not_found', 'there is no restoration with this id in your workspace');
      if (status !== 'completed')
        throw new Problem('restoration_completed', 'a restoration that is there is completed');
      return showRestoration(row);
    },

    /** @returns whether the policy is new; one that was there for the same snapshots stays as it is. */
    async createPolicy(workspaceId: string, body: z.output<typeof createRetentionPolicyBody>) {
      const key = {
        circuit_id: body.circuit_id ?? null,
        snapshot_type: body.snapshot_type,
        resource_type: body.resource_type ?? null,
      };
      const isNew = await insertPolicy(pool, {
        ...key,
        policy_id: makeId(),
        workspaceId,
        retention_days: body.retention_days,
        max_snapshots: body.max_snapshots ?? null,
        auto_archive: body.auto_archive,
        is_active: body.is_active,
      });
      return { isNew, policy: showPolicy((await findPolicyFor(pool, workspaceId, key))!) };
    },

    policies: async (workspaceId: string, circuitId: string | undefined) =>
      (await listPolicies(pool, workspaceId, circuitId ?? null)).map(showPolicy),

    /** @throws Problem not_found */
    async applyPolicy(workspaceId: string, id: string) {
      if (!isUuid(id) || !(await hasPolicy(pool, workspaceId, id)))
        throw new Problem('not_found', 'there is no retention policy with this id in your workspace');
      let affected = 0;
      for (let step = appliedAtOnce; step === appliedAtOnce; affected += step)
        step = await applyPolicies(pool, { policyId: id }, appliedAtOnce);
      return { policy_id: id.toLowerCase(), snapshots_affected: affected };
    },
  };
}

/** Keeps the answer to a request with its effect, so that the same request again gets it word for word. */
async function keepAnswer(
  client: pg.ClientBase,
  idempotency: IdempotencyClaim | undefined,
  body: object,
  location?: string,
): Promise<KeptAnswer> {
  const answer = { status: 201, ...(location === undefined ? {} : { headers: { location } }), body };
  await keepIdempotencyKey(client, idempotency, { answer });
  return answer;
}

/** What a snapshot is of, and its data: what the caller sent, or what is known of the item. */
async function readResource(
  client: pg.ClientBase,
  workspaceId: string,
  { resource_type: type, resource_id: name, snapshot_data: data }: z.output<typeof createSnapshotBody>,
): Promise<{ id: string | null; itemNumber: number | null; data: string }> {
  if (type.toLowerCase() === itemResource && name != null) {
    const item = await holdItemState(client, { workspaceId, idOrDfid: name, headers: {} });
    const state = data == null ? await stateOf(client, workspaceId, item) : writeData(data);
    return { id: itemIdOf(item.itemNumber), itemNumber: item.itemNumber, data: state };
  }
  if (name != null && !isUuid(name)) throw invalidRequestAt('/resource_id', 'this is no UUID');
  if (data === undefined) throw invalidRequestAt('/snapshot_data', 'only the state of an item is known without it');
  return { id: name?.toLowerCase() ?? null, itemNumber: null, data: writeData(data) };
}

/** What a workspace knows of an item, with the root over its events, as a snapshot keeps it. */
async function stateOf(
  queryable: Queryable,
  workspaceId: string,
  { itemNumber, dfid, version, status, identifiers, metadata }: HeldItemState,
): Promise<string> {
  const trees = await findMemberTrees(queryable, workspaceId, [itemNumber]);
  const events = trees.map((tree) => ({ merkle_root: tree.root.toString('hex'), event_count: tree.event_count }));
  return canonicalJson({ dfid, version, status, identifiers, metadata, events });
}

function writeData(data: unknown): string {
  let text: string;
  try {
    text = canonicalJson(data);
  } catch {
    throw invalidRequestAt('/snapshot_data', 'this has no canonical form (RFC 8785)');
  }
  if (Buffer.byteLength(text) <= dataBytesMax) return text;
  throw invalidRequestAt('/snapshot_data', `a snapshot has at most ${dataBytesMax} bytes of canonical JSON`);
}

function newSnapshot(
  principal: Principal,
  snapshotId: string,
  data: string,
): Pick<NewSnapshot, 'workspaceId' | 'snapshot_id' | 'snapshot_data' | 'checksum' | 'created_by'> {
  return {
    workspaceId: principal.workspaceId,
    snapshot_id: snapshotId,
    snapshot_data: data,
    checksum: Buffer.from(blake3Hex(Buffer.from(data)), 'hex'),
    created_by: creatorOf(principal),
  };
}

const creatorOf = ({ credentialId, workspaceId }: Principal) => (isUuid(credentialId) ? credentialId : workspaceId);

function isUndamaged({ snapshot_data: data, checksum }: SnapshotRow): boolean {
  return blake3Hex(Buffer.from(data)) === checksum.toString('hex');
}

/** The id of the item that a snapshot can be restored to. */
function requireItem(snapshot: SnapshotRow, target: string | null | undefined): string {
  if (snapshot.item_number === null) throw invalidRequestAt('', 'only snapshots of items can be restored');
  const itemId = itemIdOf(snapshot.item_number);
  if (target != null && target.toLowerCase() !== itemId)
    throw invalidRequestAt('/target_resource_id', 'the snapshot is of another item');
  return itemId;
}

function metadataOf({ snapshot_data: data }: SnapshotRow): Record<string, unknown> {
  const { metadata } = (parseJson(data) ?? {}) as { metadata?: unknown };
  if (typeof metadata === 'object' && metadata !== null && !Array.isArray(metadata))
    return metadata as Record<string, unknown>;
  throw invalidRequestAt('', 'the data of the snapshot has no `metadata`, which are the fields of an item');
}

/** Fields and their values that make an item what it was, as far as it is to become so. */
function fieldsToSet(
  kept: Readonly<Record<string, unknown>>,
  current: Readonly<Record<string, unknown>>,
  { restoration_type: type, restore_metadata: restored }: z.output<typeof createRestorationBody>,
) {
  const isLacking = (name: string) => !Object.hasOwn(current, name) || current[name] === null;
  const named = new Set(restored?.fields);
  if (type === 'partial' && named.size === 0)
    throw invalidRequestAt('/restore_metadata/fields', 'a partial restoration names its fields');
  const isWanted = (name: string) => (type === 'merge' ? isLacking(name) : type !== 'partial' || named.has(name));
  const later = type === 'merge' ? [] : Object.keys(current).filter((name) => !Object.hasOwn(kept, name));
  const fields = Object.fromEntries(
    [...Object.entries(kept), ...later.map((name): [string, unknown] => [name, null])].filter(([name]) =>
      isWanted(name),
    ),
  );
  const judgement = readEditedFields(fields);
  if (judgement.ok) return judgement.value;
  const { code, detail } = judgement.fault;
  throw new Problem(code, detail, { errors: [judgement.fault] });
}

function showSnapshot(row: SnapshotRow) {
  return {
    id: row.snapshot_id,
    snapshot_type: row.snapshot_type,
    resource_type: row.resource_type,
    resource_id: row.resource_id,
    circuit_id: row.circuit_id,
    snapshot_name: row.snapshot_name,
    description: row.description,
    snapshot_data: parseJson(row.snapshot_data),
    checksum: row.checksum.toString('hex'),
    metadata: row.metadata,
    created_by: row.created_by,
    created_at: row.created_at.toISOString(),
    expires_at: row.expires_at?.toISOString() ?? null,
    is_archived: row.archived_at !== null,
    archived_at: row.archived_at?.toISOString() ?? null,
  };
}

function showComparison({ comparison_id: id, created_at: createdAt, ...row }: ComparisonRow) {
  return { id, ...row, created_at: createdAt.toISOString() };
}

function showRestoration({ restoration_id: id, created_at: createdAt, ...row }: RestorationRow) {
  const at = createdAt.toISOString();
  return { id, ...row, status: 'completed', error_message: null, created_at: at, completed_at: at };
}

function showPolicy({ policy_id: id, created_at: createdAt, ...row }: RetentionPolicyRow) {
  const at = createdAt.toISOString();
  return { id, ...row, created_at: at, updated_at: at };
}
