import { hash, randomBytes } from 'node:crypto';
import { formatDateTimeMicros, parseDateTimeMicros } from '#platform/clock.ts';
import { isUuid } from '#platform/ids.ts';
import { canonicalJson } from '#platform/json/canonical.ts';
import {
  isReservedType,
  eventVisibilities,
  parseEventVisibility,
  type EventVisibility,
} from '#domains/events/index.ts';
import { isCountryCode } from './country.ts';
import { normaliseIdentifier } from './identifier-normalisers.ts';
import { readReplacements, type SentReplacement } from './identifier-replacement.ts';
import type { FingerprintRule } from './identifier-types.ts';
import { lifeTimesOf, type LifeTimes } from './record-times.ts';
import type { TypeRegistry } from './type-registry.ts';
import { refuse, type Judgement, type Placed, type SubmittedEvent, type SubmittedRecord } from './submitted-record.ts';
import { parseValueChain, type ValueChain } from './value-chain.ts';
import { systemEventTypes } from './item-message-types.ts';

/** What a receipt says for records that do not say it themselves. */
export interface RecordDefaults {
  readonly valueChain: ValueChain | null;
  readonly country: string | null;
  readonly year: number | null;
  /** The circuit that is named for all records. */
  readonly circuitId?: string | null;
}

export interface JudgedIdentifier {
  /** The type and value as sent. */
  readonly typeName: string;
  readonly raw: string;
  /** The type and value by which equality is judged. */
  readonly claimType: string;
  readonly value: string;
  /** Whether it identifies the item by itself, in all workspaces. */
  readonly isCanonical: boolean;
  /** Where it stands in the record; empty for identifiers read back from the database. */
  readonly pointer: string;
}

export interface JudgedEvent {
  readonly eventType: string;
  readonly occurredAtMicros: number | null;
  readonly payload: string;
  readonly visibility: EventVisibility;
  /** 32 bytes that are equal for the same event sent again; null when nothing says that two are the same. */
  readonly eventKey: Buffer | null;
}

/** A canonical identifier that is not on its item any longer, since when. */
export interface EndedIdentifier {
  readonly key: string;
  readonly endedAtMicros: number;
}

/** A record that may become part of an item: every value checked and in its normal form. */
export interface JudgedRecord {
  readonly identifiers: readonly JudgedIdentifier[];
  /** Keys (`claimKey`) of what identifies the item: canonical identifiers and fingerprints of complete contextual sets. */
  readonly claims: readonly string[];
  readonly valueChain: ValueChain;
  readonly country: string;
  readonly year: number;
  readonly occurredAtMicros: number | null;
  /** Field names with their values in canonical JSON (RFC 8785). */
  readonly fields: readonly (readonly [name: string, value: string])[];
  readonly events: readonly JudgedEvent[];
  /** Those of the claims whose validity the record ends. */
  readonly ended: readonly EndedIdentifier[];
  readonly life: LifeTimes;
  /** The circuit that the sender named for it; nobody checks that it exists. */
  readonly circuitId: string | null;
}

export interface JudgingContext {
  readonly workspaceId: string;
  readonly defaults: RecordDefaults;
  readonly types: TypeRegistry;
  readonly nowMicros: number;
  /** True for what is kept before anybody knows which item it is about: then no identifier has to identify one. */
  readonly mayLackIdentity?: boolean;
}

const fiveMinutesMicros = 300_000_000;
const firstYear = 1900;
const lastYear = 2100;
const fieldNameMax = 256;
const claimSeparator = '\u0000';

/** One text for a claim's type and value; U+0000 stands in neither. */
export function claimKey(claimType: string, value: string): string {
  return `${claimType}${claimSeparator}${value}`;
}

const fingerprintPrefix = 'fingerprint:';

/** The claim type of the fingerprints of a rule; no type of identifiers has a colon in its name. */
export function fingerprintClaimType(ruleName: string): string {
  return `${fingerprintPrefix}${ruleName}`;
}

/** The type and value that `claimKey` joined. */
export function splitClaimKey(key: string): [claimType: string, value: string] {
  const at = key.indexOf(claimSeparator);
  return [key.slice(0, at), key.slice(at + 1)];
}

/** True for the key of a complete contextual set. */
export function isFingerprint(key: string): boolean {
  return key.startsWith(fingerprintPrefix);
}

/** Checks every value of a record and brings it to its normal form, or says what is wrong and where. */
export function judgeRecord(record: SubmittedRecord, context: JudgingContext): Judgement<JudgedRecord> {
  const valueChain = judgeValueChain(record.valueChain, context);
  if (!valueChain.ok) return valueChain;
  const country = judgeCountry(record.country, context);
  if (!country.ok) return country;
  const year = judgeYear(record.year, context);
  if (!year.ok) return year;
  const occurredAt = judgeOccurredAt(record.occurredAt, context);
  if (!occurredAt.ok) return occurredAt;
  const circuitId = judgeCircuitId(record.circuitId, context);
  if (!circuitId.ok) return circuitId;
  const replacements = readReplacements(record);
  if (!replacements.ok) return replacements;
  const identifiers = judgeIdentifiers(record, replacements.value, valueChain.value, context);
  if (!identifiers.ok) return identifiers;
  const ended = judgeReplacements(replacements.value, identifiers.value, occurredAt.value, context);
  if (!ended.ok) return ended;
  const fields = judgeFields(record);
  if (!fields.ok) return fields;
  const events = judgeEvents(record.events, occurredAt.value, context);
  if (!events.ok) return events;
  const canonical = identifiers.value.filter(({ isCanonical }) => isCanonical);
  const claims = canonical.map(({ claimType, value }) => claimKey(claimType, value));
  const named =
    replacements.value.length === 0 ? identifiers.value : identifiers.value.slice(0, record.identifiers.length);
  for (const rule of context.types.fingerprintRules) {
    const fingerprint = fingerprintOf(rule, valueChain.value, year.value, named, context.workspaceId);
    if (fingerprint !== undefined) claims.push(claimKey(fingerprintClaimType(rule.name), fingerprint));
  }
  return {
    ok: true,
    value: {
      identifiers: identifiers.value,
      claims: claims.length > 1 ? [...new Set(claims)] : claims,
      valueChain: valueChain.value,
      country: country.value,
      year: year.value,
      occurredAtMicros: occurredAt.value,
      fields: fields.value,
      events: events.value,
      ended: ended.value,
      life: lifeTimesOf(occurredAt.value, events.value, context.nowMicros),
      circuitId: circuitId.value,
    },
  };
}

/** What the DFID of an item is made of, from the members of a request that stand at its top. */
export function judgeNature(
  sent: { value_chain: unknown; country: unknown; year: unknown },
  context: JudgingContext,
): Judgement<{ valueChain: ValueChain; country: string; year: number }> {
  const valueChain = judgeValueChain({ value: sent.value_chain, pointer: '/value_chain' }, context);
  if (!valueChain.ok) return valueChain;
  const country = judgeCountry({ value: sent.country, pointer: '/country' }, context);
  if (!country.ok) return country;
  const year = judgeYear({ value: sent.year, pointer: '/year' }, context);
  if (!year.ok) return year;
  return { ok: true, value: { valueChain: valueChain.value, country: country.value, year: year.value } };
}

function judgeValueChain(sent: Placed<unknown> | undefined, { defaults }: JudgingContext): Judgement<ValueChain> {
  if (!sent) return { ok: true, value: defaults.valueChain ?? 'GENERIC' };
  const chain = typeof sent.value === 'string' ? parseValueChain(sent.value) : undefined;
  return chain
    ? { ok: true, value: chain }
    : refuse(
        'unknown_value_chain',
        sent.pointer,
        'value chains are BEEF, POULTRY, PORK, SOY, CORN, COTTON, COFFEE, MILK and GENERIC',
      );
}

function judgeCountry(sent: Placed<unknown> | undefined, { defaults }: JudgingContext): Judgement<string> {
  if (!sent) return { ok: true, value: defaults.country ?? 'BR' };
  const country = typeof sent.value === 'string' ? sent.value.toUpperCase() : '';
  return isCountryCode(country)
    ? { ok: true, value: country }
    : refuse('invalid_country', sent.pointer, 'a country is an ISO 3166-1 alpha-2 code such as BR');
}

function judgeYear(sent: Placed<unknown> | undefined, { defaults, nowMicros }: JudgingContext): Judgement<number> {
  if (!sent) return { ok: true, value: defaults.year ?? new Date(nowMicros / 1000).getUTCFullYear() };
  const year = typeof sent.value === 'string' && /^\d{4}$/.test(sent.value) ? Number(sent.value) : sent.value;
  const isYear = typeof year === 'number' && Number.isInteger(year) && year >= firstYear && year <= lastYear;
  return isYear
    ? { ok: true, value: year }
    : refuse('invalid_year', sent.pointer, `a year is a whole number from ${firstYear} to ${lastYear}`);
}

function judgeOccurredAt(sent: Placed<unknown> | undefined, { nowMicros }: JudgingContext): Judgement<number | null> {
  if (!sent) return { ok: true, value: null };
  const micros = typeof sent.value === 'string' ? parseDateTimeMicros(sent.value) : undefined;
  if (micros === undefined)
    return refuse('invalid_occurred_at', sent.pointer, 'a time is an RFC 3339 date-time such as 2025-03-14T09:26:53Z');
  if (micros > nowMicros + fiveMinutesMicros)
    return refuse('invalid_occurred_at', sent.pointer, 'the time lies more than five minutes ahead');
  return { ok: true, value: micros };
}

function judgeCircuitId(sent: Placed<unknown> | undefined, { defaults }: JudgingContext): Judgement<string | null> {
  if (!sent) return { ok: true, value: defaults.circuitId ?? null };
  const circuitId = typeof sent.value === 'string' ? sent.value.toLowerCase() : '';
  return isUuid(circuitId)
    ? { ok: true, value: circuitId }
    : refuse('invalid_member', sent.pointer, 'a circuit is named by its UUID');
}

/** Judges what a record names, what its events replace after the rest: each old identifier, then the new one. */
function judgeIdentifiers(
  { identifiers }: SubmittedRecord,
  replacements: readonly SentReplacement[],
  valueChain: ValueChain,
  { types, mayLackIdentity }: JudgingContext,
): Judgement<JudgedIdentifier[]> {
  const judged: JudgedIdentifier[] = [];
  let canIdentify = mayLackIdentity === true;
  const replaced = replacements.flatMap(({ old, new: next }) => [old, next]);
  for (const { typeName, value, pointer } of replaced.length === 0 ? identifiers : [...identifiers, ...replaced]) {
    const sentType = types.find(typeName);
    const result = normaliseIdentifier(sentType, typeName, value);
    // The member that names the type stands beside the value, under one of two names.
    if (!result.ok)
      return refuse(result.code, result.isOfTypeName ? pointer.replace(/\/value$/, '') : pointer, result.detail);
    // A value may turn out to be of another type than it was sent as, and means what that one means.
    const type = sentType && result.claimType !== sentType.name ? types.find(result.claimType) : sentType;
    const isOfItem = type === undefined || type.subject === 'item';
    const isCanonical = type !== undefined && isOfItem && type.canonicalChains.includes(valueChain);
    canIdentify ||= isOfItem;
    judged.push({ typeName, raw: value, claimType: result.claimType, value: result.value, isCanonical, pointer });
  }
  if (!canIdentify) {
    return refuse(
      'no_identifying_identifier',
      identifiers.length === 0 ? '' : identifiers[0]!.pointer,
      'a record needs at least one identifier of the item itself; parties, places, classes and documents identify none',
    );
  }
  return { ok: true, value: withoutLots(judged) };
}

/** A lot (GS1 General Specifications, AI (10)) names a batch of things, unless nothing finer is named. */
const lotClaimType = 'lgtin';

/** A lot beside an identifier of the thing itself is the batch that the thing comes from, which others come from too. */
function withoutLots(judged: JudgedIdentifier[]): JudgedIdentifier[] {
  const isFiner = ({ isCanonical, claimType }: JudgedIdentifier) => isCanonical && claimType !== lotClaimType;
  if (!judged.some(({ claimType }) => claimType === lotClaimType) || !judged.some(isFiner)) return judged;
  return judged.map((each) => (each.claimType === lotClaimType ? { ...each, isCanonical: false } : each));
}

/** What a record ends. An identifier that identifies nothing by itself has no validity to end. */
function judgeReplacements(
  replacements: readonly SentReplacement[],
  identifiers: readonly JudgedIdentifier[],
  recordOccurredAt: number | null,
  context: JudgingContext,
): Judgement<EndedIdentifier[]> {
  if (replacements.length === 0) return { ok: true, value: [] };
  const ended: EndedIdentifier[] = [];
  const judged = identifiers.slice(identifiers.length - 2 * replacements.length);
  for (const [at, replacement] of replacements.entries()) {
    const [old, next] = [judged[2 * at]!, judged[2 * at + 1]!];
    const other = [old, next].find(({ claimType }) => (context.types.find(claimType)?.subject ?? 'item') !== 'item');
    if (other)
      return refuse(
        'invalid_member',
        other.pointer,
        'only identifiers of the item itself are replaced; parties, places, classes and documents are not',
      );
    if (old.claimType === next.claimType && old.value === next.value)
      return refuse('invalid_member', next.pointer, 'an identifier cannot take the place of itself');
    const time = judgeOccurredAt(replacement.at, context);
    if (!time.ok) return time;
    if (!old.isCanonical) continue;
    const endedAtMicros = time.value ?? recordOccurredAt ?? context.nowMicros;
    ended.push({ key: claimKey(old.claimType, old.value), endedAtMicros });
  }
  return { ok: true, value: ended };
}

/** Checks the names of fields and brings their values to canonical JSON. */
export function judgeFields({ fields }: Pick<SubmittedRecord, 'fields'>): Judgement<[string, string][]> {
  const judged: [string, string][] = [];
  for (const [name, value] of fields) {
    if (name.length > fieldNameMax)
      return refuse('invalid_member', '/metadata', `a field name has at most ${fieldNameMax} characters`);
    judged.push([name, canonicalJson(value)]);
  }
  return { ok: true, value: judged };
}

export const eventTypePattern = /^[a-z][a-z0-9_]{0,63}$/;
const eventKeyMax = 256;

/** Checks events and says what makes each the same event when it is sent again. */
export function judgeEvents(
  events: readonly SubmittedEvent[],
  recordOccurredAt: number | null,
  context: JudgingContext,
): Judgement<JudgedEvent[]> {
  const judged: JudgedEvent[] = [];
  for (const event of events) {
    if (typeof event.eventType !== 'string' || !eventTypePattern.test(event.eventType)) {
      return refuse(
        'invalid_member',
        `${event.pointer}/event_type`,
        'an event type is snake_case, such as weight_measured',
      );
    }
    if (isReservedType(event.eventType))
      return refuse('invalid_member', `${event.pointer}/event_type`, 'this type is what the system tells by itself');
    const occurredAt = judgeOccurredAt(
      event.occurredAt === undefined ? undefined : { value: event.occurredAt, pointer: `${event.pointer}/occurred_at` },
      context,
    );
    if (!occurredAt.ok) return occurredAt;
    const visibility = event.visibility === undefined ? 'private' : parseEventVisibility(event.visibility);
    if (!visibility)
      return refuse(
        'invalid_member',
        `${event.pointer}/visibility`,
        `visibility is one of ${eventVisibilities.join(', ')}`,
      );
    const { eventKey } = event;
    if (eventKey !== undefined && (typeof eventKey !== 'string' || eventKey === '' || eventKey.length > eventKeyMax)) {
      return refuse(
        'invalid_member',
        `${event.pointer}/event_key`,
        `an event key is a string of 1 to ${eventKeyMax} characters`,
      );
    }
    const payload = canonicalJson(event.payload ?? {});
    const occurredAtMicros = occurredAt.value ?? recordOccurredAt;
    judged.push({
      eventType: event.eventType,
      occurredAtMicros,
      payload,
      visibility,
      eventKey: sameEventKey(event.eventType, eventKey, occurredAtMicros, payload),
    });
  }
  return { ok: true, value: judged };
}

/**
 * Without a key of the sender, an event is the same if type, time and payload are; without a time nothing says so. One in the
 * words of the system gets a key of its own then, since those of the system have none.
 */
function sameEventKey(
  eventType: string,
  key: string | undefined,
  occurredAtMicros: number | null,
  payload: string,
): Buffer | null {
  if (key !== undefined) return hash('sha256', JSON.stringify(['key', key]), 'buffer');
  if (occurredAtMicros === null) return systemEventTypes.has(eventType) ? randomBytes(32) : null;
  return hash(
    'sha256',
    JSON.stringify(['content', eventType, formatDateTimeMicros(occurredAtMicros), payload]),
    'buffer',
  );
}

/** The fingerprint of a contextual set, if the record holds all of it with one value each. */
function fingerprintOf(
  rule: FingerprintRule,
  valueChain: ValueChain,
  year: number,
  identifiers: readonly JudgedIdentifier[],
  workspaceId: string,
): string | undefined {
  if (!rule.valueChains.includes(valueChain)) return undefined;
  const parts: string[] = [];
  for (const claimType of rule.identifierTypes) {
    const values = new Set(
      identifiers.filter((identifier) => identifier.claimType === claimType).map(({ value }) => value),
    );
    if (values.size !== 1) return undefined;
    parts.push(claimType, ...values);
  }
  // A rule whose set names the crop cycle needs no year; the others hold within one.
  const period = rule.period === 'year' ? String(year) : '';
  return hash('sha256', JSON.stringify([workspaceId, rule.name, rule.version, period, ...parts]), 'hex');
}
