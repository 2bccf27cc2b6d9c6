import { withTransaction, type Database } from '#platform/database.ts';
import { Problem } from '#platform/errors.ts';
import { decodeCursor } from '#platform/page.ts';
import type { JudgedRecord } from '../judge-record.ts';
import type { TypeRegistry } from '../type-registry.ts';
import { parseLocalId } from './local-id.ts';
import {
  findKnownLocalItems,
  findLocalItems,
  insertLocalIdentifiers,
  insertLocalItems,
  listDecisions,
  listLocalItems,
  takeSequence,
  type KnownLocalItemRow,
  type LocalItemRow,
  type LocalItemStatus,
} from './local-items.store.ts';
import type { Decider } from './merge-groups.ts';
import { judgeLocalItems, splitRequest, type CollectedItem, type CollectedOrRefused } from './read-local-items.ts';
import { dfidOf, showDecision, showLocalItem, statusOf } from './show-local-item.ts';
import { untilUnmoved } from './until-unmoved.ts';

interface LocalItemsServiceOptions {
  database: Database;
  loadTypes(): Promise<TypeRegistry>;
  nowMs(): number;
}

/** What became of one item that was sent. */
interface Collected {
  readonly localId: string;
  readonly status: string;
  /** True when the same item had been sent before. */
  readonly wasKnown: boolean;
}

/** One page of items, as far as they fit; the next page goes on. */
const pageBytesMax = 8_388_608;
const shownDecisionsMax = 200;

export type LocalItemsService = ReturnType<typeof makeLocalItemsService>;

/** Takes in what people collected without knowing which item it is about, and shows it to their workspace. */
export function makeLocalItemsService({ database, loadTypes, nowMs }: LocalItemsServiceOptions) {
  const { pool } = database;

  /** Keeps items under local ids that are all different; nothing is changed under those that are known. */
  const keep = (decider: Decider, items: readonly CollectedItem[]) =>
    withTransaction(pool, async (client) => {
      const numbers = await takeSequence(client, items.length);
      const rows = items.map((item, at) => ({
        localId: item.localId,
        sequence: numbers[at]!,
        valueChain: item.record.valueChain,
        country: item.record.country,
        year: item.record.year,
        occurredAtMicros: item.record.occurredAtMicros,
        content: item.content,
        contentBytes: item.contentBytes,
        contentHash: item.contentHash,
      }));
      const inserted = await insertLocalItems(client, decider.workspaceId, decider.credentialId, rows);
      const kept = items.filter((item) => inserted.has(item.localId));
      await insertLocalIdentifiers(client, decider.workspaceId, kept.flatMap(identifiersOf));
      const known = items.filter((item) => !inserted.has(item.localId)).map((item) => item.localId);
      return { inserted, known: await findKnownLocalItems(client, decider.workspaceId, known) };
    });

  const collect = async (decider: Decider, judged: readonly CollectedOrRefused[]) => {
    const firsts = new Map<string, CollectedItem>();
    for (const item of judged) {
      if (item.ok && !firsts.has(item.value.localId)) firsts.set(item.value.localId, item.value);
    }
    const { inserted, known } =
      firsts.size === 0
        ? { inserted: new Set<string>(), known: new Map<string, KnownLocalItemRow>() }
        : await untilUnmoved(() => keep(decider, [...firsts.values()]));
    return judged.map((item) => {
      if (!item.ok) return { ...item.fault, localId: item.localId };
      const { localId, contentHash } = item.value;
      const isFirst = firsts.get(localId) === item.value;
      if (isFirst && inserted.has(localId)) return { localId, status: 'LocalOnly', wasKnown: false };
      const before = known.get(localId);
      if (contentHash.equals(before?.content_hash ?? firsts.get(localId)!.contentHash))
        return { localId, status: before ? statusOf(before) : 'LocalOnly', wasKnown: true };
      const detail = `another record was collected under the local id ${localId}`;
      return { code: 'local_item_differs' as const, detail, pointer: '/local_id', localId };
    });
  };

  const find = async (workspaceId: string, lid: string): Promise<LocalItemRow> => {
    const localId = parseLocalId(lid);
    const row = localId && (await findLocalItems(pool, workspaceId, [localId])).get(localId);
    if (!row) throw new Problem('not_found', 'your workspace has no local item with this id');
    return row;
  };

  return {
    /**
     * Takes one item or a batch of them from the bytes of a request.
     * @throws Problem malformed_json; for one item also the code of its fault.
     */
    async collect(decider: Decider, bytes: Buffer) {
      const { isBatch, values } = splitRequest(bytes);
      const judged = await judgeLocalItems(values, {
        workspaceId: decider.workspaceId,
        defaults: { valueChain: null, country: null, year: null },
        types: await loadTypes(),
        nowMicros: nowMs() * 1000,
      });
      const results = await collect(decider, judged);
      const hasNew = results.some((result) => 'status' in result && !result.wasKnown);
      return { hasNew, body: isBatch ? showBatch(results) : showSingle(results[0]!) };
    },

    async list(
      workspaceId: string,
      status: LocalItemStatus | undefined,
      page: { limit: number; offset: number; cursor?: string | undefined },
    ) {
      const after = decodeCursor(page.cursor, 'number');
      return listLocalItems(pool, { workspaceId, status }, { ...page, after, bytesMax: pageBytesMax });
    },

    async get(workspaceId: string, lid: string) {
      const row = await find(workspaceId, lid);
      const decisions = await listDecisions(pool, workspaceId, row.local_id, shownDecisionsMax);
      return { ...showLocalItem(row), decisions: decisions.map(showDecision) };
    },

    /** Where a local id leads to. */
    async map(workspaceId: string, lid: string) {
      const row = await find(workspaceId, lid);
      const dfid = dfidOf(row);
      return { local_id: row.local_id, ...(dfid === null ? {} : { dfid }), status: statusOf(row) };
    },
  };
}

type CollectResult =
  | Collected
  | { code: Problem['code']; detail: string; pointer: string; localId: string | undefined };

function showSingle(result: CollectResult) {
  if ('status' in result) return { success: true, data: { local_id: result.localId, status: result.status } };
  const { code, detail, pointer } = result;
  throw new Problem(code, pointer === '' ? detail : `${pointer}: ${detail}`, { errors: [{ pointer, code, detail }] });
}

function showBatch(results: readonly CollectResult[]) {
  const shown = results.map((result) => {
    if ('status' in result)
      return { success: true, local_id: result.localId, status: result.status, was_known: result.wasKnown };
    const { code, detail, pointer, localId } = result;
    return { success: false, local_id: localId ?? null, error: { code, detail, pointer } };
  });
  const succeeded = shown.filter(({ success }) => success).length;
  return { success_count: succeeded, failed_count: shown.length - succeeded, results: shown };
}

function identifiersOf({ localId, record }: { localId: string; record: JudgedRecord }) {
  return record.identifiers
    .filter(({ isCanonical }) => isCanonical)
    .map(({ claimType, value }) => ({
      identifierType: claimType,
      value,
      localId,
      valueChain: record.valueChain,
    }));
}
