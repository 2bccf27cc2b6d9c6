import { canonicalJson } from '#platform/json/canonical.ts';
import {
  claimKey,
  isFingerprint,
  splitClaimKey,
  type EndedIdentifier,
  type JudgedEvent,
  type JudgedIdentifier,
  type JudgedRecord,
} from './judge-record.ts';
import { unknownLife, type LifeTimes } from './record-times.ts';
import { identifierMembers, quoteName } from './stored-json.ts';
import type { ValueChain } from './value-chain.ts';

/** `[type as sent, value as sent, claim type, normal value, is canonical]` */
export type StoredRecordIdentifier = [string, string, string, string, 0 | 1];

/** The JSON of `entries.record`: what an unmerge, a correction or a provenance is made from. */
export interface StoredRecord {
  identifiers: StoredRecordIdentifier[];
  fields: Record<string, unknown>;
  /** Fingerprints of complete contextual sets, as `[claim type, value]`. */
  fingerprints?: [string, string][];
  /** Identifiers that the entry ended, as `[claim type, value, microseconds]`. */
  ended?: [string, string, number][];
  /** When the item ended and the latest occurrence that was stated, in microseconds. */
  life?: StoredLife;
  /** The case in which a person decided that the entry belongs to its item whatever it names. */
  placed?: string;
  /** Events that the entry brought when its item had them already. */
  repeated?: StoredEvent[];
  /** What an entry that waits brings beside: a complete one has it in the rows of its item and events. */
  waiting?: StoredWaiting;
}

export interface StoredWaiting {
  value_chain: ValueChain;
  country: string;
  year: number;
  events: StoredEvent[];
}

/** `[type, occurred at in microseconds, visibility, key as hex, payload]` */
type StoredEvent = [string, number | null, JudgedEvent['visibility'], string | null, unknown];

/** `LifeTimes` as JSON. */
export type StoredLife = [endedAtMicros: number | null, latestMicros: number | null];

type RecordContent = Pick<JudgedRecord, 'identifiers' | 'fields' | 'claims'> &
  Partial<Pick<JudgedRecord, 'ended' | 'life'>>;

/**
 * The record of an entry that is part of an item.
 * @param placedBy the case in which a person gave its like to the item.
 */
export function completedRecordJson(
  record: RecordContent,
  repeated: readonly JudgedEvent[],
  placedBy?: string,
): string {
  const repeatedText = repeated.length === 0 ? '' : `,"repeated":${eventsJson(repeated)}`;
  return `${openRecordJson(record)}${repeatedText}${placedBy === undefined ? '' : `,"placed":"${placedBy}"`}}`;
}

/** The record of an entry that waits for a person: with it the entry can become part of an item later. */
export function waitingRecordJson(record: JudgedRecord): string {
  const { valueChain, country, year } = record;
  const head = `"value_chain":${JSON.stringify(valueChain)},"country":${JSON.stringify(country)},"year":${year}`;
  return `${openRecordJson(record)},"waiting":{${head},"events":${eventsJson(record.events)}}}`;
}

function eventsJson(events: readonly JudgedEvent[]): string {
  const texts = events.map(({ eventType, occurredAtMicros, visibility, eventKey, payload }) => {
    const members = JSON.stringify([eventType, occurredAtMicros, visibility, eventKey?.toString('hex') ?? null]);
    return `${members.slice(0, -1)},${payload}]`;
  });
  return `[${texts.join(',')}]`;
}

/** The record of an entry that does not wait any longer. Events that others may bring again are kept in mind. */
export function finishedRecord({ waiting, ...record }: StoredRecord, placedBy: string | undefined): StoredRecord {
  const repeated = [...(record.repeated ?? []), ...(waiting?.events ?? []).filter(([, , , key]) => key !== null)];
  return {
    ...record,
    ...(placedBy === undefined ? {} : { placed: placedBy }),
    ...(repeated.length === 0 ? {} : { repeated }),
  };
}

/** A record that keeps in mind, beside those before, that the item has these events already. */
export function withRepeated(record: StoredRecord, events: readonly JudgedEvent[]): StoredRecord {
  return { ...record, repeated: [...(record.repeated ?? []), ...storedEvents(events)] };
}

function storedEvents(events: readonly JudgedEvent[]): StoredEvent[] {
  return JSON.parse(eventsJson(events)) as StoredEvent[];
}

/** The record of an entry that waits from now on. */
export function waitingRecord(
  { repeated: _repeated, placed: _placed, ...record }: StoredRecord,
  nature: Omit<StoredWaiting, 'events'>,
  events: readonly JudgedEvent[],
): StoredRecord {
  return { ...record, waiting: { ...nature, events: storedEvents(events) } };
}

function openRecordJson({ identifiers, fields, claims, ended = [], life = unknownLife }: RecordContent): string {
  let identifiersText = '';
  for (const identifier of identifiers) {
    identifiersText += `${identifiersText === '' ? '' : ','}[${identifierMembers(identifier)}]`;
  }
  let fieldsText = '';
  for (const field of fields) fieldsText += `${fieldsText === '' ? '' : ','}${quoteName(field[0])}:${field[1]}`;
  const fingerprints = claims.filter(isFingerprint);
  const fingerprintsText =
    fingerprints.length === 0 ? '' : `,"fingerprints":${JSON.stringify(fingerprints.map(splitClaimKey))}`;
  const endedText =
    ended.length === 0
      ? ''
      : `,"ended":${JSON.stringify(ended.map(({ key, endedAtMicros }) => [...splitClaimKey(key), endedAtMicros]))}`;
  const lifeText = lifeMember(life);
  return `{"identifiers":[${identifiersText}],"fields":{${fieldsText}}${fingerprintsText}${endedText}${lifeText}`;
}

/** `,"life":[…]` to put into the text of an object; nothing when nothing is known of it. */
export function lifeMember({ endedAtMicros, latestMicros }: LifeTimes): string {
  return endedAtMicros === null && latestMicros === null ? '' : `,"life":[${endedAtMicros},${latestMicros}]`;
}

/** The life that a stored object tells of. */
export function lifeOfStored({ life }: { life?: StoredLife }): LifeTimes {
  return life ? { endedAtMicros: life[0], latestMicros: life[1] } : unknownLife;
}

/** The identifiers that a stored record ended. */
export function endedOfRecord({ ended = [] }: StoredRecord): EndedIdentifier[] {
  return ended.map(([claimType, value, endedAtMicros]) => ({ key: claimKey(claimType, value), endedAtMicros }));
}

/** The identifiers of a stored record. */
export function identifiersOfRecord({ identifiers }: StoredRecord): JudgedIdentifier[] {
  return identifiers.map(([typeName, raw, claimType, value, isCanonical]) => ({
    typeName,
    raw,
    claimType,
    value,
    isCanonical: isCanonical === 1,
    pointer: '',
  }));
}

/** The keys of what identifies the item in a stored record. */
export function claimsOfRecord({ identifiers, fingerprints = [] }: StoredRecord): string[] {
  const canonical = identifiers.flatMap(([, , claimType, value, isCanonical]) =>
    isCanonical === 1 ? [claimKey(claimType, value)] : [],
  );
  return [...new Set([...canonical, ...fingerprints.map(([claimType, value]) => claimKey(claimType, value))])];
}

/** The fields of a stored record, with their values in canonical JSON. */
export function fieldsOfRecord({ fields }: StoredRecord): [name: string, value: string][] {
  return Object.entries(fields).map(([name, value]) => [name, canonicalJson(value)]);
}

/** Events as they were judged. */
export function eventsOfRecord(stored: readonly StoredEvent[] = []): JudgedEvent[] {
  return stored.map(([eventType, occurredAtMicros, visibility, eventKey, payload]) => ({
    eventType,
    occurredAtMicros,
    visibility,
    eventKey: eventKey === null ? null : Buffer.from(eventKey, 'hex'),
    payload: canonicalJson(payload),
  }));
}
