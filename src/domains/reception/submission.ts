import { blake3Hex, createBlake3Stream } from '#platform/blake3.ts';
import { Problem } from '#platform/errors.ts';
import { JsonSyntaxError, makeJsonSyntaxScanner } from '#platform/json/syntax-scanner.ts';
import type { ReceivedBody, RouteRequest } from '#platform/route.ts';
import { isCountryCode, parseValueChain, type TypeRegistry } from '#domains/items/index.ts';
import type { BodyKind } from './body-format.ts';
import { classifyColumns, findSharedField, sharedFieldDetail } from './csv-records.ts';
import { CSV_HEADER_LIMIT_BYTES, readCsvHeader } from './formats/csv-header.ts';

/** Bodies up to this size are stored together with others. */
export const smallBodyBytes = 65_536;

export interface CheckedBody extends ReceivedBody {
  readonly hash: string;
}

/**
 * Takes a body in, hashes it, and refuses what cannot be split into records: an empty body, JSON that is malformed or a
 * scalar, a CSV header that cannot be used. All else is judged per record later.
 * @throws Problem empty_body, malformed_json, invalid_csv_header, and what receiving throws.
 */
export async function receiveChecked(
  request: Pick<RouteRequest, 'receiveBody' | 'headers'>,
  kind: BodyKind,
  loadTypes: () => Promise<TypeRegistry>,
): Promise<CheckedBody> {
  const announced = Number(request.headers['content-length'] ?? Number.NaN);
  const body = announced <= smallBodyBytes ? await receiveSmall(request, kind) : await receiveLarge(request, kind);
  if (kind.format === 'csv') checkCsvHeader(body, kind, await loadTypes());
  return body;
}

async function receiveSmall(request: Pick<RouteRequest, 'receiveBody'>, kind: BodyKind): Promise<CheckedBody> {
  const received = await request.receiveBody();
  if (received.sizeBytes === 0) throw emptyBody();
  const bytes = received.chunks.length === 1 ? received.chunks[0]! : Buffer.concat(received.chunks);
  if (kind.format === 'json' && !isPlainDocument(bytes)) scan([bytes]);
  return { chunks: [bytes], sizeBytes: bytes.length, hash: blake3Hex(bytes) };
}

/** The engine's own parser is fastest; only what it refuses, or could read too kindly, needs the scanner's exact answer. */
function isPlainDocument(bytes: Buffer): boolean {
  try {
    const text = bytes.toString('utf8');
    if (text.includes('\uFFFD')) return false;
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null;
  } catch {
    return false;
  }
}

async function receiveLarge(request: Pick<RouteRequest, 'receiveBody'>, kind: BodyKind): Promise<CheckedBody> {
  const hash = await createBlake3Stream();
  const scanner = kind.format === 'json' ? makeJsonSyntaxScanner({}) : undefined;
  const received = await request.receiveBody((chunk) => {
    hash.update(chunk);
    if (scanner) asProblem(() => scanner.push(chunk));
  });
  if (received.sizeBytes === 0) throw emptyBody();
  if (scanner) asProblem(() => scanner.finish());
  return { ...received, hash: hash.digestHex() };
}

function scan(chunks: readonly Buffer[]): void {
  const scanner = makeJsonSyntaxScanner({});
  asProblem(() => {
    for (const chunk of chunks) scanner.push(chunk);
    scanner.finish();
  });
}

function asProblem(work: () => void): void {
  try {
    work();
  } catch (error) {
    if (!(error instanceof JsonSyntaxError)) throw error;
    throw new Problem('malformed_json', `byte ${error.position}: ${error.reason}`, {
      errors: [{ pointer: '', code: 'malformed_json', detail: `${error.reason} at byte ${error.position}` }],
    });
  }
}

function emptyBody(): Problem {
  return new Problem('empty_body', 'send at least one record');
}

function checkCsvHeader(body: ReceivedBody, kind: BodyKind, types: TypeRegistry): void {
  const needed: Buffer[] = [];
  let bytes = 0;
  for (const chunk of body.chunks) {
    if (bytes >= CSV_HEADER_LIMIT_BYTES) break;
    needed.push(chunk);
    bytes += chunk.length;
  }
  const header = readCsvHeader(Buffer.concat(needed), kind.charset);
  if (!header.ok) throw invalidCsvHeader(header.code, header.detail);
  const shared = findSharedField(header.columns, classifyColumns(header.columns, types));
  if (shared) throw invalidCsvHeader('invalid_csv_header', sharedFieldDetail(shared));
}

function invalidCsvHeader(code: string, detail: string): Problem {
  return new Problem('invalid_csv_header', detail, { errors: [{ pointer: '', code, detail }] });
}

/** The defaults of a submission, checked before anything is stored. */
export interface SubmissionDefaults {
  readonly valueChain: string | null;
  readonly country: string | null;
  readonly year: number | null;
  readonly circuitId: string | null;
}

/** @throws Problem invalid_query naming the parameter. */
export function readDefaults(query: {
  value_chain?: string | undefined;
  country?: string | undefined;
  year?: string | undefined;
  circuit_id?: string | undefined;
}): SubmissionDefaults {
  const valueChain = query.value_chain === undefined ? null : parseValueChain(query.value_chain);
  if (valueChain === undefined)
    throw invalidQuery(
      'value_chain',
      'value chains are BEEF, POULTRY, PORK, SOY, CORN, COTTON, COFFEE, MILK and GENERIC',
    );
  const country = query.country?.toUpperCase() ?? null;
  if (country !== null && !isCountryCode(country))
    throw invalidQuery('country', 'a country is an ISO 3166-1 alpha-2 code such as BR');
  const year = query.year === undefined ? null : /^\d{4}$/.test(query.year) ? Number(query.year) : Number.NaN;
  if (year !== null && !(year >= 1900 && year <= 2100))
    throw invalidQuery('year', 'a year is a whole number from 1900 to 2100');
  return { valueChain, country, year, circuitId: query.circuit_id?.toLowerCase() ?? null };
}

function invalidQuery(parameter: string, detail: string): Problem {
  return new Problem('invalid_query', `${parameter}: ${detail}`, {
    errors: [{ pointer: parameter, code: 'invalid_query', detail }],
  });
}

const waitMaxSeconds = 30;

/** Seconds of `Prefer: wait=N` (RFC 7240, 4.3), at most 30; 0 without it. */
export function readWaitSeconds(header: string | string[] | undefined): number {
  const text = Array.isArray(header) ? header.join(',') : (header ?? '');
  const match = /(?:^|[,;])\s*wait\s*=\s*"?(\d{1,6})"?/i.exec(text);
  return match ? Math.min(Number(match[1]), waitMaxSeconds) : 0;
}
