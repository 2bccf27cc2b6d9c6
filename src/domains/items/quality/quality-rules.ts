import { parseDateTimeMicros } from '#platform/clock.ts';
import { foldName } from '../fold-name.ts';
import type { JudgedRecord } from '../judge-record.ts';
import type { RecordFault } from '../submitted-record.ts';
import type { TypeRegistry } from '../type-registry.ts';
import type { ValueChain } from '../value-chain.ts';

/** How bad it is that a rule is broken, the least first. It becomes the priority of the record that waits. */
export const severities = ['Low', 'Medium', 'High', 'Critical'] as const;
export type Severity = (typeof severities)[number];

/** What a rule wants of its field. Bounds are inclusive; null leaves a side open. */
export type Condition =
  | { readonly check: 'required' }
  | { readonly check: 'not_blank' }
  | { readonly check: 'number_between'; readonly minimum: number | null; readonly maximum: number | null }
  | { readonly check: 'one_of'; readonly values: readonly (string | number | boolean)[] }
  /** Dates (2025-03-14) or RFC 3339 date-times; a date stands for its whole day in UTC. */
  | { readonly check: 'date_between'; readonly earliest: string | null; readonly latest: string | null }
  /** In Unicode code points. */
  | { readonly check: 'max_length'; readonly length: number };

/** One thing that a workspace demands of its records beyond what the engine does. */
export interface QualityRule {
  readonly name: string;
  /** Null for records of every value chain. */
  readonly valueChain: ValueChain | null;
  /** `occurred_at`, `identifiers.<type>`, or the name of a field of the metadata. */
  readonly field: string;
  readonly condition: Condition;
  readonly severity: Severity;
}

/** Why a rule holds a record. `severity` and `rule` are kept beside the fault that the sender sees. */
export interface QualityFault extends RecordFault {
  readonly code: 'quality_rule';
  readonly severity: Severity;
  readonly rule: string;
}

/** Where things stand in a record of some format, as RFC 6901 pointers; also where they would stand. */
export interface RecordPlaces {
  field(name: string): string;
  identifiers(typeName: string): string;
  readonly occurredAt: string;
}

export const identifierFieldPrefix = 'identifiers.';
export const occurredAtField = 'occurred_at';

/** A value of a record with the place to point at. A field that is absent or null has none. */
interface PlacedValue {
  readonly value: unknown;
  readonly pointer: string;
}

/**
 * The gravest of the rules that a record breaks, undefined when it breaks none. A value that is not there breaks only
 * `required`. Values are looked at as sent, except that the digits of identifiers are in their normal form.
 * @param rules the gravest first.
 */
export function findBrokenRule(
  record: JudgedRecord,
  rules: readonly QualityRule[],
  types: TypeRegistry,
  places: RecordPlaces,
): QualityFault | undefined {
  for (const rule of rules) {
    if (rule.valueChain !== null && rule.valueChain !== record.valueChain) continue;
    const { values, pointer } = valuesOf(record, rule.field, types, places);
    const fault = findFault(rule.condition, values, pointer);
    if (!fault) continue;
    return {
      code: 'quality_rule',
      detail: `quality rule "${rule.name}": ${rule.field} ${fault.detail}`,
      pointer: fault.pointer,
      severity: rule.severity,
      rule: rule.name,
    };
  }
  return undefined;
}

function valuesOf(
  record: JudgedRecord,
  field: string,
  types: TypeRegistry,
  places: RecordPlaces,
): { values: PlacedValue[]; pointer: string } {
  if (field === occurredAtField) {
    const value = record.occurredAtMicros;
    const pointer = places.occurredAt;
    return { values: value === null ? [] : [{ value: new Date(value / 1000).toISOString(), pointer }], pointer };
  }
  if (field.startsWith(identifierFieldPrefix)) {
    const wanted = field.slice(identifierFieldPrefix.length);
    const typeOf = (typeName: string) => types.find(typeName)?.name ?? foldName(typeName);
    const values = record.identifiers
      .filter(({ typeName, claimType }) => claimType === wanted || typeOf(typeName) === wanted)
      .map(({ value, pointer }) => ({ value, pointer }));
    return { values, pointer: places.identifiers(wanted) };
  }
  const pointer = places.field(field);
  const found = record.fields.find(([name]) => name === field);
  return { values: found ? [{ value: JSON.parse(found[1]), pointer }] : [], pointer };
}

function findFault(
  condition: Condition,
  values: readonly PlacedValue[],
  pointer: string,
): { detail: string; pointer: string } | undefined {
  const present = values.filter(({ value }) => value !== null);
  if (condition.check === 'required') return present.length > 0 ? undefined : { detail: 'is required', pointer };
  for (const { value, pointer: place } of condition.check === 'not_blank' ? values : present) {
    const detail = faultOfValue(condition, value);
    if (detail !== undefined) return { detail, pointer: place };
  }
  return undefined;
}

type ConditionOnValue = Exclude<Condition, { check: 'required' }>;

function faultOfValue(condition: ConditionOnValue, value: unknown): string | undefined {
  switch (condition.check) {
    case 'not_blank':
      return value === null || (typeof value === 'string' && /^\s*$/u.test(value)) ? 'is blank' : undefined;
    case 'number_between': {
      const number = readNumber(value);
      if (number === undefined) return 'is not a number';
      return isWithin(number, condition.minimum, condition.maximum)
        ? undefined
        : `is not ${describeBounds(condition.minimum, condition.maximum)}`;
    }
    case 'one_of':
      // A CSV has texts only, also where a rule means numbers.
      return condition.values.some((allowed) => allowed === value || String(allowed) === value)
        ? undefined
        : 'is none of the values allowed';
    case 'date_between': {
      const at = readDate(value);
      if (at === undefined) return 'is not a date such as 2025-03-14';
      const { earliest, latest } = condition;
      const isInTime =
        (earliest === null || at.lastMicros >= readDate(earliest)!.firstMicros) &&
        (latest === null || at.firstMicros <= readDate(latest)!.lastMicros);
      return isInTime ? undefined : `is not ${describeBounds(earliest, latest)}`;
    }
    case 'max_length': {
      const text = typeof value === 'string' ? value : JSON.stringify(value);
      // Most texts are short enough by their code units already, which cost nothing to count.
      const isShort = text.length <= condition.length || Array.from(text).length <= condition.length;
      return isShort ? undefined : `has more than ${condition.length} characters`;
    }
  }
}

function isWithin(value: number, minimum: number | null, maximum: number | null): boolean {
  return (minimum === null || value >= minimum) && (maximum === null || value <= maximum);
}

function describeBounds(low: string | number | null, high: string | number | null): string {
  if (low === null) return `at most ${high}`;
  return high === null ? `at least ${low}` : `between ${low} and ${high}`;
}

/** A number, or a text that is one in the plain notation with a point or, as in Brazil, a comma; no thousands. */
export function readNumber(value: unknown): number | undefined {
  if (typeof value === 'number') return value;
  if (typeof value !== 'string' || value.length > 40) return undefined;
  const text = value.trim();
  return /^[+-]?\d+(?:[.,]\d+)?$/.test(text) ? Number(text.replace(',', '.')) : undefined;
}

const dayMicros = 86_400_000_000;

/** The first and last moment that a date or date-time may mean; undefined for all else, also for ambiguous dates. */
export function readDate(value: unknown): { firstMicros: number; lastMicros: number } | undefined {
  if (typeof value !== 'string' || value.length > 40) return undefined;
  const text = value.trim();
  const isDay = /^\d{4}-\d{2}-\d{2}$/.test(text);
  const firstMicros = parseDateTimeMicros(isDay ? `${text}T00:00:00Z` : text);
  if (firstMicros === undefined) return undefined;
  return { firstMicros, lastMicros: isDay ? firstMicros + dayMicros - 1 : firstMicros };
}
