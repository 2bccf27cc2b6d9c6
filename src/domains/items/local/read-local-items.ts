import { hash } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import { makeId } from '#platform/ids.ts';
import { canonicalJson } from '#platform/json/canonical.ts';
import { parseInteroperableJson } from '#platform/json/interoperable-json.ts';
import { Problem } from '#platform/errors.ts';
import { completedRecordJson } from '../stored-record.ts';
import { judgeRecord, type JudgedRecord, type JudgingContext } from '../judge-record.ts';
import { readJsonRecord, refuse, type Judgement, type SubmittedRecord } from '../submitted-record.ts';
import { findItemsArray } from './items-array.ts';
import { parseLocalId } from './local-id.ts';

/** What one request may bring. */
export const batchItemsMax = 1000;
const itemBytesMax = 1_048_576;
/** Items that are judged without letting anything else run. */
const judgedAtOnce = 64;

/** A local item that was sent, checked and in its normal form. */
export interface CollectedItem {
  readonly localId: string;
  readonly record: JudgedRecord;
  /** The JSON of `LocalContent`. */
  readonly content: string;
  readonly contentBytes: number;
  /** SHA-256 of what was sent, the same however its members were ordered or their aliases chosen. */
  readonly contentHash: Buffer;
}

/** An item of a batch: read, or refused together with the local id it was sent under, if that could be read. */
export type CollectedOrRefused = Judgement<CollectedItem> & { readonly localId?: string | undefined };

/**
 * The JSON values of a request: one item, or the elements of `{items: […]}`, each read as I-JSON for itself, so that a bad
 * element costs only itself.
 * @throws Problem malformed_json, or the code of the fault that concerns the request as a whole.
 */
export function splitRequest(bytes: Buffer): { isBatch: boolean; values: Judgement<unknown>[] } {
  const parsed = parseInteroperableJson(bytes, 0, bytes.length);
  if (parsed.ok) {
    if (!isBatch(parsed.value)) return { isBatch: false, values: [parsed] };
    checkBatch(parsed.value);
    return { isBatch: true, values: parsed.value['items'].map((value) => ({ ok: true, value })) };
  }
  const { code, detail, pointer } = parsed.fault;
  if (code === 'invalid_json' || code === 'invalid_utf8')
    throw new Problem('malformed_json', detail, { errors: [{ pointer, code, detail }] });
  const array = findItemsArray(bytes);
  if (!array) return { isBatch: false, values: [parsed] };
  const rest = Buffer.concat([bytes.subarray(0, array.start), Buffer.from('[]'), bytes.subarray(array.end)]);
  const envelope = parseInteroperableJson(rest, 0, rest.length);
  if (!envelope.ok) return { isBatch: false, values: [envelope] };
  checkBatch({ ...(envelope.value as object), items: array.elements });
  return { isBatch: true, values: array.elements.map(([start, end]) => parseInteroperableJson(bytes, start, end)) };
}

function isBatch(value: unknown): value is { items: unknown[] } {
  return typeof value === 'object' && value !== null && 'items' in value && Array.isArray(value.items);
}

function checkBatch(value: { items: readonly unknown[] }): void {
  const unknown = Object.keys(value).find((name) => name !== 'items');
  if (unknown !== undefined) throw refusal('unknown_member', `/${unknown}`, 'a batch has the member items only');
  if (value.items.length > batchItemsMax)
    throw refusal('too_many_members', '/items', `a batch has at most ${batchItemsMax} items`);
}

function refusal(code: 'unknown_member' | 'too_many_members', pointer: string, detail: string): Problem {
  return new Problem(code, detail, { errors: [{ pointer, code, detail }] });
}

/** Judges each value as a local item. Pauses now and then, so that other requests go on meanwhile. */
export async function judgeLocalItems(
  values: readonly Judgement<unknown>[],
  context: JudgingContext,
): Promise<CollectedOrRefused[]> {
  const judged: CollectedOrRefused[] = [];
  for (const [at, value] of values.entries()) {
    if (at > 0 && at % judgedAtOnce === 0) await setImmediate();
    judged.push(value.ok ? judgeLocalItem(value.value, context) : value);
  }
  return judged;
}

function judgeLocalItem(value: unknown, context: JudgingContext): CollectedOrRefused {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return refuse('not_an_object', '', 'a local item is a JSON object');
  const { local_id: sentId, ...rest } = value as Record<string, unknown>;
  const localId = sentId == null ? makeId() : typeof sentId === 'string' ? parseLocalId(sentId) : undefined;
  if (localId === undefined) return refuse('invalid_member', '/local_id', 'a local id is a UUID');
  return { ...judgeContent(localId, rest, context), localId: sentId == null ? undefined : localId };
}

function judgeContent(
  localId: string,
  value: Readonly<Record<string, unknown>>,
  context: JudgingContext,
): Judgement<CollectedItem> {
  for (const name of ['events', 'circuit_id']) {
    if (value[name] != null) return refuse('unknown_member', `/${name}`, `a local item has no ${name}`);
  }
  const submitted = readJsonRecord(value);
  if (!submitted.ok) return submitted;
  const judged = judgeRecord(submitted.value, { ...context, mayLackIdentity: true });
  if (!judged.ok) return judged;
  const record = judged.value;
  if (record.identifiers.length + record.fields.length === 0)
    return refuse('empty_record', '', 'a local item has at least one identifier or one field');
  const content = completedRecordJson({ ...record, claims: [] }, []);
  const contentBytes = Buffer.byteLength(content);
  if (contentBytes > itemBytesMax)
    return refuse('record_too_large', '', `a local item has at most ${itemBytesMax} bytes`);
  return { ok: true, value: { localId, record, content, contentBytes, contentHash: hashOf(submitted.value) } };
}

function hashOf({ identifiers, valueChain, country, year, occurredAt, fields }: SubmittedRecord): Buffer {
  const sent = [
    identifiers.map(({ typeName, value }) => [typeName, value]),
    ...[valueChain, country, year, occurredAt].map((member) => member?.value ?? null),
    Object.fromEntries(fields),
  ];
  return hash('sha256', canonicalJson(sent), 'buffer');
}
