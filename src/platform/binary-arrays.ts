/**
 * One-dimensional arrays in the binary format of Postgres (src/backend/utils/adt/arrayfuncs.c, array_recv). node-pg sends
 * a Buffer parameter as binary, so a statement that casts it (`$1::uuid[]`) takes a whole column without quoting, hex text
 * or a parse on either side.
 */
const objectIds = {
  int2: 21,
  int4: 23,
  int8: 20,
  text: 25,
  uuid: 2950,
  bytea: 17,
  timestamptz: 1184,
  bool: 16,
} as const;

/** Microseconds from the Unix epoch to 2000-01-01T00:00:00Z, from which Postgres counts timestamps. */
const postgresEpochMicros = 946_684_800_000_000;
const headerBytes = 20;

function writeHeader(target: Buffer, elementType: number, count: number, hasNulls: boolean): void {
  target.writeInt32BE(count === 0 ? 0 : 1, 0);
  target.writeInt32BE(hasNulls ? 1 : 0, 4);
  target.writeInt32BE(elementType, 8);
  if (count === 0) return;
  target.writeInt32BE(count, 12);
  target.writeInt32BE(1, 16);
}

function fixedWidthArray<T>(
  values: readonly (T | null)[],
  elementType: number,
  width: number,
  write: (target: Buffer, value: T, offset: number) => void,
): Buffer {
  if (values.length === 0) return emptyArray(elementType);
  const target = Buffer.allocUnsafe(headerBytes + values.length * (4 + width));
  let offset = headerBytes;
  let hasNulls = false;
  for (const value of values) {
    if (value === null) {
      hasNulls = true;
      offset = target.writeInt32BE(-1, offset);
    } else {
      offset = target.writeInt32BE(width, offset);
      write(target, value, offset);
      offset += width;
    }
  }
  writeHeader(target, elementType, values.length, hasNulls);
  return target.subarray(0, offset);
}

function emptyArray(elementType: number): Buffer {
  const target = Buffer.allocUnsafe(12);
  writeHeader(target, elementType, 0, false);
  return target;
}

/** `smallint[]` */
export function int2Array(values: readonly (number | null)[]): Buffer {
  return fixedWidthArray(values, objectIds.int2, 2, (target, value, offset) => target.writeInt16BE(value, offset));
}

/** `integer[]` */
export function int4Array(values: readonly (number | null)[]): Buffer {
  return fixedWidthArray(values, objectIds.int4, 4, (target, value, offset) => target.writeInt32BE(value, offset));
}

/** `bigint[]` of safe integers */
export function int8Array(values: readonly (number | null)[]): Buffer {
  return fixedWidthArray(values, objectIds.int8, 8, writeSafeInteger);
}

/** `timestamptz[]` from microseconds since the Unix epoch */
export function timestamptzArray(values: readonly (number | null)[]): Buffer {
  return fixedWidthArray(values, objectIds.timestamptz, 8, (target, micros, offset) =>
    writeSafeInteger(target, micros - postgresEpochMicros, offset),
  );
}

function writeSafeInteger(target: Buffer, value: number, offset: number): void {
  const high = Math.floor(value / 0x1_0000_0000);
  target.writeInt32BE(high, offset);
  target.writeUInt32BE(value - high * 0x1_0000_0000, offset + 4);
}

/** The value of each hexadecimal digit by its character code. */
const hexValues = new Uint8Array(128);
for (let digit = 0; digit < 16; digit += 1) hexValues[digit.toString(16).charCodeAt(0)] = digit;

/** Where the two digits of each byte of a UUID stand in its text. */
const uuidBytePositions = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];

/** `uuid[]` from their 36-character lower-case text form */
export function uuidArray(values: readonly (string | null)[]): Buffer {
  return fixedWidthArray(values, objectIds.uuid, 16, (target, value, offset) => {
    let at = offset;
    for (const position of uuidBytePositions) {
      target[at] = (hexValues[value.charCodeAt(position)]! << 4) | hexValues[value.charCodeAt(position + 1)]!;
      at += 1;
    }
  });
}

/** `text[]`; elements may be cast further in SQL, to json or to an enum */
export function textArray(values: readonly (string | null)[]): Buffer {
  if (values.length === 0) return emptyArray(objectIds.text);
  let size = headerBytes;
  for (const value of values) size += 4 + (value === null ? 0 : Buffer.byteLength(value));
  const target = Buffer.allocUnsafe(size);
  let offset = headerBytes;
  let hasNulls = false;
  for (const value of values) {
    if (value === null) {
      hasNulls = true;
      offset = target.writeInt32BE(-1, offset);
    } else {
      const written = target.write(value, offset + 4, 'utf8');
      target.writeInt32BE(written, offset);
      offset += 4 + written;
    }
  }
  writeHeader(target, objectIds.text, values.length, hasNulls);
  return target;
}

/** `bytea[]` */
export function byteaArray(values: readonly (Uint8Array | null)[]): Buffer {
  if (values.length === 0) return emptyArray(objectIds.bytea);
  let capacity = headerBytes;
  for (const value of values) capacity += 4 + (value?.length ?? 0);
  const target = Buffer.allocUnsafe(capacity);
  let offset = headerBytes;
  let hasNulls = false;
  for (const value of values) {
    if (value === null) {
      hasNulls = true;
      offset = target.writeInt32BE(-1, offset);
    } else {
      offset = target.writeInt32BE(value.length, offset);
      target.set(value, offset);
      offset += value.length;
    }
  }
  writeHeader(target, objectIds.bytea, values.length, hasNulls);
  return target;
}
