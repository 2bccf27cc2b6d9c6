import { type CsvDelimiter, makeCsvCutter } from './csv.ts';
import type { CutListener, RecordCutter } from './cutter.ts';
import { makeJsonCutter, makeJsonElementsCutter } from './json.ts';
import { makeNdjsonCutter } from './ndjson.ts';

/**
 * What is to be cut: a whole body (`json`, `ndjson`), or from a record on (`json_elements`, `ndjson`, `csv`), then
 * with the place in the body of the first byte pushed. CSV always starts after its header.
 */
export type CutFormat =
  | { name: 'json' }
  | { name: 'json_elements'; startOffset: number }
  | { name: 'ndjson'; startOffset?: number; startLine?: number }
  | { name: 'csv'; delimiter: CsvDelimiter; startOffset: number; startLine: number };

/** Makes the cutter for a format. */
export function makeCutter(format: CutFormat, listener: CutListener): RecordCutter {
  const { onRecord, onBadRecord } = listener;
  if (format.name === 'json') return makeJsonCutter({ onRecord });
  if (format.name === 'json_elements') return makeJsonElementsCutter({ ...format, onRecord });
  if (format.name === 'ndjson') return makeNdjsonCutter({ ...format, onRecord });
  return makeCsvCutter({ ...format, onRecord, onBadRecord });
}
