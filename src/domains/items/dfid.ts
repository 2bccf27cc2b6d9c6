import { blake3Hex } from '#platform/blake3.ts';
import { isCountryCode } from './country.ts';
import { type ValueChain, valueChains } from './value-chain.ts';

/** What a new DFID is made of; `sequence` comes from the database and is never given twice. */
export interface DfidParts {
  valueChain: ValueChain;
  /** ISO 3166-1 alpha-2, upper case. */
  country: string;
  year: number;
  sequence: bigint | number;
}

/** The parts of a DFID of the current generation, named as the API names them. */
export interface DfidComponents {
  value_chain: ValueChain;
  country: string;
  year: number;
  /** A number up to 2^53−1, beyond that its decimal digits. */
  sequence: number | string;
  checksum: string;
}

/** The parts of a DFID of the first generation, which carried a day instead of a value chain. */
export interface LegacyDfidComponents {
  year: number;
  month: number;
  day: number;
  sequence: number;
  checksum: string;
}

/**
 * What `parseDfid` read. `valid` means that form and checksum are right, not that the item exists. A text with a wrong
 * checksum still shows its components; one that has the form of neither generation shows none.
 */
export type DfidReading =
  | { generation: 'current'; valid: boolean; components: DfidComponents }
  | { generation: 'legacy'; valid: boolean; components: LegacyDfidComponents }
  | { generation: undefined; valid: false; components: undefined };

const earliestYear = 1900;
const latestYear = 2100;
const sequenceDigitsMin = 6;
const sequenceMax = 2n ** 63n - 1n;
const checksumDigits = 6;
const longestDfid = 64;

// A number of more than six digits has no leading zero, so that each DFID has exactly one text.
const currentPattern = /^(DFID-([A-Z]+)-([A-Z]{2})-(\d{4})-(\d{6}|[1-9]\d{6,18}))-([0-9a-f]{6})$/;
const legacyPattern = /^DFID-((\d{4})(\d{2})(\d{2}))-(\d{6})-([0-9A-F]{1,4})$/;
const neither: DfidReading = { generation: undefined, valid: false, components: undefined };

/**
 * Writes a DFID: `DFID-BEEF-BR-2025-000123-` and the first six hex digits of BLAKE3 over the text before the last dash.
 * Throws a RangeError for parts that no DFID may have, since such a text would be permanent.
 */
export function formatDfid({ valueChain, country, year, sequence }: DfidParts): string {
  if (!isCountryCode(country)) throw new RangeError('The country of a DFID is an ISO 3166-1 alpha-2 code.');
  if (!Number.isInteger(year) || !isYear(year)) throw new RangeError('The year of a DFID is from 1900 to 2100.');
  if (typeof sequence === 'number' && !Number.isSafeInteger(sequence)) {
    throw new RangeError('The sequence of a DFID is a whole number; beyond 2^53−1 it is given as a bigint.');
  }
  if (!isSequence(BigInt(sequence))) throw new RangeError('The sequence of a DFID is from 1 to 2^63−1.');
  const text = `DFID-${valueChain}-${country}-${year}-${String(sequence).padStart(sequenceDigitsMin, '0')}`;
  return `${text}-${checksumOf(text)}`;
}

/** Reads a DFID of either generation, exactly as specified: case counts, and nothing is trimmed. Never throws. */
export function parseDfid(text: string): DfidReading {
  if (text.length > longestDfid) return neither;
  return readCurrent(text) ?? readLegacy(text) ?? neither;
}

function readCurrent(text: string): DfidReading | undefined {
  const match = currentPattern.exec(text);
  if (!match) return undefined;
  const [, body = '', chain = '', country = '', yearDigits = '', sequenceDigits = '', checksum = ''] = match;
  const valueChain = valueChains.find((known) => known === chain);
  const year = Number(yearDigits);
  const sequence = BigInt(sequenceDigits);
  // The country is not looked up: a DFID stays valid when its country's code is withdrawn.
  if (valueChain === undefined || !isYear(year) || !isSequence(sequence)) return undefined;
  return {
    generation: 'current',
    valid: checksum === checksumOf(body),
    components: { value_chain: valueChain, country, year, sequence: asJsonNumber(sequence), checksum },
  };
}

function readLegacy(text: string): DfidReading | undefined {
  const match = legacyPattern.exec(text);
  if (!match) return undefined;
  const [, date = '', yearDigits = '', monthDigits = '', dayDigits = '', sequenceDigits = '', checksum = ''] = match;
  const [year, month, day] = [Number(yearDigits), Number(monthDigits), Number(dayDigits)];
  if (!isCalendarDay(year, month, day)) return undefined;
  return {
    generation: 'legacy',
    valid: checksum === legacyChecksumOf(date + sequenceDigits),
    components: { year, month, day, sequence: Number(sequenceDigits), checksum },
  };
}

function checksumOf(text: string): string {
  return blake3Hex(text).slice(0, checksumDigits);
}

/** The checksum of the first generation: a 32-bit polynomial hash with factor 31, modulo 65535, in unpadded hex. */
function legacyChecksumOf(digits: string): string {
  let hash = 0;
  for (const byte of Buffer.from(digits, 'ascii')) hash = (Math.imul(hash, 31) + byte) >>> 0;
  return (hash % 0xffff).toString(16).toUpperCase();
}

function isYear(year: number): boolean {
  return year >= earliestYear && year <= latestYear;
}

function isSequence(sequence: bigint): boolean {
  return sequence >= 1n && sequence <= sequenceMax;
}

function asJsonNumber(sequence: bigint): number | string {
  return sequence <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(sequence) : sequence.toString();
}

function isCalendarDay(year: number, month: number, day: number): boolean {
  const date = new Date(Date.UTC(year, month - 1, day));
  return year >= earliestYear && date.getUTCMonth() === month - 1 && date.getUTCDate() === day;
}
