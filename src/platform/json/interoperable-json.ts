import { parseJson } from './parse-json.ts';
import { isUtf8 } from 'node:buffer';

import { isInteroperableNumber } from './interoperable-number.ts';
import {
  describeEncodingFault,
  findInteroperabilityFault,
  findSyntaxFault,
  type JsonFault,
  MAXIMUM_JSON_DEPTH,
} from './json-fault.ts';

export type { JsonFault } from './json-fault.ts';

/**
 * Reads the JSON text in `bytes[start, end)` as I-JSON (RFC 7493): UTF-8, no duplicate member names (compared
 * unescaped, in any object), no lone surrogates, only numbers that survive as doubles (isInteroperableNumber).
 * Refused too is U+0000 in any string or name, which Postgres cannot hold, and nesting deeper than
 * {@link MAXIMUM_JSON_DEPTH}. A scalar is a text like any other. Bytes in a fault's detail count from `start`.
 *
 * The value is as JSON.parse makes it: `__proto__` is an ordinary own member. Reading it, `Object.entries`, spread,
 * `structuredClone` and `JSON.stringify` are safe; copying members by assignment (`copy[name] = value`,
 * `Object.assign`) is not, for it would set the copy's prototype: use `Object.fromEntries`, a Map or an object
 * without prototype as the target.
 */
export function parseInteroperableJson(
  bytes: Buffer,
  start: number,
  end: number,
): { ok: true; value: unknown } | { ok: false; fault: JsonFault } {
  const record = bytes.subarray(start, end);
  if (!isUtf8(record)) return { ok: false, fault: describeEncodingFault(record) };
  const survey = surveyText(record);
  const text = record.toString('utf8');
  // Not even parsed: millions of brackets would become millions of objects.
  if (survey === TOO_DEEP) return { ok: false, fault: findSyntaxFault(record) ?? mustFindFault(text) };
  let value: unknown;
  try {
    value = parseJson(text);
  } catch {
    return { ok: false, fault: findSyntaxFault(record) ?? BYTE_ORDER_MARK_FAULT };
  }
  if (survey === countMembers(value)) return { ok: true, value };
  return { ok: false, fault: mustFindFault(text) };
}

/** The syntax scanner accepts a byte-order mark, as it reads whole bodies; JSON.parse rightly does not. */
const BYTE_ORDER_MARK_FAULT: JsonFault = {
  code: 'invalid_json',
  pointer: '',
  detail: 'a byte-order mark stands before the text at byte 0',
};

/** What {@link surveyText} returns instead of a count. */
const TOO_DEEP = -1;
const FAULTY = -2;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const LETTER_U = 0x75;

/** What a byte means to the survey outside strings. */
const MEANS_NOTHING = 0;
const MEANS_QUOTE = 1;
const MEANS_OPEN = 2;
const MEANS_CLOSE = 3;
const MEANS_MEMBER = 4;
const MEANS_NUMBER = 5;

const MEANINGS = new Uint8Array(256);
MEANINGS[QUOTE] = MEANS_QUOTE;
for (const byte of Buffer.from('{[')) MEANINGS[byte] = MEANS_OPEN;
for (const byte of Buffer.from('}]')) MEANINGS[byte] = MEANS_CLOSE;
for (const byte of Buffer.from(':')) MEANINGS[byte] = MEANS_MEMBER;
for (const byte of Buffer.from('-0123456789')) MEANINGS[byte] = MEANS_NUMBER;

/** The bytes of a number after its first: plain ones, and the marks of an exponent. */
const PLAIN_NUMBER_BYTE = 1;
const EXPONENT_MARK = 2;
const NUMBER_BYTES = new Uint8Array(256);
for (const byte of Buffer.from('0123456789.-+')) NUMBER_BYTES[byte] = PLAIN_NUMBER_BYTE;
for (const byte of Buffer.from('eE')) NUMBER_BYTES[byte] = EXPONENT_MARK;

/** Decimals of at most 15 significant digits without exponent all survive (DBL_DIG of C), and are below 2^53. */
const SURELY_INTEROPERABLE_LENGTH = 15;

const HEX_VALUES = new Uint8Array(256);
for (const [value, byte] of Buffer.from('0123456789abcdef').entries()) HEX_VALUES[byte] = value;
for (const [value, byte] of Buffer.from('ABCDEF').entries()) HEX_VALUES[byte] = value + 10;

/**
 * Looks a text over once, without building anything: returns its number of object members, TOO_DEEP, or FAULTY for
 * any other fault that shows in the text alone. Duplicate names show afterwards: JSON.parse keeps one member for each
 * name, so the value then has fewer members than were counted here. On malformed text the result means nothing.
 */
function surveyText(text: Buffer): number {
  let members = 0;
  let depth = 0;
  let faulty = false;
  let index = 0;
  while (index < text.length) {
    const meaning = MEANINGS[text[index]!];
    if (meaning === MEANS_QUOTE) {
      index = endOfSoundString(text, index);
      if (index < 0) {
        faulty = true;
        index = -index;
      }
    } else if (meaning === MEANS_NUMBER) {
      const start = index;
      index = endOfNumber(text, start);
      if (!isNumberSound(text, start, index)) faulty = true;
    } else {
      index += 1;
      if (meaning === MEANS_NOTHING) continue;
      if (meaning === MEANS_MEMBER) members += 1;
      else if (meaning === MEANS_CLOSE) depth -= 1;
      else if ((depth += 1) > MAXIMUM_JSON_DEPTH) return TOO_DEEP;
    }
  }
  return faulty ? FAULTY : members;
}

/** The index after the string, negated if the string holds U+0000 or a lone surrogate. */
function endOfSoundString(text: Buffer, quote: number): number {
  let sound = true;
  let index = quote + 1;
  while (index < text.length) {
    const byte = text[index];
    if (byte === QUOTE) break;
    if (byte === BACKSLASH) {
      const length = soundEscapeLength(text, index);
      sound &&= length > 0;
      index += length > 0 ? length : 2;
    } else index += 1;
  }
  return sound ? index + 1 : -(index + 1);
}

/** The bytes of the escape at `backslash`, a pair of surrogates being one; 0 for U+0000 and lone surrogates. */
function soundEscapeLength(text: Buffer, backslash: number): number {
  if (text[backslash + 1] !== LETTER_U) return 2;
  const unit = codeUnitAt(text, backslash + 2);
  if (unit === 0) return 0;
  if (unit < 0xd800 || unit > 0xdfff) return 6;
  const followedByEscape = text[backslash + 6] === BACKSLASH && text[backslash + 7] === LETTER_U;
  const isPair = unit < 0xdc00 && followedByEscape && codeUnitAt(text, backslash + 8) >> 10 === 0xdc00 >> 10;
  return isPair ? 12 : 0;
}

function codeUnitAt(text: Buffer, index: number): number {
  let unit = 0;
  for (let digit = index; digit < index + 4; digit += 1) unit = (unit << 4) | HEX_VALUES[text[digit] ?? 0]!;
  return unit;
}

function endOfNumber(text: Buffer, start: number): number {
  let index = start + 1;
  while (index < text.length && NUMBER_BYTES[text[index]!] !== 0) index += 1;
  return index;
}

function isNumberSound(text: Buffer, start: number, end: number): boolean {
  let surely = end - start <= SURELY_INTEROPERABLE_LENGTH;
  for (let index = start + 1; surely && index < end; index += 1) surely = NUMBER_BYTES[text[index]!] !== EXPONENT_MARK;
  return surely || isInteroperableNumber(text.toString('latin1', start, end));
}

type Container = unknown[] | Record<string, unknown>;

function isContainer(value: unknown): value is Container {
  return typeof value === 'object' && value !== null;
}

/** How many members all objects in the value have together; the depth has been checked before. */
function countMembers(value: unknown): number {
  return isContainer(value) ? countMembersWithin(value) : 0;
}

function countMembersWithin(container: Container): number {
  let members = 0;
  // Calling only for containers, not for each scalar, saves a third of the time.
  if (Array.isArray(container)) {
    for (const element of container) if (isContainer(element)) members += countMembersWithin(element);
    return members;
  }
  // JSON.parse makes own members only, and of all ways to visit them this loop is the fastest.
  for (const name in container) {
    members += 1;
    const member = container[name];
    if (isContainer(member)) members += countMembersWithin(member);
  }
  return members;
}

function mustFindFault(text: string): JsonFault {
  const fault = findInteroperabilityFault(text);
  if (fault === undefined) throw new Error('the survey of a JSON text and the search for its fault disagree');
  return fault;
}
