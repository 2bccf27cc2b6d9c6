import { isInteroperableNumber } from './interoperable-number.ts';
import { jsonPointer } from './pointer.ts';
import { JsonSyntaxError, makeJsonSyntaxScanner } from './syntax-scanner.ts';

/** Why a text is refused as I-JSON. */
export type JsonFaultCode =
  | 'invalid_json'
  | 'invalid_utf8'
  | 'duplicate_key'
  | 'null_character'
  | 'lone_surrogate'
  | 'number_not_interoperable'
  | 'too_deep';

/** The first fault of a refused text. */
export interface JsonFault {
  code: JsonFaultCode;
  /**
   * RFC 6901 pointer to the value, or to the member whose name is at fault; `''` for faults of the whole text. In it
   * U+0000 and lone surrogates of member names read U+FFFD, so that it can be stored and shown.
   */
  pointer: string;
  /** One phrase for the sender, without what the pointer says. */
  detail: string;
}

/** The deepest nesting that is read; an object or array at top level has depth 1. */
export const MAXIMUM_JSON_DEPTH = 64;

/** Where a text first breaks the grammar, as a fault of code `invalid_json`; undefined for a well-formed document. */
export function findSyntaxFault(text: Uint8Array): JsonFault | undefined {
  const scanner = makeJsonSyntaxScanner({});
  try {
    scanner.push(text);
    scanner.finish();
  } catch (error) {
    if (error instanceof JsonSyntaxError) return { code: 'invalid_json', pointer: '', detail: error.message };
    throw error;
  }
  return undefined;
}

/** A fault of code `invalid_utf8` with the first byte that fits no UTF-8 sequence, for a text known to have one. */
export function describeEncodingFault(text: Buffer): JsonFault {
  // Decoding replaces what is wrong by U+FFFD, so the bytes read again differ from there on.
  const mended = Buffer.from(text.toString('utf8'), 'utf8');
  let position = 0;
  while (position < text.length && mended[position] === text[position]) position += 1;
  return { code: 'invalid_utf8', pointer: '', detail: `not UTF-8 at byte ${position}` };
}

/**
 * The first fault, in reading order, of a well-formed text against I-JSON (RFC 7493), apart from syntax and encoding;
 * undefined if there is none. Slower than the check for whether there is one: made for texts that are refused.
 */
export function findInteroperabilityFault(text: string): JsonFault | undefined {
  const frames: Frame[] = [];
  let index = 0;
  while (index < text.length) {
    const character = text[index]!;
    const end = endOfToken(text, index);
    if (character === '{' || character === '[') {
      if (frames.length === MAXIMUM_JSON_DEPTH) {
        return faultAt('too_deep', frames, `nested deeper than ${MAXIMUM_JSON_DEPTH} levels`);
      }
      frames.push(openFrame(character === '{'));
    } else if (character === '}' || character === ']') frames.pop();
    else if (character === ',') nextMember(frames.at(-1));
    else if (character === '"') {
      const fault = judgeString(text.slice(index, end), frames);
      if (fault !== undefined) return fault;
    } else if (isNumberStart(character) && !isInteroperableNumber(text.slice(index, end))) {
      const shown = abbreviate(text.slice(index, end));
      return faultAt('number_not_interoperable', frames, `the number ${shown} would not survive as a double`);
    }
    index = end;
  }
  return undefined;
}

/** An open object (with the names seen so far) or array, and the member or element being read. */
interface Frame {
  names: Set<string> | undefined;
  nameExpected: boolean;
  segment: string | number | undefined;
}

function openFrame(isObject: boolean): Frame {
  return { names: isObject ? new Set() : undefined, nameExpected: isObject, segment: isObject ? undefined : 0 };
}

function nextMember(frame: Frame | undefined): void {
  if (frame === undefined) return;
  if (typeof frame.segment === 'number') frame.segment += 1;
  else frame.nameExpected = true;
}

function judgeString(token: string, frames: Frame[]): JsonFault | undefined {
  const content = token.includes('\\') ? String(JSON.parse(token)) : token.slice(1, -1);
  const frame = frames.at(-1);
  const isName = frame?.nameExpected === true;
  if (isName) {
    frame.nameExpected = false;
    frame.segment = content;
  }
  const what = isName ? 'the name' : 'the text';
  if (content.includes('\0')) return faultAt('null_character', frames, `${what} holds the character U+0000`);
  if (!content.isWellFormed()) return faultAt('lone_surrogate', frames, `${what} holds half of a surrogate pair`);
  if (!isName) return undefined;
  if (frame.names?.has(content) === true)
    return faultAt('duplicate_key', frames, 'the name stands twice in its object');
  frame.names?.add(content);
  return undefined;
}

function faultAt(code: JsonFaultCode, frames: readonly Frame[], detail: string): JsonFault {
  const segments = frames.map((frame) => frame.segment).filter((segment) => segment !== undefined);
  const pointer = jsonPointer(...segments)
    .toWellFormed()
    .replaceAll('\0', '\uFFFD');
  return { code, pointer, detail };
}

function endOfToken(text: string, start: number): number {
  if (text[start] === '"') return endOfString(text, start);
  let end = start + 1;
  if (isNumberStart(text[start]!)) while (end < text.length && '0123456789.eE+-'.includes(text[end]!)) end += 1;
  return end;
}

function endOfString(text: string, start: number): number {
  let index = start + 1;
  while (index < text.length && text[index] !== '"') index += text[index] === '\\' ? 2 : 1;
  return index + 1;
}

function isNumberStart(character: string): boolean {
  return character === '-' || (character >= '0' && character <= '9');
}

function abbreviate(token: string): string {
  return token.length > 40 ? `${token.slice(0, 40)}…` : token;
}
