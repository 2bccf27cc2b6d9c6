import { Problem } from '#platform/errors.ts';

export type BodyFormat = 'json' | 'ndjson' | 'csv';
/** Only a CSV may be in another than utf-8: JSON always is (RFC 8259, 8.1). */
export type BodyCharset = 'utf-8' | 'windows-1252';

export interface BodyKind {
  readonly format: BodyFormat;
  readonly charset: BodyCharset;
  /** The media type without parameters. */
  readonly contentType: string;
}

const formats: Readonly<Record<string, BodyFormat>> = {
  'application/json': 'json',
  'application/x-ndjson': 'ndjson',
  'application/ndjson': 'ndjson',
  'application/jsonl': 'ndjson',
  'text/csv': 'csv',
};

const charsets: Readonly<Record<string, BodyCharset>> = {
  'utf-8': 'utf-8',
  utf8: 'utf-8',
  'us-ascii': 'utf-8',
  'windows-1252': 'windows-1252',
  cp1252: 'windows-1252',
  'iso-8859-1': 'windows-1252',
};

/** The media types that a receipt may have. */
export const acceptedMediaTypes = ['application/json', 'application/x-ndjson', 'text/csv'] as const;

/**
 * Reads Content-Type (RFC 9110, 8.3). A CSV may be in windows-1252, as spreadsheets write it;
 * its superset of ISO 8859-1 is what the web means by that name too (WHATWG Encoding).
 * @throws Problem unsupported_media_type
 */
export function readBodyKind(contentTypeHeader: string | undefined): BodyKind {
  const [mediaType = '', ...parameters] = (contentTypeHeader ?? '').split(';').map((part) => part.trim());
  const contentType = mediaType.toLowerCase();
  const format = Object.hasOwn(formats, contentType) ? formats[contentType] : undefined;
  if (!format) throw unsupported(`send ${acceptedMediaTypes.join(', ')}`);
  const charsetText = parameters
    .map((parameter) => /^charset="?([^"]*)"?$/i.exec(parameter)?.[1]?.toLowerCase())
    .find((value) => value !== undefined);
  const charset =
    charsetText === undefined ? 'utf-8' : Object.hasOwn(charsets, charsetText) ? charsets[charsetText] : undefined;
  if (!charset || (format !== 'csv' && charset !== 'utf-8')) {
    throw unsupported(format === 'csv' ? 'a CSV is in utf-8 or windows-1252' : 'JSON is in utf-8 (RFC 8259, 8.1)');
  }
  return { format, charset, contentType };
}

function unsupported(detail: string): Problem {
  return new Problem('unsupported_media_type', detail, { headers: { accept: acceptedMediaTypes.join(', ') } });
}
