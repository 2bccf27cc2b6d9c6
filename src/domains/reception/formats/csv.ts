import type { BadRecordCode, CutListener, RecordCutter } from './cutter.ts';

/** The field separators that are understood. */
export type CsvDelimiter = ',' | ';' | '\t';

/** A quoted field must close before the record is this long, in bytes, so that one stray quote costs little. */
export const CSV_OPEN_RECORD_LIMIT_BYTES = 64 * 1024;

/** A quoted field must close before the record spans more physical lines than this. */
export const CSV_OPEN_RECORD_LIMIT_LINES = 100;

/**
 * Makes a cutter for CSV records (RFC 4180): quoted fields may hold delimiters, line ends and doubled quotes. A line
 * ends with `\n` or `\r\n`; a lone `\r` is a character like any other. Lines that are empty or hold only blanks are
 * skipped. How many fields a record has, and whether it can be decoded, is for the reader to judge.
 *
 * A bad record costs its first physical line only: reading goes on with the next physical line, so the good lines
 * after a stray quote are kept. Rejected are a quote inside an unquoted field and text after a closing quote, and a
 * quoted field that is still open at the end of the body or past one of the two limits; a quoted field that reaches
 * further lines and is followed by text there counts as not closed. Bytes re-read: at most
 * {@link CSV_OPEN_RECORD_LIMIT_BYTES} for each rejected line, and each byte about twice in all, since a line that
 * opens a quote on its own has an odd number of quotes and so closes the one open before it.
 *
 * `startOffset` and `startLine` are the place in the body of the first byte pushed, which begins a record.
 */
export function makeCsvCutter(options: {
  delimiter: CsvDelimiter;
  startOffset: number;
  startLine: number;
  onRecord: CutListener['onRecord'];
  onBadRecord: CutListener['onBadRecord'];
}): RecordCutter {
  return new CsvCutter(options);
}

const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;
const QUOTE = 0x22;

/** What a byte means; all others are text. */
const MEANS_TEXT = 0;
const MEANS_BLANK = 1;
const MEANS_CARRIAGE_RETURN = 2;
const MEANS_DELIMITER = 3;
const MEANS_QUOTE = 4;
const MEANS_LINE_FEED = 5;

/** Where the reading stands. At the start of a line only blanks have been read. */
const AT_LINE_START = 0;
const AT_FIELD_START = 1;
const IN_UNQUOTED = 2;
const IN_QUOTED = 3;
const AFTER_CLOSING_QUOTE = 4;
const AFTER_CLOSING_QUOTE_AND_RETURN = 5;
const IN_REJECTED_LINE = 6;

const SINGLE_LINE = -1;

class CsvCutter implements RecordCutter {
  readonly #meanings = new Uint8Array(256);
  readonly #onRecord: CutListener['onRecord'];
  readonly #onBadRecord: CutListener['onBadRecord'];
  #state = AT_LINE_START;
  /** Place in the body of the first byte of the block being read. */
  #offset: number;
  #byteBeforeBlock = LINE_FEED;
  #line: number;
  #recordStart: number;
  #recordLine: number;
  /** End of the record's first physical line, once an open quote has carried it over; else SINGLE_LINE. */
  #firstLineEnd = SINGLE_LINE;
  #secondLineStart = 0;
  /** The bytes from the second line of an open record up to the block being read. */
  #held: Buffer[] = [];
  #rejectedFor: BadRecordCode = 'csv_stray_quote';

  constructor(options: Parameters<typeof makeCsvCutter>[0]) {
    this.#onRecord = options.onRecord;
    this.#onBadRecord = options.onBadRecord;
    this.#offset = options.startOffset;
    this.#line = options.startLine;
    this.#recordStart = options.startOffset;
    this.#recordLine = options.startLine;
    for (const byte of Buffer.from(' \t')) this.#meanings[byte] = MEANS_BLANK;
    this.#meanings[CARRIAGE_RETURN] = MEANS_CARRIAGE_RETURN;
    this.#meanings[LINE_FEED] = MEANS_LINE_FEED;
    this.#meanings[QUOTE] = MEANS_QUOTE;
    this.#meanings[options.delimiter.charCodeAt(0)] = MEANS_DELIMITER;
  }

  push(chunk: Buffer): void {
    const waiting = [chunk];
    for (let block = waiting.pop(); block !== undefined; block = waiting.pop()) {
      if (this.#readBlock(block)) {
        this.#hold(block);
        this.#byteBeforeBlock = block.at(-1) ?? this.#byteBeforeBlock;
        this.#offset += block.length;
      } else {
        waiting.push(block, this.#takeBackHeld());
      }
    }
  }

  finish(): void {
    while (this.#state === IN_QUOTED && this.#firstLineEnd !== SINGLE_LINE) {
      this.#rejectFirstLine();
      this.push(this.#takeBackHeld());
    }
    if (this.#state === IN_QUOTED) this.#reject('csv_unterminated_quote', 0);
    this.#tellLine(this.#offset, this.#byteBeforeBlock);
    this.#startLine(this.#offset, this.#line);
  }

  /** Reads a block to its end; false if a rejected line sends the reading back to a place before the block. */
  #readBlock(block: Buffer): boolean {
    let index = 0;
    while (index >= 0 && index < block.length) index = this.#readOn(block, index);
    return index >= 0;
  }

  /** Reads one or more bytes; the index to read on at, negative if it lies before the block. */
  #readOn(block: Buffer, index: number): number {
    const isBounded = this.#state === IN_QUOTED || this.#firstLineEnd !== SINGLE_LINE;
    const bound = isBounded ? this.#recordStart + CSV_OPEN_RECORD_LIMIT_BYTES - this.#offset : block.length;
    if (index >= bound) return this.#reject('csv_unterminated_quote', index);
    const end = Math.min(bound, block.length);
    switch (this.#state) {
      case IN_UNQUOTED:
        return this.#readUnquoted(block, index, end);
      case IN_QUOTED:
        return this.#readQuoted(block, index, end);
      case IN_REJECTED_LINE:
        return this.#readRejectedLine(block, index);
      case AFTER_CLOSING_QUOTE:
      case AFTER_CLOSING_QUOTE_AND_RETURN:
        return this.#readAfterClosingQuote(block, index);
      default:
        return this.#readFieldStart(block, index);
    }
  }

  #readFieldStart(block: Buffer, index: number): number {
    const meaning = this.#meanings[block[index]!];
    if (meaning === MEANS_LINE_FEED) return this.#endLine(block, index);
    if (meaning === MEANS_DELIMITER) this.#state = AT_FIELD_START;
    else if (meaning === MEANS_QUOTE) {
      const isFirst = this.#state === AT_FIELD_START || this.#offset + index === this.#recordStart;
      if (!isFirst) return this.#reject('csv_stray_quote', index);
      this.#state = IN_QUOTED;
    } else if (meaning === MEANS_TEXT || this.#state === AT_FIELD_START) this.#state = IN_UNQUOTED;
    return index + 1;
  }

  #readUnquoted(block: Buffer, from: number, end: number): number {
    let index = from;
    while (index < end && this.#meanings[block[index]!]! < MEANS_DELIMITER) index += 1;
    if (index === end) return index;
    const meaning = this.#meanings[block[index]!];
    if (meaning === MEANS_LINE_FEED) return this.#endLine(block, index);
    if (meaning === MEANS_QUOTE) return this.#reject('csv_stray_quote', index);
    this.#state = AT_FIELD_START;
    return index + 1;
  }

  #readQuoted(block: Buffer, from: number, end: number): number {
    for (let index = from; index < end; index += 1) {
      const byte = block[index];
      if (byte === QUOTE) {
        this.#state = AFTER_CLOSING_QUOTE;
        return index + 1;
      }
      if (byte === LINE_FEED && !this.#carryOver(block, index)) return this.#reject('csv_unterminated_quote', index);
    }
    return end;
  }

  #readAfterClosingQuote(block: Buffer, index: number): number {
    const meaning = this.#meanings[block[index]!];
    if (meaning === MEANS_LINE_FEED) return this.#endLine(block, index);
    if (this.#state === AFTER_CLOSING_QUOTE_AND_RETURN) return this.#reject('csv_stray_quote', index);
    if (meaning === MEANS_QUOTE) this.#state = IN_QUOTED;
    else if (meaning === MEANS_DELIMITER) this.#state = AT_FIELD_START;
    else if (meaning === MEANS_CARRIAGE_RETURN) this.#state = AFTER_CLOSING_QUOTE_AND_RETURN;
    else return this.#reject('csv_stray_quote', index);
    return index + 1;
  }

  #readRejectedLine(block: Buffer, index: number): number {
    const lineFeed = block.indexOf(LINE_FEED, index);
    return lineFeed < 0 ? block.length : this.#endLine(block, lineFeed);
  }

  /** Lets an open quote carry the record over a line end; false if that is one line too many. */
  #carryOver(block: Buffer, lineFeed: number): boolean {
    if (this.#firstLineEnd === SINGLE_LINE) {
      const before = lineFeed === 0 ? this.#byteBeforeBlock : block[lineFeed - 1];
      this.#firstLineEnd = this.#offset + lineFeed - (before === CARRIAGE_RETURN ? 1 : 0);
      this.#secondLineStart = this.#offset + lineFeed + 1;
    }
    this.#line += 1;
    return this.#line - this.#recordLine < CSV_OPEN_RECORD_LIMIT_LINES;
  }

  #endLine(block: Buffer, lineFeed: number): number {
    this.#tellLine(this.#offset + lineFeed, lineFeed === 0 ? this.#byteBeforeBlock : block[lineFeed - 1]!);
    this.#startLine(this.#offset + lineFeed + 1, this.#line + 1);
    return lineFeed + 1;
  }

  #tellLine(lineEnd: number, byteBefore: number): void {
    const end = byteBefore === CARRIAGE_RETURN ? lineEnd - 1 : lineEnd;
    if (this.#state === AT_LINE_START) return;
    if (this.#state === IN_REJECTED_LINE)
      this.#onBadRecord(this.#recordStart, end, this.#recordLine, this.#rejectedFor);
    else this.#onRecord(this.#recordStart, end, this.#recordLine);
  }

  #startLine(start: number, line: number): void {
    this.#state = AT_LINE_START;
    this.#recordStart = start;
    this.#recordLine = line;
    this.#line = line;
    this.#firstLineEnd = SINGLE_LINE;
  }

  #reject(code: BadRecordCode, index: number): number {
    if (this.#firstLineEnd !== SINGLE_LINE) {
      this.#rejectFirstLine();
      return this.#recordStart - this.#offset;
    }
    this.#state = IN_REJECTED_LINE;
    this.#rejectedFor = code;
    return index;
  }

  #rejectFirstLine(): void {
    this.#onBadRecord(this.#recordStart, this.#firstLineEnd, this.#recordLine, 'csv_unterminated_quote');
    this.#startLine(this.#secondLineStart, this.#recordLine + 1);
  }

  /** Keeps what has to be read again should the record that is open at the end of the block be rejected. */
  #hold(block: Buffer): void {
    const isCarriedOver = this.#firstLineEnd !== SINGLE_LINE;
    const within = Math.max(this.#secondLineStart - this.#offset, 0);
    if (!isCarriedOver || this.#secondLineStart >= this.#offset) this.#held = [];
    // A copy: the caller may use its buffer again.
    if (isCarriedOver) this.#held.push(Buffer.from(block.subarray(within)));
  }

  #takeBackHeld(): Buffer {
    const held = Buffer.concat(this.#held);
    this.#held = [];
    this.#offset = this.#recordStart;
    this.#byteBeforeBlock = LINE_FEED;
    return held;
  }
}
