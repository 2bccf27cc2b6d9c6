import {
  refuse,
  type Judgement,
  type Placed,
  type SubmittedEvent,
  type SubmittedIdentifier,
  type SubmittedRecord,
} from './submitted-record.ts';

/** The type of the event that tells that one identifier of an item took the place of another, as after a lost ear tag. */
export const identifierReplaced = 'identifier_replaced';

/** Identifiers that a record names in an event, as they were sent. */
export interface SentReplacement {
  readonly old: SubmittedIdentifier;
  readonly new: SubmittedIdentifier;
  /** When the old one ended, as far as the event says it. */
  readonly at: Placed<unknown> | undefined;
}

type JsonObject = Readonly<Record<string, unknown>>;

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Reads what the events of a record replace; what the values mean is judged like that of other identifiers. */
export function readReplacements({ events }: SubmittedRecord): Judgement<SentReplacement[]> {
  const replacements: SentReplacement[] = [];
  for (const event of events) {
    if (event.eventType !== identifierReplaced) continue;
    const replacement = readReplacement(event);
    if (!replacement.ok) return replacement;
    replacements.push(replacement.value);
  }
  return { ok: true, value: replacements };
}

function readReplacement({ pointer, payload, occurredAt }: SubmittedEvent): Judgement<SentReplacement> {
  const at = `${pointer}/payload`;
  if (!isObject(payload))
    return refuse('invalid_member', at, 'the payload of identifier_replaced is {old, new, reason?, at?}');
  const old = readIdentifier(payload['old'], `${at}/old`);
  if (!old.ok) return old;
  const next = readIdentifier(payload['new'], `${at}/new`);
  if (!next.ok) return next;
  const { reason, at: endedAt } = payload;
  if (reason != null && typeof reason !== 'string')
    return refuse('invalid_member', `${at}/reason`, 'a reason is a string');
  const eventTime = occurredAt === undefined ? undefined : { value: occurredAt, pointer: `${pointer}/occurred_at` };
  const time = endedAt == null ? eventTime : { value: endedAt, pointer: `${at}/at` };
  return { ok: true, value: { old: old.value, new: next.value, at: time } };
}

function readIdentifier(value: unknown, pointer: string): Judgement<SubmittedIdentifier> {
  const typeName = isObject(value) ? (value['identifier_type'] ?? value['key']) : undefined;
  if (!isObject(value) || typeof typeName !== 'string' || typeName.trim() === '')
    return refuse('invalid_member', pointer, 'an identifier is {identifier_type, value}');
  if (typeof value['value'] !== 'string')
    return refuse('invalid_member', `${pointer}/value`, 'the value of an identifier is a string');
  return { ok: true, value: { typeName, value: value['value'], pointer: `${pointer}/value` } };
}
