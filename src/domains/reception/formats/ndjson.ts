import type { CutListener, RecordCutter } from './cutter.ts';

const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;
const BYTE_ORDER_MARK = Buffer.from([0xef, 0xbb, 0xbf]);

/**
 * Makes a cutter for newline-delimited JSON: every line that holds more than JSON white space is a record, without
 * its `\n` or `\r\n`. A byte-order mark at the start of the body belongs to no record; the last line may lack its end.
 *
 * `startOffset` and `startLine` are the place in the body of the first byte pushed, for a slice that begins at the
 * start of a line.
 */
export function makeNdjsonCutter(options: {
  startOffset?: number;
  startLine?: number;
  onRecord: CutListener['onRecord'];
}): RecordCutter {
  return new NdjsonCutter(options.startOffset ?? 0, options.startLine ?? 1, options.onRecord);
}

class NdjsonCutter implements RecordCutter {
  readonly #onRecord: CutListener['onRecord'];
  /** Place in the body of the next byte to be pushed. */
  #offset: number;
  #line: number;
  #lineStart: number;
  #lineHasContent = false;
  #lastByte = LINE_FEED;
  #byteOrderMarkMatched = 0;

  constructor(startOffset: number, startLine: number, onRecord: CutListener['onRecord']) {
    this.#offset = startOffset;
    this.#line = startLine;
    this.#lineStart = startOffset;
    this.#onRecord = onRecord;
  }

  push(chunk: Buffer): void {
    let index = this.#offset < BYTE_ORDER_MARK.length ? this.#skipByteOrderMark(chunk) : 0;
    while (index < chunk.length) {
      const lineFeed = chunk.indexOf(LINE_FEED, index);
      const end = lineFeed < 0 ? chunk.length : lineFeed;
      this.#lineHasContent ||= hasContent(chunk, index, end);
      if (lineFeed < 0) break;
      const before = lineFeed === 0 ? this.#lastByte : chunk[lineFeed - 1];
      this.#endLine(this.#offset + lineFeed - (before === CARRIAGE_RETURN ? 1 : 0));
      index = lineFeed + 1;
      this.#line += 1;
      this.#lineStart = this.#offset + index;
    }
    this.#lastByte = chunk.at(-1) ?? this.#lastByte;
    this.#offset += chunk.length;
  }

  finish(): void {
    this.#endLine(this.#offset - (this.#lastByte === CARRIAGE_RETURN ? 1 : 0));
  }

  #endLine(end: number): void {
    if (this.#lineHasContent) this.#onRecord(this.#lineStart, end, this.#line);
    this.#lineHasContent = false;
  }

  /** Only a whole mark is skipped; the first bytes of a broken one are content, which is not UTF-8. */
  #skipByteOrderMark(chunk: Buffer): number {
    let index = 0;
    // False from the first byte that differs, and in a slice from the middle of the body.
    while (index < chunk.length && this.#byteOrderMarkMatched === this.#offset + index) {
      if (chunk[index] !== BYTE_ORDER_MARK[this.#byteOrderMarkMatched]) break;
      index += 1;
      this.#byteOrderMarkMatched += 1;
      const isWhole = this.#byteOrderMarkMatched === BYTE_ORDER_MARK.length;
      if (isWhole) this.#lineStart = BYTE_ORDER_MARK.length;
      this.#lineHasContent = !isWhole;
    }
    return index;
  }
}

function hasContent(chunk: Buffer, start: number, end: number): boolean {
  for (let index = start; index < end; index += 1) {
    const byte = chunk[index];
    if (byte !== 0x20 && byte !== 0x09 && byte !== CARRIAGE_RETURN) return true;
  }
  return false;
}
