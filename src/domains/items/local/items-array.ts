const quote = 0x22;
const backslash = 0x5c;
const opening = new Set(Buffer.from('{['));
const closing = new Set(Buffer.from('}]'));
const comma = 0x2c;
const colon = 0x3a;
const blanks = new Set(Buffer.from(' \t\r\n'));

/** Where an array stands in a text (byte offsets, `end` exclusive), and where each of its elements. */
interface FoundArray {
  readonly start: number;
  readonly end: number;
  readonly elements: readonly (readonly [start: number, end: number])[];
}

/**
 * Finds the array that the member `items` of a top-level object holds, without reading what is in it. The text must be
 * well-formed JSON. Undefined when there is no such array.
 */
export function findItemsArray(bytes: Buffer): FoundArray | undefined {
  const elements: [number, number][] = [];
  let depth = 0;
  let lastString: [number, number] = [0, 0];
  let name = '';
  let start = -1;
  let elementStart = -1;
  let at = 0;
  const endElement = () => {
    if (elementStart !== -1) elements.push([elementStart, at]);
    elementStart = -1;
  };
  while (at < bytes.length) {
    const byte = bytes[at]!;
    const isInArray = start !== -1;
    if (isInArray && depth === 2 && (byte === comma || blanks.has(byte) || closing.has(byte))) endElement();
    else if (isInArray && elementStart === -1) elementStart = at;
    if (byte === quote) {
      const end = endOfString(bytes, at);
      if (depth === 1) lastString = [at, end];
      at = end;
      continue;
    }
    if (byte === colon && depth === 1) name = bytes.toString('utf8', ...lastString);
    if (opening.has(byte)) {
      depth += 1;
      if (depth === 2 && bytes[at] === 0x5b && JSON.parse(name || '""') === 'items') start = at;
    } else if (closing.has(byte)) {
      depth -= 1;
      if (isInArray && depth === 1) return { start, end: at + 1, elements };
    }
    at += 1;
  }
  return undefined;
}

/** The offset after the closing quote of the string that opens at `start`. */
function endOfString(bytes: Buffer, start: number): number {
  let at = start + 1;
  while (at < bytes.length && bytes[at] !== quote) at += bytes[at] === backslash ? 2 : 1;
  return at + 1;
}
