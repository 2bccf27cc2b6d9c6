/** Why a line of a CSV body is no record. */
export type BadRecordCode =
  /** A quote inside an unquoted field, or text after a closing quote. */
  | 'csv_stray_quote'
  /** A quoted field opens on the line and is not properly closed. */
  | 'csv_unterminated_quote';

/**
 * Who is told of each record of a body, in the order of the body, and where it stands: byte offsets in the whole body,
 * `byteEnd` exclusive and before the line end, and the physical line it starts on (the first line of a body is 1, in CSV
 * usually the header's; null for JSON, which has no lines).
 */
export interface CutListener {
  onRecord: (byteStart: number, byteEnd: number, line: number | null) => void;
  /** Told of a physical line that is rejected as a whole; only CSV has such lines. */
  onBadRecord: (byteStart: number, byteEnd: number, line: number, code: BadRecordCode) => void;
}

/**
 * Finds the records of a body that arrives in chunks of any size, without judging what is in them. The records are
 * the same however the body is cut into chunks.
 */
export interface RecordCutter {
  push(chunk: Buffer): void;
  /** Tells of what is still open: the body, or the slice of it, has ended. */
  finish(): void;
}
