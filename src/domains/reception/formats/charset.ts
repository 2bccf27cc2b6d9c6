import { isUtf8 } from 'node:buffer';
import type { BodyCharset } from '../body-format.ts';

const WINDOWS_1252 = new TextDecoder('windows-1252');

/**
 * The text in `bytes[start, end)`, or undefined if it is not valid in the charset. Every byte is something in
 * `windows-1252` (WHATWG Encoding: the five unassigned bytes are control characters). A byte-order mark is kept.
 */
export function decodeRecord(bytes: Buffer, start: number, end: number, charset: BodyCharset): string | undefined {
  const record = bytes.subarray(start, end);
  if (charset === 'windows-1252') return WINDOWS_1252.decode(record);
  // Rather than a fatal TextDecoder, whose exceptions would make a body full of bad lines slow.
  return isUtf8(record) ? record.toString('utf8') : undefined;
}
