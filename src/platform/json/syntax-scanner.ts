/** Thrown when a document is not JSON: where it went wrong, and why. */
export class JsonSyntaxError extends Error {
  /** Byte offset in the whole document, from 0; the document's length when it ends too early. */
  readonly position: number;
  /** One phrase for the sender, such as `a value is expected`. */
  readonly reason: string;

  constructor(position: number, reason: string) {
    super(`${reason} at byte ${position}`);
    this.name = 'JsonSyntaxError';
    this.position = position;
    this.reason = reason;
  }
}

/** Reads one JSON document in chunks of any size; see {@link makeJsonSyntaxScanner}. */
export interface JsonSyntaxScanner {
  /** Takes the next bytes of the document. Throws {@link JsonSyntaxError} as soon as they cannot belong to JSON. */
  push(chunk: Uint8Array): void;
  /** Says what the document was. Throws {@link JsonSyntaxError} if it is empty or ends too early. */
  finish(): 'object' | 'array';
}

/**
 * Makes a validator for one JSON document that arrives in chunks: the grammar of RFC 8259 and valid UTF-8
 * (RFC 3629), in one pass, without building values and without recursion (memory: one bit per level of depth).
 *
 * `onElement` is told the place of each element of a top-level array, or of the whole top-level object (byte offsets in
 * the whole document, `end` exclusive), as soon as it has been read; a fault may still follow, so the places count only once `finish` has returned. A byte-order mark
 * at the start is skipped. A scalar at top level is refused. After a fault every further call throws it again. For
 * the same bytes the outcome, positions included, is the same however they are cut into chunks.
 */
export function makeJsonSyntaxScanner(options: {
  onElement?: (start: number, end: number) => void;
}): JsonSyntaxScanner {
  return new SyntaxScanner(options.onElement);
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
const MINUS = 0x2d;
const ZERO = 0x30;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const LETTER_U = 0x75;

const BYTE_ORDER_MARK = [0xef, 0xbb, 0xbf] as const;
const NOT_UTF8 = 'not UTF-8';

/** The token in the middle of which a chunk may end. */
const TOKEN_NONE = 0;
const TOKEN_STRING = 1;
const TOKEN_NUMBER = 2;
const TOKEN_LITERAL = 3;

/** What the grammar allows between tokens. */
const EXPECT_VALUE = 0;
const EXPECT_VALUE_OR_CLOSE = 1;
const EXPECT_KEY = 2;
const EXPECT_KEY_OR_CLOSE = 3;
const EXPECT_COLON = 4;
const EXPECT_COMMA_OR_CLOSE = 5;

const EXPECTATION_REASONS = [
  'a value is expected',
  'a value or ] is expected',
  'a member name in double quotes is expected',
  'a member name in double quotes or } is expected',
  'a colon is expected',
  'a comma or the closing bracket is expected',
] as const;

/** Bytes that need no attention inside a string: ASCII but controls, quote and backslash. */
const IS_PLAIN = new Uint8Array(256).fill(1, 0x20, 0x80);
IS_PLAIN[QUOTE] = 0;
IS_PLAIN[BACKSLASH] = 0;

const IS_SIMPLE_ESCAPE = markBytes('"\\/bfnrt');
const IS_HEX_DIGIT = markBytes('0123456789abcdefABCDEF');

/** States inside a number (RFC 8259 section 6); 0 = the number ended before this byte. */
const NUMBER_ENDED = 0;
const AFTER_MINUS = 1;
const AFTER_LEADING_ZERO = 2;
const IN_INTEGER = 3;
const AFTER_POINT = 4;
const IN_FRACTION = 5;
const AFTER_EXPONENT_MARK = 6;
const AFTER_EXPONENT_SIGN = 7;
const IN_EXPONENT = 8;
const NUMBER_MALFORMED = 9;

const NUMBER_TRANSITIONS = makeNumberTransitions();

const LITERALS = new Map([
  [0x74, 'true'],
  [0x66, 'false'],
  [0x6e, 'null'],
]);

class SyntaxScanner implements JsonSyntaxScanner {
  readonly #onElement: ((start: number, end: number) => void) | undefined;
  readonly #containers = new ContainerStack();
  #failure: JsonSyntaxError | undefined;
  /** Bytes of the document before the present chunk. */
  #offset = 0;
  #byteOrderMarkSeen = 0;
  #byteOrderMarkPossible = true;
  #expect = EXPECT_VALUE;
  #token = TOKEN_NONE;
  #kind: 'object' | 'array' | undefined;
  #elementStart = 0;
  #tokenIsKey = false;
  #afterBackslash = false;
  #hexDigitsMissing = 0;
  #continuationsMissing = 0;
  #continuationLowest = 0x80;
  #continuationHighest = 0xbf;
  #sequenceStart = 0;
  #numberState = NUMBER_ENDED;
  #literal = '';
  #literalMatched = 0;

  constructor(onElement: ((start: number, end: number) => void) | undefined) {
    this.#onElement = onElement;
  }

  push(chunk: Uint8Array): void {
    if (this.#failure !== undefined) throw this.#failure;
    let index = this.#byteOrderMarkPossible ? this.#skipByteOrderMark(chunk) : 0;
    while (index < chunk.length) {
      switch (this.#token) {
        case TOKEN_STRING:
          index = this.#scanString(chunk, index);
          break;
        case TOKEN_NUMBER:
          index = this.#scanNumber(chunk, index);
          break;
        case TOKEN_LITERAL:
          index = this.#scanLiteral(chunk, index);
          break;
        default:
          index = this.#scanStructure(chunk, index);
      }
    }
    this.#offset += chunk.length;
  }

  finish(): 'object' | 'array' {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#continuationsMissing > 0) this.#fail(this.#sequenceStart, NOT_UTF8);
    if (this.#byteOrderMarkPossible && this.#byteOrderMarkSeen > 0) this.#fail(0, NOT_UTF8);
    if (this.#kind === undefined) this.#fail(this.#offset, 'the document is empty: an object or an array is expected');
    if (this.#containers.depth > 0) this.#fail(this.#offset, 'the document ends too early');
    return this.#kind;
  }

  #fail(position: number, reason: string): never {
    this.#failure = new JsonSyntaxError(position, reason);
    throw this.#failure;
  }

  #skipByteOrderMark(chunk: Uint8Array): number {
    let index = 0;
    while (index < chunk.length && this.#byteOrderMarkPossible) {
      if (chunk[index] === BYTE_ORDER_MARK[this.#byteOrderMarkSeen]) {
        index += 1;
        this.#byteOrderMarkSeen += 1;
        this.#byteOrderMarkPossible = this.#byteOrderMarkSeen < BYTE_ORDER_MARK.length;
      } else {
        if (this.#byteOrderMarkSeen > 0) this.#fail(0, EXPECTATION_REASONS[EXPECT_VALUE]);
        this.#byteOrderMarkPossible = false;
      }
    }
    return index;
  }

  #scanStructure(chunk: Uint8Array, from: number): number {
    let index = from;
    while (index < chunk.length && this.#token === TOKEN_NONE) {
      const byte = chunk[index]!;
      if (byte > 0x20) this.#acceptStructure(byte, this.#offset + index);
      else if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) {
        this.#fail(this.#offset + index, 'a control character stands outside a string');
      }
      index += 1;
    }
    return index;
  }

  #acceptStructure(byte: number, position: number): void {
    switch (this.#expect) {
      case EXPECT_COMMA_OR_CLOSE:
        this.#acceptCommaOrClose(byte, position);
        break;
      case EXPECT_COLON:
        if (byte !== COLON) this.#failUnexpected(byte, position);
        this.#expect = EXPECT_VALUE;
        break;
      case EXPECT_KEY:
      case EXPECT_KEY_OR_CLOSE:
        if (byte === QUOTE) this.#startString(true);
        else if (byte === CLOSE_BRACE && this.#expect === EXPECT_KEY_OR_CLOSE) this.#close(position);
        else this.#failUnexpected(byte, position);
        break;
      default:
        if (byte === CLOSE_BRACKET && this.#expect === EXPECT_VALUE_OR_CLOSE) this.#close(position);
        else this.#startValue(byte, position);
    }
  }

  #failUnexpected(byte: number, position: number, reason: string = EXPECTATION_REASONS[this.#expect]!): never {
    // These bytes begin no UTF-8 sequence: the sender has an encoding problem (UTF-16, Windows-1252), not a comma.
    const neverStartsSequence = (byte >= 0x80 && byte < 0xc2) || byte > 0xf4;
    this.#fail(position, neverStartsSequence ? NOT_UTF8 : reason);
  }

  #acceptCommaOrClose(byte: number, position: number): void {
    if (this.#containers.depth === 0) this.#failUnexpected(byte, position, 'nothing may follow the document');
    const inObject = this.#containers.innermostIsObject;
    if (byte === COMMA) this.#expect = inObject ? EXPECT_KEY : EXPECT_VALUE;
    else if (byte === (inObject ? CLOSE_BRACE : CLOSE_BRACKET)) this.#close(position);
    else this.#failUnexpected(byte, position);
  }

  #startValue(byte: number, position: number): void {
    if (this.#kind === undefined) {
      if (byte !== OPEN_BRACE && byte !== OPEN_BRACKET) {
        this.#failUnexpected(byte, position, 'an object or an array is expected');
      }
      this.#kind = byte === OPEN_BRACE ? 'object' : 'array';
      this.#elementStart = position;
    } else if (this.#containers.depth === 1 && this.#kind === 'array') {
      this.#elementStart = position;
    }
    if (byte === QUOTE) this.#startString(false);
    else if (byte === OPEN_BRACE) this.#open(true);
    else if (byte === OPEN_BRACKET) this.#open(false);
    else if (byte === MINUS || (byte >= ZERO && byte <= 0x39)) this.#startNumber(byte);
    else this.#startLiteral(byte, position);
  }

  #endValue(end: number): void {
    this.#token = TOKEN_NONE;
    this.#expect = EXPECT_COMMA_OR_CLOSE;
    const isElement = this.#containers.depth === (this.#kind === 'array' ? 1 : 0);
    if (isElement && this.#onElement !== undefined) this.#onElement(this.#elementStart, end);
  }

  #open(isObject: boolean): void {
    this.#containers.open(isObject);
    this.#expect = isObject ? EXPECT_KEY_OR_CLOSE : EXPECT_VALUE_OR_CLOSE;
  }

  #close(position: number): void {
    this.#containers.close();
    // The end of the top-level array itself is not the end of an element.
    if (this.#containers.depth === 0 && this.#kind === 'array') this.#expect = EXPECT_COMMA_OR_CLOSE;
    else this.#endValue(position + 1);
  }

  #startString(isKey: boolean): void {
    this.#token = TOKEN_STRING;
    this.#tokenIsKey = isKey;
  }

  #scanString(chunk: Uint8Array, from: number): number {
    let index = from;
    while (index < chunk.length) {
      if (this.#continuationsMissing > 0) index = this.#scanContinuation(chunk, index);
      else if (this.#afterBackslash || this.#hexDigitsMissing > 0) index = this.#scanEscape(chunk, index);
      else {
        while (index < chunk.length && IS_PLAIN[chunk[index]!] === 1) index += 1;
        if (index === chunk.length) break;
        const byte = chunk[index]!;
        if (byte === QUOTE) return this.#endString(index);
        this.#acceptUnplain(byte, this.#offset + index);
        index += 1;
      }
    }
    return index;
  }

  #endString(index: number): number {
    if (this.#tokenIsKey) {
      this.#token = TOKEN_NONE;
      this.#expect = EXPECT_COLON;
    } else {
      this.#endValue(this.#offset + index + 1);
    }
    return index + 1;
  }

  #acceptUnplain(byte: number, position: number): void {
    if (byte === BACKSLASH) this.#afterBackslash = true;
    else if (byte < 0x20) this.#fail(position, 'a control character stands unescaped in a string');
    else this.#startSequence(byte, position);
  }

  /** The well-formed sequences of RFC 3629 section 4: overlong forms, surrogates and all above U+10FFFF excluded. */
  #startSequence(lead: number, position: number): void {
    if (lead < 0xc2 || lead > 0xf4) this.#fail(position, NOT_UTF8);
    this.#sequenceStart = position;
    this.#continuationsMissing = lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3;
    this.#continuationLowest = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
    this.#continuationHighest = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
  }

  #scanContinuation(chunk: Uint8Array, index: number): number {
    const byte = chunk[index]!;
    if (byte < this.#continuationLowest || byte > this.#continuationHighest) this.#fail(this.#sequenceStart, NOT_UTF8);
    this.#continuationLowest = 0x80;
    this.#continuationHighest = 0xbf;
    this.#continuationsMissing -= 1;
    return index + 1;
  }

  #scanEscape(chunk: Uint8Array, index: number): number {
    const byte = chunk[index]!;
    if (this.#hexDigitsMissing > 0) {
      if (IS_HEX_DIGIT[byte] === 0) this.#fail(this.#offset + index, 'four hexadecimal digits are expected after \\u');
      this.#hexDigitsMissing -= 1;
      return index + 1;
    }
    this.#afterBackslash = false;
    if (byte === LETTER_U) this.#hexDigitsMissing = 4;
    else if (IS_SIMPLE_ESCAPE[byte] === 0) this.#fail(this.#offset + index, 'a string holds an unknown escape');
    return index + 1;
  }

  #startNumber(byte: number): void {
    this.#token = TOKEN_NUMBER;
    this.#numberState = byte === MINUS ? AFTER_MINUS : byte === ZERO ? AFTER_LEADING_ZERO : IN_INTEGER;
  }

  #scanNumber(chunk: Uint8Array, from: number): number {
    let state = this.#numberState;
    let index = from;
    while (index < chunk.length) {
      state = NUMBER_TRANSITIONS[(state << 8) | chunk[index]!]!;
      if (state === NUMBER_MALFORMED) this.#fail(this.#offset + index, 'a digit is expected in the number');
      if (state === NUMBER_ENDED) {
        this.#endValue(this.#offset + index);
        return index;
      }
      index += 1;
    }
    this.#numberState = state;
    return index;
  }

  #startLiteral(byte: number, position: number): void {
    const literal = LITERALS.get(byte);
    if (literal === undefined) this.#failUnexpected(byte, position);
    this.#token = TOKEN_LITERAL;
    this.#literal = literal;
    this.#literalMatched = 1;
  }

  #scanLiteral(chunk: Uint8Array, from: number): number {
    let index = from;
    while (index < chunk.length && this.#literalMatched < this.#literal.length) {
      if (chunk[index] !== this.#literal.charCodeAt(this.#literalMatched)) {
        this.#fail(this.#offset + index, `the word ${this.#literal} is expected`);
      }
      this.#literalMatched += 1;
      index += 1;
    }
    if (this.#literalMatched === this.#literal.length) this.#endValue(this.#offset + index);
    return index;
  }
}

/** The open objects and arrays, one bit each, so that sixteen million open brackets cost two megabytes. */
class ContainerStack {
  depth = 0;
  innermostIsObject = false;
  #bits = new Uint8Array(64);

  open(isObject: boolean): void {
    const slot = this.depth >> 3;
    if (slot === this.#bits.length) {
      const grown = new Uint8Array(this.#bits.length * 2);
      grown.set(this.#bits);
      this.#bits = grown;
    }
    const mask = 1 << (this.depth & 7);
    this.#bits[slot] = isObject ? this.#bits[slot]! | mask : this.#bits[slot]! & ~mask;
    this.depth += 1;
    this.innermostIsObject = isObject;
  }

  close(): void {
    this.depth -= 1;
    const outer = this.depth - 1;
    this.innermostIsObject = outer >= 0 && (this.#bits[outer >> 3]! & (1 << (outer & 7))) !== 0;
  }
}

function markBytes(characters: string): Uint8Array {
  const marks = new Uint8Array(256);
  for (const character of characters) marks[character.charCodeAt(0)] = 1;
  return marks;
}

function makeNumberTransitions(): Uint8Array {
  const transitions = new Uint8Array(10 << 8);
  const onBytes = (state: number, characters: string, next: number): void => {
    for (const character of characters) transitions[(state << 8) | character.charCodeAt(0)] = next;
  };
  for (const unfinished of [AFTER_MINUS, AFTER_POINT, AFTER_EXPONENT_MARK, AFTER_EXPONENT_SIGN]) {
    transitions.fill(NUMBER_MALFORMED, unfinished << 8, (unfinished + 1) << 8);
  }
  onBytes(AFTER_MINUS, '0', AFTER_LEADING_ZERO);
  onBytes(AFTER_MINUS, '123456789', IN_INTEGER);
  onBytes(IN_INTEGER, '0123456789', IN_INTEGER);
  for (const integer of [AFTER_LEADING_ZERO, IN_INTEGER]) onBytes(integer, '.', AFTER_POINT);
  for (const fraction of [AFTER_POINT, IN_FRACTION]) onBytes(fraction, '0123456789', IN_FRACTION);
  for (const mantissa of [AFTER_LEADING_ZERO, IN_INTEGER, IN_FRACTION]) onBytes(mantissa, 'eE', AFTER_EXPONENT_MARK);
  onBytes(AFTER_EXPONENT_MARK, '+-', AFTER_EXPONENT_SIGN);
  for (const exponent of [AFTER_EXPONENT_MARK, AFTER_EXPONENT_SIGN, IN_EXPONENT]) {
    onBytes(exponent, '0123456789', IN_EXPONENT);
  }
  return transitions;
}
