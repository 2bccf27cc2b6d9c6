import { makeJsonSyntaxScanner } from '#platform/json/syntax-scanner.ts';

import type { CutListener, RecordCutter } from './cutter.ts';

/**
 * Makes a cutter for a whole JSON body: the elements of a top-level array, or the top-level object itself. `push` and
 * `finish` throw JsonSyntaxError if the body is not JSON; the records told until then do not count.
 */
export function makeJsonCutter(options: { onRecord: CutListener['onRecord'] }): RecordCutter {
  const { onRecord } = options;
  const scanner = makeJsonSyntaxScanner({ onElement: (start, end) => onRecord(start, end, null) });
  return {
    push: (chunk) => scanner.push(chunk),
    finish: () => {
      scanner.finish();
    },
  };
}

/**
 * Makes a cutter for a slice of a JSON body that holds whole elements of the top-level array, without its brackets,
 * as in `{…}, {…}, 3,`. The body must have been accepted by {@link makeJsonCutter} before: only the borders are
 * looked for. `startOffset` is the place in the body of the first byte pushed.
 */
export function makeJsonElementsCutter(options: {
  startOffset: number;
  onRecord: CutListener['onRecord'];
}): RecordCutter {
  return new JsonElementsCutter(options.startOffset, options.onRecord);
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** What a byte outside strings means for the borders of elements. */
const MEANS_NOTHING = 0;
const MEANS_GAP = 1;
const MEANS_OPEN = 2;
const MEANS_CLOSE = 3;
const MEANS_QUOTE = 4;

const MEANINGS = new Uint8Array(256);
for (const byte of Buffer.from(' \t\r\n,')) MEANINGS[byte] = MEANS_GAP;
for (const byte of Buffer.from('{[')) MEANINGS[byte] = MEANS_OPEN;
for (const byte of Buffer.from('}]')) MEANINGS[byte] = MEANS_CLOSE;
MEANINGS[QUOTE] = MEANS_QUOTE;

const NO_ELEMENT = -1;

class JsonElementsCutter implements RecordCutter {
  readonly #onRecord: CutListener['onRecord'];
  #offset: number;
  #depth = 0;
  #elementStart = NO_ELEMENT;
  #inString = false;
  #afterBackslash = false;

  constructor(startOffset: number, onRecord: CutListener['onRecord']) {
    this.#offset = startOffset;
    this.#onRecord = onRecord;
  }

  push(chunk: Buffer): void {
    let index = 0;
    while (index < chunk.length) {
      if (this.#inString) {
        index = this.#skipString(chunk, index);
        continue;
      }
      const meaning = MEANINGS[chunk[index]!]!;
      if (meaning !== MEANS_NOTHING || this.#elementStart === NO_ELEMENT) this.#accept(meaning, this.#offset + index);
      index += 1;
    }
    this.#offset += chunk.length;
  }

  finish(): void {
    this.#endElement(this.#offset);
  }

  #accept(meaning: number, position: number): void {
    if (meaning === MEANS_GAP) {
      if (this.#depth === 0) this.#endElement(position);
      return;
    }
    if (this.#elementStart === NO_ELEMENT) this.#elementStart = position;
    if (meaning === MEANS_QUOTE) this.#inString = true;
    else if (meaning === MEANS_OPEN) this.#depth += 1;
    else if (meaning === MEANS_CLOSE) this.#depth -= 1;
  }

  /** Every element is followed by a gap or by the end of the slice, so one place ends them all. */
  #endElement(end: number): void {
    if (this.#elementStart === NO_ELEMENT) return;
    this.#onRecord(this.#elementStart, end, null);
    this.#elementStart = NO_ELEMENT;
  }

  #skipString(chunk: Buffer, from: number): number {
    let index = from;
    if (this.#afterBackslash) {
      this.#afterBackslash = false;
      index += 1;
    }
    while (index < chunk.length && chunk[index] !== QUOTE) index += chunk[index] === BACKSLASH ? 2 : 1;
    this.#afterBackslash = index > chunk.length;
    this.#inString = index >= chunk.length;
    return index + 1;
  }
}
