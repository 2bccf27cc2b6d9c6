import { Problem } from '#platform/errors.ts';
import { isUuid } from '#platform/ids.ts';
import type { ReceivedBody } from '#platform/route.ts';
import { readBodyKind, type BodyKind } from './body-format.ts';

/** The records of a form, and what they are written in. */
export interface BulkForm {
  readonly bytes: Buffer;
  readonly kind: BodyKind;
  readonly circuitId: string | null;
}

const typesOfExtensions: Readonly<Record<string, string>> = {
  csv: 'text/csv',
  json: 'application/json',
  ndjson: 'application/x-ndjson',
  jsonl: 'application/x-ndjson',
};

/** @throws Problem unsupported_media_type for anything but multipart/form-data. */
export function refuseOtherThanForm(contentTypeHeader: string | undefined): void {
  const mediaType = (contentTypeHeader ?? '').split(';')[0]!.trim().toLowerCase();
  if (mediaType === 'multipart/form-data') return;
  throw new Problem('unsupported_media_type', 'send multipart/form-data with the records in the part file', {
    headers: { accept: 'multipart/form-data' },
  });
}

/**
 * Reads a form (RFC 7578) whose part `file` holds records. The circuit is checked for its shape; parts that are not known
 * say nothing.
 * @throws Problem invalid_form with the part as its pointer, empty_body, unsupported_media_type for another kind of file.
 */
export async function readBulkForm({ chunks }: ReceivedBody, contentType: string): Promise<BulkForm> {
  const form = await parseForm(chunks, contentType);
  const [file, second] = form.getAll('file');
  if (file === undefined) throw invalidForm('file', 'the part file is missing; it holds the records');
  if (second !== undefined) throw invalidForm('file', 'the part file stands twice; send one file at a time');
  if (typeof file === 'string') throw invalidForm('file', 'the part file is no file: it has no filename');
  return { bytes: Buffer.from(await file.arrayBuffer()), kind: kindOf(file), circuitId: readCircuitId(form) };
}

function readCircuitId(form: FormData): string | null {
  const [circuit = '', second] = form.getAll('circuit_id');
  if (second !== undefined) throw invalidForm('circuit_id', 'the part circuit_id stands twice');
  if (circuit === '') return null;
  if (typeof circuit === 'string' && isUuid(circuit.toLowerCase())) return circuit.toLowerCase();
  throw invalidForm('circuit_id', 'a circuit is named by its UUID');
}

let lastParsing: Promise<unknown> = Promise.resolve();

/** One form after the other: while it is parsed, each is in memory several times. */
function oneAfterTheOther<Result>(parse: () => Promise<Result>): Promise<Result> {
  const parsing = lastParsing.then(parse);
  lastParsing = parsing.catch(() => {});
  return parsing;
}

async function parseForm(chunks: readonly Buffer[], contentType: string): Promise<FormData> {
  try {
    const headers = { 'content-type': contentType };
    return await oneAfterTheOther(() => new Response(ReadableStream.from(chunks), { headers }).formData());
  } catch (error) {
    throw invalidForm('', 'the body is not multipart/form-data with the boundary that Content-Type names', error);
  }
}

/** Browsers name a CSV by what the system takes it for, often a spreadsheet; then the name of the file tells more. */
function kindOf({ type, name }: File): BodyKind {
  const extension = /\.([a-z]+)$/i.exec(name)?.[1]?.toLowerCase() ?? '';
  const typeOfName = Object.hasOwn(typesOfExtensions, extension) ? typesOfExtensions[extension]! : undefined;
  try {
    return readBodyKind(type);
  } catch (error) {
    if (typeOfName === undefined || typeOfName === mediaTypeOf(type)) throw error;
    return readBodyKind(typeOfName + type.slice(mediaTypeOf(type).length));
  }
}

function mediaTypeOf(type: string): string {
  return type.split(';')[0]!;
}

function invalidForm(pointer: string, detail: string, cause?: unknown): Problem {
  return new Problem('invalid_form', detail, { errors: [{ pointer, code: 'invalid_form', detail }], cause });
}
