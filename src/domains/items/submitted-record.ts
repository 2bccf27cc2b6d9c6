import { jsonPointer } from '#platform/json/pointer.ts';
import type { ProblemCode } from '#platform/errors.ts';

/** Why one record is refused. `pointer` is an RFC 6901 pointer into the record. */
export interface RecordFault {
  readonly code: ProblemCode;
  readonly detail: string;
  readonly pointer: string;
}

/** A value together with the place it came from, so that a fault can point there. */
export interface Placed<Value> {
  readonly value: Value;
  readonly pointer: string;
}

export interface SubmittedIdentifier {
  readonly typeName: string;
  readonly value: string;
  readonly pointer: string;
}

export interface SubmittedEvent {
  readonly pointer: string;
  readonly eventType: unknown;
  readonly occurredAt: unknown;
  readonly payload: unknown;
  readonly visibility: unknown;
  readonly eventKey: unknown;
}

/** A record as its sender wrote it, whatever the format was: shapes are checked, values are not yet. */
export interface SubmittedRecord {
  readonly identifiers: readonly SubmittedIdentifier[];
  readonly valueChain?: Placed<unknown> | undefined;
  readonly country?: Placed<unknown> | undefined;
  readonly year?: Placed<unknown> | undefined;
  readonly occurredAt?: Placed<unknown> | undefined;
  readonly circuitId?: Placed<unknown> | undefined;
  readonly fields: readonly (readonly [name: string, value: unknown])[];
  /** The member that holds the fields in a JSON record; undefined for formats without one. */
  readonly fieldsMember?: 'metadata' | 'enriched_data';
  readonly events: readonly SubmittedEvent[];
}

/** Either what was wanted or the fault that prevents it. */
export type Judgement<Value> = { ok: true; value: Value } | { ok: false; fault: RecordFault };

/** A refusal. */
export function refuse(code: ProblemCode, pointer: string, detail: string): { ok: false; fault: RecordFault } {
  return { ok: false, fault: { code, detail, pointer } };
}

type JsonObject = Readonly<Record<string, unknown>>;

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const recordMembers = new Set([
  'identifiers',
  'value_chain',
  'country',
  'year',
  'occurred_at',
  'metadata',
  'enriched_data',
  'events',
  'circuit_id',
]);
// `is_canonical`, `id_type`, `verified` and the like are accepted and ignored: the table of types decides.
const identifierMembers = new Set([
  'identifier_type',
  'namespace',
  'key',
  'value',
  'is_canonical',
  'id_type',
  'type_metadata',
]);
const eventMembers = new Set(['event_type', 'occurred_at', 'payload', 'visibility', 'event_key']);

/** Reads a record in its JSON form. The value must come from `parseInteroperableJson`. */
export function readJsonRecord(value: unknown): Judgement<SubmittedRecord> {
  if (!isObject(value)) return refuse('not_an_object', '', 'a record is a JSON object');
  const unknown = findUnknownMember(value, recordMembers, '');
  if (unknown) return unknown;
  if (value['metadata'] != null && value['enriched_data'] != null) {
    return refuse(
      'invalid_member',
      '/enriched_data',
      'metadata and enriched_data are two names for one member; send one of them',
    );
  }
  const identifiers = readIdentifiers(value['identifiers']);
  if (!identifiers.ok) return identifiers;
  const fields = readFields(value);
  if (!fields.ok) return fields;
  const events = readEvents(value['events']);
  if (!events.ok) return events;
  const placed = (name: string) => (value[name] == null ? undefined : { value: value[name], pointer: `/${name}` });
  return {
    ok: true,
    value: {
      identifiers: identifiers.value,
      valueChain: placed('value_chain'),
      country: placed('country'),
      year: placed('year'),
      occurredAt: placed('occurred_at'),
      circuitId: placed('circuit_id'),
      fields: fields.value,
      fieldsMember: fieldsMemberOf(value),
      events: events.value,
    },
  };
}

function fieldsMemberOf(record: JsonObject): 'metadata' | 'enriched_data' {
  return record['metadata'] == null && record['enriched_data'] != null ? 'enriched_data' : 'metadata';
}

/** What one record may name; more makes one transaction, and one worker, too large. */
const membersMax = 1000;

function tooMany(pointer: string, what: string) {
  return refuse('too_many_members', pointer, `a record has at most ${membersMax} ${what}`);
}

function findUnknownMember(value: JsonObject, known: ReadonlySet<string>, pointer: string) {
  for (const name in value) {
    if (!known.has(name)) {
      return refuse('unknown_member', `${pointer}${jsonPointer(name)}`, `known members are ${[...known].join(', ')}`);
    }
  }
  return undefined;
}

function readIdentifiers(value: unknown): Judgement<SubmittedIdentifier[]> {
  if (value == null) return { ok: true, value: [] };
  if (!Array.isArray(value)) return refuse('invalid_member', '/identifiers', 'identifiers is an array');
  const identifiers: SubmittedIdentifier[] = [];
  const elements = value as unknown[];
  if (elements.length > membersMax) return tooMany('/identifiers', 'identifiers');
  for (let index = 0; index < elements.length; index += 1) {
    const element = elements[index];
    const pointer = `/identifiers/${index}`;
    if (!isObject(element)) return refuse('invalid_member', pointer, 'an identifier is an object');
    const unknown = findUnknownMember(element, identifierMembers, pointer);
    if (unknown) return unknown;
    const typeMember = element['identifier_type'] === undefined ? 'key' : 'identifier_type';
    const typeName = element[typeMember];
    if (typeof typeName !== 'string' || typeName.trim() === '') {
      return refuse(
        'invalid_member',
        `${pointer}/${typeMember}`,
        'an identifier names its type in identifier_type, or in key beside a namespace',
      );
    }
    const text = element['value'];
    if (typeof text !== 'string')
      return refuse('invalid_member', `${pointer}/value`, 'the value of an identifier is a string');
    identifiers.push({ typeName, value: text, pointer: `${pointer}/value` });
  }
  return { ok: true, value: identifiers };
}

function readFields(value: JsonObject): Judgement<[string, unknown][]> {
  const member = fieldsMemberOf(value);
  const fields = value[member];
  if (fields == null) return { ok: true, value: [] };
  if (!isObject(fields)) return refuse('invalid_member', `/${member}`, `${member} is an object`);
  const entries = Object.entries(fields);
  return entries.length > membersMax ? tooMany(`/${member}`, 'fields') : { ok: true, value: entries };
}

function readEvents(value: unknown): Judgement<SubmittedEvent[]> {
  if (value == null) return { ok: true, value: [] };
  if (!Array.isArray(value)) return refuse('invalid_member', '/events', 'events is an array');
  if (value.length > membersMax) return tooMany('/events', 'events');
  const events: SubmittedEvent[] = [];
  for (const [index, element] of (value as unknown[]).entries()) {
    const pointer = `/events/${index}`;
    if (!isObject(element)) return refuse('invalid_member', pointer, 'an event is an object');
    const unknown = findUnknownMember(element, eventMembers, pointer);
    if (unknown) return unknown;
    events.push({
      pointer,
      eventType: element['event_type'],
      occurredAt: element['occurred_at'] ?? undefined,
      payload: element['payload'],
      visibility: element['visibility'] ?? undefined,
      eventKey: element['event_key'] ?? undefined,
    });
  }
  return { ok: true, value: events };
}
